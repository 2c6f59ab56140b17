"""The controls: other uses of the same compute without a search of offsets."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from concurrent import futures
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from search_worker import make_objective, quick_training

import adnn_optuna as adnn
from adnn_optuna.callbacks import checked_limits as limits_of
from adnn_optuna.engine.functions import FunctionObjective
from adnn_optuna.engine.records import read_record
from adnn_optuna.engine.signals import progress_bar
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.engine.studies import StudySpec, open_studies, run_studies
from adnn_optuna.experiments.controls import ARMS
from adnn_optuna.samplers._owners import _host

if TYPE_CHECKING:
    from adnn_optuna import InitOffsetObjective
    from adnn_optuna.engine.records import SearchRecord


@pytest.fixture(scope="module")
def objective() -> InitOffsetObjective:
    return make_objective(training=quick_training(epochs=2, batch_size=100))


DEAD: dict[str, Any] = {"host": _host(), "process": 2**22 + 1, "start": "never", "run": ""}


def kill_owner(trial: optuna.Trial) -> None:
    """Store a dead process as the owner of a trial that our sampler proposed."""
    storage, trial_id = trial.study._storage, trial._trial_id
    proposal = storage.get_trial_system_attrs(trial_id)["adnn:proposal"]
    dead = {**proposal, "owner": DEAD | {"trial": trial.number}}
    storage.set_trial_system_attr(trial_id, "adnn:proposal", dead)


def run(plan: StudySpec, storage: optuna.storages.BaseStorage | None = None) -> SearchRecord:
    storage = open_storage(None) if storage is None else storage
    [study] = open_studies([plan], storage)
    stop = threading.Event()
    run_studies(
        [plan],
        [study],
        stop=stop,
        bar=progress_bar(show=False),
        n_jobs=1,
        executor=None,
        storage=None,
    )
    return read_record(study)


def trained(objective: InitOffsetObjective, **settings: Any) -> list[dict[str, float]]:
    """Return the metrics after each epoch of a separate training."""
    training = dataclasses.replace(objective.training, **settings)
    other_objective = adnn.InitOffsetObjective(
        adnn.MLP(hidden=(16,)), objective.dataset, training=training, seed=objective.seed
    )
    start = other_objective.baseline_start
    [run] = other_objective.trainer.train([start], evaluate_each_epoch=True)
    return run.history


def test_longer_is_one_training_of_all_epochs_that_keeps_the_best_epoch(
    objective: InitOffsetObjective,
) -> None:
    record = run(StudySpec(objective, "longer", "longer", limits_of(max_trial=6)))
    history = trained(objective, epochs=12)
    accuracies = [metrics["val_accuracy"] for metrics in history]
    [trial] = record.study.trials
    # The trial reports each epoch that was the best so far.
    best_so_far = np.maximum.accumulate(accuracies)
    rises = [0, *(np.flatnonzero(np.diff(best_so_far)) + 1).tolist()]
    assert trial.intermediate_values == {epoch: accuracies[epoch] for epoch in rises}
    assert record.best_value == max(accuracies)
    assert trial.params == {"epochs": 1 + int(np.argmax(accuracies))}
    assert record.baseline == accuracies[1]
    # The test accuracy belongs to the best epoch, not to the last epoch.
    alone = adnn.search(
        adnn.InitOffsetObjective(
            adnn.MLP(hidden=(16,)),
            objective.dataset,
            training=dataclasses.replace(objective.training, epochs=trial.params["epochs"]),
            seed=objective.seed,
        ),
        "greedy",
        max_trial=1,
    )
    assert record.test_value == alone.test_value


def test_longer_that_is_cut_off_before_the_baseline_ends_has_no_baseline(
    objective: InitOffsetObjective, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, longer = optuna.create_study(), ARMS["longer"].objective(objective, 3)
    train = longer.trainer.train

    def cut_off(*args: Any, **kwargs: Any) -> Any:
        [run] = train(*args, **kwargs)
        return [dataclasses.replace(run, status="timeout", history=run.history[:1])]

    monkeypatch.setattr(longer.trainer, "train", cut_off)
    [outcome] = longer.train([study.ask()])
    assert outcome.status == "complete"
    assert "adnn:baseline" not in study.user_attrs


def test_two_workers_run_longer_once(objective: InitOffsetObjective) -> None:
    storage = open_storage(None)
    plan = StudySpec(objective, "longer", "longer", limits_of(max_trial=3))
    open_studies([plan], storage)
    with futures.ThreadPoolExecutor(2) as workers:
        records = [*workers.map(run, [plan] * 2, [storage] * 2)]
    assert [len(record.done_trials) for record in records] == [1, 1]


def test_trials_of_learning_rate_equal_separate_trainings(objective: InitOffsetObjective) -> None:
    record = run(StudySpec(objective, "rates", "learning_rate", limits_of(max_trial=8)))
    rates = [trial.params["learning_rate"] for trial in record.done_trials]
    assert len(rates) == 8
    # The user's learning rate comes first; the other rates are around it.
    own_rate = objective.trainer.training.learning_rate
    assert rates[0] == own_rate
    assert all(own_rate / 100 <= rate <= own_rate * 100 for rate in rates)
    assert max(rates) > 3 * own_rate > own_rate > 3 * min(rates)
    for trial in record.done_trials[:3]:
        alone = trained(objective, learning_rate=trial.params["learning_rate"])
        assert trial.value == alone[-1]["val_accuracy"]


def test_learning_rates_that_diverge_count_as_trials(objective: InitOffsetObjective) -> None:
    wild = adnn.InitOffsetObjective(
        adnn.MLP(hidden=(16,), activation="linear"),
        objective.dataset,
        training=quick_training("sgd", learning_rate=1e3, epochs=2, batch_size=100, loss="mse"),
    )
    record = run(StudySpec(wild, "wild", "learning_rate", limits_of(max_trial=12)))
    assert len(record.done_trials) == 12
    assert any(trial.state == TrialState.FAIL for trial in record.done_trials)


def test_constant_covers_the_whole_range_with_one_offset(objective: InitOffsetObjective) -> None:
    record = run(StudySpec(objective, "constant", "constant", limits_of(max_trial=9)))
    offsets = sorted(trial.params["offset"] for trial in record.done_trials)
    assert offsets == pytest.approx(np.linspace(-0.2, 0.2, 9).tolist())
    trial = record.done_trials[-1]
    names = objective.distributions
    everywhere = optuna.trial.FixedTrial(dict.fromkeys(names, trial.params["offset"]))
    assert objective(everywhere) == trial.value


@pytest.mark.parametrize("control", ["learning_rate", "constant"])
def test_a_resumed_control_equals_an_undisturbed_one(
    control: str, objective: InitOffsetObjective
) -> None:
    def plan(max_trial: int) -> StudySpec:
        return StudySpec(objective, "mine", control, limits_of(max_trial=max_trial))

    storage = open_storage(None)
    [study] = open_studies([plan(9)], storage)
    run(plan(4), storage)
    # A killed process leaves a trial like this.
    trial = study.ask(plan(9).searched.distributions)
    kill_owner(trial)
    resumed, whole = run(plan(9), storage), run(plan(9))
    params = [t.params for t in resumed.done_trials]
    assert params == [t.params for t in whole.done_trials]
    assert len(params) == 9 == len({*map(str, params)})


def test_a_schedule_has_no_learning_rate_to_search(objective: InitOffsetObjective) -> None:
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.9))
    scheduled = adnn.InitOffsetObjective(
        adnn.MLP(hidden=(16,)), objective.dataset, training=quick_training(optimizer, epochs=1)
    )
    with pytest.raises(ValueError, match="'learning_rate' needs an optimizer"):
        StudySpec(scheduled, "rates", "learning_rate", limits_of(max_trial=8))
    comparison = adnn.compare(scheduled, ("greedy",), max_trial=10, seeds=[0])
    assert list(comparison.results) == ["greedy", "random_restart"]


def tpe(seed: int, n_trials: int | None) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=2)


class TestFunctionObjective:
    def control(
        self, function: Any, max_trial: int = 5, max_time: float | None = None
    ) -> StudySpec:
        direction = optuna.study.StudyDirection.MAXIMIZE
        objective = FunctionObjective(function, direction, seed=3, confirm=0)
        limits = limits_of(max_time=max_time, max_trial=max_trial)
        return StudySpec(objective, "mine", tpe, limits)

    def test_gets_a_seed_and_is_resumed(self) -> None:
        seeds = []

        def mine(trial: optuna.Trial, seed: int) -> float:
            seeds.append(seed)
            return trial.suggest_float("x", 0, 1)

        storage = open_storage(None)
        record = run(self.control(mine), storage)
        assert len({*seeds}) == 5
        # Finished trials are not repeated, and the same seed proposes the same trials.
        assert len(run(self.control(mine), storage).study.trials) == 5
        assert len(seeds) == 5
        again = run(self.control(mine))
        assert seeds[5:] == seeds[:5]
        assert [t.params for t in again.study.trials] == [t.params for t in record.study.trials]

    def test_may_take_only_the_trial_and_may_fail(self) -> None:
        def mine(trial: optuna.Trial) -> float:
            if trial.number % 2:
                return math.nan
            return trial.suggest_float("x", 0, 1)

        record = run(self.control(mine))
        assert len(record.study.trials) == 5
        # A planned comparison waits until all its studies are over.
        assert record.is_over

    def test_takes_no_more_than_max_time(self) -> None:
        def mine(trial: optuna.Trial) -> float:
            time.sleep(0.05)
            return trial.suggest_float("x", 0, 1)

        record = run(self.control(mine, max_trial=1000, max_time=0.3))
        assert 1 <= len(record.study.trials) < 100
        assert record.stop_reason == "max_time"


def test_longer_without_time_for_one_epoch_is_over(objective: InitOffsetObjective) -> None:
    record = run(StudySpec(objective, "longer", "longer", limits_of(max_trial=3, max_time=1e-9)))
    assert record.is_over
    assert math.isnan(record.test_value)


def test_a_constant_with_two_trials_runs(objective: InitOffsetObjective) -> None:
    record = run(StudySpec(objective, "constant", "constant", limits_of(max_trial=2)))
    assert len(record.done_trials) == 2
