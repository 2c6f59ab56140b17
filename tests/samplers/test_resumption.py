"""A study that was killed and resumed has the same trials as a study that never stopped."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import optuna
import pytest
import study_worker
from forking import forking
from optuna.trial import TrialState

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.trial import FrozenTrial


def start_worker(
    storage: str, sampler: str, n_trials: int, batch_size: int
) -> subprocess.Popen[str]:
    arguments = [storage, sampler, n_trials, batch_size]
    worker = subprocess.Popen(
        [sys.executable, study_worker.__file__, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout.readline() == "started\n"
    return worker


def completed(trials: list[FrozenTrial]) -> list[tuple[dict[str, Any], float | None]]:
    return [(t.params, t.value) for t in trials if t.state == TrialState.COMPLETE]


def undisturbed(
    sampler: str, batch_size: int, n_trials: int
) -> list[tuple[dict[str, Any], float | None]]:
    study = optuna.create_study(sampler=study_worker.make_sampler(sampler))
    study_worker.run(study, n_trials, batch_size)
    return completed(study.trials)


def n_completed(path: Path) -> int:
    # The connection may write, because SQLite must first roll back the killed process's
    # transaction.
    with contextlib.closing(sqlite3.connect(path)) as connection:
        query = "SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'"
        return int(connection.execute(query).fetchone()[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "batch_size", "n_trials", "n_kills"),
    [
        ("annealing", 1, 300, 30),
        ("greedy", 1, 300, 30),
        ("annealing_x0", 4, 60, 6),
        ("greedy_improving", 4, 60, 6),
        ("random_restart", 1, 60, 6),
    ],
)
def test_kills_at_random_moments_change_no_completed_trial(
    sampler: str, batch_size: int, n_trials: int, n_kills: int, tmp_path: Path
) -> None:
    path = tmp_path / "study.db"
    storage = f"sqlite:///{path}"
    optuna.create_study(storage=storage, study_name="study")
    processes = forking(study_worker.__name__)
    moments = random.Random(f"{sampler} {batch_size}")
    n_between = n_trials // n_kills
    for _ in range(n_kills):
        target = n_completed(path) + moments.randint(0, 2 * n_between - 6)
        worker = processes.Process(
            target=study_worker.work_to_be_killed, args=(storage, sampler, n_trials, batch_size)
        )
        worker.start()
        while n_completed(path) < target and worker.is_alive():
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.03))
        worker.kill()
        worker.join()
    study_worker.work(storage, sampler, n_trials, batch_size)

    trials = optuna.load_study(study_name="study", storage=storage).trials
    assert len(trials) > n_trials, "No kill hit a trial that was under way."
    assert completed(trials) == undisturbed(sampler, batch_size, n_trials)


@pytest.mark.parametrize(
    ("sampler", "storage"),
    [
        pytest.param("annealing", "sqlite:///{}/study.db", marks=pytest.mark.slow),
        pytest.param("greedy", "{}/journal.log", marks=pytest.mark.slow),
    ],
)
def test_several_processes_share_a_study(sampler: str, storage: str, tmp_path: Path) -> None:
    place = storage.format(tmp_path)
    optuna.create_study(storage=study_worker.make_storage(place), study_name="study")
    workers = [start_worker(place, sampler, 10, 0) for _ in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]

    study = optuna.load_study(study_name="study", storage=study_worker.make_storage(place))
    indices = [trial.system_attrs["adnn:proposal"]["index"] for trial in study.trials]
    assert sorted(indices) == list(range(30))
    assert len({trial.params["x"] for trial in study.trials}) == 30


def test_threads_share_a_database(url: str) -> None:
    study = optuna.create_study(
        storage=url,
        sampler=study_worker.make_sampler("annealing"),
    )
    study.optimize(study_worker.objective, n_trials=24, n_jobs=4)
    indices = [trial.system_attrs["adnn:proposal"]["index"] for trial in study.trials]
    assert sorted(indices) == list(range(24))


@pytest.mark.parametrize(
    "sampler",
    [
        "annealing",
        *(pytest.param(s, marks=pytest.mark.slow) for s in ("greedy", "random_restart")),
    ],
)
def test_a_new_process_proposes_the_same_trials(sampler: str, tmp_path: Path) -> None:
    place = str(tmp_path / "journal.log")
    for n_trials in (3, 8):
        assert start_worker(place, sampler, n_trials, 1).wait() == 0
    study = optuna.load_study(study_name="study", storage=study_worker.make_storage(place))
    assert completed(study.trials) == undisturbed(sampler, 1, 8)
