"""Contracts of other people are not executed, and their paths are not followed."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import keras
import pytest
from contract_files import (
    CONTRACT,
    forged,
    get,
    is_exact,
    put,
    verify_here,
    weights_of,
    write,
)
from search_worker import quick_training

import adnn_optuna as adnn

if TYPE_CHECKING:
    from pathlib import Path

    from adnn_optuna import SearchResult


def keras_config(*layers: keras.layers.Layer) -> Any:
    model = keras.Sequential([keras.Input((8, 8)), keras.layers.Flatten(), *layers])
    return json.loads(json.dumps(keras.saving.serialize_keras_object(model)))


@pytest.mark.parametrize("kind", ["lambda", "large", "no model"])
def test_harmful_models_are_not_built(kind: str, content: Any, path: Path) -> None:
    config = keras_config(keras.layers.Lambda(lambda x: x * 2), keras.layers.Dense(10))
    if kind == "large":
        config = keras_config(keras.layers.Dense(8), keras.layers.Dense(10))
        config["config"]["layers"][2]["config"]["units"] = 10**12
    elif kind == "no model":
        config = config["config"]["layers"][3]
    content["objective"]["model"] = {"type": "keras.Model", "model": config}
    verdict = verify_here(forged(content, path.with_name("forged.json")))
    assert verdict.status == "cannot_check"
    assert "objective" in verdict.reasons[0]
    assert len(verdict.reasons[0]) < 400


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("files.weights.name", "../digits.npz"),
        ("files.weights.name", "/etc/passwd"),
        ("objective.dataset.path", "../few digits.npz"),
        ("objective.model.hidden", [10**12]),
        ("objective.training.epochs", 10**12),
        ("objective.training.learning_rate", 10**400),
        ("best.test_accuracy", 10**400),
        ("objective.dataset.validation_size", 10**12),
        ("objective.model.activation", "os.system"),
        ("best.params", {"offset": 0.1}),
        ("best.params.weight_offset_0", "0.1"),
        ("objective.training.unknown", 1),
        ("objective.training.loss", "mse" * 10_000),
        ("objective.training.monitor", ["val_loss"]),
        ("objective.model.kernel_initializer", {"class_name": "Lambda", "config": {}}),
        ("objective.space.type", "Other"),
    ],
)
def test_paths_and_sources_that_must_not_be_followed_cannot_be_checked(
    field: str, value: Any, content: Any, path: Path
) -> None:
    put(content, field, value)
    verdict = verify_here(forged(content, path.with_name("forged.json")))
    assert verdict.status == "cannot_check"
    assert any(name in verdict.reasons[0] for name in field.split(".")[1:]), verdict


def test_harmful_optimizers_are_not_built(content: Any, path: Path) -> None:
    rate = {"module": "os", "class_name": "function", "config": "system"}
    optimizer = {"class_name": "SGD", "config": {"learning_rate": rate}}
    content["objective"]["training"]["optimizer"] = optimizer
    [reason] = verify_here(forged(content, path.with_name("forged.json"))).reasons
    assert "(objective.training.optimizer.config.learning_rate is os.function, but only" in reason


@pytest.mark.parametrize(
    ("field", "settings", "said"),
    [
        ("loss", {"class_name": "Popen", "config": {}}, "is keras.losses.Popen, but only"),
        (
            "loss",
            {"class_name": "Poisson", "config": {"a": 10**9}},
            "a asks for 1,000,000,000, more",
        ),
        ("metrics", {"class_name": "Lambda", "config": {}}, "[0] is keras.metrics.Lambda, but"),
        (
            "metrics",
            {"class_name": "AUC", "config": {"thresholds": [0.5] * 10**5}},
            "asks for 100,000",
        ),
        (
            "metrics",
            {"class_name": "MeanIoU", "config": {"num_classes": 10**4, "name": "a"}},
            "[0].config.num_classes asks for 10,000, more than 1,000",
        ),
        (
            "metrics",
            {
                "class_name": "MeanMetricWrapper",
                "config": {"fn": {"module": "os", "class_name": "function", "config": "system"}},
            },
            "[0].config.fn is os.function, but only",
        ),
        ("learning_rate", {"class_name": "Popen", "config": {}}, "schedules.Popen, but only"),
    ],
)
def test_harmful_losses_and_metrics_are_not_built(
    field: str, settings: Any, said: str, content: Any, path: Path
) -> None:
    content["objective"]["training"][field] = [settings] if field == "metrics" else settings
    file = forged(content, path.with_name("forged.json"))
    [reason] = verify_here(file).reasons
    assert f"objective.training.{field}" in reason
    assert said in reason


@pytest.mark.slow
def test_the_largest_trainable_numbers_of_metrics_and_layers_are_accepted(
    content: Any, path: Path
) -> None:
    file = path.with_name("forged.json")
    content["objective"]["training"]["metrics"] = ["auc"] * 101
    [reason] = verify_here(forged(content, file)).reasons
    assert "objective.training.metrics has more than 100 entries" in reason
    content["objective"]["training"]["metrics"] = []
    content["objective"]["model"]["hidden"] = [1] * 10_001
    [reason] = verify_here(forged(content, file)).reasons
    assert "objective.model.hidden has 10,001 layers and parts of such, more than" in reason
    layers = keras_config(keras.layers.Dense(1))
    layers["config"]["layers"] += layers["config"]["layers"][-1:] * 10_000
    content["objective"]["model"] = {"type": "keras.Model", "model": layers}
    [reason] = verify_here(forged(content, file)).reasons
    assert "layers and parts of such, more than the 10,000" in reason


def test_metrics_of_keras_are_trained_again(result: SearchResult, tmp_path: Path) -> None:
    training = quick_training(
        "sgd",
        epochs=1,
        metrics=[keras.metrics.TopKCategoricalAccuracy(2), "poisson"],
        loss=keras.losses.SparseCategoricalCrossentropy(),
    )
    data = result._objective.dataset
    objective = adnn.InitOffsetObjective(adnn.MLP((4,)), data, training=training)
    adnn.search(objective, "greedy", max_trial=1).contract().save(tmp_path / CONTRACT)
    shutil.copy(data.config["path"], tmp_path)
    assert is_exact(verify_here(tmp_path / CONTRACT))


def test_parameters_are_counted_before_they_are_built(content: Any, path: Path) -> None:
    content["objective"]["model"]["hidden"] = [10**6, 10**5]
    n = 65 * 10**6 + (10**6 + 1) * 10**5 + (10**5 + 1) * 10
    [reason] = verify_here(forged(content, path.with_name("forged.json"))).reasons
    assert f"{n:,} parameters" in reason


@pytest.mark.parametrize("field", ["files.weights.name", "objective.dataset.path"])
def test_links_out_of_the_folder_are_not_followed(
    field: str, content: Any, path: Path, tmp_path: Path
) -> None:
    shutil.copy(weights_of(path), tmp_path)
    link = get(content, field)
    (tmp_path / link).unlink(missing_ok=True)
    (tmp_path / link).symlink_to(path.with_name(link))
    verdict = verify_here(write(content, tmp_path / CONTRACT))
    assert verdict.status == "cannot_check"
    assert verdict.reasons == (f"{field}: '{link}' must be a file in {str(tmp_path)!r}.",)
