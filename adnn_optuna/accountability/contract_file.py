"""The file of a contract and the weights beside it: untrusted data, checked before it is used."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import json
import math
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from adnn_optuna._checks import WrongValueError, check_output_file, is_file, is_folder
from adnn_optuna._units import Unit, unit_of
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.records import test_metric
from adnn_optuna.networks.models import Training
from adnn_optuna.networks.network import hash_weights

FORMAT = "adnn_optuna contract"
FORMAT_VERSION = 1

_MAX_BYTES = 32 * 2**20
# How many gains a certificate may have of each source: fewer show nothing, more cost days.
CERTIFIED = range(5, 1001)
# Other processors, whose bits differed, gave accuracies up to so far apart in ordinary trainings.
LEAST_ACCURACY = 0.005

# What the fields must be, if anything is expected of them here: a type, a number within bounds, or
# so many gains.
# The rest is checked by what is made of them. Those with "?" may be missing; there are no others.
_SCHEMA: tuple[tuple[Any, str], ...] = (
    ((1, math.inf), "format_version"),
    (str, "format sha256 study.name objective.metric"),
    (str | None, "study.sampler study.stop_reason"),
    ((0, math.inf), "study.trials study.completed_trials study.best_trial"),
    ((0, math.inf), "objective.seed split.train split.val split.test"),
    (dict, "objective.model objective.space winner.params environment"),
    (str, "objective.dataset.name objective.dataset.source objective.dataset.fingerprint"),
    (str, "objective.dataset.path? objective.dataset.target? objective.dataset.task?"),
    (str, "objective.dataset.scale? objective.dataset.class_weight?"),
    (str, "objective.dataset.sample_weight? objective.dataset.groups?"),
    (list, "objective.dataset.classes?"),
    (dict, "objective.dataset.preprocessing?"),
    (object, "objective.dataset.validation_size? objective.dataset.test_size?"),
    (object, "objective.dataset.seed?"),
    *((object, f"objective.training.{field.name}") for field in dataclasses.fields(Training)),
    ((1, 100_000), "objective.training.epochs"),
    (str, "baseline.initial_weights_sha256 baseline.trained_weights_sha256"),
    (str, "winner.initial_weights_sha256 winner.trained_weights_sha256"),
    ((0, 1), "baseline.train_accuracy? baseline.val_accuracy? baseline.test_accuracy?"),
    ((0, 1), "winner.train_accuracy? winner.val_accuracy? winner.test_accuracy?"),
    ((-1e30, 1), "baseline.test_r2? winner.test_r2?"),
    ((-1e30, 1e30), "baseline.train_loss winner.train_loss"),
    (CERTIFIED, "certified.initialisations? certified.orders?"),
    (str, "files.weights.name files.weights.sha256"),
)
_FIELDS = {
    tuple(name.rstrip("?").split(".")): (wanted, name.endswith("?"))
    for wanted, names in _SCHEMA
    for name in names.split()
}
# Further metrics, which a training may be asked for.
_METRIC = re.compile(r"(baseline|winner)\.(train|val)_\w{1,100}")
_OBJECTS = {path[:depth] for path in _FIELDS for depth in range(len(path))}


class CannotCheckError(WrongValueError):
    """Why a contract cannot be checked, in one sentence."""


class BreachedError(WrongValueError):
    """In what a contract does not hold: a sentence for each thing."""


def check_contract_path(what: str, path: Path, data: str | None) -> None:
    """Refuse a file that a contract, and the weights beside it, cannot be written to.

    In the message it is called ``what``; ``data`` is the name or path of its data, if any.
    """
    check_output_file(what, path, ".json")
    weights = path.with_suffix(".npz")
    check_output_file(f"The weights beside {what}", weights)
    # A verification looks for the data beside the contract, where the weights would be.
    if data is not None and os.path.basename(data) == weights.name:  # noqa: PTH119
        raise WrongValueError(
            f"The weights beside {what} would be written to {weights.name!r}, which is the name "
            "of the data; name the contract differently."
        )


def read_contract(path: Path) -> dict[str, Any]:
    """Return a contract as its file holds it.

    Raises:
        CannotCheckError: If it is none to read.
        BreachedError: If it was edited after it was written.
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
    version = content.get("format_version")
    if version != FORMAT_VERSION:
        said = f"format_version is {version!a:.80}, but this version of adnn_optuna reads"
        raise CannotCheckError(f"{said} {FORMAT_VERSION}.")
    found = set(_checked_fields(content, ()))
    needed = [field for field, (_, is_optional) in _FIELDS.items() if not is_optional]
    # Which they are, the needed fields tell.
    scores = ((r, test_metric(content["objective"]["dataset"])) for r in ("baseline", "winner"))
    fields = itertools.chain(needed, scores)
    if missing := next((field for field in fields if field not in found), None):
        raise CannotCheckError(f"The field {'.'.join(missing)} is missing.")
    if contract_sha256(content) != content["sha256"]:
        raise BreachedError("The contract was edited after it was written.")
    return content


class Claim(NamedTuple):
    """The test gain that a contract claims, its metric, and one test example's part of it.

    Of an accuracy that is its resolution; R² has none.
    """

    metric: str
    gain: float
    resolution: float

    @property
    def unit(self) -> Unit:
        """How such gains are shown."""
        return unit_of(self.metric)


def claim_of(content: Mapping[str, Any]) -> Claim:
    """Return what a contract claims."""
    metric = test_metric(content["objective"]["dataset"])
    resolution = 0.0 if metric == "test_r2" else 1 / content["split"]["test"]
    return Claim(metric, content["winner"][metric] - content["baseline"][metric], resolution)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise WrongValueError(f"the field {name!a:.80} is there twice")
        found[name] = value
    return found


def _finite(digits: str) -> float:
    if not math.isfinite(float(digits)):
        raise WrongValueError(f"{digits:.80} is no JSON number")
    return float(digits)


def _checked_fields(node: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the paths of all fields; refuse those that no contract has, and wrong values."""
    name = f"{'.'.join(path)!a:.80}"[1:-1]
    if path in _OBJECTS and isinstance(node, dict):
        for key, value in node.items():
            yield from _checked_fields(value, (*path, key))
        return
    wanted: Any = (-1e30, 1e30)
    if path in _FIELDS:
        wanted, _ = _FIELDS[path]
    elif not _METRIC.fullmatch(".".join(path)):
        raise CannotCheckError(f"A contract has no field {name}.")
    if isinstance(wanted, range):
        n_right = sum(_is_within(-1e30, v, 1e30) for v in node) if isinstance(node, list) else -1
        is_right = n_right in wanted and n_right == len(node)
        words = f"{wanted[0]} to {wanted[-1]} gains"
    elif isinstance(wanted, tuple):
        low, high = wanted
        is_right = _is_within(low, node, high)
        words = f"a number from {low} to {high}"
    else:
        is_right = isinstance(node, wanted)
        words = f"a JSON value of type {getattr(wanted, '__name__', wanted)}"
    if not is_right:
        raise CannotCheckError(f"{name} must be {words}, but it is {node!a:.80}.")
    yield path


def _is_within(low: float, value: Any, high: float) -> bool:
    return type(value) in {int, float} and low <= value <= high


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
    """Return a folder's file, if there; refuse a name (of ``field``) or link that leads out."""
    file = folder / name
    is_there = is_file(file)
    leads_out = is_there and file.resolve().parent != folder.resolve()
    if leads_out or os.path.basename(name) != name:  # noqa: PTH119
        raise CannotCheckError(f"{field}: {name!r} leads out of {str(folder)!r}.")
    return file if is_there else None


def weights_beside(contract: dict[str, Any], folder: Path) -> Path | None:
    """Return the file of the weights beside a contract, if there; refuse another one."""
    written = contract["files"]["weights"]
    file = find_in(folder, written["name"], "files.weights.name")
    if file is not None and hash_file(file) != written["sha256"]:
        said = f"files.weights: {written['name']!r} is not the file that was written."
        raise BreachedError(said)
    return file


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
    data, claim = objective.dataset, claim_of(contract)
    claimed = winner[claim.metric]
    found = float(objective.trainer.evaluate(weights, data.x_test, data.y_test).mean())
    # Another processor may round the outputs of a row or two to another class.
    if not abs(found - claimed) <= max(LEAST_ACCURACY, 2 * claim.resolution) + 1e-9:
        said = f"winner.{claim.metric} is {claimed}, but that of the weights in {file.name!r}"
        raise BreachedError(f"{said} is {found}.")


def _read_arrays(file: Path, expected_bytes: int) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` file that is no larger than a model's weights."""
    content = io.BytesIO(file.read_bytes())
    with zipfile.ZipFile(content) as archive:
        sizes = [entry.file_size for entry in archive.infolist()]
    # An array's header takes some hundred bytes.
    if sum(sizes) > expected_bytes + 1000 * len(sizes):
        raise WrongValueError(f"{file.name!r} is larger than the model's weights.")
    with np.load(content, allow_pickle=False) as arrays:
        return dict(arrays)
