"""Readers of a contract's files, which may come from an untrusted maker."""

import contextlib
import dataclasses
import hashlib
import io
import json
import math
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from adnn_optuna._attributes import Json
from adnn_optuna._checks import Finder, WrongValueError, finder, is_file
from adnn_optuna._units import score_sign
from adnn_optuna.experiments.records import test_metric
from adnn_optuna.experiments.verdict import Claim, Status
from adnn_optuna.networks.loading import OF_FILES
from adnn_optuna.networks.models import Training
from adnn_optuna.stats.spread import fitted

ROLES = ("baseline", "best")
"""The two networks of a contract, by their fields."""
SPLITS = ("train", "val", "test")
FORMAT: dict[str, Any] = {"format": "adnn_optuna contract", "format_version": 1}
PAIRS = range(10, 10_001)
"""The allowed numbers of pairs (a best and a baseline network) in the confirmation of a
contract.
"""

_MAX_BYTES = 32 * 2**20
_SPLITTING = ("classes", "positive", "validation_size", "test_size", "seed")
# The rule for each field: a type, a number within bounds (a whole number if the lower bound is
# whole), or a list with a given number of numbers. Model, data and training are checked when they
# are built. A field with "?" may be missing. Other fields are refused.
_SCHEMA: tuple[tuple[Any, str], ...] = (
    ((1, math.inf), "format_version split.train split.test"),
    (str, "format sha256 study.name objective.metric files.weights.name files.weights.sha256"),
    (str, "files.data.name? files.data.sha256?"),
    (str | None, "study.sampler study.stop_reason"),
    (str, "study.direction objective.direction?"),
    (object, "objective.positive?"),
    ((0, math.inf), "study.trials study.completed_trials study.best_trial"),
    ((0, math.inf), "objective.seed split.val"),
    (dict, "objective.model objective.space best.params environment"),
    (dict, "best.hyperparameters?"),
    (str, "objective.dataset.name objective.dataset.source objective.dataset.fingerprint"),
    *((str, f"objective.dataset.{key}?") for key in ("path", *OF_FILES)),
    (dict, "objective.dataset.preprocessing? objective.dataset.duplicates? objective.scaling?"),
    *((object, f"objective.dataset.{key}?") for key in _SPLITTING),
    *((object, f"objective.training.{field.name}") for field in dataclasses.fields(Training)),
    ((1, 100_000), "objective.training.epochs"),
    *((str, f"{role}.initial_weights_sha256 {role}.trained_weights_sha256") for role in ROLES),
    *(((0.0, 1), f"{role}.{split}_accuracy?") for role in ROLES for split in SPLITS),
    ((-1e30, 1e30), "baseline.train_loss best.train_loss"),
    ((1, 99), "confirmation.rank"),
    (range(3, 4), "confirmation.test_score confirmation.vs_baselines confirmation.replication"),
    (range(3, 4), "confirmation.hyperparameters?"),
    (PAIRS, "confirmation.seeds confirmation.baselines confirmation.gains?"),
)
_FIELDS = {
    tuple(name.rstrip("?").split(".")): (content, name.endswith("?"))
    for content, names in _SCHEMA
    for name in names.split()
}
# A training run may report additional metrics.
_METRIC = re.compile(r"(baseline|best)\.(train|val|test)_\w{1,100}")
_OBJECTS = {path[:depth] for path in _FIELDS for depth in range(len(path))}


class RefusedError(WrongValueError):
    """The reasons why a contract is not reproduced. Each reason is a sentence."""

    status: Status


class CannotCheckError(RefusedError):
    """The reasons why a contract cannot be checked."""

    status: Status = "cannot_check"


class BreachedError(RefusedError):
    """The reasons why a contract is not valid."""

    status: Status = "breached"


def read_contract(path: Path) -> Json:
    """Return a contract's content. Raise an error for other files, and for edited contracts."""
    where = f"The file {os.fspath(path)!a}"
    try:
        with path.open("rb") as file:
            # A larger file is cut off, so it is not valid JSON.
            content = json.loads(file.read(_MAX_BYTES))
        sha256 = ""
        if isinstance(content, dict):
            sha256 = contract_sha256(content)
    except OSError as error:
        raise CannotCheckError(f"{where} cannot be read ({error.strerror}).") from None
    except (RecursionError, ValueError) as error:
        raise CannotCheckError(f"{where} is not the JSON of a contract ({error}).") from None
    if not isinstance(content, dict) or not FORMAT.items() <= content.items():
        raise CannotCheckError(
            f"{where} is not a contract of format_version {FORMAT['format_version']}, the format "
            "that this version of adnn_optuna reads."
        )
    present = set(_checked_fields(content, ()))
    for field, (_, is_optional) in _FIELDS.items():
        if field in present or is_optional:
            continue
        # If no seed changes the training, a contract has no confirmation.
        if field[0] != "confirmation" or "confirmation" in content:
            raise CannotCheckError(f"The field {'.'.join(field)} is missing.")
    judge = test_metric(content["objective"]["metric"])
    for role in ROLES:
        if (role, judge) not in present:
            raise CannotCheckError(
                f"The field {role}.{judge:.80} is missing: objective.metric requires it."
            )
    if sha256 != content["sha256"]:
        raise BreachedError(
            "The content does not match its sha256: it was changed after it was written."
        )
    return content


def claim_of(content: Json) -> Claim:
    """Return the gain that a contract claims."""
    metric = test_metric(content["objective"]["metric"])
    # Only for the accuracy, each example changes the metric by the same step.
    resolution = 0.0
    if metric == "test_accuracy":
        resolution = 1 / content["split"]["test"]
    baseline = content["baseline"][metric]
    best = content["best"][metric]
    sign = score_sign(maximize=content["study"]["direction"] == "maximize")
    gain = sign * (best - baseline)
    unit = fitted(metric, (baseline, best))
    positive = content["objective"].get("positive")
    return Claim(metric, gain, resolution, unit, sign, positive)


def _checked_fields(node: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the path of each field. Raise an error for unknown fields and wrong values."""
    name = f"{'.'.join(path)!a:.80}"[1:-1]
    if path in _OBJECTS and isinstance(node, dict):
        for key, value in node.items():
            yield from _checked_fields(value, (*path, key))
        return
    if path in _FIELDS:
        content, _ = _FIELDS[path]
        find_fault = _finder_of(content)
    elif _METRIC.fullmatch(".".join(path)):
        find_fault = _number()
    else:
        raise CannotCheckError(f"A contract has no field {name}.")
    fault = find_fault(node)
    if fault is not None:
        raise CannotCheckError(f"{name} must be {fault.rule}; got {node!a:.80}.")
    yield path


def _finder_of(wanted: Any) -> Finder:
    if isinstance(wanted, range):
        return _numbers(wanted)
    if isinstance(wanted, tuple):
        return _number(*wanted)
    name = getattr(wanted, "__name__", wanted)
    return finder(f"a JSON value of type {name}", lambda value: isinstance(value, wanted))


def _number(low: float = -1e30, high: float = 1e30) -> Finder:
    kinds = {int, type(low)}
    return finder(
        f"a {'whole ' * isinstance(low, int)}number from {low:g} to {high:g}",
        lambda value: type(value) in kinds and low <= value <= high,
    )


def _numbers(counts: range) -> Finder:
    find_in_number = _number()
    ends = sorted({counts[0], counts[-1]})

    def accepts(values: Any) -> bool:
        has_count = isinstance(values, list) and len(values) in counts
        return has_count and not any(map(find_in_number, values))

    return finder(f"{' to '.join(map(str, ends))} numbers", accepts)


def contract_sha256(content: Json) -> str:
    """Return the SHA-256 of a contract's content without the field ``sha256``."""
    signed = {key: value for key, value in content.items() if key != "sha256"}
    text = json.dumps(signed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def find_in(folder: Path, name: str, field: str, how: str) -> Path:
    """Return a file in a folder. Raise an error for a name or link that leads outside.

    ``field`` is the contract's field with the name. ``how`` is the advice if the file is missing.
    """
    file = folder / name
    is_there = is_file(file)
    is_link_outside = is_there and file.resolve().parent != folder.resolve()
    if Path(name).name != name or is_link_outside:
        raise CannotCheckError(f"{field}: {name!r} must be a file in {str(folder)!r}.")
    if not is_there:
        raise CannotCheckError(f"{field}: {name!r} not found in {str(folder)!r}; {how}.")
    return file


def read_arrays(file: Path, sha256: str, field: str, most: int) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` file, or {} if the file is broken or too large."""
    where = f"{field}: {file.name!r}"
    if file.stat().st_size > most + 2**20:
        raise BreachedError(f"{where} is larger than any valid one.")
    content = io.BytesIO(file.read_bytes())
    if hashlib.sha256(content.getbuffer()).hexdigest() != sha256:
        raise BreachedError(f"{where} is not the file that was written.")
    # A broken archive may raise any error.
    with contextlib.suppress(Exception), zipfile.ZipFile(content) as archive:
        n_unpacked = sum(entry.file_size for entry in archive.infolist())
        if n_unpacked <= most:
            with np.load(content, allow_pickle=False) as arrays:
                return {name: np.asarray(arrays[name]) for name in arrays}
    return {}
