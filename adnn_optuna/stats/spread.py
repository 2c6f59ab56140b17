"""Standard deviations with their CIs, and the digits that values need.

The CIs are those of Bonett (2006), Computational Statistics & Data Analysis 50:775. They are valid
for values that are not normal, too.
"""

import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np
import scipy

from adnn_optuna._units import PLAIN, UNKNOWN, Estimate, Unit
from adnn_optuna.stats.paired_differences import size_of
from adnn_optuna.stats.proportions import Z

FEWEST = 5  # Of fewer values, a standard deviation has no CI.


def standard_deviation(values: np.ndarray, *, are_differences: bool = False) -> Estimate:
    """Return the standard deviation of values with its 95% CI, by Bonett (2006), eq. 2.

    Args:
        values: Independent values, or the differences of two such values each.
        are_differences: Whether they are differences, whose mean is known to be 0.

    Returns:
        The estimate of single values; NaN of less than five.
    """
    n = len(values)
    if n < FEWEST:
        return UNKNOWN
    if (values == values[0]).all() and not (are_differences and values[0]):
        return Estimate(0.0, 0.0, 0.0)
    mean, center, degrees, scale = 0.0, 0.0, n, 0.5
    if not are_differences:
        mean, degrees, scale = float(values.mean()), n - 1, 1.0
        center = float(scipy.stats.trim_mean(values, 1 / (2 * math.sqrt(n - 4))))
    size = float(np.abs(values - mean).max())  # Divided by this, squares do not underflow.
    squares = float((((values - mean) / size) ** 2).sum())
    kurtosis = n * float((((values - center) / size) ** 4).sum()) / squares**2
    c = n / (n - Z)
    error = c * math.sqrt((kurtosis - (n - 3) / n) / degrees)  # A kurtosis is at least 1.
    sd = size * math.sqrt(scale * squares / degrees)
    low, high = (sd * math.sqrt(c * math.exp(sign * Z * error)) for sign in (-1, 1))
    return Estimate(sd, low, high)


def unit_of_values(
    arms: Iterable[Sequence[float] | np.ndarray], *, are_paired: bool = False
) -> Unit:
    """Return how values of anything are shown, by those of some arms, and by their differences."""
    arrays = [np.asarray(of_arm, dtype=float) for of_arm in arms]
    sizes = np.abs(np.concatenate([[], *arrays]))
    sizes = sizes[np.isfinite(sizes)]
    if not sizes.any():
        return PLAIN
    # Without huge values of failed runs, beside which all others would look like 0.
    sizes = sizes[sizes <= (1e9 * float(np.median(sizes)) or math.inf)]
    largest, size = sizes.max(), size_of(sizes)
    arrays = [np.where(np.abs(array) <= largest, array, math.nan) / size for array in arrays]
    if are_paired:  # What all arms have in common may spread far more than their differences.
        arrays += [one - two for one, two in itertools.combinations(arrays, 2)]
    return PLAIN.fitted([size * _known_sd(array) for array in arrays], float(largest))


def _known_sd(values: np.ndarray) -> float:
    """Return the standard deviation of the values that are known; 0 of less than two."""
    known = values[~np.isnan(values)]
    return float(known.std(ddof=1)) if len(known) > 1 else 0.0
