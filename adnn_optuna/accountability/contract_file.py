"""The file of a contract: untrusted data, checked before it is used."""

from __future__ import annotations

import hashlib
import json
import math
import os
from typing import TYPE_CHECKING, Any

from adnn_optuna._checks import check_output_file, is_file, is_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT = "adnn_optuna contract"
FORMAT_VERSION = 1

_MAX_BYTES = 32 * 2**20
# What always counts as within tolerance: other processors, whose bits differed, gave accuracies up
# to 0.0005 and losses up to 0.1 % apart in ordinary trainings.
LEAST_TOLERANCE = {"accuracy": 0.005, "relative_loss": 0.01}
# A contract must not allow itself to be wrong.
MAX_TOLERANCE = {"accuracy": 0.25, "relative_loss": 0.9}

# What the fields must be, if anything is expected of them here: a type, or a number within bounds.
# The rest is checked by what is made of them. Those with "?" may be missing; there are no others.
_SCHEMA: tuple[tuple[Any, str], ...] = (
    ((1, math.inf), "format_version"),
    (str, "format sha256 study.name objective.metric"),
    (str | None, "study.sampler study.stop_reason"),
    ((0, math.inf), "study.trials study.completed_trials study.best_trial"),
    ((0, math.inf), "objective.seed split.train split.val split.test"),
    (dict, "objective.model objective.space winner.params environment.versions"),
    (str, "objective.dataset.name objective.dataset.source objective.dataset.fingerprint"),
    (str, "objective.dataset.path?"),
    (object, "objective.dataset.validation_size? objective.dataset.test_size?"),
    (object, "objective.dataset.seed? objective.training.optimizer objective.training.loss"),
    (object, "objective.training.learning_rate objective.training.batch_size"),
    (object, "objective.training.shuffle"),
    ((1, 100_000), "objective.training.epochs"),
    (bool, "rebuilds_from_config"),
    (str, "baseline.initial_weights_sha256 baseline.trained_weights_sha256"),
    (str, "winner.initial_weights_sha256 winner.trained_weights_sha256"),
    ((0, 1), "baseline.train_accuracy baseline.val_accuracy? baseline.test_accuracy"),
    ((0, 1), "winner.train_accuracy winner.val_accuracy? winner.test_accuracy"),
    ((-1e30, 1e30), "baseline.train_loss baseline.val_loss? winner.train_loss winner.val_loss?"),
    (object, "environment.system environment.processor environment.devices environment.flags"),
    (object, "environment.intra_op_threads environment.inter_op_threads environment.onednn"),
    ((0, MAX_TOLERANCE["accuracy"]), "tolerance.accuracy"),
    ((0, MAX_TOLERANCE["relative_loss"]), "tolerance.relative_loss"),
    (str, "files.weights.name files.weights.sha256 files.model.name files.model.sha256"),
)
_FIELDS = {
    tuple(name.rstrip("?").split(".")): (wanted, name.endswith("?"))
    for wanted, names in _SCHEMA
    for name in names.split()
}
_OBJECTS = {path[:depth] for path in _FIELDS for depth in range(len(path))}


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
        with path.open("rb") as file:
            # One that is larger is cut off, so it is no JSON.
            text = file.read(_MAX_BYTES)
        content = json.loads(
            text, object_pairs_hook=_distinct, parse_constant=_finite, parse_float=_finite
        )
    except OSError as error:
        raise CannotCheckError(f"{where} cannot be read ({error.strerror}).") from None
    except RecursionError:
        raise CannotCheckError(f"{where} is nested too deeply for a contract.") from None
    except ValueError as error:
        raise CannotCheckError(f"{where} is not the JSON of a contract ({error}).") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CannotCheckError(f"{where} is not a contract: its field format is not {FORMAT!r}.")
    if content.get("format_version") != FORMAT_VERSION:
        raise CannotCheckError(
            f"format_version is {content.get('format_version')!a:.80}, but this version of "
            f"adnn_optuna reads {FORMAT_VERSION}."
        )
    found = set(_checked_fields(content, ()))
    for field, (_, is_optional) in _FIELDS.items():
        if field not in found and not is_optional:
            raise CannotCheckError(f"The field {'.'.join(field)} is missing.")
    return content


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the field {name!a:.80} is there twice")
        found[name] = value
    return found


def _finite(digits: str) -> float:
    if not math.isfinite(float(digits)):
        raise ValueError(f"{digits:.80} is no JSON number")
    return float(digits)


def _checked_fields(node: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the paths of all fields; refuse those that no contract has, and wrong values."""
    name = f"{'.'.join(path)!a:.80}"[1:-1]
    if path in _OBJECTS and isinstance(node, dict):
        for key, value in node.items():
            yield from _checked_fields(value, (*path, key))
        return
    if path not in _FIELDS:
        raise CannotCheckError(f"A contract has no field {name}.")
    wanted, _ = _FIELDS[path]
    if isinstance(wanted, tuple):
        low, high = wanted
        is_right = type(node) in {int, float} and low <= node <= high
        words = f"a number from {low} to {high}"
    else:
        is_right = isinstance(node, wanted)
        words = f"a JSON value of type {getattr(wanted, '__name__', wanted)}"
    if not is_right:
        raise CannotCheckError(f"{name} must be {words}, but it is {node!a:.80}.")
    yield path


def contract_sha256(content: dict[str, Any]) -> str:
    """Return the SHA-256 of a contract's content, which its own field ``sha256`` is no part of."""
    signed = {key: value for key, value in content.items() if key != "sha256"}
    text = json.dumps(signed, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_in(folder: Path, name: str, field: str) -> Path | None:
    """Return a file of a folder, if it is there.

    Raises:
        CannotCheckError: If its name (that ``field`` holds) or a link leads out of it.
    """
    file = folder / name
    is_there = is_file(file)
    # On Windows a name with a colon leads to other drives and hidden streams.
    if os.path.basename(name) != name or (  # noqa: PTH119
        is_there and file.resolve().parent != folder.resolve()
    ):
        raise CannotCheckError(f"{field}: {name!r} leads out of {str(folder)!r}.")
    return file if is_there else None
