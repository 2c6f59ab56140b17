"""The file of a contract: read as untrusted data, checked field by field, with digests."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from typing import TYPE_CHECKING, Any

from adnn_optuna._checks import check_output_file, is_file, is_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FORMAT = "adnn_optuna contract"
FORMAT_VERSION = 1

_MAX_BYTES = 32 * 2**20
_MAX_EPOCHS = 100_000
# A contract must not allow itself to be wrong.
MAX_TOLERANCE = {"accuracy": 0.25, "relative_loss": 0.9}

# What may lead out of a folder; on Windows also to other drives and hidden streams.
_NOT_IN_NAMES = "/\0\\:" if os.name == "nt" else "/\0"

# A check of one value: what it must be, in words, and whether it is.
_Check = tuple[str, "Callable[[Any], bool]"]


def _is_file_name(value: Any) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= 255
        and value not in {".", ".."}
        and not any(character in _NOT_IN_NAMES for character in value)
    )


def _whole(low: int, high: int) -> _Check:
    return (
        f"a whole number from {low} to {high}",
        lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high,
    )


def _number(low: float, high: float) -> _Check:
    return (
        f"a number from {low:g} to {high:g}",
        lambda v: isinstance(v, int | float) and not isinstance(v, bool) and low <= v <= high,
    )


_ANY: _Check = ("a JSON value", lambda _: True)
_OBJECT: _Check = ("an object", lambda v: isinstance(v, dict))
_TEXT: _Check = ("a string", lambda v: isinstance(v, str) and len(v) <= 10_000)
_TEXT_OR_OBJECT: _Check = ("a string or an object", lambda v: isinstance(v, str | dict))
_OPTIONAL_TEXT: _Check = ("a string or null", lambda v: v is None or isinstance(v, str))
_FLAG: _Check = ("true or false", lambda v: isinstance(v, bool))
_COUNT = _whole(0, 2**53)
# As large as SeedSequence().entropy, or larger: JSON as Python reads it has no longer ones than
# those of 4300 digits.
_SEED: _Check = (
    "a whole number of at least 0",
    lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0,
)
_FRACTION = _number(0, 1)
_LOSS = _number(-1e30, 1e30)
_SHA256: _Check = (
    "a SHA-256 of 64 hexadecimal digits",
    lambda v: isinstance(v, str) and re.fullmatch(r"[0-9a-f]{64}", v) is not None,
)
# Not a path: what a contract names is in its own folder.
_FILE_NAME: _Check = ("the name of a file in the contract's own folder", _is_file_name)
_UNITS: _Check = (
    "a list of layer sizes",
    lambda v: (
        isinstance(v, list)
        and 0 < len(v) <= 1000
        and all(_whole(1, 2**31)[1](units) for units in v)
    ),
)
_TEXTS: _Check = (
    "a list of strings",
    lambda v: isinstance(v, list) and all(isinstance(item, str) for item in v),
)

_TRAINED = {
    "initial_weights_sha256": _SHA256,
    "trained_weights_sha256": _SHA256,
    "train_accuracy": _FRACTION,
    "train_loss": _LOSS,
    "val_accuracy?": _FRACTION,
    "val_loss?": _LOSS,
    "test_accuracy": _FRACTION,
}
_FILE = {"name": _FILE_NAME, "sha256": _SHA256}
_VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "model": {
        "MLP": {
            "type": _TEXT,
            "hidden": _UNITS,
            "activation": _TEXT,
            "kernel_initializer": _TEXT_OR_OBJECT,
            "bias_initializer": _TEXT_OR_OBJECT,
        },
        "keras.Model": {"type": _TEXT, "model": _OBJECT},
    },
    "dataset": {
        "built-in": {
            "name": _FILE_NAME,
            "source": _TEXT,
            "validation_size": _ANY,
            "test_size": _ANY,
            "seed": _SEED,
            "fingerprint": _SHA256,
        },
        "npz": {
            "name": _TEXT,
            "source": _TEXT,
            "path": _FILE_NAME,
            "validation_size": _ANY,
            "test_size": _ANY,
            "seed": _SEED,
            "fingerprint": _SHA256,
        },
        "arrays": {"name": _TEXT, "source": _TEXT, "fingerprint": _SHA256},
    },
    "space": {
        "OffsetSpace": {
            "type": _TEXT,
            "low": _number(-1e30, 0),
            "high": _number(0, 1e30),
            "scope": _TEXT,
            "include_output": _FLAG,
            "unit": _TEXT,
        },
        "RestartSpace": {"type": _TEXT},
    },
}
# The field that says which variant it is.
_LABELS = {"model": "type", "dataset": "source", "space": "type"}
_SCHEMA: dict[str, Any] = {
    "format": _TEXT,
    "format_version": _whole(1, 2**31),
    "study": {
        "name": _TEXT,
        "sampler": _OPTIONAL_TEXT,
        "trials": _COUNT,
        "completed_trials": _COUNT,
        "best_trial": _COUNT,
        "stop_reason": _OPTIONAL_TEXT,
    },
    "objective": {
        "model": _OBJECT,
        "dataset": _OBJECT,
        "training": {
            "optimizer": _TEXT_OR_OBJECT,
            "learning_rate": _number(0, 1e30),
            "batch_size": _whole(1, 2**31),
            "epochs": _whole(1, _MAX_EPOCHS),
            "shuffle": _FLAG,
            "loss": _TEXT,
        },
        "space": _OBJECT,
        "metric": _TEXT,
        "seed": _SEED,
    },
    "rebuilds_from_config": _FLAG,
    "split": {"train": _COUNT, "val": _COUNT, "test": _COUNT},
    "baseline": _TRAINED,
    "winner": {"params": _OBJECT, **_TRAINED},
    "environment": {
        "versions": _OBJECT,
        "system": _TEXT,
        "processor": {"machine": _TEXT, "model": _TEXT, "features": _TEXTS},
        "devices": _TEXTS,
        "intra_op_threads": _COUNT,
        "inter_op_threads": _COUNT,
        "onednn": _FLAG,
        "flags": _OBJECT,
    },
    "tolerance": {name: _number(0, high) for name, high in MAX_TOLERANCE.items()},
    "files": {"weights": _FILE, "model": _FILE},
    "digests": {"fields": _OBJECT, "contract": _SHA256},
}


class CannotCheckError(ValueError):
    """Why a contract cannot be checked, in one sentence."""


def files_beside(path: Path) -> dict[str, Path]:
    """Return the files of the winner's weights and model beside a contract."""
    return {"weights": path.with_suffix(".npz"), "model": path.with_suffix(".keras")}


def check_contract_path(what: str, path: Path, data: str | None) -> None:
    """Refuse a file that a contract, and the files beside it, cannot be written to.

    Args:
        what:
            What the file is, for the message.
        path:
            The contract's file.
        data:
            The name or path of the data that the contract is about, if they have one.

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

    Args:
        path:
            The file.

    Raises:
        CannotCheckError: If it is not the file of a contract that this version can read.
    """
    where = f"The file {os.fspath(path)!a}"
    content = _read_json(path, where)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CannotCheckError(f"{where} is not a contract: its field format is not {FORMAT!r}.")
    if content.get("format_version") != FORMAT_VERSION:
        raise CannotCheckError(
            f"format_version is {_shown(content.get('format_version'))}, but this version of "
            f"adnn_optuna reads {FORMAT_VERSION}."
        )
    try:
        _check(content, _SCHEMA, "")
        for section, label in _LABELS.items():
            given, variants = content["objective"][section], _VARIANTS[section]
            kind, field = given.get(label), f"objective.{section}"
            if not isinstance(kind, str) or kind not in variants:
                raise CannotCheckError(
                    f"{field}.{label} must be one of {', '.join(variants)}, but it is "
                    f"{_shown(kind)}."
                )
            _check(given, variants[kind], field)
    except RecursionError:
        raise CannotCheckError(f"{where} is nested too deeply for a contract.") from None
    return content


def _read_json(path: Path, where: str) -> Any:
    if is_folder(path):
        raise CannotCheckError(f"{os.fspath(path)!a} is a folder; give the contract's file.")
    if not is_file(path):
        raise CannotCheckError(f"{where} does not exist.")
    if path.stat().st_size > _MAX_BYTES:
        raise CannotCheckError(f"{where} is too large for a contract.")
    try:
        return json.loads(
            path.read_bytes().decode(),
            object_pairs_hook=_without_duplicates,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except OSError as error:
        raise CannotCheckError(f"{where} cannot be read ({error.strerror}).") from None
    except RecursionError:
        raise CannotCheckError(f"{where} is nested too deeply for a contract.") from None
    except ValueError as error:
        raise CannotCheckError(f"{where} is not the JSON of a contract ({error}).") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {_shown(twice)} is there twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    if not math.isfinite(float(digits)):
        _no_constant(_shown(digits))
    return float(digits)


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _check(value: Any, schema: Any, path: str) -> None:
    if isinstance(schema, tuple):
        wanted, is_right = schema
        if not is_right(value):
            raise CannotCheckError(f"{path} must be {wanted}, but it is {_shown(value)}.")
        return
    if not isinstance(value, dict):
        raise CannotCheckError(f"{path} must be an object, but it is {_shown(value)}.")
    prefix = f"{path}." if path else ""
    fields = {name.rstrip("?"): child for name, child in schema.items()}
    for name in value:
        if name not in fields:
            raise CannotCheckError(f"A contract has no field {prefix}{_shown(name)[1:-1]}.")
    for name, child in fields.items():
        if name in value:
            _check(value[name], child, prefix + name)
        elif f"{name}?" not in schema:
            raise CannotCheckError(f"The field {prefix}{name} is missing.")


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _fields(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield each value with where it stands; an empty object and a list of values are values."""
    if isinstance(node, dict) and node:
        for key, child in node.items():
            yield from _fields(child, f"{path}.{key}" if path else key)
    elif isinstance(node, list) and any(isinstance(child, dict | list) for child in node):
        for i, child in enumerate(node):
            yield from _fields(child, f"{path}[{i}]")
    else:
        yield path, node


def make_digests(content: dict[str, Any]) -> dict[str, Any]:
    """Return the digests of a contract's content: of each field, and of all together."""
    fields = {
        path: hashlib.sha256(_canonical([path, value])).hexdigest()[:16]
        for path, value in _fields(content, "")
    }
    whole = hashlib.sha256(_canonical([content, fields])).hexdigest()
    return {"fields": fields, "contract": whole}


def changed_fields(contract: dict[str, Any]) -> list[str]:
    """Return where a contract is not as it was written: a phrase for each such field."""
    content = {key: value for key, value in contract.items() if key != "digests"}
    stored, found = contract["digests"], make_digests(content)
    fields = stored["fields"]
    changes = []
    for path in [*found["fields"], *(fields.keys() - found["fields"].keys())]:
        if path not in fields:
            changes.append(f"{_shown(path)[1:-1]} was added")
        elif path not in found["fields"]:
            changes.append(f"{_shown(path)[1:-1]} was removed")
        elif fields[path] != found["fields"][path]:
            changes.append(f"{_shown(path)[1:-1]} was changed")
    if not changes and stored["contract"] != found["contract"]:
        changes.append("digests.contract was changed")
    return changes
