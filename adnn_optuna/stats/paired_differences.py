"""Statistics of values that are paired by seed: is one arm better than another?

A :class:`PairedDesign` is the plan of the pairs. It decides which pairs count, which claims are
still open, and how wide CIs are. Comparisons and rechecks share these rules.

Two arms' values with the same seed form a pair. The verdict is about the centre of the pairs'
differences, and assumes that they are symmetric about it. Each claim has one interval. If m claims
share α, its level is 1 - α/m (Bonferroni). The verdict follows from the interval.

* In a fixed design, with a planned number of seeds, the interval inverts the sign-flip test
    (Hartigan 1969, Using subsample values as typical values, JASA 64:1303). With 4 to 7 seeds, or
    with too few seeds for sign flips of m claims, the interval is Student's t.
*   *Not worse* has a separate bound, which is one-sided at level 1 - α/m.
* In a sequential design, the interval inverts an e-process, see
    :mod:`adnn_optuna.stats.sequential`. After each pair, you may read the verdict, and stop or
    continue.
*   Differences within the margin do not matter in practice (Kruschke 2018, Advances in Methods and
    Practices in Psychological Science 1:270).
"""

import dataclasses
import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from statistics import fmean, variance
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy

from adnn_optuna._attributes import Resampled
from adnn_optuna._checks import WrongValueError
from adnn_optuna._units import Estimate
from adnn_optuna.stats.intervals import t_quantile
from adnn_optuna.stats.sequential import (
    AFTER_FIXED,
    ALPHA,
    DECIMALS,
    fewest_sequential_pairs,
    sequential_interval,
)

VerdictName = Literal["better", "worse", "equivalent", "not worse", "inconclusive"]

# Further seeds may change these verdicts.
OPEN: tuple[VerdictName, ...] = ("inconclusive", "not worse")
# A difference of up to 0.1 percentage points of accuracy does not matter in practice.
MARGIN = 0.001
FEWEST_PLANNED = 4  # With fewer pairs, Student's t has hardly any power.
MAX_EXACT = 16  # Up to this number of pairs, all subsets are used.
_FEWEST_FLIPPED = 8  # With fewer pairs, an interval has too few sign flips.
NORMAL = "normal differences"  # The assumption of Student's t.
SYMMETRIC = "symmetric differences"  # The assumption of sign flips and of the e-process.
NO_SPREAD = "no CI, because no value varies"
_N_SUBSETS = 99_999
_N_AT_ONCE = 32  # The number of claims or pairs per step, which limits the memory.
_LEVEL_OF_SKEW = 0.01
_FEWEST_FOR_SKEW = 12  # With fewer pairs, skewness cannot be tested.


class Ends(NamedTuple):
    """The ends of a CI, and one-sided bounds with the same error rate."""

    low: float = math.nan
    high: float = math.nan
    at_least: float = math.nan
    at_most: float = math.nan

    def times(self, size: float) -> "Ends":
        """Return the ends for differences that are multiplied by a factor."""
        return Ends(*(size * end for end in self))

    def if_equal_apart_by(self, resolution: float) -> "Ends":
        """Return the ends. If they are equal, widen them by one ``resolution``."""
        if self.low != self.high:
            return self
        return Ends(*2 * (self.low - resolution / 2, self.low + resolution / 2))

    def within(self, most: float) -> "Ends":
        """Return the ends, limited to differences of at most this size."""
        return Ends(
            max(self.low, -most),
            min(self.high, most),
            max(self.at_least, -most),
            min(self.at_most, most),
        )


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """The difference of two arms, on the first seeds that both arms have.

    Without a pair, all numbers are NaN. ``low`` and ``high`` are the ends of the CI of the
    differences' centre, at level 1 - 0.05 / m for m claims. They are NaN without a claim, or if
    there is no CI, and then ``reason`` says why. ``win_rate`` is the share of pairs in which
    ``arm`` has the higher value; a tie counts half. It has a 95% interval by Clopper and Pearson.
    In a sequential design, this interval is not valid, so it is NaN. If the difference has no
    claim, the verdict is :obj:`None`. ``reason`` says why the verdict must be inconclusive, or
    which seeds do not count. ``worst`` is the smallest difference. If ``assumption`` is not empty,
    the verdict is only valid under this assumption. ``at_least`` and ``at_most`` are one-sided
    bounds at the same level as the interval. ``at_least`` decides whether the verdict is *not
    worse*.
    """

    arm: str
    other: str
    n_pairs: int
    mean: float
    low: float
    high: float
    win_rate: float
    win_rate_low: float
    win_rate_high: float
    verdict: VerdictName | None
    reason: str = ""
    worst: float = math.nan
    largest: float = math.nan
    margin: float | None = None
    assumption: str = ""
    at_least: float = math.nan
    at_most: float = math.nan
    n_ties: int = 0

    @property
    def estimate(self) -> Estimate:
        """The mean difference with its CI. Without a CI, the ends are NaN."""
        return Estimate(self.mean, self.low, self.high)

    @property
    def is_constant(self) -> bool:
        """Whether all pairs have the same difference."""
        return self.worst == self.largest

    def turned(self) -> "PairedDifference":
        """Return the difference with both arms exchanged."""
        ends = Ends(-self.high, -self.low, -self.at_most, -self.at_least)
        return dataclasses.replace(
            self.with_ends(ends),
            arm=self.other,
            other=self.arm,
            mean=-self.mean,
            win_rate=1 - self.win_rate,
            win_rate_low=1 - self.win_rate_high,
            win_rate_high=1 - self.win_rate_low,
            worst=-self.largest,
            largest=-self.worst,
        )

    def with_ends(self, ends: Ends) -> "PairedDifference":
        """Return the same difference with another CI and, if there is a claim, its new verdict."""
        verdict = None if self.verdict is None else verdict_of(ends, self.margin)
        return dataclasses.replace(self, verdict=verdict, **ends._asdict())


Claim = tuple[str, str]
"""A claim: the labels of two arms. The claim is that the first arm is better."""

Validity = Literal["fixed", "few", "sequential", "added", "unpaired", "new data"]
"""When the CIs of differences are valid, which depends on how the seeds were planned."""


@dataclasses.dataclass(frozen=True)
class PairedDesign:
    """The plan of paired values, which decides the CIs and verdicts of their differences.

    Attributes:
        names: The name of each pair, such as ``"seed 3"``.
        n_planned: The number of planned pairs.
        n_missing: The number of planned pairs that are missing.
        margin: The difference up to which two arms are equivalent, if any.
        sequential: Whether the verdict may be read after each pair.
        after_fixed: Whether a sequential design continues a fixed design whose result was seen.
            CIs are then at 99%.
        resampled: The numbers of training and test examples, if pairs are splits of one data set.
    """

    names: Sequence[str] = dataclasses.field(repr=False)
    n_planned: int
    n_missing: int = 0
    margin: float | None = None
    sequential: bool = False
    after_fixed: bool = False
    resampled: Resampled | None = None

    @property
    def validity(self) -> Validity:
        """The kind of CIs under this plan, except CIs for new data."""
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
        """Return the differences on these data, see :func:`paired_differences`.

        In a fixed design, they are inconclusive until all planned pairs exist.
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
        missing = f"the values of {self.n_missing} of {self.n_planned} planned seeds are missing"
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
        """Return differences of overlapping splits, with verdicts that are valid for new data.

        The CI is Student's t with the correction of Nadeau and Bengio (2003), Machine Learning
        52:239-281, for the planned number of rows. If a value is missing, the CI is NaN. If each
        row is a mean over several splits, ``splits`` are the values of the single splits. More
        splits per row reduce the variance of rows, except the part that all splits of a data set
        share. If values are not of splits, ``rows`` are returned. A difference without a CI stays
        unchanged. In a sequential design, all claims are inconclusive.
        """
        if self.resampled is None:
            return rows
        if self.sequential:
            rule = "verdicts for new data need a planned number of seeds"
            return inconclusive(rows, f"no CI: {rule}, but this design is sequential")
        n_train, n_test = self.resampled
        judged = []
        for row in rows:
            if math.isnan(row.low):
                judged.append(row)
                continue
            n = row.n_pairs
            ends = Ends()
            if n == self.n_planned:
                of_rows = variance(map(operator.sub, values[row.arm], values[row.other]))
                of_splits = of_rows
                if splits is not None:
                    of_splits = _split_variance(splits[row.arm], splits[row.other])
                error = math.sqrt(of_rows / n + of_splits * n_test / n_train)
                ends = student_ends(row.mean, error, n - 1, n_claims).within(most)
            judged.append(dataclasses.replace(row.with_ends(ends), assumption=""))
        return judged


def _split_variance(arm: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    """Return the variance between a row's splits of two arms' difference, averaged over rows."""
    rows = zip(arm, other, strict=True)
    return fmean(variance(map(operator.sub, *of_row)) for of_row in rows)


def paired_differences(
    values: Mapping[str, Sequence[float]],
    *,
    margin: float | None,
    claims: Sequence[tuple[str, str]] | None = None,
    n_claims: int = 0,
    sequential: bool = False,
    after_fixed: bool = False,
    names: Sequence[object] = (),
    n_examples: int = 0,
) -> list[PairedDifference]:
    """Compare every two arms by their values in the declared order of seeds. Higher is better.

    Pairs count up to the first NaN. A value may be missing because it was bad, so counting later
    pairs would be a selection. Each pair of arms in ``claims`` is a claim. By default, every two
    arms are a claim. If more claims were declared, ``n_claims`` is their number, and they share
    the error rate. ``after_fixed`` says whether a sequential design continues a fixed design whose
    result was seen. CIs are then at 99%. ``names`` are the names of an arm's values. Values that
    are shares of ``n_examples`` are compared as whole numbers, so that ties are exact.
    """
    arrays = {arm: np.asarray(of_arm, dtype=np.float64) for arm, of_arm in values.items()}
    pairs = list(itertools.combinations(arrays, 2))
    claimed = {frozenset(claim) for claim in (pairs if claims is None else claims)}
    m = max(len(claimed), n_claims)
    if not _are_shares(arrays, n_examples):
        n_examples = 0
    differences = {
        (arm, other_arm): _differences_of(arrays[arm], arrays[other_arm], n_examples)
        for arm, other_arm in pairs
    }
    judged = {
        pair: difference for pair, difference in differences.items() if frozenset(pair) in claimed
    }
    decimals = 0 if n_examples else DECIMALS
    n_shares = m
    if after_fixed:
        n_shares = m * AFTER_FIXED
    intervals = _intervals(judged, n_shares, decimals, sequential=sequential)
    fewest = fewest_pairs(m, sequential=sequential, after_fixed=after_fixed)
    rows = []
    for (arm, other_arm), of_pair in differences.items():
        n_pairs = len(of_pair.rounded)
        n_all = len(arrays[arm])
        ends = Ends()
        verdict = None
        reasons = list[str]()
        if (arm, other_arm) in intervals:
            too_few = ""
            if n_pairs < fewest:
                # After a missing value, further seeds add no pairs, so there will be no CI.
                no_ci = "no CI yet" if n_pairs == n_all else "no CI"
                for_claims = f" for {m} claims" if m > 1 and sequential else ""
                too_few = f"{no_ci}: {fewest} pairs are needed{for_claims}"
            ends, reasons = _ends_of_claim(of_pair, intervals[arm, other_arm], too_few)
            verdict = verdict_of(ends, margin)
        if n_pairs < n_all:
            place = names[n_pairs] if names else f"pair {n_pairs + 1} of {n_all}"
            reasons.append(f"{place} lacks a finite value, and only pairs before it count")
        mean = of_pair.in_values(np.mean)
        rounding = of_pair.size * 10.0**-DECIMALS
        if mean < ends.low - rounding or mean > ends.high + rounding:
            reasons.append("outliers move the mean difference outside of its CI")
        win_rate_low = math.nan
        win_rate_high = math.nan
        if not sequential:
            win_rate_low, win_rate_high = share_interval(of_pair.win_rate, n_pairs)
        row = PairedDifference(
            arm=arm,
            other=other_arm,
            n_pairs=n_pairs,
            mean=mean,
            win_rate=of_pair.win_rate,
            win_rate_low=win_rate_low,
            win_rate_high=win_rate_high,
            verdict=verdict,
            reason="; ".join(reasons),
            worst=of_pair.in_values(np.min),
            largest=of_pair.in_values(np.max),
            margin=margin,
            n_ties=n_pairs - int(np.count_nonzero(of_pair.rounded)),
            assumption=NORMAL if not sequential and is_by_t(n_pairs, m) else SYMMETRIC,
            **ends._asdict(),
        )
        rows.append(row)
    return rows


def _are_shares(arrays: Mapping[str, np.ndarray], n_examples: int) -> bool:
    """Return whether all values are shares of the examples, such as accuracies."""
    measured = np.concatenate([[], *arrays.values()])
    counts = n_examples * measured[np.isfinite(measured)]
    return np.allclose(counts, np.rint(counts), rtol=0, atol=1e-6)


def _ends_of_claim(
    of_pair: "_Differences", interval: Ends, too_few: str
) -> tuple[Ends, list[str]]:
    """Return the ends of a claim's CI, and the reasons to doubt it.

    Without a CI, the ends are NaN. ``too_few`` is a sentence if there are too few pairs, or else
    empty.
    """
    ends = Ends()
    reasons = list[str]()
    if too_few:
        reasons.append(too_few)
    elif of_pair.resolution == 0:
        reasons.append(NO_SPREAD)
    elif math.isnan(interval.low):
        reasons.append("the differences are not of one distribution")
    else:
        ends = interval.times(of_pair.size)
    if is_skewed(of_pair.rounded):
        reasons.append("the differences look skewed, but the CI assumes symmetric ones")
    return ends, reasons


class _Differences(NamedTuple):
    """The differences of the counted pairs, as multiples of ``size``, and the win rate.

    ``resolution`` is the smallest difference of two values, in multiples of ``size``, or 0 if no
    arm's values vary.
    """

    rounded: np.ndarray
    size: float
    win_rate: float
    resolution: float

    def in_values(self, statistic: Callable[[np.ndarray], Any]) -> float:
        """Return a statistic of the differences in units of the values, or NaN without pairs."""
        if len(self.rounded):
            return self.size * float(statistic(self.rounded))
        return math.nan


def _differences_of(one: np.ndarray, two: np.ndarray, n_examples: int) -> _Differences:
    """Return the differences of two arms before the first incomplete pair."""
    n_pairs = int(np.logical_and.accumulate(np.isfinite(one - two)).sum())
    one = one[:n_pairs]
    two = two[:n_pairs]
    raw = one - two
    sizes = np.abs([one, two]).max(axis=0)
    # Ties do not affect the size, because failed runs may all have the same huge value.
    is_tie = np.abs(raw) <= sizes * 10.0**-DECIMALS
    win_rate = math.nan
    is_constant = True
    if n_pairs:
        win_rate = float(np.where(is_tie, 0.5, raw > 0).mean())
        is_constant = are_equal(one) and are_equal(two)
    if n_examples:
        rounded = np.rint(raw * n_examples)
        size = 1 / n_examples
        resolution = 1.0
    else:
        size = size_of(sizes[~is_tie])
        rounded = (np.where(is_tie, 0.0, raw) / size).round(DECIMALS)
        resolution = resolution_of([*one, *two]) / size
    if is_constant:
        resolution = 0.0
    return _Differences(rounded, size, win_rate, resolution)


def _intervals(
    judged: Mapping[tuple[str, str], _Differences], m: int, decimals: int, *, sequential: bool
) -> dict[tuple[str, str], Ends]:
    """Return the ends of the CI of each claim."""
    if sequential:
        intervals = {}
        for pair, of_pair in judged.items():
            low, high = sequential_interval(of_pair.rounded, m)
            # In a sequential design, the one-sided bounds are equal to the ends.
            ends = Ends(low, high, low, high)
            intervals[pair] = ends.if_equal_apart_by(of_pair.resolution)
        return intervals
    by_length: dict[int, dict[tuple[str, str], _Differences]] = {}
    for pair, of_pair in judged.items():
        by_length.setdefault(len(of_pair.rounded), {})[pair] = of_pair
    intervals = {}
    for alike in by_length.values():
        differences = np.array([of_pair.rounded for of_pair in alike.values()])
        resolutions = [of_pair.resolution for of_pair in alike.values()]
        planned = planned_intervals(differences, m, decimals, resolutions)
        intervals |= dict(zip(alike, planned, strict=True))
    return intervals


def are_equal(values: np.ndarray) -> bool:
    """Return whether values are equal, except for rounding."""
    return bool(np.ptp(values) <= size_of(values) * 10.0**-DECIMALS)


def resolution_of(values: Sequence[float]) -> float:
    """Return the smallest difference of values. For accuracies, this is at least one example."""
    distinct = np.unique(values)
    gaps = np.diff(distinct)
    sizes = np.maximum(np.abs(distinct[1:]), np.abs(distinct[:-1]))
    return float(min(gaps[gaps > 10.0**-DECIMALS * sizes], default=0.0))


def size_of(values: np.ndarray) -> float:
    """Return the power of two that scales values to about 1. Division by it is exact."""
    return math.ldexp(0.5, math.frexp(float(np.abs(values).max(initial=0.0)))[1])


def verdict_of(ends: Ends, margin: float | None) -> VerdictName:
    """Return the verdict that an interval supports. A NaN interval is inconclusive."""
    if margin is not None and -margin <= ends.low and ends.high <= margin:
        return "equivalent"
    if ends.low > 0:
        return "better"
    if margin is not None and ends.at_least > -margin:
        return "not worse"
    if ends.high < 0:
        return "worse"
    return "inconclusive"


def inconclusive(rows: Sequence[PairedDifference], reason: str) -> list[PairedDifference]:
    """Return the differences with all claims inconclusive, for this reason."""
    return [
        dataclasses.replace(row.with_ends(Ends()), reason=reason) if row.verdict else row
        for row in rows
    ]


@functools.cache  # Many claims have the same shares.
def share_interval(share: float, n: float, level: float = 1 - ALPHA) -> tuple[float, float]:
    """Return the interval by Clopper and Pearson (1934) of a share of ``n`` examples or pairs."""
    if not n:
        return math.nan, math.nan
    k = share * n
    tail = (1 - level) / 2
    low = scipy.special.betaincinv(k, n - k + 1, tail) if share > 0 else 0.0
    high = scipy.special.betaincinv(k + 1, n - k, 1 - tail) if share < 1 else 1.0
    return float(low), float(high)


def is_skewed(differences: np.ndarray) -> bool:
    """Return whether differences are skewed, by the test of Miao, Gel and Gastwirth (2006)."""
    if len(differences) < _FEWEST_FOR_SKEW:
        return False
    median = float(np.median(differences))
    scale = math.sqrt(math.pi / 2) * float(np.abs(differences - median).mean())
    # The mean of equal differences may have a rounding error in its last bit.
    distance = round(abs(float(differences.mean()) - median), DECIMALS)
    quantile = -float(scipy.special.ndtri(_LEVEL_OF_SKEW / 2))
    limit = quantile * math.sqrt((math.pi / 2 - 1) / len(differences))
    return distance > limit * scale


def check_margin(margin: Any, largest: float = 1.0) -> None:
    """Raise an error if a margin is not below ``largest``, the largest possible difference."""
    if not (isinstance(margin, Real) and 0 < float(margin) < largest):
        below = f" and below {largest:g}, the largest difference (accuracies are fractions)"
        raise WrongValueError(
            f"margin must be a number above 0{below if math.isfinite(largest) else ''}; "
            f"got {margin!r}."
        )


def fewest_pairs(n_claims: int, *, sequential: bool = False, after_fixed: bool = False) -> int:
    """Return the number of pairs that a verdict needs, or 0 without claims."""
    if n_claims == 0:
        return 0
    if sequential:
        if after_fixed:
            n_claims *= AFTER_FIXED
        return fewest_sequential_pairs(n_claims)
    return FEWEST_PLANNED


def is_by_t(n_pairs: int, n_claims: int) -> bool:
    """Return whether a fixed design has so few pairs that its interval is Student's t."""
    # At least one of the 2ⁿ sign flips must be beyond each end: α/(2m)·2ⁿ ≥ 1.
    fewest = math.ceil(math.log2(2 * max(n_claims, 1) / ALPHA))
    return n_pairs < max(_FEWEST_FLIPPED, fewest)


def planned_interval(
    differences: np.ndarray, n_claims: int, decimals: int = DECIMALS, resolution: float = 0.0
) -> tuple[float, float]:
    """Return the centres that a sign-flip test does not reject, at level 1 - ALPHA / n_claims.

    The ends of this interval are order statistics of the means of all subsets (Hartigan 1969,
    typical values). Above 16 pairs, 99,999 random subsets are used, which are the same in each
    call. For few pairs, the interval is Student's t, see :func:`is_by_t`. Below 4 pairs, there is
    no interval.
    """
    rows = np.asarray(differences, dtype=np.float64)[np.newaxis]
    low, high, _, _ = planned_intervals(rows, n_claims, decimals, [resolution])[0]
    return low, high


def planned_intervals(
    differences: np.ndarray, n_claims: int, decimals: int, resolutions: Sequence[float]
) -> list[Ends]:
    """Return the ends for each row of an array of shape (claims, pairs).

    Sums are exact in whole units of the last decimal. Rounding changes a mean by less than a unit,
    so an end that is less than a unit from 0 is set to 0. ``resolutions`` has the smallest
    difference between two values for each row. If all differences of a row are equal, this is the
    width of the CI.
    """
    if is_by_t(differences.shape[1], n_claims):
        of_rows = zip(differences, resolutions, strict=True)
        return [_student_ends(row, n_claims, resolution) for row, resolution in of_rows]
    units = np.rint(differences * 10.0**decimals)
    n_subsets = _n_subsets(units.shape[1], n_claims)
    places = []
    for sides in (2, 1):
        k = math.floor(ALPHA / (sides * n_claims) * (n_subsets + 1) + 1e-9)
        places += [k - 1, n_subsets - k]
    intervals = []
    for start in range(0, len(units), _N_AT_ONCE):
        for means in _means_of_subsets(units[start : start + _N_AT_ONCE], n_subsets):
            ends = np.partition(means, places)[places]
            if decimals > 0:
                ends[np.abs(ends) < 1] = 0.0
            intervals.append(Ends(*(ends / 10.0**decimals).tolist()))
    widened = map(Ends.if_equal_apart_by, intervals, resolutions)
    return [*widened]


def _student_ends(differences: np.ndarray, n_claims: int, resolution: float) -> Ends:
    """Return the ends by Student's t.

    The standard deviation is at least the values' resolution.
    """
    n = len(differences)
    if n < FEWEST_PLANNED:
        return Ends()
    mean = float(differences.mean())
    error = max(float(differences.std(ddof=1)), resolution) / math.sqrt(n)
    return student_ends(mean, error, n - 1, n_claims)


def student_ends(mean: float, error: float, degrees: float, n_claims: int) -> Ends:
    """Return the ends of Student's CI of a mean, at level 1 - ALPHA / n_claims."""
    tail = ALPHA / n_claims
    half = error * -t_quantile(degrees, tail / 2)
    of_bound = error * -t_quantile(degrees, tail)
    return Ends(mean - half, mean + half, mean - of_bound, mean + of_bound)


def _n_subsets(n_pairs: int, n_claims: int) -> int:
    if n_pairs <= MAX_EXACT:
        return int(2**n_pairs - 1)
    # With more than 2,500 claims, fewer subsets would give no interval.
    return max(_N_SUBSETS, math.ceil(2 * n_claims / ALPHA) - 1)


def _means_of_subsets(values: np.ndarray, n_subsets: int) -> np.ndarray:
    """Return the means over subsets of pairs, for each row of values.

    All subsets are used up to 16 pairs, and ``n_subsets`` random subsets above.
    """
    n_pairs = values.shape[1]
    if n_pairs <= MAX_EXACT:
        sums = np.zeros((len(values), 1))
        sizes = np.zeros(1)
        for i in range(n_pairs):
            sums = np.concatenate([sums, sums + values[:, i : i + 1]], axis=1)
            sizes = np.concatenate([sizes, sizes + 1])
        return sums[:, 1:] / sizes[1:]
    rows = np.vstack([values, np.ones(n_pairs)])  # The last row counts the pairs of each subset.
    totals = np.zeros((len(rows), n_subsets))
    start = 0
    parts = _kept_memberships if n_pairs <= _N_AT_ONCE else _memberships
    for are_in in parts(n_pairs, n_subsets):
        end = start + len(are_in)
        totals += rows[:, start:end] @ are_in
        start = end
    sums = totals[:-1]
    sizes = totals[-1]
    # The empty subset has no mean. The full subset, which is as rare, replaces it.
    is_empty = sizes == 0
    sums[:, is_empty] = values.sum(axis=1, keepdims=True)
    sizes[is_empty] = n_pairs
    return sums / sizes


def _memberships(n_pairs: int, n_subsets: int) -> Iterator[np.ndarray]:
    """Yield arrays of shape (pairs, subsets).

    An entry is 1 if a random subset contains a pair, otherwise 0.
    """
    rng = np.random.default_rng(0)
    for start in range(0, n_pairs, _N_AT_ONCE):
        are_in = np.empty((min(_N_AT_ONCE, n_pairs - start), n_subsets))
        for of_pair in are_in:  # Drawing row by row, further pairs do not change earlier draws.
            of_pair[:] = rng.integers(0, 2, n_subsets, dtype=bool)
        yield are_in


@functools.lru_cache(maxsize=1)  # Further claims reuse these 26 MB or less.
def _kept_memberships(n_pairs: int, n_subsets: int) -> list[np.ndarray]:
    return [*_memberships(n_pairs, n_subsets)]
