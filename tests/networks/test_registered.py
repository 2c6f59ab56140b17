"""User-defined losses, metrics, schedules and layers are used if they are registered."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
from baseline_runs import train_baseline
from search_worker import quick_training

from adnn_optuna.networks import keras_files
from adnn_optuna.networks._scores import Scores
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.models import MLP, Training
from adnn_optuna.networks.network import Head, build_architecture
from adnn_optuna.networks.training import Trainer

X = np.random.default_rng(0).normal(size=(90, 3))
registered = keras.saving.register_keras_serializable("tests")


@registered
class Squares(keras.losses.Loss):
    def __init__(self, factor: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.factor = factor

    def call(self, y: Any, outputs: Any) -> Any:
        return self.factor * keras.ops.mean((y - outputs) ** 2, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


class Unregistered(Squares):
    pass


@registered
def squares(y: Any, outputs: Any) -> Any:
    return keras.ops.mean((y - outputs) ** 2, axis=-1)


def unregistered(y: Any, outputs: Any) -> Any:
    return squares(y, outputs)


@registered
def by_numbers(y: Any, outputs: Any) -> Any:
    return keras.losses.sparse_categorical_crossentropy(y, outputs, from_logits=True)


@registered
class Falling(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, first: float) -> None:
        self.first = first

    def __call__(self, step: Any) -> Any:
        return self.first / (1.0 + keras.ops.cast(step, "float32"))

    def get_config(self) -> dict[str, float]:
        return {"first": self.first}


@registered
class Largest(keras.metrics.Metric):
    def __init__(self, name: str = "largest", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.total = self.add_weight(name="total", initializer="zeros")

    def update_state(self, y: Any, outputs: Any, sample_weight: Any = None) -> None:
        error = keras.ops.max(keras.ops.abs(y - outputs))
        self.total.assign(keras.ops.maximum(self.total, error))

    def result(self) -> Any:
        return self.total


@registered
class Twice(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return 2 * keras.ops.sin(x)


def trained(model: Any, training: Training) -> dict[str, float]:
    data = Dataset.from_arrays(X, X.sum(axis=1), task="regression")
    trainer = Trainer(build_architecture(model, (3,), None), training, data)
    return train_baseline(trainer).metrics


@pytest.mark.parametrize("loss", [Squares(3.0), pytest.param(squares, marks=pytest.mark.slow)])
def test_registered_parts_train_like_those_of_keras(loss: Any) -> None:
    settings: dict[str, Any] = {"optimizer": keras.optimizers.SGD(Falling(0.1)), "epochs": 2}
    settings["jit_compile"] = loss is squares  # XLA in one case is enough.
    training = Training(loss=loss, metrics=(Largest(), squares), **settings)
    alike = Training("sgd", Falling(0.1), loss=loss, epochs=2, jit_compile=settings["jit_compile"])
    again = Training(**json.loads(json.dumps(training.config)))
    assert again == training
    scores = trained(MLP(), again)
    assert scores == trained(MLP(), training)
    for again in (alike, Training(**json.loads(json.dumps(alike.config)))):
        assert trained(MLP(), again)["val_loss"] == scores["val_loss"]
    factor = 3 if isinstance(loss, Squares) else 1
    assert scores["val_loss"] == pytest.approx(factor * scores["val_squares"], rel=1e-5)
    assert scores["val_largest"] >= scores["val_rmse"]
    if factor == 1:
        keras_loss = Training(loss="mean_squared_error", **settings)
        assert scores["val_loss"] == pytest.approx(
            trained(MLP(), keras_loss)["val_loss"], rel=1e-5
        )


def test_a_loss_that_takes_class_numbers_gets_them() -> None:
    assert Scores(Head(3, 3), "tests>by_numbers", ()).takes_integers


@registered
def of_a_batch(y: Any, outputs: Any) -> Any:
    return keras.ops.mean((y - outputs) ** 2)


@registered
def of_each_output(y: Any, outputs: Any) -> Any:
    return (y - outputs) ** 2


@pytest.mark.parametrize("loss", [of_a_batch, of_each_output])
def test_registered_losses_may_return_any_shape(loss: Any) -> None:
    y, outputs = np.random.default_rng(0).random((2, 4, 2), np.float32)
    losses = np.asarray(Scores(Head(None, 2), f"tests>{loss.__name__}", ()).loss(y, outputs))
    assert losses.shape == (4,)
    model = keras.Sequential([keras.Input((2,))])
    model.compile(loss=loss)
    theirs = model.compute_loss(y=y, y_pred=keras.ops.convert_to_tensor(outputs))
    assert losses.mean() == pytest.approx(float(theirs), rel=1e-6)


def test_registered_parts_may_be_passed_by_name() -> None:
    for loss in ("tests>Squares", "tests>squares"):
        scores = Scores(Head(None, 2), loss, ["tests>Largest", "tests>squares"])
        assert scores.names[-2:] == ["largest", "squares"]
        losses = scores.loss(np.zeros((3, 2), np.float32), np.ones((3, 2), np.float32))
        np.testing.assert_array_equal(losses, [1, 1, 1])


@pytest.mark.slow
@pytest.mark.parametrize("loss", [Squares(3.0), pytest.param(squares, marks=pytest.mark.slow)])
def test_a_model_may_be_compiled_with_registered_parts(loss: Any) -> None:
    def build() -> keras.Model:
        model = keras.Sequential([keras.Input((3,)), Twice(), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(Falling(0.1)), loss, metrics=[Largest(), squares])
        return model

    scores = trained(build, quick_training(epochs=2))
    config = build_architecture(build, (3,), None).config
    assert trained(keras_files.model_from_config(config), quick_training(epochs=2, loss=loss))
    expected = trained(
        MLP(hidden=(3,)), quick_training(loss=loss, metrics=(Largest(), squares), epochs=1)
    )
    assert scores.keys() == expected.keys()


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": Unregistered()},
        {"loss": unregistered},
        {"metrics": [unregistered]},
        {"loss": "mse", "metrics": [type("Other", (Largest,), {})()]},
    ],
)
def test_unregistered_parts_are_refused(settings: dict[str, Any]) -> None:
    def build() -> keras.Model:
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile("sgd", **settings)
        return model

    with pytest.raises((TypeError, ValueError), match="not registered"):
        trained(build, Training())
    with pytest.raises((TypeError, ValueError), match="not registered"):
        Training(**{**settings, "metrics": settings.get("metrics", [])})
