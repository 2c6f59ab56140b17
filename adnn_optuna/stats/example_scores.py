"""Mean scores over test examples: one network's mean, and its difference from other networks."""

import math
from collections.abc import Sequence

import numpy as np

from adnn_optuna._units import UNKNOWN, Estimate, estimate_around
from adnn_optuna.stats.intervals import t_quantile
from adnn_optuna.stats.paired_differences import planned_interval, share_interval
from adnn_optuna.stats.sequential import ALPHA

_NOTHING = 1e-10  # Smaller variances, relative to squared scores, are rounding errors.


def score_estimate(
    scores: np.ndarray,
    groups: np.ndarray | None = None,
    n_rare: int | None = None,
    most: float = math.inf,
    *,
    level: float = 1 - ALPHA,
) -> Estimate:
    """Return one network's mean score, with the CI for other test examples.

    Right and wrong answers (:obj:`bool`) have the CI of Clopper and Pearson (1934). If they are in
    groups, the CI uses the effective number of examples by Korn and Graubard (1998), Survey
    Methodology 24(2), 193-201. All other scores have the CI of Student's t. ``groups`` are the
    numbers of the examples' groups. ``n_rare`` is for metrics within [0, 1] that are not a mean
    over examples, such as AUC. It is the number of examples outside the largest class. If no
    example changes the metric, as with an AUC of 1, the CI is for ``n_rare`` examples. ``most`` is
    the metric's maximum.
    """
    mean = float(scores.mean(dtype=np.float64))
    n = len(scores)
    is_right = scores.dtype == bool
    variance, n_groups = variance_of_mean(scores, groups, are_alike=is_right)
    if math.isnan(variance):
        return UNKNOWN
    probability = (1 + level) / 2
    if not is_right and n_rare is None:
        half = t_quantile(n_groups - 1, probability) * math.sqrt(variance)
        return Estimate(mean, mean - half, min(mean + half, most))
    # If a share is over ``effective`` independent examples, this is its variance. The ratio
    # adjusts for the degrees of freedom.
    mean = min(max(mean, 0.0), 1.0)
    biased = variance * (n_groups - 1) / n_groups
    effective = 0.0
    if n * biased > _NOTHING:
        effective = mean * (1 - mean) / biased
    effective = effective or n_rare or n_groups
    ratio = t_quantile(n - 1, probability) / t_quantile(n_groups - 1, probability)
    low, high = share_interval(mean, effective * ratio**2, level)
    return Estimate(mean, low, high)


def difference_from_mean(
    scores: np.ndarray,
    others: np.ndarray,
    groups: np.ndarray | None = None,
    n_rare: int | None = None,
    *,
    level: float = 1 - ALPHA,
) -> Estimate:
    """Return one network's mean score minus the mean score of K other networks.

    The difference varies with the test examples and with the networks, so both variances are
    added. Student's t has the degrees of freedom of Welch (1947) and Satterthwaite (1946). If all
    networks give the same answers, the CI is by Bonett and Price (2012).
    """
    differences = scores.astype(np.float64) - others.mean(axis=0, dtype=np.float64)
    mean = float(differences.mean())
    is_right = scores.dtype == bool
    of_examples, n_groups = variance_of_mean(differences, groups, are_alike=is_right)
    k = len(others)
    means_of_networks = others.mean(axis=1, dtype=np.float64)
    of_networks = float(means_of_networks.var(ddof=1)) / k
    total = of_examples + of_networks
    half = total  # The total is 0, or NaN if a training run has no finite metric.
    probability = (1 + level) / 2
    largest = float(np.abs(scores).max())
    if total * len(scores) > _NOTHING * largest**2:
        parts = of_examples**2 / (n_groups - 1) + of_networks**2 / (k - 1)
        freedom = total**2 / parts
        half = t_quantile(freedom, probability) * math.sqrt(total)
    elif is_right or (n_rare and total >= 0):
        # All answers agree here, but answers to other examples may differ.
        half = t_quantile(math.inf, probability) * math.sqrt(2) / ((n_rare or n_groups) + 2)
    return estimate_around(mean, half)


def mean_gain(
    gains: Sequence[float] | np.ndarray, n_claims: int = 1, n_examples: int = 0
) -> Estimate:
    """Return the mean of paired gains with the CI of :func:`planned_interval`.

    If all gains are shares of ``n_examples``, they are compared as whole numbers.
    """
    mean = float(np.mean(gains))
    if math.isnan(mean):
        return UNKNOWN
    counts = np.array(gains) * n_examples
    if not n_examples or not np.allclose(counts, np.rint(counts), rtol=0, atol=1e-6):
        return Estimate(mean, *planned_interval(np.array(gains), n_claims))
    low, high = planned_interval(counts, n_claims, decimals=0, resolution=1.0)
    return Estimate(mean, low / n_examples, high / n_examples)


def effective_number(groups: np.ndarray) -> float:
    """Return how many independent samples would give as precise a mean: (Σ n)² / Σ n².

    n is the size of a group. The number is exact if a group's samples are equal (Kish 1965, Survey
    Sampling). Otherwise, it is too small.
    """
    sizes = np.bincount(groups).astype(float)
    squares = sizes**2
    return float(sizes.sum() ** 2 / squares.sum())


def variance_of_mean(
    values: np.ndarray, groups: np.ndarray | None, *, are_alike: bool
) -> tuple[float, float]:
    """Return the variance of a mean over examples, and its effective number of groups.

    The variance follows from the groups' sums s. A few groups may cause most of the variance, such
    as the positive examples for the AUC. So the effective number of groups is (Σ s²)² / Σ s⁴,
    after Satterthwaite (1946).
    """
    if groups is None:
        groups = np.arange(len(values))
    values = values.astype(np.float64)
    squares = np.bincount(groups, values - values.mean()) ** 2
    n = len(squares)
    total = float(squares.sum())
    if n < 2:
        return math.nan, n
    if not are_alike and total > 0:
        n_carrying = max(total**2 / float((squares**2).sum()), 2.0)
        return total / len(values) ** 2 * n_carrying / (n_carrying - 1), n_carrying
    return total / len(values) ** 2 * n / (n - 1), n
