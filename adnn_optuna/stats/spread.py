"""Standard deviations with their CIs, and the digits that values need.

The CIs are by Bonett (2006), Computational Statistics & Data Analysis 50:775. They are also valid
for values that are not normal.
"""

import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np
import scipy

from adnn_optuna._units import PLAIN, UNKNOWN, Estimate, Unit, unit_of
from adnn_optuna.stats.intervals import Z
from adnn_optuna.stats.paired_differences import are_equal, size_of
from adnn_optuna.stats.sequential import DECIMALS

_LARGE = 1000.0  # Larger losses and errors need fewer than four decimals.
FEWEST = 5  # The standard deviation of fewer values has no CI.
OUTLIER_DISTANCE = 5  # An outlier is further from the median, in robust standard deviations.
_FEWEST_WITH_OUTLIERS = 8  # With fewer values, the median deviation is unreliable.
_NORMAL_MAD = 0.6744897501960817  # The median absolute deviation of normal values, in sds.


def standard_deviation(values: np.ndarray, *, are_differences: bool = False) -> Estimate:
    """Return the standard deviation of values with its 95% CI, by Bonett (2006), eq. 2.

    If the values are differences of two runs, with mean 0, the result is for a single run.
    """
    n = len(values)
    if n < FEWEST:
        return UNKNOWN
    if are_equal(values) and not (are_differences and values[0]):
        return Estimate(0.0, 0.0, 0.0)
    mean = 0.0
    center = 0.0
    degrees = n
    scale = 0.5
    if not are_differences:
        mean = float(values.mean())
        degrees = n - 1
        scale = 1.0
        center = float(scipy.stats.trim_mean(values, 1 / (2 * math.sqrt(n - 4))))
    size = float(np.abs(values - mean).max())  # Scaling avoids an underflow of squares.
    squares = float((((values - mean) / size) ** 2).sum())
    kurtosis = n * float((((values - center) / size) ** 4).sum()) / squares**2
    c = n / (n - Z)
    error = c * math.sqrt((kurtosis - (n - 3) / n) / degrees)  # A kurtosis is at least 1.
    sd = size * math.sqrt(scale * squares / degrees)
    low, high = (sd * math.sqrt(c * math.exp(sign * Z * error)) for sign in (-1, 1))
    return Estimate(sd, low, high)


def outliers(values: Sequence[float] | np.ndarray, *, maximize: bool = True) -> list[int]:
    """Return the positions of values that are far worse than the median, if they are rare.

    A value is far worse if it is more than :data:`OUTLIER_DISTANCE` robust standard deviations
    from the median. A robust standard deviation is the median absolute deviation, scaled to the
    standard deviation of normal values. This occurs in 2% of samples of eight normal values, and
    less often in larger samples. Values are rare if they are at most a tenth of all values.
    """
    if len(values) < _FEWEST_WITH_OUTLIERS:
        return []
    values = np.asarray(values, dtype=float)
    deviations = (np.median(values) - values) * (1 if maximize else -1)
    sizes = np.abs(deviations)
    sizes[sizes <= np.abs(values).max() * 10.0**-DECIMALS] = 0
    # If most values are equal, the scale is the smallest positive deviation.
    scale = float(np.median(sizes)) or float(sizes[sizes > 0].min(initial=math.inf))
    positions = np.flatnonzero(deviations > OUTLIER_DISTANCE * scale / _NORMAL_MAD).tolist()
    if len(positions) <= max(1, len(values) // 10):
        return positions
    return []


def has_few_values(values: Iterable[float]) -> bool:
    """Return whether there are at most two different values, such as 0 and 1.

    Such values are not normal.
    """
    return len({*values}) <= 2


def floor_of(gains: Sequence[float]) -> float:
    """Return the lowest gain on a figure's axis. The few lower gains are drawn at this gain."""
    if not gains:
        return -math.inf
    # A gain is far below if it is more than three interquartile ranges below the lower quartile.
    low, high = np.quantile(gains, [0.25, 0.75])
    floor = min(gain for gain in gains if gain >= low - 3 * (high - low))
    # The floor is below the lowest other gain, so points on the floor are distinct from it.
    if floor == min(gains):
        return floor
    return floor - 0.15 * max(max(gains) - floor, 1e-9)


def unit_of_values(
    arms: Iterable[Sequence[float] | np.ndarray], *, are_paired: bool = False
) -> Unit:
    """Return the unit of values, with digits that fit the arms' values and their differences."""
    arrays = [np.asarray(of_arm, dtype=float) for of_arm in arms]
    sizes = np.abs(np.concatenate([[], *arrays]))
    sizes = sizes[np.isfinite(sizes)]
    if not sizes.any():
        return PLAIN
    # Failed runs may have huge values. They are omitted, because all other values would look like
    # 0.
    sizes = sizes[sizes <= (1e9 * float(np.median(sizes)) or math.inf)]
    largest = sizes.max()
    size = size_of(sizes)
    arrays = [np.where(np.abs(array) <= largest, array, math.nan) / size for array in arrays]
    if are_paired:  # Differences may be far smaller than the common spread.
        arrays += [first - second for first, second in itertools.combinations(arrays, 2)]
    return PLAIN.fitted([size * known_sd(array) for array in arrays], float(largest))


def fitted_unit(
    metric: str, arms: Iterable[Sequence[float] | np.ndarray], *, are_paired: bool = False
) -> Unit:
    """Return the unit of a metric. For plain numbers, its digits fit the values."""
    unit = unit_of(metric)
    if unit is PLAIN:
        return unit_of_values(arms, are_paired=are_paired)
    return unit


def fitted(metric: str, values: Sequence[float]) -> Unit:
    """Return the unit of a metric, with the digits that some values need."""
    unit = unit_of(metric)
    if unit is not PLAIN:
        return unit
    of_values = unit_of_values([values])
    is_large = max(map(abs, values), default=0.0) >= _LARGE
    if is_large or of_values.digits > unit.digits:
        return of_values
    return unit


def known_sd(values: Sequence[float] | np.ndarray) -> float:
    """Return the standard deviation of the known values, or NaN for fewer than two."""
    numbers = np.asarray(values, dtype=float)
    numbers = numbers[~np.isnan(numbers)]
    if len(numbers) < 2 or not np.isfinite(numbers).all():
        return math.nan
    if are_equal(numbers):
        return 0.0
    size = size_of(numbers)  # Scaling avoids overflow and underflow.
    return size * float((numbers / size).std(ddof=1))
