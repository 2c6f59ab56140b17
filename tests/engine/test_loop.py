"""The loop beside other workers, and after errors."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import optuna
import pytest
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from search_worker import make_objective, quick_training

import adnn_optuna as adnn
from adnn_optuna import InitOffsetObjective
from adnn_optuna._attributes import ENDED, OUTCOME, OWNER
from adnn_optuna.engine import decisions, repeating
from adnn_optuna.engine.repeating import StorageError
from adnn_optuna.engine.storages import open_storage

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.storages import BaseStorage


DONE = (TrialState.COMPLETE, TrialState.PRUNED)


@pytest.fixture(scope="module")
def objective() -> InitOffsetObjective:
    return make_objective(training=quick_training(epochs=1, batch_size=400))


@pytest.fixture
def storage(tmp_path: Path) -> BaseStorage:
    return open_storage(f"sqlite:///{tmp_path / 'study.db'}")


def values(study: optuna.Study) -> list[tuple[dict[str, Any], float | None]]:
    return [(t.params, t.value) for t in study.trials if t.state == TrialState.COMPLETE]


def other_worker(storage: BaseStorage) -> optuna.Study:
    sampler = optuna.samplers.RandomSampler(seed=0)
    return optuna.load_study(study_name="s", storage=storage, sampler=sampler)


def test_proposals_do_not_depend_on_timing(objective: InitOffsetObjective) -> None:
    def sampler(seed: int, _: int | None) -> optuna.samplers.BaseSampler:
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=4)

    first, second = (
        adnn.search(objective, sampler, max_trial=12, batch_size=4).study for _ in range(2)
    )
    assert values(first) == values(second)
    assert [t.number for t in first.trials] == list(range(12))


def test_each_trial_stores_its_owner_and_its_time(objective: InitOffsetObjective) -> None:
    result = adnn.search(objective, optuna.samplers.RandomSampler(seed=0), max_trial=3)
    elapsed = [trial.user_attrs[OUTCOME]["elapsed"] for trial in result.study.trials]
    assert sorted(elapsed) == elapsed
    assert adnn.MaxTimeCallback(1).used(result.study) == elapsed[-1]
    for trial in result.study.trials:
        assert trial.system_attrs[OWNER]["trial"] == trial.number
        assert trial.user_attrs[OUTCOME]["metrics"]["val_accuracy"] == trial.value


@pytest.mark.parametrize("batch_size", [1, 3])
def test_trials_that_other_workers_begin_meanwhile_count(
    batch_size: int,
    objective: InitOffsetObjective,
    storage: BaseStorage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create, other_trials, moments = RDBStorage._create_new_trial, list[optuna.Trial](), [3]

    def create_too_late(self: RDBStorage, study_id: int, *args: Any) -> Any:
        study = other_worker(storage)
        n_done = len(study.get_trials(deepcopy=False, states=DONE))
        if n_done in moments:
            moments.clear()
            other_trials.append(study.ask(objective.distributions))
        return create(self, study_id, *args)

    # The other worker's trial ends while this worker waits for a free place.
    def wait(seconds: float) -> None:
        sleep(seconds)
        if other_trials:
            other_worker(storage).tell(other_trials[0].number, 0.5, skip_if_finished=True)

    sleep = time.sleep
    monkeypatch.setattr(RDBStorage, "_create_new_trial", create_too_late)
    monkeypatch.setattr(time, "sleep", wait)
    limits: dict[str, Any] = {"max_trial": 4, "storage": storage, "study_name": "s"}
    study = adnn.search(objective, "annealing", batch_size=batch_size, **limits).study
    assert other_trials
    assert len(study.get_trials(states=DONE)) == 4
    surplus = study.get_trials(states=(TrialState.FAIL,))
    assert len(surplus) == 1
    assert surplus[0].system_attrs[ENDED] == "interrupted"
    assert not study.get_trials(states=(TrialState.RUNNING,))


def test_no_worker_waits_forever(
    objective: InitOffsetObjective, storage: BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    adnn.search(objective, "annealing", max_trial=1, storage=storage, study_name="s")
    other_worker(storage).ask()
    monkeypatch.setattr(decisions, "SECONDS_OF_BELIEF", 0.3)
    result = adnn.resume(storage, "s", max_trial=2)
    assert result.stop_reason == "max_trial"
    assert [t.state.name for t in result.study.trials] == ["COMPLETE", "RUNNING", "COMPLETE"]


def locked(*_: Any, **__: Any) -> Any:
    cause = repeating.sqlite3.OperationalError("database is locked")
    cause.sqlite_errorcode = repeating.sqlite3.SQLITE_BUSY
    raise sqlalchemy.exc.OperationalError("UPDATE", {}, cause)


def test_no_training_is_lost_to_a_locked_database(
    objective: InitOffsetObjective, storage: BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, faults, n_trained = objective.trainer.train, [3], []
    tell = RDBStorage.set_trial_state_values

    def tell_later(self: RDBStorage, *args: Any, **kwargs: Any) -> Any:
        faults[0] -= 1
        return locked() if faults[0] >= 0 else tell(self, *args, **kwargs)

    def counted(starts: Any, **kwargs: Any) -> Any:
        n_trained.append(len(starts))
        return train(starts, **kwargs)

    monkeypatch.setattr(RDBStorage, "set_trial_state_values", tell_later)
    monkeypatch.setattr(objective.trainer, "train", counted)
    result = adnn.search(objective, "annealing", max_trial=3, storage=storage, study_name="s")
    assert [t.state for t in result.study.trials] == [TrialState.COMPLETE] * 3
    assert n_trained == [1, 1, 1]


def test_a_trial_left_running_by_a_storage_fault_is_done_by_the_next_run(
    objective: InitOffsetObjective, storage: BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = adnn.search(objective, "annealing", max_trial=6).study
    search: dict[str, Any] = {"max_trial": 6, "storage": storage, "study_name": "s"}
    for name in ("set_trial_state_values", "record_heartbeat"):
        with monkeypatch.context() as patch:
            patch.setattr(repeating, "_PATIENCE", 0.1)
            calls, function = [2], getattr(RDBStorage, name)

            def fail(
                self: Any, *args: Any, calls: Any = calls, function: Any = function, **kwargs: Any
            ) -> Any:
                calls[0] -= 1
                return function(self, *args, **kwargs) if calls[0] >= 0 else locked()

            patch.setattr(RDBStorage, name, fail)
            with pytest.raises(StorageError, match=r"database is locked.*then resume the study\."):
                adnn.search(objective, "annealing", **search)
        study = optuna.load_study(study_name="s", storage=storage)
        assert study.get_trials(states=(TrialState.RUNNING,))
    study = adnn.search(objective, "annealing", **search).study
    assert values(study) == values(whole)
    assert not study.get_trials(states=(TrialState.RUNNING,))


@pytest.mark.parametrize("error", [SystemExit, ZeroDivisionError])
def test_no_error_leaves_a_trial_running(
    error: type[BaseException],
    objective: InitOffsetObjective,
    storage: BaseStorage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def train(*_: Any, **__: Any) -> Any:
        raise error

    search: dict[str, Any] = {"max_trial": 6, "storage": storage, "study_name": "s"}
    with monkeypatch.context() as patch:
        patch.setattr(objective.trainer, "train", train)
        with pytest.raises(error):
            adnn.search(objective, "random_restart", batch_size=3, **search)
    study = optuna.load_study(study_name="s", storage=storage)
    assert [t.state for t in study.trials] == [TrialState.FAIL] * 3
    result = adnn.search(objective, "random_restart", **search)
    assert [params["restart"] for params, _ in values(result.study)] == list(range(6))
