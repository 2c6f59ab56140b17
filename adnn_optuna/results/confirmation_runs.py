"""The training runs of a confirmation, as they are stored."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from optuna.study import StudyDirection

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Confirmed, TestEvaluation
from adnn_optuna._checks import Fault
from adnn_optuna._units import unit_of
from adnn_optuna.engine.confirmation import NAMES, needed_evaluations
from adnn_optuna.engine.evaluations import Evaluation, evaluation_of
from adnn_optuna.engine.records import confirmation_name
from adnn_optuna.engine.scores import from_attributes
from adnn_optuna.engine.search_record import SearchRecord
from adnn_optuna.samplers._trials import is_done


@dataclasses.dataclass(frozen=True)
class ConfirmationRuns:
    """The training runs that confirm a best trial, all of them made.

    Attributes:
        trial: The number of the best trial.
        rank: Its place among the study's best trials that were confirmed, from 1.
        seeds: The K new seeds.
        own: The scores of the best network itself on the test examples.
        values: The metric of the networks of each arm on the test set, of shape (K,).
        scores: Their scores on its examples, of shape (K, n), see :meth:`Scores.tested`.
        is_loss: Whether lower values of the metric are better.
    """

    trial: int
    rank: int
    seeds: tuple[int, ...]
    own: OwnScores
    values: Mapping[int, np.ndarray]
    scores: Mapping[int, np.ndarray]
    is_loss: bool = False


def read_runs(record: SearchRecord) -> ConfirmationRuns | None:
    """Return the runs that confirm a search's best trial; :obj:`None` until all are made."""
    best, own = record.best, own_scores(record)
    declared = [v for name, v in record.attrs.items() if name.startswith(f"{stored.CONFIRMED}/")]
    declared.sort(key=lambda confirmed: (confirmed["began"], confirmed["trial"]))
    numbers = [confirmed["trial"] for confirmed in declared]
    if best is None or own is None or best.number not in numbers:
        return None
    confirmed: Confirmed = declared[numbers.index(best.number)]
    needed, made = needed_evaluations(confirmed), dict[Evaluation, np.ndarray]()
    values: dict[Evaluation, float] = {}
    for trial in filter(is_done, record.confirming):
        if (evaluation := evaluation_of(trial, NAMES)) in needed and evaluation not in made:
            name, shapes = confirmation_name(record.study), [own.scores.shape]
            of = f"trial {trial.number} of study {name!r}"
            [made[evaluation]] = from_attributes(trial.system_attrs, stored.SCORES, of, shapes)
            values[evaluation] = math.nan if trial.value is None else trial.value
    if any(evaluation not in made for evaluation in needed):
        return None
    return ConfirmationRuns(
        trial=best.number,
        rank=1 + numbers.index(best.number),
        seeds=tuple(confirmed["seeds"]),
        own=own,
        values=_by_arm(confirmed, values),
        scores=_by_arm(confirmed, made),
        is_loss=record.study.direction == StudyDirection.MINIMIZE,
    )


def _by_arm(confirmed: Confirmed, of: Mapping[Evaluation, Any]) -> dict[int, np.ndarray]:
    """Return what is known of the evaluations of each arm, in the order of the seeds."""
    trial, seeds = confirmed["trial"], confirmed["seeds"]
    return {arm: np.stack([of[trial, arm, seed] for seed in seeds]) for arm in confirmed["arms"]}


class OwnScores(NamedTuple):
    """The scores of a best network on the n test examples, and the groups of these.

    If the metric is within [0, 1] and no mean over examples, such as AUC, ``n_rare`` is the number
    of the examples that are not of the largest class. No value is above ``most``.
    """

    scores: np.ndarray
    groups: np.ndarray | None = None
    n_rare: int | None = None
    most: float = math.inf

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
