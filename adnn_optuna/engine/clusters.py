"""How much samples say together of which some repeat others, or belong together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def effective_number(groups: NDArray[np.intp]) -> float:
    """Return as how many samples of their own those of groups count: (Σ n)² / Σ n² of their sizes.

    That is the number of groups where all are as large, and exact where samples of a group are
    equal (Kish 1965, Survey Sampling); where they are alike but little it is too small.

    Args:
        groups: The number of each sample's group, from 0, shape (n,).
    """
    sizes = np.bincount(groups).astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def variance_of_mean(values: NDArray[np.floating], groups: NDArray[np.intp]) -> float:
    """Return the variance of the mean of samples' values, of which those of a group are alike.

    It is that of the groups' sums about their share of the mean, times G / (G - 1) for G groups,
    so the usual one where each sample is on its own; NaN of a single group.

    Args:
        values: A value of each sample, shape (n,).
        groups: The number of each sample's group, from 0, shape (n,).
    """
    residuals = np.bincount(groups, values - values.mean())
    n = len(residuals)
    return float((residuals**2).sum() / len(values) ** 2 * n / (n - 1)) if n > 1 else np.nan
