"""The package works without the features of Linux that macOS and Windows lack."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from adnn_optuna import DeltaStepSampler, MaxTrialCallback
from adnn_optuna._checks import masked, n_cores
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.samplers import _owners

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def without_proc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def absent(method: str) -> None:
        real = getattr(Path, method)

        def call(path: Path, *args: Any, **kwargs: Any) -> Any:
            return real(Path("none") if path.is_relative_to("/proc") else path, *args, **kwargs)

        monkeypatch.setattr(Path, method, call)

    for method in ("exists", "read_text", "readlink"):
        absent(method)
    monkeypatch.setattr(_owners, "sys", SimpleNamespace(platform="darwin"))
    remembered = (_owners._host, _owners._own_start_time)
    for function in remembered:
        function.cache_clear()
    yield
    for function in remembered:
        function.cache_clear()


@pytest.mark.usefixtures("without_proc")
def test_processes_are_distinguished_without_proc() -> None:
    code = "import sys; print(flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as process:
        process.stdout.readline()
        start = _owners._start_time(process.pid)
        assert start is not None
        assert start == _owners._start_time(process.pid)
        process.kill()
        process.wait()
    assert _owners._start_time(process.pid) is None


@pytest.mark.usefixtures("without_proc")
def test_the_step_of_a_dead_process_is_repeated_without_proc() -> None:
    study = optuna.create_study(sampler=DeltaStepSampler(deltas=(0.1,), max_steps=3))
    space = {"x": optuna.distributions.FloatDistribution(-1, 1)}
    other_trial = study.ask(space)
    trial = study.trials[other_trial.number]
    assert _owners.is_alive(trial)
    proposal = trial.system_attrs[_owners.PROPOSAL]
    dead = {**proposal, "owner": {**proposal["owner"], "start": "another process"}}
    study._storage.set_trial_system_attr(other_trial._trial_id, _owners.PROPOSAL, dead)
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1), callbacks=[MaxTrialCallback(9)])
    completed = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    assert [round(t.params["x"], 6) for t in completed] == [0.0, 0.1, 0.2, 0.3]


@pytest.mark.tensorflow
@pytest.mark.usefixtures("without_proc")
def test_the_environment_is_described_without_proc() -> None:
    from adnn_optuna.experiments.environment import describe_environment

    assert describe_environment()["processor"]["model"] == platform.processor()


def test_cores_are_counted_without_sched_getaffinity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    assert n_cores() >= 1


@pytest.mark.parametrize("name", [r"C:\Users\A B\adnn.db", r"data\adnn.db", r"\\server\me@x\a.db"])
def test_backslashes_and_drive_letters_are_kept_in_a_storage(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Linux, a backslash is an ordinary character, so the whole name is one file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    assert masked(name) == name
    if sys.platform != "win32":
        optuna.create_study(storage=open_storage(name), study_name="s")
        assert (tmp_path / name).exists()
        assert open_storage(name, must_exist=True).get_all_studies()[0].study_name == "s"
