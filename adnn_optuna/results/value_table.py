"""A table with a value for each arm and seed, and the claims that follow from the values."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from adnn_optuna._units import ACCURACY, Unit, unit_of
from adnn_optuna.stats.design import PairedDesign
from adnn_optuna.stats.paired_differences import PairedDifference
from adnn_optuna.stats.spread import outliers, unit_of_values

VALUE = "value"  # The name of values whose name is not known.
MOST_ARMS = 100  # With more arms, the CIs of all pairs are too wide to show anything.


@dataclass(frozen=True)
class ValueTable:
    """A value for each arm and seed, and all numbers that follow from these values.

    Attributes:
        arms: The values of each arm, by its label.
        design: How the values were planned. Its ``names`` are empty if values are not paired.
        per: What the values of a pair share, such as ``"seed"``.
        score: The name of the values.
        maximize: Whether higher values are better.
        baseline: The arm with which every other arm is compared. If it is None, all pairs are
            compared.
        is_paired: Whether values at the same position belong together.
        n_test: The number of test examples behind each value. It is 0 if it is not known.
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
        """The values, negated if lower values are better. The baseline is last.

        Each difference is then another arm's value minus the baseline's value.
        """
        sign = 1 if self.maximize else -1
        labels = sorted(self.arms, key=lambda label: label == self.baseline)
        return {label: [sign * value for value in self.arms[label]] for label in labels}

    @functools.cached_property
    def on_these_rows(self) -> list[PairedDifference]:
        """The differences of arms on these rows alone. They are not for new data."""
        pairs = itertools.combinations(self._better, 2)
        claims = [pair for pair in pairs if self.baseline is None or self.baseline in pair]
        if not self.is_paired:
            # Imported here, because most comparisons are paired and do not need this module.
            from adnn_optuna.stats.unpaired_differences import unpaired_differences

            return unpaired_differences(self._better, claims, margin=self.design.margin)
        n_examples = 0
        if self.unit is ACCURACY:
            n_examples = self.n_test
        rows = self.design.differences(self._better, claims, n_examples=n_examples)
        return [row for row in rows if row.verdict is not None]

    @functools.cached_property
    def differences(self) -> list[PairedDifference]:
        """The differences behind the verdicts.

        They are for new data if the values are of splits.
        """
        rows = self.on_these_rows
        most = self.unit.largest
        return self.design.for_new_data(rows, self._better, n_claims=len(rows), most=most)

    @property
    def is_of_new_data(self) -> bool:
        """Whether the verdicts are for new data.

        This is so if the values belong to splits of one data set.
        """
        return self.differences is not self.on_these_rows

    @functools.cached_property
    def unit(self) -> Unit:
        """The unit in which the values are written."""
        if self.score != VALUE:
            return unit_of(self.score)
        return unit_of_values(self.arms.values(), are_paired=self.is_paired)

    @functools.cached_property
    def compared(self) -> dict[str, np.ndarray]:
        """The values of each arm that count.

        Paired values count only before the arm's first gap.
        """
        arrays = {label: np.asarray(v, dtype=float) for label, v in self.arms.items()}
        if not self.is_paired:
            return arrays
        return {
            label: array[: np.logical_and.accumulate(np.isfinite(array)).sum()]
            for label, array in arrays.items()
        }

    @property
    def n_values(self) -> int:
        """The number of values that count in the arm with the fewest."""
        return min(map(len, self.compared.values()))

    @property
    def in_all_arms(self) -> dict[str, np.ndarray]:
        """The values that count in all arms.

        Paired values count only before the first gap of any arm.
        """
        n = self.n_values if self.is_paired else None
        return {label: array[:n] for label, array in self.compared.items()}

    @functools.cached_property
    def means(self) -> dict[str, float]:
        """The mean of each arm over :attr:`in_all_arms`."""
        return {label: float(array.mean()) for label, array in self.in_all_arms.items()}

    @property
    def ranked(self) -> list[str]:
        """The labels of the arms, the best mean first."""
        if not self.n_values:
            return [*self.arms]
        means = self.means
        return sorted(means, key=lambda label: means[label], reverse=self.maximize)

    def outliers(self, label: str) -> list[str]:
        """Return the names of an arm's values that are far worse than its other values.

        A paired value is left out if the other arms are as bad at the same position.
        """
        places = outliers(self.compared[label], maximize=self.maximize)
        if self.is_paired:
            places = self._not_shared(label, places)
        if self.design.names:
            return [self.design.names[i] for i in places]
        return [f"value {i + 1}" for i in places]

    def _not_shared(self, label: str, places: Sequence[int]) -> list[int]:
        """Return the positions at which an arm is bad and the other arms are not.

        If the median of the other arms is subtracted from an arm's values, more than half of the
        value's distance from the arm's median must remain.
        """
        arms = self.in_all_arms
        values = arms.pop(label)
        over_others = values - np.median([*arms.values()], axis=0)
        distances = np.median(values) - values
        own_distances = np.median(over_others) - over_others
        return [i for i in places if i < len(values) and own_distances[i] / distances[i] > 0.5]

    @property
    def column(self) -> str:
        """The name of the column of values in data frames."""
        return VALUE if self.score == VALUE else "test_accuracy"
