"""The confidence interval of a centre that stays valid after each further pair.

It inverts an e-process. Assume that the differences d_i are symmetric about μ. Given all |d_i - μ|
and the signs so far, the next sign is then a fair coin. Let z_i be d_i - μ, divided by the root
mean square of d_1 - μ to d_i - μ. Each factor exp(λ z_i) / cosh(λ z_i) then has expectation 1. The
product over the pairs is a nonnegative martingale (de la Peña 1999, Annals of Probability 27:537).
Its mean over several λ, E_n(μ), is also a nonnegative martingale. By Ville's inequality, the
probability that E_n(μ) ever reaches m/α is at most α/m (Ramdas, Ruf, Larsson, Koolen 2020,
arXiv:2009.03167). The centres μ that it has not excluded so far are a confidence set that is valid
at all n simultaneously.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np

ALPHA = 0.05  # The probability that any claim of a family is wrong.
DECIMALS = 12  # Equal differences of values around 1 may differ in later decimals.
AFTER_FIXED = 5
"""The divisor of the error rate of sequential CIs after the result of a fixed design was seen.

If the number of planned seeds is raised, there are two chances of a wrong claim. With a fifth of
the error rate for the second chance, 2.6% of claims without an effect are accepted. With the full
rate, it would be 3.3%, and with a single chance, it is 2.5% (``studies/error_rates.py``).
"""
_RATES = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)  # The values of λ, each with both signs.
_N_TRIED = 256  # Up to this number of pairs, all centres are tried.
_N_AT_ONCE = 2**17  # The number of differences per step, which limits the memory.
_MOST_TRIED = 2**20  # The maximum number of differences of pairs from tried centres.


def n_claims_of_rank(rank: int) -> int:
    """Return the divisor of the error rate for the k-th configuration that a study confirms.

    The divisors are 1, 2, 4, and so on. So for any number of configurations, the error rates add
    up to less than twice the first one.
    """
    return int(2 ** (rank - 1))


def e_process(centred: np.ndarray) -> np.ndarray:
    """Return E_1 … E_n of differences from their supposed centre, along the last axis."""
    means = np.cumsum(centred**2, axis=-1) / np.arange(1, centred.shape[-1] + 1)
    scales = np.sqrt(means)
    # If all differences so far are 0, z is 0, and the factors are 1.
    z = centred / np.where(scales > 0, scales, 1)
    sums = np.cumsum(z, axis=-1)
    sizes = np.abs(z)
    total = np.zeros_like(z)
    with np.errstate(over="ignore"):  # An overflow to infinity excludes the centre, too.
        for rate in _RATES:
            # log cosh x = |x| + log(1 + exp(-2|x|)) - log 2, which does not overflow.
            log_cosh = rate * sizes + np.log(1 + np.exp(-2 * rate * sizes)) - math.log(2)
            norms = np.cumsum(log_cosh, axis=-1)
            total += np.exp(rate * sums - norms) + np.exp(-rate * sums - norms)
    return total / (2 * len(_RATES))


@functools.cache
def fewest_sequential_pairs(n_claims: int) -> int:
    """Return the smallest number of pairs that can exclude a centre, if all pairs are equal."""
    # exp(2) / cosh(2) is above 1.9.
    most = math.ceil(math.log(2 * len(_RATES) * n_claims / ALPHA, 1.9))
    return 1 + int(np.argmax(e_process(np.ones(most)) >= n_claims / ALPHA))


def sequential_interval(differences: np.ndarray, n_claims: int) -> tuple[float, float]:
    """Return the hull of all centres that were never excluded, at level 1 - ALPHA / n_claims.

    If there are too few pairs to exclude a centre, or all centres are excluded, the ends are NaN.
    Centres that the first 256 pairs exclude stay excluded. So with more pairs, only some centres
    between these ends are tried: 0, the first differences, and many others.
    """
    d = np.asarray(differences, dtype=np.float64).round(DECIMALS)
    threshold = n_claims / ALPHA
    if len(d) < fewest_sequential_pairs(n_claims):
        return math.nan, math.nan
    first = d[:_N_TRIED]
    ends, outer = _hull(first, _candidates(first), threshold)
    if len(d) > _N_TRIED and np.isfinite(ends).all():
        centres = _candidates(d)
        centres = centres[(outer[0] < centres) & (centres < outer[1])]
        step = 1 + len(centres) // max(_MOST_TRIED // len(d), 32)
        exact = np.append(first, 0.0)
        tried = np.unique(np.concatenate([outer, exact, centres[::step]]))
        tried = tried[(outer[0] <= tried) & (tried <= outer[1])]
        ends, outer = _hull(d, tried, threshold)
        if np.isfinite(ends).all():  # The CI may be too wide, but not too narrow.
            ends = np.where(np.isin(ends, exact), ends, outer)
    return float(ends[0]), float(ends[1])


def sequential_ends(values: Sequence[float], half: float, n_claims: int) -> tuple[float, float]:
    """Return the ends of a mean's CI after more values than planned, given in order.

    The CI contains the fixed design's CI, which has the half width ``half``. This is needed
    because the mean of skewed values, such as values with rare outliers, may differ from the
    centre.
    """
    size = float(np.abs(values).max()) or 1.0
    mean = float(np.mean(values))
    low, high = sequential_interval(np.asarray(values) / size, AFTER_FIXED * n_claims)
    return min(size * low, mean - half), max(size * high, mean + half)


def _hull(d: np.ndarray, centres: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the outermost tried centres that are possible, and their outward neighbors."""

    def is_possible(centres: np.ndarray) -> np.ndarray:
        parts = np.array_split(centres, 1 + centres.size * len(d) // _N_AT_ONCE)
        largest = [e_process(d - part[:, np.newaxis]).max(axis=-1) for part in parts]
        return np.concatenate(largest) < threshold

    possible = np.flatnonzero(is_possible(centres))
    if not len(possible):
        return np.full(2, math.nan), np.full(2, math.nan)
    # Each end is between the outermost possible centre and its outward neighbor.
    ends = centres[possible[[0, -1]]]
    outer = np.array([-math.inf, *centres, math.inf])[possible[[0, -1]] + [0, 2]]
    if not np.isfinite(outer).all():
        return np.full(2, math.nan), outer
    steps = np.linspace(0, 1, 12)[:, np.newaxis]
    for _ in range(5):
        tried = ends + steps * (outer - ends)
        # The first row has the ends themselves. They are possible, even if rounding makes them
        # seem impossible.
        is_in = is_possible(tried.ravel()).reshape(tried.shape)
        is_in[0] = True
        tried[0] = ends
        for side in range(2):
            last = np.flatnonzero(is_in[:, side])[-1]
            ends[side] = tried[last, side]
            outer[side] = tried[min(last + 1, len(steps) - 1), side]
    return ends, outer


def _candidates(d: np.ndarray) -> np.ndarray:
    """Return centres to try, in ascending order: many between close values and near outliers."""
    values = np.unique(d)
    # A uniform grid is too coarse between close values. A grid of gaps is too coarse for outliers.
    inside = [values[:-1] + np.diff(values) * share for share in (1 / 3, 2 / 3)]
    least = float(values[0])
    most = float(values[-1])
    spread = most - least
    if not spread:
        spread = max(abs(least), 1.0)
    far = spread * np.geomspace(0.01, 1e8, 42)
    uniform = np.linspace(least, most, 40)
    centres = np.concatenate([[0.0], values, *inside, uniform, least - far, most + far])
    return np.unique(centres)
