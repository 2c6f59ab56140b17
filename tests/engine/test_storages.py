"""Storages by URL: many processes on one, what is refused, and that no password shows."""

from __future__ import annotations

import collections
import contextlib
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages._heartbeat import is_heartbeat_enabled
from optuna.trial import TrialState
from storage_worker import STORAGES

from adnn_optuna.engine._database import begins_trial
from adnn_optuna.engine.storages import open_storage, storage_url

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from postgresql import Server

WORKER = Path(__file__).parents[1] / "storage_worker.py"


def run_workers(url: str, n_workers: int, n_trials: int, how: str) -> list[str]:
    """Run workers on one study and return what they complain of."""
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
    # In `Study.optimize` a trial ends before anybody looks at the limit.
    assert n_trials <= states[TrialState.COMPLETE] < n_trials + n_workers
    assert len({trial.params["x"] for trial in study.trials}) == len(study.trials)


def test_many_processes_share_an_sqlite_file_that_none_has_made(tmp_path: Path) -> None:
    assert_is_shared_well(f"sqlite:///{tmp_path / 'study.db'}", n_workers=4, n_trials=60)


def test_many_processes_share_a_file_that_optuna_opens(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    # When several processes make the file at one moment, Optuna itself may fail.
    optuna.create_study(storage=url, study_name="shared")
    assert_is_shared_well(url, n_workers=3, n_trials=30, how="optuna")


def test_many_processes_share_a_journal(tmp_path: Path) -> None:
    assert_is_shared_well(str(tmp_path / "journal.log"), n_workers=3, n_trials=30, how="journal")


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_many_processes_share_a_grpc_proxy(tmp_path: Path) -> None:
    with contextlib.closing(socket.socket()) as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    url = f"sqlite:///{tmp_path / 'study.db'}"
    program = [sys.executable, WORKER.with_name("grpc_server.py"), url, port]
    with subprocess.Popen(program, stderr=subprocess.DEVNULL) as server:
        try:
            assert_is_shared_well(f"localhost:{port}", n_workers=3, n_trials=30, how="grpc")
        finally:
            server.terminate()
    assert len(optuna.load_study(study_name="shared", storage=url).trials) >= 30


def test_many_processes_share_a_postgresql_server(postgresql: Server) -> None:
    assert_is_shared_well(postgresql.url, n_workers=4, n_trials=60)


def test_a_waiting_trial_goes_to_one_of_two_processes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    one, other = open_storage(url), open_storage(url)
    study = optuna.create_study(storage=one, study_name="s")
    study.enqueue_trial({"x": 1.0})
    trial_id = study.trials[0]._trial_id
    taken = [s.set_trial_state_values(trial_id, TrialState.RUNNING) for s in (one, other)]
    assert taken == [True, False]


def test_what_was_created_is_not_read_back_stale(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    study = optuna.create_study(storage=storage)
    trial_id = storage.create_new_trial(study._study_id)
    assert storage.get_trial(trial_id).user_attrs == {}
    storage.set_trial_user_attr(trial_id, "a", 1)
    assert storage.get_trial(trial_id).user_attrs == {"a": 1}


def test_what_another_worker_did_to_a_created_trial_is_seen(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    optuna.create_study(storage=open_storage(url), study_name="s")
    one, other = (optuna.load_study(study_name="s", storage=open_storage(url)) for _ in "ab")
    trial_id = one._storage.create_new_trial(one._study_id)
    other.tell(0, 1.5)
    assert one._storage.get_trial(trial_id).value == 1.5


def test_a_storage_can_be_sent_to_another_process(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    study = optuna.create_study(storage=storage, study_name="s")
    study.add_trial(optuna.create_trial(value=1.0))
    copied = pickle.loads(pickle.dumps(storage))
    assert len(optuna.load_study(study_name="s", storage=copied).trials) == 1
    with copied._backend.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1


def test_an_uri_of_sqlite_can_be_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = "sqlite:///file:study.db?uri=true"
    optuna.create_study(storage=open_storage(url), study_name="s")
    assert optuna.get_all_study_names(open_storage(url, must_exist=True)) == ["s"]
    assert (tmp_path / "study.db").is_file()


def test_trials_have_heartbeats(tmp_path: Path) -> None:
    assert is_heartbeat_enabled(open_storage(f"sqlite:///{tmp_path / 'study.db'}"))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:p%40ss-word@127.0.0.1:1/db",
        "postgresql+psycopg://me:p%40ss-word@127.0.0.1:port/db",
        "nosuchdatabase://me:p%40ss-word@host/db",
        "me:p%40ss-word@host",
    ],
)
def test_no_password_in_what_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^The storage .*\.$") as caught:
        open_storage(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "p%40ss-word" not in str(error)
        assert "p@ss-word" not in str(error)
        error = error.__cause__
    assert "\n" not in str(caught.value)


def test_a_storage_is_named_without_its_password(postgresql: Server) -> None:
    storage = open_storage(postgresql.url)
    assert (
        storage_url(storage)
        == f"postgresql+psycopg://postgres:***@127.0.0.1:{postgresql._port}/postgres"
    )
    assert "p@ss" not in repr(storage)


def study_with_a_parameter(storage: BaseStorage) -> optuna.Study:
    """Return a study of whose parameter the distribution is known."""
    study = optuna.create_study(storage=storage)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    return study


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_parameters_written_at_once_appear_together(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    storage = open_storage(url)
    study = study_with_a_parameter(storage)
    trial = study.ask()
    with begins_trial(storage, writes_at_once=True):
        x = trial.suggest_float("x", 0, 1)
        assert storage.get_trial(trial._trial_id).params == {}
        choice = trial.suggest_categorical("choice", ["a", None])  # New: its kind is to be fixed.
    assert trial.params == {"x": x, "choice": choice}
    assert open_storage(url).get_trial(trial._trial_id).params == {"x": x, "choice": choice}


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_parameters_written_at_once_are_refused_as_one_by_one(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    study = study_with_a_parameter(storage)

    def suggest(*, as_integer: bool = False, is_ended: bool = False) -> None:
        with begins_trial(storage, writes_at_once=True):
            (trial.suggest_int if as_integer else trial.suggest_float)("x", 0, 1)
            if is_ended:
                study.tell(trial.number, 1.0)

    trial = study.ask()
    with pytest.raises(ValueError, match="different distribution kind"):
        suggest(as_integer=True)
    x = trial.suggest_float("x", 0, 1)  # Not kept back, though the context was left by an error.
    assert storage.get_trial(trial._trial_id).params == {"x": x}
    trial = study.ask()
    with pytest.raises(UpdateFinishedTrialError):
        suggest(is_ended=True)
