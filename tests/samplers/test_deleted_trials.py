"""Studies of which somebody deleted trials, as dashboards and users do."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

import optuna
import pytest

import adnn_optuna as adnn
from adnn_optuna._attributes import PROPOSAL
from adnn_optuna.callbacks import MaxGainCallback, MaxTimeCallback, MaxTrialCallback
from adnn_optuna.engine.storages import open_storage

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
    pytest.param([2], id="one in the middle"),
    pytest.param([4], id="the last"),
    pytest.param([0, 1], id="the first two", marks=pytest.mark.slow),
    pytest.param([1, 3], id="two in the middle", marks=pytest.mark.slow),
    pytest.param([3, 4], id="the last two", marks=pytest.mark.slow),
    pytest.param([0, 1, 2, 3, 4], id="all", marks=pytest.mark.slow),
]
each_sampler = pytest.mark.parametrize("sampler", SAMPLERS)
each_deletion = pytest.mark.parametrize("numbers", DELETED)


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -1, 1)
    return (x - 0.2) ** 2 + trial.suggest_int("restart", 0, 1000) / 1e4


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'study.db'}"


def delete(folder: Path, numbers: Collection[int]) -> None:
    with contextlib.closing(sqlite3.connect(folder / "study.db")) as database, database:
        # As SQLAlchemy's cascades do, which a dashboard relies on.
        for number in numbers:
            row = "SELECT trial_id FROM trials WHERE number = ?"
            [(trial_id,)] = database.execute(row, (number,)).fetchall()
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
    """Return what the study's trials are, by number."""
    return [(trial.number, trial.params, trial.value) for trial in study.trials]


def states(folder: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(folder / "study.db")) as database:
        return {state for (state,) in database.execute("SELECT state FROM trials")}


@each_deletion
@each_sampler
def test_a_resumed_study(tmp_path: Path, sampler: str, numbers: list[int]) -> None:
    """However often it is resumed, it goes on in the same way."""
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
    found = indices(opened(folder, sampler))
    assert len(set(found)) == len(found)


@each_deletion
@each_sampler
def test_a_study_that_runs(tmp_path: Path, sampler: str, numbers: list[int]) -> None:
    study = opened(tmp_path, sampler)
    run(study, 5)
    delete(tmp_path, numbers)
    run(study, 4)
    found = indices(opened(tmp_path, sampler))
    assert len(set(found)) == len(found)
    run(opened(tmp_path, sampler), 1)
    assert states(tmp_path) == {"COMPLETE"}


@each_deletion
@pytest.mark.parametrize("sampler", ["greedy_improving", "annealing", "random_restart", tpe])
@pytest.mark.parametrize("is_resumed", [False, True])
def test_a_search(tmp_path: Path, sampler: Any, numbers: list[int], *, is_resumed: bool) -> None:
    """The trials that were deleted no longer count, unless a running process remembers them."""
    n_calls = 0

    def function(trial: optuna.Trial) -> float:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 6 and not is_resumed:
            delete(tmp_path, numbers)
        return objective(trial)

    def search(max_trial: int) -> None:
        adnn.search(
            function,
            sampler,
            direction="minimize",
            storage=url(tmp_path),
            study_name=NAME,
            max_trial=max_trial,
            confirm=0,
        )

    if is_resumed:
        search(5)
        delete(tmp_path, numbers)
        n_calls = 10
    search(8)
    assert states(tmp_path) == {"COMPLETE"}
    search(10)
    assert states(tmp_path) == {"COMPLETE"}
    study = optuna.load_study(study_name=NAME, storage=url(tmp_path))
    assert len(study.trials) == 10
    found = indices(study)
    assert len(set(found)) == len(found)
