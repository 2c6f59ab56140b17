"""The objective of init offsets in plain Optuna studies."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import threading
from typing import Any

import keras
import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from adnn_optuna._attributes import (
    BASELINE,
    BASELINE_METRICS,
    CONFIG,
    ENDED,
    OUTCOME,
)
from adnn_optuna.api.search import search
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.experiments.init_offset_objective import InitOffsetObjective, objective_from_study
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.loading import load_dataset
from adnn_optuna.networks.models import MLP, Training
from adnn_optuna.networks.offsets import RESTARTS, OffsetSpace

MODEL = MLP((8,))
TRAINING = Training(epochs=2, learning_rate=0.01, jit_compile=False)
METRICS = ("val_accuracy", "train_accuracy", "val_loss", "train_loss")
NAMES = ("weight_offset_0", "bias_offset_0")


def few_digits(train: int = 120, val: int = 60) -> Dataset:
    digits = load_dataset("digits")
    return Dataset(
        "few digits",
        digits.x_train[:train],
        digits.y_train[:train],
        digits.x_val[:val],
        digits.y_val[:val],
        digits.x_test[:20],
        digits.y_test[:20],
        10,
    )


DATA = few_digits()


@pytest.fixture(scope="module")
def objective() -> InitOffsetObjective:
    return InitOffsetObjective(MODEL, DATA, training=TRAINING)


def study_of(
    *trials: float | dict[str, Any], direction: str = "maximize", **arguments: Any
) -> optuna.Study:
    """Return a study with these weight offsets enqueued."""
    study = optuna.create_study(direction=direction, **arguments)
    for trial in trials:
        params = trial if isinstance(trial, dict) else {NAMES[0]: trial, NAMES[1]: 0.0}
        study.enqueue_trial(params)
    return study


def test_a_plain_study_runs_the_objective(objective: InitOffsetObjective) -> None:
    study = study_of(0.0, 0.1)
    study.optimize(objective, n_trials=3)
    trials = study.trials
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 3
    assert set(trials[0].params) == set(NAMES)
    # The first trial is the baseline, which the study stores with all its metrics.
    attrs = study.user_attrs
    assert attrs[BASELINE] == trials[0].value == attrs[BASELINE_METRICS]["val_accuracy"]
    assert set(attrs[BASELINE_METRICS]) == set(METRICS)
    assert attrs[CONFIG] == json.loads(json.dumps(objective.config, allow_nan=False))
    for trial in trials:
        assert trial.user_attrs[OUTCOME]["metrics"]["val_accuracy"] == trial.value
        assert trial.intermediate_values == {}
    losses = [t.user_attrs[OUTCOME]["metrics"]["val_loss"] for t in trials]
    assert len(set(losses)) == 3


def test_the_baseline_is_trained_whatever_the_first_trial_is(
    objective: InitOffsetObjective,
) -> None:
    first = study_of(0.0)
    first.optimize(objective, n_trials=1)
    second = study_of(0.15)
    second.optimize(objective, n_trials=1)
    assert second.user_attrs[BASELINE_METRICS] == first.user_attrs[BASELINE_METRICS]
    assert second.trials[0].user_attrs[OUTCOME]["metrics"] != first.user_attrs[BASELINE_METRICS]


@pytest.mark.parametrize("metric", ["train_accuracy", "val_loss"])
def test_each_metric_is_optimized_in_its_direction(metric: Any) -> None:
    objective = InitOffsetObjective(MODEL, DATA, training=TRAINING, metric=metric)
    direction = "minimize" if metric.endswith("loss") else "maximize"
    assert objective.direction.name.lower() == direction
    assert objective.improvement(3.0, 2.0) == (-1.0 if metric.endswith("loss") else 1.0)
    study = study_of(0.1, direction=direction)
    study.optimize(objective, n_trials=1)
    [trial] = study.trials
    assert trial.value == trial.user_attrs[OUTCOME]["metrics"][metric]
    assert study.user_attrs[BASELINE] == study.user_attrs[BASELINE_METRICS][metric]
    other_direction = "maximize" if direction == "minimize" else "minimize"
    with pytest.raises(ValueError, match=f"direction must be .*; got {direction}"):
        study_of(direction=other_direction).optimize(objective, n_trials=1)


@keras.saving.register_keras_serializable("tests")
def cost(labels: Any, outputs: Any) -> Any:
    return keras.losses.sparse_categorical_crossentropy(labels, outputs)


def test_a_direction_that_a_function_of_the_trial_contradicts_is_refused() -> None:
    training = dataclasses.replace(TRAINING, metrics=(keras.metrics.Poisson(name="rate"),))
    settings: Any = {"training": lambda trial: training, "metric": "val_rate"}
    with pytest.raises(ValueError, match=r"'val_rate' that is minimized.*direction='minimize'"):
        InitOffsetObjective(MODEL, few_digits(), **settings).of({})
    objective = InitOffsetObjective(MODEL, few_digits(), **settings, direction="minimize")
    assert objective.of({}).direction == objective.direction


def test_a_direction_is_needed_only_if_the_metrics_name_tells_none(
    logs: pytest.LogCaptureFixture,
) -> None:
    logs.set_level(logging.INFO, logger="optuna")
    training = dataclasses.replace(
        TRAINING, metrics=(cost,), patience=1, monitor="val_cost", epochs=3
    )
    settings: Any = {"training": training, "metric": "val_cost"}
    assert InitOffsetObjective(MODEL, DATA, **settings).direction.name == "MAXIMIZE"
    assert logs.text.count("val_cost") == 1
    objective = InitOffsetObjective(MODEL, DATA, **settings, direction="minimize")
    result = search(objective, "annealing", max_trial=3, confirm=0)
    values = [trial.value for trial in result.record.done_trials]
    assert result.best_value == min(values) < max(values)  # type: ignore[type-var]
    # A falling loss counts as an improvement, so training does not stop early.
    assert result.record.done_trials[0].user_attrs["adnn:outcome"]["trained"]["epochs"] == 3
    of_digits = objective.replace(dataset=load_dataset("digits"))
    study = optuna.create_study(direction="minimize")
    of_digits.attach(study)
    again = objective_from_study(study, None)
    assert (again.direction, again.config) == (of_digits.direction, of_digits.config)
    assert again.config["training"]["mode"] == "min"
    with pytest.raises(TypeError, match="metric must be a metric's name"):
        InitOffsetObjective(MODEL, DATA, metric=cost)


def fixed_net() -> keras.Model:
    """Return a model whose initial weights do not depend on the seed."""
    initializers = (keras.initializers.GlorotUniform(seed=seed) for seed in (1, 2))
    return keras.Sequential(
        [
            keras.Input((8, 8)),
            keras.layers.Flatten(),
            keras.layers.Dense(4, kernel_initializer=next(initializers)),
            keras.layers.Dense(10, kernel_initializer=next(initializers)),
        ]
    )


@pytest.mark.parametrize("model", [fixed_net, MLP((8,), kernel_initializer="ones")])
def test_restarts_need_weights_that_depend_on_the_seed(model: Any) -> None:
    objective = InitOffsetObjective(model, DATA, training=TRAINING)
    for restarts in (
        lambda: InitOffsetObjective(model, DATA, space=RESTARTS),
        lambda: objective.replace(space=RESTARTS),
    ):
        with pytest.raises(ValueError, match="must start from other weights"):
            restarts()


@pytest.mark.parametrize("again", ["best trial", "fixed trial"])
def test_a_finished_trial_can_be_evaluated_again(
    again: str, objective: InitOffsetObjective
) -> None:
    study = study_of(0.07, 0.0)
    study.optimize(objective, n_trials=2)
    best = study.best_trial
    before = study.user_attrs, study.trials
    trial = best if again == "best trial" else optuna.trial.FixedTrial(best.params)
    assert objective(trial) == best.value
    assert (study.user_attrs, study.trials) == before


def test_a_baseline_that_diverged_has_no_value() -> None:
    # The accuracy is still a number: the network predicts the first class.
    training = dataclasses.replace(TRAINING, optimizer="sgd", learning_rate=1e30, epochs=1)
    objective = InitOffsetObjective(MODEL, DATA, training=training)
    study = study_of(0.0)
    study.optimize(objective, n_trials=1)
    assert study.trials[0].state == TrialState.FAIL
    assert math.isnan(study.user_attrs[BASELINE])
    assert math.isfinite(study.user_attrs[BASELINE_METRICS]["val_accuracy"])
    assert math.isnan(objective(optuna.trial.FixedTrial(study.trials[0].params)))


def test_a_baseline_that_a_kill_left_half_stored_is_stored_again(
    objective: InitOffsetObjective, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, store = study_of(0.0, 0.1), optuna.Study.set_user_attr

    def killed(self: optuna.Study, name: str, value: Any) -> None:
        store(self, name, value)
        raise SystemExit

    trials = [study.ask(objective.distributions) for _ in range(2)]
    monkeypatch.setattr(optuna.Study, "set_user_attr", killed)
    with pytest.raises(SystemExit):
        objective.train(trials[:1])
    monkeypatch.undo()
    objective.train(trials[1:])
    attrs = study.user_attrs
    assert attrs[BASELINE] == attrs[BASELINE_METRICS]["val_accuracy"]


def test_a_diverged_trial_fails_and_the_study_continues() -> None:
    # With half of the largest float32 in each weight, the first sum is infinite.
    space = OffsetSpace(-1e38, 1e38)
    objective = InitOffsetObjective(MODEL, DATA, training=TRAINING, space=space)
    study = study_of(0.0, 1e38, 0.1)
    study.optimize(objective, n_trials=3)
    assert [t.state.name for t in study.trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert [t.system_attrs.get(ENDED) for t in study.trials] == [None, "diverged", None]
    assert math.isfinite(study.user_attrs[BASELINE])


class PruneFrom(optuna.pruners.BasePruner):
    """A pruner that prunes the trials with these numbers, after their first epoch."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.number in self._numbers


def test_a_pruner_that_the_user_passed_prunes_trainings(objective: InitOffsetObjective) -> None:
    study = study_of(0.1, 0.05, pruner=PruneFrom(1))
    study.optimize(objective, n_trials=2)
    complete, pruned = study.trials
    assert (complete.state, pruned.state) == (TrialState.COMPLETE, TrialState.PRUNED)
    assert list(complete.intermediate_values) == [0, 1]
    assert complete.intermediate_values[1] == complete.value
    assert list(pruned.intermediate_values) == [0]
    assert ENDED not in pruned.system_attrs


def test_a_training_that_has_ended_is_not_pruned(objective: InitOffsetObjective) -> None:
    training = dataclasses.replace(
        TRAINING, epochs=3, patience=0, monitor="train_loss", mode="max"
    )
    # The loss falls, so the second epoch is the last one.
    patient = objective.replace(training=training)
    study = study_of(0.1, 0.05, pruner=optuna.pruners.ThresholdPruner(lower=2, n_warmup_steps=1))
    study.optimize(patient, n_trials=2)
    assert {t.state for t in study.trials} == {TrialState.COMPLETE}
    assert {t.last_step for t in study.trials} == {1}


def test_the_baseline_is_never_pruned(objective: InitOffsetObjective) -> None:
    study = study_of(0.0, pruner=PruneFrom(0))
    study.optimize(objective, n_trials=1)
    unpruned = study_of(0.0)
    unpruned.optimize(objective, n_trials=1)
    assert study.user_attrs[BASELINE_METRICS] == unpruned.user_attrs[BASELINE_METRICS]


def test_a_pruner_that_the_user_did_not_pass_is_not_used(objective: InitOffsetObjective) -> None:
    # Trials get worse after five trials, when Optuna's default pruner would begin to prune.
    study = study_of(*[0.0] * 5, 0.19, 0.2)
    study.optimize(objective, n_trials=7)
    assert {t.state for t in study.trials} == {TrialState.COMPLETE}
    chosen = study_of(0.1, pruner=optuna.pruners.MedianPruner(n_startup_trials=1))
    chosen.optimize(objective, n_trials=1)
    assert chosen.trials[0].intermediate_values


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ({"seed": 1}, "seed is 1, was 0"),
        ({"model": lambda: keras.Sequential(
            [keras.layers.Flatten(), keras.layers.Dense(4), keras.layers.Dense(10)]
        )}, "model.type is 'keras.Model', was 'MLP'"),
        ({"dataset": few_digits(train=119)}, "dataset.fingerprint is"),
        ({"space": RESTARTS}, "space.type is 'ControlSpace', was 'OffsetSpace'"),
    ],
)  # fmt: skip
def test_a_study_belongs_to_one_objective(
    objective: InitOffsetObjective, other: dict[str, Any], difference: str
) -> None:
    study = study_of(0.0)
    study.optimize(objective, n_trials=1)
    before = study.user_attrs
    arguments = {"model": MODEL, "dataset": DATA, "training": TRAINING, **other}
    with pytest.raises(ValueError, match=f"belongs to another objective.*{difference}"):
        InitOffsetObjective(**arguments).attach(study)
    assert study.user_attrs == before


def test_a_study_with_trials_of_something_else_is_refused(objective: InitOffsetObjective) -> None:
    study = optuna.create_study(direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("lr", 0, 1), n_trials=1)
    with pytest.raises(ValueError, match="trial 0 has lr, not weight_offset_0, bias_offset_0"):
        study.optimize(objective, n_trials=1)
    assert study.user_attrs == {}


def test_a_study_with_copied_trials_goes_on(objective: InitOffsetObjective) -> None:
    first = study_of(0.0, 0.1)
    first.optimize(objective, n_trials=2)
    second = optuna.create_study(direction="maximize")
    second.add_trials(first.trials)
    second.optimize(objective, n_trials=1)
    assert second.user_attrs[BASELINE] == first.user_attrs[BASELINE]


def test_a_study_with_the_id_of_a_deleted_one_is_not_taken_for_it(
    objective: InitOffsetObjective, url: str
) -> None:
    storage = open_storage(url)
    for _ in range(2):  # SQLite gives the second study the id of the deleted first study.
        study = study_of(0.0, storage=storage, study_name="a")
        study.optimize(objective, n_trials=1)
        assert {CONFIG, BASELINE, BASELINE_METRICS} <= study.user_attrs.keys()
        optuna.delete_study(study_name="a", storage=storage)


def convolutional(scale: float) -> InitOffsetObjective:
    """Return an objective with a model whose initial weights are given."""

    def build() -> keras.Model:
        layers = [keras.layers.Conv1D(4, 3), keras.layers.Flatten(), keras.layers.Dense(10)]
        model = keras.Sequential([keras.Input((8, 8)), *layers])
        draws = np.random.default_rng(0)
        model.set_weights([scale * draws.random(w.shape) for w in model.get_weights()])
        model.compile("adam", "mse")
        return model

    return InitOffsetObjective(build, DATA, training=TRAINING)


def test_a_study_belongs_to_its_initial_weights() -> None:
    study = study_of(0.0)
    convolutional(0.1).attach(study)
    convolutional(0.1 * (1 + 1e-7)).attach(study)
    with pytest.raises(ValueError, match=r"\(model starts from other initial weights\)"):
        convolutional(0.101).attach(study)


def test_threads_share_an_objective(objective: InitOffsetObjective) -> None:
    offsets = [0.02 * i for i in range(8)]
    values = {}
    for n_jobs in (1, 2):
        study = study_of(*offsets)
        study.optimize(objective, n_trials=8, n_jobs=n_jobs)
        values[n_jobs] = {
            t.params[NAMES[0]]: (t.value, t.user_attrs[OUTCOME]["metrics"]) for t in study.trials
        }
    assert len(values[1]) == 8
    assert values[1] == values[2]


def test_trials_side_by_side_have_the_values_that_each_alone_has(
    objective: InitOffsetObjective,
) -> None:
    alone = study_of(0.1, 0.0, 0.1, 0.2)
    alone.optimize(objective, n_trials=4)
    study = study_of(0.1, 0.0, 0.1, 0.2)
    trials = [study.ask(objective.distributions) for _ in range(4)]
    outcomes = objective.train(trials)
    assert [o.value for o in outcomes] == [t.value for t in alone.trials]
    for outcome, single in zip(outcomes, alone.trials, strict=True):
        assert outcome.metrics == single.user_attrs[OUTCOME]["metrics"]
    assert study.user_attrs[BASELINE_METRICS] == alone.user_attrs[BASELINE_METRICS]


def test_a_deadline_prunes_a_trial_and_marks_it_as_interrupted(
    objective: InitOffsetObjective,
) -> None:
    study = study_of(0.1)
    trial = study.ask(objective.distributions)
    [outcome] = objective.train([trial], deadline=0.0)
    outcome.store(trial, 1.5)
    assert (outcome.state, outcome.status) == (TrialState.PRUNED, "timeout")
    assert study.trials[0].system_attrs[ENDED] == "interrupted"
    assert study.trials[0].user_attrs[OUTCOME]["elapsed"] == 1.5
    assert BASELINE not in study.user_attrs


def test_a_stopped_trial_has_no_outcome(objective: InitOffsetObjective) -> None:
    study = study_of(0.1)
    stop = threading.Event()
    stop.set()
    [outcome] = objective.train([study.ask(objective.distributions)], stop=stop)
    assert outcome.status == "stopped"
    assert BASELINE not in study.user_attrs


def test_each_trial_stores_the_working_time_at_its_end(objective: InitOffsetObjective) -> None:
    study = study_of(0.0, 0.1, 0.05)
    study.optimize(objective, n_trials=3)
    elapsed = [trial.user_attrs[OUTCOME]["elapsed"] for trial in study.trials]
    seconds = sum(trial.duration.total_seconds() for trial in study.trials)  # type: ignore[union-attr]
    assert 0 < elapsed[0] < elapsed[1] < elapsed[2] <= seconds
    assert elapsed[2] == pytest.approx(seconds, abs=0.5)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, MemoryError])
def test_no_error_leaves_a_trial_running(
    objective: InitOffsetObjective, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: Any, **__: Any) -> Any:
        raise error

    study = study_of(0.1)
    monkeypatch.setattr(objective.trainer, "train", train)
    with pytest.raises(error):
        study.optimize(objective, n_trials=1)
    [trial] = study.trials
    assert trial.state == TrialState.FAIL
    assert trial.system_attrs[ENDED] == "interrupted"


def test_a_trial_that_another_worker_has_ended_is_not_evaluated(
    objective: InitOffsetObjective,
) -> None:
    study = study_of(0.1)
    [waiting] = study.trials
    study._storage.set_trial_system_attr(waiting._trial_id, ENDED, "interrupted")
    study.optimize(objective, n_trials=1)
    [trial] = study.trials
    assert trial.state == TrialState.PRUNED
    assert OUTCOME not in trial.user_attrs


def test_a_replaced_objective_shares_the_trainer(objective: InitOffsetObjective) -> None:
    replaced = objective.replace(seed=5, space=OffsetSpace(scope="shared"))
    assert replaced.trainer is objective.trainer
    assert (replaced.seed, objective.seed) == (5, 0)
    assert set(replaced.distributions) == {"offset"}
    assert set(objective.distributions) == set(NAMES)
    with pytest.raises(ValueError, match="seed must be a whole number"):
        objective.replace(seed=-1)


def test_a_replaced_objective_equals_a_new_one(objective: InitOffsetObjective) -> None:
    data, training = few_digits(val=30), dataclasses.replace(TRAINING, epochs=3)
    changed = objective.replace(dataset=data, training=training, metric="val_loss")
    expected = InitOffsetObjective(MODEL, data, training=training, metric="val_loss")
    assert changed.config == expected.config
    assert changed.direction == expected.direction != objective.direction
    back = changed.replace(dataset=DATA, training=TRAINING, metric="val_accuracy")
    assert back.config == objective.config
    longer = objective.replace(training=training)
    assert longer.trainer.training.epochs == 3
    assert longer.replace(training=TRAINING).trainer is objective.trainer


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"metric": "val_acc"}, "metric must be .* got 'acc'"),
        ({"metric": "test_accuracy"}, "metric must be one of .* got 'test_accuracy'"),
        ({"direction": "down"}, "direction must be 'minimize' or 'maximize'; got 'down'"),
        ({"dataset": few_digits(val=0)}, "has no validation split.*train_accuracy"),
        ({"dataset": "digits"}, "dataset must be a Dataset, such as .*; got 'digits' of type str"),
        ({"training": {"epochs": 3}}, "training must be a Training"),
        ({"space": (-1, 1)}, "space must be an OffsetSpace or RESTARTS"),
        ({"seed": True}, "seed must be a whole number"),
    ],
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any], error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        InitOffsetObjective(**{"model": MODEL, "dataset": DATA, **wrong})


def test_numpy_seeds_are_whole_numbers() -> None:
    objective = InitOffsetObjective(MODEL, DATA, seed=np.int64(3))  # type: ignore[arg-type]
    assert json.dumps(objective.config["seed"]) == "3"


def test_jit_compile_is_stored_and_used_again() -> None:
    def convolutional() -> keras.Model:
        layers = [keras.layers.Conv1D(2, 3), keras.layers.Flatten(), keras.layers.Dense(10)]
        return keras.Sequential([keras.Input((8, 8)), *layers])

    training, digits = Training(epochs=1, batch_size=256), load_dataset("digits")
    objective = InitOffsetObjective(convolutional, digits, training=training)
    assert objective.config["training"]["jit_compile"] is False
    study = optuna.create_study(direction="maximize")
    objective.attach(study)
    assert objective_from_study(study, None).training.jit_compile is False
    by_xla = objective.replace(training=dataclasses.replace(training, jit_compile=True))
    with pytest.raises(ValueError, match=r"training.jit_compile is True, was False"):
        by_xla.attach(study)
