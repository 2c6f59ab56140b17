"""Servers between workers and databases are killed: workers wait, or end with one sentence."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.storages import GrpcStorageProxy, JournalStorage
from optuna.storages.journal import JournalRedisBackend

import adnn_optuna as adnn
from adnn_optuna.engine import repeating
from adnn_optuna.engine.repeating import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optuna.storages import BaseStorage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]


class Server:
    """A server process that can be killed and started again."""

    def __init__(self, program: list[str], port: int) -> None:
        self._program, self._port = program, port
        self.start()

    def start(self) -> None:
        quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(self._program, **quiet)

    def wait(self) -> None:
        for _ in range(600):
            with contextlib.closing(socket.socket()) as client:
                if client.connect_ex(("localhost", self._port)) == 0:
                    return
            time.sleep(0.1)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def free_port() -> int:
    with contextlib.closing(socket.socket()) as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


@pytest.fixture(params=["gRPC proxy", "Redis journal"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, BaseStorage]]:
    port = free_port()
    if request.param == "gRPC proxy":
        script = str(Path(__file__).parents[1] / "grpc_server.py")
        url = f"sqlite:///{tmp_path / 'study.db'}"
        server = Server([sys.executable, script, url, str(port)], port)
        server.wait()
        storage: BaseStorage = GrpcStorageProxy(host="localhost", port=port)
    else:
        pytest.importorskip("redis", reason="the package redis is not installed")
        if shutil.which("redis-server") is None:
            pytest.skip("Redis is not installed (on Debian: apt-get install redis-server)")
        persistence = ["--appendonly", "yes", "--appendfsync", "always", "--dir", str(tmp_path)]
        server = Server(["redis-server", "--port", str(port), *persistence], port)
        server.wait()
        storage = JournalStorage(JournalRedisBackend(f"redis://localhost:{port}"))
    yield server, storage
    server.kill()


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -1, 1)
    trial.report(x, 0)
    return x**2


def search(storage: BaseStorage | None, function: Any) -> list[Any]:
    study = adnn.search(function, "annealing", storage=storage, study_name="s", max_trial=6).study
    return [(trial.state, trial.params, trial.values) for trial in study.trials]


def test_a_killed_server_is_waited_for(served: tuple[Server, BaseStorage]) -> None:
    server, storage = served

    def killing(trial: optuna.Trial) -> float:
        if trial.number in (1, 3):
            server.kill()
            server.start()  # The server answers some time later.
        return objective(trial)

    assert search(storage, killing) == search(None, objective)


def test_a_restarted_server_knows_earlier_trials(
    served: tuple[Server, BaseStorage],
) -> None:
    server, storage = served
    sampler = optuna.samplers.RandomSampler()  # This sampler reads no trials.
    study = optuna.create_study(storage=repeating.repeating(storage), sampler=sampler)
    trial = study.ask()
    server.kill()
    server.start()
    x = trial.suggest_float("x", -1, 1)
    assert study.trials[0].params == {"x": x}


def test_a_server_that_stays_away_ends_in_one_sentence(
    served: tuple[Server, BaseStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, storage = served

    def killing(trial: optuna.Trial) -> float:
        if trial.number == 1:
            monkeypatch.setattr(repeating, "_PATIENCE", 0.5)
            server.kill()
        return objective(trial)

    with pytest.raises(StorageError, match=r"^The storage failed \([^\n]+\)\. All .*\.$"):
        search(storage, killing)
