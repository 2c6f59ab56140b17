"""In each kind of Keras training, results equal those of `fit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import scipy.stats
from baseline_runs import train_baseline
from search_worker import quick_training

from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.loading import load_dataset
from adnn_optuna.networks.models import MLP, Training
from adnn_optuna.networks.network import build_architecture
from adnn_optuna.networks.training import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

layers, optimizers = keras.layers, keras.optimizers
digits = load_dataset("digits")
EPOCHS = 3


def subset(train: int = 300, val: int = 200, classes: int = 10) -> Dataset:
    keep = np.flatnonzero(digits.y_train < classes)
    x, y = digits.x_train[keep], digits.y_train[keep]
    return Dataset(
        *("digits", x[:train], y[:train], x[-val:], y[-val:], digits.x_test[:9], y[:9], classes)
    )


def net(*hidden: Any, outputs: int = 10, activation: str | None = None, policy: Any = None) -> Any:
    """Return a callable that builds a network with these layers before its output layer."""

    def build() -> keras.Model:
        policy_before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy or policy_before)
        try:
            own_layers = [type(layer).from_config(layer.get_config()) for layer in hidden]
            if policy:
                own_layers.append(layers.Dense(16, "relu", name="in_few_bits"))
            last = layers.Dense(outputs, activation, dtype="float32", name="output")
            return keras.Sequential([keras.Input((8, 8)), layers.Flatten(), *own_layers, last])
        finally:
            keras.config.set_dtype_policy(policy_before)

    return build


def compiled(*arguments: Any, **options: Any) -> Callable[[], keras.Model]:
    def build() -> keras.Model:
        model = net(layers.Dense(16, "relu"))()
        model.compile(*arguments, **options)
        return model

    return build


SCHEDULE = optimizers.schedules.CosineDecay(0.02, 30)
LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
MLP_16 = MLP((16,))
KINDS: dict[str, tuple[Any, dict[str, Any], int]] = {
    "clipnorm": (MLP_16, {"optimizer": optimizers.SGD(0.3, clipnorm=0.1)}, 10),
    "clipvalue": (MLP_16, {"optimizer": optimizers.SGD(0.3, clipvalue=0.01)}, 10),
    "global_clipnorm": (MLP_16, {"optimizer": optimizers.Adam(0.01, global_clipnorm=0.1)}, 10),
    "schedule": (MLP_16, {"optimizer": "adam", "learning_rate": SCHEDULE}, 10),
    "weight decay": (MLP_16, {"optimizer": optimizers.AdamW(0.01, weight_decay=0.1)}, 10),
    "average": (MLP_16, {"optimizer": optimizers.SGD(0.3, use_ema=True, ema_momentum=0.9)}, 10),
    "loss scale": (MLP_16, {"optimizer": optimizers.SGD(0.3, loss_scale_factor=8.0)}, 10),
    "accumulation": (
        MLP_16,
        {"optimizer": optimizers.SGD(0.3, gradient_accumulation_steps=2)},
        10,
    ),
    "lamb": (MLP_16, {"optimizer": "lamb", "learning_rate": 0.02}, 10),
    "adafactor": (MLP((16,), "tanh"), {"optimizer": "adafactor", "learning_rate": 0.02}, 10),
    "muon": (MLP_16, {"optimizer": "muon", "learning_rate": 0.01}, 10),
    "loss object": (MLP_16, {"loss": keras.losses.CategoricalFocalCrossentropy(gamma=3.0)}, 10),
    "sigmoid": (net(outputs=1, activation="sigmoid"), {"learning_rate": 0.01}, 2),
    "logit": (net(outputs=1), {"learning_rate": 0.01}, 2),
    "compiled": (compiled(optimizers.SGD(SCHEDULE, momentum=0.9, clipnorm=1.0), LOGITS), {}, 10),
    "bfloat16": (net(policy="mixed_bfloat16"), {"learning_rate": 0.01}, 10),
    "float16": (net(policy="mixed_float16"), {"learning_rate": 0.01}, 10),
}
RANDOM_KINDS: dict[str, tuple[Any, dict[str, Any], int]] = {
    "dropout": (net(layers.Dense(32), layers.Dropout(0.3)), {}, 10),
    "batch normalization": (net(layers.BatchNormalization()), {}, 10),
    "augmentation": (
        net(
            layers.Reshape((8, 8, 1)),
            layers.RandomTranslation(0.1, 0.1),
            layers.RandomRotation(0.05),
            layers.Flatten(name="flat_again"),
            layers.Dense(32, "relu"),
        ),
        {"learning_rate": 0.01},
        10,
    ),
}


def trainer_of(model: Any, dataset: Dataset, **settings: Any) -> Trainer:
    architecture = build_architecture(model, dataset.x_train.shape[1:], dataset.num_classes)
    return Trainer(architecture, Training(**settings), dataset)


def train(trainer: Trainer, seed: int) -> dict[str, float]:
    return train_baseline(trainer, seed).metrics


def fit(trainer: Trainer, seeds: Iterable[int], *callbacks: Any) -> Iterator[dict[str, float]]:
    """Yield, for each seed, Keras's scores of the same network from the same weights."""
    dataset, training = trainer.dataset, trainer.training
    model, head = trainer.architecture.build(0, 0), trainer.architecture.head
    loss: Any = keras.losses.SparseCategoricalCrossentropy(not head.are_probabilities)
    y_train, y_val = dataset.y_train, dataset.y_val
    if head.size == 1:
        loss = keras.losses.BinaryCrossentropy(not head.are_probabilities)
        y_train, y_val = y_train[:, None], y_val[:, None]
    if isinstance(training.loss, dict) and "gamma" in training.loss["config"]:
        settings = training.loss["config"] | {"from_logits": True}
        loss = keras.losses.CategoricalFocalCrossentropy(**settings)
        y_train, y_val = np.eye(10)[y_train], np.eye(10)[y_val]
    optimizer = training.build_optimizer()
    if trainer.architecture.scales_loss:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    # XLA is off, because it takes longest and would give the same results.
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    # Keras compiles `fit` once per model, so each seed resets all variables to initial values.
    optimizer.build(model.trainable_variables)
    fresh = [v.numpy() for v in optimizer.variables]
    for seed in seeds:
        keras.utils.set_random_seed(seed)  # Keras may draw its own order of the batches.
        model.set_weights(trainer.architecture.build(seed, 0).get_weights())
        for variable, value in zip(optimizer.variables, fresh, strict=True):
            variable.assign(value)
        model.fit(
            *(dataset.x_train, y_train),
            batch_size=training.batch_size,
            epochs=training.epochs,
            shuffle=training.shuffle,
            validation_data=(dataset.x_val, y_val),
            callbacks=[*callbacks],
            verbose=0,
        )
        scores = {}
        for split, x, y in (("train", dataset.x_train, y_train), ("val", dataset.x_val, y_val)):
            scores[f"{split}_loss"], _ = model.evaluate(x, y, verbose=0)
            # The test calls the model, because `predict` would augment.
            outputs = np.asarray(model(x, training=False))
            labels = dataset.y_train if split == "train" else dataset.y_val
            scores[f"{split}_accuracy"] = float((head.predicted(outputs) == labels).mean())
        yield scores


# The fast test in test_training covers a schedule, momentum and clipping.
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_training_equals_fit(kind: str) -> None:
    model, settings, classes = KINDS[kind]
    trainer = trainer_of(model, subset(classes=classes), epochs=EPOCHS, shuffle=False, **settings)
    # In float16, the order of a sum changes its third digit.
    tolerance = 0.02 if "float16" in kind else 1e-3
    for seed, theirs in enumerate(fit(trainer, range(2))):
        ours = train(trainer, seed)
        for split in ("train", "val"):
            assert ours[f"{split}_loss"] == pytest.approx(theirs[f"{split}_loss"], rel=tolerance)
            accuracy = theirs[f"{split}_accuracy"]
            assert ours[f"{split}_accuracy"] == pytest.approx(accuracy, abs=max(tolerance, 0.006))


@pytest.mark.slow
@pytest.mark.parametrize("kind", RANDOM_KINDS)
def test_random_kinds_of_training_equal_fit_on_average_over_seeds(kind: str) -> None:
    model, settings, classes = RANDOM_KINDS[kind]
    trainer = trainer_of(model, subset(classes=classes), epochs=EPOCHS, **settings)
    pairs = [(train(trainer, s), theirs) for s, theirs in enumerate(fit(trainer, range(20)))]
    ours, theirs = (
        [metrics["val_accuracy"] for metrics in pair] for pair in zip(*pairs, strict=True)
    )
    interval = scipy.stats.ttest_rel(ours, theirs).confidence_interval(0.99)
    assert interval.low <= 0.01
    assert interval.high >= -0.01
    assert interval.high - interval.low < 0.2


@pytest.mark.parametrize(
    "task", ["classification", pytest.param("regression", marks=pytest.mark.slow)]
)
def test_weighted_examples_and_targets_are_trained_as_in_fit(task: Any) -> None:
    x, y = digits.x_train[:300], digits.y_train[:300]
    weights = np.random.default_rng(0).random(300) * 3
    if task == "regression":
        y = np.stack([x.sum(axis=(1, 2)), y], axis=1) / 10
    settings: dict[str, Any] = {"task": task, "sample_weight": weights}
    dataset = Dataset.from_arrays(x, y, validation_size=100, test_size=10, **settings)
    assert dataset.weight_train is not None
    outputs = dataset.y_train.shape[1] if task == "regression" else 10
    mlp = MLP((16,), scale="none")
    model = build_architecture(mlp, (8, 8), dataset.num_classes, outputs)
    trainer = Trainer(model, quick_training(epochs=EPOCHS, shuffle=False), dataset)
    loss: Any = "mean_squared_error" if task == "regression" else LOGITS
    for seed in range(2):
        network = trainer.architecture.build(seed, 0)
        network.compile(trainer.training.build_optimizer(), loss, jit_compile=False)
        network.fit(
            *(dataset.x_train, dataset.y_train),
            sample_weight=dataset.weight_train,
            epochs=EPOCHS,
            shuffle=False,
            verbose=0,
        )
        theirs = network.evaluate(dataset.x_val, dataset.y_val, verbose=0)
        assert train(trainer, seed)["val_loss"] == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize(
    ("monitor", "restore_best_weights", "min_delta"),
    [
        ("val_accuracy", True, 0.06),
        pytest.param("val_loss", True, 0, marks=pytest.mark.slow),
        pytest.param("val_loss", False, 0.05, marks=pytest.mark.slow),
    ],
)
def test_early_stopping_equals_that_of_keras(
    monitor: str, *, restore_best_weights: bool, min_delta: float
) -> None:
    options: Any = {
        "monitor": monitor,
        "patience": 3,
        "restore_best_weights": restore_best_weights,
        "min_delta": min_delta,
    }
    trainer = trainer_of(
        MLP_16,
        subset(100),
        **options,
        optimizer="sgd",
        learning_rate=1.0,
        epochs=60,
        shuffle=False,
        jit_compile=False,
    )
    callback = keras.callbacks.EarlyStopping(**options)
    [theirs] = fit(trainer, [0], callback)
    run = train_baseline(trainer)
    assert len(run.history) == callback.stopped_epoch + 1 < 60
    for name, value in theirs.items():
        assert run.metrics[name] == pytest.approx(value, rel=2e-3)
    data = trainer.dataset
    outputs = trainer.outputs(run.weights, data.x_val)
    right = trainer.architecture.head.predicted(outputs) == data.y_val
    assert right.mean() == run.metrics["val_accuracy"]
    np.testing.assert_array_equal(run.examples, right)


def test_optimizer_loss_and_metrics_of_a_compiled_model_are_used() -> None:
    build = compiled(optimizers.SGD(0.5), LOGITS, metrics=["accuracy", keras.metrics.AUC()])
    dataset = subset()
    training = trainer_of(build, dataset).training
    assert training.optimizer["class_name"] == "SGD"
    assert training.fixed_learning_rate == 0.5
    assert isinstance(training.loss, dict)
    assert [metric["config"]["name"] for metric in training.metrics] == ["auc"]
    # The settings of Training override the optimizer's.
    training = trainer_of(build, dataset, learning_rate=0.25, loss="poisson").training
    assert (training.fixed_learning_rate, training.loss) == (0.25, "poisson")
    assert trainer_of(build, dataset, optimizer="adam").training.optimizer == "adam"


def squares(labels: Any, outputs: Any) -> Any:
    return (labels - outputs) ** 2


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"loss": LOGITS, "loss_weights": [2.0]}, "loss_weights"),
        ({"loss": LOGITS, "weighted_metrics": ["accuracy"]}, "weighted_metrics"),
        ({"loss": squares}, "squares"),
        ({"loss": lambda y, outputs: (y - outputs) ** 2}, "<lambda>., which is not registered"),
        ({"loss": LOGITS, "metrics": {"output": "accuracy"}}, "metrics"),
    ],
)
def test_each_setting_of_a_compilation_is_used_or_refused_by_name(
    options: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        trainer_of(compiled("sgd", **options), subset())
