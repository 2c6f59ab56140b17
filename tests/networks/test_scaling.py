"""An MLP scales inputs and targets itself, with numbers from the training part only."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pandas as pd
import pytest
from baseline_runs import train_baseline
from hypothesis import given, settings
from hypothesis import strategies as st
from search_worker import quick_training
from sklearn.preprocessing import StandardScaler

import adnn_optuna as adnn
from adnn_optuna.experiments.contract_file import contract_sha256
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.network import build_architecture
from adnn_optuna.networks.scaling import PIXELS, Scaling, fitted, use
from adnn_optuna.networks.training import Trainer

if TYPE_CHECKING:
    from pathlib import Path

L = keras.layers
N = 300
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 4))
SUM = X @ [1, 2, -1, 0.5]
CLASSES = np.arange(N) % 3
TIMES = 1.7e9 + 230 * SUM + 5 * RNG.normal(size=N)
BOTH = np.column_stack([5e4 + 2e4 * SUM, 0.4 + 0.1 * X[:, 0]])
IMAGES = RNG.integers(0, 256, (N, 6, 6)).astype(np.uint8)
DARKENED = np.where(np.arange(N) % 2, IMAGES.T // 2, IMAGES.T).T.astype(np.uint8)
TABLE = pd.DataFrame(
    {
        "age": RNG.integers(18, 90, N),
        "pay": RNG.normal(5e4, 1e4, N),
        "city": np.array(["Bern", "Oslo", "Rome"])[RNG.integers(0, 3, N)],
    }
)
SEQUENCES = np.stack([RNG.normal(101325, 900, (N, 7)), RNG.normal(0, 1e-2, (N, 7))], axis=-1)


def regression(x: Any, y: Any) -> Dataset:
    return Dataset.from_arrays(x, y, task="regression")


class TestInputs:
    @settings(deadline=None)
    @given(
        shape=st.sampled_from([(4,), (5, 2), (5, 5), (3, 2, 3)]),
        centre=st.floats(-1e6, 1e6),
        spread=st.floats(1e-3, 1e6),
        seed=st.integers(0, 100),
    )
    def test_are_standardised_by_the_training_part_alone(
        self, shape: tuple[int, ...], centre: float, spread: float, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        x = rng.normal(centre, spread, (N, *shape)).astype(np.float32)
        data = Dataset.from_arrays(x, CLASSES, seed=seed)
        changed = {f"x_{split}": getattr(data, f"x_{split}") + 1e3 for split in ("val", "test")}
        scaling = fitted(data, "standard")
        assert fitted(dataclasses.replace(data, **changed), "standard") == scaling
        # For pixels, there is one number or one for each channel; otherwise, one for each feature
        # (also of a sequence).
        n_features = {(5, 5): 1}.get(shape, shape[-1])
        train = data.x_train.astype(np.float64)
        scaler = StandardScaler().fit(train.reshape(-1, n_features))
        for raw in (data.x_train, data.x_test):
            expected = scaler.transform(raw.reshape(-1, n_features).astype(np.float64))
            np.testing.assert_allclose(scaling.inputs(raw), expected.reshape(raw.shape), atol=1e-5)

    @pytest.mark.parametrize(
        ("x", "auto"),
        [
            (RNG.random((N, 3)), "none"),
            (X > 0, "none"),
            (IMAGES, "pixels"),
            ((100 * X).astype(np.int64), "standardised"),
            (X.tolist(), "standardised"),
            (-RNG.random((N, 3)), "standardised"),
        ],
    )
    def test_auto_scales_only_inputs_that_need_it(self, x: Any, auto: str) -> None:
        data = Dataset.from_arrays(x, CLASSES)
        standard = fitted(data, "standard")
        np.testing.assert_allclose(standard.inputs(data.x_train).mean(), 0, atol=1e-6)
        expected = {"none": Scaling(), "pixels": PIXELS, "standardised": standard}
        assert fitted(data, "auto") == expected[auto]
        assert fitted(data, "none") == Scaling()
        assert Scaling.from_config(json.loads(json.dumps(standard.config))) == standard

    def test_constant_inputs_become_zero(self) -> None:
        x = np.column_stack([X, np.full(N, 0.1), np.full(N, 7e5)])
        data = Dataset.from_arrays(x, CLASSES)
        assert not fitted(data, "auto").inputs(data.x_test)[:, 4:].any()

    def test_categories_stay_zero_and_one(self) -> None:
        data = Dataset.from_arrays(TABLE, CLASSES)
        scaled = fitted(data, "standard").inputs(data.x_train)
        np.testing.assert_array_equal(scaled[:, 2:], data.x_train[:, 2:])
        np.testing.assert_allclose(scaled[:, :2].std(axis=0), 1, rtol=1e-5)

    @pytest.mark.parametrize("x", [IMAGES[:, :, :5], IMAGES + 1.0, IMAGES[..., None] + 1.0])
    def test_images_have_one_scale_for_each_channel(self, x: Any) -> None:
        assert len(fitted(Dataset.from_arrays(x, CLASSES), "standard").factor) == 1

    def test_are_fitted_again_when_splits_are_redrawn(self) -> None:
        data = regression(X, BOTH)
        stored_scaling = data.redrawn(7)
        for part in (data, stored_scaling):
            scaling = fitted(part, "auto")
            np.testing.assert_allclose(scaling.inputs(part.x_train).std(axis=0), 1, rtol=1e-5)
            np.testing.assert_allclose(scaling.target_mean, part.y_train.mean(axis=0), rtol=1e-5)
            np.testing.assert_allclose(scaling.target_std, part.y_train.std(axis=0))
        assert fitted(data, "auto") != fitted(stored_scaling, "auto")


def large_inputs_said(logs: pytest.LogCaptureFixture, model: Any, x: Any) -> list[str]:
    logs.clear()
    data = Dataset.from_arrays(x, CLASSES)
    for seed in range(2):
        adnn.InitOffsetObjective(model, data, training=quick_training(), seed=seed)
    messages = [record.getMessage() for record in logs.records]
    return [message for message in messages if "standard deviation" in message]


def test_large_inputs_without_scaling_are_named_once(logs: pytest.LogCaptureFixture) -> None:
    def keras_model(*first: Any, shape: Any = (4,)) -> Any:
        return lambda: keras.Sequential(
            [keras.Input(shape), *(kind() for kind in first), L.Flatten(), L.Dense(4), L.Dense(3)]
        )

    [hint] = large_inputs_said(logs, keras_model(shape=(5,)), TABLE)
    assert "feature 'pay' has a standard deviation of " in hint
    assert hint.endswith(
        "    normalization = keras.layers.Normalization()\n"
        "    normalization.adapt(dataset.x_train)"
    )
    for model, x in (
        (keras_model(), 90 * X),
        (keras_model(shape=(6, 6)), IMAGES),
        (keras_model(L.BatchNormalization), 1e3 * X),
        (adnn.MLP((3,)), 1e3 * X),
    ):
        assert large_inputs_said(logs, model, x) == []


@pytest.mark.slow
def test_the_hint_for_large_targets_makes_a_model_learn(logs: pytest.LogCaptureFixture) -> None:
    def keras_model(*last: Any) -> Any:
        return lambda: keras.Sequential([keras.Input((4,)), L.Dense(1), *(k() for k in last)])

    def rescaling() -> Any:
        return keras.layers.Rescaling(y.std(axis=0), offset=y.mean(axis=0))

    r2 = []
    for model, is_named in ((keras_model(), True), (keras_model(rescaling), False)):
        data = Dataset.from_arrays(X, 1e6 + 1e5 * X[:, 0], task="regression")
        y = data.y_train
        logs.clear()
        objective = adnn.InitOffsetObjective(model, data, training=quick_training(epochs=5))
        messages = [record.getMessage() for record in logs.records]
        hint = "keras.layers.Rescaling(y.std(axis=0), offset=y.mean(axis=0))"
        assert (len(messages) == 1 and messages[0].endswith(hint)) == is_named
        r2.append(adnn.measure_variance(objective, n=5).mean)
    assert r2[0] < -10
    assert r2[1] > -10


LOAD = """
import sys, keras, numpy as np
model = keras.models.load_model(sys.argv[1])
np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))
assert not any(name.startswith("adnn") for name in sys.modules)
"""

KINDS: dict[str, Any] = {
    "arrays": lambda: Dataset.from_arrays(100 * X + 1e4, SUM > 0),
    "integers": lambda: Dataset.from_arrays((1.7e9 + 50 * X).astype(np.int64), SUM > 0),
    "tiny": lambda: Dataset.from_arrays(1e-9 * X, SUM > 0),
    "a table": lambda: Dataset.from_arrays(TABLE, TABLE.age > 50),
    "images": lambda: Dataset.from_arrays(DARKENED, np.arange(N) % 2),
    "sequences": lambda: Dataset.from_arrays(SEQUENCES, SEQUENCES[..., 1].mean(axis=1) > 0),
    "token ids": lambda: Dataset.from_arrays(IMAGES[:, 0].astype(int), IMAGES[:, 0, 0] > 99),
    "times": lambda: regression(X, TIMES),
    "tiny targets": lambda: regression(X, 1e-9 * SUM),
    "two targets": lambda: regression(30 * X + 7, BOTH),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_score_predictions_model_and_file_agree(kind: str, tmp_path: Path) -> None:
    data = KINDS[kind]()
    training = quick_training("adam", 0.01, epochs=30)
    objective = adnn.InitOffsetObjective(adnn.MLP((16,)), data, training=training)
    result = adnn.search(objective, "annealing", max_trial=2, confirm=0)
    model = result.model()
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", data.x_test)
    files = [str(tmp_path / name) for name in ("model.keras", "x.npy", "outputs.npy")]
    subprocess.run([sys.executable, "-c", LOAD, *files], check=True, capture_output=True)
    of_model = model.predict(data.x_test, verbose=0)
    np.testing.assert_array_equal(np.load(files[2]), of_model)
    assert np.asarray(model(data.x_test[:3])).dtype == of_model.dtype
    predicted = result.predict(data.x_test)
    if data.num_classes:
        np.testing.assert_allclose(
            result.predict(data.x_test, probabilities=True), of_model, atol=1e-5
        )
        right = predicted == np.asarray(data.classes or (0, 1))[data.y_test]
        assert right.mean() == pytest.approx(result.test_value)
        assert result.test_value > 0.85
    else:
        assert predicted.dtype == of_model.dtype == np.float64
        of_model = of_model.reshape(predicted.shape)
        np.testing.assert_allclose(
            predicted / data.y_test.std(axis=0), of_model / data.y_test.std(axis=0), atol=1e-5
        )
        r2 = 1 - ((predicted - data.y_test) ** 2).mean(axis=0) / data.y_test.var(axis=0)
        assert np.mean(r2) == pytest.approx(result.test_value)
        assert result.test_value > 0.97
    result.contract().save(tmp_path / "c.json")
    assert adnn.verify(tmp_path / "c.json", dataset=data).status == "exact"


def test_scores_and_losses_are_in_the_users_units() -> None:
    data = regression(X, TIMES)
    metrics = ["mean_absolute_error"]
    training = quick_training(optimizer="adam", learning_rate=0.01, epochs=40, metrics=metrics)
    objective = adnn.InitOffsetObjective(adnn.MLP((16,)), data, training=training)
    result = adnn.search(objective, "annealing", max_trial=1, confirm=0)
    outcome = result.best.user_attrs["adnn:outcome"]["metrics"]
    errors = result.predict(data.x_val) - data.y_val
    assert outcome["val_mae"] == pytest.approx(np.abs(errors).mean())
    assert outcome["val_rmse"] == pytest.approx(np.sqrt((errors**2).mean()))
    # In float32, adjacent times are 128 seconds apart.
    assert outcome["val_loss"] == pytest.approx((errors**2).mean())
    assert outcome["val_rmse"] < 64


def test_a_network_learns_like_a_keras_network_on_standardised_data() -> None:
    data = regression(X * 30 + 7, BOTH)
    architecture = build_architecture(adnn.MLP((16,)), (4,), None, 2)
    trainer = Trainer(architecture, quick_training("sgd", 0.05, epochs=3, shuffle=False), data)
    run = train_baseline(trainer)
    plain = architecture.build(0, 0)
    plain.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=False)
    x, y = (
        (values.astype(np.float64) - values.mean(axis=0, dtype=float))
        / values.std(axis=0, dtype=float)
        for values in (data.x_train, data.y_train)
    )
    plain.fit(x, y, batch_size=32, epochs=3, shuffle=False, verbose=0)
    for weights, variable in zip(run.weights, plain.variables, strict=True):
        np.testing.assert_allclose(weights, variable.numpy(), atol=1e-5)


def test_the_scaling_of_a_contract_is_not_fitted_again(tmp_path: Path) -> None:
    data = regression(X, TIMES)
    objective = adnn.InitOffsetObjective(
        adnn.MLP((4,)), data, training=quick_training("sgd", 0.05, epochs=1)
    )
    result = adnn.search(objective, "annealing", max_trial=1, confirm=0)
    path = tmp_path / "c.json"
    result.contract().save(path)
    content = json.loads(path.read_text())
    assert Scaling.from_config(content["objective"]["scaling"]) == fitted(data, "auto")
    # On other machines, the sums may differ, so the numbers in the contract count.
    same_dataset = dataclasses.replace(data)
    stored_scaling = Scaling.from_config({"factor": [1.0], "offset": [0.0]})
    use(same_dataset, "auto", stored_scaling)
    assert adnn.verify(path, dataset=same_dataset).status == "exact"
    assert fitted(same_dataset, "auto") == stored_scaling
    scaling = content["objective"]["scaling"]
    for factor, status in ((scaling["factor"][::-1], "breached"), (["a"], "cannot_check")):
        content["objective"]["scaling"] = {**scaling, "factor": factor}
        content["sha256"] = contract_sha256(content)
        path.write_text(json.dumps(content))
        assert adnn.verify(path, dataset=data).status == status


def test_an_unknown_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="scale must be one of auto, standard, none; got 'min'"):
        adnn.MLP((4,), scale="min")  # type: ignore[arg-type]
