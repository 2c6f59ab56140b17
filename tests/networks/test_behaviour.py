"""Edits of the user's code are detected, although its names stay the same."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from baseline_runs import train_baseline
from search_worker import quick_training

from adnn_optuna._differences import config_differences
from adnn_optuna.experiments.experiment import Experiment
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.models import MLP

ops = keras.ops
DATA = Dataset.from_arrays(np.random.default_rng(0).normal(size=(60, 4)), [0, 1, 2] * 20)
registered = keras.saving.register_keras_serializable("edited")


def network(**changes: Any) -> Any:
    """Return a class of models with the same name and initial weights for all changes."""
    edits: dict[str, Any] = {"activation": "relu", "rate": 0.2, "l2": 1e-4, "stops": False}
    edits |= changes

    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            regularizer = keras.regularizers.L2(edits["l2"])
            self.first = keras.layers.Dense(5, kernel_regularizer=regularizer)
            self.dropout = keras.layers.Dropout(edits["rate"])
            self.last = keras.layers.Dense(3)

        def call(self, x: Any, training: bool = False) -> Any:
            x = getattr(ops, edits["activation"])(self.first(x))
            x = ops.stop_gradient(x) if edits["stops"] else x
            return self.last(self.dropout(x, training=training))

    return Net


def register(**changes: Any) -> dict[str, Any]:
    """Register the parts of a training under the same names for all changes."""
    edits = {"power": 1.0, "threshold": 0.5, "falls_at": 5000, "step": 1.0, **changes}

    @registered
    def loss(y: Any, outputs: Any) -> Any:
        losses = keras.losses.sparse_categorical_crossentropy(y, outputs, from_logits=True)
        return losses ** edits["power"]

    loss.__name__ = "sparse_power"
    registered(loss)

    @registered
    def share(y: Any, outputs: Any) -> Any:
        return ops.mean(ops.cast(outputs > edits["threshold"], "float32"), axis=-1)

    @registered
    class Schedule(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            return ops.where(ops.cast(step, "int32") < edits["falls_at"], 0.1, 0.01)

        def get_config(self) -> dict[str, Any]:
            return {}

    @registered
    class Optimizer(keras.optimizers.SGD):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            super().update_step(edits["step"] * gradient, variable, learning_rate)

    return {"loss": loss, "metrics": [share], "optimizer": Optimizer(Schedule())}


def experiment(model: Any, **settings: Any) -> Experiment:
    return Experiment(model, DATA, training=quick_training(epochs=2, **settings))


@pytest.mark.parametrize(
    ("part", "edit"),
    [
        ("network", {"activation": "tanh"}),
        ("network", {"rate": 0.3}),
        ("regularizers", {"l2": 2e-4}),
        ("gradients", {"stops": True}),
        ("", {}),
    ],
)
def test_an_edit_of_a_model_is_found(part: str, edit: dict[str, Any]) -> None:
    config, edited = experiment(network()).config, experiment(network(**edit)).config
    sentence = f"your code of the {part} computes something else"
    assert config_differences(config, edited) == ([sentence] if part else [])


@pytest.mark.parametrize(
    ("part", "edit"),
    [
        ("loss", {"power": 1.1}),
        ("metrics", {"threshold": 0.1}),
        ("learning rate", {"falls_at": 500}),
        ("optimizer", {"step": 1.1}),
        ("", {}),
    ],
)
def test_an_edit_of_a_part_of_the_training_is_found(part: str, edit: dict[str, Any]) -> None:
    config = experiment(MLP((4,)), **register()).config
    edited = experiment(MLP((4,)), **register(**edit)).config
    sentence = f"your code of the {part} computes something else"
    assert config_differences(config, edited) == ([sentence] if part else [])


def test_rounding_of_another_processor_is_not_an_edit() -> None:
    config = experiment(network(), **register()).config
    numbers = np.random.default_rng(0)
    behaviour = {
        part: [norm * (1 + 1e-5 * numbers.normal()), mixed + 1e-5 * norm, rounding]
        for part, (norm, mixed, rounding) in config["behaviour"].items()
    }
    assert not config_differences(config, {**config, "behaviour": behaviour})


def test_a_configuration_describes_classes_of_keras_completely() -> None:
    def build() -> keras.Model:
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2), keras.layers.Dense(3)])

    assert "behaviour" not in experiment(build).config
    assert "behaviour" not in experiment(MLP((4,))).config


def test_edited_code_is_compiled_again() -> None:
    edited: Any = {}

    def build() -> keras.Model:  # As when a notebook's cell with the class runs again.
        return edited["class"]()

    values = []
    for activation in ("relu", "tanh"):
        edited["class"] = network(activation=activation)
        trainer = Experiment(build, DATA, training=quick_training(epochs=1)).trainer
        values.append(train_baseline(trainer).metrics["val_loss"])
    assert values[0] != values[1]
