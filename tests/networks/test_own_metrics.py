"""User-defined metrics equal the values of Keras's ``evaluate``."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from baseline_runs import train_baseline
from search_worker import quick_training

import adnn_optuna as adnn
from adnn_optuna._checks import WrongTypeError, WrongValueError
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.models import MLP
from adnn_optuna.networks.network import build_architecture
from adnn_optuna.networks.training import Trainer

ops, registered = keras.ops, keras.saving.register_keras_serializable("own_metrics")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 4)).astype(np.float32)
CLASSES = (X[:, 0] + RNG.normal(size=150) > 0).astype(np.int64) + (X[:, 1] > 0.5)
N_CLASSES = 3


def one_hot(labels: Any) -> Any:
    """Return one-hot rows for labels in either form."""
    if len(labels.shape) == 2:
        return ops.cast(labels, "float32")
    return ops.one_hot(ops.cast(labels, "int32"), N_CLASSES)


@registered
def gap(labels: Any, outputs: Any) -> Any:
    return ops.mean(ops.cast(labels, "float32")) - ops.mean(outputs)


@registered
def brier(labels: Any, outputs: Any) -> Any:
    return ops.sum((one_hot(labels) - outputs) ** 2, axis=-1)


def _entropy(_: Any, outputs: Any) -> Any:
    return -ops.sum(outputs * ops.log(ops.abs(outputs) + 1e-7), axis=-1)


registered(_entropy)


@registered
class LargestError(keras.metrics.Metric):
    def __init__(self, name: str = "largest_error", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.largest = self.add_weight(name="largest", initializer="zeros")

    def update_state(self, labels: Any, outputs: Any, sample_weight: Any = None) -> None:
        error = ops.max(ops.abs(one_hot(labels) - outputs))
        self.largest.assign(ops.maximum(self.largest, error))

    def result(self) -> Any:
        return self.largest


@registered
class MacroF1(keras.metrics.F1Score):
    def __init__(self, name: str = "macro_f1", **options: Any) -> None:
        super().__init__(**{"average": "macro", "name": name, **options})

    def update_state(self, labels: Any, outputs: Any, sample_weight: Any = None) -> None:
        super().update_state(one_hot(labels), outputs, sample_weight)


@registered
class Weighted(keras.metrics.Metric):
    """A metric with an argument for weights, which Keras passes as None."""

    def __init__(self, name: str = "weighted", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.total = self.add_weight(name="total", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, labels: Any, outputs: Any, sample_weight: Any) -> None:
        right = ops.argmax(one_hot(labels), axis=-1) == ops.argmax(outputs, axis=-1)
        right = ops.cast(right, "float32")
        weights = ops.ones_like(right) if sample_weight is None else sample_weight
        self.total.assign_add(ops.sum(weights * right))
        self.count.assign_add(ops.sum(weights))

    def result(self) -> Any:
        return self.total / self.count


@registered
def absolute(targets: Any, outputs: Any) -> Any:
    return ops.mean(ops.abs(targets - outputs), axis=-1)


@registered
def of_rows(targets: Any, outputs: Any) -> Any:
    return ops.abs(targets - outputs)[:, 0]


@registered
def in_shape(targets: Any, outputs: Any) -> Any:
    return ops.abs(ops.reshape(targets, (-1,)) - ops.reshape(outputs, (-1,)))


@registered
class MeanSquare(keras.metrics.Mean):
    def update_state(self, targets: Any, outputs: Any, sample_weight: Any = None) -> None:
        super().update_state((targets - outputs) ** 2, sample_weight)


OWN = (
    *(gap, brier, keras.metrics.MeanMetricWrapper(_entropy, name="sparse_entropy")),
    *(LargestError(), MacroF1(), Weighted()),
)


def trained(build: Any, data: Dataset, **settings: Any) -> tuple[Trainer, Any]:
    architecture = build_architecture(build, (4,), data.num_classes, data.n_outputs)
    trainer = Trainer(architecture, quick_training(epochs=2, **settings), data)
    return trainer, train_baseline(trainer)


def by_keras(trainer: Trainer, weights: Any, y: Any, loss: Any, own: Any) -> dict[str, float]:
    model = trainer.architecture.build(0, 0)
    model.set_weights(weights)
    # The metric objects keep values from another model that was compiled with them.
    metrics = [type(m).from_config(m.get_config()) if hasattr(m, "get_config") else m for m in own]
    model.compile(loss=loss, metrics=metrics)
    scores: dict[str, float] = model.evaluate(
        trainer.dataset.x_val, y, verbose=0, return_dict=True
    )
    return {name: scores[name] for name in scores if name != "loss"}


def assert_alike(run: Any, expected: dict[str, float]) -> None:
    scores = {name: run.metrics[f"val_{name}"] for name in expected}
    assert scores == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("loss", "activation"),
    [
        ("sparse_categorical_crossentropy", "softmax"),
        pytest.param("categorical_crossentropy", None, marks=pytest.mark.slow),
    ],
)
def test_metrics_of_classes_equal_keras(loss: str, activation: str | None) -> None:
    def build() -> keras.Model:
        layers = [keras.Input((4,)), keras.layers.Dense(N_CLASSES, activation)]
        return keras.Sequential(layers)

    data = Dataset.from_arrays(X, CLASSES)
    trainer, run = trained(build, data, loss=loss, metrics=OWN)
    y = data.y_val if loss.startswith("sparse") else np.eye(N_CLASSES)[data.y_val]
    keras_loss = keras.losses.get({"class_name": loss, "config": {}})
    if not activation:
        kinds = keras.losses.SparseCategoricalCrossentropy, keras.losses.CategoricalCrossentropy
        keras_loss = kinds[not loss.startswith("sparse")](from_logits=True)
    expected = by_keras(trainer, run.weights, y, keras_loss, OWN)
    assert len(expected) == len(OWN)
    assert_alike(run, expected)


@pytest.mark.slow
def test_metrics_of_a_single_probability_equal_keras() -> None:
    def build() -> keras.Model:
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])

    data = Dataset.from_arrays(X, CLASSES > 0)
    own_metrics = (
        absolute,
        of_rows,
        in_shape,
        MeanSquare(),
        keras.metrics.MeanMetricWrapper(absolute, name="wrapped"),
    )
    trainer, run = trained(build, data, metrics=own_metrics)
    y = data.y_val.astype(np.float32)[:, np.newaxis]
    expected = by_keras(trainer, run.weights, y, "binary_crossentropy", own_metrics)
    assert expected["absolute"] == pytest.approx(expected["of_rows"])
    assert_alike(run, expected)


@pytest.mark.parametrize("n_targets", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_metrics_of_a_regression_equal_keras(n_targets: int) -> None:
    def build() -> keras.Model:
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(n_targets)])

    targets = X[:, :n_targets] + 0.1 * RNG.normal(size=(150, n_targets))
    data = Dataset.from_arrays(X, targets, task="regression")
    own_metrics = (absolute, MeanSquare(), *([of_rows, in_shape] if n_targets == 1 else []))
    trainer, run = trained(build, data, loss="mean_squared_error", metrics=own_metrics)
    y = data.y_val.reshape(-1, n_targets)
    assert_alike(run, by_keras(trainer, run.weights, y, "mean_squared_error", own_metrics))


def test_a_search_selects_by_the_same_values() -> None:
    data = Dataset.from_arrays(X, CLASSES)
    training = quick_training(epochs=1, metrics=(brier,))
    objective = adnn.InitOffsetObjective(
        MLP((4,)), data, training=training, metric="val_brier", direction="minimize"
    )
    result = adnn.search(objective, "random_restart", max_trial=3, confirm=0, test=False)
    model = result.model()
    scores = model.evaluate(data.x_val, data.y_val, verbose=0, return_dict=True)
    assert result.best_value == pytest.approx(scores["brier"], rel=1e-4)
    assert len({trial.value for trial in result.study.trials}) == 3


@registered
def of_one_hot_rows(labels: Any, outputs: Any) -> Any:
    return ops.sum(labels * outputs, axis=-1)


@registered
def by_numpy(labels: Any, outputs: Any) -> Any:
    return float(np.mean(outputs.numpy()))


@registered
class InPython(keras.metrics.Metric):
    def __init__(self, name: str = "in_python", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.seen: list[Any] = []

    def update_state(self, labels: Any, outputs: Any, sample_weight: Any = None) -> None:
        self.seen.append(ops.mean(outputs))

    def result(self) -> Any:
        return ops.mean(ops.stack(self.seen))


@pytest.mark.parametrize("metric", [of_one_hot_rows, by_numpy, InPython()])
def test_metrics_that_keras_cannot_compute_are_refused_before_training(metric: Any) -> None:
    data = Dataset.from_arrays(X, CLASSES)
    with pytest.raises(WrongValueError, match=r"must take what Keras passes it for this loss and"):
        adnn.InitOffsetObjective(MLP((4,)), data, training=quick_training(metrics=(metric,)))


def test_functions_that_no_study_can_store_are_refused() -> None:
    for metric in (lambda labels, _: labels, keras.metrics.MeanMetricWrapper(lambda y, _: y)):
        with pytest.raises(WrongTypeError, match=r"registered"):
            quick_training(metrics=(metric,))
