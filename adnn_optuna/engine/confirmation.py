"""Winner and unmoved network trained from the same fresh seeds, stored beside their study."""

from __future__ import annotations

import dataclasses
import itertools
import math
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import fmean
from typing import Any, NamedTuple, Self

import numpy as np
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Confirmed, TestLook
from adnn_optuna._checks import Fault, WrongValueError
from adnn_optuna._units import unit_of
from adnn_optuna.callbacks import MaxTimeCallback, is_done
from adnn_optuna.engine.arms import may_repeat
from adnn_optuna.engine.evaluations import (
    Evaluation,
    Findings,
    Measured,
    evaluation_of,
    make_evaluations,
    open_evaluations,
    seeds_to_confirm,
)
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.records import (
    SearchRecord,
    confirmation_name,
    confirmation_trials,
    is_of_trial,
)
from adnn_optuna.engine.retraining import (
    Record,
    changed,
    gains_of,
    is_random,
    refreshed,
    retrain,
    with_stored,
)
from adnn_optuna.engine.scores import from_attributes
from adnn_optuna.engine.storages import patiently
from adnn_optuna.networks.training import n_cores

SEEDS = 10
"""With how many fresh seeds a winner is confirmed, if nobody says otherwise."""
FEWEST_SEEDS = 6  # Of fewer pairs, no interval by sign flips is finite.

# The arms: the unmoved network, with the winner's hyperparameters; the winner; and the unmoved
# network with the first trial's, where hyperparameters were searched, too.
UNMOVED, MOVED, FIRST = range(3)
_NAMES = ("trial", "arm", "seed")


@dataclasses.dataclass(frozen=True)
class Confirmation:
    """The trainings by which a winner is confirmed, all of them made.

    Attributes:
        trial: The winner's number.
        rank: The how-manieth winner of its study it is that was confirmed, from 1.
        seeds: The K fresh seeds.
        own: What the winner's own network reaches on the test examples.
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


def experiment_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return an experiment's fingerprint: its configuration, whatever its data are called."""
    return {**config, "dataset": config["dataset"]["fingerprint"]}


def confirm_winner(
    record: Record,
    objective: InitOffsetObjective,
    n_seeds: int,
    *,
    stop: threading.Event | None = None,
    show_progress_bar: bool = False,
) -> Record:
    """Train a search's winner, which was tested, and the unmoved network from fresh seeds.

    A winner is confirmed once: with the number of seeds that it was first to be confirmed with.
    """
    best = record.best
    assert best is not None, "There is a winner, which was tested."
    arms = _arms(record, objective, best)
    if not is_random(arms[UNMOVED][0]):
        raise WrongValueError(
            "Neither the initial weights nor the order of the batches are random, so there are no "
            "fresh seeds to confirm by; give confirm=0."
        )
    name = f"{stored.CONFIRMED}/{best.number}"
    if name not in patiently(lambda: record.study.user_attrs):
        experiment = experiment_of(record.attrs[stored.CONFIG])
        declared: Confirmed = {
            "began": datetime.now(UTC).isoformat(),
            "trial": best.number,
            "seeds": [*seeds_to_confirm(experiment, best.params, n_seeds)],
            "arms": [*arms],
        }
        record = with_stored(record, {name: declared})
    # As the first worker declared it, and with the other winners.
    record = refreshed(record, stored.CONFIRMED)
    confirmed: Confirmed = record.attrs[name]
    if (confirmed["trial"], confirmed["arms"]) != (best.number, [*arms]):
        fault = Fault(f"of trial {best.number} and its arms {[*arms]}", "others")
        raise stored.malformed(name, f"study {record.study.study_name!r}", fault)
    # Of whatever study had the name before, as the seeds are of the experiment.
    what = "winners of a search, and unmoved networks, from fresh seeds"
    where = record.study._storage, confirmation_name(record.study), StudyDirection.MAXIMIZE
    study, needed = patiently(open_evaluations, *where, what), _needed(confirmed)

    def evaluate(_: int, arm: int, seed: int) -> Measured:
        experiment, params = arms[arm]
        [run] = retrain(experiment.trainer, [experiment.replace(seed=seed).starts(params)], stop)
        # Also of one that diverged: whoever trains so gets such a network.
        return Measured(run.score, run.as_attributes(stored.SCORES))

    def trainings(made: Mapping[Evaluation, float]) -> Findings:
        found = Findings({e: made[e] for e in needed if e in made}, study.study_name)
        found.missing = [evaluation for evaluation in needed if evaluation not in made]
        found.n_evaluations = len(needed)
        return found

    n_at_once = arms[UNMOVED][0].trainer.n_at_once(least=n_cores())
    options: Any = {"n_jobs": n_at_once, "show_progress_bar": show_progress_bar}
    make_evaluations(trainings, study, _NAMES, evaluate, stop=stop, **options)
    return changed(record, confirming=patiently(confirmation_trials, record.study))


def _needed(confirmed: Confirmed) -> list[Evaluation]:
    """Return the trainings that a confirmation needs."""
    return [*itertools.product([confirmed["trial"]], confirmed["arms"], confirmed["seeds"])]


def read_confirmation(record: SearchRecord) -> Confirmation | None:
    """Return the confirmation of a search's winner; :obj:`None` until all of it is made."""
    best, own = record.best, own_scores(record)
    winners = [v for name, v in record.attrs.items() if name.startswith(f"{stored.CONFIRMED}/")]
    winners.sort(key=lambda winner: (winner["began"], winner["trial"]))
    numbers = [winner["trial"] for winner in winners]
    if best is None or own is None or best.number not in numbers:
        return None
    confirmed: Confirmed = winners[numbers.index(best.number)]
    needed, made = _needed(confirmed), dict[Evaluation, np.ndarray]()
    values: dict[Evaluation, float] = {}
    for trial in filter(is_done, record.confirming):
        if (evaluation := evaluation_of(trial, _NAMES)) in needed and evaluation not in made:
            name, shapes = confirmation_name(record.study), [own.scores.shape]
            of = f"trial {trial.number} of study {name!r}"
            [made[evaluation]] = from_attributes(trial.system_attrs, stored.SCORES, of, shapes)
            values[evaluation] = math.nan if trial.value is None else trial.value
    if any(evaluation not in made for evaluation in needed):
        return None
    return Confirmation(
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
    """The scores of a winner's own network on the n test examples, and what these belong to.

    If the metric is within [0, 1] and no mean over examples, such as AUC, ``n_rare`` is the number
    of the examples that are not of the largest class. No value is above ``most``.
    """

    scores: np.ndarray
    groups: np.ndarray | None = None
    n_rare: int | None = None
    most: float = math.inf

    @classmethod
    def of(
        cls, scores: np.ndarray, groups: np.ndarray | None, metric: str, look: TestLook
    ) -> Self:
        """Return the scores by a metric of the test set, as a look at it found them."""
        is_share = unit_of(metric).largest < math.inf and scores.dtype != bool
        n_rare = look["n_images"] - look.get("n_largest", 0) if is_share else None
        return cls(scores, groups, n_rare, 1.0 if metric == "test_r2" else math.inf)


def own_scores(record: SearchRecord) -> OwnScores | None:
    """Return what a search's winner comes to, as it was tested; :obj:`None` if it was not."""
    if (look := record.test_look) is None:
        return None
    of = f"study {record.study.study_name!r}"
    [scores] = from_attributes(record.attrs, f"{stored.SCORES}/{look['trial']}", of)
    groups = None
    if f"{stored.GROUPS}/0" in record.attrs:
        [groups] = from_attributes(record.attrs, stored.GROUPS, of, [scores.shape])
        if groups.dtype.kind not in "iu" or not {*groups.tolist()} <= {*range(len(groups))}:
            raise stored.malformed(stored.GROUPS, of, Fault("numbers of groups", "others"))
    return OwnScores.of(scores, groups, record.test_metric, look)


def repeat_winner(
    record: SearchRecord, objective: InitOffsetObjective, stop: threading.Event
) -> None:
    """Train a winner and its unmoved network from one fresh seed more: store what it gains then.

    That is asked of what a winner can take along to other seeds: offsets, and a learning rate.
    """
    best, is_known = record.best, not math.isnan(record.repeated)
    if best is None or is_known or record.is_restart or not may_repeat(record.searcher):
        return
    winner = objective.as_trained(best)
    if not is_random(winner):
        return
    [seed] = seeds_to_confirm(experiment_of(record.attrs[stored.CONFIG]), best.params, 1)
    fresh = winner.replace(seed=seed)
    starts = [fresh.baseline_start, fresh.start(best.params)]
    gain = 0.0
    if starts[0] != starts[1]:
        [gain] = gains_of(fresh, [*retrain(fresh.trainer, starts, stop)])
    with_stored(record, {f"{stored.REPEATED}/{best.number}": gain})


def _arms(
    record: SearchRecord, objective: InitOffsetObjective, best: FrozenTrial
) -> dict[int, tuple[InitOffsetObjective, dict[str, Any]]]:
    """Return the experiment of each arm and its offsets; no arm is trained that is another one."""
    winner, first = objective.as_trained(best), record.done_trials[0]
    arms: dict[int, tuple[InitOffsetObjective, dict[str, Any]]] = {UNMOVED: (winner, {})}
    if winner.moves(best.params):
        arms[MOVED] = (winner, best.params)
    others, of_first = (
        {k: v for k, v in trial.params.items() if k not in winner.distributions}
        for trial in (best, first)
    )
    if others != of_first:
        arms[FIRST] = (objective.as_trained(first), {})
    return arms


def n_trainings(record: SearchRecord) -> int:
    """Return how many trainings it takes at the most to confirm a search's winner."""
    return SEEDS * (1 + (not record.is_restart) + is_of_trial(record.attrs[stored.CONFIG]))


def seconds_of(record: SearchRecord, count: int) -> float:
    """Return about how long so many trainings take on this machine, by those of the trials."""
    trained = (stored.trained_of(trial.user_attrs) for trial in record.done_trials)
    return count / n_cores() * fmean([one["seconds"] for one in trained if one] or [0.0])


def is_affordable(
    record: SearchRecord, objective: InitOffsetObjective, max_time: float | None
) -> bool:
    """Return whether a winner can be confirmed by no more trainings, and time, than its search."""
    best, count = record.best, n_trainings(record)
    if best is None or count > len(record.done_trials) or not is_random(objective.of(best.params)):
        return False
    if max_time is None:
        return True
    return seconds_of(record, count) <= MaxTimeCallback(max_time).seconds_left(record.study)
