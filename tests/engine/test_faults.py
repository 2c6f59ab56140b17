"""After real faults, work continues or one sentence says why not, and no result is lost."""

from __future__ import annotations

import functools
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optuna
import pytest
import sqlalchemy
from completed_trials import completed
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from search_worker import make_objective, quick_training

import adnn_optuna as adnn
from adnn_optuna.engine import repeating, storages
from adnn_optuna.engine.repeating import StorageError
from adnn_optuna.engine.storages import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgresql import Server

# Trials in these tests end at once, so they need no heartbeats.
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage")

SPACE = {"x": optuna.distributions.FloatDistribution(-10, 10)}


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", -10, 10) ** 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a database with a study of one trial."""
    path = tmp_path / "study.db"
    storage = open_storage(f"sqlite:///{path}")
    study = optuna.create_study(study_name="s", storage=storage)
    study.optimize(objective, n_trials=1)
    storage._backend.engine.dispose()
    return path


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make SQLite give up at once, and make warnings come early."""
    monkeypatch.setattr(storages, "_SQLITE_TIMEOUT", 0.05)
    monkeypatch.setattr(repeating, "_SECONDS_BEFORE_WARNING", 0.2)


@pytest.fixture
def lock(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield the connection of another program that has locked the file."""
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


def load(url: str) -> optuna.Study:
    return optuna.load_study(study_name="s", storage=open_storage(url))


def run_patiently(study: optuna.Study, n_trials: int) -> None:
    for _ in range(n_trials):
        trial = study.ask(SPACE)
        study.tell(trial, trial.params["x"] ** 2, skip_if_finished=True)


def n_warnings(logs: pytest.LogCaptureFixture, reason: str) -> int:
    sentence = f"The storage does not answer ({reason}"
    return len({id(r) for r in logs.records if r.getMessage().startswith(sentence)})


@pytest.mark.usefixtures("impatience")
def test_a_lock_of_another_program_is_waited_for(
    path: Path, lock: sqlite3.Connection, logs: pytest.LogCaptureFixture
) -> None:
    study = load(f"sqlite:///{path}")
    unlock = threading.Timer(1.0, lock.close)
    unlock.start()
    study.set_user_attr("a", 1)
    unlock.join()
    assert study.user_attrs == {"a": 1}
    assert n_warnings(logs, "database is locked") == 1


@pytest.mark.usefixtures("impatience")
def test_a_lock_while_a_function_suggests_is_waited_for(path: Path) -> None:
    timers, begun = [], []

    def locking(trial: optuna.Trial) -> float:
        begun.append(trial.number)
        if not timers:
            connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            connection.execute("BEGIN IMMEDIATE")
            timers.append(threading.Timer(0.5, connection.close))
            timers[0].start()
        return objective(trial)

    result = adnn.search(locking, storage=f"sqlite:///{path}", study_name="locked", max_trial=2)
    assert [trial.state for trial in result.study.trials] == [TrialState.COMPLETE] * 2
    assert begun == [0, 1]


def test_a_fault_of_the_users_own_database_is_not_repeated() -> None:
    begun = []

    def failing(trial: optuna.Trial) -> float:
        begun.append(trial.number)
        with sqlite3.connect("file:/none/own.db?mode=ro", uri=True) as connection:
            connection.execute("SELECT 1")
        return 0.0

    def by_sqlalchemy(trial: optuna.Trial) -> float:
        try:
            return failing(trial)
        except sqlite3.OperationalError as error:
            raise sqlalchemy.exc.OperationalError("SELECT 1", {}, error) from None

    with pytest.raises(sqlalchemy.exc.OperationalError):
        adnn.search(by_sqlalchemy, max_trial=2)
    assert begun == [0]


@pytest.mark.usefixtures("impatience")
def test_a_permanent_lock_ends_in_one_sentence(
    path: Path, lock: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeating, "_PATIENCE", 0.5)
    study = load(f"sqlite:///{path}")
    with pytest.raises(StorageError, match=r"^The storage failed \(.*locked\)\. .*\.$"):
        study.set_user_attr("a", 1)
    lock.close()
    study.set_user_attr("a", 1)
    assert study.user_attrs == {"a": 1}


@pytest.mark.usefixtures("impatience", "lock")
def test_waiting_can_be_interrupted(path: Path) -> None:
    study = load(f"sqlite:///{path}")
    began = time.monotonic()
    interrupt = threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGINT])
    interrupt.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            study.set_user_attr("a", 1)
    finally:
        interrupt.cancel()
    assert time.monotonic() - began < 5


def test_a_restarting_server_is_waited_for(postgresql: Server) -> None:
    study = optuna.create_study(study_name="vanishing", storage=open_storage(postgresql.url))

    def restart() -> None:
        postgresql.stop()
        time.sleep(0.5)
        postgresql.start()

    crash = threading.Timer(0.1, restart)
    crash.start()
    n_told = 0
    while crash.is_alive() or n_told < 40:
        run_patiently(study, 1)
        n_told += 1
    assert len(completed(study)) == n_told


def test_a_server_that_is_away_at_the_start_of_a_worker_is_waited_for(
    postgresql: Server, monkeypatch: pytest.MonkeyPatch, logs: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(repeating, "_SECONDS_BEFORE_WARNING", 0.2)
    study = optuna.create_study(study_name="away", storage=open_storage(postgresql.url))
    run_patiently(study, 1)
    postgresql.stop()
    begin = threading.Timer(1.0, postgresql.start)
    begin.start()
    other_study = optuna.load_study(study_name="away", storage=open_storage(postgresql.url))
    begin.join()
    assert len(other_study.trials) == 1
    assert n_warnings(logs, "connection failed") == 1


def test_a_permanently_missing_server_ends_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repeating, "_PATIENCE", 0.5)
    with pytest.raises(StorageError, match=r"^The storage .*\*\*\*.* cannot be opened \(.*\.$"):
        open_storage("postgresql+psycopg://me:secret@127.0.0.1:1/db")


AWAY = [
    "FATAL:  the database system is starting up",
    "FATAL:  the database system is shutting down",
    "FATAL:  the database system is in recovery mode",
    "FATAL:  sorry, too many clients already",
    "server closed the connection unexpectedly",
    "terminating connection due to administrator command",
    "failed: No such file or directory\n\tIs the server running locally and accepting connections",
    "(2003, \"Can't connect to MySQL server on 'db' ([Errno 111] Connection refused)\")",
]
REFUSED = [
    'FATAL:  password authentication failed for user "me"',
    # The host name has two addresses, and the server listens at one of them.
    'to ::1 failed: Connection refused\nto 127.0.0.1 failed: FATAL:  role "me" does not exist',
    'could not translate host name "db" to address: Name or service not known',
    "[Errno -2] Name or service not known",
    'FATAL:  database "db" does not exist',
    "fe_sendauth: no password supplied",
    "(1045, \"Access denied for user 'me'@'localhost' (using password: YES)\")",
    "(2003, \"Can't connect to MySQL server on 'db' ([Errno -2] Name or service not known)\")",
]


@pytest.mark.parametrize("said", AWAY + REFUSED)
def test_errors_at_opening_a_database_pass_or_not(said: str) -> None:
    error = sqlalchemy.exc.OperationalError("", {}, Exception(said))
    assert storages._passes_at_opening(error) == (said in AWAY)


def test_errors_of_requests_are_not_waited_for(postgresql: Server) -> None:
    study = optuna.create_study(storage=open_storage(postgresql.url))
    with pytest.raises(StorageInternalError) as caught:
        study.set_user_attr("too long " * 100, 1)
    assert isinstance(caught.value.__cause__, sqlalchemy.exc.DataError)
    with pytest.raises(KeyError):
        study._storage.get_trial(10**6)


@pytest.mark.slow
def test_a_full_disk_ends_in_one_sentence_and_no_trial_is_lost(path: Path) -> None:
    program = f"""
import optuna, resource
from adnn_optuna.engine.storages import open_storage
from test_faults import objective
study = optuna.load_study(study_name="s", storage=open_storage("sqlite:///{path}"))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
study.optimize(objective, n_trials=1000)
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    *_, last = run.stderr.splitlines()
    assert last.startswith("adnn_optuna.engine.repeating.StorageError: The storage failed (")
    study = load(f"sqlite:///{path}")
    n_kept = len(study.trials)
    assert 1 < n_kept < 1000
    assert f"Trial {n_kept - 2} finished" in run.stderr
    study.optimize(objective, n_trials=1)
    assert len(study.trials) == n_kept + 1


@pytest.mark.slow
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


def test_a_file_that_is_not_a_database_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, " * 100)
    with pytest.raises(ValueError, match=r"^File '.*notes.txt' must be .*not a database.*\.$"):
        load(f"sqlite:///{path}")
    assert path.read_text() == "not a database, " * 100


def test_a_database_that_is_damaged_during_a_study_ends_in_one_sentence(path: Path) -> None:
    storage = open_storage(f"sqlite:///{path}")
    study = optuna.load_study(study_name="s", storage=storage)
    storage._backend.engine.dispose()
    content = bytearray(path.read_bytes())
    for page in range(4096, len(content), 4096):
        content[page : page + 100] = b"\xff" * 100
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"^The storage failed \(.*malformed\)\. .*\.$"):
        study.optimize(objective, n_trials=1)


def test_a_folder_that_vanishes_is_waited_for(path: Path) -> None:
    study = load(f"sqlite:///{path}")
    elsewhere = path.parent.with_name("elsewhere")
    path.parent.rename(elsewhere)
    bring_back = threading.Timer(0.5, elsewhere.rename, [path.parent])
    bring_back.start()
    run_patiently(study, 2)
    bring_back.join()
    assert len(completed(load(f"sqlite:///{path}"))) == 3


def test_a_read_only_folder_is_refused() -> None:
    # The folder is outside pytest's folder, because only the user who runs pytest may enter that.
    program = """
import os, sys, tempfile, optuna
from pathlib import Path
from adnn_optuna.engine.storages import open_storage
folder = Path(sys.argv[1])
# Whatever is imported on the way is, as nobody else may enter the folder of the package.
with tempfile.TemporaryDirectory() as other:
    warm = open_storage(f"sqlite:///{other}/warm.db")
    optuna.create_study(study_name="s", storage=warm)
    try:
        open_storage(f"sqlite:///{other}/none/warm.db")
    except ValueError:
        pass
folder.chmod(0o555)
if os.geteuid() == 0:  # To whom permissions do not apply.
    os.setuid(65534)
for name in ("there.db", "new.db"):
    try:
        optuna.load_study(study_name="s", storage=open_storage(f"sqlite:///{folder / name}"))
    except ValueError as error:
        print(error)
"""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/there.db"
        storage = open_storage(url)
        optuna.create_study(study_name="s", storage=storage).optimize(objective, n_trials=2)
        storage._backend.engine.dispose()
        run = subprocess.run(
            [sys.executable, "-c", program, folder], capture_output=True, text=True, check=True
        )
        assert [line.split(" (")[1].split(")")[0] for line in run.stdout.splitlines()] == [
            "attempt to write a readonly database",
            "unable to open database file",
        ]
        Path(folder).chmod(0o755)
        assert len(load(url).trials) == 2


@pytest.mark.usefixtures("impatience")
def test_a_search_whose_storage_failed_resumes_in_the_same_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(repeating, "_PATIENCE", 0.5)
    path = tmp_path / "study.db"
    connection = sqlite3.connect(path, isolation_level=None)

    class Locker(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            if trial.number == 2 and not connection.in_transaction:
                connection.execute("BEGIN EXCLUSIVE")
            return False

    search = functools.partial(
        adnn.search,
        make_objective(),
        "annealing",
        storage=f"sqlite:///{path}",
        study_name="s",
        max_trial=4,
    )
    with pytest.raises(StorageError, match="locked"):
        search(pruner=Locker())
    # The call waits for the lock once, and does not wait again for the running trial.
    assert n_warnings(logs, "database is locked") == 1
    connection.close()
    result = search()
    assert [t.state.name for t in result.study.trials] == ["COMPLETE"] * 2 + ["FAIL"] + [
        "COMPLETE"
    ] * 2
    whole = adnn.search(make_objective(), "annealing", max_trial=4)
    assert completed(result.study) == completed(whole.study)


@pytest.mark.slow
def test_a_full_disk_ends_the_command_with_one_sentence(url: str) -> None:
    options = ["--hidden", "4", "--epochs", "1", "--max-trial", "100", "--sampler", "annealing"]
    run = subprocess.run(
        [sys.executable, "-m", "adnn_optuna", "search", *options, "--storage", url],
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY)
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 4
    assert run.stderr.startswith("adnn: The storage failed (")
    assert run.stderr.count("\n") == 1
    [name] = optuna.get_all_study_names(url)
    kept_trials = completed(optuna.load_study(study_name=name, storage=url))
    assert 1 < len(kept_trials) < 100
    resumed = adnn.resume(url, name, max_trial=len(kept_trials) + 1)
    assert completed(resumed.study)[:-1] == kept_trials


def test_a_clock_that_was_set_back_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    search = functools.partial(adnn.search, make_objective(), "annealing", study_name="s")
    storage = f"sqlite:///{path}"
    search(storage=storage, max_trial=3, max_time=1000)
    with sqlite3.connect(path) as connection:
        for column in ("datetime_start", "datetime_complete"):
            connection.execute(f"UPDATE trials SET {column} = datetime({column}, '+1 day')")
        # The clock was set back during this trial, so its end is before its start.
        connection.execute(
            "UPDATE trials SET datetime_complete = datetime(datetime_start, '-1 day') "
            "WHERE number = 2"
        )
    connection.close()
    result = search(storage=storage, max_trial=6, max_time=1000)
    assert result.stop_reason == "max_trial"
    assert (
        completed(result.study)
        == completed(search(max_trial=3).study) + (completed(result.study)[3:])
    )
    assert len(completed(result.study)) == 6
    assert 0 <= adnn.MaxTimeCallback(1).used(result.study) < 500


def test_a_network_that_diverges_at_once_loses_only_its_trials(
    tmp_path: Path,
) -> None:
    objective = make_objective(
        training=quick_training(optimizer="sgd", learning_rate=1e30, epochs=2)
    )
    result = adnn.search(
        objective, "annealing", storage=f"sqlite:///{tmp_path / 'study.db'}", max_trial=3
    )
    assert [trial.state for trial in result.study.trials] == [TrialState.FAIL] * 3
    assert result.stop_reason == "max_trial"
    assert result.best is None
    assert "3 trials" in str(result)
    result.report(tmp_path / "report.html")
    with pytest.raises(ValueError, match=r"^.*\.$"):
        result.contract()


class Hungry(optuna.pruners.BasePruner):
    """In trial 1, requests more memory than there is, this number of times."""

    def __init__(self, times: int) -> None:
        self.times = times

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        if trial.number == 1 and self.times > 0:
            self.times -= 1
            np.ones(2**60, dtype=np.int8)
        return False


def test_too_little_memory_for_one_network_ends_in_one_sentence(url: str) -> None:
    search = functools.partial(
        adnn.search,
        make_objective(),
        "random_restart",
        storage=url,
        study_name="s",
        max_trial=4,
        batch_size=4,
    )
    with pytest.raises(MemoryError, match=r"^There is too little memory to train even one .*\.$"):
        search(pruner=Hungry(10))
    assert [values for _, values in completed(search().study)] == [
        values for _, values in completed(search(storage=None).study)
    ]
