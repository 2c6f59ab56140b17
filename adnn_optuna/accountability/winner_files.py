"""The files beside a contract: are they the winner's weights and the winner's model?"""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from adnn_optuna._checks import first_line
from adnn_optuna.accountability.contract_file import (
    LEAST_TOLERANCE,
    BreachedError,
    find_in,
    hash_file,
)
from adnn_optuna.networks.keras_files import (
    is_same_config,
    read_model_config,
    without_compilation,
)
from adnn_optuna.networks.network import hash_weights

if TYPE_CHECKING:
    from pathlib import Path

    from adnn_optuna.engine.objective import InitOffsetObjective


def files_as_written(contract: dict[str, Any], folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the files that are there beside a contract, as written, and a note for the others."""
    files, notes = {}, []
    for kind, stated in contract["files"].items():
        name = stated["name"]
        file = find_in(folder, name, f"files.{kind}.name")
        if file is None:
            notes.append(f"files.{kind}: {name!r} is not there, so it was not checked.")
        elif hash_file(file) != stated["sha256"]:
            raise BreachedError(f"files.{kind}: {name!r} is not the file that was written.")
        else:
            files[kind] = file
    return files, notes


def check_weights(
    contract: dict[str, Any], objective: InitOffsetObjective, file: Path, trained: list[np.ndarray]
) -> None:
    """Refuse other weights than the winner's, other names of them, or another accuracy."""
    winner, said = contract["winner"], f"files.weights: {file.name!r}"
    try:
        arrays = _read_arrays(file, sum(values.nbytes for values in trained))
    except Exception:  # noqa: BLE001 - a broken archive can raise anything that its readers know.
        arrays = {}
    weights = [*arrays.values()]
    if hash_weights(weights) != winner["trained_weights_sha256"] or (
        [(w.shape, w.dtype) for w in weights] != [(w.shape, w.dtype) for w in trained]
    ):
        raise BreachedError(f"{said} does not hold the weights of winner.trained_weights_sha256.")
    paths = [variable.path for variable in objective.trainer.architecture.variables]
    # Layers that Keras made from a configuration leave out what they are in.
    pairs = [(f"/{name}", f"/{path}") for name, path in zip(arrays, paths, strict=True)]
    if not all(name.endswith(path) or path.endswith(name) for name, path in pairs):
        raise BreachedError(f"{said} holds its arrays by other names than the model's.")
    # In another environment than the contract's a training tells nothing of their bits.
    data, claimed = objective.dataset, winner["test_accuracy"]
    [found] = objective.trainer.evaluate([weights], data.x_test, data.y_test)
    # Another processor may round the outputs of a row or two to another class.
    if not abs(found - claimed) <= max(LEAST_TOLERANCE["accuracy"], 2 / len(data.y_test)):
        raise BreachedError(
            f"winner.test_accuracy is {claimed}, but that of the weights in {file.name!r} is "
            f"{found}."
        )


def _read_arrays(file: Path, expected_bytes: int) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` file that is no larger than a model's weights."""
    content = io.BytesIO(file.read_bytes())
    with zipfile.ZipFile(content) as archive:
        sizes = [entry.file_size for entry in archive.infolist()]
    # An array's header takes some hundred bytes.
    if sum(sizes) > expected_bytes + 1000 * len(sizes):
        raise ValueError(f"{file.name!r} is larger than the model's weights.")
    with np.load(content, allow_pickle=False) as arrays:
        return dict(arrays)


def check_model(
    contract: dict[str, Any], objective: InitOffsetObjective, file: Path, trained: list[np.ndarray]
) -> list[str]:
    """Refuse another model than the winner's; return what was not compared of it.

    Nothing is made of the file's configuration: it is compared with that of the winner, rebuilt.
    """
    import keras

    winner, written = contract["winner"], contract["environment"]["versions"].get("keras")
    start, is_comparable = objective.start(winner["params"]), written == keras.__version__
    model = objective.trainer.architecture.build(start.seed, start.restart)
    said, difference = f"files.model: {file.name!r}", ""
    try:
        configs = read_model_config(file), keras.saving.serialize_keras_object(model)
        if is_comparable and not is_same_config(*map(without_compilation, configs)):
            difference = "its configuration is another one"
        model.load_weights(file)
    except Exception as error:  # noqa: BLE001 - a file from others may fail in any way.
        difference = difference or f"it cannot be read ({first_line(error)})"
    # The file holds no states of random layers: a training alone tells them.
    held = {id(variable) for variable in model.weights}
    values = [
        variable.numpy() if id(variable) in held else state
        for variable, state in zip(model.variables, trained, strict=True)
    ]
    if hash_weights(values) != winner["trained_weights_sha256"]:
        difference = difference or "its weights are not those of winner.trained_weights_sha256"
    if difference:
        raise BreachedError(f"{said} is not the winner's model: {difference}.")
    note = f"{said} was written by Keras {written}, whose configurations may differ, so only its"
    return [] if is_comparable else [f"{note} weights were compared."]
