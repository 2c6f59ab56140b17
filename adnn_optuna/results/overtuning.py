"""What a tuned configuration is worth on new data: the validation examples also selected it."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._units import ACCURACY, PLAIN, Estimate, Unit, unit_of
from adnn_optuna.engine.example_scores import Examples, read_examples
from adnn_optuna.render.document import Document, Figure, Line, Series, Table, Verdict
from adnn_optuna.render.printed import Printed
from adnn_optuna.results.settings import trial_fields
from adnn_optuna.samplers._trials import is_feasible
from adnn_optuna.stats.overtuning import FEWEST_GROUPS, Means, Metric, Resampling, resampling
from adnn_optuna.stats.spread import unit_of_values

_ALIKE = 1e-3  # Reported values that differ more from the means of the scores are none.


@dataclass(frozen=True)
class Overtuning(Printed):
    """What the best trial of a study is worth on new data.

    Attributes:
        study_name: The study's name.
        metric: What the values are; empty if the study does not say.
        maximize: Whether higher values are better.
        examples: The scores of single examples of the trials that store them.
        values: The values of these trials by their scores.
        n_groups: The number of groups; of single examples, that of the examples.
        n_omitted: How many trials were omitted, by the reason.
        resampling: What resamples of the examples show.
    """

    study_name: str
    metric: str
    maximize: bool
    examples: Examples = field(repr=False)
    values: np.ndarray = field(repr=False)
    n_groups: int
    n_omitted: Mapping[str, int]
    resampling: Resampling = field(repr=False)

    @property
    def trials(self) -> list[FrozenTrial]:
        """The completed trials that store scores of single examples."""
        return self.examples.trials

    @property
    def n_examples(self) -> int:
        """The number of the examples."""
        return len(self.examples.scores)

    @functools.cached_property
    def best(self) -> FrozenTrial:
        """The best of the trials, the first of equals."""
        sign = 1 if self.maximize else -1
        return max(self.trials, key=lambda trial: sign * _value(trial))

    @property
    def reported(self) -> float:
        """The best trial's value in the study."""
        return _value(self.best)

    @property
    def new_data(self) -> Estimate:
        """The expected value of the selected configuration on new data, with its 95% CI."""
        return self.resampling.new_data

    @property
    def optimism(self) -> Estimate:
        """By how much the reported value is too good, positive in both directions."""
        sign = 1 if self.maximize else -1
        value, *ends = (sign * (self.reported - bound) for bound in self.new_data)
        return Estimate(value, min(ends), max(ends))

    def document(self) -> Document:
        """Return everything that the result says."""
        is_known = not math.isnan(self.new_data.value)
        return Document(
            title=f"Study {self.study_name!r} on new data",
            verdict=self._verdict(),
            conclusion=self._conclusion(),
            scope=f"{len(self.trials)} trials, {self.n_examples} examples",
            estimates=self._estimates() if is_known else [],
            tables=[self._trial_table()],
            figures=[self._trial_figure(), self._curve_figure()] if is_known else [],
            notes=self._notes(),
            next_step="measure the seed variance, too: adnn.recheck(study, evaluate)",
            fields=self._fields(),
        )

    def _verdict(self) -> Verdict:
        if math.isnan(self.new_data.value):
            return "not known"
        return "overstated" if self.optimism.low > 0 else "not shown"

    @property
    def _is_accuracy(self) -> bool:
        return self.examples.are_right and not self.metric

    @property
    def _unit(self) -> Unit:
        unit = ACCURACY if self._is_accuracy else unit_of(self.metric)
        if unit is PLAIN:
            unit = unit_of_values([[_value(trial) for trial in self.trials]])
        return unit.rounded_to((self.new_data.high - self.new_data.low) / 2)

    def _conclusion(self) -> str:
        unit, n = self._unit, len(self.trials)
        best = f"The best of {n} trials" if n > 1 else "The trial"
        reported = (
            f"{best} reaches {unit.value(self.reported)} on the {self.n_examples} examples that "
            "also selected it."
        )
        if math.isnan(self.new_data.value):
            return f"{reported} These are too few to estimate its value on new ones."
        line = Line("", self.new_data, unit)
        new = f"Expect {line.value} on new examples (95% CI {line.ends})."
        optimism = self.optimism
        added = unit.gain(abs(optimism.value)).lstrip("+")
        if optimism.low > 0:
            how = f"Choosing among {n} trials on these examples adds {added}."
        elif optimism.value > 0 and n > 1:
            how = f"Choosing among {n} trials on these examples adds an estimated {added}; "
            how += "overstatement is not shown."
        else:
            how = "Overstatement is not shown."
        return f"{reported} {new} {how}"

    def _estimates(self) -> list[Line]:
        unit = self._unit
        reported = Estimate(self.reported, math.nan, math.nan)
        return [
            Line("new data", self.new_data, unit, remark="examples left out of the selection"),
            Line("reported", reported, unit, remark=f"trial {self.best.number}, selected"),
            Line(
                "optimism", self.optimism, unit, is_difference=True, remark="reported - new data"
            ),
        ]

    def _notes(self) -> list[str]:
        said = (
            "The CI contains the variance of examples and of the selection. The models are those "
            "of the trials: training with other seeds varies in addition."
        )
        notes = [said]
        if self.n_groups < self.n_examples:
            notes.append(f"The examples are of {self.n_groups} groups, which stay together.")
        if self.n_groups < FEWEST_GROUPS:
            notes.append(f"At least {FEWEST_GROUPS} examples, or groups of them, are needed.")
        for why, n in self.n_omitted.items():
            notes.append(f"{n} trial{'s' * (n != 1)} omitted: {why}.")
        reported = np.array([_value(trial) for trial in self.trials])
        gap = float(np.abs(reported - self.values).max())
        if gap > _ALIKE * max(float(np.abs(reported).max()), float(np.ptp(reported))):
            notes.append(
                "Trials did not report the values of their scores: these differ by up to "
                f"{self._unit.bare.value(gap)}, and the optimism contains that difference."
            )
        return notes

    def _trial_table(self) -> Table:
        unit, found = self._unit, self.resampling
        order = np.argsort(-found.selected, kind="stable")
        rows = [
            (
                f"trial {self.trials[i].number}",
                unit.value(_value(self.trials[i])),
                "" if math.isnan(found.left_out[i]) else unit.value(found.left_out[i]),
                f"{100 * found.selected[i]:.0f}%",
            )
            for i in order
        ]
        headings = ("trial", "reported", "left out", "selected")
        return Table(headings, rows, "Trials, by how many resamples select them", is_detail=True)

    def _trial_figure(self) -> Figure:
        unit, found = self._unit, self.resampling
        known = np.flatnonzero(found.selected > 0)
        values = [_value(self.trials[i]) for i in known]
        x, y = (unit.scale * np.array(of) for of in (values, found.left_out[known]))
        hover = [
            f"trial {self.trials[i].number}, selected in {100 * found.selected[i]:.0f}%"
            for i in known
        ]
        ends = [float(x.min()), float(x.max())]
        return Figure(
            key="overtuning",
            title="Trials on examples that selected them and on examples left out",
            x_label=unit.heading("reported value"),
            y_label=unit.heading("value on examples left out"),
            series=[
                Series("equal", ends, ends, "dashes", color=None),
                Series(
                    "trials that a resample selects",
                    x.tolist(),
                    y.tolist(),
                    hover=hover,
                    mark="points",
                ),
            ],
            caption="Below the line: worse on examples that did not select (losses: above it).",
        )

    def _curve_figure(self) -> Figure:
        unit, sign = self._unit, 1 if self.maximize else -1
        best = np.maximum.accumulate(sign * self.values)
        numbers = [*self.resampling.curve]
        optimism = [best[n - 1] - sign * self.resampling.curve[n] for n in numbers]
        return Figure(
            key="optimism",
            title="Optimism by the number of trials",
            x_label="trials",
            y_label=unit.heading("optimism", is_gain=True),
            series=[Series("optimism", numbers, [unit.scale * value for value in optimism])],
            caption="By how much the best value so far is too good.",
            log="x",
        )

    def _fields(self) -> dict[str, Any]:
        return {
            "study_name": self.study_name,
            "metric": self.metric,
            "maximize": self.maximize,
            "best": trial_fields(self.best),
            "reported": self.reported,
            "new_data": self.new_data,
            "optimism": self.optimism,
            "n_trials": len(self.trials),
            "n_omitted": dict(self.n_omitted),
            "n_examples": self.n_examples,
            "n_groups": self.n_groups,
            "trials": [
                {"trial": trial.number, "value": trial.value, "selected": share, "left_out": left}
                for trial, share, left in zip(
                    self.trials,
                    self.resampling.selected.tolist(),
                    self.resampling.left_out.tolist(),
                    strict=True,
                )
            ],
        }


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None  # It was completed.
    return trial.value


def valued_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the completed trials that have a finite value and violate no constraint."""
    completed = (trial for trial in trials if trial.state == TrialState.COMPLETE)
    return [t for t in completed if math.isfinite(_value(t)) and is_feasible(t)]


def overtuning_of(
    study: optuna.Study,
    attrs: Mapping[str, Any],
    trials: Sequence[FrozenTrial],
    *,
    metric: str = "",
    measure_of: Callable[[Examples], Means | Metric] | None = None,
) -> Overtuning | None:
    """Return what a study's trials are worth on new data; None if they store no scores.

    The ``attrs`` are the study's. Without ``measure_of``, values are means of scores.
    """
    valued = valued_trials(trials)
    examples = read_examples(study.study_name, attrs, valued)
    if examples is None:
        return None
    measure: Means | Metric = Means(examples.scores, examples.groups, are_right=examples.are_right)
    if measure_of is not None:
        measure = measure_of(examples)
    maximize = study.direction == StudyDirection.MAXIMIZE
    n_finished = sum(trial.state.is_finished() for trial in trials)
    omitted = {
        "pruned, failed or without a finite value": n_finished - len(valued),
        "without scores of single examples": len(valued) - len(examples.trials),
    }
    return Overtuning(
        study_name=study.study_name,
        metric=metric,
        maximize=maximize,
        examples=examples,
        values=measure.values,
        n_groups=len(measure.sizes),
        n_omitted={why: n for why, n in omitted.items() if n},
        resampling=resampling(measure, maximize=maximize),
    )
