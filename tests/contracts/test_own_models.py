"""Contracts of the user's own data and models."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from contract_files import (
    CONTRACT,
    STATED,
    few_digits,
    forged,
    is_exact,
    verify_here,
    with_file,
)
from search_worker import quick_training

import adnn_optuna as adnn
from adnn_optuna.experiments.contract import embedded, who_can_verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import optuna


def convolutional() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((8, 8)),
            keras.layers.Reshape((8, 8, 1)),
            keras.layers.Conv2D(2, 3, activation="relu"),
            keras.layers.Dropout(0.1),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )


def sharing() -> keras.Model:
    """Return a model with one initializer for two layers. No configuration records that it is
    shared.
    """
    same = keras.initializers.GlorotUniform()
    dense = keras.layers.Dense
    return keras.Sequential(
        [
            keras.Input((8, 8)),
            keras.layers.Flatten(),
            dense(64, kernel_initializer=same),
            dense(64, kernel_initializer=same),
            dense(10),
        ]
    )


@pytest.fixture(scope="module")
def dataset() -> adnn.Dataset:
    return adnn.Dataset.from_arrays(*few_digits(), name="mine", validation_size=0)


def contract_of(model: Callable[[], keras.Model], dataset: adnn.Dataset, path: Path) -> Any:
    training = quick_training("sgd", epochs=1, batch_size=40)
    # A seed may be as large as SeedSequence().entropy.
    objective = adnn.InitOffsetObjective(
        model, dataset, training=training, metric="train_accuracy", seed=2**127
    )
    adnn.search(objective, "greedy", max_trial=1).contract().save(path)
    return json.loads(path.read_text())


def compiled() -> keras.Model:
    model = convolutional()
    model.compile("adam", "mse")
    return model


@pytest.mark.slow
def test_data_from_arrays_must_be_passed_again(dataset: adnn.Dataset, tmp_path: Path) -> None:
    path = tmp_path / CONTRACT
    before = random.getstate()
    contract_of(compiled, dataset, path)
    verdict = verify_here(path)
    assert verdict.status == "cannot_check"
    assert "'mine'" in verdict.reasons[0]
    x, y = few_digits()
    verdict = adnn.verify(path, dataset=adnn.Dataset.from_arrays(x[1:], y[1:]))
    assert verdict.status == "cannot_check"
    assert "objective.dataset.fingerprint" in verdict.reasons[0]
    with pytest.raises(TypeError, match=r"^dataset must be a Dataset; got "):
        adnn.verify(path, dataset=x)  # type: ignore[arg-type]
    # The model is rebuilt from its configuration.
    assert is_exact(adnn.verify(path, dataset=dataset))
    assert random.getstate() == before


def test_embedded_data_let_anyone_verify_it(tmp_path: Path) -> None:
    x, y = few_digits()
    labels = np.where(y < 5, "low", "high")
    data = adnn.Dataset.from_arrays(
        x, labels, groups=np.arange(len(x)) // 2, class_weight="balanced", positive="low"
    )
    training = quick_training("sgd", epochs=1, batch_size=40)
    objective = adnn.InitOffsetObjective(adnn.MLP((4,)), data, training=training, metric="val_auc")
    result, path = adnn.search(objective, "greedy", max_trial=2), tmp_path / CONTRACT
    contract = result.contract(data="embed")
    contract.save(path)
    [file] = tmp_path.glob("digits.contract.data.*.npz")
    assert is_exact(verify_here(path))
    content = json.loads(path.read_text())
    content["objective"]["dataset"] |= {"name": "digits", "source": "built-in"}
    [reason] = verify_here(forged(content, path.with_name("named.json"))).reasons
    assert "'digits'" in reason
    file.write_bytes(file.read_bytes() + b"0")
    verdict = verify_here(path)
    sentence = f"files.data: {file.name!r} is not the file that was written."
    assert verdict == adnn.Verdict("breached", (sentence,))
    np.savez(file, x_train=x)
    assert verify_here(with_file(path, "data", file)).status == "cannot_check"
    file.unlink()
    verdict = verify_here(path)
    assert verdict.status == "cannot_check"


def test_embedded_data_of_a_regression_are_the_same(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(2000, 4))
    data = adnn.Dataset.from_arrays(x, 10 + x[:, :2], task="regression")
    training = quick_training("sgd", learning_rate=0.02, batch_size=40, epochs=1)
    objective = adnn.InitOffsetObjective(adnn.MLP((4,)), data, training=training)
    path = tmp_path / CONTRACT
    adnn.search(objective, "greedy", max_trial=2).contract(data="embed").save(path)
    assert is_exact(verify_here(path))


def test_large_data_are_not_embedded(tmp_path: Path) -> None:
    many = adnn.Dataset.from_arrays(np.zeros((13_000, 1000), np.float32), np.arange(13_000) % 2)
    with pytest.raises(ValueError, match=r"^Data to embed must have at most 50 MB; these have 52"):
        embedded(many)


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ({"name": "digits", "source": "built-in"}, "Anyone can verify it: digits is public."),
        (
            {"name": "mine", "source": "csv", "path": "mine.csv"},
            "Only people with the data file 'mine.csv' can verify it.",
        ),
        ({"name": "mine", "source": "arrays"}, "Only people with the data can verify it: adnn."),
    ],
)
def test_a_contract_says_who_can_verify_it(dataset: dict[str, str], said: str) -> None:
    content = {"objective": {"dataset": dataset}}
    assert who_can_verify(content, has_data=False).startswith(said)


@pytest.mark.parametrize("build", ["functional", "custom", "with_lambda"])
def test_a_contract_says_if_the_code_of_the_model_is_needed(build: str) -> None:
    model = keras.saving.serialize_keras_object(globals()[build]())
    content = {"objective": {"dataset": {"source": "arrays"}, "model": {"model": model}}}
    sentence = who_can_verify(json.loads(json.dumps(content)), has_data=True)
    assert sentence.startswith(
        "Anyone can" if build == "functional" else "Only people with the code"
    )


@pytest.mark.slow
def test_models_that_no_configuration_holds_must_be_passed_again(
    dataset: adnn.Dataset, tmp_path: Path
) -> None:
    path = tmp_path / CONTRACT
    contract_of(sharing, dataset, path)
    verdict = adnn.verify(path, dataset=dataset)
    assert verdict.status == "cannot_check"
    assert "objective.model" in verdict.reasons[0]
    verdict = adnn.verify(path, dataset=dataset, model=convolutional)
    assert verdict.status == "cannot_check"
    assert "objective.model" in verdict.reasons[0]
    assert is_exact(adnn.verify(path, dataset=dataset, model=sharing))


@pytest.mark.slow
def test_a_function_of_the_trial_must_be_passed_again(
    dataset: adnn.Dataset, tmp_path: Path
) -> None:
    def of_trial(trial: optuna.Trial) -> keras.Model:
        same = keras.initializers.GlorotUniform()
        units = trial.suggest_categorical("units", [8, 9])
        dense = [keras.layers.Dense(units, kernel_initializer=same) for _ in range(2)]
        layers = [keras.Input((8, 8)), keras.layers.Flatten(), *dense, keras.layers.Dense(10)]
        return keras.Sequential(layers)

    path = tmp_path / CONTRACT
    content = contract_of(of_trial, dataset, path)
    assert content["best"]["hyperparameters"]["units"] in {8, 9}
    assert "units" not in content["best"]["params"]
    assert adnn.verify(path, dataset=dataset).status == "cannot_check"
    verdict = adnn.verify(path, dataset=dataset, model=of_trial)
    assert verdict.status == "exact"
    # The rebuilt objects take their training from the file.
    assert [what for what in verdict.stated if what not in STATED] == [
        "best.hyperparameters: that training, and network without model, follow from them"
    ]


@keras.saving.register_keras_serializable("tests")
class Residual(keras.layers.Layer):
    def __init__(self, units: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.units = units
        self.inner = keras.layers.Dense(units, name=f"{self.name}_inner")

    def call(self, x: Any) -> Any:
        return x + self.inner(x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


def functional() -> keras.Model:
    """Return a nested model with stateful layers and with names that Keras uses for its own
    layers.
    """
    layers = keras.layers
    inputs = keras.Input((8, 8))
    x = layers.Flatten()(layers.TimeDistributed(layers.Dense(3))(inputs))
    x = layers.BatchNormalization()(x)
    x = keras.Sequential([keras.Input((24,)), layers.Dense(6, activation="softmax")])(x)
    x = layers.Softmax()(layers.Dropout(0.1)(x))
    return keras.Model(inputs, layers.Dense(10)(x))


def with_lambda() -> keras.Model:
    return keras.Sequential([keras.Input((8, 8)), keras.layers.Lambda(lambda x: 2 * x)])


def custom() -> keras.Model:
    layers = [keras.layers.Flatten(), Residual(64), Residual(64), keras.layers.Dense(10)]
    return keras.Sequential([keras.Input((8, 8)), *layers])


def branches() -> keras.Model:
    """Return a model with two layers of the same name."""
    flat = keras.layers.Flatten()(inputs := keras.Input((8, 8)))
    outputs = []
    for name in ("a", "b"):
        hidden = keras.layers.Dense(3, name="hidden")(branch := keras.Input((64,)))
        outputs.append(keras.Model(branch, hidden, name=name)(flat))
    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Concatenate()(outputs)))


@pytest.mark.slow
@pytest.mark.parametrize("model", [functional, custom, branches], ids=lambda model: model.__name__)
def test_a_contract_of_an_own_model_is_exact_with_and_without_its_callable(
    model: Callable[[], keras.Model], dataset: adnn.Dataset, tmp_path: Path
) -> None:
    path = tmp_path / CONTRACT
    contract_of(model, dataset, path)
    assert is_exact(adnn.verify(path, dataset=dataset, model=model))
    if model is not custom:
        assert is_exact(adnn.verify(path, dataset=dataset))
