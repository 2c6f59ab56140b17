"""Targets are learned standardised, and all that is told of them is in the user's units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import optuna
import pytest
from search_worker import quick_training

import adnn_optuna as adnn
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.network import build_architecture
from adnn_optuna.networks.training import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

L = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4))
# Prices and shares, of very different sizes.
PRICES = 5e4 + 2e4 * (X @ [1, 2, -1, 0.5]) + 3e3 * RNG.normal(size=300)
BOTH = np.column_stack([PRICES, 0.4 + 0.1 * X[:, 0]])


@pytest.mark.slow
def test_all_scores_are_in_the_users_units_and_as_good_as_of_keras(tmp_path: Any) -> None:
    data = Dataset.from_arrays(X, BOTH, task="regression")
    metrics = ["mean_absolute_percentage_error"]
    training = quick_training(
        optimizer="sgd", learning_rate=0.05, epochs=20, batch_size=32, metrics=metrics
    )
    objective = adnn.InitOffsetObjective(adnn.MLP((16,)), data, training=training)
    result = adnn.search(objective, "annealing", max_trial=2)
    assert result.best is not None
    told = result.best.user_attrs["adnn:outcome"]["metrics"]
    raw = data.preprocessing.undone(data.x_val)
    found = result.predict(raw)
    assert found.shape == data.y_val.shape
    errors = found.astype(float) - data.y_val
    assert told["val_mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-3)
    assert told["val_rmse"] == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-3)
    r2 = (1 - (errors**2).mean(axis=0) / data.y_val.var(axis=0, dtype=float)).mean()
    assert told["val_r2"] == pytest.approx(r2, rel=1e-3)
    model = result.model()
    np.testing.assert_allclose(
        model.predict(raw, verbose=0).reshape(found.shape), found, rtol=1e-3
    )
    loss, share = model.evaluate(raw, data.y_val.reshape(len(raw), -1), verbose=0)
    assert told["val_loss"] == pytest.approx(loss, rel=1e-3)
    assert told["val_mean_absolute_percentage_error"] == pytest.approx(share, rel=1e-3)
    # Beside Keras, whose user standardised by hand.
    mean, std = data.y_train.mean(axis=0, dtype=float), data.y_train.std(axis=0, dtype=float)
    layers = [L.Dense(16, "relu"), L.Dense(data.n_outputs)]
    plain = keras.Sequential([keras.Input((4,)), *layers])
    plain.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=False)
    plain.fit(data.x_train, (data.y_train - mean) / std, epochs=20, batch_size=32, verbose=0)
    errors = plain.predict(data.x_val, verbose=0).reshape(found.shape) - (data.y_val - mean) / std
    expected = (1 - (errors**2).mean(axis=0) / (data.y_val / std).var(axis=0, dtype=float)).mean()
    assert told["val_r2"] > expected - 0.05
    assert expected > 0.8
    result.contract().save(tmp_path / "c.json")
    verdict = adnn.verify(tmp_path / "c.json", dataset=data)
    assert (verdict.status, verdict.gain) == ("exact", pytest.approx(result.test_gain))


def of(*last: Any) -> Callable[[], keras.Model]:
    config = [layer.get_config() for layer in last]
    kinds = [type(layer) for layer in last]
    return lambda: keras.Sequential(
        [keras.Input((4,)), *(k.from_config(c) for k, c in zip(kinds, config, strict=True))]
    )


@pytest.mark.parametrize(
    ("model", "loss", "is_standardised"),
    [
        pytest.param(adnn.MLP((3,)), "mean_squared_error", True, id="mlp"),
        pytest.param(adnn.MLP((3,)), "mean_absolute_error", True, id="absolute errors"),
        pytest.param(of(L.Reshape((4, 1)), L.LSTM(2), L.Dense(1)), None, True, id="recurrent"),
        pytest.param(of(L.Dense(3), L.BatchNormalization(), L.Dense(1)), None, True, id="normed"),
        pytest.param(adnn.MLP((3,)), "poisson", False, id="poisson"),
        pytest.param(adnn.MLP((3,)), "huber", False, id="huber"),
        pytest.param(adnn.MLP((3,)), "mean_squared_logarithmic_error", False, id="logarithms"),
        pytest.param(of(L.Dense(1, "softplus")), None, False, id="softplus"),
        pytest.param(of(L.Dense(1, "sigmoid")), None, False, id="sigmoid"),
        pytest.param(of(L.Dense(1, "tanh")), None, False, id="tanh"),
        pytest.param(of(L.Dense(1), L.Rescaling(2e4, 5e4)), None, False, id="own units"),
        pytest.param(of(L.Dense(1), L.Rescaling(1e3)), None, False, id="own scale"),
    ],
)
def test_targets_stay_where_others_would_be_wrong(
    model: Any, loss: str | None, *, is_standardised: bool, logs: pytest.LogCaptureFixture
) -> None:
    data = Dataset.from_arrays(X, PRICES, task="regression", name=f"{loss}, {model}")
    optuna.logging.set_verbosity(optuna.logging.INFO)
    trainer = Trainer(
        build_architecture(model, (4,), None), quick_training(loss=loss or "mse"), data
    )
    assert bool(trainer.dataset.preprocessing.target_mean) == is_standardised
    said = [r for r in logs.records if "learned in your units" in r.getMessage()]
    assert len(said) == (not is_standardised)
    np.testing.assert_array_equal(trainer.dataset.y_train, data.y_train)


def test_mean_and_deviation_are_those_of_the_training_part() -> None:
    data = Dataset.from_arrays(X, BOTH, task="regression")
    for of_split in (data, data.redrawn(5)):
        scaling, y = of_split.preprocessing, of_split.y_train.astype(float)
        np.testing.assert_allclose(scaling.target_mean, y.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(scaling.target_std, y.std(axis=0), rtol=1e-6)
    assert data.redrawn(5).preprocessing.target_mean != data.preprocessing.target_mean
    assert data.fingerprint == Dataset.from_arrays(X, BOTH, task="regression").fingerprint
    assert data.fingerprint != Dataset.from_arrays(X, 2 * BOTH, task="regression").fingerprint
    left = Dataset.from_arrays(X, BOTH, task="regression", scale="none")
    given = Dataset("d", X, PRICES, X, PRICES, X, PRICES, None)
    assert left.preprocessing.target_mean == given.preprocessing.target_mean == ()
