"""Comparisons of models that are trained, or called, with the same seeds."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adnn_optuna._units import ACCURACY
from adnn_optuna.results.arm_comparison import ArmComparison
from adnn_optuna.results.differences import test_set_note
from adnn_optuna.results.findings import (
    NAME_A_VALUE,
    NEXT_STEP,
    counted,
    failures_note,
    made_so_far,
)
from adnn_optuna.samplers._evaluations import Evaluation
from adnn_optuna.stats.paired_differences import (
    OPEN,
    PairedDifference,
    inconclusive,
    paired_differences,
)


@dataclass(frozen=True)
class ModelComparison(ArmComparison):
    """Which of several models is better, each with the same seeds.

    The values of Keras models are on the test set. All claims together are wrong in at most 5% of
    all comparisons.

    Attributes:
        evaluations: The values that are known, by the number of the model and the seed.
        study_name: The name of their study.
        labels: The models.
        declared_seeds: The declared seeds, in their order.
        sequential: Whether seeds are added only until all is decided. CIs are wider to allow for
            that.
        after_fixed: Whether seeds were added to a fixed design. CIs are then at 99%.
        margin: The difference up to which two models are as good as each other.
        sources: The random sources that each seed redraws.
        score: The name of the values: ``"test accuracy"``, ``"test R²"`` of a regression, or
            ``"value"`` of functions.
        failed: The value that each failed run counts as, if there is one.
    """

    evaluations: Mapping[Evaluation, float] = field(repr=False, kw_only=False)
    labels: tuple[str, ...]
    declared_seeds: tuple[int, ...]
    n_train: int = 0
    n_test_evaluations_elsewhere: int = field(default=0, repr=False)
    score: str = field(default="test accuracy", kw_only=True)
    failed: float | None = field(default=None, kw_only=True)

    arm = "model"

    def nothing_known(self) -> str:
        """Return how far the comparison is."""
        if any(self.values.values()):
            return super().nothing_known()
        return f"Nothing is known of the models yet: {made_so_far(self, 'training runs')}."

    @property
    def _fix_of_gap(self) -> str:
        return NAME_A_VALUE

    @functools.cached_property
    def _n_done(self) -> int:
        """How many seeds are done, up to the first that is not."""
        arms = range(len(self.labels))
        is_done = [all((i, s) in self.evaluations for i in arms) for s in self.declared_seeds]
        return [*is_done, False].index(False)

    @functools.cached_property
    def values(self) -> dict[str, list[float]]:
        """The values of each model, up to the first seed that is not done."""
        done = self.declared_seeds[: self._n_done]
        return {
            label: [counted(self.evaluations[i, seed], self.failed) for seed in done]
            for i, label in enumerate(self.labels)
        }

    @functools.cached_property
    def _judged(self) -> list[PairedDifference]:
        """The differences over the seeds that are done."""
        n_examples = 0
        if self.unit is ACCURACY:
            n_examples = self.n_test
        return paired_differences(
            self.values,
            margin=self.margin,
            sequential=self.sequential,
            after_fixed=self.after_fixed,
            names=self.value_names,
            n_examples=n_examples,
        )

    @functools.cached_property
    def _is_decided(self) -> bool:
        """Whether a sequential design needs no further seed: none counts after a gap."""
        return self.sequential and not any(
            row.verdict in OPEN and row.n_pairs == self._n_done for row in self._judged
        )

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that count: all, or in a sequential design those up to the decision."""
        if self._is_decided:
            return self.declared_seeds[: self._n_done]
        return self.declared_seeds

    @property
    def value_names(self) -> list[str]:
        """The name of each pair's seed."""
        return [f"seed {seed}" for seed in self.declared_seeds]

    @functools.cached_property
    def on_these_rows(self) -> list[PairedDifference]:
        """The differences on the data as they are; inconclusive if planned seeds are missing."""
        n_seeds = len(self.declared_seeds)
        if self.sequential or self._n_done == n_seeds:
            return self._judged
        missing = n_seeds - self._n_done
        reason = f"no CI yet: {missing} of {n_seeds} planned seeds are missing"
        return inconclusive(self._judged, reason)

    @property
    def used(self) -> Mapping[Evaluation, float]:
        """The values that count."""
        return self.evaluations

    @functools.cached_property
    def missing(self) -> list[Evaluation]:
        """The evaluations to make next; empty at the end."""
        remaining_seeds = self.seeds[self._n_done :]
        if self.sequential:
            remaining_seeds = remaining_seeds[:1]
        needed = [(i, seed) for seed in remaining_seeds for i in range(len(self.labels))]
        return [evaluation for evaluation in needed if evaluation not in self.evaluations]

    @property
    def n_evaluations(self) -> int:
        """How many evaluations there are at most."""
        return len(self.seeds) * len(self.labels)

    def _notes(self) -> list[str]:
        n_failed = sum(map(math.isnan, self.evaluations.values()))
        failures = failures_note(n_failed, len(self.evaluations), "runs", self.failed)
        return [failures, *super()._notes(), test_set_note(self.n_test_evaluations_elsewhere)]

    def _next_step(self) -> str:
        return NEXT_STEP if self.missing else ""

    def _fields(self) -> dict[str, Any]:
        fields = self._attributes("study_name labels seeds sources n_train n_test failed")
        return fields | super()._fields()
