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


def luck_in_words(n: int, sd: float, claimed: float | None = None) -> str:
    """Return what luck alone gains, and how likely it makes a gain over the mean draw."""
    draws = f"the best of {n} equally good draws" if n > 1 else "one draw"
    sentence = (
        f"By luck alone {draws} with a standard deviation of {sd:g} "
        f"is expected to be {expected_luck(n, sd):.4g} better than the mean"
    )
    if claimed is None:
        return f"{sentence}."
    check_number("claimed", claimed)
    chance = -math.expm1(n * special.log_ndtr(claimed / sd))
    return f"{sentence}, and {claimed:g} or more with probability {chance:.2g}."
