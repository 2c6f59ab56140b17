"""Storages that repeat calls: every call passes through them, and no write happens twice."""

from __future__ import annotations

import itertools
import pickle
import sqlite3
import sys
from typing import TYPE_CHECKING, Any

import optuna
import pytest
import sqlalchemy
from optuna.storages import InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from search_worker import make_objective

import adnn_optuna as adnn
from adnn_optuna.cli import main as cli
from adnn_optuna.engine import repeating
from adnn_optuna.engine.repeating import StorageError
from adnn_optuna.engine.storages import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from optuna.storages import BaseStorage


def function(trial: optuna.Trial, seed: int = 0) -> float:
    x, y = (trial.suggest_float(name, -1, 1) for name in "xy")
    trial.set_user_attr("seed", seed % 10)
    trial.report(x, 0)
    return adnn.log_scores(trial, [x, y, seed % 3])


def of_seed(seed: int) -> float:
    return seed % 7 / 7


@pytest.fixture
def direct() -> Iterator[list[str]]:
    """Return the statements that bypass our storage, with their callers."""
    statements = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        frame, callers = sys._getframe(), list[str]()
        while frame := frame.f_back:  # type: ignore[assignment]
            callers.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
            # Before a file is opened, one direct statement checks the file for damage.
            is_check = frame.f_code.co_name == "_check_file"
            if is_check or frame.f_code.co_filename == repeating.__file__:
                return
        statements.append("\n".join([statement, *callers]))

    event = sqlalchemy.Engine, "before_cursor_execute", note
    sqlalchemy.event.listen(*event)
    yield statements
    sqlalchemy.event.remove(*event)


@pytest.mark.slow
def test_all_statements_of_functions_are_repeated(tmp_path: Path, direct: list[str]) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    place: Any = {"storage": url, "study_name": "s"}
    adnn.search(function, "tpe", direction="maximize", max_trial=4, confirm=2, **place)
    adnn.search(function, "annealing", max_trial=5, storage=url, replicate=0.25, n_jobs=2)
    adnn.resume(url, "s", objective=function, max_trial=6)
    comparison: Any = {"storage": url, "study_name": "c"}
    limits: Any = {"max_trial": 2, "controls": (), "direction": "maximize"}
    adnn.compare(function, samplers=("tpe", "annealing"), seeds=range(2), **limits, **comparison)
    adnn.resume(url, "c", objective=function)
    adnn.compare_models({"a": of_seed, "b": of_seed}, seeds=range(3), storage=url)
    adnn.measure_variance(of_seed, n=5, storage=url)
    for name in "sc":
        output = str(tmp_path / f"{name}.html")
        report = ["report", "--study-name", name, "--storage", url, "--output", output]
        assert cli.run(report) == 0
    assert direct == []


def test_all_statements_on_a_users_study_are_repeated(url: str, direct: list[str]) -> None:
    study = optuna.create_study(storage=url)
    study.optimize(function, n_trials=3)
    direct.clear()
    adnn.recheck(study, function, against=0, confirm=3)
    adnn.overtuning(study)
    adnn.search(function, "random", max_trial=4, storage=study._storage, study_name="s")
    assert direct == []


@pytest.mark.slow
def test_all_statements_of_networks_are_repeated(tmp_path: Path, direct: list[str]) -> None:
    url, objective = f"sqlite:///{tmp_path / 'study.db'}", make_objective()
    place: Any = {"storage": url, "study_name": "s"}
    result = adnn.search(objective, "annealing", max_trial=3, batch_size=3, confirm=6, **place)
    adnn.resume(url, "s", max_trial=4)
    result.confirm(7)
    adnn.recheck((url, "s"), confirm=2)
    comparison: Any = {"storage": url, "study_name": "c", "max_trial": 2, "seeds": [1]}
    for controls in (("longer",), ("longer", "ensemble")):
        adnn.compare(objective, ("annealing",), controls=controls, **comparison)
    for command, file in (("contract", "s.contract.json"), ("report", "s.html")):
        output = str(tmp_path / file)
        arguments = [command, "--study-name", "s", "--storage", url, "--output", output]
        assert cli.run(arguments) == 0
    assert direct == []


class CutConnection(sqlite3.Connection):
    """A connection that loses the answer of every third commit; the commit itself succeeds."""

    commits = itertools.count()
    n_cut = 0

    def commit(self) -> None:
        super().commit()
        # Opening a storage takes several commits. If one of them is lost, opening starts again.
        if repeating._is_patient.get() and next(CutConnection.commits) % 3 == 0:
            CutConnection.n_cut += 1
            error = sqlite3.OperationalError("the connection is lost")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[CutConnection]]:
    """Cut all connections to SQLite; return the number of cuts."""
    monkeypatch.setattr(repeating, "_SECONDS_BETWEEN_ATTEMPTS", 0.0)
    monkeypatch.setattr(CutConnection, "n_cut", 0)

    def connect(_: object, __: object, ___: object, options: dict[str, Any]) -> None:
        options["factory"] = CutConnection

    event = sqlalchemy.Engine, "do_connect", connect
    sqlalchemy.event.listen(*event)
    yield CutConnection
    sqlalchemy.event.remove(*event)


def as_stored(study: optuna.Study) -> list[tuple[Any, ...]]:
    return [(t.number, t.state, t.params, t.values, t.intermediate_values) for t in study.trials]


@pytest.mark.parametrize("sampler", ["annealing", "tpe", "random", "greedy"])
def test_a_write_that_arrived_before_its_connection_was_cut_is_not_repeated(
    sampler: str, tmp_path: Path, cut: type[CutConnection]
) -> None:
    def search(url: str | None) -> optuna.Study:
        options: Any = {"study_name": "s", "direction": "maximize", "max_trial": 6, "confirm": 2}
        return adnn.search(function, sampler, storage=url, **options).study

    study = search(f"sqlite:///{tmp_path / 'study.db'}")
    assert cut.n_cut > 20
    assert as_stored(study) == as_stored(search(None))


def test_each_write_of_a_storage_is_done_once(url: str, cut: type[CutConnection]) -> None:
    storage = open_storage(url)
    for name in "abc":  # With three studies, each write is cut once.
        study = optuna.create_study(storage=storage, study_name=name)
        for _ in range(3):
            study.enqueue_trial({"x": 0.5})  # One study also has an enqueued trial.
            begun = optuna.create_trial(state=TrialState.RUNNING)
            trial = optuna.Trial(study, storage.create_new_trial(study._study_id, begun))
            function(trial)
            trial.suggest_categorical("z", ["a", "b"])
            study.tell(trial, 1.0)
            study.set_user_attr("a", [1])
        states = [trial.state for trial in study.trials]
        assert states == [TrialState.WAITING, TrialState.COMPLETE] * 3
    assert len(storage.get_all_studies()) == 3
    assert cut.n_cut > 20


@pytest.mark.parametrize("kind", ["SQLite", "cached", "journal"])
def test_a_users_storage_is_not_changed(kind: str, tmp_path: Path) -> None:
    callback = optuna.storages.RetryHeartbeatStaleTrialCallback()
    rdb = RDBStorage(
        f"sqlite:///{tmp_path / 'study.db'}",
        heartbeat_interval=7,
        heartbeat_stale_trial_callback=callback,
    )
    storage: BaseStorage = rdb
    if kind == "cached":
        storage = optuna.create_study(storage=rdb)._storage
    elif kind == "journal":
        storage = JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))
    before = type(storage)
    result = adnn.search(function, "random", max_trial=2, storage=storage, study_name="s")
    assert type(storage) is before
    ours: Any = result.study._storage
    for either in (ours, pickle.loads(pickle.dumps(ours))):
        assert isinstance(either, type(optuna.storages.get_storage(storage)))
        if kind != "journal":
            assert either.get_heartbeat_interval() == 7
            assert isinstance(either.get_heartbeat_stale_trial_callback(), type(callback))
        assert len(optuna.load_study(study_name="s", storage=either).trials) == 2
    assert open_storage(ours) is ours
    plain = optuna.load_study(study_name="s", storage=storage)
    plain.optimize(function, n_trials=1)
    assert len(result.study.trials) == 3


def test_a_storage_in_memory_is_used_as_it_is() -> None:
    storage = InMemoryStorage()
    assert open_storage(storage) is storage


def test_a_permanent_fault_is_one_sentence_in_any_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeating, "_PATIENCE", 0.0)
    study = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path / 'study.db'}"))
    trial = study.ask()
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.execute("DROP TABLE trial_user_attributes")
    with pytest.raises(StorageError, match=r"^The storage failed \(no such table.*\. .*\.$"):
        trial.set_user_attr("a", 1)
