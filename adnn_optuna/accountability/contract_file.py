"""The file of a contract and those beside it: untrusted data, checked by a schema and SHA-256."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from adnn_optuna._checks import check_output_file, first_line, is_file, is_folder
from adnn_optuna.networks.keras_files import (
    read_model_config,
    without_compilation,
)
from adnn_optuna.networks.network import hash_weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from adnn_optuna.engine.objective import InitOffsetObjective

FORMAT = "adnn_optuna contract"
FORMAT_VERSION = 1

_MAX_BYTES = 32 * 2**20
_MAX_TEXT = 10_000
# What always counts as within tolerance: other processors, whose bits differed, gave accuracies up
# to 0.0005 and losses up to 0.1 % apart in ordinary trainings.
LEAST_TOLERANCE = {"accuracy": 0.005, "relative_loss": 0.01}
# A contract must not allow itself to be wrong.
MAX_TOLERANCE = {"accuracy": 0.25, "relative_loss": 0.9}

_SHA256 = ("a SHA-256 of 64 hexadecimal digits", re.compile(r"[0-9a-f]{64}"))
# Not a path: what a contract names is in its own folder. On Windows a colon or a backslash leads
# to other drives and hidden streams.
_NOT_IN_NAMES = r"/\0\\:" if os.name == "nt" else r"/\0"
_FILE_NAME = (
    "the name of a file in the contract's own folder",
    re.compile(rf"(?!\.\.?\Z)[^{_NOT_IN_NAMES}]{{1,255}}"),
)
# What the fields must be: a type, a range of whole numbers, the bounds of a number, or a pattern
# and its name. Those with "?" may be missing, and there are no others. What is in an object is
# checked by what is made of it.
_SCHEMA: tuple[tuple[Any, str], ...] = (
    (range(1, 2**31), "format_version objective.training.batch_size"),
    (str, "format study.name objective.metric objective.training.loss environment.system"),
    (str, "objective.dataset.name"),
    (("built-in, npz or arrays", re.compile("built-in|npz|arrays")), "objective.dataset.source"),
    (str | None, "study.sampler study.stop_reason"),
    (str | dict, "objective.training.optimizer"),
    (dict, "objective.model objective.space winner.params"),
    (dict, "environment.versions environment.processor environment.flags"),
    (list, "environment.devices"),
    (bool, "rebuilds_from_config objective.training.shuffle environment.onednn"),
    (int, "objective.seed objective.dataset.seed?"),
    (object, "objective.dataset.validation_size? objective.dataset.test_size?"),
    (range(1, 100_001), "objective.training.epochs"),
    (range(2**53), "study.trials study.completed_trials study.best_trial"),
    (range(2**53), "split.train split.val split.test"),
    (range(2**53), "environment.intra_op_threads environment.inter_op_threads"),
    ((0, 1e30), "objective.training.learning_rate"),
    ((0, 1), "baseline.train_accuracy baseline.val_accuracy? baseline.test_accuracy"),
    ((0, 1), "winner.train_accuracy winner.val_accuracy? winner.test_accuracy"),
    ((-1e30, 1e30), "baseline.train_loss baseline.val_loss? winner.train_loss winner.val_loss?"),
    ((0, MAX_TOLERANCE["accuracy"]), "tolerance.accuracy"),
    ((0, MAX_TOLERANCE["relative_loss"]), "tolerance.relative_loss"),
    (_FILE_NAME, "objective.dataset.path? files.weights.name files.model.name"),
    (_SHA256, "sha256 objective.dataset.fingerprint files.weights.sha256 files.model.sha256"),
    (_SHA256, "baseline.initial_weights_sha256 baseline.trained_weights_sha256"),
    (_SHA256, "winner.initial_weights_sha256 winner.trained_weights_sha256"),
)
_FIELDS = {name: wanted for wanted, names in _SCHEMA for name in names.split()}


class CannotCheckError(ValueError):
    """Why a contract cannot be checked, in one sentence."""


class BreachedError(ValueError):
    """In what a contract does not hold: a sentence for each thing."""


def files_beside(path: Path) -> dict[str, Path]:
    """Return the files of the winner's weights and model beside a contract."""
    return {"weights": path.with_suffix(".npz"), "model": path.with_suffix(".keras")}


def check_contract_path(what: str, path: Path, data: str | None) -> None:
    """Refuse a file that a contract, and the files beside it, cannot be written to.

    In the message it is called ``what``; ``data`` is the name or path of its data, if any.

    Raises:
        ValueError: If a name is wrong or that of a folder, or the folder cannot be written to.
        FileNotFoundError: If the folder does not exist.
    """
    check_output_file(what, path, ".json")
    beside = files_beside(path)
    for kind, file in beside.items():
        check_output_file(f"The {kind} beside {what}", file)
    weights = beside["weights"].name
    # A verification looks for the data beside the contract, where the weights would be.
    if data is not None and os.path.basename(data) == weights:  # noqa: PTH119
        raise ValueError(
            f"The weights beside {what} would be written to {weights!r}, which is the name of "
            "the data; name the contract differently."
        )


def read_contract(path: Path) -> dict[str, Any]:
    """Return a contract as its file holds it, each field of the right type and within bounds.

    Raises:
        CannotCheckError: If it is not the file of a contract that this version can read.
    """
    where = f"The file {os.fspath(path)!a}"
    if is_folder(path):
        raise CannotCheckError(f"{os.fspath(path)!a} is a folder; give the contract's file.")
    if not is_file(path):
        raise CannotCheckError(f"{where} does not exist.")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CannotCheckError(f"{where} is too large for a contract.")  # noqa: TRY301
        content = json.loads(
            path.read_bytes(),
            object_pairs_hook=_distinct,
            parse_constant=_finite,
            parse_float=_finite,
        )
    except OSError as error:
        raise CannotCheckError(f"{where} cannot be read ({error.strerror}).") from None
    except RecursionError:
        raise CannotCheckError(f"{where} is nested too deeply for a contract.") from None
    except CannotCheckError:
        raise
    except ValueError as error:
        raise CannotCheckError(f"{where} is not the JSON of a contract ({error}).") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CannotCheckError(f"{where} is not a contract: its field format is not {FORMAT!r}.")
    if content.get("format_version") != FORMAT_VERSION:
        raise CannotCheckError(
            f"format_version is {_shown(content.get('format_version'))}, but this version of "
            f"adnn_optuna reads {FORMAT_VERSION}."
        )
    for field, wanted in _FIELDS.items():
        _check_field(content, field, wanted)
    _check_names(content, "")
    return content


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the field {_shown(name)} is there twice")
        found[name] = value
    return found


def _finite(digits: str) -> float:
    if not math.isfinite(float(digits)):
        raise ValueError(f"{digits[:80]} is no JSON number")
    return float(digits)


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _check_field(content: dict[str, Any], path: str, wanted: Any) -> None:
    value: Any = content
    for key in path.rstrip("?").split("."):
        if not isinstance(value, dict) or key not in value:
            if path.endswith("?"):
                return
            raise CannotCheckError(f"The field {path} is missing.")
        value = value[key]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match wanted:
        case range():
            words = f"a whole number from {wanted.start} to {wanted.stop - 1}"
            is_right = is_number and isinstance(value, int) and value in wanted
        case (str(words), pattern):
            is_right = isinstance(value, str) and pattern.fullmatch(value) is not None
        case (low, high):
            is_right, words = is_number and low <= value <= high, f"a number from {low} to {high}"
        case _:
            words = f"a JSON value of type {getattr(wanted, '__name__', wanted)}"
            is_right = isinstance(value, wanted) and (wanted is not int or is_number)
            is_right = is_right and (not isinstance(value, str) or len(value) <= _MAX_TEXT)
    if not is_right:
        raise CannotCheckError(f"{path.rstrip('?')} must be {words}, but it is {_shown(value)}.")


def _check_names(node: dict[str, Any], parent: str) -> None:
    """Refuse fields that no contract has."""
    for key, value in node.items():
        path = f"{parent}{key}"
        if "." not in key and (path in _FIELDS or f"{path}?" in _FIELDS):
            continue
        if not any(name.startswith(f"{path}.") for name in _FIELDS):
            raise CannotCheckError(f"A contract has no field {_shown(path)[1:-1]}.")
        _check_names(value, f"{path}.")


def contract_sha256(content: dict[str, Any]) -> str:
    """Return the SHA-256 of a contract's content, which its own field ``sha256`` is no part of."""
    signed = {key: value for key, value in content.items() if key != "sha256"}
    text = json.dumps(signed, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_stays_in(folder: Path, file: Path, field: str) -> None:
    """Refuse a link out of a folder."""
    if file.resolve().parent != folder.resolve():
        raise CannotCheckError(f"{field}: {file.name!r} leads out of {str(folder)!r}.")


def files_as_written(contract: dict[str, Any], folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the files that are there beside a contract, as written, and a note for the others."""
    files, notes, changed = {}, [], []
    for kind, file in contract["files"].items():
        name, found = file["name"], folder / file["name"]
        if not is_file(found):
            notes.append(f"files.{kind}: {name!r} is not there, so it was not checked.")
            continue
        check_stays_in(folder, found, f"files.{kind}.name")
        files[kind] = found
        if hash_file(found) != file["sha256"]:
            changed.append(f"files.{kind}: {name!r} is not the file that was written.")
    if changed:
        raise BreachedError(*changed)
    return files, notes


def check_weights(
    contract: dict[str, Any],
    objective: InitOffsetObjective,
    file: Path,
    trained: Sequence[np.ndarray],
) -> None:
    """Refuse other weights than the winner's, or other names of them."""
    winner, architecture = contract["winner"], objective.trainer.architecture
    try:
        arrays = _read_arrays(file, sum(values.nbytes for values in trained))
    # A broken archive can raise anything that zipfile, zlib and NumPy's header parser know.
    except Exception:  # noqa: BLE001
        arrays = {}
    weights, said = [*arrays.values()], f"files.weights: {file.name!r}"
    if hash_weights(weights) != winner["trained_weights_sha256"] or (
        [(w.shape, w.dtype) for w in weights] != [(w.shape, w.dtype) for w in trained]
    ):
        raise BreachedError(f"{said} does not hold the weights of winner.trained_weights_sha256.")
    paths = [variable.path for variable in architecture.variables]
    if architecture.config["type"] != "MLP" and len(arrays) == len(paths):
        # Layers that Keras made from a configuration leave out what they are in.
        pairs = [(n.split("/"), p.split("/")) for n, p in zip(arrays, paths, strict=True)]
        is_named = all(name[-len(path) :] == path[-len(name) :] for name, path in pairs)
    else:
        is_named = [*arrays] == paths
    if not is_named:
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
        return {name: arrays[name] for name in arrays.files}


def check_model(
    contract: dict[str, Any],
    objective: InitOffsetObjective,
    file: Path,
    trained: Sequence[np.ndarray],
) -> list[str]:
    """Refuse another model than the winner's; return what was not compared of it.

    Nothing is made of the file's configuration: it is compared with that of the winner, rebuilt.
    """
    import keras

    written = contract["environment"]["versions"].get("keras")
    is_comparable = written == keras.__version__
    start = objective.start(contract["winner"]["params"])
    model = objective.trainer.architecture.build(start.seed, start.restart)
    difference = ""
    try:
        if is_comparable and without_compilation(read_model_config(file)) != without_compilation(
            keras.saving.serialize_keras_object(model)
        ):
            difference = "its configuration is another one"
        else:
            model.load_weights(file)
    except Exception as error:  # noqa: BLE001 - a file from others may fail in any way.
        difference = f"it cannot be read ({first_line(error)})"
    # The file holds no states of random layers: a training alone tells them.
    held = {id(variable) for variable in model.weights}
    values = [
        variable.numpy() if id(variable) in held else state
        for variable, state in zip(model.variables, trained, strict=True)
    ]
    if not difference and hash_weights(values) != contract["winner"]["trained_weights_sha256"]:
        difference = "its weights are not those of winner.trained_weights_sha256"
    if difference:
        raise BreachedError(f"files.model: {file.name!r} is not the winner's model: {difference}.")
    if is_comparable:
        return []
    note = f"files.model: {file.name!r} was written by Keras {written}, whose configurations may "
    return [f"{note}differ, so only its weights were compared."]
