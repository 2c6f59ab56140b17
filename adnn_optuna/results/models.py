"""The result of a comparison of models that are trained, or called, with the same seeds."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adnn_optuna._attributes import Declaration, Resampled
from adnn_optuna._units import ACCURACY, in_list
from adnn_optuna.render.document import Detail, Step
from adnn_optuna.render.printed import number_fields
from adnn_optuna.results.arm_comparison import VALUE, ArmComparison, ValueTable
from adnn_optuna.results.declarations import design_of
from adnn_optuna.results.difference_words import (
    other_comparisons_note,
    sources_in_words,
    test_set_note,
)
from adnn_optuna.results.sentences import (
    MAKE_THE_REST,
    NAME_A_VALUE,
    failures_note,
    made_so_far,
    value_of_run,
)
from adnn_optuna.samplers._evaluations import Evaluation
from adnn_optuna.stats.paired_differences import OPEN


@dataclass(frozen=True)
class ModelRuns:
    """The known values of models, and the evaluations that are missing.

    Attributes:
        evaluations: The known values, by the number of the model and the seed.
        labels: The labels of the models, in the order of their numbers.
        declaration: The declared seeds in their order, and the design.
        margin: The largest difference of two models that does not matter, or None.
        resampled: The numbers of training and test examples of a split, if seeds redraw the split.
        score: The name of the values. It is ``"test accuracy"``, ``"test R²"`` for a regression,
            or ``"value"`` for functions.
        failed: The value of each failed run, or None.
        n_test: The number of test examples, or 0 for functions.
    """

    evaluations: Mapping[Evaluation, float] = field(repr=False)
    labels: tuple[str, ...]
    declaration: Declaration
    margin: float | None = None
    resampled: Resampled | None = None
    score: str = VALUE
    failed: float | None = None
    n_test: int = 0

    @property
    def _declared_seeds(self) -> tuple[int, ...]:
        return tuple(self.declaration["seeds"])

    @functools.cached_property
    def _n_done(self) -> int:
        """The number of seeds before the first unfinished seed."""
        arms = range(len(self.labels))
        is_done = [all((i, s) in self.evaluations for i in arms) for s in self._declared_seeds]
        return [*is_done, False].index(False)

    @functools.cached_property
    def table(self) -> ValueTable:
        """The values of each model, before the first unfinished seed."""
        done_seeds = self._declared_seeds[: self._n_done]
        values = {}
        for i, label in enumerate(self.labels):
            runs = [self.evaluations[i, seed] for seed in done_seeds]
            values[label] = [value_of_run(run, self.failed) for run in runs]
        design = design_of(
            self.declaration, self._n_done, margin=self.margin, resampled=self.resampled
        )
        return ValueTable(values, design, score=self.score, n_test=self.n_test)

    @functools.cached_property
    def _is_decided(self) -> bool:
        """Whether a sequential design needs no further seed.

        Each pair of models must be decided, or have a missing value. Further seeds do not count
        after a missing value.
        """
        if not self.declaration["sequential"]:
            return False
        rows = self.table.on_these_rows
        return not any(row.verdict in OPEN and row.n_pairs == self._n_done for row in rows)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The declared seeds or, in a sequential design, the seeds until the decision."""
        if self._is_decided:
            return self._declared_seeds[: self._n_done]
        return self._declared_seeds

    @property
    def needed(self) -> list[Evaluation]:
        """The evaluations of all seeds or, in a sequential design, up to the next seed."""
        seeds = self.seeds
        if self.declaration["sequential"]:
            seeds = seeds[: self._n_done + 1]
        return [(i, seed) for seed in seeds for i in range(len(self.labels))]

    @functools.cached_property
    def missing(self) -> list[Evaluation]:
        """The evaluations to make next; empty if none is missing."""
        return [evaluation for evaluation in self.needed if evaluation not in self.evaluations]

    @property
    def n_evaluations(self) -> int:
        """The number of evaluations of all models on all seeds."""
        return len(self.seeds) * len(self.labels)


@dataclass(frozen=True, repr=False, kw_only=True)
class ModelComparison(ArmComparison):
    """The result of a comparison of models with the same seeds.

    The values of Keras models are on the test set. At most 5% of comparisons contain a false
    claim.

    Attributes:
        numbers: The values of each model, and all numbers that follow from them.
        runs: The known values, and the evaluations that are missing.
        study_name: The name of the study that stores the evaluations.
        sources: The sources of randomness that each seed redraws.
        n_train: The number of training examples, or 0 for functions.
        like: The names of other comparisons of the same data in the same storage.
        n_tests_elsewhere: The number of test-set evaluations by other studies in the storage.
    """

    runs: ModelRuns
    study_name: str = ""
    sources: tuple[str, ...] = ()
    n_train: int = 0
    like: tuple[str, ...] = ()
    n_tests_elsewhere: int = 0

    _arm = "model"

    def _why_nothing_is_shown(self) -> str:
        """Return the sentence that no mean is known, with the number of finished evaluations."""
        if any(self.numbers.arms.values()):
            return super()._why_nothing_is_shown()
        runs = self.runs
        progress = made_so_far(len(runs.evaluations), runs.n_evaluations, "training runs")
        return f"Nothing is known of the models yet: {progress}."

    @property
    def _fix_of_gap(self) -> str:
        return NAME_A_VALUE

    def _notes(self) -> list[str]:
        runs = self.runs
        n_failed = sum(map(math.isnan, runs.evaluations.values()))
        return [
            failures_note(n_failed, len(runs.evaluations), "runs", runs.failed),
            *super()._notes(),
            *other_comparisons_note("Models of the same data are", self.like),
            test_set_note(self.n_tests_elsewhere),
        ]

    def _about_data(self) -> list[str]:
        notes = list[str]()
        if n_test := self.numbers.n_test:
            each = ""
            if self.numbers.unit is ACCURACY:
                each = f": one is {100 / n_test:.2g} pp"
            notes.append(Detail(f"{n_test} test examples{each}."))
        if self.sources:
            sources = in_list(sources_in_words(self.sources))
            notes.append(Detail(f"Each seed redraws {sources}, alike for all models."))
        return notes

    def _next_step(self) -> Step:
        return MAKE_THE_REST if self.runs.missing else Step()

    def _fields(self) -> dict[str, Any]:
        return {
            "study_name": self.study_name,
            **number_fields(self.runs, "labels seeds"),
            **number_fields(self, "sources n_train"),
            "n_test": self.numbers.n_test,
            "failed": self.runs.failed,
            **super()._fields(),
        }
