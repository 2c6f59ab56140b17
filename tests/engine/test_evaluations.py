"""Evaluations that a report needs. tests/api tests the evaluations of each kind of report."""

from __future__ import annotations

import sqlite3
import threading
import time
from concurrent import futures
from typing import TYPE_CHECKING, Any

import optuna
import pytest
import sqlalchemy
from optuna.distributions import IntDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from adnn_optuna._attributes import OUTCOME, OWNER, planned_of
from adnn_optuna.callbacks import MaxTimeCallback
from adnn_optuna.engine.evaluations import (
    make_evaluations,
    open_evaluations,
    plan_seeds,
)
from adnn_optuna.engine.signals import without_warnings
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.samplers._evaluations import made_evaluations
from adnn_optuna.samplers._owners import ownership

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from adnn_optuna.samplers._evaluations import Evaluation


def of_numbers(_: object) -> list[Evaluation]:
    """Return ten numbers, each of which must be evaluated."""
    return [(i,) for i in range(10)]


def made_in(study: optuna.Study) -> Mapping[Evaluation, float]:
    return made_evaluations(study.get_trials(), ("number",))


def test_evaluations_that_began_before_the_time_limit_are_finished() -> None:
    study = open_evaluations(open_storage(None), "numbers", {})
    stop, both, is_first = threading.Event(), threading.Barrier(2), threading.Lock()

    def evaluate(number: int) -> float:
        both.wait(timeout=60)
        if is_first.acquire(blocking=False):
            return number  # The time limit passes during this evaluation.
        return 100 + number if not stop.wait(0.5) else -1

    make_evaluations(of_numbers, study, ("number",), evaluate, stop=stop, n_jobs=2, max_time=1e-9)
    values = made_in(study)
    assert len(values) == 2
    assert 100 <= max(values.values()) < 110


@pytest.fixture
def watched(tmp_path: Path) -> optuna.Study:
    """Return a study that counts workers as dead after two seconds without a heartbeat."""
    storage: Any = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    storage._backend.heartbeat_interval, storage._backend.grace_period = 1, 2
    return open_evaluations(storage, "numbers", {})


@pytest.mark.filterwarnings("error")
@pytest.mark.slow
def test_an_evaluation_of_a_worker_elsewhere_without_heartbeats_is_repeated(
    watched: optuna.Study,
) -> None:
    begun = optuna.create_trial(
        state=TrialState.RUNNING,
        params={"number": 3},
        distributions={"number": IntDistribution(0, 2**31 - 1)},
    )
    begun.number = 0
    begun.system_attrs[OWNER] = {**ownership(begun), "host": "elsewhere"}
    storage: Any = watched._storage
    storage.record_heartbeat(storage.create_new_trial(watched._study_id, begun))

    make_evaluations(of_numbers, watched, ("number",), float)
    assert made_in(watched) == {(i,): i for i in range(10)}
    states = [trial.state for trial in watched.trials]
    assert states == [TrialState.FAIL] + 10 * [TrialState.COMPLETE]


@pytest.mark.filterwarnings("error")
@pytest.mark.slow
def test_a_long_evaluation_has_heartbeats(watched: optuna.Study) -> None:
    def evaluate(number: int) -> float:
        if number == 3:
            time.sleep(3.5)
            with without_warnings():
                optuna.storages.fail_stale_trials(watched)
        return number

    make_evaluations(of_numbers, watched, ("number",), evaluate)
    assert {trial.state for trial in watched.trials} == {TrialState.COMPLETE}


def test_each_evaluation_stores_its_own_elapsed_time() -> None:
    study = open_evaluations(open_storage(None), "numbers", {})
    began = time.monotonic()
    make_evaluations(of_numbers, study, ("number",), lambda n: time.sleep(0.01) or n, n_jobs=2)
    took = time.monotonic() - began
    elapsed = [trial.user_attrs[OUTCOME]["elapsed"] for trial in study.trials]
    assert MaxTimeCallback(1).used(study) == max(elapsed)
    assert 10 * 0.01 / 2 <= max(elapsed) <= took


def test_evaluations_that_began_during_a_storage_fault_are_finished(
    watched: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, faults = watched._storage._backend, [1]  # type: ignore[attr-defined]
    beat = storage.record_heartbeat

    def fail_once(trial_id: int) -> None:
        if faults and faults.pop():
            cause = sqlite3.OperationalError("database is locked")
            cause.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise sqlalchemy.exc.OperationalError("INSERT", {}, cause)
        beat(trial_id)

    monkeypatch.setattr(storage, "record_heartbeat", fail_once)
    arguments = of_numbers, watched, ("number",), float
    work = threading.Thread(target=make_evaluations, args=arguments, daemon=True)
    work.start()
    work.join(timeout=60)
    assert not faults
    assert made_in(watched) == {(i,): i for i in range(10)}


def test_a_database_in_memory_is_of_all_threads() -> None:
    """SQLite itself would give each thread a separate database."""
    study = open_evaluations(open_storage("sqlite://"), "numbers", {})
    make_evaluations(of_numbers, study, ("number",), float, n_jobs=2)
    assert made_in(study) == {(i,): i for i in range(10)}


def test_others_may_take_all_that_is_left_as_this_worker_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This worker has reserved four evaluations for its threads, and has begun the first one."""
    storage = open_storage(None)
    study = open_evaluations(storage, "numbers", {})
    create, is_first = InMemoryStorage.create_new_trial, [True]

    def after_others(self: InMemoryStorage, *args: Any) -> int:
        if is_first and is_first.pop():
            evaluations = open_evaluations(storage, "numbers", {})
            worker = threading.Thread(
                target=make_evaluations, args=(of_numbers, evaluations, ("number",), float)
            )
            worker.start()
            worker.join()
        return create(self, *args)

    monkeypatch.setattr(InMemoryStorage, "create_new_trial", after_others)
    make_evaluations(of_numbers, study, ("number",), float, n_jobs=4)
    assert made_in(study) == {(i,): i for i in range(10)}
    states = [trial.state for trial in study.trials]
    assert states == 10 * [TrialState.COMPLETE] + [TrialState.FAIL]


class _Meeting(InMemoryStorage):
    """A storage in which two workers read a study before either of them writes."""

    def __init__(self) -> None:
        super().__init__()
        self.both, self.has_read = threading.Barrier(2), threading.local()

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        attrs = super().get_study_user_attrs(study_id)
        if threading.current_thread() is not threading.main_thread() and not vars(self.has_read):
            self.has_read.once = True
            self.both.wait(timeout=60)
        return attrs


def test_two_trials_that_are_planned_at_once_do_not_both_have_rank_1() -> None:
    study = optuna.create_study(storage=_Meeting())
    with futures.ThreadPoolExecutor(2) as workers:
        plans = [*workers.map(lambda number: plan_seeds(study, number, 10), (3, 7))]
    ranks = [plan["rank"] for plan in plans]
    assert ranks in ([1, 2], [2, 1], [2, 2])
    assert [planned_of(study.user_attrs, number)["rank"] for number in (3, 7)] == ranks
    assert plan_seeds(study, 5, 10)["rank"] == 3
    # More seeds do not change a rank.
    assert plan_seeds(study, 3, 20)["rank"] == ranks[0]
