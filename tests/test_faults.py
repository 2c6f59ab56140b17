"""Things that go wrong for real: work goes on, or one sentence says why not; nothing is lost."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pytest

from adnn_optuna import _database
from adnn_optuna._database import StorageError
from adnn_optuna.storages import open_storage

if TYPE_CHECKING:
    from postgresql import Server


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", -10, 10) ** 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a database file with a study of one trial."""
    path = tmp_path / "study.db"
    study = optuna.create_study(study_name="s", storage=open_storage(f"sqlite:///{path}"))
    study.optimize(objective, n_trials=1)
    study._storage._backend.engine.dispose()
    return path


def load(url: str) -> optuna.Study:
    return optuna.load_study(study_name="s", storage=open_storage(url))


def test_a_lock_of_another_program_is_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_database, "_SQLITE_TIMEOUT", 0.05)
    optuna.logging.enable_propagation()
    study = load(f"sqlite:///{path}")
    other = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    unlock = threading.Timer(1.0, other.close)
    unlock.start()
    study.set_user_attr("a", 1)
    unlock.join()
    optuna.logging.disable_propagation()
    assert study.user_attrs == {"a": 1}
    assert "The storage does not answer (database is locked)" in caplog.text


def test_a_lock_that_stays_ends_in_one_sentence(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_database, "_SQLITE_TIMEOUT", 0.05)
    monkeypatch.setattr(_database, "_PATIENCE", 0.5)
    study = load(f"sqlite:///{path}")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageError, match=r"^The storage failed \(.*locked\); .*\.$"):
        study.set_user_attr("a", 1)
    other.close()
    study.set_user_attr("a", 1)
    assert study.user_attrs == {"a": 1}


def test_a_server_that_is_restarted_is_waited_for(postgresql: Server) -> None:
    study = optuna.create_study(
        study_name="vanishing", storage=open_storage(postgresql.url), direction="minimize"
    )

    def slow(trial: optuna.Trial) -> float:
        time.sleep(0.02)
        return objective(trial)

    def restart() -> None:
        postgresql.stop()
        time.sleep(0.5)
        postgresql.start()

    crash = threading.Timer(0.3, restart)
    crash.start()
    study.optimize(slow, n_trials=40)
    crash.join()
    finished = [trial for trial in study.trials if trial.state.is_finished()]
    assert len(finished) == 40


def test_a_full_disk_ends_in_one_sentence_and_loses_nothing(path: Path) -> None:
    program = f"""
import optuna, resource
from adnn_optuna.storages import open_storage
from test_faults import objective
study = optuna.load_study(study_name="s", storage=open_storage("sqlite:///{path}"))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
study.optimize(objective, n_trials=1000)
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    *_, last = run.stderr.splitlines()
    assert last.startswith("adnn_optuna._database.StorageError: The storage failed (")
    study = load(f"sqlite:///{path}")
    n_kept = len(study.trials)
    assert 1 < n_kept < 1000
    assert f"Trial {n_kept - 2} finished" in run.stderr
    study.optimize(objective, n_trials=1)
    assert len(study.trials) == n_kept + 1


def test_a_database_that_cannot_be_written_to_is_refused(path: Path) -> None:
    with pytest.raises((ValueError, StorageError), match=r"^The storage .*readonly.*\.$"):
        load(f"sqlite:///file:{path}?mode=ro&uri=true").optimize(objective, n_trials=1)
    assert len(load(f"sqlite:///{path}").trials) == 1


def test_a_database_of_a_newer_optuna_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
    connection.close()
    with pytest.raises(ValueError, match=r"^The storage .*optuna.*\.$"):
        load(f"sqlite:///{path}")


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, " * 100)
    with pytest.raises(ValueError, match=r"^The storage .*not a database.*\.$"):
        load(f"sqlite:///{path}")
    assert path.read_text() == "not a database, " * 100


def test_a_database_that_breaks_in_the_middle_ends_in_one_sentence(path: Path) -> None:
    study = load(f"sqlite:///{path}")
    study._storage._backend.engine.dispose()
    content = bytearray(path.read_bytes())
    for page in range(4096, len(content), 4096):
        content[page : page + 100] = b"\xff" * 100
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"^The storage failed \(.*malformed\); .*\.$"):
        study.optimize(objective, n_trials=1)
