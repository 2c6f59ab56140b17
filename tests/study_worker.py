"""Runs a study in a process that tests can kill.

Arguments: storage (a URL, or the path of a journal file), sampler, number of trials, batch size.
"""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING

import optuna
import quick_sqlite  # noqa: F401 - it changes how SQLite writes.
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from adnn_optuna.samplers import (
    AdaptiveSimulatedAnnealingSampler,
    DeltaStepSampler,
    RandomRestartSampler,
)

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage

X0 = {"x": 0.25, "y": 0.5}

# When Optuna opens its first database, it imports many modules. Do this before workers fork.
optuna.storages.RDBStorage("sqlite://")


def make_sampler(name: str) -> BaseSampler:
    if name == "annealing":
        return AdaptiveSimulatedAnnealingSampler(seed=1, n_trials=40)
    if name == "annealing_x0":
        return AdaptiveSimulatedAnnealingSampler(seed=1, x0=X0)
    if name == "greedy":
        return DeltaStepSampler(deltas=(0.001, 0.00137), max_steps=200)
    if name == "greedy_improving":
        return DeltaStepSampler(deltas=(0.05, 0.08), max_steps=200, accept="improving")
    return RandomRestartSampler(seed=1)


def make_storage(place: str) -> str | BaseStorage:
    return place if "://" in place else JournalStorage(JournalFileBackend(place))


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -1, 1)
    y = trial.suggest_float("y", 0.001, 1, log=True)
    k = trial.suggest_int("k", 0, 9)
    color = trial.suggest_categorical("color", ["red", "green", "blue"])
    restart = trial.suggest_int("restart", 0, 1000)
    value = (x - 0.3) ** 2 + (math.log10(y) + 1) ** 2 + 0.1 * abs(k - 4) + 1e-4 * restart
    return value + (color != "green")


def n_done(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))


def run(study: optuna.Study, n_trials: int, batch_size: int, seconds: float = 0.0) -> None:
    """Run batches of trials. All trials of a batch are asked before the first one is told."""
    while n_done(study) < n_trials:
        n_missing = batch_size - n_done(study) % batch_size
        trials = [study.ask() for _ in range(n_missing)]
        values = [objective(trial) for trial in trials]
        for trial, value in zip(trials, values, strict=True):
            time.sleep(seconds)
            study.tell(trial, value)


def work_to_be_killed(place: str, sampler_name: str, n_trials: int, batch_size: int) -> None:
    """Continue the study so slowly that a test can kill this worker."""
    work(place, sampler_name, n_trials, batch_size, seconds=0.002)


def work(
    place: str, sampler_name: str, n_trials: int, batch_size: int, seconds: float = 0.0
) -> None:
    """Continue the study. With a batch size of 0, this is one of several workers."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=make_storage(place),
        study_name="study",
        load_if_exists=True,
        sampler=make_sampler(sampler_name),
    )
    sys.stdout.write("started\n")
    sys.stdout.flush()
    if batch_size == 0:
        study.optimize(objective, n_trials=n_trials)
    else:
        run(study, n_trials, batch_size, seconds)


if __name__ == "__main__":
    place, sampler_name, n_trials, batch_size = sys.argv[1:]
    work(place, sampler_name, int(n_trials), int(batch_size))
