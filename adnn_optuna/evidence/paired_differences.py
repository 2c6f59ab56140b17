"""Statistics of values that are paired by seed: is one arm better than another?

The unit is the seed: the values of two arms with the same seed form a pair, and what is judged is
the centre of the pairs' differences, of which is assumed that they are symmetric about it. Each
claim has one interval, at level 1 - α/m where m claims share α (Bonferroni), and its verdict says
what the interval says.

*   For a planned number of seeds it inverts the sign-flip test (Hartigan 1969, Using subsample
    values as typical values, JASA 64:1303).
*   Where one looks again after further seeds, it inverts an e-process: if the differences d_i are
    symmetric about μ, then given all |d_i - μ| and the signs so far, the next sign is a fair coin.
    So each factor exp(λ z_i) / cosh(λ z_i), with z_i the difference d_i - μ over the root mean
    square of those up to it, has expectation 1, and their product over the pairs is a nonnegative
    martingale (de la Peña 1999, Annals of Probability 27:537). E_n(μ), its mean over several λ, is
    one too, and by Ville's inequality it ever reaches m/α with probability α/m at most (Ramdas,
    Ruf, Larsson, Koolen 2020, arXiv:2009.03167). The centres μ that it has not excluded so far
    are a confidence set at every n at once: one may look after each pair, stop, or go on.
*   Differences within a region of practical equivalence matter to nobody (Kruschke 2018, Advances
    in Methods and Practices in Psychological Science 1:270).
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import stats

from adnn_optuna._checks import WrongValueError

if TYPE_CHECKING:
    import pandas as pd

VerdictName = Literal["better", "worse", "equivalent", "undecided"]

ALPHA = 0.05  # The probability that any claim of a family is wrong.
DECIMALS = 12  # Of values of size 1, differences that are equal differ in later ones.
EQUIVALENCE = 0.001  # Up to 0.1 percentage points of accuracy make no practical difference.
MAX_EXACT = 16  # With up to so many pairs, all subsets are looked at.
_N_SUBSETS = 99_999
_RATES = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)  # The λ, each with both signs.
_FEWEST_FOR_SKEW = 12  # With fewer pairs, no skewness can be told.


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """By how much an arm is better than the other, over the first seeds that both have.

    All numbers of differences are NaN without any pair. ``low`` and ``high`` are the ends of the
    interval of their centre, at level 1 - 0.05 / m for m claims; infinite where the pairs are too
    few, NaN without a claim or with contradictory pairs. ``superiority`` is the share of pairs in
    which the arm has the higher value, ties half, with its interval of 95 % by Clopper and
    Pearson; which is NaN where one looks again, as it does not hold for that. The verdict is
    :obj:`None` where a pair is shown without a claim. ``reason`` says why it must be undecided, or
    which seeds do not count.
    """

    arm: str
    other: str
    n_pairs: int
    mean: float
    low: float
    high: float
    superiority: float
    superiority_low: float
    superiority_high: float
    verdict: VerdictName | None
    reason: str = ""
    smallest: float = math.nan
    largest: float = math.nan

    def turned(self) -> "PairedDifference":
        """Return by how much the other arm is better than the one."""
        verdicts: dict[VerdictName | None, VerdictName] = {"better": "worse", "worse": "better"}
        return PairedDifference(
            *(self.other, self.arm, self.n_pairs, -self.mean, -self.high, -self.low),
            *(1 - self.superiority, 1 - self.superiority_high, 1 - self.superiority_low),
            verdicts.get(self.verdict, self.verdict),
            *(self.reason, -self.largest, -self.smallest),
        )


def paired_differences(
    values: Mapping[str, Sequence[float]],
    *,
    equivalence: float | None,
    claims: Sequence[tuple[str, str]] | None = None,
    n_claims: int = 0,
    looks_again: bool = False,
    names: Sequence[object] = (),
) -> list[PairedDifference]:
    """Compare each two arms by their values, higher ones better, in the declared order of seeds.

    Pairs count up to the first NaN: what is missing may depend on the value, so what comes later
    would be a selection. Claims are made of all pairs, or of ``claims``; where more were declared,
    ``n_claims`` share the error rate. ``names`` are what the values of an arm are of.
    """
    arrays = {arm: np.asarray(of_arm, dtype=np.float64) for arm, of_arm in values.items()}
    pairs = list(itertools.combinations(arrays, 2))
    claimed = {frozenset(claim) for claim in (pairs if claims is None else claims)}
    m = max(len(claimed), n_claims)
    interval_of = sequential_interval if looks_again else planned_interval
    rows = []
    for arm, other in pairs:
        has_both = np.isfinite(arrays[arm] - arrays[other])
        n_pairs = int(np.logical_and.accumulate(has_both).sum())
        one, two = arrays[arm][:n_pairs], arrays[other][:n_pairs]
        raw, sizes = one - two, np.abs([one, two]).max(axis=0)
        # Equal ones have no noise that is to be rounded away, such as huge values of failed runs.
        is_tie = np.abs(raw) <= sizes * 10.0**-DECIMALS
        size = size_of(sizes[~is_tie])
        d = (np.where(is_tie, 0.0, raw) / size).round(DECIMALS)
        low, high, verdict, reasons = math.nan, math.nan, None, []
        if {arm, other} in claimed:
            low, high = (size * end for end in interval_of(d, m))
            verdict = verdict_of(low, high, equivalence)
            if math.isnan(low):
                reasons.append("the differences are not of one distribution")
            elif math.isinf(low):
                fewest = fewest_pairs(m, looks_again=looks_again)
                of = f"{m} claims" if m > 1 else "one claim"
                reasons.append(f"with {of} it takes {fewest} pairs to decide any")
            if _is_skewed(d):
                reasons.append(
                    "the differences look skewed, but its interval takes them for symmetric"
                )
        if n_pairs < len(has_both):
            place = names[n_pairs] if names else f"pair {n_pairs + 1} of {len(has_both)}"
            reasons.append(f"the evidence ends before {place}, which lacks a finite value")
        mean = smallest = largest = superiority = math.nan
        if n_pairs:
            mean, smallest, largest = (size * float(of) for of in (d.mean(), d.min(), d.max()))
            superiority = float(np.where(is_tie, 0.5, raw > 0).mean())
        rounding = size * 10.0**-DECIMALS
        if mean < low - rounding or mean > high + rounding:
            reasons.append("few differences are far from all others: the mean is off their centre")
        ends = (math.nan, math.nan) if looks_again else share_interval(superiority, n_pairs)
        numbers = (n_pairs, mean, low, high, superiority, *ends, verdict, "; ".join(reasons))
        rows.append(PairedDifference(arm, other, *numbers, smallest, largest))
    return rows


def size_of(values: np.ndarray) -> float:
    """Return the power of two, by which to divide is exact, that makes values be of size 1."""
    return math.ldexp(0.5, math.frexp(float(np.abs(values).max(initial=0.0)))[1])


def verdict_of(low: float, high: float, equivalence: float | None) -> VerdictName:
    """Return the verdict of an interval, so that none contradicts it; NaN decide nothing."""
    if equivalence is not None and -equivalence <= low and high <= equivalence:
        return "equivalent"
    if low > 0:
        return "better"
    if high < 0:
        return "worse"
    return "undecided"


def undecided(rows: Sequence[PairedDifference], reason: str) -> list[PairedDifference]:
    """Return differences of which no claim is decided yet, for the same reason."""
    changed: Any = {"low": -math.inf, "high": math.inf, "verdict": "undecided", "reason": reason}
    return [dataclasses.replace(row, **changed) if row.verdict else row for row in rows]


def share_interval(share: float, n: float, level: float = 1 - ALPHA) -> tuple[float, float]:
    """Return the interval of a share of n by Clopper and Pearson (1934)."""
    if not n:
        return math.nan, math.nan
    k, tail = share * n, (1 - level) / 2
    low = stats.beta.ppf(tail, k, n - k + 1) if share > 0 else 0.0
    high = stats.beta.ppf(1 - tail, k + 1, n - k) if share < 1 else 1.0
    return float(low), float(high)


def _is_skewed(differences: np.ndarray) -> bool:
    """Return whether they are not symmetric, by the test of Miao, Gel, Gastwirth (2006) at 1 %."""
    if len(differences) < _FEWEST_FOR_SKEW:
        return False
    median = float(np.median(differences))
    scale = math.sqrt(math.pi / 2) * float(np.abs(differences - median).mean())
    # Of equal differences the mean may be off in its last bit.
    distance = round(abs(float(differences.mean()) - median), DECIMALS)
    limit = 2.576 * math.sqrt((math.pi / 2 - 1) / len(differences))
    return distance > limit * scale


def check_equivalence(equivalence: Any, largest: float = 1.0) -> None:
    """Refuse a margin that any two values are within, as they differ by ``largest`` at most."""
    if not (isinstance(equivalence, Real) and 0 < float(equivalence) < largest):
        below = f" and below {largest:g}, the largest difference (accuracies are fractions)"
        raise WrongValueError(
            f"equivalence must be a number above 0{below if math.isfinite(largest) else ''}; "
            f"got {equivalence!r}."
        )


@functools.cache  # Of looking again it costs more than all intervals of a comparison.
def fewest_pairs(n_claims: int, *, looks_again: bool = False) -> int:
    """Return how many pairs it takes before any verdict is possible; without claims none."""
    if n_claims == 0:
        return 0
    if not looks_again:
        # At least one of the 2ⁿ sign flips must lie beyond each end: α/(2m)·2ⁿ ≥ 1.
        return math.ceil(math.log2(2 * n_claims / ALPHA))
    numbers = itertools.count(1)
    return next(n for n in numbers if sequential_interval(np.zeros(n), n_claims) == (0, 0))


def planned_interval(differences: np.ndarray, n_claims: int) -> tuple[float, float]:
    """Return the centres that a sign-flip test does not reject, at level 1 - ALPHA / n_claims.

    A flip of signs leaves the sum as large if the mean of the flipped pairs is below the centre:
    so the ends are order statistics of the means of subsets (Hartigan 1969, typical values).
    They are infinite with too few pairs. Above 16 pairs, 99,999 random subsets, always the same,
    stand for all.
    """
    # In whole units of the last decimal sums are exact, so equal means are equal.
    units = np.rint(np.asarray(differences, dtype=np.float64) * 10.0**DECIMALS)
    is_exact = len(units) <= MAX_EXACT
    means = _means_of_all_subsets(units) if is_exact else _means_of_subsets(units, n_claims)
    k = math.floor(ALPHA / (2 * n_claims) * (len(means) + 1) + 1e-9)
    if k == 0:
        return -math.inf, math.inf
    low, high = np.partition(means, [k - 1, len(means) - k])[[k - 1, len(means) - k]]
    return float(low / 10.0**DECIMALS), float(high / 10.0**DECIMALS)


def _means_of_all_subsets(values: np.ndarray) -> np.ndarray:
    sums = counts = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums, sums + value])
        counts = np.concatenate([counts, counts + 1])
    return np.asarray(sums[1:] / counts[1:])


def _means_of_subsets(values: np.ndarray, n_claims: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    # Of more than 2,500 claims, these have no interval with fewer.
    n_subsets = max(_N_SUBSETS, math.ceil(2 * n_claims / ALPHA) - 1)
    sums, counts = np.zeros(n_subsets), np.zeros(n_subsets)
    for value in values:  # Pair by pair: a further one leaves the earlier draws as they are.
        is_in = rng.integers(0, 2, n_subsets, dtype=bool)
        sums += value * is_in
        counts += is_in
    # The empty subset has no mean; a full one, as rare, takes its place.
    is_empty = counts == 0
    sums[is_empty], counts[is_empty] = values.sum(), len(values)
    return np.asarray(sums / counts)


def e_process(centred: np.ndarray) -> np.ndarray:
    """Return E_1 … E_n of differences from their supposed centre, along the last axis."""
    n = np.arange(1, centred.shape[-1] + 1)
    scales = np.sqrt(np.cumsum(centred**2, axis=-1) / n)
    z = centred / np.where(scales > 0, scales, 1)  # Zeros so far: their factors are 1.
    sums, sizes, total = np.cumsum(z, axis=-1), np.abs(z), np.zeros_like(z)
    with np.errstate(over="ignore"):  # More than 1e308 excludes as infinity does.
        for rate in _RATES:
            # log cosh x = |x| + log(1 + exp(-2|x|)) - log 2, which does not overflow.
            log_cosh = rate * sizes + np.log(1 + np.exp(-2 * rate * sizes)) - math.log(2)
            log_norms = np.cumsum(log_cosh, axis=-1)
            total += np.exp(rate * sums - log_norms) + np.exp(-rate * sums - log_norms)
    return np.asarray(total / (2 * len(_RATES)))


def sequential_interval(differences: np.ndarray, n_claims: int) -> tuple[float, float]:
    """Return the hull of all centres that were never excluded, at level 1 - ALPHA / n_claims.

    The ends are infinite while there are too few pairs to exclude anything, and NaN if all centres
    are excluded. 0 and the differences, in their declared order, are tried exactly.
    """
    d = np.asarray(differences, dtype=np.float64).round(DECIMALS)
    if not len(d):
        return -math.inf, math.inf

    def is_possible(centres: np.ndarray) -> np.ndarray:
        # In parts, as thousands of pairs of thousands of centres would not fit into memory.
        parts = np.array_split(centres, 1 + centres.size * len(d) // 10**5)
        largest = [e_process(d - part[:, np.newaxis]).max(axis=-1) for part in parts]
        return np.asarray(np.concatenate(largest) < n_claims / ALPHA)

    centres = _candidates(d)
    possible = np.flatnonzero(is_possible(centres))
    if not len(possible):
        return math.nan, math.nan
    # Each end lies between the last possible centre, which is kept, and the next one outwards.
    ends = centres[possible[[0, -1]]]
    outer = np.array([-math.inf, *centres, math.inf])[possible[[0, -1]] + [0, 2]]
    if not np.isfinite(outer).all():
        return -math.inf, math.inf
    steps = np.linspace(0, 1, 12)[:, np.newaxis]
    for _ in range(5):
        tried = ends + steps * (outer - ends)
        # The end itself is known: its float need not come out of the line above.
        is_in = is_possible(tried.ravel()).reshape(tried.shape)
        is_in[0], tried[0] = True, ends
        for side in range(2):
            last = np.flatnonzero(is_in[:, side])[-1]
            ends[side] = tried[last, side]
            outer[side] = tried[min(last + 1, len(steps) - 1), side]
    return float(ends[0]), float(ends[1])


def _candidates(d: np.ndarray) -> np.ndarray:
    """Return centres, in ascending order, that are dense where the e-process may turn."""
    values = np.unique(d)
    # Between outliers a uniform grid would be too coarse for the bulk, and one of gaps for them.
    inside = [values[:-1] + np.diff(values) * share for share in (1 / 3, 2 / 3)]
    spread = float(values[-1] - values[0]) or max(abs(float(values[0])), 1.0)
    far = spread * np.geomspace(0.01, 1e8, 42)
    uniform = np.linspace(values[0], values[-1], 40)
    return np.unique(
        np.concatenate([[0.0], values, *inside, uniform, values[0] - far, values[-1] + far])
    )


def differences_table(rows: Sequence[PairedDifference], arm: str) -> "pd.DataFrame":
    """Return one row for each difference, with the index ``arm`` and ``other``."""
    import pandas as pd

    names = [field.name for field in dataclasses.fields(PairedDifference)]
    table = pd.DataFrame([vars(row) for row in rows], columns=names[:-2])
    table["verdict"] = table["verdict"].fillna("no claim")
    columns = {"arm": arm, "n_pairs": "pairs", "mean": "difference"}
    return table.rename(columns=columns).set_index([arm, "other"])
