"""Comparisons of models, or trainings: each trained with the same seeds, as numbers."""

from __future__ import annotations

import dataclasses
import math
import operator
from statistics import stdev

import pandas as pd
from scipy import stats

from adnn_optuna.engine.evaluations import Findings
from adnn_optuna.evidence.arm_values import ArmValues
from adnn_optuna.evidence.paired_differences import (
    ALPHA,
    PairedDifference,
    paired_differences,
    undecided,
    verdict_of,
)


@dataclasses.dataclass
class ModelComparisonFacts(Findings, ArmValues):
    """What models come to with the same seeds: :class:`~adnn_optuna.ModelComparison` tells it."""

    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    looks_again: bool
    equivalence: float | None
    sources: tuple[str, ...]
    draws_test_set: bool = False
    n_train: int = 0
    n_test: int = 0
    score: str = "test accuracy"
    like: tuple[str, ...] = ()
    arm = "model"

    def __post_init__(self) -> None:
        self.names = self.seeds
        of_seeds = [[(i, seed) for i in range(len(self.labels))] for seed in self.seeds]
        is_done = [all(e in self.evaluations for e in of_seed) for of_seed in of_seeds]
        n_done = [*is_done, False].index(False)
        self.values = {
            label: [self.evaluations[i, seed] for seed in self.seeds[:n_done]]
            for i, label in enumerate(self.labels)
        }
        self.on_these_rows = paired_differences(
            self.values, equivalence=self.equivalence, looks_again=self.looks_again
        )
        left = of_seeds[n_done:]
        if self.looks_again:
            is_decided = all(row.verdict != "undecided" for row in self.on_these_rows)
            left = [] if is_decided else left[:1]
            self.seeds = self.seeds[:n_done] if is_decided else self.seeds
        elif left:
            reason = f"{len(left)} of {len(self.seeds)} planned seeds are missing"
            self.on_these_rows = undecided(self.on_these_rows, reason)
        self.paired_differences = self.on_these_rows
        if self.draws_test_set:
            self.paired_differences = self._for_new_data()
        self.n_evaluations = len(self.seeds) * len(self.labels)
        self.missing = [e for of_seed in left for e in of_seed if e not in self.evaluations]

    def _for_new_data(self) -> list[PairedDifference]:
        """Return the differences with verdicts on new data, as the splits of one data set overlap.

        Two equal models differ on these rows; their interval must not be looked at before its end.
        """
        rows = self.on_these_rows
        if self.looks_again:
            said = "for new data it is read once, at a planned number of seeds, and not in between"
            return undecided(rows, said)
        if any(math.isinf(row.low) for row in rows):
            return rows
        judged = []
        for row in rows:
            low, high = self.new_data_interval(row)
            verdict = verdict_of(low, high, self.equivalence)
            judged.append(dataclasses.replace(row, low=low, high=high, verdict=verdict))
        return judged

    def new_data_interval(self, difference: PairedDifference) -> tuple[float, float]:
        """Return the interval of a difference for new data of this kind.

        It is Student's t with the correction of Nadeau and Bengio (2003), Machine Learning
        52:239-281, for training sets that overlap. It holds for a planned number of seeds.

        Returns:
            Its ends at the level of the other intervals; NaN where the test set is always the
            same, or one looks again, or seeds are missing, or there are less than two.
        """
        n = difference.n_pairs
        if not self.draws_test_set or self.looks_again or n < max(len(self.seeds), 2):
            return math.nan, math.nan
        arm, other = (self.values[a][:n] for a in (difference.arm, difference.other))
        sd = stdev(map(operator.sub, arm, other))
        quantile = float(stats.t.isf(ALPHA / (2 * len(self.paired_differences)), n - 1))
        half = quantile * sd * math.sqrt(1 / n + self.n_test / self.n_train)
        most = self.unit.largest
        return max(difference.mean - half, -most), min(difference.mean + half, most)

    def differences(self) -> pd.DataFrame:
        """Return one row for each two models: by how much the first is better on the test.

        Returns:
            A data frame with the index ``model``, ``other`` and the columns of
            :meth:`Comparison.differences`, and ``new_data_low`` and ``new_data_high``, see
            :meth:`new_data_interval`. Where these are known, the verdict is theirs.
        """
        table = super().differences()
        if not self.n_test:  # Of functions there are no data.
            return table
        ends = [self.new_data_interval(row) for row in self.paired_differences]
        table[["new_data_low", "new_data_high"]] = ends
        return table
