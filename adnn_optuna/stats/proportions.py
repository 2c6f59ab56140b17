"""Shares of examples and of seeds."""

import math

from adnn_optuna._attributes import TestEvaluation

Z = 1.959963984540054  # The standard normal distribution's quantile of 97.5%.


def n_counted(look: TestEvaluation) -> float:
    """Return the number of independent images. Images that are equal or in a group count once."""
    return look.get("n_groups", look["n_images"])


def chance_limit(n_largest: float, n: float) -> float:
    """Return the highest accuracy that does not show that a network learned anything.

    Always predicting the largest class, which has ``n_largest`` of n examples, may reach it by
    chance.
    """
    share = n_largest / n
    return share + Z * math.sqrt(share * (1 - share) / n)


def unseen_share(n: int) -> float:
    """Return a share of seeds: with a probability of 5%, none of n random seeds is among them."""
    return 1 - 0.05 ** (1 / n) if n else 1.0
