"""The result of the search of a function, and of any search by its record alone."""

from statistics import mean
from typing import Any

from optuna.trial import TrialState

from adnn_optuna import _attributes as stored
from adnn_optuna._units import Estimate, params_in_words
from adnn_optuna.engine.records import FunctionRecord, SearchRecord
from adnn_optuna.render.document import Line, Table, Verdict
from adnn_optuna.results.confirmed_value import ConfirmedValue
from adnn_optuna.results.fields import units_of
from adnn_optuna.results.findings import failures_note
from adnn_optuna.results.search import NetworkSearch, StudyResult, parts_of
from adnn_optuna.samplers._replicates import replicate_of

_N_LISTED = 10  # Of the replicated configurations, the best ones.


class FunctionSearch(StudyResult, FunctionRecord):
    """The result of the search of a function: the recommended parameters and their value."""

    @property
    def best_params(self) -> dict[str, Any]:
        """The recommended parameters: those with the best mean of at least two values.

        Those of the best trial if none has two; empty if no trial was completed.
        """
        return {} if self.best is None else dict(self.best.params)

    @property
    def replicates(self) -> dict[int, list[float]]:
        """All values of each configuration with two or more, by the number of its first trial.

        Empty without replicates.
        """
        return {one.first.number: one.values for one in self.replicated}

    @property
    def value(self) -> Estimate:
        """The recommended parameters' mean on new seeds, which selected nothing, with its 95% CI.

        Without new seeds it is the mean of their values, which is biased, with ends that are NaN.
        """
        if not self.new_values:
            number = -1 if self.best is None else self.best.number
            return Estimate(mean(self.replicates.get(number, [self.best_value])))
        return self._confirmed.estimate

    @property
    def _confirmed(self) -> ConfirmedValue:
        """The runs of the recommended parameters on new seeds."""
        return ConfirmedValue(
            self.new_values,
            self.planned,
            self.failed,
            is_seeded=self.settings.get("is_seeded", True),
            n_violated=self.n_violated,
            resampled=self.resampled,
        )

    @property
    def level(self) -> float:
        """The level of the CI of the value."""
        return self._confirmed.level

    def _verdict(self) -> tuple[Verdict, str]:
        if self.best is None:
            return super()._verdict()
        value = units_of(self).selection.value(self.value.value)
        return "no claim", f"{'value' if self.new_values else 'reported value'} {value}"

    def _further_scope(self) -> list[str]:
        n_replicates = sum(replicate_of(trial) is not None for trial in self.done_trials)
        scope = []
        if n_replicates:
            scope.append(f"of which {n_replicates} replicates")
        if self.new_values:
            n_new = len(self.new_values)
            scope.append(_counted(n_new, self._confirmed.where[:-1]))
        return scope

    def _subject(self) -> str:
        return super()._subject().replace("Best trial", "Recommended: trial", 1)

    def _estimates(self) -> list[Line]:
        unit, reported = units_of(self).selection, self._best_reported()
        lines = []
        if self._confirmed.values:
            lines.append(Line("value", self.value, unit, remark=self._confirmed.where))
        if self.replicated and self.best is not None:
            values = self.replicates[self.best.number]
            selected = Estimate(mean(values))
            lines.append(
                Line("mean in search", selected, unit, remark=f"{len(values)} values, selected")
            )
        if reported is not None:
            best = Estimate(reported[1])
            lines.append(Line("best value", best, unit, remark=f"trial {reported[0]}: biased"))
        return lines + self._on_new_data

    def _best_reported(self) -> tuple[int, float] | None:
        """Return the study's best trial, also if it is a replicate, and its value, if finite."""
        best = [one for one in self.valued if one[1] == self.best_value]
        return best[0] if best else None

    def _conclusion(self) -> str:
        if self.best is None or not self.planned["seeds"]:
            return super()._conclusion()
        return " ".join(filter(None, [self._confirmed.why_no_interval(), self._confirmed.no_seed]))

    def _notes(self) -> list[str]:
        notes = super()._notes()
        if self.best is None:
            return notes
        notes += self._confirmed.notes(self.best.number, units_of(self).selection)
        if self.failed is not None:
            replicates = [trial for trial in self.done_trials if replicate_of(trial) is not None]
            n_failed = sum(trial.state != TrialState.COMPLETE for trial in replicates)
            notes.append(failures_note(n_failed, len(replicates), "replicates", self.failed))
        return [*self._other_choices(), *notes]

    def _other_choices(self) -> list[str]:
        """Return which other trials or searches might be recommended, and why they are not."""
        others, reported = list[str](), self._best_reported()
        if self.best is not None and self.replicated and reported is not None:
            number = reported[0]
            params = next(trial.params for trial in self.trials if trial.number == number)
            if params != self.best.params:
                words = params_in_words(params)
                others.append(f"Trial {number} has the study's best single value: {words}.")
        if self.n_searches_elsewhere:
            n, side = self.n_searches_elsewhere + 1, "downward" if self.is_minimized else "upward"
            others.append(
                f"The storage holds {n} searches of this function: the best of {n} values is "
                f"biased {side}."
            )
        return others

    def _tables(self) -> list[Table]:
        return [*self._replicated_tables(), *super()._tables()]

    def _replicated_tables(self) -> list[Table]:
        """Return the table of the best replicated configurations, if there are any."""
        if not self.replicated:
            return []
        unit = units_of(self).selection
        rows = [
            (str(one.first.number), str(len(one.values)), unit.value(mean(one.values)))
            for one in self.replicated[:_N_LISTED]
        ]
        title = "Configurations with two or more values"
        return [Table(("trial", "values", "mean"), rows, title)]

    def _next_step(self) -> str:
        if self.new_values:
            return "compare with other samplers: adnn.compare(function, ...), or adnn compare"
        return super()._next_step()

    def _fields(self) -> dict[str, Any]:
        return {
            **super()._fields(),
            "best_params": self.best_params,
            "value": self.value,
            "new_values": self.new_values,
            "replicates": self.replicates,
        }


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def stored_result(record: SearchRecord) -> StudyResult:
    """Return the result of a search, by its record alone."""
    kind: type[StudyResult] = StudyResult
    if isinstance(record, FunctionRecord):
        kind = FunctionSearch
    elif stored.CONFIG in record.attrs:
        kind = NetworkSearch
    return kind(**parts_of(record))
