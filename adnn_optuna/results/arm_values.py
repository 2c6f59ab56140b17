"""Arms that have one value for each seed, or other unit: their means, differences and verdicts."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from adnn_optuna._units import ACCURACY, Unit, unit_of
from adnn_optuna.engine.evaluations import Evaluation
from adnn_optuna.results.differences import differences_frame
from adnn_optuna.stats import paired_differences as paired
from adnn_optuna.stats.paired_differences import PairedDifference, size_of, verdict_of
from adnn_optuna.stats.resampling import Resampled, for_new_data, read_once
from adnn_optuna.stats.sequential import ALPHA, DECIMALS
from adnn_optuna.stats.spread import unit_of_values

VALUE = "value"  # What is measured, where nothing else is known of it.
MOST_ARMS = 100  # All pairs of more arms make so many claims that no interval says much.


class ArmValues:
    """What comparisons of values and of models share; these say what the attributes are."""

    values: Mapping[str, Sequence[float]]
    paired_differences: list[PairedDifference]
    on_these_rows: list[PairedDifference]
    score: str = VALUE
    maximize: bool = True
    arm: str = "arm"  # What an arm is called.
    per: str = "seed"
    is_paired: bool = True
    sequential: bool
    margin: float | None
    sources: tuple[str, ...] = ()
    n_test: int = 0
    like: tuple[str, ...] = ()
    names: Sequence[object] = ()
    resampled: Resampled | None = None

    @property
    def ranked(self) -> list[str]:
        """The labels of the arms, that with the best mean first."""
        if not self.n_values:
            return [*self.values]
        compared = self.compared
        return sorted(compared, key=lambda label: compared[label].mean(), reverse=self.maximize)

    @property
    def is_of_new_data(self) -> bool:
        """Whether verdicts are for new data of this kind, as splits of one data set overlap."""
        return self.paired_differences is not self.on_these_rows

    @functools.cached_property
    def unit(self) -> Unit:
        """How the values are shown."""
        if self.score != VALUE:
            return unit_of(self.score)
        return unit_of_values(self.compared.values(), are_paired=self.is_paired)

    @property
    def column(self) -> str:
        """What the values are called in tables."""
        return VALUE if self.score == VALUE else "test_accuracy"

    @functools.cached_property
    def compared(self) -> dict[str, np.ndarray]:
        """The values that count: of pairs, those up to the first that any arm lacks."""
        arrays = {label: np.asarray(v, dtype=float) for label, v in self.values.items()}
        if self.is_paired:
            is_known = np.all([np.isfinite(array) for array in arrays.values()], axis=0)
            n = int(np.logical_and.accumulate(is_known).sum())
            arrays = {label: array[:n] for label, array in arrays.items()}
        return arrays

    @property
    def n_values(self) -> int:
        """How many of them each arm has; where they are not paired, the one with the fewest."""
        return min(map(len, self.compared.values()))

    def table(self) -> pd.DataFrame:
        """Return one row for each arm, with the mean and the standard deviation of its values.

        Returns:
            A data frame with the index :attr:`arm` and the columns ``seeds`` (or what else the
            values are of), and ``value`` (of models that were trained ``test_accuracy``) with its
            standard deviation in ``value_std``.
        """
        arms = {label: pd.Series(values) for label, values in self.compared.items()}
        columns = {
            f"{self.per}s": {label: arm.count() for label, arm in arms.items()},
            self.column: {label: arm.mean() for label, arm in arms.items()},
            f"{self.column}_std": {label: arm.std() for label, arm in arms.items()},
        }
        return pd.DataFrame(columns).rename_axis(index=self.arm)

    def differences(self) -> pd.DataFrame:
        """Return one row for each two arms: by how much the first is better.

        Returns:
            A data frame with the index :attr:`arm`, ``other`` and the columns of
            :meth:`Comparison.differences`.
        """
        return differences_frame(self.paired_differences, self.arm)


@dataclasses.dataclass
class ValueComparisonFacts(ArmValues):
    """Values that were measured elsewhere, see :class:`~adnn_optuna.ValueComparison`."""

    values: Mapping[str, Sequence[float]] = dataclasses.field(repr=False)
    names: tuple[str, ...]
    per: str = "seed"
    maximize: bool = True
    margin: float | None = None
    sequential: bool = False
    is_paired: bool = True
    baseline: str | None = None
    resampled: Resampled | None = None

    def __post_init__(self) -> None:
        sign = 1 if self.maximize else -1
        # The baseline comes last, so that each difference is from it.
        labels = sorted(self.values, key=lambda label: label == self.baseline)
        better = {label: [sign * v for v in self.values[label]] for label in labels}
        claims = [
            pair
            for pair in itertools.combinations(labels, 2)
            if self.baseline is None or self.baseline in pair
        ]
        if self.is_paired:
            names = [f"{self.per} {name}" for name in self.names]
            rows = paired.paired_differences(
                better,
                margin=self.margin,
                claims=claims,
                sequential=self.sequential,
                names=names,
            )
            rows = [row for row in rows if row.verdict is not None]
        else:
            rows = unpaired_differences(better, claims, margin=self.margin)
        self.on_these_rows: list[PairedDifference] = rows
        self.paired_differences: list[PairedDifference] = rows
        if self.resampled is not None:
            n, m = len(self.names), len(claims)
            self.paired_differences = for_new_data(
                rows, better, self.resampled, n_planned=n, n_claims=m
            )


def unpaired_differences(
    values: Mapping[str, Sequence[float]],
    claims: Sequence[tuple[str, str]] | None = None,
    *,
    margin: float | None,
) -> list[PairedDifference]:
    """Compare the two arms of each claim, which are by default all pairs, by unpaired values.

    The intervals, of means, are those of Welch (1947), Biometrika 34:28-35, for planned numbers of
    values; ``n_pairs`` is the smaller one. The win_rate is of all pairs of their values.
    """
    claims = list(itertools.combinations(values, 2)) if claims is None else claims
    rows = []
    for arm, other in claims:
        one, two = (np.asarray(values[label], dtype=np.float64) for label in (arm, other))
        low, high, reason, mean = -math.inf, math.inf, "", float(one.mean() - two.mean())
        if (n_pairs := min(len(one), len(two))) < 2:
            reason = "with one value nothing is known of how much they vary"
        elif all(np.ptp(of) <= size_of(of) * 10.0**-DECIMALS for of in (one, two)):
            reason = "neither arm's values vary, so these do not tell how much others would"
        else:
            size = size_of(np.concatenate([one, two]))
            n = np.array([len(one), len(two)])
            parts = np.array([(of / size).var(ddof=1) for of in (one, two)]) / n
            freedom = parts.sum() ** 2 / (parts**2 / (n - 1)).sum()
            quantile = float(stats.t.isf(ALPHA / (2 * len(claims)), freedom))
            half = size * quantile * math.sqrt(parts.sum())
            low, high = mean - half, mean + half
        ordered = np.sort(two)  # All pairs of many values would not fit into memory.
        places = [np.searchsorted(ordered, one, side) for side in ("left", "right")]
        win_rate = (float(np.mean(places) / len(two)), math.nan, math.nan)
        numbers = (n_pairs, mean, low, high, *win_rate)
        verdict = verdict_of(low, high, margin)
        row = PairedDifference(arm, other, *numbers, verdict, reason, margin=margin)
        rows.append(row)
    return rows


@dataclasses.dataclass
class ModelComparisonFacts(ArmValues):
    """What models come to with the same seeds, see :class:`~adnn_optuna.ModelComparison`."""

    evaluations: Mapping[Evaluation, float] = dataclasses.field(repr=False)
    study_name: str
    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    sequential: bool
    margin: float | None
    sources: tuple[str, ...]
    resampled: Resampled | None = None
    n_train: int = 0
    n_test: int = 0
    score: str = "test accuracy"
    like: tuple[str, ...] = ()
    arm = "model"

    @property
    def used(self) -> Mapping[Evaluation, float]:
        """The values that count."""
        return self.evaluations

    def __post_init__(self) -> None:
        self.names: Sequence[object] = self.seeds
        arms = range(len(self.labels))
        is_done = [all((i, seed) in self.evaluations for i in arms) for seed in self.seeds]
        n_done = [*is_done, False].index(False)
        self.values: dict[str, list[float]] = {
            label: [self.evaluations[i, seed] for seed in self.seeds[:n_done]]
            for i, label in enumerate(self.labels)
        }
        rows = paired.paired_differences(
            self.values,
            margin=self.margin,
            sequential=self.sequential,
            names=[f"seed {seed}" for seed in self.seeds],
            n_examples=self.n_test if self.unit is ACCURACY else 0,
        )
        left = self.seeds[n_done:]
        if self.sequential and all(row.verdict not in paired.OPEN for row in rows):
            self.seeds, left = self.seeds[:n_done], ()
        elif self.sequential:
            left = left[:1]
        elif left:
            said = f"{len(left)} of {len(self.seeds)} planned seeds are missing"
            rows = paired.inconclusive(rows, said)
        self.on_these_rows: list[PairedDifference] = rows
        self.paired_differences: list[PairedDifference] = rows
        if self.resampled is not None:
            self.paired_differences = read_once(rows)
            if not self.sequential:
                n, m, most = len(self.seeds), len(rows), self.unit.largest
                self.paired_differences = for_new_data(
                    rows, self.values, self.resampled, n_planned=n, n_claims=m, most=most
                )
        self.n_evaluations: int = len(self.seeds) * len(self.labels)
        wanted: list[Evaluation] = [(i, seed) for seed in left for i in arms]
        self.missing: list[Evaluation] = [e for e in wanted if e not in self.evaluations]
