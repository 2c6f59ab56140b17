"""The files beside a contract: are they those that were written, and the winner's?"""

from __future__ import annotations

import io
import math
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from adnn_optuna._checks import first_line, is_file
from adnn_optuna.accountability.contract import LEAST_TOLERANCE, hash_file
from adnn_optuna.accountability.contract_file import CannotCheckError
from adnn_optuna.accountability.environment import describe_environment
from adnn_optuna.networks.keras_files import (
    is_same_config,
    read_model_config,
    without_compilation,
)
from adnn_optuna.networks.network import hash_weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from adnn_optuna.engine.objective import InitOffsetObjective


def check_bytes(contract: dict[str, Any], folder: Path) -> tuple[list[str], list[str]]:
    """Return what is not there of the files beside a contract, and what is not as written."""
    missing, changed = [], []
    for kind, file in contract["files"].items():
        found = folder / file["name"]
        if not is_file(found):
            missing.append(f"files.{kind}: {file['name']!r} is not there, so it was not checked.")
        elif found.resolve().parent != folder.resolve():
            raise CannotCheckError(
                f"files.{kind}.name: {file['name']!r} leads out of the contract's folder."
            )
        elif hash_file(found) != file["sha256"]:
            changed.append(f"files.{kind}: {file['name']!r} is not the file that was written.")
    return missing, changed


def check_weights(
    contract: dict[str, Any], objective: InitOffsetObjective, folder: Path
) -> tuple[list[np.ndarray] | None, list[str]]:
    """Return the arrays beside a contract, and whether they are other than it states."""
    file = folder / contract["files"]["weights"]["name"]
    if not is_file(file):
        return None, []
    try:
        arrays = _read_arrays(file, objective)
    # A broken archive can raise anything that zipfile, zlib and NumPy's header parser know.
    except Exception:  # noqa: BLE001
        arrays = {}
    weights = [*arrays.values()]
    reasons = []
    if hash_weights(weights) != contract["winner"]["trained_weights_sha256"]:
        reasons.append("does not hold the weights of winner.trained_weights_sha256")
    elif not _is_named_by([*arrays], objective):
        reasons.append("holds its arrays by other names than the model's")
    return weights, [f"files.weights: {file.name!r} {reason}." for reason in reasons]


def check_accuracy(
    contract: dict[str, Any],
    objective: InitOffsetObjective,
    weights: list[np.ndarray],
    trained: Sequence[np.ndarray],
) -> list[str]:
    """Return whether the weights beside a contract have another test accuracy than it states.

    In another environment than the contract's a training tells nothing of their bits.

    Args:
        contract:
            What the contract says.
        objective:
            Its objective, rebuilt.
        weights:
            The weights beside it.
        trained:
            The winner's weights, trained again.
    """
    data = objective.dataset
    found = math.nan
    if [(w.shape, w.dtype) for w in weights] == [(w.shape, w.dtype) for w in trained]:
        [found] = objective.trainer.evaluate([weights], data.x_test, data.y_test)
    # Another processor may round the outputs of a row or two to another class.
    allowed = max(LEAST_TOLERANCE["accuracy"], 2 / len(data.y_test))
    claimed = contract["winner"]["test_accuracy"]
    if abs(found - claimed) <= allowed:
        return []
    name = contract["files"]["weights"]["name"]
    return [f"winner.test_accuracy is {claimed}, but that of the weights in {name!r} is {found}."]


def _is_named_by(names: list[str], objective: InitOffsetObjective) -> bool:
    """Return whether these are the paths of a model's variables."""
    paths = [variable.path for variable in objective.trainer.architecture.variables]
    if names == paths:
        return True
    # All names of an MLP's layers are ours, those of other models may be Keras's.
    if objective.trainer.architecture.config["type"] == "MLP" or len(names) != len(paths):
        return False
    parts = [(name.split("/"), path.split("/")) for name, path in zip(names, paths, strict=True)]
    # Layers that Keras made from a configuration leave out what they are in.
    return all(name[-len(path) :] == path[-len(name) :] for name, path in parts)


def _read_arrays(file: Path, objective: InitOffsetObjective) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` file that is no larger than a model's weights."""
    weights = objective.trainer.initial_weights(objective.baseline_start)
    expected_bytes = sum(w.nbytes for w in weights)
    content = file.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        # An array's header takes some hundred bytes.
        if sum(entry.file_size for entry in entries) > expected_bytes + 1000 * len(entries):
            raise ValueError(f"{file.name!r} is larger than the model's weights.")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def check_model(
    contract: dict[str, Any],
    objective: InitOffsetObjective,
    folder: Path,
    trained: Sequence[np.ndarray],
) -> tuple[list[str], list[str]]:
    """Return what was not compared of the model beside a contract, and whether it is another one.

    Nothing is made of the file's configuration: it is compared with that of the winner, rebuilt.

    Args:
        contract:
            What the contract says.
        objective:
            Its objective, rebuilt.
        folder:
            Where the file is.
        trained:
            The winner's weights, trained again.
    """
    file = folder / contract["files"]["model"]["name"]
    if not is_file(file):
        return [], []
    written = contract["environment"]["versions"].get("keras")
    is_comparable = written == describe_environment()["versions"]["keras"]
    notes = []
    if not is_comparable:
        notes.append(
            f"files.model: {file.name!r} was written by Keras {written}, whose configurations may "
            "differ, so only its weights were compared."
        )
    try:
        difference = _difference(file, contract, objective, trained, compare_config=is_comparable)
    except Exception as error:  # noqa: BLE001 - a file from others may fail in any way.
        difference = f"it cannot be read ({first_line(error)})"
    if difference is None:
        return notes, []
    return notes, [f"files.model: {file.name!r} is not the winner's model: {difference}."]


def _difference(
    file: Path,
    contract: dict[str, Any],
    objective: InitOffsetObjective,
    trained: Sequence[np.ndarray],
    *,
    compare_config: bool,
) -> str | None:
    """Return what tells the model in a file from a contract's winner, if anything does."""
    import keras

    winner = contract["winner"]
    start = objective.start(winner["params"])
    model = objective.trainer.architecture.build(start.seed, start.restart)
    if compare_config and not is_same_config(
        without_compilation(read_model_config(file)),
        without_compilation(keras.saving.serialize_keras_object(model)),
    ):
        return "its configuration is another one"
    model.load_weights(file)
    # The file holds no states of random layers: a training alone tells them.
    held = {id(variable) for variable in model.weights}
    values = [
        variable.numpy() if id(variable) in held else state
        for variable, state in zip(model.variables, trained, strict=True)
    ]
    if hash_weights(values) != winner["trained_weights_sha256"]:
        return "its weights are not those of winner.trained_weights_sha256"
    return None
