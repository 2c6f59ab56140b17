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

from adnn_optuna.engine import confirmation as made
from adnn_optuna.engine.confirmation import FIRST, MOVED, UNMOVED
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.engine.scores import variance_of_mean
from adnn_optuna.evidence.paired_differences import planned_interval, share_interval
from adnn_optuna.evidence.sequential import ALPHA


class Estimate(NamedTuple):
    """A value with the ends of its interval."""

    value: float
    low: float
    high: float


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
    if "confirmation" not in known and (found := made.read_confirmation(record)) is not None:
        known["confirmation"] = facts_of(found)  # A winner is confirmed once.
    return known.get("confirmation")


def held_score(record: SearchRecord) -> Estimate | None:
    """Return the score of the winner's own network; :obj:`None` while it was not tested."""
    if (facts := confirmation_of(record)) is not None:
        return facts.holds
    own = made.own_scores(record)
    return None if own is None else own_score(*own)


def facts_of(found: made.Confirmation) -> ConfirmationFacts:
    """Return what the trainings of a confirmation show."""
    n_claims, unmoved = 2 ** (found.rank - 1), found.scores[UNMOVED]
    n_examples = unmoved.shape[1] if found.own.dtype == bool else 0
    level = 1 - ALPHA / n_claims

    def gains_of(arm: int, other: int) -> np.ndarray:
        # By their sums, so that those of equals are exactly 0.
        sums = (found.scores[of].sum(axis=1, dtype=np.float64) for of in (arm, other))
        return np.asarray(np.subtract(*sums) / unmoved.shape[1])

    gains, repeats, of_hyperparameters = np.zeros(0), Estimate(0.0, 0.0, 0.0), None
    if MOVED in found.scores:
        gains = gains_of(MOVED, UNMOVED)
        repeats = mean_gain(gains, n_claims, n_examples)
    if FIRST in found.scores:
        of_hyperparameters = mean_gain(gains_of(UNMOVED, FIRST), n_claims, n_examples)
    return ConfirmationFacts(
        trial=found.trial,
        rank=found.rank,
        level=level,
        holds=own_score(found.own, found.groups, level),
        usual=difference_from_usual(found.own, unmoved, found.groups, level),
        repeats=repeats,
        hyperparameters=of_hyperparameters,
        seeds=found.seeds,
        gains=tuple(gains.tolist()),
        unmoved=tuple(unmoved.mean(axis=1, dtype=np.float64).tolist()),
    )


def own_score(
    scores: np.ndarray, groups: np.ndarray | None = None, level: float = 1 - ALPHA
) -> Estimate:
    """Return the mean score of one network, as sure as its test examples make it.

    Scores are of shape (n,), as are the examples' groups, if they are not each alone. Of right and
    wrong answers, :obj:`bool`, the interval is that of Clopper and Pearson (1934), in groups for
    the effective number of examples of Korn and Graubard (1998), Survey Methodology 24(2),
    193-201; of a regression's scores it is Student's.
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
    (1946). Where no classes differ, it is the interval of Bonett and Price (2012). The scores of
    the K unmoved networks are of shape (K, n), all others as in :func:`own_score`.
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


def mean_gain(
    gains: Sequence[float] | np.ndarray, n_claims: int = 1, n_examples: int = 0
) -> Estimate:
    """Return the mean of paired gains with the interval of :func:`planned_interval`.

    Gains that are shares of ``n_examples`` are compared as whole numbers.
    """
    mean = float(np.mean(gains))
    if math.isnan(mean):
        return UNKNOWN
    if not n_examples:
        return Estimate(mean, *planned_interval(np.array(gains), n_claims))
    low, high = planned_interval(np.array(gains) * n_examples, n_claims, decimals=0)
    return Estimate(mean, low / n_examples, high / n_examples)


def _variance_of_mean(values: np.ndarray, groups: np.ndarray | None) -> tuple[float, int]:
    """Return the variance of a mean over examples, and of how many groups that is known."""
    groups = np.arange(len(values)) if groups is None else groups
    return variance_of_mean(values.astype(np.float64), groups), len(np.unique(groups))


def _quantile(level: float, freedom: float) -> float:
    return float(stats.t.ppf((1 + level) / 2, freedom))
