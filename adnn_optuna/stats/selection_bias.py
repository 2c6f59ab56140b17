"""Selection bias: the expected gain of the best of several equally good draws."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy

from adnn_optuna._checks import WrongValueError, as_integer, check_number, check_positive

Baseline = Literal["mean", "one"]
"""The value over which a gain is measured: the mean of all draws, or one further draw."""

_FEWEST_RUNS = 5  # With fewer observed runs, the best of many runs cannot be predicted.
_ROUNDING = 1e-12  # If values around 1 differ by less, they are equal.
# These are standard deviations. The best of 1e308 draws is at 37.6.
_DRAWS = np.linspace(-40.0, 40.0, 16_001)
_LOG_DENSITY = -0.5 * _DRAWS**2 - 0.5 * math.log(2 * math.pi)  # As in `scipy.stats.norm`.


def expected_luck(
    n: int, sd: float | None = None, *, values: Sequence[float] | None = None
) -> float:
    """Return the expected gain of the best of n equally good draws over their mean.

    For normal scores, this is the expected maximum of n independent values with mean 0. If you
    pass the values of observed runs, each draw is one of these values, with equal probability.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            adnn.expected_luck(50, sd=0.0096)  # 0.0216: 2.25 standard deviations

    Args:
        n: The number of draws.
        sd: The standard deviation of the draws, for normal scores.
        values: The values of observed runs of one configuration, instead of ``sd``. Higher values
            are better.

    Raises:
        TypeError: If ``sd`` is not a number.
        ValueError: If ``n`` is not a whole number of at least 1, or if ``sd`` is not above 0. If
            not exactly one of ``sd`` and ``values`` is set.
    """
    n = as_integer("n", n, below=math.inf)
    if sd is not None and values is not None:
        raise WrongValueError(
            "values must be omitted if sd is set; got both. Pass sd for normal scores only."
        )
    if sd is None:
        if values is None:
            raise WrongValueError(
                "values must be observed runs if sd is omitted; got neither. Pass one of them."
            )
        observed = _checked_runs(values)
        # The probability that the largest of n draws is at most the i-th of k values is (i / k)ⁿ.
        at_most = np.linspace(0, 1, len(observed) + 1) ** n
        return float(np.diff(at_most) @ observed - observed.mean())
    check_positive("sd", sd)
    # This is the density of the largest draw. Its logarithm is exact for any n.
    log_density = math.log(n) + _LOG_DENSITY + (n - 1.0) * scipy.special.log_ndtr(_DRAWS)
    mean = float(np.trapezoid(_DRAWS * np.exp(log_density), _DRAWS))
    return float(sd) * max(mean, 0.0)


def _checked_runs(values: Sequence[float]) -> np.ndarray:
    """Return the values of observed runs in ascending order."""
    observed = np.sort(np.asarray(values, dtype=np.float64).ravel())
    if len(observed) < _FEWEST_RUNS or not np.isfinite(observed).all():
        raise WrongValueError(
            f"values must be at least {_FEWEST_RUNS} finite numbers; got {len(observed)} values. "
            "Measure more runs, or set sd for normal scores."
        )
    return observed


def chance_of_luck(
    n: int,
    sd: float | None,
    claimed: float,
    baseline: Baseline = "mean",
    files: int = 1,
    *,
    values: Sequence[float] | None = None,
) -> float:
    """Return the probability that the best of n equally good draws gains at least ``claimed``.

    The gain is over the draws' ``"mean"``, or over ``"one"`` further draw, as in a paper that
    trains one baseline. With several ``files``, it is the probability that at least one of this
    number of searches has such a gain.
    """
    check_number("claimed", claimed)
    files = as_integer("files", files)
    if values is not None:
        observed = _checked_runs(values)
        baseline_values = observed if baseline == "one" else observed.mean()
        below = np.searchsorted(
            observed, baseline_values + claimed - _ROUNDING * np.abs(observed).max()
        )
        chance = 1 - float(np.mean((below / len(observed)) ** n))
    else:
        assert sd is not None
        chance = -math.expm1(n * float(scipy.special.log_ndtr(claimed / sd)))
        if baseline == "one":
            over_draw = -np.expm1(n * scipy.special.log_ndtr(claimed / sd + _DRAWS))
            chance = float(np.trapezoid(over_draw * np.exp(_LOG_DENSITY), _DRAWS))
    if chance < 1:
        return -math.expm1(files * math.log1p(-chance))
    return 1.0
