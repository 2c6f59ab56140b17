"""Looking again after each seed: intervals that stay right however often one looks, and stops.

For a centre μ let z_i = (d_i − μ) / s_i with s_i² the mean of (d_1 − μ)² … (d_i − μ)², and

    E_n(μ) = mean over λ of Π_{i ≤ n} exp(λ z_i) / cosh(λ z_i).

If the differences are symmetric about μ, the sign of d_n − μ is a fair coin given all sizes and
all signs before, so each factor has expectation 1 and E_n(μ) is a nonnegative martingale [1]; by
Ville's inequality the probability that it ever reaches 1/α is at most α [2, 3]. The interval is
the hull of all μ whose E never did, each claim of m with α/m.

[1] V. H. de la Peña. A general class of exponential inequalities for martingales and ratios. The
Annals of Probability 27(1):537-564, 1999.

[2] A. Ramdas, J. Ruf, M. Larsson, W. Koolen. Admissible anytime-valid sequential inference must
rely on nonnegative martingales. arXiv:2009.03167, 2020.

[3] A. Ramdas, R. Wang. Hypothesis testing with e-values. arXiv:2410.23614, 2024.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from adnn_optuna._checks import WrongValueError, check_positive

VerdictName = Literal["better", "worse", "equivalent", "undecided"]

ALPHA = 0.05  # The rate of false claims, over all claims of a family.
_LAMBDAS = np.array([0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0])  # Each with both signs.
_DECIMALS = 12  # Differences of accuracies that are equal differ in later ones.
_FAR = 1e9  # How many times the differences' range away all μ are alike.
_GRID = 257
_ROUNDS, _POINTS = 6, 33  # Refining an end, each round cuts its bracket by the points.


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the differences of one claim say after any number of looks.

    Args:
        verdict: ``"better"``, ``"worse"``, ``"equivalent"`` or ``"undecided"``.
        low: The lower end of the interval of the centre, NaN where no centre is left: the
            differences are then not of one distribution.
        high: Its upper end.
        e_value: The evidence against the centre 0, after all differences.
    """

    verdict: VerdictName
    low: float
    high: float
    e_value: float


def sequential_verdicts(
    differences: Mapping[str, Sequence[float]], *, equivalence: float, alpha: float = ALPHA
) -> dict[str, Verdict]:
    """Judge several claims after each further difference, as often as one likes.

    With probability 1 − ``alpha`` none of the claims is ever judged falsely, if each one's
    differences are symmetric about a centre.

    Args:
        differences: For each claim the differences, in their order.
        equivalence: The size of a difference up to which it does not matter.
        alpha: The probability of any false verdict of the family.

    Returns:
        The verdict on each claim.

    Raises:
        ValueError: If there is no claim, or a number is out of range.
    """
    if not differences:
        raise WrongValueError("differences is empty, but there must be at least one claim.")
    check_positive("equivalence", equivalence)
    if not 0 < alpha < 1:
        raise WrongValueError(f"alpha must be between 0 and 1, but it is {alpha!r}.")
    verdicts = {}
    for claim, of_claim in differences.items():
        values = np.asarray(of_claim, dtype=np.float64).reshape(-1)
        if not np.isfinite(values).all():
            raise WrongValueError(f"The differences of {claim!r} must be finite numbers.")
        low, high = sequential_interval(values, len(differences), alpha, equivalence)
        log_e = _log_e_values(values.round(_DECIMALS), np.zeros(1))
        e_value = float(np.exp(min(log_e[0, -1], 700.0))) if len(values) else 1.0
        verdicts[claim] = Verdict(verdict_of(low, high, equivalence), low, high, e_value)
    return verdicts


def verdict_of(low: float, high: float, equivalence: float) -> VerdictName:
    """Return the verdict that an interval allows, by which no verdict can contradict it."""
    if -equivalence <= low and high <= equivalence:
        return "equivalent"
    if low > 0:
        return "better"
    return "worse" if high < 0 else "undecided"


def sequential_interval(
    differences: np.ndarray, n_claims: int, alpha: float = ALPHA, equivalence: float = 0.0
) -> tuple[float, float]:
    """Return the interval of the centre of differences in their order, of shape (n,).

    It is the hull of all centres whose E never reached ``n_claims / alpha``: infinite before
    about 7 differences, NaN where none is left. Whether it holds 0, or the ends of the region of
    equivalence, is exact.
    """
    d = np.asarray(differences, dtype=np.float64).round(_DECIMALS)
    if not len(d):
        return -math.inf, math.inf
    limit = math.log(n_claims / alpha)
    scale = float(np.ptp(d)) or max(float(np.abs(d).max()), 1.0)
    low, high = float(d.min()), float(d.max())
    beyond = scale * np.geomspace(1e-6, _FAR, 61)
    grid = np.unique(
        np.concatenate(
            [
                [0.0, -equivalence, equivalence],
                low - beyond,
                np.linspace(low, high, _GRID),
                d,
                high + beyond,
            ]
        )
    )
    is_left = _log_e_values(d, grid).max(axis=1) < limit
    if not is_left.any():
        return math.nan, math.nan
    first, last = int(is_left.argmax()), len(grid) - 1 - int(is_left[::-1].argmax())
    ends = []
    for end, outside in ((first, first - 1), (last, last + 1)):
        if not 0 <= outside < len(grid):
            ends.append(-math.inf if outside < 0 else math.inf)
            continue
        inner, outer = grid[end], grid[outside]
        for _ in range(_ROUNDS):
            points = np.linspace(inner, outer, _POINTS)
            kept = _log_e_values(d, points).max(axis=1) < limit
            # The outermost that is left; the grid's own end stays if none is.
            k = len(points) - 1 - int(kept[::-1].argmax()) if kept.any() else 0
            inner, outer = points[k], points[min(k + 1, len(points) - 1)]
        ends.append(float(inner))
    return ends[0], ends[1]


def fewest_looks(n_claims: int, alpha: float = ALPHA) -> int:
    """Return the fewest differences from which an interval can be finite."""
    n = 1
    # Far below all differences, each z is 1.
    while _log_e_values(np.ones(n), np.zeros(1))[0, -1] < math.log(n_claims / alpha):
        n += 1
    return n


def _log_e_values(differences: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return log E_1(μ) … log E_n(μ) for each centre μ, of shape (centres, n)."""
    if not len(differences):
        return np.zeros((len(centres), 1))
    moved = differences - centres[:, None]
    n = np.arange(1, len(differences) + 1)
    scale = np.sqrt(np.cumsum(moved**2, axis=1) / n)
    z = np.divide(moved, scale, out=np.zeros_like(moved), where=scale > 0)
    sums = np.cumsum(z, axis=1)
    logs = []
    for rate in _LAMBDAS:
        product = np.abs(rate * z)
        log_cosh = product + np.log1p(np.exp(-2 * product)) - math.log(2)
        costs = np.cumsum(log_cosh, axis=1)
        logs += [rate * sums - costs, -rate * sums - costs]
    top = np.maximum.reduce(logs)
    return np.asarray(top + np.log(np.mean([np.exp(one - top) for one in logs], axis=0)))
