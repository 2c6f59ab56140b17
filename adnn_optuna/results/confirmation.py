"""What a search's winner shows on fresh seeds: what you hold, what is usual, what repeats.

The gain of a search over its own baseline mixes three things: a baseline that may be an unlucky
draw, a winner that may be a lucky one, and a change that may help. The winner's parameters and the
unmoved network, trained from the same fresh seeds, tell them apart.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from adnn_optuna.engine.confirmation import BASELINE, BEST, FIRST
from adnn_optuna.engine.search_record import SearchRecord
from adnn_optuna.networks.retraining import variance_of_mean
from adnn_optuna.results.confirmation_runs import (
    Confirmation,
    OwnScores,
    own_scores,
    read_confirmation,
)
from adnn_optuna.stats.paired_differences import planned_interval, share_interval
from adnn_optuna.stats.sequential import ALPHA


class Estimate(NamedTuple):
    """A value with the ends of its interval."""

    value: float
    low: float
    high: float


_NOTHING = 1e-10  # Variances of scores below it, relative to their square, are rounding.
UNKNOWN = Estimate(math.nan, math.nan, math.nan)


@dataclasses.dataclass(frozen=True)
class ConfirmationFacts:
    """What fresh seeds show of a winner; all of it is of the score on the test examples."""

    trial: int
    rank: int  # The how-manieth winner of its study it is that was confirmed, from 1.
    level: float  # Of each interval: 1 - 0.05, and the 0.05 halved for each earlier winner.
    holds: Estimate  # The score of the winner's own network.
    usual: Estimate  # How much better that is than the mean of fresh unmoved networks.
    repeats: Estimate  # The mean gain of the winner's offsets over fresh seeds; 0 without any.
    hyperparameters: Estimate | None  # That of its own, unmoved, over those of the first trial.
    seeds: tuple[int, ...]
    gains: tuple[float, ...]  # That of the offsets with each seed, if there are any.
    unmoved: tuple[float, ...]  # The score of the unmoved network with each seed.


def confirmation_of(record: SearchRecord) -> ConfirmationFacts | None:
    """Return what fresh seeds show of a search's winner; :obj:`None` while they were not tried."""
    known = record.known
    if "confirmation" not in known and (found := read_confirmation(record)) is not None:
        known["confirmation"] = facts_of(found)  # A winner is confirmed once.
    return known.get("confirmation")


def held_score(record: SearchRecord) -> Estimate | None:
    """Return the score of the winner's own network; :obj:`None` while it was not tested."""
    if (facts := confirmation_of(record)) is not None:
        return facts.holds
    own = own_scores(record)
    return None if own is None else own_score(own)


def facts_of(found: Confirmation) -> ConfirmationFacts:
    """Return what the trainings of a confirmation show."""
    n_claims, values = 2 ** (found.rank - 1), found.values
    n_examples = found.scores[BASELINE].shape[1]
    level, sign = 1 - ALPHA / n_claims, -1 if found.is_loss else 1
    gains, repeats, of_hyperparameters = np.zeros(0), Estimate(0.0, 0.0, 0.0), None
    if BEST in values:
        gains = sign * (values[BEST] - values[BASELINE])
        repeats = mean_gain(gains, n_claims, n_examples)
    if FIRST in values:
        of_hyperparameters = mean_gain(
            sign * (values[BASELINE] - values[FIRST]), n_claims, n_examples
        )
    usual = difference_from_usual(found.own, found.scores[BASELINE], level)
    return ConfirmationFacts(
        trial=found.trial,
        rank=found.rank,
        level=level,
        holds=own_score(found.own, level),
        usual=usual if sign > 0 else Estimate(-usual.value, -usual.high, -usual.low),
        repeats=repeats,
        hyperparameters=of_hyperparameters,
        seeds=found.seeds,
        gains=tuple(gains.tolist()),
        unmoved=tuple(values[BASELINE].tolist()),
    )


def own_score(own: OwnScores, level: float = 1 - ALPHA) -> Estimate:
    """Return the metric of one network, with the CI for other test examples.

    Of right and wrong answers, :obj:`bool`, the CI is that of Clopper and Pearson (1934), in
    groups for the effective number of examples of Korn and Graubard (1998), Survey Methodology
    24(2), 193-201. Of other metrics within [0, 1], it is the same. Of all others, it is Student's.
    If no example changes a metric within [0, 1], such as an AUC of 1, only those count that are
    not of the largest class.
    """
    scores, groups, n_rare = own[:3]
    mean, n = float(scores.mean(dtype=np.float64)), len(scores)
    is_right = scores.dtype == bool
    variance, n_groups = _variance_of_mean(scores, groups, are_alike=is_right)
    if math.isnan(variance):
        return UNKNOWN
    if not is_right and n_rare is None:
        half = _quantile(level, n_groups - 1) * math.sqrt(variance)
        return Estimate(mean, mean - half, min(mean + half, own.most))
    # The variance of so many independent examples, but for the degrees of freedom that it has.
    mean, biased = min(max(mean, 0.0), 1.0), variance * (n_groups - 1) / n_groups
    effective = mean * (1 - mean) / biased if n * biased > _NOTHING else 0.0
    effective = effective or n_rare or n_groups
    effective *= (_quantile(level, n - 1) / _quantile(level, n_groups - 1)) ** 2
    return Estimate(mean, *share_interval(mean, effective, level))


def difference_from_usual(
    own: OwnScores, unmoved: np.ndarray, level: float = 1 - ALPHA
) -> Estimate:
    """Return how much better one network is than the mean of fresh unmoved ones.

    What is not known is what other test examples would say, and what other networks would: the
    variances add up, and Student's t has the degrees of freedom of Welch (1947) and Satterthwaite
    (1946). Where no classes differ, it is the interval of Bonett and Price (2012). The scores of
    the K unmoved networks are of shape (K, n).
    """
    scores, groups, n_rare = own[:3]
    differences = scores.astype(np.float64) - unmoved.mean(axis=0, dtype=np.float64)
    is_right = scores.dtype == bool
    of_examples, n_groups = _variance_of_mean(differences, groups, are_alike=is_right)
    k, mean = len(unmoved), float(differences.mean())
    of_networks = float(unmoved.mean(axis=1, dtype=np.float64).var(ddof=1)) / k
    total = of_examples + of_networks
    half = total  # 0, or NaN if a training run has no finite metric.
    if total * len(scores) > _NOTHING * float(np.abs(scores).max()) ** 2:
        freedom = total**2 / (of_examples**2 / (n_groups - 1) + of_networks**2 / (k - 1))
        half = _quantile(level, freedom) * math.sqrt(total)
    elif is_right or (n_rare and total >= 0):  # Of other examples, some may differ.
        half = _quantile(level, math.inf) * math.sqrt(2) / ((n_rare or n_groups) + 2)
    return Estimate(mean, mean - half, mean + half)


def mean_gain(
    gains: Sequence[float] | np.ndarray, n_claims: int = 1, n_examples: int = 0
) -> Estimate:
    """Return the mean of paired gains with the interval of :func:`planned_interval`.

    If all gains are shares of ``n_examples``, they are compared as whole numbers.
    """
    mean = float(np.mean(gains))
    if math.isnan(mean):
        return UNKNOWN
    counts = np.array(gains) * n_examples
    if not n_examples or not np.allclose(counts, np.rint(counts), rtol=0, atol=1e-6):
        return Estimate(mean, *planned_interval(np.array(gains), n_claims))
    low, high = planned_interval(counts, n_claims, decimals=0)
    return Estimate(mean, low / n_examples, high / n_examples)


def _variance_of_mean(
    values: np.ndarray, groups: np.ndarray | None, *, are_alike: bool
) -> tuple[float, float]:
    """Return the variance of a mean over examples, and from how many groups it is known.

    If the groups are not alike, few may have most of the variance, such as the positive ones for
    the AUC. Then these count: (Σ s²)² / Σ s⁴ for the groups' sums s, after Satterthwaite (1946).
    """
    groups = np.arange(len(values)) if groups is None else groups
    values = values.astype(np.float64)
    variance, n = variance_of_mean(values, groups), len(np.unique(groups))
    squares = np.bincount(groups, values - values.mean()) ** 2
    if are_alike or not squares.sum() > 0:
        return variance, n
    n_carrying = max(float(squares.sum() ** 2 / (squares**2).sum()), 2.0)
    return variance * (n - 1) / n * n_carrying / (n_carrying - 1), n_carrying


def _quantile(level: float, freedom: float) -> float:
    return float(stats.t.ppf((1 + level) / 2, freedom))
