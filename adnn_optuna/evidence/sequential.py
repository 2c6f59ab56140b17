"""Intervals of paired differences that hold however often one looks: an inverted e-process.

If the differences d_i are symmetric about μ, then given all |d_i - μ| and the signs so far, the
next sign is a fair coin. So each factor exp(λ z_i) / cosh(λ z_i), with z_i the difference d_i - μ
over the root mean square of those up to it, has expectation 1, and their product over the pairs is
a nonnegative martingale [1]. E_n(μ), its mean over several λ, is one too, and by Ville's
inequality it ever reaches m/α with probability α/m at most [2]. The centres μ that it has not
excluded so far are a confidence set at every n at once: one may look after each pair, stop, or go
on.

[1] V. H. de la Peña. A general class of exponential inequalities for martingales and ratios.
The Annals of Probability 27(1):537-564, 1999.

[2] A. Ramdas, J. Ruf, M. Larsson, W. Koolen. Admissible anytime-valid sequential inference must
rely on nonnegative martingales. arXiv:2009.03167, 2020.
"""

from __future__ import annotations

import math

import numpy as np

ALPHA = 0.05  # The probability that any claim of a family is wrong.
DECIMALS = 12  # Differences of accuracies that are equal differ in later ones.
_RATES = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)  # The λ, each with both signs.


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

    Args:
        differences: The differences of one claim, of shape (pairs,), in their declared order.
        n_claims: The number of claims that share the probability ``ALPHA`` that any of their
            intervals ever misses its centre.

    Returns:
        Its ends: infinite while there are too few pairs to exclude anything, and NaN if all
        centres are excluded. 0 and the differences themselves are tried exactly.
    """
    d = np.asarray(differences, dtype=np.float64).round(DECIMALS)
    if not len(d):
        return -math.inf, math.inf

    def is_possible(centres: np.ndarray) -> np.ndarray:
        e_values = e_process(d - centres[:, np.newaxis])
        return np.asarray(e_values.max(axis=-1) < n_claims / ALPHA)

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
