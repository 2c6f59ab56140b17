"""Studies in which somebody deleted trials, as dashboards and users do."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

import adnn_optuna as adnn
from adnn_optuna._attributes import PROPOSAL
from adnn_optuna.callbacks import (
    MaxGainCallback,
    MaxTimeCallback,
    MaxTrialCallback,
    checked_limits,
)
from adnn_optuna.engine.arms import Arms
from adnn_optuna.engine.functions import FunctionObjective
from adnn_optuna.engine.loop import Loop
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.engine.studies import StudySpec, open_studies
from adnn_optuna.experiments.controls import ARMS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from optuna.samplers import BaseSampler

NAME = "s"


def tpe(seed: int, _: int | None) -> BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=3)


SAMPLERS: dict[str, Callable[[], BaseSampler]] = {
    "greedy": lambda: adnn.DeltaStepSampler(deltas=(0.01,), max_steps=20),
    "greedy_improving": lambda: adnn.DeltaStepSampler((0.01,), 20, accept="improving"),
    "annealing": lambda: adnn.AdaptiveSimulatedAnnealingSampler(seed=0, n_trials=12),
    "random_restart": lambda: adnn.RandomRestartSampler(seed=0),
    "keyed": lambda: adnn.KeyedSampler(tpe, seed=0),
}
DELETED = [
    pytest.param([0], id="the first", marks=pytest.mark.slow),
    pytest.param([2], id="one in the middle", marks=pytest.mark.slow),
    pytest.param([4], id="the last"),
    pytest.param([0, 1], id="the first two", marks=pytest.mark.slow),
    pytest.param([1, 3], id="two in the middle", marks=pytest.mark.slow),
    pytest.param([3, 4], id="the last two", marks=pytest.mark.slow),
    pytest.param([0, 1, 2, 3, 4], id="all", marks=pytest.mark.slow),
]
# Samplers that the fast tests omit work like one of these: they walk, or they count.
LONG = [pytest.param(name, marks=pytest.mark.slow) for name in ("greedy", "random_restart")]
each_sampler = pytest.mark.parametrize(
    "sampler", ["greedy_improving", "annealing", "keyed", *LONG]
)
each_deletion = pytest.mark.parametrize("numbers", DELETED)


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -1, 1)
    return (x - 0.2) ** 2 + trial.suggest_int("restart", 0, 1000) / 1e4


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'study.db'}"


def delete(folder: Path, numbers: Collection[int], study: str = NAME) -> None:
    """Delete trials with all their rows, as a dashboard does."""
    with contextlib.closing(sqlite3.connect(folder / "study.db")) as database, database:
        for number in numbers:
            row = (
                "SELECT trial_id FROM trials JOIN studies USING (study_id) "
                "WHERE number = ? AND study_name = ?"
            )
            [(trial_id,)] = database.execute(row, (number, study)).fetchall()
            for table in (
                "trial_params",
                "trial_values",
                "trial_user_attributes",
                "trial_system_attributes",
                "trial_heartbeats",
                "trials",
            ):
                database.execute(f"DELETE FROM {table} WHERE trial_id = ?", (trial_id,))


def opened(folder: Path, sampler: str) -> optuna.Study:
    """Open the study as another process does."""
    storage = open_storage(url(folder))
    return optuna.create_study(
        storage=storage, study_name=NAME, load_if_exists=True, sampler=SAMPLERS[sampler]()
    )


def run(study: optuna.Study, n_trials: int) -> None:
    limits: Any = [MaxTrialCallback(1000), MaxTimeCallback(1e9), MaxGainCallback(1e9)]
    study.optimize(objective, n_trials, callbacks=limits)


def indices(study: optuna.Study) -> list[int]:
    proposals = [trial.system_attrs.get(PROPOSAL) for trial in study.trials]
    return [proposal["index"] for proposal in proposals if proposal is not None]


def proposed(study: optuna.Study) -> list[Any]:
    """Return the parameters and values of the study's trials by number."""
    return [(trial.number, trial.params, trial.value) for trial in study.trials]


def states(folder: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(folder / "study.db")) as database:
        return {state for (state,) in database.execute("SELECT state FROM trials")}


@each_deletion
@each_sampler
def test_a_resumed_study(tmp_path: Path, sampler: str, numbers: list[int]) -> None:
    """The number of resumptions does not change the trials."""
    ends = []
    for n_each in (4, 1):
        folder = tmp_path / str(n_each)
        folder.mkdir()
        run(opened(folder, sampler), 5)
        delete(folder, numbers)
        for _ in range(4 // n_each):
            run(opened(folder, sampler), n_each)
        assert states(folder) == {"COMPLETE"}
        ends.append(proposed(opened(folder, sampler)))
    assert ends[0] == ends[1]
    found_indices = indices(opened(folder, sampler))
    assert len(set(found_indices)) == len(found_indices)


@each_deletion
@each_sampler
def test_a_study_that_runs(tmp_path: Path, sampler: str, numbers: list[int]) -> None:
    study = opened(tmp_path, sampler)
    run(study, 5)
    delete(tmp_path, numbers)
    run(study, 4)
    found_indices = indices(opened(tmp_path, sampler))
    assert len(set(found_indices)) == len(found_indices)
    run(opened(tmp_path, sampler), 1)
    assert states(tmp_path) == {"COMPLETE"}


class Quick(FunctionObjective):
    """An objective whose parameters are known before it runs."""

    # Random restarts have indices, but do not learn from values.
    arms = Arms(ARMS, ("random",), "random")

    distributions = {"x": FloatDistribution(-1, 1), "restart": IntDistribution(0, 1000)}  # noqa: RUF012

    def suggest(self, trial: optuna.Trial) -> None:
        for name, distribution in self.distributions.items():
            trial._suggest(name, distribution)


@each_deletion
@pytest.mark.parametrize("sampler", ["greedy_improving", "annealing", tpe, LONG[1]])
@pytest.mark.parametrize("is_running", [False, True])
def test_a_search(tmp_path: Path, sampler: Any, numbers: list[int], *, is_running: bool) -> None:
    """Deleted trials do not count, except for a process that has read them before."""
    calls = itertools.count(1)

    def function(trial: optuna.Trial) -> float:
        if next(calls) == 6 and is_running:
            delete(tmp_path, numbers)
        return objective(trial)

    def search(max_trial: int) -> None:
        quick = Quick(function, optuna.study.StudyDirection.MINIMIZE, seed=3)
        plan = StudySpec(quick, NAME, sampler, checked_limits(max_trial=max_trial), 2)
        [study] = open_studies([plan], open_storage(url(tmp_path)))
        Loop(
            study, plan.plan.objective, plan.limits, threading.Event(), n_threads=plan.n_threads
        ).run()

    if not is_running:
        search(5)
        delete(tmp_path, numbers)
    search(8)
    assert states(tmp_path) <= {"COMPLETE", "FAIL"}
    search(10)
    assert states(tmp_path) <= {"COMPLETE", "FAIL"}
    study = optuna.load_study(study_name=NAME, storage=url(tmp_path))
    assert len(study.get_trials(states=[TrialState.COMPLETE])) == 10
    found_indices = indices(study)
    assert len(set(found_indices)) == len(found_indices)


@each_deletion
@pytest.mark.parametrize("is_running", [False, True])
def test_a_recheck(tmp_path: Path, numbers: list[int], *, is_running: bool) -> None:
    study = optuna.create_study(storage=open_storage(url(tmp_path)), study_name=NAME)
    study.enqueue_trial({"x": 0.0, "restart": 0})
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    study.optimize(objective, 4)
    calls = itertools.count(1)

    def evaluate(trial: optuna.Trial, seed: int) -> float:
        if next(calls) == 6 and is_running:
            delete(tmp_path, numbers, f"{NAME}/recheck")
        return objective(trial) + seed % 7 / 100

    def recheck(confirm: int) -> adnn.Recheck:
        return adnn.recheck((url(tmp_path), NAME), evaluate, top=2, choose=2, confirm=confirm)

    recheck(2)
    if not is_running:
        delete(tmp_path, numbers, f"{NAME}/recheck")
    result = recheck(4)
    assert states(tmp_path) <= {"COMPLETE", "FAIL"}
    again = adnn.recheck(study, evaluate, top=2, choose=2, confirm=4, storage=InMemoryStorage())
    assert (result.value, result.gain.value) == (again.value, again.gain.value)
    assert [r.numbers.planned["is_raised"] for r in (result, again)] == [True, False]


@pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.WAITING])
def test_a_trial_that_had_not_finished(tmp_path: Path, state: TrialState) -> None:
    """Caches keep a trial in such a state forever."""
    study = opened(tmp_path, "annealing")
    run(study, 2)
    study.add_trial(optuna.create_trial(state=state))
    quick = Quick(objective, optuna.study.StudyDirection.MINIMIZE, seed=3)
    plan = StudySpec(quick, NAME, "annealing", checked_limits(max_trial=4))
    [study] = open_studies([plan], study._storage)
    assert study.trials[-1].state == state
    delete(tmp_path, [2])
    Loop(
        study, plan.plan.objective, plan.limits, threading.Event(), n_threads=plan.n_threads
    ).run()
    run(study, 1)
    assert states(tmp_path) == {"COMPLETE"}
    assert len(opened(tmp_path, "annealing").trials) == 5
