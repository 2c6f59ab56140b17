"""Statistics of values that are paired by seed: is one arm better than another?

The unit is the seed: the values of two arms with the same seed form a pair, and what is judged is
the mean of the pairs' differences.

*   Its interval is the bias-corrected and accelerated bootstrap (BCa) of the pairs [1].
*   Its test is the sign-flip permutation test: under the null hypothesis each difference is as
    likely to be negative as positive. Wilcoxon's signed-rank test is more usual, but accuracies
    are often equal, and with ties its tables do not hold. The sign-flip test is exact with them.
*   The p-values of all pairs of arms are corrected together after Holm [2].
*   Differences within a region of practical equivalence matter to nobody [3].

[1] B. Efron. Better bootstrap confidence intervals. Journal of the American Statistical
Association 82(397):171-185, 1987.

[2] S. Holm. A simple sequentially rejective multiple test procedure. Scandinavian Journal of
Statistics 6(2):65-70, 1979.

[3] J. K. Kruschke. Rejecting or accepting parameter values in Bayesian estimation. Advances in
Methods and Practices in Psychological Science 1(2):270-280, 2018.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from scipy import stats

Verdict = Literal["better", "worse", "equivalent", "undecided"]

ALPHA = 0.05  # The error rate that verdicts keep to, and one minus the coverage of intervals.
EQUIVALENCE = 0.001  # Up to 0.1 percentage points of accuracy make no practical difference.
MIN_PAIRS = 6  # With fewer pairs, no test can have a p-value of ALPHA.
_N_RESAMPLES = 9999  # With up to 13 pairs, all sign flips are fewer, and the test is exact.
_DECIMALS = 12  # Differences of accuracies that are equal differ in later ones.


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """By how much one arm is better than the other, over the seeds that both have.

    Args:
        arm: The one.
        other: The other.
        n_pairs: The number of seeds with a value of both.
        mean: The mean of the arm's value minus the other's; NaN without any pair.
        low: The lower end of the mean's 95 % BCa interval; NaN with less than two pairs.
        high: Its upper end.
        p_value: Two-sided, of the sign-flip test that the mean is 0; NaN without any pair.
        p_holm: The same, corrected for the number of pairs of arms.
        superiority: The probability that the arm has the higher value for a seed; a tie is half.
        verdict: ``"better"``: ``p_holm`` is at most 0.05, and the interval lies above the region
            of practical equivalence. ``"worse"``: the same below it. ``"equivalent"``: the
            interval lies within the region, and so says a sign-flip test against each of its ends
            (two one-sided tests). ``"undecided"``: all else, and always with less than 6 seeds,
            as so few prove nothing.
    """

    arm: str
    other: str
    n_pairs: int
    mean: float
    low: float
    high: float
    p_value: float
    p_holm: float
    superiority: float
    verdict: Verdict


def paired_differences(
    values: Mapping[str, Sequence[float]], *, equivalence: float
) -> list[PairedDifference]:
    """Compare each two arms.

    Args:
        values: The values of each arm, higher ones better, in the order of the seeds; NaN where
            an arm has none. A pair with a NaN is left out.
        equivalence: Half the width of the region of practical equivalence, in the values' unit.

    Returns:
        One difference for each pair of arms, in the order of ``values``.
    """
    arrays = {arm: np.asarray(of_arm, dtype=np.float64) for arm, of_arm in values.items()}
    pairs = list(itertools.combinations(arrays, 2))
    raw = [arrays[arm] - arrays[other] for arm, other in pairs]
    differences = [d[np.isfinite(d)].round(_DECIMALS) for d in raw]
    p_values = np.array([_sign_flip(d, "two-sided") for d in differences])
    tests = np.stack([p_values, holm(p_values)], axis=1).tolist()
    rows = []
    for (arm, other), d, (p_value, p_holm) in zip(pairs, differences, tests, strict=True):
        low, high = bca_interval(d)
        mean = float(d.mean()) if len(d) else math.nan
        superiority = float(np.mean((d > 0) + 0.5 * (d == 0))) if len(d) else math.nan
        numbers = (len(d), mean, low, high, p_value, p_holm, superiority)
        verdict = _verdict(d, low, high, p_holm, equivalence)
        rows.append(PairedDifference(arm, other, *numbers, verdict))
    return rows


def bca_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % BCa bootstrap interval of a mean, NaN with less than two values."""
    if len(values) < 2:
        return math.nan, math.nan
    if np.ptp(values) == 0:
        # Each resample is the same, for which BCa is not defined.
        return float(values[0]), float(values[0])
    options = {"confidence_level": 1 - ALPHA, "n_resamples": _N_RESAMPLES, "method": "BCa"}
    resampled = stats.bootstrap((values,), np.mean, rng=np.random.default_rng(0), **options)
    low, high = resampled.confidence_interval
    return float(low), float(high)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return p-values corrected for their number after Holm; NaN stay and do not count."""
    corrected: np.ndarray = np.full(len(p_values), np.nan)
    order = np.argsort(p_values, kind="stable")[: np.isfinite(p_values).sum()]  # NaN come last.
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1.0)
    return corrected


def _sign_flip(
    differences: np.ndarray, alternative: Literal["two-sided", "less", "greater"]
) -> float:
    """Return the p-value of the sign-flip test that the mean is 0."""
    if len(differences) < 2:
        return 1.0 if len(differences) else math.nan
    test = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=_N_RESAMPLES,
        alternative=alternative,
        rng=np.random.default_rng(0),
    )
    return float(test.pvalue)


def _verdict(
    differences: np.ndarray, low: float, high: float, p_holm: float, equivalence: float
) -> Verdict:
    if p_holm <= ALPHA and low > equivalence:
        return "better"
    if p_holm <= ALPHA and high < -equivalence:
        return "worse"
    if -equivalence <= low and high <= equivalence:
        p_above = _sign_flip(differences + equivalence, "greater")
        p_below = _sign_flip(differences - equivalence, "less")
        if max(p_above, p_below) <= ALPHA / 2:  # As the interval is two-sided.
            return "equivalent"
    return "undecided"
