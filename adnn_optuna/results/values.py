"""Comparisons of arms by values that were measured elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adnn_optuna.results.arm_comparison import ArmComparison
from adnn_optuna.stats.paired_differences import PairedDifference


@dataclass(frozen=True)
class ValueComparison(ArmComparison):
    """Which of several arms is better, by values that were measured elsewhere.

    All claims together are wrong in at most 5% of all comparisons.

    Attributes:
        numbers: The values of each arm, and all numbers that follow from them.
        names: The names of the seeds or data sets of the values; empty if they are not paired.
        n_rows: The number of rows, if the values are the means of groups of rows; else 0.
    """

    names: tuple[str, ...] = ()
    n_rows: int = 0

    @property
    def _concluded(self) -> Sequence[PairedDifference]:
        """How much better each arm is than the baseline, or the best arm than the others."""
        if self.numbers.baseline:
            return self.numbers.differences
        return super()._concluded

    def _shown(self, rows: Sequence[PairedDifference]) -> Sequence[PairedDifference]:
        if self.numbers.baseline:
            return rows
        return super()._shown(rows)

    def _size(self) -> str:
        if self.n_rows:
            return f"{super()._size()} (means of {self.n_rows} rows)"
        return super()._size()

    def _fields(self) -> dict[str, Any]:
        return {
            "names": self.names,
            "per": self.numbers.per,
            "baseline": self.numbers.baseline,
            "n_rows": self.n_rows,
            **super()._fields(),
        }
