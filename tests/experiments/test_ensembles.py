"""The control that averages networks equals a plain average of predictions."""

from __future__ import annotations

import math
import random
import threading
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from search_worker import make_objective, quick_training
from test_execution import run

import adnn_optuna as adnn
from adnn_optuna.callbacks import checked_limits as limits_of
from adnn_optuna.engine.records import read_record
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.engine.studies import StudySpec
from adnn_optuna.experiments.confirmation import evaluate_test_set
from adnn_optuna.experiments.controls import ARMS

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from adnn_optuna import InitOffsetObjective


@pytest.fixture(scope="module")
def objective() -> InitOffsetObjective:
    return make_objective(training=quick_training(epochs=2, batch_size=100))


def plan_of(objective: InitOffsetObjective, n: int, **limits: Any) -> StudySpec:
    return StudySpec(objective, "mine", "ensemble", limits_of(max_trial=n, **limits))


def members_of(objective: InitOffsetObjective, n: int) -> list[InitOffsetObjective]:
    """Return objectives whose baseline networks are the members of an ensemble."""
    starts = ARMS["ensemble"].objective(objective, n).starts({"members": n})
    return [objective.replace(seed=start.seed) for start in starts]


def test_an_ensemble_is_the_average_of_separately_trained_networks(
    objective: InitOffsetObjective, storage: BaseStorage
) -> None:
    record = run(plan_of(objective, 3), open_storage(storage))
    [trial] = record.study.trials
    members = members_of(objective, 3)
    assert members[0].seed == objective.seed
    assert len({member.seed for member in members}) == 3
    data, of_val, of_test = objective.dataset, [], []
    for member in members:
        model = adnn.search(member, "greedy", max_trial=1, test=False).model()
        val, test = (model.predict(x, verbose=0) for x in (data.x_val, data.x_test))
        of_val.append(val)
        of_test.append(test)
    values = [
        float((np.mean(of_val[:n], axis=0).argmax(axis=1) == data.y_val).mean()) for n in (1, 2, 3)
    ]
    assert trial.intermediate_values == pytest.approx(dict(enumerate(values, start=1)))
    assert (trial.value, trial.params) == (pytest.approx(values[-1]), {"members": 3})
    assert record.baseline == pytest.approx(values[0])
    right = np.mean(of_test, axis=0).argmax(axis=1) == data.y_test
    assert record.test_value == pytest.approx(right.mean())
    assert record.test_baseline == pytest.approx((of_test[0].argmax(axis=1) == data.y_test).mean())
    losses = -np.log(np.mean(of_val, axis=0)[np.arange(len(data.y_val)), data.y_val])
    metrics = trial.user_attrs["adnn:outcome"]["metrics"]
    assert metrics["val_loss"] == pytest.approx(losses.mean(), rel=1e-4)
    # To test the networks, another process must train them again; the result is the same.
    again = read_record(record.study)
    [name] = [name for name in again.attrs if name.startswith("adnn:test/")]
    del again.attrs[name]
    searched: Any = plan_of(objective, 3).plan.objective
    again = evaluate_test_set(again, searched, threading.Event())
    evaluations: list[Any] = [again.test_evaluation, record.test_evaluation]
    assert {**evaluations[0], "evaluated_at": ""} == {**evaluations[1], "evaluated_at": ""}


def test_diverged_networks_are_left_out_of_an_ensemble(objective: InitOffsetObjective) -> None:
    def careless() -> keras.Model:
        """Return a model whose weights are sometimes far too large."""
        high = 3e38 if random.random() < 0.5 else 0.1
        uniform = keras.initializers.RandomUniform(0, high)
        dense = keras.layers.Dense(10, kernel_initializer=uniform)
        return keras.Sequential([keras.Input((8, 8)), keras.layers.Flatten(), dense])

    training = quick_training(epochs=1, batch_size=500)
    data = objective.dataset
    some = adnn.InitOffsetObjective(
        careless, data, training=training, space=adnn.OffsetSpace(include_output=True), seed=3
    )
    record = run(plan_of(some, 6))
    [trial] = record.done_trials
    n = record.n_networks
    assert trial.params == {"members": 6}
    assert 0 < n < 6
    assert trial.value == [*trial.intermediate_values.values()][-1]


class OfEachColumn(keras.regularizers.Regularizer):
    """A regularizer that returns several numbers, whose sum Keras uses."""

    def __call__(self, kernel: Any) -> Any:
        return 0.1 * keras.ops.sum(kernel**2, axis=0)

    def get_config(self) -> dict[str, Any]:
        return {}


def test_losses_that_layers_add_are_averaged_too(objective: InitOffsetObjective) -> None:
    def regularized() -> keras.Model:
        dense = keras.layers.Dense(10, kernel_regularizer=OfEachColumn())
        return keras.Sequential([keras.Input((8, 8)), keras.layers.Flatten(), dense])

    training = quick_training(epochs=1, batch_size=500)
    settings: Any = {"training": training, "metric": "val_loss"}
    space = adnn.OffsetSpace(include_output=True)
    some = adnn.InitOffsetObjective(regularized, objective.dataset, space=space, **settings)
    record = run(plan_of(some, 2))
    [trial] = record.done_trials
    assert trial.intermediate_values[1] == pytest.approx(record.baseline, rel=1e-5)
    alone = [member.trainer.train([member.baseline_start])[0] for member in members_of(some, 2)]
    mean = np.mean([member.metrics["val_loss"] for member in alone])
    # By convexity, the average is a little better. The additional layers' losses add more than 1.
    assert mean - 0.2 < trial.value < mean


def test_an_ensemble_without_time_for_one_network_is_over(objective: InitOffsetObjective) -> None:
    record = run(plan_of(objective, 3, max_time=1e-9))
    assert record.is_over
    assert math.isnan(record.test_value)
