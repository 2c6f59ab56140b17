"""Tables of values, one for each arm and seed, and the rules of the claims on them.

Comparisons of samplers, of models and of values that were measured elsewhere share the rules, and
so does the gain of a recheck: what pairs count, when a claim is open, and how wide a CI is.
"""

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from adnn_optuna._units import ACCURACY, Unit, unit_of
from adnn_optuna.results.differences import Design
from adnn_optuna.stats.paired_differences import PairedDifference, inconclusive, paired_differences
from adnn_optuna.stats.resampling import Resampled, for_new_data
from adnn_optuna.stats.spread import collapses, unit_of_values
from adnn_optuna.stats.unpaired_differences import unpaired_differences

VALUE = "value"  # The name of values of which nothing else is known.
MOST_ARMS = 100  # The CIs of all pairs of more arms are too wide to show anything.

Claim = tuple[str, str]
"""The labels of two arms, of which the first may be better."""


@dataclass(frozen=True)
class PairedDesign:
    """How paired values were planned, which decides what their differences show.

    Attributes:
        names: The name of each pair, such as ``"seed 3"``.
        n_planned: How many pairs were planned.
        n_missing: How many of these are not there yet.
        margin: The difference up to which two arms are equivalent, if any.
        sequential: Whether values are read after each pair.
        after_fixed: Whether pairs or arms were added to a fixed design. CIs are then at 99%.
        resampled: The numbers of training and test examples, if pairs are splits of one data set.
    """

    names: Sequence[str] = field(repr=False)
    n_planned: int
    n_missing: int = 0
    margin: float | None = None
    sequential: bool = False
    after_fixed: bool = False
    resampled: Resampled | None = None

    @property
    def validity(self) -> Design:
        """The kind of the CIs of the data as they are."""
        if self.after_fixed:
            return "added"
        if self.sequential:
            return "sequential"
        return "fixed"

    def differences(
        self,
        values: Mapping[str, Sequence[float]],
        claims: Sequence[Claim] | None = None,
        *,
        n_claims: int = 0,
        n_examples: int = 0,
    ) -> list[PairedDifference]:
        """Return the differences on the data as they are, see :func:`paired_differences`.

        They are inconclusive if planned pairs are missing.
        """
        rows = paired_differences(
            values,
            margin=self.margin,
            claims=claims,
            n_claims=n_claims,
            sequential=self.sequential,
            after_fixed=self.after_fixed,
            names=self.names,
            n_examples=n_examples,
        )
        if self.sequential or not self.n_missing:
            return rows
        missing = f"{self.n_missing} of {self.n_planned} planned seeds are missing"
        return inconclusive(rows, f"no CI yet: {missing}")

    def for_new_data(
        self,
        rows: list[PairedDifference],
        values: Mapping[str, Sequence[float]],
        *,
        n_claims: int,
        most: float = math.inf,
        splits: Mapping[str, Sequence[Sequence[float]]] | None = None,
    ) -> list[PairedDifference]:
        """Return the differences that verdicts are on, see :func:`for_new_data`."""
        return for_new_data(
            rows,
            values,
            self.resampled,
            n_planned=self.n_planned,
            n_claims=n_claims,
            sequential=self.sequential,
            most=most,
            splits=splits,
        )


@dataclass(frozen=True)
class ValueTable:
    """Values of arms, one for each seed, and all numbers that follow from them.

    Attributes:
        arms: The values of each arm, by its label.
        design: How they were planned; without names if the values are not paired.
        per: What pairs are of.
        score: The name of the values.
        maximize: Whether higher values are better.
        baseline: The arm that alone is compared with each other arm, if any.
        is_paired: Whether values at the same place belong together.
        n_test: The number of test examples of each value, if that is known.
    """

    arms: Mapping[str, Sequence[float]] = field(repr=False)
    design: PairedDesign
    per: str = "seed"
    score: str = VALUE
    maximize: bool = True
    baseline: str | None = None
    is_paired: bool = True
    n_test: int = 0

    @functools.cached_property
    def _better(self) -> Mapping[str, Sequence[float]]:
        """The values, higher ones better; the baseline is last, so differences are from it."""
        sign = 1 if self.maximize else -1
        labels = sorted(self.arms, key=lambda label: label == self.baseline)
        return {label: [sign * value for value in self.arms[label]] for label in labels}

    @functools.cached_property
    def on_these_rows(self) -> list[PairedDifference]:
        """The differences on the data as they are."""
        pairs = itertools.combinations(self._better, 2)
        claims = [pair for pair in pairs if self.baseline is None or self.baseline in pair]
        if not self.is_paired:
            return unpaired_differences(self._better, claims, margin=self.design.margin)
        n_examples = 0
        if self.unit is ACCURACY:
            n_examples = self.n_test
        rows = self.design.differences(self._better, claims, n_examples=n_examples)
        return [row for row in rows if row.verdict is not None]

    @functools.cached_property
    def differences(self) -> list[PairedDifference]:
        """The differences that verdicts are on: for new data if values are of splits."""
        rows = self.on_these_rows
        most = self.unit.largest
        return self.design.for_new_data(rows, self._better, n_claims=len(rows), most=most)

    @property
    def is_of_new_data(self) -> bool:
        """Whether verdicts are for new data of this kind, as splits of one data set overlap."""
        return self.differences is not self.on_these_rows

    @functools.cached_property
    def unit(self) -> Unit:
        """How the values are written."""
        if self.score != VALUE:
            return unit_of(self.score)
        return unit_of_values(self.arms.values(), are_paired=self.is_paired)

    @functools.cached_property
    def compared(self) -> dict[str, np.ndarray]:
        """The values that count: if they are paired, up to the first that the arm lacks."""
        arrays = {label: np.asarray(v, dtype=float) for label, v in self.arms.items()}
        if not self.is_paired:
            return arrays
        return {
            label: array[: np.logical_and.accumulate(np.isfinite(array)).sum()]
            for label, array in arrays.items()
        }

    @property
    def n_values(self) -> int:
        """How many values all arms have."""
        return min(map(len, self.compared.values()))

    @property
    def has_gaps(self) -> bool:
        """Whether some arms lack values that others of the same seed have."""
        return self.is_paired and len({*map(len, self.compared.values())}) > 1

    @functools.cached_property
    def means(self) -> dict[str, float]:
        """The mean of each arm; if the values are paired, of those that all arms have."""
        n = self.n_values if self.is_paired else None
        return {label: float(array[:n].mean()) for label, array in self.compared.items()}

    @property
    def ranked(self) -> list[str]:
        """The labels of the arms, the best mean first."""
        if not self.n_values:
            return [*self.arms]
        means = self.means
        return sorted(means, key=lambda label: means[label], reverse=self.maximize)

    def collapsed(self, label: str) -> list[str]:
        """Return the names of an arm's values that are far worse than its others."""
        places = collapses(self.compared[label], maximize=self.maximize)
        if self.design.names:
            return [self.design.names[i] for i in places]
        return [f"value {i + 1}" for i in places]

    @property
    def column(self) -> str:
        """The name of the values in data frames."""
        return VALUE if self.score == VALUE else "test_accuracy"
