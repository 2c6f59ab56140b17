"""Storages by URL: many processes share a storage, wrong URLs are refused, passwords stay
hidden.
"""

from __future__ import annotations

import collections
import contextlib
import pickle
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from storage_worker import STORAGES

import adnn_optuna as adnn
from adnn_optuna.engine import storages as storages_module
from adnn_optuna.engine.repeating import StorageError
from adnn_optuna.engine.storages import enqueue_again, open_storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna.storages import BaseStorage
    from postgresql import Server

WORKER = Path(__file__).parents[1] / "storage_worker.py"


def run_workers(url: str, n_workers: int, n_trials: int, how: str) -> list[str]:
    """Run workers on one study, and return their error messages."""
    workers = [
        subprocess.Popen(
            [sys.executable, WORKER, how, url, "shared", str(n_trials)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(n_workers)
    ]
    errors = [worker.communicate()[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * n_workers, errors
    return [line for error in errors for line in error.splitlines() if line[:2] != "[I"]


def assert_is_shared_well(url: str, n_workers: int, n_trials: int, how: str = "ours") -> None:
    assert run_workers(url, n_workers, n_trials, how) == []
    study = optuna.load_study(study_name="shared", storage=STORAGES[how](url))
    states = collections.Counter(trial.state for trial in study.trials)
    assert set(states) == {TrialState.COMPLETE}
    # In `Study.optimize`, a trial ends before any worker checks the limit.
    assert n_trials <= states[TrialState.COMPLETE] < n_trials + n_workers
    assert len({trial.params["x"] for trial in study.trials}) == len(study.trials)


@pytest.mark.slow
def test_many_processes_share_an_sqlite_file_that_does_not_exist_yet(url: str) -> None:
    assert_is_shared_well(url, n_workers=4, n_trials=30)


@pytest.mark.slow
def test_many_processes_share_a_file_that_optuna_opens(url: str) -> None:
    # If several processes create the file at the same moment, Optuna itself may fail.
    optuna.create_study(storage=url, study_name="shared")
    assert_is_shared_well(url, n_workers=3, n_trials=30, how="optuna")


def test_many_processes_share_a_journal(tmp_path: Path) -> None:
    assert_is_shared_well(str(tmp_path / "journal.log"), n_workers=3, n_trials=30, how="journal")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_many_processes_share_a_grpc_proxy(url: str) -> None:
    with contextlib.closing(socket.socket()) as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    program = [sys.executable, WORKER.with_name("grpc_server.py"), url, port]
    with subprocess.Popen(program, stderr=subprocess.DEVNULL) as server:
        try:
            assert_is_shared_well(f"localhost:{port}", n_workers=3, n_trials=30, how="grpc")
        finally:
            server.terminate()
    assert len(optuna.load_study(study_name="shared", storage=url).trials) >= 30


@pytest.mark.slow
def test_many_processes_share_a_postgresql_server(postgresql: Server) -> None:
    assert_is_shared_well(postgresql.url, n_workers=3, n_trials=30)


@pytest.mark.parametrize("kind", ["copied", "made by a user"])
def test_a_waiting_trial_goes_to_one_of_two_workers(kind: str, url: str) -> None:
    original: Any = RDBStorage(url) if kind == "made by a user" else open_storage(url)
    storages = [open_storage(pickle.loads(pickle.dumps(original))) for _ in range(2)]
    study = optuna.create_study(storage=original, study_name="s")
    study.enqueue_trial({"x": 1.0})
    trial_id, both = study.trials[0]._trial_id, threading.Barrier(2)

    def read_before_either_writes(state: Any) -> Any:
        read = state.invoke_statement().freeze()
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(timeout=0.3)
        return read()

    for storage in storages:
        session = storage._backend.scoped_session  # type: ignore[attr-defined]
        sqlalchemy.event.listen(session, "do_orm_execute", read_before_either_writes)
    with ThreadPoolExecutor(2) as pool:
        states = [TrialState.RUNNING] * 2
        are_taken = pool.map(
            lambda s, state: s.set_trial_state_values(trial_id, state), storages, states
        )
        assert sorted(are_taken) == [False, True]


def test_each_waiting_trial_is_taken_by_one_of_many_threads(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SQLite does not queue waiting threads, so a new thread may meet a lock for longer than any
    # timeout. With a timeout of 0, each lock raises its error at once.
    monkeypatch.setattr(storages_module, "_SQLITE_TIMEOUT", 0.0)
    storages = [open_storage(url) for _ in range(4)]
    study = optuna.create_study(storage=storages[0], study_name="s")
    for _ in range(30):
        study.enqueue_trial({})
    trial_ids = [trial._trial_id for trial in study.trials]
    start = threading.Barrier(len(storages))

    def take(storage: BaseStorage) -> list[int]:
        start.wait()
        begin = storage.set_trial_state_values
        return [i for i in trial_ids if begin(i, TrialState.RUNNING)]

    with ThreadPoolExecutor(len(storages)) as pool:
        are_taken = [trial_id for ids in pool.map(take, storages) for trial_id in ids]
    assert sorted(are_taken) == trial_ids


def test_each_storage_locks_waiting_trials_also_after_others_were_closed(url: str) -> None:
    # A new storage may lie at the memory address of a deleted one, for which SQLAlchemy's
    # registry of events still has entries.
    study = optuna.create_study(storage=url, study_name="s")
    study.enqueue_trial({})
    trial_id = study.trials[0]._trial_id
    statements: list[str] = []
    for i in range(100):
        storages: list[Any] = [open_storage(url) for _ in range(1 + i % 4)]
        for storage in storages:
            statements.clear()
            sqlalchemy.event.listen(
                storage._backend.engine,
                "before_cursor_execute",
                lambda _, __, statement, *___: statements.append(statement),
            )
            storage.set_trial_state_values(trial_id, TrialState.RUNNING)
            assert statements[0] == "BEGIN EXCLUSIVE"
        del storage, storages


def test_changes_of_another_worker_to_a_created_trial_are_seen(url: str) -> None:
    optuna.create_study(storage=open_storage(url), study_name="s")
    first, second = (optuna.load_study(study_name="s", storage=open_storage(url)) for _ in "ab")
    trial_id = first._storage.create_new_trial(first._study_id)
    second.tell(0, 1.5)
    assert first._storage.get_trial(trial_id).value == 1.5


def test_a_storage_can_be_pickled_for_another_process(url: str) -> None:
    storage: Any = open_storage(url)
    study = optuna.create_study(storage=storage, study_name="s")
    study.add_trial(optuna.create_trial(value=1.0))
    for either in (storage, pickle.loads(pickle.dumps(storage))):
        assert len(optuna.load_study(study_name="s", storage=either).trials) == 1
        with either._backend.engine.connect() as connection:
            answers = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "busy_timeout")
            ]
        assert answers == ["wal", 1, 5000]


def test_an_sqlite_uri_can_be_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = "sqlite:///file:study.db?uri=true"
    optuna.create_study(storage=open_storage(url), study_name="s")
    assert optuna.get_all_study_names(open_storage(url, must_exist=True)) == ["s"]
    assert (tmp_path / "study.db").is_file()


@pytest.mark.filterwarnings("error::optuna.exceptions.ExperimentalWarning")
def test_trials_have_heartbeats(url: str) -> None:
    storage: Any = open_storage(url)
    assert optuna.storages.get_storage(storage) is storage
    assert storage.get_heartbeat_interval() == 30


@pytest.fixture
def dead_worker(tmp_path: Path) -> Callable[..., optuna.Study]:
    """Return a function that returns a study with a trial whose worker sends no heartbeats."""
    storage: Any = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    storage._backend.grace_period = 1

    def study_of(sampler: optuna.samplers.BaseSampler, *suggested: str) -> optuna.Study:
        study = optuna.create_study(storage=storage, sampler=sampler)
        study.enqueue_trial({"x": 0.25}, user_attrs={"mine": 1})
        for _ in range(2):
            trial = study.ask()
            for parameter in suggested:
                trial.suggest_float(parameter, 0, 1)
            trial.set_user_attr("adnn:outcome", {"elapsed": 1.0})
            storage.record_heartbeat(trial._trial_id)
        with storage._backend.engine.begin() as connection:  # Pretend that an hour has passed.
            connection.exec_driver_sql(
                "UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '-1 hour')"
            )
        optuna.storages.fail_stale_trials(study)
        return study

    return study_of


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_enqueued_trials_of_dead_workers_are_enqueued_again(
    dead_worker: Callable[..., optuna.Study],
) -> None:
    study = dead_worker(optuna.samplers.RandomSampler(), "x", "y")
    # Only trials that the user enqueued are enqueued again.
    *dead, retry = study.trials
    assert [trial.state for trial in dead] == [TrialState.FAIL] * 2
    assert (retry.state, retry.params) == (TrialState.WAITING, dead[0].params)
    assert retry.user_attrs == {"mine": 1}
    assert optuna.storages.RetryHeartbeatStaleTrialCallback.retried_trial_number(retry) == 0
    enqueue_again(study, dead[0])
    assert len(study.trials) == 3
    enqueue_again(study, retry)  # Pretend that the retry's worker died, too.
    assert [trial.params for trial in study.trials[3:]] == [dead[0].params]
    study.add_trial(retry)  # At the same moment, another worker has found the first trial dead.
    enqueue_again(study, study.trials[4])
    assert len(study.trials) == 5


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_trials_that_the_sampler_proposes_again_are_not_enqueued(
    dead_worker: Callable[..., optuna.Study],
) -> None:
    study = dead_worker(adnn.DeltaStepSampler(), "x")
    # Only the trial that the user enqueued is enqueued again.
    dead, proposed, retry = study.trials
    assert dead.params == retry.params == {"x": 0.25}
    assert proposed.state == TrialState.FAIL
    assert not [name for name in retry.system_attrs if name.startswith("adnn:")]


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_a_trial_without_stored_parameters_is_not_enqueued_again(
    dead_worker: Callable[..., optuna.Study],
) -> None:
    study = dead_worker(optuna.samplers.RandomSampler())
    assert [trial.system_attrs.get("failed_trial") for trial in study.trials] == [None, None, 0]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:///s.db?mode=zz", "^The arguments of the storage .* must be among cached_state"),
        ("sqlite:///s.db?uri=true&mode=zz", "must have a path that begins with file:"),
        ("sqlite:///file:s.db?uri=true&mode=zz", r"cannot be opened \(no such access"),
        ("sqlite:///file:s.db?uri=true&cache=zz", r"cannot be opened \(no such "),
        ("sqlite:///file:s.db?uri=true&vfs=zz", r"cannot be opened \(no such "),
        ("sqlite:///s.db?timeout=zz", r"cannot be opened \(could not convert"),
    ],
)
@pytest.mark.filterwarnings("error:Query string")
def test_arguments_that_sqlite_does_not_have_are_refused_at_once(
    url: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    open_storage("sqlite:///s.db?timeout=3")
    with pytest.raises(ValueError, match=said):
        open_storage(url)


def test_a_read_only_file_is_read(tmp_path: Path) -> None:
    optuna.create_study(storage=f"sqlite:///{tmp_path}/plain.db", study_name="theirs")
    opened = open_storage(f"sqlite:///file:{tmp_path}/plain.db?mode=ro&uri=true", must_exist=True)
    assert optuna.get_all_study_names(opened) == ["theirs"]
    by_path = open_storage(f"{tmp_path}/plain.db", must_exist=True)
    assert optuna.get_all_study_names(by_path) == ["theirs"]
    with pytest.raises(StorageError):
        optuna.create_study(storage=opened, study_name="ours")
