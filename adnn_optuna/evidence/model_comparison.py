"""Comparisons of models: tables and verdicts, from their test accuracies by seed."""

from __future__ import annotations

import dataclasses
import math
import operator
from statistics import stdev
from typing import TYPE_CHECKING

from scipy import stats

from adnn_optuna.engine.evaluations import Findings
from adnn_optuna.evidence.paired_differences import (
    PairedDifference,
    differences_table,
    paired_differences,
    undecided,
)
from adnn_optuna.evidence.sequential import ALPHA

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass
class ModelComparisonFacts(Findings):
    """What models come to with the same seeds: :class:`~adnn_optuna.ModelComparison` tells it."""

    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    looks_again: bool
    equivalence: float
    sources: tuple[str, ...]
    draws_test_set: bool
    n_train: int
    n_test: int
    score: str = "test accuracy"

    def __post_init__(self) -> None:
        of_seeds = [[(i, seed) for i in range(len(self.labels))] for seed in self.seeds]
        is_done = [all(e in self.evaluations for e in of_seed) for of_seed in of_seeds]
        n_done = [*is_done, False].index(False)
        self.accuracies: dict[str, list[float]] = {
            label: [self.evaluations[i, seed] for seed in self.seeds[:n_done]]
            for i, label in enumerate(self.labels)
        }
        self.paired_differences: list[PairedDifference] = paired_differences(
            self.accuracies, equivalence=self.equivalence, looks_again=self.looks_again
        )
        left = of_seeds[n_done:]
        if self.looks_again:
            is_decided = all(row.verdict != "undecided" for row in self.paired_differences)
            left = [] if is_decided else left[:1]
            self.seeds = self.seeds[:n_done] if is_decided else self.seeds
        elif left:
            reason = f"{len(left)} of {len(self.seeds)} planned seeds are missing"
            self.paired_differences = undecided(self.paired_differences, reason)
        self.n_evaluations = len(self.seeds) * len(self.labels)
        self.missing = [e for of_seed in left for e in of_seed if e not in self.evaluations]

    def new_data_interval(self, difference: PairedDifference) -> tuple[float, float]:
        """Return the interval of a difference for new data of this kind.

        It is Student's t with the correction of Nadeau and Bengio (2003), Machine Learning
        52:239-281, for training sets that overlap. It holds for a planned number of seeds.

        Returns:
            Its ends at the level of the other intervals; NaN where the test set is always the
            same, or one looks again, or there are less than two seeds.
        """
        n = difference.n_pairs
        if not self.draws_test_set or self.looks_again or n < 2:
            return math.nan, math.nan
        arm, other = (self.accuracies[a][:n] for a in (difference.arm, difference.other))
        sd = stdev(map(operator.sub, arm, other))
        quantile = float(stats.t.isf(ALPHA / (2 * len(self.paired_differences)), n - 1))
        half = quantile * sd * math.sqrt(1 / n + self.n_test / self.n_train)
        return difference.mean - half, difference.mean + half

    def table(self) -> pd.DataFrame:
        """Return one row for each model.

        Returns:
            A data frame with the index ``model`` and the columns ``seeds``, ``test_accuracy`` (the
            mean, as a fraction) and ``test_accuracy_std``.
        """
        import pandas as pd

        seeds = pd.DataFrame(self.accuracies, dtype=float).rename_axis(columns="model")
        columns = {"test_accuracy": seeds.mean(), "test_accuracy_std": seeds.std()}
        return pd.DataFrame({"seeds": seeds.count(), **columns})

    def differences(self) -> pd.DataFrame:
        """Return one row for each two models: by how much the first is better on the test.

        Returns:
            A data frame with the index ``model``, ``other`` and the columns of
            :meth:`Comparison.differences`, and ``new_data_low`` and ``new_data_high``, see
            :meth:`new_data_interval`.
        """
        table = differences_table(self.paired_differences, "model")
        ends = [self.new_data_interval(row) for row in self.paired_differences]
        table[["new_data_low", "new_data_high"]] = ends
        return table
