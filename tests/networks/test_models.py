"""Settings of the MLP, of the training and of the paper's models."""

from __future__ import annotations

import dataclasses
import doctest
import functools
import json
import math
from typing import Any

import keras
import numpy as np
import pytest

from adnn_optuna.networks import models
from adnn_optuna.networks.models import MLP, PAPER_MODELS, Training, compiled_training, completed

NORMAL = {"class_name": "RandomNormal", "config": {"mean": 0.0, "stddev": 1.0}}


@pytest.mark.parametrize(
    ("hidden", "error"),
    [
        ((), "hidden must have at least one layer"),
        ((0,), r"hidden\[0\] must be a whole number of at least 1; got 0"),
        ((8, -1), r"hidden\[1\]"),
        (64, "must be a sequence"),
        ("64", "hidden must be a sequence of sizes.*got .64. of type str"),
    ],
)
def test_wrong_sizes_are_refused(hidden: Any, error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        MLP(hidden=hidden)


@pytest.mark.parametrize("hidden", [[8, 4], np.array([8, 4]), (np.int64(8), np.int32(4))])
def test_sizes_may_be_any_integers(hidden: Any) -> None:
    mlp = MLP(hidden=hidden)
    assert mlp == MLP(hidden=(8, 4))
    assert all(type(n) is int for n in mlp.hidden)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"activation": 3}, "activation must be a Keras name"),
        ({"kernel_initializer": keras.initializers.HeNormal}, "kernel_initializer must be"),
        ({"bias_initializer": {"stddev": 1.0}}, "bias_initializer .* as Keras serializes it"),
        ({"bias_initializer": keras.initializers.Constant(math.nan)}, "not JSON compliant"),
    ],
)
def test_wrong_settings_of_an_mlp_are_refused(wrong: dict[str, Any], error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        MLP(**wrong)


def squares(labels: Any, outputs: Any) -> Any:
    return (labels - outputs) ** 2


def without_decay(**excluded: Any) -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.AdamW()
    optimizer.exclude_from_weight_decay(**excluded)
    return optimizer


@pytest.mark.parametrize(
    ("setting", "value", "named"),
    [
        ("optimizer", without_decay(var_names=["bias"]), "exclude_from_weight_decay.*bias"),
        ("optimizer", without_decay(var_list=[keras.Variable([1.0])]), "exclude_from_weight_dec"),
        (
            "optimizer",
            keras.optimizers.LossScaleOptimizer(without_decay(var_names=["bias"])),
            "exclude_from_weight_decay",
        ),
        ("loss", keras.losses.Huber(0.3), "delta.: 0.3"),
        ("loss", keras.losses.CosineSimilarity(axis=0), "axis"),
    ],
)
def test_settings_that_a_configuration_leaves_out_are_refused(
    setting: str, value: Any, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        Training(**{setting: value})

    def build() -> keras.Model:
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        model.compile(**{setting: value})
        return model

    with pytest.raises(ValueError, match=named):
        compiled_training(build())


def test_settings_that_a_configuration_holds_are_accepted() -> None:
    schedules = keras.optimizers.schedules
    for kind in (keras.optimizers.AdamW, keras.optimizers.Muon, keras.optimizers.Nadam):
        optimizer = kind(schedules.CosineDecay(0.1, 9), clipnorm=1.0, use_ema=True)
        optimizer.build([keras.Variable(np.ones((2, 2)))])
        Training(optimizer=optimizer)
    changed = keras.optimizers.Adam()
    changed.learning_rate, changed.beta_1 = 0.5, 0.25
    assert Training(optimizer=changed) == Training(optimizer=keras.optimizers.Adam(0.5, 0.25))
    metrics = keras.metrics
    Training(
        loss=keras.losses.BinaryFocalCrossentropy(gamma=3.0, label_smoothing=0.1),
        metrics=(metrics.AUC(30), metrics.Recall(0.3, class_id=1), metrics.F1Score("macro", 0.2)),
    )
    Training(loss={"class_name": "Huber", "config": {"delta": 0.3}})


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": math.inf}, "learning_rate must be a finite number"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": True}, "learning_rate must be a number"),
        ({"shuffle": 1}, "shuffle must be True or False"),
        ({"loss": 1}, "loss must be a Keras name"),
        ({"loss": squares}, "loss is of .squares.*not registered"),
        ({"metrics": "auc"}, "metrics must be a list"),
        ({"patience": -1}, "patience"),
        ({"min_delta": 0.1}, "need a patience"),
        ({"patience": 3, "min_delta": -0.1}, "min_delta must be .* got -0.1"),
        ({"mode": "down"}, "mode must be .* got 'down'"),
        ({"mode": "d" * 200}, r"got 'd{99}\.\.\.\."),
        ({"optimizer": "sdg"}, "optimizer must be .* got 'sdg'.* mean 'sgd'"),
        (
            {"optimizer": {"class_name": "SGD", "config": {"learning_rate": math.inf}}},
            "JSON compliant",
        ),
    ],
)
def test_wrong_settings_of_a_training_are_refused(wrong: dict[str, Any], error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        Training(**wrong)


def test_numpy_numbers_are_accepted_like_pythons() -> None:
    training = Training(
        epochs=np.int64(2),  # type: ignore[arg-type]
        batch_size=np.int32(8),  # type: ignore[arg-type]
        learning_rate=np.float32(0.5),  # type: ignore[arg-type]
    )
    assert training == Training(epochs=2, batch_size=8, learning_rate=0.5)
    json.dumps(training.config)


@pytest.mark.parametrize(
    "training",
    [
        Training(),
        Training(optimizer="SGD"),
        Training(optimizer=keras.optimizers.Adam(0.25, beta_1=0.5)),
        Training(optimizer=keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 5))),
    ],
    ids=["default", "name", "object", "schedule"],
)
def test_a_training_is_equal_after_storage_as_json(training: Training) -> None:
    stored = json.loads(json.dumps(training.config, allow_nan=False))
    again = Training(**stored)
    assert again == training
    configs = [t.build_optimizer().get_config() for t in (again, training)]
    assert configs[0] | {"name": ""} == configs[1] | {"name": ""}


def test_the_learning_rate_is_combined_with_an_optimizers_name() -> None:
    optimizer = Training(optimizer="rmsprop", learning_rate=0.25).build_optimizer()
    assert isinstance(optimizer, keras.optimizers.RMSprop)
    assert optimizer.get_config()["learning_rate"] == 0.25


@pytest.mark.parametrize("name", ["bce", "mse", "mae", "mape", "msle", "poisson", "hinge"])
def test_the_name_of_a_loss_as_metric_is_minimized(name: str) -> None:
    assert keras.metrics.get(name).name in dir(keras.losses)
    assert Training().is_minimized(f"val_{name}")


@pytest.mark.parametrize(
    "name",
    [
        *("adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "ftrl", "lamb", "lion"),
        *("muon", "nadam", "rmsprop", "sgd"),
    ],
)
def test_each_optimizer_can_be_made_by_name_and_as_an_object(name: str) -> None:
    [kind] = [
        k for k in vars(keras.optimizers).values() if getattr(k, "__name__", "").lower() == name
    ]
    for optimizer in (name, kind()):
        assert type(Training(optimizer).build_optimizer()) is kind


def test_functions_of_keras_are_accepted_like_their_names() -> None:
    mse = keras.losses.mean_squared_error
    expected = Training(loss="mean_squared_error", metrics=("mean_squared_error",))
    assert Training(loss=mse, metrics=(mse,)) == expected
    assert Training(loss=keras.losses.serialize(mse), metrics=(mse,)) == expected
    with pytest.raises(TypeError, match=r"loss must be a Keras name, .*got functools.partial"):
        Training(loss=functools.partial(mse))  # type: ignore[arg-type]


def test_a_loss_scale_optimizer_is_treated_like_its_inner_optimizer() -> None:
    kinds = keras.optimizers
    within: Any = kinds.SGD(0.25, momentum=0.5)
    training = Training(kinds.LossScaleOptimizer(within))  # type: ignore[arg-type]
    assert training == Training(within)
    faster = completed(dataclasses.replace(training, learning_rate=0.5), None, "mse")
    assert faster.fixed_learning_rate == 0.5
    assert float(faster.build_optimizer().learning_rate) == 0.5
    assert faster.build_optimizer().momentum == 0.5


def test_unknown_settings_of_an_optimizer_are_refused_in_a_sentence() -> None:
    with pytest.raises((TypeError, ValueError), match="momentums"):
        Training(optimizer={"class_name": "SGD", "config": {"momentums": 0.9}})


@pytest.mark.parametrize(
    "mlp",
    [
        MLP(),
        MLP((3, 2), "tanh", NORMAL, keras.initializers.Constant(0.5)),
        MLP(kernel_initializer=keras.initializers.HeNormal(seed=3)),
    ],
    ids=["default", "configurations", "object"],
)
def test_an_mlp_is_equal_after_storage_as_json(mlp: MLP) -> None:
    stored = json.loads(json.dumps(mlp.config, allow_nan=False))
    assert stored == mlp.config
    assert stored.pop("type") == "MLP"
    assert MLP(**stored) == mlp


def test_changing_a_configuration_does_not_change_its_mlp() -> None:
    mlp = MLP(kernel_initializer=NORMAL)
    mlp.config["kernel_initializer"]["config"]["stddev"] = 9.0
    assert mlp == MLP(kernel_initializer=NORMAL)


@pytest.mark.parametrize("name", PAPER_MODELS)
def test_the_papers_models_have_the_papers_setting(name: str) -> None:
    model = PAPER_MODELS[name]
    dataset, layers = name.split("-")
    assert model.hidden == (256,) * int(layers)
    assert model.activation == "linear"
    assert model.kernel_initializer == model.bias_initializer == NORMAL
    assert model.training == Training("adam", 1e-3, 100, 10, shuffle=False)
    assert model.dataset == {"MNIST": "mnist", "FMNIST": "fashion_mnist"}[dataset]
    assert model.metric == "train_accuracy"


def test_the_papers_six_models_cannot_be_changed() -> None:
    assert len(PAPER_MODELS) == 6
    with pytest.raises(TypeError):
        PAPER_MODELS["MNIST-1"] = PAPER_MODELS["MNIST-2"]  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        PAPER_MODELS["MNIST-1"].hidden = (1,)  # type: ignore[misc]


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(models).failed == 0


def test_callbacks_are_refused_and_the_replacement_is_named() -> None:
    with pytest.raises(TypeError, match="For EarlyStopping pass patience"):
        Training(callbacks=[object()])
    # The argument is not a setting, so the configuration neither stores nor copies it.
    assert "callbacks" not in Training().config
    assert dataclasses.replace(Training(), epochs=3).epochs == 3
