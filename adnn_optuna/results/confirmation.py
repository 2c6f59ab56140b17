"""What new seeds show of a search's best trial.

The gain of a search over its own baseline mixes three things: a baseline that may be a bad draw, a
best network that may be a good one, and offsets that may help. The best trial's parameters and the
baseline network, trained on the same new seeds, tell them apart.
"""

import dataclasses

import numpy as np

from adnn_optuna._units import Estimate
from adnn_optuna.engine.confirmation import BASELINE, BEST, FIRST
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.results.confirmation_runs import (
    ConfirmationRuns,
    OwnScores,
    own_scores,
    read_runs,
)
from adnn_optuna.stats.example_scores import difference_from_mean, mean_gain, score_estimate
from adnn_optuna.stats.sequential import ALPHA


@dataclasses.dataclass(frozen=True)
class Confirmation:
    """What new seeds show of a best trial, by the metric of the selection on the test set.

    Attributes:
        trial: The number of the best trial.
        rank: Its place among the study's best trials that were confirmed, from 1.
        level: The level of each CI: 1 - 0.05, where 0.05 is halved for each earlier best trial.
        test_score: The score of the best network itself.
        vs_baselines: How much better that is than the mean of new baseline networks.
        replication: The mean gain of the best trial's offsets on new seeds; 0 without offsets.
        hyperparameters: The mean gain of the best trial's hyperparameters over the first trial's,
            both without offsets, on the same seeds; :obj:`None` if none were searched.
        seeds: The new seeds.
        gains: The gain of the offsets with each seed; empty without offsets.
        baselines: The score of the baseline network with each seed.
    """

    trial: int
    rank: int
    level: float
    test_score: Estimate
    vs_baselines: Estimate
    replication: Estimate
    hyperparameters: Estimate | None
    seeds: tuple[int, ...]
    gains: tuple[float, ...]
    baselines: tuple[float, ...]


def read_confirmation(record: SearchRecord) -> Confirmation | None:
    """Return what new seeds show of a best trial; :obj:`None` if it is not confirmed."""
    if "confirmation" not in record.known:
        runs = read_runs(record)
        if runs is None:
            return None
        record.known["confirmation"] = confirmation_of(runs)  # A best trial is confirmed once.
    found: Confirmation = record.known["confirmation"]
    return found


def test_estimate(record: SearchRecord) -> Estimate | None:
    """Return the test score of the best network; :obj:`None` if it was not tested."""
    if (confirmation := read_confirmation(record)) is not None:
        return confirmation.test_score
    own = own_scores(record)
    return None if own is None else own_estimate(own)


def own_estimate(own: OwnScores, level: float = 1 - ALPHA) -> Estimate:
    """Return the test score of one network."""
    return score_estimate(own.scores, own.groups, own.n_rare, own.most, level=level)


def confirmation_of(runs: ConfirmationRuns) -> Confirmation:
    """Return what the training runs of a confirmation show."""
    n_claims, values = 2 ** (runs.rank - 1), runs.values
    n_examples = runs.scores[BASELINE].shape[1]
    level, sign = 1 - ALPHA / n_claims, -1 if runs.is_loss else 1
    gains, replication, hyperparameters = np.zeros(0), Estimate(0.0, 0.0, 0.0), None
    if BEST in values:
        gains = sign * (values[BEST] - values[BASELINE])
        replication = mean_gain(gains, n_claims, n_examples)
    if FIRST in values:
        of_seeds = sign * (values[BASELINE] - values[FIRST])
        hyperparameters = mean_gain(of_seeds, n_claims, n_examples)
    own, baselines = runs.own, runs.scores[BASELINE]
    higher = difference_from_mean(own.scores, baselines, own.groups, own.n_rare, level=level)
    lower = Estimate(-higher.value, -higher.high, -higher.low)
    return Confirmation(
        trial=runs.trial,
        rank=runs.rank,
        level=level,
        test_score=own_estimate(own, level),
        vs_baselines=higher if sign > 0 else lower,
        replication=replication,
        hyperparameters=hyperparameters,
        seeds=runs.seeds,
        gains=tuple(gains.tolist()),
        baselines=tuple(values[BASELINE].tolist()),
    )
