"""The inputs of a Keras model, and the meaning of its outputs, are the same as in `fit`."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from baseline_runs import train_baseline
from search_worker import quick_training

from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.inspection import scales_inputs
from adnn_optuna.networks.network import build_architecture
from adnn_optuna.networks.predictors import Predictor
from adnn_optuna.networks.training import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

L = keras.layers
N = 400
slow = functools.partial(pytest.param, marks=pytest.mark.slow)
RNG = np.random.default_rng(0)
WORDS = RNG.integers(0, 50, (N, 6))
HAS_WORD = (WORDS < 5).any(axis=1)
TABLE = np.column_stack([RNG.integers(0, 9, N), RNG.normal(1000, 300, N), RNG.normal(0, 1e-3, N)])
IN_TABLE = np.isin(TABLE[:, 0], [1, 4, 8])
IMAGES = RNG.integers(0, 256, (N, 6, 6)).astype(np.uint8)
IMAGES[: N // 2, 2:4] //= 4


@pytest.fixture
def said(logs: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Return a capture of Optuna's logs of all levels."""
    logs.set_level(logging.INFO, logger="optuna")
    return logs


def trained(build: Callable[[], keras.Model], data: Dataset, **settings: Any) -> Trainer:
    architecture = build_architecture(
        build, data.x_train.shape[1:], data.num_classes, input_dtype=data.x_train.dtype.name
    )
    training = quick_training(epochs=20, learning_rate=0.02, **settings)
    trainer = Trainer(architecture, training, data)
    trainer.run = train_baseline(trainer)  # type: ignore[attr-defined]
    return trainer


def fitted(build: Callable[[], keras.Model], x: Any, y: Any) -> float:
    """Return the validation accuracy after `fit` on unchanged inputs."""
    data = Dataset.from_arrays(x, y)
    keras.utils.set_random_seed(0)
    model = build()
    is_single = model(data.x_train[:1]).shape[-1] == 1
    if not model.compiled:
        logits = model.layers[-1].activation is keras.activations.linear
        losses = keras.losses
        kind = losses.BinaryCrossentropy if is_single else losses.SparseCategoricalCrossentropy
        model.compile(loss=kind(from_logits=logits))
    model.optimizer = keras.optimizers.Adam(0.02)
    # XLA is off, because it takes longest and would give the same results.
    model.compile(model.optimizer, model.loss, jit_compile=False)
    labels = data.y_train[:, None] if is_single else data.y_train
    model.fit(data.x_train, labels, epochs=20, verbose=0)
    outputs = np.asarray(model(data.x_val))
    predicted = outputs[:, 0] > 0.5 if is_single else outputs.argmax(axis=1)
    return float((predicted == data.y_val).mean())


def embedding() -> keras.Model:
    hidden = [L.Embedding(50, 8), L.Flatten(), L.Dense(16, "relu"), L.Dense(2)]
    return keras.Sequential([keras.Input((6,)), *hidden])


def embedding_of_integers() -> keras.Model:
    x = keras.Input((6,), dtype="int32")
    words = L.GlobalMaxPooling1D()(L.Embedding(50, 8, mask_zero=True)(L.Reshape((6,))(x)))
    return keras.Model(x, L.Dense(2)(words))


class OneHot(keras.Model):
    """A model that accepts only integers and whose input shape is unknown to Keras."""

    def __init__(self) -> None:
        super().__init__()
        self.last = L.Dense(2)

    def call(self, x: Any) -> Any:
        return self.last(tf.reduce_max(tf.gather(tf.eye(50), x), axis=1))


class OwnEmbedding(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.last = L.Embedding(50, 8), L.Dense(2)

    def call(self, x: Any) -> Any:
        return self.last(keras.ops.max(self.table(x), axis=1))


def normalized() -> keras.Model:
    layer = L.Normalization()
    layer.adapt(TABLE)
    return keras.Sequential([keras.Input((3,)), layer, L.Dense(32, "relu"), L.Dense(2)])


def rescaled() -> keras.Model:
    before = [L.Reshape((6, 6, 1)), L.RandomFlip(seed=0), L.Rescaling(1 / 255)]
    return keras.Sequential([keras.Input((6, 6)), *before, L.Flatten(), L.Dense(2)])


def in_bins() -> keras.Model:
    bins = L.Discretization([0.5, 1.5, 3.5, 4.5, 7.5])
    before = [bins, L.CategoryEncoding(6, output_mode="multi_hot")]
    return keras.Sequential([keras.Input((1,)), *before, L.Dense(2)])


AS_GIVEN: dict[str, tuple[Callable[[], keras.Model], Any, Any]] = {
    "embedding": (embedding, WORDS, HAS_WORD),
    "integers": (embedding_of_integers, WORDS, HAS_WORD),
    "floats": (OwnEmbedding, WORDS.astype(float), HAS_WORD),
    "one-hot": (OneHot, WORDS, HAS_WORD),
    "adapted normalization": (normalized, TABLE, TABLE[:, 1] > 1000),
    "rescaling": (rescaled, IMAGES, np.arange(N) < N // 2),
    "bins": (in_bins, TABLE[:, :1], IN_TABLE),
}


@pytest.mark.parametrize(
    "kind",
    [k if k == "one-hot" else slow(k) for k in AS_GIVEN],
)
def test_a_model_receives_inputs_as_they_were_passed(kind: str) -> None:
    build, x, y = AS_GIVEN[kind]
    data = Dataset.from_arrays(x, y)
    trainer = trained(build, data)
    accuracy = trainer.run.metrics["val_accuracy"]  # type: ignore[attr-defined]
    assert accuracy > fitted(build, x, y) - 0.05
    assert accuracy > 0.9
    run = trainer.run  # type: ignore[attr-defined]
    predictor = Predictor(trainer, lambda: [run.weights])
    outputs = predictor.model().predict(data.x_val, verbose=0)
    assert (outputs.argmax(axis=1) == data.y_val).mean() == accuracy
    assert (
        predictor.predict(data.x_val) == np.asarray(data.classes or [0, 1])[data.y_val]
    ).mean() == accuracy


TEXTS = np.array([["was bad"], ["was good"]])[np.arange(N) % 2]


def test_strings_are_refused_and_the_layer_that_encodes_them_is_named() -> None:
    with pytest.raises(ValueError, match=r"texts as keras.layers.TextVectorizati"):
        Dataset.from_arrays(TEXTS, np.arange(N) % 2)


def nested(*within: Any) -> Any:
    return keras.Sequential([*within])


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (lambda: [L.Rescaling(1 / 255), L.Dense(3)], True),
        (lambda: [L.Normalization(), L.Dense(3)], True),
        (lambda: [L.Dropout(0.1), L.BatchNormalization(), L.Dense(3)], True),
        (lambda: [L.Embedding(9, 2), L.Flatten()], True),
        (lambda: [nested(L.Rescaling(2.0), L.Dense(3)), L.Dense(3)], True),
        (lambda: [L.Dense(3), L.BatchNormalization()], False),
        (lambda: [nested(L.Dense(3), L.Rescaling(2.0)), L.Dense(3)], False),
        (lambda: [L.Dropout(0.1), L.Activation("relu")], False),
    ],
)
def test_scaling_layers_before_the_first_weights_are_found(
    layers: Callable[[], list[Any]], *, expected: bool
) -> None:
    model = keras.Sequential([keras.Input((4,)), *layers(), L.Dense(2)])
    assert scales_inputs(model) == expected


def sigmoid(hidden: Any) -> Any:
    return L.Dense(1, "sigmoid")(hidden)


ENDS: dict[str, Callable[[Any], Any]] = {
    "average": lambda h: L.Average()([sigmoid(h), sigmoid(h)]),
    "clipped": lambda h: keras.ops.clip(sigmoid(h), 1e-3, 0.999),
    "column": lambda h: L.Dense(2, "softmax")(h)[:, 1:],
    "reshaped": lambda h: L.Reshape((1,))(sigmoid(h)),
    "two sigmoids": lambda h: keras.ops.sigmoid(L.Dense(2)(h)),
    "linear from zeros": lambda h: L.Dense(1, kernel_initializer="zeros", name="zero")(h) + 0.0,
}


@pytest.mark.parametrize(
    ("kind", "from_logits", "expected"),
    [
        ("average", None, True),
        slow("average", False, True),
        ("sigmoid", None, True),
        ("linear", None, False),
        ("linear", True, False),
        ("linear from zeros", None, False),
        ("tanh", None, False),
        slow("clipped", False, True),
        slow("column", None, True),
        slow("column", False, True),
        slow("hard_sigmoid", None, True),
        slow("hard_sigmoid", False, True),
        slow("reshaped", False, True),
        slow("two sigmoids", False, True),
    ],
)
def test_outputs_mean_what_the_loss_says_or_what_their_values_show(
    kind: str, from_logits: bool | None, expected: bool, said: pytest.LogCaptureFixture
) -> None:
    x, y = TABLE[:, 1:], TABLE[:, 1] > 1100

    def build() -> keras.Model:
        inputs, last = keras.Input((2,)), ENDS.get(kind) or L.Dense(1, kind)
        model = keras.Model(inputs, last(L.Dense(16, "relu")(inputs)))
        if from_logits is not None:
            losses = keras.losses
            two = kind == "two sigmoids"
            loss_class = losses.SparseCategoricalCrossentropy if two else losses.BinaryCrossentropy
            model.compile("adam", loss_class(from_logits=from_logits))
        return model

    head = build_architecture(build, (2,), 2).head
    assert head.are_probabilities == expected
    assert ("single output is taken for" in said.text) == (kind != "two sigmoids")
    if from_logits is False:
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        data = Dataset.from_arrays(x, y)
        accuracy = trained(build, data).run.metrics["val_accuracy"]  # type: ignore[attr-defined]
        assert accuracy == pytest.approx(fitted(build, x, y), abs=0.05)
        assert accuracy > 0.9


def two_inputs() -> keras.Model:
    inputs = [keras.Input((3,)), keras.Input((3,))]
    return keras.Model(inputs, L.Dense(2)(L.Concatenate()(inputs)))


def two_outputs() -> keras.Model:
    x = keras.Input((3,))
    return keras.Model(x, [L.Dense(2)(x), L.Dense(2)(x)])


@pytest.mark.parametrize(("model", "got"), [(two_inputs, "2 inputs"), (two_outputs, "2 outputs")])
def test_models_of_several_inputs_or_outputs_are_refused(model: Any, got: str) -> None:
    with pytest.raises(ValueError, match=rf"one input and one output; got {got}\."):
        build_architecture(model, (3,), 2)
