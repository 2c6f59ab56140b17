"""The findings of new seeds on a search's best trial.

The gain of a search over its own baseline mixes three things: a baseline that may be a bad draw, a
best network that may be a good one, and offsets that may help. The best trial's parameters and the
baseline network, trained on the same new seeds, tell them apart.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Confirmed, TestEvaluation
from adnn_optuna._checks import Fault
from adnn_optuna._units import Estimate, unit_of
from adnn_optuna.engine.confirmation import needed_evaluations
from adnn_optuna.engine.example_scores import from_attributes
from adnn_optuna.engine.records import (
    BASELINE,
    BEST,
    CONFIRMATION_NAMES,
    FIRST,
    SearchRecord,
    confirmation_name,
)
from adnn_optuna.samplers._evaluations import Evaluation, evaluation_of
from adnn_optuna.samplers._trials import is_done
from adnn_optuna.stats.example_scores import difference_from_mean, mean_gain, score_estimate
from adnn_optuna.stats.sequential import ALPHA


class OwnScores(NamedTuple):
    """The scores of a best network on the n test examples, and the groups of these."""

    scores: np.ndarray
    groups: np.ndarray | None = None
    n_rare: int | None = None  # Examples not of the largest class, for metrics such as AUC.
    most: float = math.inf  # No value is above it.

    @classmethod
    def of(
        cls, scores: np.ndarray, groups: np.ndarray | None, metric: str, evaluation: TestEvaluation
    ) -> Self:
        """Return the scores by a metric of the test set, as an evaluation of it found them."""
        is_share = unit_of(metric).largest < math.inf and scores.dtype != bool
        n_rare = None
        if is_share:
            n_rare = evaluation["n_images"] - evaluation.get("n_largest", 0)
        return cls(scores, groups, n_rare, 1.0 if metric == "test_r2" else math.inf)


@dataclasses.dataclass(frozen=True)
class ConfirmationRuns:
    """The training runs that confirm a best trial, all of them made."""

    trial: int
    rank: int  # Its place among the study's best trials that were confirmed, from 1.
    seeds: tuple[int, ...]  # The K new seeds.
    own: OwnScores
    values: Mapping[int, np.ndarray]  # The test metric of each arm's networks, of shape (K,).
    scores: Mapping[int, np.ndarray]  # On each test example, of shape (K, n).
    is_loss: bool = False
    earlier: tuple[str, ...] = ()  # The studies that confirmed the same before.


def read_runs(record: SearchRecord) -> ConfirmationRuns | None:
    """Return the runs that confirm a search's best trial; :obj:`None` until all are made."""
    best, own = record.best, own_scores(record)
    planned = None if best is None else stored.planned_of(record.attrs, best.number)
    if best is None or own is None or planned is None:
        return None
    confirmed = record.confirmations[best.number]
    needed, made = needed_evaluations(confirmed), dict[Evaluation, np.ndarray]()
    values: dict[Evaluation, float] = {}
    for trial in filter(is_done, record.confirming):
        evaluation = evaluation_of(trial, CONFIRMATION_NAMES)
        if evaluation in needed and evaluation not in made:
            name, shapes = confirmation_name(record.study.study_name), [own.scores.shape]
            of = f"trial {trial.number} of study {name!r}"
            [made[evaluation]] = from_attributes(trial.system_attrs, stored.SCORES, of, shapes)
            values[evaluation] = math.nan if trial.value is None else trial.value
    if any(evaluation not in made for evaluation in needed):
        return None
    return ConfirmationRuns(
        trial=best.number,
        rank=planned["rank"],
        seeds=tuple(confirmed["seeds"]),
        own=own,
        values=_by_arm(confirmed, values),
        scores=_by_arm(confirmed, made),
        is_loss=record.is_minimized,
        earlier=tuple(confirmed.get("earlier", ())),
    )


def _by_arm(confirmed: Confirmed, of: Mapping[Evaluation, Any]) -> dict[int, np.ndarray]:
    """Return the evaluations of each arm, in the order of the seeds."""
    trial, seeds = confirmed["trial"], confirmed["seeds"]
    return {arm: np.stack([of[trial, arm, seed] for seed in seeds]) for arm in confirmed["arms"]}


@dataclasses.dataclass(frozen=True)
class Confirmation:
    """The findings of new seeds on a best trial, by the metric of the selection on the test set.

    Attributes:
        trial: The number of the best trial.
        rank: Its place among the study's best trials that were confirmed, from 1.
        level: The level of each CI: 1 - 0.05; 0.05 is halved for each earlier best trial.
        test_score: The score of the best network itself.
        vs_baselines: How much better that is than the mean of new baseline networks.
        replication: The mean gain of the best trial's offsets on new seeds; 0 without offsets.
        hyperparameters: The mean gain of the best trial's hyperparameters over the first trial's,
            both without offsets, on the same seeds; :obj:`None` if none were searched.
        seeds: The new seeds.
        gains: The gain of the offsets with each seed; empty without offsets.
        baselines: The score of the baseline network with each seed.
        earlier: The studies of the storage that confirmed the same parameters of the same
            experiment before. The training runs are those of the first one.
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
    earlier: tuple[str, ...] = ()


def read_confirmation(record: SearchRecord) -> Confirmation | None:
    """Return the findings of new seeds; :obj:`None` if the best trial is not confirmed."""
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
    """Return the findings of a confirmation's training runs."""
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
        earlier=runs.earlier,
    )


def own_scores(record: SearchRecord) -> OwnScores | None:
    """Return the scores of a search's best network; :obj:`None` if it was not tested."""
    if (evaluation := record.test_evaluation) is None:
        return None
    of = f"study {record.study.study_name!r}"
    [scores] = from_attributes(record.attrs, f"{stored.SCORES}/{evaluation['trial']}", of)
    groups = None
    if f"{stored.GROUPS}/0" in record.attrs:
        [groups] = from_attributes(record.attrs, stored.GROUPS, of, [scores.shape])
        if groups.dtype.kind not in "iu" or not {*groups.tolist()} <= {*range(len(groups))}:
            raise stored.malformed(stored.GROUPS, of, Fault("numbers of groups", "others"))
    return OwnScores.of(scores, groups, record.test_metric, evaluation)
