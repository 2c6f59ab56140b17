"""Statistics of values that are not paired: is one arm better than another?

The CIs of differences of means are those of Welch (1947), Biometrika 34:28-35, for planned numbers
of values. All claims share one error rate (Bonferroni).
"""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import scipy

from adnn_optuna.stats.paired_differences import PairedDifference, size_of, verdict_of
from adnn_optuna.stats.sequential import ALPHA, DECIMALS


def unpaired_differences(
    values: Mapping[str, Sequence[float]],
    claims: Sequence[tuple[str, str]] | None = None,
    *,
    margin: float | None,
) -> list[PairedDifference]:
    """Compare the two arms of each claim by unpaired values, higher ones better.

    Args:
        values: The values of each arm.
        claims: The pairs of arms to compare; by default all pairs.
        margin: The difference up to which two arms are as good as each other.

    Returns:
        The differences of means. ``n_pairs`` is the smaller number of values. The win rate is the
        share of all pairs of their values.
    """
    claims = list(itertools.combinations(values, 2)) if claims is None else claims
    arrays = {label: np.asarray(of_arm, dtype=np.float64) for label, of_arm in values.items()}
    rows = []
    for arm, other in claims:
        one, two = arrays[arm], arrays[other]
        low, high, reason = _welch(one, two, len(claims))
        row = PairedDifference(
            arm=arm,
            other=other,
            n_pairs=min(len(one), len(two)),
            mean=float(one.mean() - two.mean()),
            low=low,
            high=high,
            win_rate=_win_rate(one, two),
            win_rate_low=math.nan,
            win_rate_high=math.nan,
            verdict=verdict_of(low, high, margin),
            reason=reason,
            margin=margin,
        )
        rows.append(row)
    return rows


def _welch(one: np.ndarray, two: np.ndarray, n_claims: int) -> tuple[float, float, str]:
    """Return the ends of the CI of the difference of means, or why it has none."""
    if min(len(one), len(two)) < 2:
        return -math.inf, math.inf, "one value does not show how much the values vary"
    if all(np.ptp(of) <= size_of(of) * 10.0**-DECIMALS for of in (one, two)):
        reason = "no arm's values vary, so they do not show how much other values would"
        return -math.inf, math.inf, reason
    size = size_of(np.concatenate([one, two]))
    n = np.array([len(one), len(two)])
    parts = np.array([(of / size).var(ddof=1) for of in (one, two)]) / n
    freedom = parts.sum() ** 2 / (parts**2 / (n - 1)).sum()
    quantile = float(scipy.stats.t.isf(ALPHA / (2 * n_claims), freedom))
    half = size * quantile * math.sqrt(parts.sum())
    mean = float(one.mean() - two.mean())
    return mean - half, mean + half, ""


def _win_rate(one: np.ndarray, two: np.ndarray) -> float:
    """Return the share of all pairs of values in which the first is higher, ties half."""
    ordered = np.sort(two)  # All pairs of many values would not fit into memory.
    places = [np.searchsorted(ordered, one, side) for side in ("left", "right")]
    return float(np.mean(places) / len(two))
