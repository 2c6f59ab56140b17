"""Statistics of values that are paired by seed: is one arm better than another?

The unit is the seed: the values of two arms with the same seed form a pair, and what is judged is
the centre of the pairs' differences, which are taken to be symmetric about it. Each claim has one
interval, of the level 1 - alpha / m for m claims (Bonferroni), and its verdict follows from that
alone. The interval inverts the test by sign flips [1]: with n pairs, the means of all 2^n - 1
non-empty subsets of the differences, in order, part the line into intervals that hold the centre
with equal probability; so between the K-th from each end it is with probability 1 - 2K / 2^n.

Intervals of seeds that were planned hold for one look; :mod:`~adnn_optuna.evidence.sequential` has
those for looking again.

[1] J. A. Hartigan. Using subsample values as typical values. Journal of the American Statistical
Association 64(328):1303-1317, 1969.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from adnn_optuna._checks import WrongValueError
from adnn_optuna.evidence.sequential import (
    ALPHA,
    VerdictName,
    fewest_looks,
    sequential_interval,
    verdict_of,
)

EQUIVALENCE = 0.001  # Up to 0.1 percentage points of accuracy make no practical difference.
_MOST_EXACT = 16  # Pairs of which all subsets are looked at: 65,535.
_N_SUBSETS = 99_999  # Of more pairs; one less than a round number, so that levels are exact.
_DECIMALS = 12  # Differences of accuracies that are equal differ in later ones.


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """By how much one arm is better than the other, over the seeds that count.

    Args:
        arm: The one.
        other: The other.
        n_pairs: The number of seeds with a value of both, up to the first without.
        mean: The mean of the arm's value minus the other's; NaN without any pair.
        low: The lower end of the interval of the centre, infinite where the pairs are too few,
            and NaN where nothing is claimed of the arms.
        high: Its upper end.
        superiority: The share of seeds for which the arm has the higher value; a tie is half.
        verdict: ``"equivalent"``: the interval lies within the region of practical equivalence.
            Otherwise ``"better"`` or ``"worse"``: it lies above or below 0. ``"undecided"``: all
            else. :obj:`None`: the pair is only shown.
        reason: Why the verdict is what it is, where the interval alone does not tell.
    """

    arm: str
    other: str
    n_pairs: int
    mean: float
    low: float
    high: float
    superiority: float
    verdict: VerdictName | None
    reason: str = ""


def paired_differences(
    values: Mapping[str, Sequence[float]],
    *,
    equivalence: float,
    claims: Sequence[tuple[str, str]] | None = None,
    looks_again: bool = False,
) -> list[PairedDifference]:
    """Compare each two arms, and judge those of which something is claimed.

    Args:
        values: The values of each arm, higher ones better, in the declared order of the seeds; NaN
            where an arm has none, which ends the evidence on its pairs: seeds after one that
            failed were not chosen by chance.
        equivalence: Half the width of the region of practical equivalence, in the values' unit.
        claims: The pairs of arms that are judged, together at the level ``ALPHA``; all if
            :obj:`None`.
        looks_again: Whether the intervals pay for looking after each seed.

    Returns:
        One difference for each pair of arms, in the order of ``values``.

    Raises:
        ValueError: If the arms have not as many values.
    """
    lengths = {arm: len(of_arm) for arm, of_arm in values.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{arm!r} has {n}" for arm, n in lengths.items())
        raise WrongValueError(
            f"The arms must have one value for each seed, but {listed}; give NaN where one is "
            "missing."
        )
    pairs = list(itertools.combinations(values, 2))
    claims = pairs if claims is None else claims
    interval = sequential_interval if looks_again else planned_interval
    fewest = fewest_pairs(max(len(claims), 1), looks_again=looks_again)
    rows = []
    for arm, other in pairs:
        raw = np.asarray(values[arm], np.float64) - np.asarray(values[other], np.float64)
        is_known = np.isfinite(raw)
        n_pairs = len(raw) if is_known.all() else int(is_known.argmin())
        d = raw[:n_pairs].round(_DECIMALS)
        low = high = math.nan
        verdict: VerdictName | None = None
        reasons = []
        if is_known[n_pairs:].any():
            reasons.append(f"seed {n_pairs + 1} of {len(raw)} has no result: evidence ends there")
        if (arm, other) in claims:
            low, high = interval(d, len(claims))
            verdict = verdict_of(low, high, equivalence)
            if math.isnan(low):
                reasons.append("the differences are not of one distribution")
            elif n_pairs < fewest:
                reasons.append(f"{n_pairs} of at least {fewest} seeds that can decide anything")
            elif verdict == "equivalent" and not low <= 0 <= high:
                reasons.append("they differ, by less than the margin")
        mean = float(d.mean()) if n_pairs else math.nan
        superiority = float(np.mean((d > 0) + 0.5 * (d == 0))) if n_pairs else math.nan
        numbers = (n_pairs, mean, low, high, superiority)
        rows.append(PairedDifference(arm, other, *numbers, verdict, "; ".join(reasons)))
    return rows


def planned_interval(
    differences: np.ndarray, n_claims: int, alpha: float = ALPHA
) -> tuple[float, float]:
    """Return the interval of the centre of differences, of shape (n,), from a planned number.

    It is exact up to 16 pairs, and with more up to which 99,999 subsets are drawn; infinite where
    the pairs are too few for the level 1 − ``alpha`` / ``n_claims``.
    """
    d = np.asarray(differences, dtype=np.float64)
    sums, sizes = np.zeros(1), np.zeros(1)
    if len(d) <= _MOST_EXACT:
        for value in d:
            sums, sizes = np.concatenate([sums, sums + value]), np.concatenate([sizes, sizes + 1])
        sums, sizes = sums[1:], sizes[1:]  # Without the empty one.
    else:
        # Drawn pair by pair: a further one leaves the subsets of those before as they are.
        sums, sizes = np.zeros(_N_SUBSETS), np.zeros(_N_SUBSETS)
        for i, value in enumerate(d):
            is_in = np.random.default_rng([i]).integers(0, 2, _N_SUBSETS, dtype=np.int8)
            sums, sizes = sums + is_in * value, sizes + is_in
        sums, sizes = sums[sizes > 0], sizes[sizes > 0]
    # As many intervals as subsets, and one more.
    rank = math.floor(alpha / (2 * n_claims) * (len(sums) + 1) + 1e-9)
    if not rank:
        return -math.inf, math.inf
    means = np.sort((sums / sizes).round(_DECIMALS))
    return float(means[rank - 1]), float(means[len(means) - rank])


def fewest_pairs(n_claims: int, *, looks_again: bool = False) -> int:
    """Return with how many pairs, at least, anything can be decided."""
    if looks_again:
        return fewest_looks(n_claims)
    return math.ceil(math.log2(2 * n_claims / ALPHA))
