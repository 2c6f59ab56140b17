"""Promises to the workers of a search, for each storage and each disturbance.

Each repetition runs three workers. One of them kills itself during a trial, and then the
disturbance follows. With ``ADNN_REPETITIONS=20``, each test has twenty repetitions, as the guide's
table says.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import optuna
import pytest
from optuna.trial import TrialState
from storage_worker import STORAGES

from adnn_optuna._attributes import PROPOSAL
from adnn_optuna.samplers._owners import owner_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial
    from postgresql import Server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]

TESTS = Path(__file__).parents[1]
REPETITIONS = int(os.environ.get("ADNN_REPETITIONS", "1"))
N_TRIALS, N_BEFORE = 40, 3
SECONDS_LOCKED = 60.0


@dataclasses.dataclass
class Place:
    """A storage, the command that starts its workers, and a disturbance while they work."""

    how: str
    url: str
    command: tuple[str, ...] = ()
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    disturb: Callable[[], None] = lambda: None

    def begin(self, last: int = 0) -> subprocess.Popen[str]:
        program = [sys.executable, str(TESTS / "guarantee_worker.py"), self.how, self.url]
        return subprocess.Popen(
            [*self.command, *program, str(N_TRIALS), str(last)],
            env={**os.environ, **self.environment},
            stderr=subprocess.PIPE,
            text=True,
        )

    def storage(self) -> str | BaseStorage:
        return STORAGES[self.how](self.url)


@dataclasses.dataclass
class Ended:
    """A study after the end of all workers, and the process that killed itself."""

    study: optuna.Study
    dead: int

    @property
    def results(self) -> list[FrozenTrial]:
        return self.study.get_trials(states=(TrialState.COMPLETE,))


def sqlite_file(folder: Path) -> Place:
    return Place("ours", f"sqlite:///{folder / 'study.db'}")


@contextlib.contextmanager
def journal(folder: Path, _: Any) -> Iterator[Place]:
    yield Place("journal", str(folder / "journal.log"))


class Proxy:
    """Optuna's gRPC proxy of an SQLite file, as a context."""

    def __init__(self, folder: Path) -> None:
        with contextlib.closing(socket.socket()) as free:
            free.bind(("localhost", 0))
            self._port = str(free.getsockname()[1])
        self._url = sqlite_file(folder).url
        self.address = f"localhost:{self._port}"

    def __enter__(self) -> Self:
        program = [sys.executable, str(TESTS / "grpc_server.py"), self._url, self._port]
        self._server = subprocess.Popen(program, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.kill()
        self._server.wait()

    def restart(self) -> None:
        self.__exit__()
        time.sleep(0.5)
        self.__enter__()


@contextlib.contextmanager
def proxy(folder: Path, _: Any) -> Iterator[Place]:
    with Proxy(folder) as server:
        yield Place("grpc", server.address)


@contextlib.contextmanager
def restarted_proxy(folder: Path, _: Any) -> Iterator[Place]:
    with Proxy(folder) as server:
        yield Place("grpc", server.address, disturb=server.restart)


@contextlib.contextmanager
def restarted_postgresql(_: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    server: Server = request.getfixturevalue("postgresql")
    place = Place("ours", server.url)
    if "s" in optuna.get_all_study_names(place.storage()):
        optuna.delete_study(study_name="s", storage=place.storage())

    def restart() -> None:
        for _ in range(2):
            server.stop()
            time.sleep(0.5)
            server.start()
            time.sleep(0.5)

    place.disturb = restart
    yield place


@contextlib.contextmanager
def locked(folder: Path, _: Any) -> Iterator[Place]:
    place = sqlite_file(folder)

    def lock() -> None:
        with contextlib.closing(sqlite3.connect(folder / "study.db", isolation_level=None)) as it:
            it.execute("PRAGMA busy_timeout = 10000")
            it.execute("BEGIN EXCLUSIVE")
            time.sleep(SECONDS_LOCKED)

    place.disturb = lock
    yield place


@contextlib.contextmanager
def moved_clock(folder: Path, _: Any) -> Iterator[Place]:
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not libraries:
        pytest.skip("libfaketime is not installed (on Debian: apt-get install faketime)")
    offset = folder / "offset"
    offset.write_text("+0")
    place = sqlite_file(folder)
    place.environment = {
        "LD_PRELOAD": str(libraries[-1]),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }

    def move() -> None:
        for moved in ("-1d", "+1d", "-2h"):
            # The file is replaced in one step, because workers read it continuously.
            (new := offset.with_suffix(".new")).write_text(moved)
            new.replace(offset)
            time.sleep(0.5)

    place.disturb = move
    yield place


@contextlib.contextmanager
def without_proc(folder: Path, _: Any) -> Iterator[Place]:
    hide = 'mount -t tmpfs none /proc && exec "$0" "$@"'
    command = ("unshare", "--mount", "sh", "-c", hide)
    if (
        shutil.which("unshare") is None
        or subprocess.run([*command, "true"], check=False).returncode
    ):
        pytest.skip("this user cannot hide /proc (unshare --mount)")
    # Without /proc, only heartbeats show that a worker has died.
    yield dataclasses.replace(sqlite_file(folder), how="watched", command=command)


PLACES = [
    journal,
    proxy,
    restarted_proxy,
    restarted_postgresql,
    locked,
    moved_clock,
    without_proc,
]


def n_done(place: Place) -> int:
    storage = optuna.storages.get_storage(place.storage())
    if "s" not in optuna.get_all_study_names(storage):
        return 0
    study = optuna.load_study(study_name="s", storage=storage)
    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))


def run_to_its_end(place: Place) -> Ended:
    mortal = place.begin(last=1)
    workers = [place.begin(), place.begin()]
    _, errors = mortal.communicate(timeout=120)
    assert mortal.returncode == -signal.SIGKILL, errors
    while n_done(place) < N_BEFORE:
        time.sleep(0.02)
    assert all(worker.poll() is None for worker in workers)
    place.disturb()
    for worker in workers:
        _, errors = worker.communicate(timeout=240)
        assert worker.returncode == 0, errors
    return Ended(optuna.load_study(study_name="s", storage=place.storage()), mortal.pid)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((place, n), id=f"{place.__name__}-{n}")
        for place in PLACES
        for n in range(REPETITIONS)
    ],
)
def ended(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Ended]:
    make, _ = request.param
    with make(tmp_path_factory.mktemp("shared"), request) as place:
        yield run_to_its_end(place)


def test_no_index_is_done_twice(ended: Ended) -> None:
    indices = [trial.system_attrs[PROPOSAL]["index"] for trial in ended.results]
    assert sorted(indices) == [*range(N_TRIALS)]


def test_the_trial_of_a_dead_worker_is_ended(ended: Ended) -> None:
    owned = [(owner_of(trial), trial) for trial in ended.study.trials]
    *_, last = [trial for owner, trial in owned if owner and owner["process"] == ended.dead]
    assert last.state == TrialState.FAIL
    assert all(trial.state.is_finished() for trial in ended.study.trials)


def test_the_limit_is_exact(ended: Ended) -> None:
    assert len(ended.results) == N_TRIALS
    assert ended.study.user_attrs["adnn:stop_reason"] == "max_trial"
