"""Trained networks for users: models of raw inputs, single and averaged."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from search_worker import quick_training

import adnn_optuna as adnn
from adnn_optuna.networks.predictors import Predictor

RNG = np.random.default_rng(0)
TABLE = RNG.normal(5, 3, (200, 4)).round(2)
SUM = TABLE.sum(axis=1)


class Subclassed(keras.Model):
    """A model that is not a graph of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = keras.layers.Dense(4, activation="tanh")
        self.last = keras.layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.last(self.hidden(x))


def single() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])


KINDS: dict[str, tuple[Any, np.ndarray]] = {
    "a single output": (single, np.where(SUM > 20, "yes", "no")),
    "a subclassed model": (Subclassed, SUM),
}


def test_samples_of_another_shape_are_refused() -> None:
    data = adnn.Dataset.from_arrays(TABLE, SUM > 20)
    trainer = adnn.InitOffsetObjective(adnn.MLP((2,)), data).trainer
    with pytest.raises(ValueError, match=r"must have the shape \(4,\), but one has \(3,\)"):
        Predictor(trainer, list).predict(TABLE[:, :3])


@pytest.mark.parametrize(
    "kind", ["a single output", pytest.param("a subclassed model", marks=pytest.mark.slow)]
)
def test_an_average_is_the_average_of_its_networks_predictions(kind: str) -> None:
    model, y = KINDS[kind]
    task: Any = {} if kind == "a single output" else {"task": "regression"}
    data = adnn.Dataset.from_arrays(TABLE, y, **task)
    space = adnn.OffsetSpace(include_output=True)
    training = quick_training(optimizer="adam", learning_rate=0.05, epochs=5)
    objective = adnn.InitOffsetObjective(model, data, training=training, space=space)
    trainer = objective.trainer
    starts = [objective.replace(seed=seed).baseline_start for seed in range(3)]
    weights = [run.weights for run in trainer.train_in_turn(starts)]
    alone = [Predictor(trainer, lambda w=w: [w]) for w in weights]  # type: ignore[misc]
    together = Predictor(trainer, lambda: weights)
    of_alone = [predictor.model().predict(TABLE, verbose=0) for predictor in alone]
    mean = np.mean(of_alone, axis=0)
    predictions = together.model().predict(TABLE, verbose=0)
    np.testing.assert_allclose(predictions, mean, atol=1e-5)
    assert np.ptp(of_alone, axis=0).max() > 1e-3
    predicted = together.predict(TABLE)
    if task:
        np.testing.assert_allclose(predicted, mean[:, 0], rtol=1e-5)
        with pytest.raises(ValueError, match="regression has no probabilities"):
            together.predict_proba(TABLE)
        return
    chances = together.predict_proba(TABLE)
    assert chances.shape == (200, len(set(y)))
    assert together.predict(TABLE[:0]).shape == (0,)
    assert alone[0].predict_proba(TABLE[:0]).shape == (0, 2)
    labels = np.asarray(data.classes)
    np.testing.assert_array_equal(predicted, labels[chances.argmax(axis=1)])


CATEGORICAL = pytest.param("categorical_crossentropy", marks=pytest.mark.slow)


@pytest.mark.parametrize("loss", [None, CATEGORICAL])
def test_a_model_is_evaluated_with_labels_in_the_form_of_its_loss(loss: str | None) -> None:
    data = adnn.Dataset.from_arrays(TABLE, SUM > 20)
    metrics = ("auc", "sparse_categorical_accuracy")
    training = quick_training(metrics=metrics, loss=loss)
    objective = adnn.InitOffsetObjective(adnn.MLP((4,)), data, training=training)
    weights = objective.trainer.initial_weights(objective.baseline_start)
    model = Predictor(objective.trainer, lambda: [weights]).model()
    labels = (SUM > 20).astype(int)
    scores = model.evaluate(
        TABLE, np.eye(2)[labels] if loss else labels, verbose=0, return_dict=True
    )
    right = model.predict(TABLE, verbose=0).argmax(axis=1) == labels
    assert scores["accuracy"] == pytest.approx(right.mean())
    assert (metrics[1] in scores) != bool(loss)
    # Keras appends a number to the name.
    assert any(name.startswith("auc") for name in scores) == bool(loss)
