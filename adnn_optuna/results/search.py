"""The result of a search: its best trial, its gain, and whether that replicates on new seeds."""

import dataclasses
import functools
import math
from typing import Any

from adnn_optuna import _attributes as stored
from adnn_optuna._units import (
    ACCURACY,
    Estimate,
    Unit,
    duration,
    params_in_words,
    score_in_words,
)
from adnn_optuna.engine.confirmation import SEEDS, n_training_runs, seconds_of
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.render.document import (
    MAX_TITLE,
    Document,
    Figure,
    Line,
    Table,
    Verdict,
    shortened,
)
from adnn_optuna.render.printed import Printed
from adnn_optuna.results import search_figures as figures
from adnn_optuna.results import search_notes as notes
from adnn_optuna.results.confirmation import (
    Confirmation,
    own_scores,
    read_confirmation,
    test_estimate,
)
from adnn_optuna.results.fields import FIELDS, numbers_of, units_of
from adnn_optuna.results.overtuning import overtuning_of
from adnn_optuna.results.settings import settings_fields, trial_fields
from adnn_optuna.stats.sequential import ALPHA

_ONE_SEED = "one seed: biased upward"


class StudyResult(Printed, SearchRecord):
    """The result of any Optuna study: a best trial, whose gain may be selection bias."""

    @functools.cached_property
    def _on_new_data(self) -> list[Line]:
        """The value on new data by the scores of validation examples, if they are stored."""
        found = overtuning_of(self.study, self.attrs, self.trials, metric=self.metric)
        if found is None or found.most_unlike:  # The scores may be predictions.
            return []
        remark = f"selection corrected, {found.n_examples} examples"
        return [Line("on new data", found.new_data, units_of(self).selection, remark=remark)]

    def document(self) -> Document:
        """Return everything that the result says."""
        n_trials = len(self.done_trials)
        verdict, shown = self._verdict()
        name = shortened(self.study.study_name, MAX_TITLE - len(shown) - 2)
        return Document(
            title=f"{name}: {shown}",
            verdict=verdict,
            conclusion=self._conclusion(),
            scope=", ".join([f"{n_trials} trial{'s' * (n_trials != 1)}", *self._further_scope()]),
            estimates=[] if self.best is None else self._estimates(),
            level=self.level,
            subject=self._subject(),
            tables=self._tables(),
            draw=self._figures,
            notes=self._notes(),
            next_step="" if self.best is None else self._next_step(),
            fields=self._fields(),
        )

    @property
    def level(self) -> float:
        """The level of the CIs."""
        return 1 - ALPHA

    def _verdict(self) -> tuple[Verdict, str]:
        """Return the conclusion, in a word and in a few."""
        return "not known", "no best trial" if self.best is None else "replication not known"

    def _conclusion(self) -> str:
        """Return the conclusion in a sentence or two, if the title does not say all."""
        return notes.why_no_best_trial(self) if self.best is None else ""

    def _further_scope(self) -> list[str]:
        """Return the basis of the result beside the trials."""
        return []

    def _subject(self) -> str:
        if self.best is None:
            return ""
        params = params_in_words(self.best.params)
        return f"Best trial {self.best.number}{': ' * bool(params)}{params}"

    def _estimates(self) -> list[Line]:
        unit = units_of(self).selection
        best = Estimate(self.best_value)
        return [
            Line("best value", best, unit, remark="selected: biased upward"),
            _difference("gain", self.gain, unit, "over the first trial"),
            *self._on_new_data,
        ]

    def _notes(self) -> list[str]:
        return notes.study_notes(self)

    def _next_step(self) -> str:
        return (
            "evaluate the best trials on new seeds: adnn.recheck(study, evaluate), or adnn recheck"
        )

    def _figures(self) -> list[Figure]:
        return [figures.gain_figure(self), *figures.places_figure(self)]

    @property
    def _numbers(self) -> dict[str, float]:
        [numbers] = numbers_of([self], FIELDS)
        return numbers

    def _tables(self) -> list[Table]:
        return [self._number_table()]

    def _number_table(self) -> Table:
        """Return the numbers that are known; others may have no metric on a test set."""
        numbers, units = self._numbers, units_of(self)
        rows = [
            (field.label, field.text(numbers[field.key], field.unit_in(units)))
            for field in FIELDS
            if not math.isnan(numbers[field.key])
        ]
        rows += [(line.label, f"{line.value} (95% CI {line.ends})") for line in self._on_new_data]
        return Table(("number", "value"), rows, "Numbers", is_detail=True)

    def _fields(self) -> dict[str, Any]:
        return {
            "study_name": self.study.study_name,
            **self._attributes("metric positive test_metric sampler stop_reason budget"),
            "best": trial_fields(self.best),
            "best_is_added": self.best_is_added,
            **self._numbers,
            "new_data": next((line.estimate for line in self._on_new_data), None),
            "test_metrics": self.test_metrics,
            "confirmation": read_confirmation(self),
            "values": self.values,
            "settings": settings_fields(self),
        }


class NetworkSearch(StudyResult):
    """The result of a search over the initial values of a network."""

    @property
    def confirmation(self) -> Confirmation | None:
        """Findings of new seeds on the best trial; see :meth:`SearchResult.confirm`; or None."""
        return read_confirmation(self)

    @property
    def level(self) -> float:
        """The level of the CIs."""
        return super().level if self.confirmation is None else self.confirmation.level

    def _verdict(self) -> tuple[Verdict, str]:
        if self.best is None:
            return super()._verdict()
        if self.is_restart:
            return "no claim", "random restarts, no offsets to replicate"
        if self.confirmation is None:
            return super()._verdict()
        if not self.confirmation.gains:
            return "no claim", "the best network has no offsets"
        return _verdict_on(self.confirmation.replication)

    def _further_scope(self) -> list[str]:
        if self.confirmation is None:
            return []
        return [f"{len(self.confirmation.seeds)} new seeds"]

    def _estimates(self) -> list[Line]:
        unit, confirmation = units_of(self).test, self.confirmation
        lines = self._score_lines()
        if confirmation is not None:
            mean = unit.value(sum(confirmation.baselines) / len(confirmation.baselines))
            remark = f"their mean is {mean}"
            estimate = confirmation.vs_baselines
            lines.append(_difference("vs new baselines", estimate, unit, remark))
            if confirmation.gains:
                remark = "offsets on new seeds"
                lines.append(_difference("replication", confirmation.replication, unit, remark))
            if (hyperparameters := confirmation.hyperparameters) is not None:
                remark = "without offsets"
                lines.append(_difference("hyperparameters", hyperparameters, unit, remark))
        if not math.isnan(self.test_gain):
            lines.append(_difference("vs own baseline", self.test_gain, unit, _ONE_SEED))
        lines += self._selection_lines()
        if self.test_evaluation is None:
            lines += self._on_new_data
        return lines

    def _score_lines(self) -> list[Line]:
        """Return the test score of the best network; if it is another, the accuracy, too."""
        estimate, evaluation, own = test_estimate(self), self.test_evaluation, own_scores(self)
        if estimate is None or evaluation is None or own is None:
            return []
        examples = f"{evaluation['n_images']} {evaluation['unit']}"
        if self.test_metric == "test_accuracy":
            remark = f"{own.scores.sum()} of {examples}"
            return [Line("test score", estimate, ACCURACY, remark=remark)]
        label = score_in_words(self.test_metric, self.positive)
        lines = [Line(label, estimate, units_of(self).test, remark=examples)]
        if "accuracy" in self.test_metrics:
            accuracy = Estimate(self.test_metrics["accuracy"])
            lines.append(Line("test accuracy", accuracy, ACCURACY))
        return lines

    def _selection_lines(self) -> list[Line]:
        """Return the gains by the metric of the selection, of offsets and of hyperparameters."""
        unit = units_of(self).selection
        split = {"val": "validation", "train": "training"}.get(self.metric.partition("_")[0], "")
        lines = [_difference(f"{split} gain".strip(), self.gain, unit, _ONE_SEED)]
        is_confirmed = self.confirmation is not None and self.confirmation.hyperparameters
        if not math.isnan(self.hyperparameter_gain) and not is_confirmed:
            lines.append(_difference("hyperparameters", self.hyperparameter_gain, unit, _ONE_SEED))
        return lines

    def _notes(self) -> list[str]:
        if self.best is None:
            return super()._notes()
        found = [*notes.chance_notes([self]), *notes.test_set_notes(self)]
        if self.confirmation is not None:
            found += notes.confirmation_notes(self, self.confirmation)
        elif self.is_unseeded:
            found.append("No seed changes this training, so replication cannot be tested.")
        if self.is_minimized:
            found.append("Lower values of the metric are better; a positive gain is a decrease.")
        if not math.isnan(self.hyperparameter_gain):
            first = units_of(self).selection.value(self.attrs[stored.BASELINE])
            found.append(
                "Each baseline has the best trial's hyperparameters and no offsets. Their gain is "
                f"over the first trial's hyperparameters, whose baseline is {first}."
            )
        return [*found, *notes.data_notes([self]), *notes.unchanged_notes(self), *super()._notes()]

    def _next_step(self) -> str:
        if self.test_evaluation is None:
            return "evaluate the test set: result.test(), or adnn resume"
        if self.confirmation is not None or self.is_unseeded:
            return (
                "compare with random restarts and other uses of the same compute: "
                "adnn.compare(...)"
            )
        n = n_training_runs(self)
        return (
            f"test replication: result.confirm(), or adnn resume --confirm {SEEDS}. It trains {n} "
            f"networks on {SEEDS} new seeds, in about {duration(max(seconds_of(self, n), 1.0))}"
        )

    def _figures(self) -> list[Figure]:
        drawn = [figures.gain_figure(self), figures.evidence_figure(self, self.confirmation)]
        # The seeds of random restarts have no order.
        return drawn if self.is_restart else [*drawn, *figures.places_figure(self)]


def _verdict_on(replication: Estimate) -> tuple[Verdict, str]:
    if math.isnan(replication.value):
        return "not known", "replication not known"
    if replication.low > 0:
        return "replicates", "the gain replicates on new seeds"
    if replication.high < 0:
        return "worse", "the offsets lose on new seeds"
    return "not shown", "the gain is not shown to replicate"


def parts_of(record: SearchRecord) -> dict[str, Any]:
    """Return the fields of a record by name."""
    fields = (field.name for field in dataclasses.fields(SearchRecord) if field.init)
    return {name: getattr(record, name) for name in fields}


def _difference(label: str, found: Estimate | float, unit: Unit, remark: str) -> Line:
    estimate = found if isinstance(found, Estimate) else Estimate(found)
    return Line(label, estimate, unit, is_difference=True, remark=remark)
