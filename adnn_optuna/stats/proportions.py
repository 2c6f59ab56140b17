"""How sure a test gain is: by the images that one network alone gets right."""

import math

from adnn_optuna._attributes import TestEvaluation

Z = 1.959963984540054  # The standard normal distribution's quantile of 97.5%.


def difference_interval(won: float, lost: float, n_images: float) -> tuple[float, float]:
    """Return the 95% interval of the difference of two proportions of the same images.

    Only one network gets ``won`` images right, only the other one ``lost``. It is the interval of
    Bonett and Price (2012), Journal of Educational and Behavioral Statistics 37(4), 479-488.
    """
    n = n_images + 2
    p_won = (won + 1) / n
    p_lost = (lost + 1) / n
    difference = p_won - p_lost
    variance = (p_won + p_lost - difference**2) / n
    half = Z * math.sqrt(variance)
    return max(difference - half, -1.0), min(difference + half, 1.0)


def gain_interval(look: TestEvaluation, gain: float) -> tuple[float, float]:
    """Return the 95% interval of a gain, as far as the choice of images goes; or NaN."""
    if math.isnan(look["baseline"]):
        return math.nan, math.nan
    if (error := look.get("standard_error")) is None:
        # Images that repeat others say nothing new.
        share = n_counted(look) / look["n_images"]
        return difference_interval(look["won"] * share, look["lost"] * share, n_counted(look))
    return gain - Z * error, gain + Z * error


def n_counted(look: TestEvaluation) -> float:
    """Return the number of independent images of an evaluation; some may repeat others."""
    return look.get("n_groups", look["n_images"])


def chance_limit(n_largest: float, n: float) -> float:
    """Return the accuracy up to which a network is not shown to beat the largest class.

    The largest class has ``n_largest`` of n examples.
    """
    share = n_largest / n
    return share + Z * math.sqrt(share * (1 - share) / n)


def unseen_share(n: int) -> float:
    """Return the share of seeds that n random seeds all miss with a probability of 5%."""
    return 1 - 0.05 ** (1 / n) if n else 1.0
