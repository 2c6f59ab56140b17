"""Training runs have the same bits alone and beside others, and the results of plain Keras."""

from __future__ import annotations

import dataclasses
import math
import os
import random
import threading
import time
import warnings
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import adnn_optuna.networks.training as training_module
from adnn_optuna.networks._arrays import as_tensor
from adnn_optuna.networks._program import orders_of
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.loading import load_dataset
from adnn_optuna.networks.models import MLP, PAPER_MODELS, Training
from adnn_optuna.networks.network import build_architecture
from adnn_optuna.networks.offsets import Start
from adnn_optuna.networks.training import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from adnn_optuna.networks.training import Metrics, TrainingRun

SHAPE = (8, 8)


def few_digits(train: int, val: int = 20, classes: int = 10) -> Dataset:
    digits = load_dataset("digits")
    keep = np.flatnonzero(digits.y_train < classes)
    x, y = digits.x_train[keep], digits.y_train[keep]
    return Dataset(
        "few digits",
        x[:train],
        y[:train],
        x[-val:] if val else x[:0],
        y[-val:] if val else y[:0],
        x[-50:],
        y[-50:],
        classes,
    )


def trainer_of(model: Any, dataset: Dataset, **training: Any) -> Trainer:
    architecture = build_architecture(model, dataset.x_train.shape[1:], dataset.num_classes)
    return Trainer(architecture, Training(**training), dataset)


def start(trainer: Trainer, offset: float = 0.0, seed: int = 0, restart: int = 0) -> Start:
    offsets = [
        offset if v.kind != "other" and not v.is_output else 0.0
        for v in trainer.architecture.variables
    ]
    return Start(seed, restart, tuple(offsets))


def bits(run: TrainingRun) -> tuple[Any, ...]:
    """Return all results of a training run in a form that is equal only if every bit is equal."""
    assert run.weights
    metrics = [tuple(sorted(m.items())) for m in run.history]
    return run.status, repr(metrics), [w.tobytes() for w in run.weights]


def conv_net() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Reshape((*SHAPE, 1)),
            keras.layers.Conv2D(2, 3, strides=2, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


class BeyondXLA(keras.layers.Layer):
    """An identity layer with an operation that XLA cannot compile."""

    def call(self, x: Any) -> Any:
        zeros = tf.strings.to_number(tf.strings.as_string(tf.stop_gradient(x) * 0))
        return x + zeros


def net_beyond_xla() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.Dense(6, activation="relu"),
            BeyondXLA(),
            keras.layers.Dense(10),
        ]
    )


@pytest.fixture(scope="module")
def digits() -> Trainer:
    return trainer_of(MLP((16,)), few_digits(300), epochs=3)


# The sizes are odd, and each optimizer occurs once. In most cases, networks that are computed as
# one array differ from a single network in the last bit.
SETTINGS: list[tuple[dict[str, Any], dict[str, Any], dict[str, int]]] = [
    # Each case has a model, a training and data.
    ({"hidden": (7,)}, {"optimizer": "adam", "batch_size": 16}, {"train": 50}),
    (
        {"hidden": (3, 65, 31), "activation": "celu"},
        {"optimizer": "adagrad", "batch_size": 500, "loss": "mse"},
        {"train": 57, "classes": 2},
    ),
    (
        {"hidden": (8, 16, 13), "activation": "silu"},
        {"optimizer": "nadam", "batch_size": 1, "learning_rate": 0.01},
        {"train": 7, "val": 1},
    ),
    (
        {"hidden": (1,), "activation": "exponential"},
        {"optimizer": "adamw", "batch_size": 2},
        {"train": 33},
    ),
    (
        {"hidden": (31, 2), "activation": "gelu"},
        {"optimizer": "sgd", "batch_size": 32},
        {"train": 300, "val": 0},
    ),
    (
        {"hidden": (16, 7), "activation": "log_softmax"},
        {"optimizer": "rmsprop", "batch_size": 50},
        {"train": 101},
    ),
    (
        {"hidden": (13,), "activation": "tanh"},
        {"optimizer": "lion", "loss": "categorical_focal_crossentropy", "shuffle": False},
        {"train": 45},
    ),
    ({"hidden": (32,)}, {"optimizer": "adadelta", "learning_rate": 1.0}, {"train": 200}),
]


@pytest.mark.parametrize(
    ("model", "training", "data"),
    [
        pytest.param(
            *settings,
            id=settings[1]["optimizer"],
            marks=[pytest.mark.slow] if i >= 1 else [],
        )
        for i, settings in enumerate(SETTINGS)
    ],
)
def test_a_training_has_the_same_bits_beside_any_others(
    model: dict[str, Any], training: dict[str, Any], data: dict[str, int]
) -> None:
    dataset = few_digits(**data)

    trainer = trainer_of(MLP(**model), dataset, epochs=2, **training)

    def train(starts: list[Start]) -> list[TrainingRun]:
        return trainer.train(starts, keep_weights=True, evaluate_each_epoch=True)

    starts = [
        start(trainer, 0.0),
        start(trainer, 0.1),
        start(trainer, math.inf),
        start(trainer, -0.1, seed=3),
        start(trainer, 0.2, seed=7),
    ]
    [alone] = train([starts[1]])
    assert alone.status == "complete"
    assert len({repr(h) for h in alone.history}) == 2
    # The other runs have other seeds, and one of them diverges. Positions and the number of runs
    # vary.
    large = train(starts)
    assert [run.status for run in large] == ["complete"] * 2 + ["diverged"] + ["complete"] * 2
    assert bits(large[1]) == bits(alone)
    for run, large_run in zip(train(starts[::-1]), reversed(large), strict=True):
        assert bits(run) == bits(large_run)
    # These are fewer runs at once.
    small = train(starts[3:])
    assert [bits(run) for run in small] == [bits(run) for run in large[3:]]


@pytest.mark.slow
@pytest.mark.parametrize("build", [pytest.param(conv_net, marks=pytest.mark.slow), net_beyond_xla])
def test_a_keras_model_has_the_same_bits_beside_any_others(
    build: Callable[[], keras.Model],
) -> None:
    trainer = trainer_of(build, few_digits(70), epochs=2, batch_size=16)
    starts = [start(trainer, 0.0), start(trainer, 0.1), start(trainer, 0.0, seed=5)]
    # Each training run resets the seeds of dropout and the statistics of batches.
    [alone] = trainer.train([starts[2]], keep_weights=True)
    forward = trainer.train(starts, keep_weights=True)
    backward = trainer.train(starts[::-1], keep_weights=True)
    assert [bits(run) for run in forward] == [bits(run) for run in reversed(backward)]
    assert bits(forward[2]) == bits(alone)
    assert len({repr(run.history) for run in forward}) == 3
    again = trainer_of(build, few_digits(70), epochs=2, batch_size=16)
    assert bits(again.train([starts[2]], keep_weights=True)[0]) == bits(alone)


def test_a_training_equals_plain_keras() -> None:
    def build() -> keras.Model:
        hidden = keras.layers.Dense(9, "relu", kernel_regularizer="l2")
        normalization = keras.layers.BatchNormalization()
        layers = [keras.layers.Flatten(), hidden, normalization, keras.layers.Dense(10, "softmax")]
        model = keras.Sequential([keras.Input(SHAPE), *layers])
        schedule = keras.optimizers.schedules.CosineDecay(0.02, 30)
        model.compile(keras.optimizers.SGD(schedule, momentum=0.9, clipnorm=1.0))
        return model

    dataset = few_digits(200, val=1100 - 200)
    trainer = trainer_of(build, dataset, epochs=3, batch_size=40, jit_compile=True)
    [run] = trainer.train(
        [start(trainer, 0.05, seed=4)], keep_weights=True, evaluate_each_epoch=True
    )
    assert run.weights

    model = trainer.architecture.build(4, 0)
    for variable, value in zip(
        model.variables, trainer.initial_weights(start(trainer, 0.05, seed=4)), strict=True
    ):
        variable.assign(value)
    model.compile(
        trainer.training.build_optimizer(),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,  # XLA takes longer and would give the same results.
    )
    for epoch in range(3):
        order = orders_of(200, 4, epoch, 1)[0].numpy()
        for begin in range(0, 200, 40):
            rows = order[begin : begin + 40]
            model.train_on_batch(dataset.x_train[rows], dataset.y_train[rows])
        metrics = run.history[epoch]
        for split, x, y in (
            ("train", dataset.x_train, dataset.y_train),
            ("val", dataset.x_val, dataset.y_val),
        ):
            loss, accuracy = model.evaluate(x, y, verbose=0)
            # One example is on the border of two classes, so its class may differ.
            assert metrics[f"{split}_accuracy"] == pytest.approx(accuracy, abs=1.1 / len(y))
            assert metrics[f"{split}_loss"] == pytest.approx(loss, rel=1e-4)
    for trained, variable in zip(run.weights, model.variables, strict=True):
        np.testing.assert_allclose(trained, variable.numpy(), rtol=1e-3, atol=1e-5)


def test_offsets_are_added_to_the_initial_weights(digits: Trainer) -> None:
    weights = digits.architecture.initial_weights(3, 1)
    moved = digits.initial_weights(Start(3, 1, (0.1, -0.2, 0.0, 0.3)))
    for value, weight, offset in zip(moved, weights, (0.1, -0.2, 0.0, 0.3), strict=True):
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, weight + np.float32(offset))
    assert not np.array_equal(weights[0], moved[0])


@pytest.mark.slow
def test_a_start_may_have_its_own_learning_rate_and_epochs(digits: Trainer) -> None:
    # The same settings give the same bits, also beside other training runs.
    own_training = digits.training
    trainer = trainer_of(
        MLP((16,)), digits.dataset, **{**own_training.config, "learning_rate": 0.02, "epochs": 5}
    )
    plain = start(digits)
    changed = dataclasses.replace(plain, learning_rate=0.02, epochs=5)
    of_settings = trainer.train([plain], keep_weights=True)
    runs = digits.train([changed, plain], keep_weights=True)
    assert bits(runs[0]) == bits(of_settings[0])
    assert bits(runs[1]) == bits(digits.train([plain], keep_weights=True)[0])
    same = dataclasses.replace(
        plain, learning_rate=own_training.learning_rate, epochs=own_training.epochs
    )
    assert bits(digits.train([same], keep_weights=True)[0]) == bits(runs[1])


@keras.saving.register_keras_serializable("test_training")
class Anchored(keras.optimizers.SGD):
    """An optimizer that copies the first weights and later restores them, like schedule-free
    optimizers.
    """

    def build(self, variables: Any) -> None:
        super().build(variables)
        self.anchors = [self.add_variable_from_reference(v, "anchor") for v in variables]
        for anchor, variable in zip(self.anchors, variables, strict=True):
            anchor.assign(variable)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        variable.assign(self.anchors[self._get_variable_index(variable)])


def test_an_optimizer_that_begins_with_a_copy_of_the_weights_is_refused() -> None:
    settings: Any = {"optimizer": Anchored(0.1), "epochs": 1, "jit_compile": False}
    trainer = trainer_of(MLP((2,)), few_digits(4), **settings)
    with pytest.raises(ValueError, match="begins with a copy of the weights"):
        trainer.train([start(trainer)])


def test_each_epoch_and_seed_has_its_own_order() -> None:
    orders = [tuple(of_epoch) for seed in (0, 1) for of_epoch in orders_of(50, seed, 0, 2).numpy()]
    assert len(set(orders)) == 4
    assert all(sorted(order) == list(range(50)) for order in orders)
    dataset = few_digits(60)
    results = []
    for shuffle in (True, False):
        # The initial weights are equal, because constants do not depend on the seed.
        mlp = MLP((4,), kernel_initializer=keras.initializers.Constant(0.1))
        settings = {"shuffle": shuffle, "batch_size": 5, "jit_compile": False}
        trainer = trainer_of(mlp, dataset, epochs=1, **settings)
        runs = trainer.train([start(trainer, seed=0), start(trainer, seed=1)])
        results.append(runs[0].history != runs[1].history)
    assert results == [True, False]


def test_trained_weights_are_evaluated_on_any_data(digits: Trainer) -> None:
    dataset = few_digits(300)
    runs = digits.train([start(digits), start(digits, 0.2)], keep_weights=True)
    weights = [run.weights for run in runs if run.weights]
    predicted = digits.architecture.head.predicted
    on_train = [
        np.mean(predicted(digits.outputs(w, dataset.x_train)) == dataset.y_train) for w in weights
    ]
    accuracies = [run.history[-1]["train_accuracy"] for run in runs]
    assert on_train == accuracies
    x = dataset.x_test[:7]
    model = digits.architecture.build(0, 0)
    for variable, value in zip(model.variables, weights[0], strict=True):
        variable.assign(value)
    expected = np.asarray(model(x)).argmax(axis=-1)
    np.testing.assert_array_equal(predicted(digits.outputs(weights[0], x)), expected)


def test_data_without_validation_split_have_no_validation_metrics() -> None:
    trainer = trainer_of(MLP((4,)), few_digits(30, val=0), epochs=1, jit_compile=False)
    [run] = trainer.train([start(trainer)])
    assert set(run.history[0]) == {"train_accuracy", "train_loss"}


def test_no_epoch_begins_after_the_deadline(digits: Trainer) -> None:
    runs = digits.train([start(digits)] * 2, deadline=time.monotonic() - 1, keep_weights=True)
    assert [(run.status, run.history) for run in runs] == [("timeout", [])] * 2
    # Metrics of earlier epochs are kept.
    deadline = time.monotonic() + 1

    def wait(_: int, epoch: int, __: Metrics) -> bool:
        time.sleep(max(deadline - time.monotonic(), 0))
        return epoch > 0

    [cut] = digits.train([start(digits)], deadline=deadline, after_epoch=wait)
    [whole] = digits.train([start(digits)], evaluate_each_epoch=True)
    assert cut.status == "timeout"
    assert cut.history == whole.history[:1]


def test_no_epoch_begins_after_a_stop(digits: Trainer) -> None:
    stop = threading.Event()
    stop.set()
    runs = digits.train([start(digits)] * 3, stop=stop, keep_weights=True)
    assert [(run.status, run.history) for run in runs] == [("stopped", [])] * 3
    # The stop is noticed between two epochs, and metrics of earlier epochs are kept.
    stop = threading.Event()

    def set_it(_: int, epoch: int, __: Metrics) -> bool:
        if epoch == 1:
            stop.set()
        return False

    [cut] = digits.train([start(digits)], stop=stop, after_epoch=set_it)
    [whole] = digits.train([start(digits)], evaluate_each_epoch=True)
    assert (cut.status, whole.status) == ("stopped", "complete")
    assert cut.history == whole.history[:2]


def test_a_pruned_training_ends_and_does_not_change_the_others(digits: Trainer) -> None:
    starts = [start(digits), start(digits, 0.1), start(digits, 0.2)]
    seen: list[tuple[int, int]] = []

    def after_epoch(i: int, epoch: int, metrics: Metrics) -> bool:
        assert set(metrics) == {"train_accuracy", "train_loss", "val_accuracy", "val_loss"}
        seen.append((i, epoch))
        return (i, epoch) == (1, 0)

    expected = digits.train(starts, keep_weights=True, evaluate_each_epoch=True)
    runs = digits.train(starts, after_epoch=after_epoch, keep_weights=True)
    assert seen == [(0, 0), (1, 0), (2, 0), (0, 1), (2, 1), (0, 2), (2, 2)]
    assert [run.status for run in runs] == ["complete", "pruned", "complete"]
    assert runs[1].history == expected[1].history[:1]
    assert [bits(runs[i]) for i in (0, 2)] == [bits(expected[i]) for i in (0, 2)]


def test_a_pruner_sees_the_last_epoch_of_a_training_not_the_best_one() -> None:
    settings: Any = {"patience": 1, "mode": "max", "restore_best_weights": True, "epochs": 4}
    settings |= {"monitor": "train_loss", "jit_compile": False}  # The training loss falls.
    trainer = trainer_of(MLP((4,)), few_digits(20), **settings)
    seen: list[Metrics] = []

    def after_epoch(run: int, epoch: int, metrics: Metrics) -> bool:
        seen.append(metrics)
        return len(seen) == 2  # A pruner changes nothing after the end of training.

    [run] = trainer.train([start(trainer)], after_epoch=after_epoch)
    assert run.status == "complete"
    assert seen == run.history
    assert run.metrics == seen[0] != seen[-1]


def test_a_diverged_training_ends_alone(digits: Trainer) -> None:
    seen = []
    starts = [start(digits, math.inf), start(digits)]
    runs = digits.train(starts, after_epoch=lambda i, *_: bool(seen.append(i)))
    assert [run.status for run in runs] == ["diverged", "complete"]
    assert len(runs[0].history) == 1
    assert seen == [1, 1, 1]
    wild: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 1e20, "jit_compile": False}
    trainer = trainer_of(MLP((4,)), few_digits(60), epochs=4, **wild)
    assert trainer.train([start(trainer)])[0].status == "diverged"


def test_threads_do_not_disturb_each_other(digits: Trainer) -> None:
    starts = [start(digits, 0.05 * i, seed=i) for i in range(8)]
    expected = [bits(run) for run in digits.train(starts, keep_weights=True)]
    results: dict[int, Any] = {}

    def work(mine: list[int]) -> None:
        for i in mine:
            results[i] = bits(digits.train([starts[i]], keep_weights=True)[0])

    threads = [threading.Thread(target=work, args=([*range(k, 8, 4)],)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[i] for i in range(8)] == expected


def test_the_trainer_keeps_no_run_that_the_caller_has_dropped(digits: Trainer) -> None:
    dropped: list[weakref.ref[Any]] = []
    for run in digits.train_in_turn([start(digits, seed=seed) for seed in range(12)]):
        # The previous run may still be in memory.
        assert sum(ref() is not None for ref in dropped) <= 1
        dropped.append(weakref.ref(run))
    assert len(dropped) == 12


LEAVES_OUT = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1)


@pytest.mark.parametrize(
    ("training", "error"),
    [
        ({"loss": "crossentropy"}, "loss must be .* got 'crossentropy'"),
        ({"loss": "ctc"}, "must return one value per example"),
        ({"loss": "Loss"}, "Loss"),
        ({"loss": LEAVES_OUT}, "has ignore_class=1, but the mean over all of a batch"),
        ({"loss": "LossFunctionWrapper"}, "LossFunctionWrapper"),
        ({"optimizer": {"class_name": "SGD", "config": {"momentums": 1}}}, "momentums"),
    ],
)
def test_wrong_names_are_refused_before_any_training(training: Any, error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        trainer_of(MLP((4,)), few_digits(20), **training)


class Broken(keras.layers.Layer):
    """A layer that fails only in training."""

    def call(self, x: Any, *, training: bool = False) -> Any:
        return tf.ensure_shape(x, (None, 3)) if training else x


class UnseededNoise(keras.layers.Layer):
    """A layer that draws from the global generator of Keras or TensorFlow."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self._source = source

    def call(self, x: Any, *, training: bool = False) -> Any:
        return x + self._source(tf.shape(x)) if training else x


class HiddenCounter(keras.layers.Layer):
    """A layer that counts its calls in a variable unknown to Keras."""

    def __init__(self) -> None:
        super().__init__()
        self._hidden = [tf.Variable(0.0)]

    def call(self, x: Any) -> Any:
        return x + self._hidden[0].assign_add(1.0)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: UnseededNoise(keras.random.normal),
        pytest.param(lambda: UnseededNoise(tf.random.normal), marks=pytest.mark.slow),
        HiddenCounter,
    ],
)
def test_a_training_that_is_not_deterministic_is_refused(layer: Any) -> None:
    def build() -> keras.Model:
        layers = [keras.layers.Flatten(), layer(), keras.layers.Dense(10)]
        return keras.Sequential([keras.Input(SHAPE), *layers])

    trainer = trainer_of(build, few_digits(40), jit_compile=False)
    with pytest.raises(ValueError, match="must be deterministic; got other weights"):
        trainer.train([start(trainer)])


@pytest.mark.parametrize("dtype", ["float16", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_weights_keep_their_dtype(dtype: str) -> None:
    def build() -> keras.Model:
        layers = [keras.layers.Dense(9, "relu", dtype=dtype), keras.layers.Dense(10)]
        return keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), *layers])

    trainer = trainer_of(build, few_digits(100), epochs=2, optimizer="sgd", jit_compile=False)
    [moved, unmoved] = trainer.train([start(trainer, 0.05), start(trainer)], keep_weights=True)
    assert moved.weights[0].dtype.name == dtype
    assert bits(moved) != bits(unmoved)


def test_the_global_dtype_policy_of_keras_is_used_in_all_threads() -> None:
    def build() -> keras.Model:
        layers = [keras.layers.Flatten(), keras.layers.Dense(10)]
        return keras.Sequential([keras.Input(SHAPE), *layers])

    keras.config.set_dtype_policy("float64")
    try:
        trainer = trainer_of(build, few_digits(100), jit_compile=False)
        [run] = trainer.train([start(trainer)], keep_weights=True)
    finally:
        keras.config.set_dtype_policy("float32")
    assert run.weights[0].dtype == np.float64


def test_an_mlp_does_not_depend_on_keras_default_dtype() -> None:
    keras.config.set_floatx("float64")
    try:
        trainer = trainer_of(MLP((2,)), few_digits(4), jit_compile=False, epochs=1)
        [run] = trainer.train([start(trainer)])
    finally:
        keras.config.set_floatx("float32")
    assert run.status == "complete"


def test_an_error_of_the_model_itself_is_shown() -> None:
    def build() -> keras.Model:
        layers = [keras.layers.Flatten(), Broken(), keras.layers.Dense(10)]
        return keras.Sequential([keras.Input(SHAPE), *layers])

    with pytest.raises(ValueError, match="Dimension 1 in both shapes must be equal"):
        trainer_of(build, few_digits(20))


def test_the_dataset_is_in_memory_once() -> None:
    array = few_digits(100).x_train
    capsule = tf.experimental.dlpack.to_dlpack(as_tensor(array))

    class Exported:
        def __dlpack__(self, **_: Any) -> Any:
            return capsule

        def __dlpack_device__(self) -> tuple[int, int]:
            return (1, 0)

    seen = np.from_dlpack(Exported())
    assert np.shares_memory(seen, array)
    np.testing.assert_array_equal(seen, array)


def test_testing_after_the_training_runs_compiles_nothing() -> None:
    traced = []

    class Noting(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            traced.append(self)
            return inputs

    def build() -> keras.Model:
        layers = [keras.layers.Flatten(), Noting(), keras.layers.Dense(10)]
        return keras.Sequential([keras.Input(SHAPE), *layers])

    trainer = trainer_of(build, few_digits(20), epochs=1, jit_compile=False)
    [run] = trainer.train([start(trainer)], keep_weights=True)
    n_traced = len(traced)
    trainer.tested(run.weights)
    assert len(traced) == n_traced


def test_slices_of_a_dataset_are_evaluated_too(digits: Trainer) -> None:
    data = few_digits(100)
    weights = digits.initial_weights(start(digits))
    predicted = digits.architecture.head.predicted
    whole = predicted(digits.outputs(weights, data.x_test))
    # TensorFlow cannot use the second slice's address in place.
    halves = [
        predicted(digits.outputs(weights, data.x_test[rows]))
        for rows in (slice(None, 7), slice(7, None))
    ]
    np.testing.assert_array_equal(np.concatenate(halves), whole)


def test_training_changes_no_global_state(digits: Trainer) -> None:
    def everything() -> list[Any]:
        numpy_state: Any = np.random.get_state()  # noqa: NPY002
        return [
            random.getstate(),
            [a.tolist() if isinstance(a, np.ndarray) else a for a in numpy_state],
            keras.config.dtype_policy().name,
            keras.config.floatx(),
            tf.config.optimizer.get_jit(),
            tf.config.functions_run_eagerly(),
            tf.get_logger().level,
            list(warnings.filters),
            dict(os.environ),
            Path.cwd(),
        ]

    before = everything()
    trainer = trainer_of(conv_net, few_digits(20), epochs=1)
    trainer.train([start(trainer)])
    digits.train([start(digits)])  # With XLA.
    assert everything() == before


@pytest.mark.slow
@pytest.mark.skipif("ADNN_DATA_DIR" not in os.environ, reason="ADNN_DATA_DIR is not set")
def test_the_papers_first_model_reaches_the_papers_accuracy() -> None:
    model = PAPER_MODELS["MNIST-1"]
    dataset = load_dataset("mnist", validation_size=0)
    architecture = build_architecture(model, dataset.x_train.shape[1:], 10)
    trainer = Trainer(architecture, model.training, dataset)
    runs = trainer.train([start(trainer, seed=seed) for seed in range(2)])
    accuracies = [run.history[-1]["train_accuracy"] for run in runs]
    assert np.mean(accuracies) == pytest.approx(0.886, abs=0.025)  # The paper's accuracy.


class AlwaysDropout(keras.layers.Dropout):
    def call(self, x: Any, training: bool = False) -> Any:
        return super().call(x, training=True)


def drawing_net() -> keras.Model:
    layers = [keras.layers.Flatten(), AlwaysDropout(0.5), keras.layers.Dense(10)]
    return keras.Sequential([keras.Input(SHAPE), *layers])


@pytest.mark.parametrize(
    ("task", "judge"), [("classes", "accuracy"), ("classes", "loss"), ("regression", "mae")]
)
def test_validation_examples_have_the_scores_of_their_outputs(task: str, judge: str) -> None:
    data = few_digits(50, 1100)
    if task == "regression":
        y_train, y_val = (y[:, None].astype(float) for y in (data.y_train, data.y_val))
        data = Dataset(
            "numbers", data.x_train, y_train, data.x_val, y_val, data.x_val, y_val, None
        )
    architecture = build_architecture(MLP((4,)), SHAPE, data.num_classes, data.n_outputs)
    trainer = Trainer(architecture, Training(epochs=1, jit_compile=False), data, judge)
    [run] = trainer.train([start(trainer, 0.1)], keep_weights=True)
    outputs = trainer.outputs(run.weights, data.x_val)
    value = run.metrics[f"val_{judge}"]
    expected = trainer.scores.of_examples(judge, outputs, data.y_val, value)
    np.testing.assert_allclose(run.examples, expected, rtol=1e-5)
    assert run.examples.mean() == pytest.approx(value, rel=1e-12)


class TestPartsOfEpochs:
    @pytest.mark.parametrize(
        "model", [pytest.param(MLP((8,)), marks=pytest.mark.slow), drawing_net]
    )
    def test_give_the_same_bits(self, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        # The last batch is smaller, and so is the last thousand of scored rows.
        trainer = trainer_of(model, few_digits(1050, 1100), batch_size=100, epochs=3)
        starts = [start(trainer, seed=seed) for seed in range(3)]
        options = {"keep_weights": True, "evaluate_each_epoch": True}
        whole = trainer.train(starts, **options)
        for seconds in (1e-9, 1e-3):
            monkeypatch.setattr(training_module, "_SECONDS_BETWEEN_LOOKS", seconds)
            parts = trainer.train(starts, **options)
            assert [bits(run) for run in parts] == [bits(run) for run in whole]
            at_the_end = trainer.train(starts, keep_weights=True)
            assert [run.history for run in at_the_end] == [run.history[-1:] for run in whole]
            for run, part, last in zip(whole, parts, at_the_end, strict=True):
                assert bits(last)[-1] == bits(run)[-1]
                np.testing.assert_array_equal(run.examples, part.examples)
                np.testing.assert_array_equal(run.examples, last.examples)

    def test_end_soon_after_a_stop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        trainer = trainer_of(MLP((8,)), few_digits(1000), batch_size=100, jit_compile=False)
        monkeypatch.setattr(training_module, "_SECONDS_BETWEEN_LOOKS", 1e-9)
        stop = threading.Event()
        timer = threading.Timer(0.2, stop.set)
        timer.start()
        training = dataclasses.replace(start(trainer), epochs=10**6)
        [run] = trainer.train([training], stop=stop)
        assert run.status == "stopped"
        assert run.epochs < 10**6


class TestCompilation:
    @pytest.mark.parametrize(
        ("layers", "is_compiled"),
        [
            ([keras.layers.Flatten, lambda: keras.layers.Dense(4)], True),
            ([lambda: keras.layers.GRU(4)], True),
            ([lambda: keras.layers.Conv1D(4, 3), keras.layers.GlobalMaxPooling1D], False),
            ([keras.layers.MaxPooling1D, keras.layers.Flatten], False),
            ([keras.layers.Flatten, lambda: keras.layers.Dropout(0.1)], False),
        ],
    )
    def test_uses_xla_if_that_is_faster(self, layers: Any, is_compiled: bool) -> None:
        def build() -> keras.Model:
            hidden_layers = [layer() for layer in layers]
            return keras.Sequential([keras.Input(SHAPE), *hidden_layers, keras.layers.Dense(10)])

        assert trainer_of(build, few_digits(50)).training.jit_compile is is_compiled

    @pytest.mark.slow
    def test_is_done_once_for_equal_networks_and_data(self) -> None:
        def program(model: Any, dataset: Dataset, **training: Any) -> Any:
            return trainer_of(model, dataset, **training)._program

        digits, first = few_digits(50), program(MLP((4,)), few_digits(50))
        assert program(MLP((4,)), digits) is first
        assert program(lambda: small_model(4), digits) is program(lambda: small_model(4), digits)
        assert program(MLP((5,)), digits) is not first
        assert program(MLP((4,)), digits, optimizer="sgd") is not first
        assert program(MLP((4,)), few_digits(60)) is not first
        fewer = few_digits(50, classes=5)
        assert program(MLP((4,)), dataclasses.replace(digits, num_classes=11)) is not first
        assert program(MLP((4,)), fewer) is not first


def small_model(units: int) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.Dense(units),
            keras.layers.Dense(10),
        ]
    )
