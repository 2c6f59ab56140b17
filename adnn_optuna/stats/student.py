"""Student's t: its quantiles, and the half width of a CI of a mean."""

import math
from collections.abc import Sequence
from statistics import stdev

import scipy


def t_quantile(degrees: float, probability: float) -> float:
    """Return the quantile of Student's t with these degrees of freedom."""
    return float(scipy.special.stdtrit(degrees, probability))


def student_half_width(
    values: Sequence[float], resolution: float, level: float, n_others: float = math.inf
) -> float:
    """Return the half width of a CI for the true mean, or for the mean of ``n_others`` values.

    It is at least ``resolution``.
    """
    n = len(values)
    spread = t_quantile(n - 1, (1 + level) / 2) * stdev(values)
    return max(spread * math.sqrt(1 / n + 1 / n_others), resolution)
