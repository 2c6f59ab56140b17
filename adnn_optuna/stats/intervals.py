"""CIs of means, shares and test gains, and the share of seeds that a sample of seeds may miss."""

import math
from collections.abc import Sequence
from statistics import stdev

import scipy

from adnn_optuna._attributes import TestComparison

Z = 1.959963984540054  # The standard normal distribution's quantile of 97.5%.


def n_counted(comparison: TestComparison) -> float:
    """Return the number of independent images. Equal images, and images of a group, count once."""
    return comparison.get("n_groups", comparison["n_images"])


def chance_limit(n_largest: float, n: float) -> float:
    """Return the highest accuracy that does not show that a network learned anything.

    By chance, a network that always predicts the largest class may reach it. This class has
    ``n_largest`` of n examples.
    """
    share = n_largest / n
    return share + Z * math.sqrt(share * (1 - share) / n)


def unseen_share(n: int) -> float:
    """Return the share of seeds that n random seeds miss with a probability of 5%."""
    return 1 - 0.05 ** (1 / n) if n else 1.0


def difference_interval(won: float, lost: float, n_images: float) -> tuple[float, float]:
    """Return the 95% interval of the difference of two proportions of the same images.

    ``won`` is the number of images that only the first network classifies correctly, and ``lost``
    that only the second does. The interval is by Bonett and Price (2012), Journal of Educational
    and Behavioral Statistics 37(4), 479-488.
    """
    n = n_images + 2
    p_won = (won + 1) / n
    p_lost = (lost + 1) / n
    difference = p_won - p_lost
    variance = (p_won + p_lost - difference**2) / n
    half = Z * math.sqrt(variance)
    return max(difference - half, -1.0), min(difference + half, 1.0)


def gain_interval(comparison: TestComparison, gain: float) -> tuple[float, float]:
    """Return the 95% interval of a test gain for other test images, or NaN if it is unknown."""
    if math.isnan(comparison["baseline"]):
        return math.nan, math.nan
    if (error := comparison.get("standard_error")) is None:
        # Repeated images add no information.
        share = n_counted(comparison) / comparison["n_images"]
        return difference_interval(
            comparison["won"] * share, comparison["lost"] * share, n_counted(comparison)
        )
    return gain - Z * error, gain + Z * error


def t_quantile(degrees: float, probability: float) -> float:
    """Return the quantile of Student's t with these degrees of freedom."""
    return float(scipy.special.stdtrit(degrees, probability))


def student_half_width(
    values: Sequence[float], resolution: float, level: float, n_others: float = math.inf
) -> float:
    """Return the half width of a CI for the true mean, or the mean of ``n_others`` values.

    The half width is at least ``resolution``.
    """
    n = len(values)
    spread = t_quantile(n - 1, (1 + level) / 2) * stdev(values)
    return max(spread * math.sqrt(1 / n + 1 / n_others), resolution)
