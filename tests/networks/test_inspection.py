"""Networks take inputs and give outputs as `fit` has them: scaled by one, read by the other."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from search_worker import quick_training

from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.inspection import features_as_given
from adnn_optuna.networks.network import build_architecture
from adnn_optuna.networks.offsets import Start
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
PRESSURE = np.stack([RNG.normal(101325, 900, (N, 5)), RNG.normal(0, 1e-2, (N, 5))], axis=-1)
RISES = PRESSURE[:, :, 1].mean(axis=1) > 0


@pytest.fixture
def said(logs: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Return what captures Optuna's logs of all levels."""
    logs.set_level(logging.INFO, logger="optuna")
    return logs


def trained(build: Callable[[], keras.Model], data: Dataset, **settings: Any) -> Trainer:
    architecture = build_architecture(build, data.x_train.shape[1:], data.num_classes)
    training = quick_training(epochs=20, learning_rate=0.02, **settings)
    trainer = Trainer(architecture, training, data)
    start = Start(0, 0, (0.0,) * len(architecture.variables))
    [trainer.run] = trainer.train([start], evaluate_each_epoch=False, keep_weights=True)  # type: ignore[attr-defined]
    return trainer


def fitted(build: Callable[[], keras.Model], x: Any, y: Any, scale: Any = "none") -> float:
    """Return the validation accuracy by `fit` on inputs as they are."""
    data = Dataset.from_arrays(x, y, scale=scale)
    keras.utils.set_random_seed(0)
    model = build()
    is_single = model(data.x_train[:1]).shape[-1] == 1
    if not model.compiled:
        logits = model.layers[-1].activation is keras.activations.linear
        losses = keras.losses
        kind = losses.BinaryCrossentropy if is_single else losses.SparseCategoricalCrossentropy
        model.compile(loss=kind(from_logits=logits))
    model.optimizer = keras.optimizers.Adam(0.02)
    # Without XLA, which takes longest of all and would compute the same.
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


class OwnEmbedding(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.last = L.Embedding(50, 8), L.Dense(2)

    def call(self, x: Any) -> Any:
        return self.last(keras.ops.max(self.table(x), axis=1))


def mixed() -> keras.Model:
    x = keras.Input((3,))
    words = L.Flatten()(L.Embedding(9, 4)(x[:, :1]))
    hidden = L.Dense(16, "relu")(L.Concatenate()([words, L.Dense(4)(x[:, 1:])]))
    return keras.Model(x, L.Dense(2)(hidden))


def normalized() -> keras.Model:
    own = L.Normalization()
    own.adapt(TABLE)
    return keras.Sequential([keras.Input((3,)), own, L.Dense(32, "relu"), L.Dense(2)])


def rescaled() -> keras.Model:
    before = [L.Reshape((6, 6, 1)), L.RandomFlip(seed=0), L.Rescaling(1 / 255)]
    return keras.Sequential([keras.Input((6, 6)), *before, L.Flatten(), L.Dense(2)])


def in_bins() -> keras.Model:
    bins = L.Discretization([0.5, 1.5, 3.5, 4.5, 7.5])
    before = [bins, L.CategoryEncoding(6, output_mode="multi_hot")]
    return keras.Sequential([keras.Input((1,)), *before, L.Dense(2)])


def vectorized() -> Any:
    return L.TextVectorization(vocabulary=["bad", "good", "was"], output_sequence_length=2)


def recurrent() -> keras.Model:
    return keras.Sequential([keras.Input((5, 2)), L.LSTM(8), L.Dense(2)])


AS_GIVEN: dict[str, tuple[Callable[[], keras.Model], Any, Any]] = {
    "embedding": (embedding, WORDS, HAS_WORD),
    "integers": (embedding_of_integers, WORDS, HAS_WORD),
    "floats": (OwnEmbedding, WORDS.astype(float), HAS_WORD),
    "adapted normalization": (normalized, TABLE, TABLE[:, 1] > 1000),
    "rescaling": (rescaled, IMAGES, np.arange(N) < N // 2),
    "bins": (in_bins, TABLE[:, :1], IN_TABLE),
}


@pytest.mark.parametrize(
    "kind",
    [k if k in ("embedding", "adapted normalization") else slow(k) for k in AS_GIVEN],
)
def test_what_a_model_takes_as_given_is_not_scaled(
    kind: str, said: pytest.LogCaptureFixture
) -> None:
    build, x, y = AS_GIVEN[kind]
    data, raw = Dataset.from_arrays(x, y), Dataset.from_arrays(x, y, scale="none")
    assert data.preprocessing.factor != 1
    trainer = trained(build, data)
    np.testing.assert_allclose(trainer.dataset.x_test, raw.x_test, rtol=1e-6, atol=1e-9)
    if x.dtype.kind in "iu" or kind == "floats":
        np.testing.assert_array_equal(trainer.dataset.x_test, raw.x_test)
    assert "as they were given" in said.text
    found = trainer.run.metrics["val_accuracy"]  # type: ignore[attr-defined]
    assert found > fitted(build, x, y) - 0.05
    assert found > 0.9
    # What the user gets takes inputs as they are, too.
    run = trainer.run  # type: ignore[attr-defined]
    model = Predictor(trainer, lambda: [run.weights or []]).model()
    outputs = model.predict(raw.x_val.astype(x.dtype), verbose=0)
    assert (outputs.argmax(axis=1) == raw.y_val).mean() == found
    # Drawn again, or handed to another trainer, the data are taken so again.
    again = Trainer(trainer.architecture, trainer.training, trainer.dataset.redrawn(3))
    expected = Trainer(trainer.architecture, trainer.training, data.redrawn(3))
    for other in (expected.dataset, raw.redrawn(3)):
        np.testing.assert_allclose(again.dataset.x_train, other.x_train, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(lambda: L.Hashing(40), id="hashing"),
        pytest.param(lambda: L.IntegerLookup(vocabulary=[1, 2, 3]), id="integer lookup"),
        pytest.param(lambda: L.Discretization([0.5, 1.5]), id="discretization"),
        pytest.param(lambda: L.CategoryEncoding(9, output_mode="one_hot"), id="category encoding"),
    ],
)
def test_layers_of_keras_that_preprocess_take_numbers_as_given(first: Callable[[], Any]) -> None:
    after = [L.Embedding(40, 4), L.Flatten(), L.Dense(2)]
    model = keras.Sequential([keras.Input((1,)), first(), *after])
    assert [*features_as_given(model, (1,))] == [0]


TEXTS = np.array([["was bad"], ["was good"]])[np.arange(N) % 2]


def test_what_a_layer_makes_of_strings_trains() -> None:
    with pytest.raises(ValueError, match=r"of texts what an adapted keras.layers.TextVectorizati"):
        Dataset.from_arrays(TEXTS, np.arange(N) % 2)
    numbers = vectorized()(TEXTS).numpy()
    data = Dataset.from_arrays(numbers, np.arange(N) % 2)
    trainer = trained(
        lambda: keras.Sequential([keras.Input((2,)), L.Embedding(9, 4), L.Flatten(), L.Dense(2)]),
        data,
    )
    assert trainer.run.metrics["val_accuracy"] == 1  # type: ignore[attr-defined]


def test_of_a_table_the_features_that_are_numbers_are_scaled_all_the_same() -> None:
    data = Dataset.from_arrays(TABLE, IN_TABLE)
    trainer = trained(mixed, data)
    raw = Dataset.from_arrays(TABLE, IN_TABLE, scale="none").x_test
    np.testing.assert_array_equal(trainer.dataset.x_test[:, 0], raw[:, 0])
    np.testing.assert_array_equal(trainer.dataset.x_test[:, 1:], data.x_test[:, 1:])
    transformed = trainer.dataset.preprocessing.transform(raw)
    np.testing.assert_allclose(transformed, trainer.dataset.x_test, rtol=1e-4, atol=1e-4)
    assert trainer.run.metrics["val_accuracy"] > 0.95  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(lambda: [L.Dense(3)], id="dense"),
        pytest.param(lambda: [L.BatchNormalization()], id="batch normalization"),
        pytest.param(lambda: [L.LayerNormalization()], id="layer normalization"),
        pytest.param(lambda: [L.Dropout(0.5)], id="dropout"),
        pytest.param(lambda: [L.GaussianNoise(0.5)], id="noise"),
        pytest.param(lambda: [L.Reshape((2, 2)), L.LSTM(3)], id="recurrent"),
        pytest.param(lambda: [L.Reshape((4, 1)), L.Conv1D(3, 2), L.Flatten()], id="convolution"),
        pytest.param(lambda: [L.Reshape((2, 2)), L.SimpleRNN(3)], id="simple recurrent"),
        pytest.param(lambda: [L.Activation("relu")], id="activation"),
    ],
)
def test_other_first_layers_take_scaled_inputs(first: Callable[[], list[Any]]) -> None:
    model = keras.Sequential([keras.Input((4,)), *first(), L.Dense(2)])
    assert features_as_given(model, (4,)) == {}


@pytest.mark.parametrize("times", [pytest.param(5, marks=pytest.mark.slow), 7])
def test_each_feature_of_a_sequence_has_a_scale_of_its_own(times: int) -> None:
    x = np.concatenate([PRESSURE, PRESSURE], axis=1)[:, :times]
    data = Dataset.from_arrays(x, RISES)
    assert len(data.preprocessing.factor) == 2  # type: ignore[arg-type]
    np.testing.assert_allclose(data.x_train.mean(axis=(0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(data.x_train.std(axis=(0, 1)), 1, rtol=1e-5)
    redrawn = data.redrawn(1)
    np.testing.assert_allclose(redrawn.x_train.std(axis=(0, 1)), 1, rtol=1e-5)
    if times == 5:
        expected = fitted(recurrent, (x - x.mean(axis=(0, 1))) / x.std(axis=(0, 1)), RISES)
        found = trained(recurrent, data).run.metrics["val_accuracy"]  # type: ignore[attr-defined]
        assert found == pytest.approx(expected, abs=0.05)
        assert found > 0.9


@pytest.mark.parametrize(
    "x", [IMAGES[:, :, :5], IMAGES.astype(float) + 1, IMAGES[..., None].astype(float)]
)
def test_images_have_one_scale_for_each_channel(x: Any) -> None:
    data = Dataset.from_arrays(x, np.arange(N) % 2, scale="standard")
    assert len(data.preprocessing.factor) == 1  # type: ignore[arg-type]
    assert len(data.redrawn(1).preprocessing.factor) == 1  # type: ignore[arg-type]


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
        ("average", False, True),
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
def test_outputs_are_what_the_loss_says_or_what_they_show(
    kind: str, from_logits: bool | None, expected: bool, said: pytest.LogCaptureFixture
) -> None:
    x, y = TABLE[:, 1:], TABLE[:, 1] > 1100

    def build() -> keras.Model:
        inputs, last = keras.Input((2,)), ENDS.get(kind) or L.Dense(1, kind)
        model = keras.Model(inputs, last(L.Dense(16, "relu")(inputs)))
        if from_logits is not None:
            losses = keras.losses
            two = kind == "two sigmoids"
            of = losses.SparseCategoricalCrossentropy if two else losses.BinaryCrossentropy
            model.compile("adam", of(from_logits=from_logits))
        return model

    head = build_architecture(build, (2,), 2).head
    assert head.are_probabilities == expected
    assert ("single output is taken for" in said.text) == (kind != "two sigmoids")
    if from_logits is False:
        data = Dataset.from_arrays(x, y)
        found = trained(build, data).run.metrics["val_accuracy"]  # type: ignore[attr-defined]
        assert found == pytest.approx(fitted(build, x, y, scale="standard"), abs=0.05)
        assert found > 0.9
