"""Verdicts on paired differences that hold however often one looks: an inverted e-process.

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

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from adnn_optuna._checks import WrongValueError, check_positive

VerdictName = Literal["better", "worse", "equivalent", "undecided"]

ALPHA = 0.05  # The probability that any claim of a family is wrong.
DECIMALS = 12  # Differences of accuracies that are equal differ in later ones.
_RATES = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)  # The λ, each with both signs.


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is known of a claim after all its pairs.

    Args:
        verdict: ``"equivalent"``: the interval lies within the margin; else ``"better"``: above 0;
            ``"worse"``: below 0; ``"undecided"``: none of these.
        low: The lower end of the interval of the differences' centre. Both ends are infinite while
            nothing is excluded, and NaN if everything is: then the differences are not of one
            distribution.
        high: Its upper end.
        e_value: The evidence against a centre of 0, the e-process E_n(0) after the last pair; 1
            without any. Its expectation is 1 at most if the centre is 0. The interval excludes
            what ever reached m/α, so 0 may be excluded although this has fallen again.
    """

    verdict: VerdictName
    low: float
    high: float
    e_value: float


def sequential_verdicts(
    differences: Mapping[str, Sequence[float]], *, equivalence: float, alpha: float = ALPHA
) -> dict[str, Verdict]:
    """Judge claims from their pairs so far; call it after each pair, as often as you like.

    Args:
        differences: The paired differences of each claim, in the order in which the pairs were
            declared. Claims may have different numbers of pairs.
        equivalence: Differences up to this one do not matter.
        alpha: The probability that any of the claims is ever decided wrongly.

    Returns:
        The verdict on each claim.

    Raises:
        ValueError: If there is no claim, a difference is not finite, ``equivalence`` is not
            positive and finite, or ``alpha`` is not between 0 and 1.
    """
    if not differences:
        raise WrongValueError(
            "There is no claim in `differences`; give the pairs of at least one."
        )
    check_positive("equivalence", equivalence)
    check_positive("alpha", alpha)
    if alpha >= 1:
        raise WrongValueError(f"`alpha` must be less than 1, but is {alpha!r}.")
    verdicts = {}
    for claim, values in differences.items():
        d = finite_differences(claim, values)
        low, high = sequential_interval(d, len(differences), alpha)
        e_value = float(e_process(d)[-1]) if len(d) else 1.0
        verdicts[claim] = Verdict(verdict_of(low, high, equivalence), low, high, e_value)
    return verdicts


def finite_differences(claim: str, values: Sequence[float]) -> np.ndarray:
    """Return a claim's differences, rounded so that equal ones are equal; refuse infinite ones."""
    d = np.asarray(values, dtype=np.float64).round(DECIMALS)
    if d.ndim != 1 or not np.isfinite(d).all():
        raise WrongValueError(
            f"The differences of {claim!r} must be a sequence of finite numbers; end it before "
            "the first pair that has none."
        )
    return d


def verdict_of(low: float, high: float, equivalence: float) -> VerdictName:
    """Return the verdict of an interval, so that none contradicts it; NaN decide nothing."""
    if -equivalence <= low and high <= equivalence:
        return "equivalent"
    if low > 0:
        return "better"
    if high < 0:
        return "worse"
    return "undecided"


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


def sequential_interval(
    differences: np.ndarray, n_claims: int, alpha: float = ALPHA
) -> tuple[float, float]:
    """Return the hull of all centres that were never excluded, at level 1 - alpha / n_claims.

    Args:
        differences: The differences of one claim, of shape (pairs,), in their declared order.
        n_claims: The number of claims that share ``alpha``.
        alpha: The probability that any of their intervals ever misses its centre.

    Returns:
        Its ends: infinite while there are too few pairs to exclude anything, and NaN if all
        centres are excluded. 0 and the differences themselves are tried exactly.
    """
    d = np.asarray(differences, dtype=np.float64).round(DECIMALS)
    # Far away all pairs have the same sign and size.
    if not len(d) or e_process(np.ones(len(d)))[-1] < n_claims / alpha:
        return -math.inf, math.inf

    def is_possible(centres: np.ndarray) -> np.ndarray:
        e_values = e_process(d - centres[:, np.newaxis])
        return np.asarray(e_values.max(axis=-1) < n_claims / alpha)

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
