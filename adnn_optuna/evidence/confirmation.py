"""What a search's winner shows on fresh seeds: what you hold, what is usual, what repeats.

The gain of a search over its own baseline mixes three things: a baseline that may be an unlucky
draw, a winner that may be a lucky one, and a change that may help. The winner's parameters and the
unmoved network, trained from the same fresh seeds, tell them apart.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from adnn_optuna.engine.confirmation import (
    FIRST,
    MOVED,
    UNMOVED,
    Confirmation,
    own_scores,
    read_confirmation,
)
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.engine.scores import variance_of_mean
from adnn_optuna.evidence.paired_differences import ALPHA, planned_interval, share_interval


class Estimate(NamedTuple):
    """A value with the ends of its interval."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class ConfirmationFacts:
    """What fresh seeds show of a winner; all of it is of the score on the test examples.

    Attributes:
        trial: The winner's number.
        rank: The how-manieth winner of its study it is that was confirmed, from 1.
        level: The level of each interval: 1 - 0.05, and the 0.05 halved for each earlier winner.
        holds: The score of the winner's own network.
        usual: How much better that is than the mean of fresh unmoved networks.
        repeats: The mean gain of the winner's offsets over fresh seeds; 0 without an interval's
            width where it has none.
        hyperparameters: The mean gain of the winner's hyperparameters, unmoved, over those of the
            first trial; :obj:`None` where they are the same.
        seeds: The fresh seeds.
        gains: The gain of the offsets with each seed; empty where there are none.
        unmoved: The score of the unmoved network with each seed.
    """

    trial: int
    rank: int
    level: float
    holds: Estimate
    usual: Estimate
    repeats: Estimate
    hyperparameters: Estimate | None
    seeds: tuple[int, ...]
    gains: tuple[float, ...]
    unmoved: tuple[float, ...]


def confirmation_of(record: SearchRecord) -> ConfirmationFacts | None:
    """Return what fresh seeds show of a search's winner; :obj:`None` while they were not tried."""
    # A winner is confirmed once.
    if "confirmation" not in record.known and (found := read_confirmation(record)) is not None:
        record.known["confirmation"] = facts_of(found)
    return record.known.get("confirmation")


def held_score(record: SearchRecord) -> Estimate | None:
    """Return the score of the winner's own network; :obj:`None` while it was not tested."""
    if (facts := confirmation_of(record)) is not None:
        return facts.holds
    own = own_scores(record)
    return None if own is None else own_score(*own)


def facts_of(found: Confirmation) -> ConfirmationFacts:
    """Return what the trainings of a confirmation show."""
    n_claims = 2 ** (found.rank - 1)
    level, unmoved = 1 - ALPHA / n_claims, found.scores[UNMOVED]
    gains = _gains(found.scores, MOVED, UNMOVED) if MOVED in found.scores else np.zeros(0)
    of_hyperparameters = None
    if FIRST in found.scores:
        of_hyperparameters = mean_gain(_gains(found.scores, UNMOVED, FIRST), n_claims)
    return ConfirmationFacts(
        trial=found.trial,
        rank=found.rank,
        level=level,
        holds=own_score(found.own, found.groups, level),
        usual=difference_from_usual(found.own, unmoved, found.groups, level),
        repeats=mean_gain(gains, n_claims) if len(gains) else Estimate(0.0, 0.0, 0.0),
        hyperparameters=of_hyperparameters,
        seeds=found.seeds,
        gains=tuple(gains.tolist()),
        unmoved=tuple(unmoved.mean(axis=1, dtype=np.float64).tolist()),
    )


def _gains(scores: Mapping[int, np.ndarray], arm: int, other: int) -> np.ndarray:
    """Return the gain of an arm over another one with each seed; of equals exactly 0."""
    sums = (scores[one].sum(axis=1, dtype=np.float64) for one in (arm, other))
    return np.asarray(np.subtract(*sums) / scores[arm].shape[1])


def own_score(
    scores: np.ndarray, groups: np.ndarray | None = None, level: float = 1 - ALPHA
) -> Estimate:
    """Return the mean score of one network, as sure as its test examples make it.

    Of right and wrong answers the interval is that of Clopper and Pearson (1934), in groups for
    the effective number of examples of Korn and Graubard (1998), Survey Methodology 24(2),
    193-201; of others it is Student's.

    Args:
        scores: The score of each test example, of shape (n,): :obj:`bool`, or of a regression one
            minus the squared error in units of the targets' variance.
        groups: The number of each example's group, from 0, of shape (n,), such as the same one
            for those that are equal; each alone if :obj:`None`.
        level: The level of the interval.
    """
    mean, n = float(scores.mean(dtype=np.float64)), len(scores)
    variance, n_groups = _variance_of_mean(scores, groups)
    if scores.dtype != bool:
        half = _quantile(level, n_groups - 1) * math.sqrt(variance)
        return Estimate(mean, mean - half, min(mean + half, 1.0))  # No R² is above 1.
    # The variance of so many independent examples, but for the degrees of freedom that it has.
    biased = variance * (n_groups - 1) / n_groups
    effective = mean * (1 - mean) / biased if biased else n_groups
    effective *= (_quantile(level, n - 1) / _quantile(level, n_groups - 1)) ** 2
    return Estimate(mean, *share_interval(mean, effective, level))


def difference_from_usual(
    own: np.ndarray,
    unmoved: np.ndarray,
    groups: np.ndarray | None = None,
    level: float = 1 - ALPHA,
) -> Estimate:
    """Return how much better one network is than the mean of fresh unmoved ones.

    What is not known is what other test examples would say, and what other networks would: the
    variances add up, and Student's t has the degrees of freedom of Welch (1947) and Satterthwaite
    (1946). Where no classes differ, it is the interval of Bonett and Price (2012).

    Args:
        own: The score of the network on each test example, of shape (n,).
        unmoved: Those of K fresh unmoved networks on the same examples, of shape (K, n).
        groups: See :func:`own_score`.
        level: The level of the interval.
    """
    differences = own.astype(np.float64) - unmoved.mean(axis=0, dtype=np.float64)
    of_examples, n_groups = _variance_of_mean(differences, groups)
    k, mean = len(unmoved), float(differences.mean())
    of_networks = float(unmoved.mean(axis=1, dtype=np.float64).var(ddof=1)) / k
    total = of_examples + of_networks
    half = total  # 0, or NaN where a training came to no number.
    if total > 0:
        freedom = total**2 / (of_examples**2 / (n_groups - 1) + of_networks**2 / (k - 1))
        half = _quantile(level, freedom) * math.sqrt(total)
    elif total == 0 and own.dtype == bool:  # Of other examples, some may differ.
        half = _quantile(level, math.inf) * math.sqrt(2) / (n_groups + 2)
    return Estimate(mean, mean - half, mean + half)


def mean_gain(gains: Sequence[float] | np.ndarray, n_claims: int = 1) -> Estimate:
    """Return the mean of paired gains with the interval of :func:`planned_interval`.

    It is infinite with too few of them, and all is NaN where one of them is.
    """
    mean = float(np.mean(gains))
    if math.isnan(mean):
        return Estimate(*(math.nan,) * 3)
    return Estimate(mean, *planned_interval(np.array(gains), n_claims))


def _variance_of_mean(values: np.ndarray, groups: np.ndarray | None) -> tuple[float, int]:
    """Return the variance of a mean over examples, and of how many groups that is known."""
    groups = np.arange(len(values)) if groups is None else groups
    return variance_of_mean(values.astype(np.float64), groups), len(np.unique(groups))


def _quantile(level: float, freedom: float) -> float:
    return float(stats.t.ppf((1 + level) / 2, freedom))
