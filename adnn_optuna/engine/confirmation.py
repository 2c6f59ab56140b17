"""Winner and unmoved network trained from the same fresh seeds, stored beside their study."""

from __future__ import annotations

import dataclasses
import functools
import math
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import fmean
from typing import Any

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Confirmed
from adnn_optuna._checks import WrongValueError
from adnn_optuna.callbacks import MaxTimeCallback, is_done
from adnn_optuna.engine.evaluations import (
    Evaluation,
    Findings,
    Measured,
    evaluation_of,
    fresh_seeds,
    make_evaluations,
    open_evaluations,
)
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.engine.retraining import random_sources, retrain
from adnn_optuna.engine.scores import as_attributes, from_attributes
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
        own: The scores of the winner's own network on the test examples, of shape (n,).
        scores: Those of the networks of each arm, of shape (K, n).
        groups: What the test examples belong to, int32 of shape (n,), if to anything.
    """

    trial: int
    rank: int
    seeds: tuple[int, ...]
    own: np.ndarray
    scores: Mapping[int, np.ndarray]
    groups: np.ndarray | None


def experiment_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return an experiment's fingerprint: its configuration, whatever its data are called."""
    return {**config, "dataset": config["dataset"]["fingerprint"]}


def confirming_seeds(
    config: Mapping[str, Any], params: Mapping[str, Any], count: int
) -> tuple[int, ...]:
    """Return the seeds that confirm a winner with these parameters, keyed by it and nothing else.

    Args:
        config: The configuration of its experiment, as a study or a contract holds it.
        params: The winner's parameters, hyperparameters included.
        count: How many.
    """
    return fresh_seeds([experiment_of(config), dict(params)], "confirm", count)


def confirm(
    record: SearchRecord,
    objective: InitOffsetObjective,
    n_seeds: int,
    *,
    stop: threading.Event | None = None,
    show_progress_bar: bool = False,
) -> None:
    """Train a search's winner, which was tested, and the unmoved network from fresh seeds.

    A winner is confirmed once: with the number of seeds that it was first to be confirmed with.

    Raises:
        ValueError: If nothing in the training is random.
        KeyboardInterrupt: If ``stop`` is set meanwhile; all that was made is stored.
    """
    best = record.best
    assert best is not None, "There is a winner, which was tested."
    arms = _arms(record, objective)
    trainer = arms[UNMOVED][0].trainer
    if not {"initialisation", "order"} & {*random_sources(trainer)}:
        raise WrongValueError(
            "Neither the initial weights nor the order of the batches are random, so there are no "
            "fresh seeds to confirm by; give confirm=0."
        )
    config = experiment_of(record.attrs[stored.CONFIG])
    study = patiently(
        open_evaluations,
        *(record.study._storage, _name(record), StudyDirection.MAXIMIZE, config),
    )
    if (name := f"{stored.CONFIRMED}/{best.number}") not in patiently(lambda: study.user_attrs):
        if (groups := getattr(objective.dataset, "test_groups", None)) is not None:
            for key, text in as_attributes(stored.GROUPS, groups).items():
                patiently(study.set_user_attr, key, text)
        declared: Confirmed = {
            "began": datetime.now(UTC).isoformat(),
            "trial": best.number,
            "seeds": [*confirming_seeds(record.attrs[stored.CONFIG], best.params, n_seeds)],
            "arms": [*arms],
        }
        patiently(study.set_user_attr, name, declared)
    confirmed: Confirmed = patiently(lambda: study.user_attrs)[name]

    def evaluate(_: int, arm: int, seed: int) -> Measured:
        experiment, params = arms[arm]
        [run] = retrain(experiment.trainer, [experiment.replace(seed=seed).start(params)], stop)
        # Also of one that diverged: whoever trains so gets such a network.
        return Measured(run.score, as_attributes(stored.SCORES, run.scores))

    make_evaluations(
        functools.partial(_Trainings, study_name=study.study_name, confirmed=confirmed),
        study,
        _NAMES,
        evaluate,
        stop=stop,
        n_jobs=n_cores(),
        show_progress_bar=show_progress_bar,
    )


@dataclasses.dataclass
class _Trainings(Findings):
    """The trainings that a confirmation needs."""

    confirmed: Confirmed = dataclasses.field(kw_only=True)

    def __post_init__(self) -> None:
        needed = _evaluations(self.confirmed)
        self.evaluations = {e: v for e, v in self.evaluations.items() if e in set(needed)}
        self.n_evaluations = len(needed)
        self.missing = [evaluation for evaluation in needed if evaluation not in self.evaluations]


def _evaluations(confirmed: Confirmed) -> list[Evaluation]:
    return [
        (confirmed["trial"], arm, seed) for seed in confirmed["seeds"] for arm in confirmed["arms"]
    ]


def read_confirmation(record: SearchRecord) -> Confirmation | None:
    """Return the confirmation of a search's winner; :obj:`None` until all of it is made."""
    best, look = record.best, record.test_look
    if best is None or look is None:
        return None
    try:
        study = patiently(
            optuna.load_study, study_name=_name(record), storage=record.study._storage
        )
    except KeyError:
        return None
    attrs: dict[str, Any] = patiently(lambda: study.user_attrs)
    all_of_study = [v for name, v in attrs.items() if name.startswith(f"{stored.CONFIRMED}/")]
    all_of_study.sort(key=lambda one: (one["began"], one["trial"]))
    numbers = [one["trial"] for one in all_of_study]
    if best.number not in numbers:
        return None
    confirmed: Confirmed = all_of_study[numbers.index(best.number)]
    n, kind = look["n_images"], np.float32 if "standard_error" in look else np.bool_
    made: dict[Evaluation, np.ndarray] = {}
    for trial in filter(is_done, patiently(study.get_trials, deepcopy=False)):
        scores = from_attributes(trial.system_attrs, stored.SCORES, n, kind)
        if scores is not None:
            made.setdefault(evaluation_of(trial, _NAMES), scores)
    own = from_attributes(record.attrs, f"{stored.SCORES}/{best.number}", n, kind)
    if own is None or any(evaluation not in made for evaluation in _evaluations(confirmed)):
        return None
    return Confirmation(
        trial=best.number,
        rank=1 + numbers.index(best.number),
        seeds=tuple(confirmed["seeds"]),
        own=own,
        scores={
            arm: np.stack([made[best.number, arm, seed] for seed in confirmed["seeds"]])
            for arm in confirmed["arms"]
        },
        groups=from_attributes(attrs, stored.GROUPS, n, np.int32),
    )


def _name(record: SearchRecord) -> str:
    return f"{record.study.study_name}/confirmation"


def _arms(
    record: SearchRecord, objective: InitOffsetObjective
) -> dict[int, tuple[InitOffsetObjective, dict[str, Any]]]:
    """Return the experiment of each arm and its offsets; no arm is trained that is another one."""
    best = record.best
    assert best is not None, "There is a winner."
    winner, hyperparameters = _split(objective, best)
    offsets = {name: v for name, v in best.params.items() if name not in hyperparameters}
    arms: dict[int, tuple[InitOffsetObjective, dict[str, Any]]] = {UNMOVED: (winner, {})}
    if any(winner.start(offsets).offsets):
        arms[MOVED] = (winner, offsets)
    first, of_first = _split(objective, record.done_trials[0])
    if of_first != hyperparameters:
        arms[FIRST] = (first, {})
    return arms


def _split(
    objective: InitOffsetObjective, trial: FrozenTrial
) -> tuple[InitOffsetObjective, dict[str, Any]]:
    """Return the objective of a trial, and its parameters that no offset is."""
    experiment = objective.of(trial.params)
    others = {k: v for k, v in trial.params.items() if k not in experiment.distributions}
    return experiment, others


def n_trainings(record: SearchRecord, objective: InitOffsetObjective, n_seeds: int) -> int:
    """Return how many trainings it takes to confirm a search's winner."""
    return n_seeds * len(_arms(record, objective))


def seconds_of(record: SearchRecord, count: int) -> float:
    """Return about how long so many trainings take on this machine, by those of the trials."""
    trained = (trial.user_attrs.get(stored.TRAINED) for trial in record.done_trials)
    return count / n_cores() * fmean([one["seconds"] for one in trained if one] or [0.0])


def seconds_left(record: SearchRecord, max_time: float | None) -> float:
    """Return what is left of the time that a study may take; infinite without a limit."""
    return math.inf if max_time is None else MaxTimeCallback(max_time).seconds_left(record.study)
