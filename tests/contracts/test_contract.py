"""Contracts: their claims, and how they are stored."""

from __future__ import annotations

import dataclasses
import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from contract_files import (
    CONTRACT,
    DATA,
    SPLIT,
    is_exact,
    verify_here,
    weights_of,
)
from snapshots import assert_surfaces

import adnn_optuna as adnn
from adnn_optuna import Contract
from adnn_optuna.networks.network import hash_weights

if TYPE_CHECKING:
    from pathlib import Path

    from adnn_optuna import SearchResult


def test_a_contract_states_the_results_of_the_search(
    contract: Contract, result: SearchResult
) -> None:
    says = contract.content
    objective = json.loads(json.dumps(result._objective.config))
    objective["dataset"]["path"] = DATA
    assert says["objective"] == objective
    assert says["baseline"]["val_accuracy"] == result.baseline
    assert says["best"]["val_accuracy"] == result.best_value
    assert says["baseline"]["test_accuracy"] == result.test_baseline
    assert says["best"]["test_accuracy"] == result.test_value
    assert says["best"]["params"] == result.best.params
    assert says["study"] == {
        "name": "a study",
        "sampler": "annealing",
        "trials": 3,
        "completed_trials": 3,
        "best_trial": result.best.number,
        "stop_reason": "max_trial",
        "direction": "maximize",
    }
    assert says["split"] == SPLIT
    trainer = result._objective.trainer
    for role, start in (
        ("baseline", result._objective.baseline_start),
        ("best", result._objective.start(result.best.params)),
    ):
        initial = hash_weights(trainer.initial_weights(start))
        assert says[role]["initial_weights_sha256"] == initial
    assert {key: says[key] for key in ("format", "format_version")} == {
        "format": "adnn_optuna contract",
        "format_version": 1,
    }


def test_diverging_trainings_have_no_contract(result: SearchResult) -> None:
    training = dataclasses.replace(result._objective.training, learning_rate=1e30)
    with pytest.raises(ValueError, match="diverge"):
        Contract.from_search(result.record, result._objective.replace(training=training), None, {})


def test_a_contract_saves_the_trained_best_network(
    contract: Contract, path: Path, result: SearchResult
) -> None:
    test = adnn.load_dataset(path.with_name(DATA))
    with np.load(weights_of(path), allow_pickle=False) as arrays:
        weights = [arrays[name] for name in arrays.files]
        assert arrays.files == [
            "hidden_0/kernel",
            "hidden_0/bias",
            "output/kernel",
            "output/bias",
        ]
    assert hash_weights(weights) == contract.content["best"]["trained_weights_sha256"]
    model = result._objective.trainer.architecture.build(0, 0)
    model.set_weights(weights)
    hits = np.argmax(model(test.x_test), axis=-1) == test.y_test
    assert np.mean(hits) == contract.content["best"]["test_accuracy"]


def test_a_contract_needs_a_completed_trial(result: SearchResult) -> None:
    with pytest.raises(ValueError, match=r"has no best trial\. No trial was completed"):
        dataclasses.replace(
            result, record=dataclasses.replace(result.record, best=None)
        ).contract()


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("contract.npz", ValueError, "must be the name of a .json file"),
        ("missing/contract.json", FileNotFoundError, "no folder"),
    ],
)
def test_a_contract_refuses_a_wrong_path(
    name: str, error: type[Exception], message: str, contract: Contract, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        contract.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_contract_does_not_overwrite_a_folder(contract: Contract, tmp_path: Path) -> None:
    (folder := tmp_path / "mine.json").mkdir()
    with pytest.raises(ValueError, match="it is a folder"):
        contract.save(folder)
    assert len(list(tmp_path.iterdir())) == 1


def test_another_contract_of_the_same_name_keeps_the_weights_of_a_copy(
    contract: Contract, folder: Path, tmp_path: Path
) -> None:
    contract.save(tmp_path / CONTRACT)
    shutil.copy(tmp_path / CONTRACT, copy := tmp_path / "copy.json")
    Contract(contract.content, {"kernel": np.zeros(1)}).save(tmp_path / CONTRACT)
    assert weights_of(copy) != weights_of(tmp_path / CONTRACT)
    assert is_exact(verify_here(copy, folder))


def test_a_contract_names_neither_the_storage_nor_the_folder_of_the_data(path: Path) -> None:
    text = path.read_text()
    assert "secret" not in text
    assert str(path.parent) not in text


# Printed contracts


def small_content() -> dict[str, Any]:
    values = {"train_accuracy": 0.75, "val_accuracy": 0.5, "test_accuracy": 0.25, "loss": 1.5}
    params = {"weight_offset_0": 0.125, "bias_offset_0": -0.0625}
    study = {"name": "a study", "sampler": "annealing", "best_trial": 7, "trials": 12}
    dataset = {"name": "digits", "source": "built-in", "duplicates": {"test-train": 3}}
    hashes = {"trained_weights_sha256": "4567" * 16}
    return {
        "study": study | {"direction": "maximize"},
        "objective": {"dataset": dataset, "metric": "val_accuracy"},
        "split": {"test": 16},
        "baseline": {**hashes, **values},
        "best": {"params": params, **hashes, **values, "test_accuracy": 0.375},
        "confirmation": {
            "rank": 2,
            "test_score": [0.375, 0.125, 0.75],
            "vs_baselines": [0.125, -0.25, 0.5],
            "replication": [0.0625, 0.03125, 0.125],
            "seeds": [*range(10)],
            "baselines": [0.25] * 10,
            "gains": [0.0625] * 10,
        },
    }


def test_prints_as_the_snapshots() -> None:
    assert_surfaces("contract", Contract(small_content(), {}))


def test_a_contract_is_a_claim_and_shows_nothing() -> None:
    document = Contract(small_content(), {}).document()
    assert document.verdict == "claimed"
    assert "Nothing is checked yet." in document.conclusion
    assert not document.estimates
    # This is the second best trial that was confirmed, so its level is higher.
    assert document.tables[1].headings[2] == "97.5% CI"


def test_without_offsets_or_new_seeds_a_contract_claims_less() -> None:
    content = small_content()
    del content["confirmation"]["gains"]
    _, claims = Contract(content, {}).document().tables
    assert [row[0] for row in claims.rows] == ["test score", "vs new baselines"]
    del content["confirmation"]
    content["objective"]["metric"] = "val_r2"
    for role, r2 in (("baseline", -0.5), ("best", 0.25)):
        content[role] = {"params": {}, "trained_weights_sha256": "4567", "test_r2": r2}
    [metrics] = Contract(content, {}).document().tables
    assert metrics.rows == (("test_r2", "-0.5000", "0.2500", "+0.7500"),)


def test_a_name_from_a_file_does_not_control_the_terminal() -> None:
    content = small_content()
    content["study"]["name"] = content["objective"]["dataset"]["name"] = "\x1b[2J" * 99
    text = str(Contract(content, {}))
    assert all(line.isprintable() and len(line) <= 80 for line in text.split("\n"))
