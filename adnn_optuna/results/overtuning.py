"""The value of a study's best trial on new data, corrected for its selection."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._units import (
    ACCURACY,
    Estimate,
    Unit,
    capitalized,
    excess_over,
    in_number,
    score_sign,
)
from adnn_optuna.engine.example_scores import Examples, read_examples
from adnn_optuna.render.document import (
    Caution,
    Detail,
    Figure,
    Line,
    Step,
    Table,
    Verdict,
)
from adnn_optuna.render.printed import TRIAL, Printed, number_fields
from adnn_optuna.results.sentences import study_in_words
from adnn_optuna.samplers._trials import is_feasible
from adnn_optuna.stats.overtuning import (
    FEWEST_GROUPS,
    Means,
    Metric,
    RandomSplits,
    on_new_seeds,
    random_splits,
)
from adnn_optuna.stats.spread import fitted_unit

# If a reported value differs by more than this share from the mean of the trial's scores, it is a
# value of another metric.
_ALIKE = 1e-3
_N_LISTED = 10  # The number of trials in the table.


@dataclass(frozen=True, repr=False)
class Overtuning(Printed):
    """The value of a study's best trial on new data, and the excess of its reported value.

    Attributes:
        study_name: The study's name.
        metric: The metric's name; empty if unknown.
        maximize: Whether higher values are better.
        examples: The scores of single validation examples, for each trial that stores them.
        reported_values: The value of each of these trials in the study. The shape is (T,).
        values: The value of each of these trials, computed from its scores. The shape is (T,).
        n_groups: The number of groups of examples. Without groups, the number of examples.
        n_omitted: The number of omitted trials for each reason.
        splits: The results of selecting on random parts of the examples.
    """

    study_name: str
    metric: str
    maximize: bool
    examples: Examples
    reported_values: np.ndarray
    values: np.ndarray
    n_groups: int
    n_omitted: Mapping[str, int]
    splits: RandomSplits
    _recheck: Step = dataclasses.field(default=Step())  # How to recheck the study.

    @property
    def trials(self) -> list[FrozenTrial]:
        """The completed trials that store scores of single examples."""
        return self.examples.trials

    @property
    def n_examples(self) -> int:
        """The number of validation examples."""
        return len(self.examples.scores)

    @property
    def _sign(self) -> int:
        return score_sign(maximize=self.maximize)

    @property
    def best(self) -> FrozenTrial:
        """The trial with the best reported value. Of equal trials, it is the first."""
        return self.trials[int((self._sign * self.reported_values).argmax())]

    @property
    def reported(self) -> float:
        """The value that the study reports for its best trial."""
        return float(self._sign * (self._sign * self.reported_values).max())

    @property
    def new_data(self) -> Estimate:
        """The expected value of the selected trial on new data, with its 95% CI."""
        return self.splits.new_data

    @property
    def optimism(self) -> Estimate:
        """The reported best value minus the value on new data, with its 95% CI.

        If the reported value is too good, it is positive, even if lower values are better.
        """
        return excess_over(self.new_data, self.reported, maximize=self.maximize)

    def on_new_seeds(self, runs: Sequence[np.ndarray]) -> Estimate:
        """Return the value on new data and new seeds, with its CI.

        ``runs`` are the scores of the examples in each run on a new seed.
        """
        optimism = self._sign * self.optimism.value
        return on_new_seeds(np.array(runs), self.examples.scores, self.splits, optimism)

    @property
    def _is_known(self) -> bool:
        return not math.isnan(self.new_data.value)

    def _title(self) -> str:
        return f"{capitalized(study_in_words(self.study_name))} on new data"

    def _verdict(self) -> Verdict:
        return "overstated" if self.optimism.low > 0 else "not shown"

    def _scope(self) -> str:
        return f"{in_number(len(self.trials), 'trial')}, {self._examples_in_words}"

    def _figures(self) -> list[Figure]:
        if not self._is_known:
            return []
        return [self._figure()]

    def _next_step(self) -> Step:
        return self._recheck

    @property
    def _examples_in_words(self) -> str:
        return in_number(self.n_examples, "example")

    @functools.cached_property
    def _unit(self) -> Unit:
        is_share = self.examples.are_right and not self.metric
        unit = ACCURACY
        if not is_share:
            unit = fitted_unit(self.metric, [self.reported_values])
        return unit.rounded_to(self.new_data)

    @functools.cached_property
    def most_unlike(self) -> FrozenTrial | None:
        """The trial whose value differs most from its mean score, or None if all values agree."""
        gaps = np.abs(self.reported_values - self.values)
        is_alike = gaps.max() <= _ALIKE * float(np.abs(self.reported_values).max())
        if is_alike:
            return None
        return self.trials[int(gaps.argmax())]

    def _conclusion(self) -> str:
        unit = self._unit
        n = len(self.trials)
        reaches = f"reaches {unit.value(self.reported)} on the {self._examples_in_words}"
        reported = f"The best of {n} trials {reaches} that also selected it."
        if n == 1:
            reported = f"The trial {reaches}."
        if not self._is_known:
            needed = f"At least {FEWEST_GROUPS} examples or groups are needed for an estimate"
            return f"{reported} {needed}."
        new, _, optimism = self._estimates()
        added = unit.size(optimism.estimate.value)
        if math.isnan(self.new_data.low):
            return f"{reported} All scores are equal, so the value on new examples has no CI."
        estimate = f"{reported} Expect {new.value} on new examples (95% CI {new.ends})."
        if n == 1:
            return estimate
        adds = "adds" if self.maximize else "subtracts"
        choosing = f"{estimate} Choosing among {n} trials on these examples {adds}"
        if self.optimism.low > 0:
            return f"{choosing} an estimated {added}."
        if self.optimism.value > 0:
            return f"{choosing} an estimated {added}; overstatement is not shown."
        return f"{estimate} Overstatement is not shown."

    def _estimates(self) -> list[Line]:
        unit = self._unit
        best_trial = f"trial {self.best.number}"
        where = "nothing was selected"
        if len(self.trials) > 1:
            best_trial = f"{best_trial}, selected"
            where = "on examples that did not select"
        remark = "reported - new data" if self.maximize else "new data - reported"
        difference = unit.difference(self.reported, self.new_data.value)
        optimism = self.optimism._replace(value=self._sign * difference)
        return [
            Line("new data", self.new_data, unit, remark=where),
            Line("reported", Estimate(self.reported), unit, remark=best_trial),
            Line("optimism", optimism, unit, is_difference=True, remark=remark),
        ]

    def _notes(self) -> list[str]:
        notes = []
        if math.isfinite(self.new_data.low):
            selection = " and of the selection" if len(self.trials) > 1 else ""
            notes.append(
                f"The CI contains the variance of examples{selection}, not the variance of "
                "training with other seeds."
            )
        if self.n_groups < self.n_examples:
            sentence = f"The examples are of {self.n_groups} groups, which stay together."
            notes.append(Detail(sentence))
        for why, n in self.n_omitted.items():
            notes.append(f"{in_number(n, 'trial')} omitted: {why}.")
        if self.most_unlike:
            gap = float(np.abs(self.reported_values - self.values).max())
            sentence = (
                "Trials did not report the values of their predictions: these differ by up to "
                f"{self._unit.bare.value(gap)}, and the optimism contains that difference."
            )
            notes.append(Caution(sentence))
        return notes

    def _rows(self) -> list[dict[str, Any]]:
        """Return the numbers of each trial, sorted by the number of splits that select it."""
        splits = self.splits
        rows = []
        for i in np.argsort(-splits.selected, kind="stable"):
            row = {
                "trial": self.trials[i].number,
                "value": float(self.reported_values[i]),
                "left_out": float(splits.left_out[i]),
                "selected": float(splits.selected[i]),
            }
            rows.append(row)
        return rows

    def _tables(self) -> list[Table]:
        if len(self.trials) == 1:
            return []
        rows = []
        selected = [row for row in self._rows() if row["selected"]]
        for row in selected[:_N_LISTED]:
            reported = self._unit.value(row["value"])
            rows.append((f"trial {row['trial']}", reported, f"{100 * row['selected']:.1f}%"))
        headings = ("trial", "reported", "share of\nsplits")
        title = "Trials selected most often in random splits of the examples"
        return [Table(headings, rows, title, is_detail=True)]

    def _figure(self) -> Figure:
        """Return a figure of all reported values, the best value, and the value on new data."""
        # This import is here, because a result that is only printed does not need it.
        from adnn_optuna.results.value_figures import NewValues, selection_figure

        new, best, optimism = self._estimates()
        title = f"No overstatement of {best.value} is shown"
        if self._verdict() == "overstated":
            title = f"Expect {new.value} on new examples, not {best.value}"
        return selection_figure(
            "overtuning",
            title,
            best.unit.heading(self.metric.replace("_", " ") or "value"),
            trials=self.reported_values.tolist(),
            best=dataclasses.replace(best, label=f"trial {self.best.number}, best"),
            chosen=NewValues("new examples", dataclasses.replace(new, label="expected")),
            level=0.95,
            excess=f"optimism: {optimism.value}",
            maximize=self.maximize,
        )

    def _fields(self) -> dict[str, Any]:
        return {
            **number_fields(self, "study_name metric maximize reported new_data optimism"),
            **number_fields(self, "n_omitted n_examples n_groups"),
            "n_trials": len(self.trials),
            "best": number_fields(self.best, TRIAL),
            "trials": self._rows(),
        }


def _means(of: Examples) -> Means:
    return Means(of.scores, of.groups, are_right=of.are_right)


def overtuning_of(
    study: optuna.Study,
    attrs: Mapping[str, Any],
    trials: Sequence[FrozenTrial],
    *,
    metric: str = "",
    measure_of: Callable[[Examples], Means | Metric] = _means,
    after_split: Callable[[], object] = lambda: None,
) -> Overtuning | None:
    """Return the overtuning of a study, or None if no trial stores scores of examples."""
    completed = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    valued = [trial for trial in completed if math.isfinite(trial.values[0])]
    feasible = [trial for trial in valued if is_feasible(trial)]
    examples = read_examples(study.study_name, attrs, feasible)
    if examples is None:
        return None
    measure = measure_of(examples)
    maximize = study.direction == StudyDirection.MAXIMIZE
    n_finished = sum(trial.state.is_finished() for trial in trials)
    n_valued = len(valued)
    n_feasible = len(feasible)
    n_omitted = {
        "pruned, failed or without a finite value": n_finished - n_valued,
        "infeasible": n_valued - n_feasible,
        "without scores of single examples": n_feasible - len(examples.trials),
    }
    reported_values = np.array([trial.values[0] for trial in examples.trials])
    splits = random_splits(measure, maximize=maximize, after_split=after_split)
    return Overtuning(
        study_name=study.study_name,
        metric=metric,
        maximize=maximize,
        examples=examples,
        reported_values=reported_values,
        values=measure.values,
        n_groups=measure.n_groups,
        n_omitted={why: n for why, n in n_omitted.items() if n > 0},
        splits=splits,
    )
