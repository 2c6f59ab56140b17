"""The weights file of a contract: every change of the file is detected."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from contract_files import (
    CONTRACT,
    Explosive,
    beside,
    verify_here,
    weights_of,
    write,
)

import adnn_optuna as adnn
from adnn_optuna import Contract
from adnn_optuna.contracts.verification import check_weights
from adnn_optuna.experiments.contract_file import (
    BreachedError,
)
from adnn_optuna.networks.network import hash_weights

if TYPE_CHECKING:
    from pathlib import Path

    from adnn_optuna import SearchResult


def test_notices_that_the_weights_file_was_changed(
    contract: Contract, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / CONTRACT
    contract.save(path)
    sha256 = json.loads(path.read_text())["files"]["weights"]["sha256"]
    weights = tmp_path / f"digits.contract.{sha256[:16]}.npz"
    assert set(tmp_path.iterdir()) == {path, weights}
    with weights.open("ab") as file:
        file.write(b"\0")
    assert verify_here(path, folder) == adnn.Verdict(
        "breached", (f"files.weights: {weights.name!r} is not the file that was written.",)
    )


@pytest.mark.parametrize("kind", ["other values", "pickle", "huge", "no array", "no archive"])
def test_notices_weights_that_differ_from_the_stated_ones(
    kind: str, content: Any, contract: Contract, path: Path, tmp_path: Path
) -> None:
    file = tmp_path / content["files"]["weights"]["name"]
    match kind:
        case "other values":
            np.savez(file, **{k: v + 1 for k, v in contract.weights.items()})
        case "pickle":
            np.savez(file, a=np.array([Explosive()], dtype=object))
        case "huge":
            np.savez_compressed(file, a=np.zeros(10**6))
        case "no array":
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("hidden_0/kernel", b"no array")
        case _:
            file.write_bytes(b"PK nothing")
    verdict = verify_here(beside(content, file, tmp_path / CONTRACT), path.parent)
    assert verdict.status == "breached"
    sentence = "does not hold the weights of best.trained_weights_sha256."
    assert verdict.reasons == (f"files.weights: {file.name!r} {sentence}",)


def test_another_processor_may_predict_another_class_for_two_images(
    content: Any, contract: Contract, path: Path, result: SearchResult
) -> None:
    file, trained = weights_of(path), [*contract.weights.values()]
    accuracy, n = content["best"]["test_accuracy"], content["split"]["test"]
    for images in range(-2, 3):
        content["best"]["test_accuracy"] = round(accuracy * n + images) / n
        check_weights(content, result._objective, file, trained)
    for images in (-3, 3):
        content["best"]["test_accuracy"] = claimed = round(accuracy * n + images) / n
        with pytest.raises(BreachedError) as breach:
            check_weights(content, result._objective, file, trained)
        assert str(breach.value) == (
            f"best.test_accuracy is {claimed}, but {accuracy} with the weights in {file.name!r}."
        )


def test_reads_no_file_that_is_larger_than_any_weights(
    content: Any, path: Path, tmp_path: Path
) -> None:
    # The limit is on the file's size, not on the size that its archive states.
    np.savez(weights := tmp_path / content["files"]["weights"]["name"], a=np.zeros(1))
    with weights.open("r+b") as file:
        file.truncate(2**40)
    verdict = verify_here(write(content, tmp_path / CONTRACT), path.parent)
    sentence = f"files.weights: {weights.name!r} is larger than any valid one."
    assert verdict == adnn.Verdict("breached", (sentence,))


def test_evaluates_weights_from_another_environment(content: Any, path: Path) -> None:
    content["environment"]["versions"]["python"] = "3.11.0"
    file = path.with_name("forged.npz")
    with np.load(weights_of(path)) as arrays:
        weights = {name: np.zeros_like(arrays[name]) for name in arrays.files}
    np.savez(file, **weights)
    content["best"]["trained_weights_sha256"] = hash_weights([*weights.values()])
    verdict = verify_here(beside(content, file, path.with_name("forged.json")))
    assert verdict.status == "breached"
    [reason] = verdict.reasons
    assert "with the weights in 'forged.npz'." in reason
