"""What luck alone brings: the best of several draws that are equally good."""

import math

from scipy import special, stats

from adnn_optuna._checks import as_positive_int, check_number, check_positive


def expected_luck(n: int, sd: float) -> float:
    """Return what the best of n equally good draws gains over their mean, by luck alone.

    That is the mean of the largest of n independent normal values with mean 0.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            adnn.expected_luck(50, sd=0.0096)  # 0.0216: 2.25 standard deviations

    Args:
        n: The number of draws.
        sd: Their standard deviation.

    Raises:
        TypeError: If ``sd`` is no number.
        ValueError: If ``n`` is not a whole number of at least 1, or ``sd`` not above 0.
    """
    n = as_positive_int("n", n)
    check_positive("sd", sd)
    largest = stats.order_statistic(stats.Normal(), n=n, r=n)
    return float(sd) * max(float(largest.mean()), 0.0)


def chance_of_luck(n: int, sd: float, claimed: float) -> float:
    """Return how likely the best of n such draws is that much better than their mean, or more."""
    check_number("claimed", claimed)
    return -math.expm1(n * float(special.log_ndtr(claimed / sd)))
