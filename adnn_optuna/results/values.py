"""Comparisons of arms by values that were measured elsewhere."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adnn_optuna.results.arm_comparison import ArmComparison
from adnn_optuna.stats.paired_differences import PairedDifference, paired_differences
from adnn_optuna.stats.unpaired_differences import unpaired_differences


@dataclass(frozen=True)
class ValueComparison(ArmComparison):
    """Which of several arms is better, by values that were measured elsewhere.

    All claims together are wrong in at most 5% of all comparisons.

    Attributes:
        values: The values of each arm, by its label.
        names: The names of the seeds or data sets of the values; empty if they are not paired.
        per: What these are called.
        maximize: Whether higher values are better.
        margin: The difference up to which two arms are as good as each other.
        sequential: Whether you evaluate the values more than once.
        is_paired: Whether values of the same name belong together.
        baseline: The arm that alone is compared with each other arm, if any.
        resampled: The numbers of training and test examples, if rows are splits of one data set.
        n_rows: The number of rows, if the values are the means of groups of rows; else 0.
    """

    values: Mapping[str, Sequence[float]] = field(repr=False)
    names: tuple[str, ...]
    baseline: str | None = None
    n_rows: int = 0

    @property
    def value_names(self) -> list[str]:
        """The name of each pair's unit; empty if values are not paired."""
        return [f"{self.per} {name}" for name in self.names]

    @functools.cached_property
    def better(self) -> dict[str, list[float]]:
        """The values, higher ones better; the baseline is last, so differences are from it."""
        sign = 1 if self.maximize else -1
        labels = sorted(self.values, key=lambda label: label == self.baseline)
        return {label: [sign * value for value in self.values[label]] for label in labels}

    @property
    def _claims(self) -> list[tuple[str, str]]:
        pairs = itertools.combinations(self.better, 2)
        return [pair for pair in pairs if self.baseline is None or self.baseline in pair]

    @functools.cached_property
    def on_these_rows(self) -> list[PairedDifference]:
        """The differences on the data as they are."""
        if not self.is_paired:
            return unpaired_differences(self.better, self._claims, margin=self.margin)
        rows = paired_differences(
            self.better,
            margin=self.margin,
            claims=self._claims,
            sequential=self.sequential,
            names=self.value_names,
        )
        return [row for row in rows if row.verdict is not None]

    @property
    def _concluded(self) -> Sequence[PairedDifference]:
        """How much better each arm is than the baseline, else the best arm than the others."""
        if self.baseline:
            return self.paired_differences
        return super()._concluded

    def _shown(self, rows: Sequence[PairedDifference]) -> Sequence[PairedDifference]:
        if self.baseline:
            return rows
        return super()._shown(rows)

    def _size(self) -> str:
        means = f" (means of {self.n_rows} rows)" if self.n_rows else ""
        return f"{super()._size()}{means}"

    def _fields(self) -> dict[str, Any]:
        return self._attributes("names per baseline n_rows") | super()._fields()
