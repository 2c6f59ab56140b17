"""The best network as a Keras model for the user."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import optuna
import pytest
from search_worker import quick_training

import adnn_optuna as adnn
from adnn_optuna.stats.intervals import gain_interval

if TYPE_CHECKING:
    from collections.abc import Callable

RNG = np.random.default_rng(0)
TABLE = RNG.normal((5, -300, 0.2), (1, 100, 0.01), (300, 3))
SUM = ((TABLE - (5, -300, 0.2)) / (1, 100, 0.01)).sum(axis=1)


def cnn() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3),
        ]
    )


def sigmoid() -> keras.Model:
    scaled = keras.layers.Rescaling((1, 0.01, 100), (-5, 3, -20))
    dense = [keras.layers.Dense(4), keras.layers.Dense(1, "sigmoid")]
    model = keras.Sequential([keras.Input((3,)), scaled, *dense])
    schedule = keras.optimizers.schedules.ExponentialDecay(0.3, 10, 0.9)
    optimizer = keras.optimizers.SGD(schedule, clipnorm=0.7)
    model.compile(optimizer, "binary_crossentropy", metrics=[keras.metrics.AUC(name="area")])
    return model


def searched(model: Any, x: Any, y: Any, *, metric: Any = None, **data: Any) -> adnn.SearchResult:
    dataset = adnn.Dataset.from_arrays(x, y, **data)
    training = quick_training(epochs=3)
    objective = adnn.InitOffsetObjective(model, dataset, training=training, metric=metric)
    return adnn.search(objective, optuna.samplers.RandomSampler(1), max_trial=3)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return RNG.integers(0, 256, (240, 6, 6, 3), dtype=np.uint8)


@pytest.mark.slow
def test_colour_images_with_names_of_classes(images: np.ndarray, tmp_path: Any) -> None:
    names = np.array(["blue", "green", "red"])[images.mean(axis=(1, 2)).argmax(axis=-1)]
    result = searched(cnn, images, names)
    probabilities = result.model().predict(images, verbose=0)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-5)
    predicted = result.predict(images)
    assert set(predicted) <= {"blue", "green", "red"}
    np.testing.assert_allclose(
        result.predict(images, probabilities=True), probabilities, atol=1e-5
    )
    classes = np.array(result._objective.dataset.classes)
    assert (classes[probabilities.argmax(axis=-1)] == predicted).all()
    right = predicted == names
    assert 0.99 < right.mean() * len(names) / (right.sum()) < 1.01
    result.model().save(tmp_path / "winner.keras")
    loaded = keras.models.load_model(tmp_path / "winner.keras")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), probabilities)
    numbers = np.searchsorted(classes, names)
    _, accuracy = loaded.evaluate(images, numbers, verbose=0)
    assert accuracy == pytest.approx(right.mean())


class Scaled(keras.Model):
    """A model with a function as argument, so Keras cannot write its configuration."""

    def __init__(self, scale: Any) -> None:
        super().__init__()
        self.scale = scale
        self.hidden = keras.layers.Dense(4)
        self.out = keras.layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.out(self.hidden(self.scale(x)))


def test_a_model_that_keras_cannot_save_has_a_contract(tmp_path: Any) -> None:
    def scaled() -> keras.Model:
        return Scaled(keras.ops.tanh)

    result = searched(scaled, TABLE, SUM > 0)
    with pytest.raises(NotImplementedError, match="get_config"):
        result.model().save(tmp_path / "winner.keras")
    result.contract().save(tmp_path / "c.json")
    verdict = adnn.verify(tmp_path / "c.json", dataset=result._objective.dataset, model=scaled)
    assert verdict.status == "exact"


def unbuilt() -> keras.Model:
    return keras.Sequential([keras.layers.Dense(4, "relu"), keras.layers.Dense(2)])


def functional() -> keras.Model:
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(4)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    model.compile(keras.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.9))
    return model


@pytest.mark.slow
@pytest.mark.parametrize("build", [unbuilt, functional])
def test_contract_and_file_of_models_without_input_or_with_averaged_weights(
    build: Callable[[], keras.Model], tmp_path: Any
) -> None:
    result = searched(build, TABLE, SUM > 0)
    result.contract().save(tmp_path / "c.json")
    assert adnn.verify(tmp_path / "c.json", dataset=result._objective.dataset).status == "exact"
    result.model().save(tmp_path / "c.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = keras.models.load_model(tmp_path / "c.keras")
    model.predict(TABLE, verbose=0)


@pytest.mark.slow
def test_two_classes_by_one_sigmoid_and_a_compiled_model(tmp_path: Any) -> None:
    result = searched(sigmoid, TABLE, SUM > 0, metric="val_area")
    training = result._objective.trainer.training
    assert training.optimizer["config"]["clipnorm"] == 0.7
    assert training.fixed_learning_rate is None
    assert result.study.direction.name == "MAXIMIZE"
    chances = result.model().predict(TABLE, verbose=0)[:, 0]
    predicted = result.predict(TABLE)
    assert predicted.dtype == bool
    np.testing.assert_allclose(result.predict(TABLE, probabilities=True)[:, 1], chances, atol=1e-5)
    np.testing.assert_allclose(result.predict(TABLE, probabilities=True).sum(axis=1), 1)
    assert (predicted == (chances > 0.5)).all()
    assert (predicted == (SUM > 0)).mean() > 0.8
    dataset = result._objective.dataset
    auc = keras.metrics.AUC()
    auc.update_state(
        dataset.y_val,
        result._objective.trainer.outputs([*result.contract().weights.values()], dataset.x_val)[
            :, 0
        ],
    )
    assert result.best_value == pytest.approx(float(auc.result()), abs=1e-6)
    result.contract().save(tmp_path / "c.json")
    assert adnn.verify(tmp_path / "c.json", dataset=dataset).status == "exact"
    result.model().save(tmp_path / "c.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = keras.models.load_model(tmp_path / "c.keras")
    assert model.optimizer.clipnorm == 0.7


@pytest.mark.parametrize(
    "metric",
    [
        "val_mean_absolute_percentage_error",
        *(pytest.param(metric, marks=pytest.mark.slow) for metric in (None, "val_rmse")),
    ],
)
def test_a_regression_is_predicted_scored_and_verified(metric: Any, tmp_path: Any) -> None:
    result = searched(adnn.MLP((16,)), TABLE, 40 + SUM, task="regression", metric=metric)
    assert result.study.direction.name == ("MAXIMIZE" if metric is None else "MINIMIZE")
    dataset = result._objective.dataset
    predicted = result.predict(TABLE)
    with pytest.raises(ValueError, match="no probabilities of classes; call predict"):
        result.predict(TABLE, probabilities=True)
    assert predicted.shape == (300,)
    np.testing.assert_allclose(
        result.model().predict(TABLE, verbose=0)[:, 0], predicted, rtol=1e-3
    )
    outputs = result._objective.trainer.outputs(
        [*result.contract().weights.values()], dataset.x_test
    )[:, 0]
    squared = ((outputs - dataset.y_test) ** 2).mean()
    expected = {
        None: 1 - squared / dataset.y_test.var(),
        "val_rmse": np.sqrt(squared),
        "val_mean_absolute_percentage_error": 100
        * np.abs((outputs - dataset.y_test) / dataset.y_test).mean(),
    }
    assert result.test_value == pytest.approx(float(expected[metric]), rel=1e-5)
    assert result.test_metrics["r2"] == pytest.approx(float(expected[None]), rel=1e-5)
    sign = 1 if metric is None else -1
    assert result.test_gain == sign * (result.test_value - result.test_baseline)
    low, high = gain_interval(result.record.test_evaluation, result.test_gain)
    assert low <= result.test_gain <= high
    result.contract().save(tmp_path / "c.json")
    assert adnn.verify(tmp_path / "c.json", dataset=dataset).status == "exact"


def test_a_metric_that_does_not_fit_is_refused_with_the_reason() -> None:
    three = adnn.Dataset.from_arrays(TABLE, np.digitize(SUM, (-1, 1)))
    with pytest.raises(ValueError, match=r"'f1_score' must be one number .* Pass an average"):
        adnn.InitOffsetObjective(adnn.MLP((4,)), three, metric="val_f1_score")


def test_a_test_set_evaluation_stores_the_largest_class() -> None:
    result = searched(adnn.MLP((4,)), TABLE, np.where(SUM > 1, "yes", "no"))
    look, dataset = result.record.test_evaluation, result._objective.dataset
    names = [*(dataset.classes or ())]
    counts = [int((dataset.y_test == i).sum()) for i in range(2)]
    assert (look["n_classes"], names) == (2, ["no", "yes"])
    assert (look["largest_class"], look["n_largest"]) == ("no", counts[0])
