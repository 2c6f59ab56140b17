"""Statistics of values that are not paired: is one arm better than another?

The numbers of values must be planned. The CI of a difference of means contains two CIs. The first
inverts a studentized permutation test (Janssen 1997, Statistics & Probability Letters 36:9; Chung
and Romano 2013, Annals of Statistics 41:484) of the deviations from the arms' means. The
deviations are the same for each supposed difference, so test and CI agree. If the values of two
arms have distributions of the same shape, the rate of false claims is about 5%. The second CI is
by Welch (1947), Biometrika 34:28-35. It is needed for few values with unequal spread. All claims
share one error rate (Bonferroni).
"""

import functools
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from adnn_optuna.stats.intervals import t_quantile
from adnn_optuna.stats.paired_differences import (
    NO_SPREAD,
    Ends,
    PairedDifference,
    are_equal,
    size_of,
    verdict_of,
)
from adnn_optuna.stats.sequential import ALPHA

_N_PERMUTATIONS = 9_999
_MOST_PERMUTED = 500  # Above this many values of two arms, Welch's CI is used.
_MOST_CLAIMS = 100  # More claims would need too many permutations.


def unpaired_differences(
    values: Mapping[str, Sequence[float]],
    claims: Sequence[tuple[str, str]] | None = None,
    *,
    margin: float | None,
) -> list[PairedDifference]:
    """Return the difference of means for each claim. By default, every two arms are a claim.

    ``n_pairs`` is the smaller number of values of the two arms. The win rate is a share of all
    pairs with one value from each arm.
    """
    if claims is None:
        claims = list(itertools.combinations(values, 2))
    arrays = {label: np.asarray(of_arm, dtype=np.float64) for label, of_arm in values.items()}
    rows = []
    for arm, other_arm in claims:
        first = arrays[arm]
        second = arrays[other_arm]
        ends, reason = _interval(first, second, len(claims))
        row = PairedDifference(
            arm=arm,
            other=other_arm,
            n_pairs=min(len(first), len(second)),
            mean=float(first.mean() - second.mean()),
            win_rate=_win_rate(first, second),
            win_rate_low=math.nan,
            win_rate_high=math.nan,
            verdict=verdict_of(ends, margin),
            reason=reason,
            margin=margin,
            assumption="that the arms differ in their means only",
            **ends._asdict(),
        )
        rows.append(row)
    return rows


def _interval(one: np.ndarray, two: np.ndarray, n_claims: int) -> tuple[Ends, str]:
    """Return the ends of a difference's CI, or the reason why there is no CI."""
    n = np.array([len(one), len(two)])
    if min(n) < 2:
        return Ends(), "no CI: one value does not show how much the values vary"
    if are_equal(one) and are_equal(two):
        return Ends(), NO_SPREAD
    are_few = n.sum() <= _MOST_PERMUTED
    if are_few and math.comb(n.sum(), n[0]) < 2 * n_claims / ALPHA:
        return Ends(), f"no CI yet: {n[0]} and {n[1]} values have too few permutations"
    size = size_of(np.concatenate([one, two]))
    parts = np.array([(sample / size).var(ddof=1) for sample in (one, two)]) / n
    error = size * math.sqrt(parts.sum())
    freedom = parts.sum() ** 2 / (parts**2 / (n - 1)).sum()
    permuted = np.zeros(0)
    if are_few and n_claims <= _MOST_CLAIMS:
        permuted = _permuted(one / size, two / size)
    mean = float(one.mean() - two.mean())
    ends = []
    for tail in (ALPHA / (2 * n_claims), ALPHA / n_claims):
        most = -t_quantile(freedom, tail)
        least = -most
        if len(permuted):
            k = math.floor(tail * (len(permuted) + 1) + 1e-9)
            least, most = min(least, permuted[k - 1]), max(most, permuted[-k])
        ends += [mean - most * error, mean - least * error]
    return Ends(*ends), ""


def _permuted(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Permute the deviations from the arms' means, and return t of all permutations, sorted."""
    if one.std() < two.std():  # The result must not depend on the order of the arms.
        return -_permuted(two, one)[::-1]
    n_one = len(one)
    n_two = len(two)
    deviations = np.concatenate([one - one.mean(), two - two.mean()])
    is_in_one = _permutations(n_one, n_two)
    sums = is_in_one @ deviations
    squares = is_in_one @ deviations**2
    total = (deviations**2).sum()
    # All deviations sum to 0, so the deviations in the second arm sum to -sums.
    difference = sums / n_one + sums / n_two
    within_one = (squares - sums**2 / n_one) / (n_one * (n_one - 1))
    within_two = (total - squares - sums**2 / n_two) / (n_two * (n_two - 1))
    # Permutations without any spread within the arms are the most extreme.
    variance = np.maximum(within_one + within_two, total * 1e-12)
    return np.sort(difference / np.sqrt(variance))


@functools.lru_cache(maxsize=1)
def _permutations(n_one: int, n_two: int) -> np.ndarray:
    """Return each value's arm in each random permutation: 1 for the first arm, otherwise 0."""
    rng = np.random.default_rng(0)
    places = rng.permuted(np.tile(np.arange(n_one + n_two), (_N_PERMUTATIONS, 1)), axis=1)
    return (places < n_one).astype(np.float64)


def _win_rate(one: np.ndarray, two: np.ndarray) -> float:
    """Return the share of pairs in which the first arm's value is higher. Ties count half."""
    ordered = np.sort(two)  # Sorting avoids a matrix of all pairs.
    places = [np.searchsorted(ordered, one, side) for side in ("left", "right")]
    return float(np.mean(places) / len(two))
