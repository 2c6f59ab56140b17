"""The result of the search over the parameters of a function."""

import dataclasses
import functools
import math
import shlex
from collections.abc import Sequence
from statistics import mean
from typing import Any

from optuna.trial import TrialState

from adnn_optuna._units import Estimate, Unit, all_of, capitalized, in_number, params_in_words
from adnn_optuna.engine.functions import ARMS
from adnn_optuna.engine.records import FunctionRecord
from adnn_optuna.engine.storages import storage_url
from adnn_optuna.render.document import (
    FUNCTION,
    Advice,
    Caution,
    Detail,
    Figure,
    Line,
    Step,
    Table,
    Verdict,
)
from adnn_optuna.results.confirmed_value import ConfirmedValue
from adnn_optuna.results.fields import units_of
from adnn_optuna.results.sentences import failures_note
from adnn_optuna.results.study import NotesOnRuns, StudyResult, selection_bias
from adnn_optuna.samplers._replicates import replicate_of

_ABOUT_BUDGETS = Detail(
    "Budgets are equal in trials, not in seconds: a faster sampler can run more trials in the "
    "same time."
)
_N_LISTED = 10  # The number of replicated configurations in the table.


@dataclasses.dataclass(frozen=True, repr=False)
class FunctionSearch(StudyResult):
    """The result of the search of a function: the recommended parameters and their value."""

    record: FunctionRecord

    @property
    def best_params(self) -> dict[str, Any]:
        """The recommended parameters, which have the best mean of two or more values.

        If no configuration has two values, they are the best trial's parameters. If no trial is
        completed, the mapping is empty.
        """
        if self.best is None:
            return {}
        return dict(self.best.params)

    @property
    def replicates(self) -> dict[int, list[float]]:
        """The values of each configuration that has two or more values.

        A key is the number of the configuration's first trial. If the search made no replicates,
        the mapping is empty.
        """
        return {
            configuration.first.number: configuration.values
            for configuration in self.record.replicated
        }

    @property
    def value(self) -> Estimate:
        """The mean of the recommended parameters on new seeds, with its 95% CI.

        Without new seeds, it is the mean of the values in the search. This mean has a selection
        bias, so the ends of its CI are NaN.
        """
        if not self.record.new_values:
            number = -1 if self.best is None else self.best.number
            return Estimate(mean(self.replicates.get(number, [self.best_value])))
        return self._confirmed.estimate

    @functools.cached_property
    def _confirmed(self) -> ConfirmedValue:
        """The runs of the recommended parameters on new seeds."""
        return ConfirmedValue(
            self.record.new_values,
            self.record.planned,
            self.record.failed,
            is_seeded=self.record.settings.get("is_seeded", True),
            n_violated=self.record.n_violated,
            resampled=self.record.resampled,
        )

    @property
    def _unit(self) -> Unit:
        """The value's unit, with as many decimals as the value's CI supports."""
        return units_of(self.record).selection.rounded_to(self.value)

    @property
    def _level(self) -> float:
        """The level of the CI of :attr:`value`."""
        return self._confirmed.level

    def _finding(self) -> tuple[Verdict, str]:
        if self.best is None:
            return super()._finding()
        value = self._unit.value(self.value.value)
        if not self.record.new_values:
            label = "best mean" if self.record.replicated else "best value"
            missing = "on new seeds" if self._confirmed.is_seeded else "again"
            return "not known", f"{label} {value}, not measured {missing}"
        confirmed = self._confirmed
        n_new = len(confirmed.values)
        if not n_new:
            return "not known", f"no value on {confirmed.in_words(len(confirmed.runs))}"
        where = confirmed.in_words(n_new)
        averages = "averages" if n_new > 1 else "reaches"
        return "no claim", f"trial {self.best.number} {averages} {value} on {where}"

    def _further_scope(self) -> list[str]:
        n_replicates = sum(replicate_of(trial) is not None for trial in self.record.done_trials)
        if n_replicates:
            return [f"{n_replicates} replicates"]
        return []

    def _subject(self) -> str:
        return super()._subject().replace("Best trial", "Recommended: trial", 1)

    def _estimates(self) -> list[Line]:
        unit = self._unit
        reported = self._best_reported()
        lines = []
        if self._confirmed.values:
            lines.append(Line("value", self.value, unit, remark=self._confirmed.where))
        if self.record.replicated and self.best is not None:
            values = self.replicates[self.best.number]
            selected = Estimate(mean(values))
            lines.append(
                Line("mean in search", selected, unit, remark=f"{len(values)} values, selected")
            )
        if reported is not None:
            best = Estimate(reported[1])
            remark = f"trial {reported[0]}"
            if selection_bias(self.record):
                remark = f"{remark}, selected"
            lines.append(Line("best value", best, unit, remark=remark))
        if lines and self.record.is_minimized:
            first = lines[0]
            remark = f"{first.remark} (lower is better)"
            lines[0] = dataclasses.replace(first, remark=remark)
        return lines + self._on_new_data

    def _best_reported(self) -> tuple[int, float] | None:
        """Return the number and value of the best trial, or None without a finite value.

        The best trial may be a replicate.
        """
        best_value = self.best_value
        for number, value in self.record.numbered_values:
            if value == best_value:
                return number, value
        return None

    def _conclusion(self) -> str:
        if self.best is None or not self.record.planned["seeds"]:
            return super()._conclusion()
        confirmed = self._confirmed
        sentences = [
            self._about_equal_trials(),
            confirmed.why_no_interval(),
            confirmed.no_seed,
            self._about_unused_seed(),
        ]
        return " ".join(filter(None, sentences))

    def _about_equal_trials(self) -> str:
        """Return the note that all trials have the same value, or an empty text."""
        n = len(self.record.values)
        if n < 2 or len({*self.record.values}) > 1:
            return ""
        return f"{all_of(n, 'trials')} have the same value."

    def _about_unused_seed(self) -> str:
        """Return a question on whether the function uses its seed; empty if values differ."""
        if self._confirmed.is_seeded and self._confirmed.n_equal:
            return "Does the function use the seed?"
        return ""

    def _notes(self) -> list[str]:
        notes = super()._notes()
        if self.best is None:
            return notes
        notes += self._confirmed.notes(self.best.number, self._unit)
        return [*self._other_choices(), *notes, *self._failures()]

    def _failures(self) -> list[str]:
        """Return the notes on failed replicates and on other failed trials."""
        trials = self.record.done_trials
        replicates = [trial for trial in trials if replicate_of(trial) is not None]
        n_lost = sum(trial.state != TrialState.COMPLETE for trial in replicates)
        notes = [failures_note(n_lost, len(replicates), "replicates", self.record.failed)]
        others = [trial for trial in trials if replicate_of(trial) is None]
        n_failed = sum(trial.state == TrialState.FAIL for trial in others)
        if n_failed:
            sentence = f"{n_failed} of {len(others)} proposed trials failed: they have no value."
            notes.append(Caution(sentence))
        return notes

    def _other_choices(self) -> list[str]:
        """Return the notes on why other trials or samplers are not recommended."""
        notes = []
        reported = self._best_reported()
        if self.best is not None and self.record.replicated and reported is not None:
            number = reported[0]
            params = next(trial.params for trial in self.record.trials if trial.number == number)
            if params != self.best.params:
                words = params_in_words(params)
                notes.append(f"Trial {number} has the study's best single value: {words}.")
        if self.record.n_searches_elsewhere:
            n = self.record.n_searches_elsewhere + 1
            sentence = (
                f"The storage holds {n} searches of this function. If you choose one by its "
                "value, this value is biased."
            )
            notes.append(Caution(sentence))
        return notes

    def _figures(self) -> list[Figure]:
        highest = self._best_reported()
        new_values = self._confirmed.values
        if self.best is None or highest is None or not new_values:
            return super()._figures()
        # This import is here, because a result that is only printed does not need it.
        from adnn_optuna.results.value_figures import NewValues, selection_figure

        unit = units_of(self.record).selection
        number, best_value = highest
        chosen = f"trial {self.best.number}"
        reported = None
        if self.best.number != number:
            reported = Line(chosen, Estimate(self.best.values[0]), unit)
        _, finding = self._finding()
        selection = selection_figure(
            "selection",
            capitalized(finding),
            unit.heading(self.record.metric_label),
            trials=self.record.values,
            best=Line(f"trial {number}, best", Estimate(best_value), unit),
            chosen=NewValues(
                self._confirmed.in_words(len(new_values)),
                Line(f"{chosen}, recommended", self.value, self._unit),
                new_values,
            ),
            level=self._level,
            reported=reported,
            maximize=not self.record.is_minimized,
        )
        return [selection, *super()._figures()]

    def _tables(self) -> list[Table]:
        return [*self._replicated_tables(), *super()._tables()]

    def _replicated_tables(self) -> list[Table]:
        """Return the table of the best replicated configurations, if any."""
        if not self.record.replicated:
            return []
        unit = units_of(self.record).selection
        rows = []
        for configuration in self.record.replicated[:_N_LISTED]:
            values = configuration.values
            mean_value = unit.value(mean(values))
            if configuration.has_failed:
                mean_value = f"{mean_value} (a replicate failed)"
            rows.append((str(configuration.first.number), str(len(values)), mean_value))
        title = "Configurations with two or more values"
        return [Table(("trial", "values", "mean"), rows, title)]

    def _next_step(self) -> Step:
        n_new = len(self.record.new_values)
        if not n_new:
            return super()._next_step()
        if n_new < self.record.planned["seeds"]:  # The conclusion already says how to continue.
            return Step()
        return _compare_step(self.record, self._function, self._catch)

    def _fields(self) -> dict[str, Any]:
        return {
            **super()._fields(),
            "best_params": self.best_params,
            "value": self.value,
            "new_values": self.record.new_values,
            "replicates": self.replicates,
        }


def notes_on_runs(runs: Sequence[FunctionRecord]) -> NotesOnRuns:
    """Return a comparison's notes on its runs: on new seeds, failures and budgets."""
    values = [value for run in runs for value in run.new_values]
    n_failed = sum(map(math.isnan, values))
    notes = [
        _note_on_new_seeds(runs[0].n_new_seeds),
        failures_note(n_failed, len(values), "evaluations on new seeds", runs[0].failed),
        _ABOUT_BUDGETS,
    ]
    return NotesOnRuns(others=notes)


def _note_on_new_seeds(n: int) -> str:
    if n:
        times = in_number(n, "more time")
        return f"Each run's best trial was evaluated {times} after its selection."
    return Caution(
        "Reported best values are too good (selection bias), most of all for samplers that repeat "
        "similar trials. Pass confirm=5 to evaluate best trials again."
    )


def _compare_step(record: FunctionRecord, function: str, catch: str) -> Step:
    """Return the command for comparing the search's sampler with others on the same function.

    ``function`` is the function's name, and ``catch`` names the errors to catch. Both are empty if
    they are unknown.
    """
    n_trials = len(record.done_trials)
    arguments = [f"max_trial={n_trials}"]
    options = ["--max-trial", str(n_trials)]
    if not record.is_minimized:
        arguments.insert(0, 'direction="maximize"')
        options += ["--direction", "maximize"]
    has_own_sampler = record.sampler not in ("", *ARMS.named)
    if has_own_sampler:
        arguments.insert(0, "your sampler")
    elif record.sampler not in ("", *ARMS.defaults, ARMS.reference):
        arguments.insert(0, f"[{record.sampler!r}]")
        options += ["--samplers", record.sampler]
    if record.resampled is not None:
        arguments.append(f"resampled={record.resampled}")
        options += ["--resampled", ",".join(map(str, record.resampled))]
    if record.failed is not None:
        arguments.append(f"failed={record.failed}")
        options += ["--failed", str(record.failed)]
    if catch:
        arguments.append(f"catch={catch}")
    advice = Advice(f"Call adnn.compare with your objective, {', '.join(arguments)}.")
    if has_own_sampler:
        return Step(advice)
    if url := storage_url(record.study._storage):
        options += ["--storage", url]
    in_shell = shlex.join(["adnn", "compare", FUNCTION, *options])
    in_python: str = advice
    if function:
        in_python = f"adnn.compare({function}, {', '.join(arguments)})"
    return Step(in_python, in_shell)
