"""How sure a difference of two accuracies is, by the images that one network alone gets right."""

from __future__ import annotations

import math

_Z = 1.959963984540054  # The standard normal distribution's quantile of 97.5 %.


def difference_interval(won: int, lost: int, n_images: int) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two proportions of the same images.

    It is the adjusted Wald interval of Bonett and Price (2012), Journal of Educational and
    Behavioral Statistics 37(4), 479-488.

    Args:
        won: How many images only the one network gets right.
        lost: How many only the other one does.
        n_images: The number of all images.
    """
    p_won, p_lost = (won + 1) / (n_images + 2), (lost + 1) / (n_images + 2)
    difference = p_won - p_lost
    half = _Z * math.sqrt((p_won + p_lost - difference**2) / (n_images + 2))
    return max(difference - half, -1.0), min(difference + half, 1.0)


def mcnemar_p_value(won: int, lost: int) -> float:
    """Return the two-sided p-value of McNemar's exact test that both networks are as good.

    Each image that one network alone gets right is then a fair coin (McNemar 1947).
    """
    from scipy.stats import binomtest

    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0
