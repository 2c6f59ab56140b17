"""Contracts: a search's result written down so that anyone can train it again and compare."""

import dataclasses
import hashlib
import importlib.metadata
import io
import itertools
import json
import math
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from optuna.trial import TrialState

from adnn_optuna import _checks
from adnn_optuna._checks import WrongValueError
from adnn_optuna._differences import BEHAVIOUR
from adnn_optuna._files import replacing
from adnn_optuna._units import ACCURACY, PLAIN, Unit, in_metric, unit_of
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.records import SearchRecord, test_metric
from adnn_optuna.engine.retraining import Retrained, retrain_winner
from adnn_optuna.networks._tensorflow import load_tensorflow
from adnn_optuna.networks.loading import OF_FILES
from adnn_optuna.networks.models import Training
from adnn_optuna.networks.network import hash_weights
from adnn_optuna.networks.offsets import Start
from adnn_optuna.networks.training import is_finite, n_cores
from adnn_optuna.stats.spread import unit_of_values

ROLES = ("baseline", "winner")
_SPLITS = ("train", "val", "test")
_FORMAT = {"format": "adnn_optuna contract", "format_version": 1}

_MAX_BYTES = 32 * 2**20
PAIRS = range(10, 10_001)
"""By how many pairs of winner and unmoved network the winner of a contract may be confirmed."""
# Other processors, whose bits differed, gave accuracies up to so far apart in ordinary training
# runs. Of a metric that is not within [0, 1], it is relative.
LEAST = 0.005

_SPLITTING = ("classes", "positive", "validation_size", "test_size", "seed")
# What the fields must be, if anything is expected of them here: a type, a number within bounds
# (a whole one, if the lower one is), or so many numbers.
# The rest is checked by what is made of them. Those with "?" may be missing; there are no others.
_SCHEMA: tuple[tuple[Any, str], ...] = (
    ((1, math.inf), "format_version split.train split.test"),
    (str, "format sha256 study.name objective.metric files.weights.name files.weights.sha256"),
    (str | None, "study.sampler study.stop_reason"),
    (str, "study.direction objective.direction?"),
    (object, "objective.positive?"),
    ((0, math.inf), "study.trials study.completed_trials study.best_trial"),
    ((0, math.inf), "objective.seed split.val"),
    (dict, "objective.model objective.space winner.params environment"),
    (dict, "winner.hyperparameters?"),
    (str, "objective.dataset.name objective.dataset.source objective.dataset.fingerprint"),
    *((str, f"objective.dataset.{key}?") for key in ("path", *OF_FILES)),
    (dict, "objective.dataset.preprocessing? objective.dataset.duplicates? objective.scaling?"),
    *((object, f"objective.dataset.{key}?") for key in _SPLITTING),
    *((object, f"objective.training.{field.name}") for field in dataclasses.fields(Training)),
    ((1, 100_000), "objective.training.epochs"),
    *((str, f"{role}.initial_weights_sha256 {role}.trained_weights_sha256") for role in ROLES),
    *(((0.0, 1), f"{role}.{split}_accuracy?") for role in ROLES for split in _SPLITS),
    ((-1e30, 1e30), "baseline.train_loss winner.train_loss"),
    ((1, 99), "confirmation.rank"),
    (range(3, 4), "confirmation.holds confirmation.usual confirmation.repeats"),
    (range(3, 4), "confirmation.hyperparameters?"),
    (PAIRS, "confirmation.seeds confirmation.unmoved confirmation.gains?"),
)
_FIELDS = {
    tuple(name.rstrip("?").split(".")): (wanted, name.endswith("?"))
    for wanted, names in _SCHEMA
    for name in names.split()
}
# Further metrics, which a training may be asked for.
_METRIC = re.compile(r"(baseline|winner)\.(train|val|test)_\w{1,100}")
_OBJECTS = {path[:depth] for path in _FIELDS for depth in range(len(path))}


class CannotCheckError(WrongValueError):
    """Why a contract cannot be checked, in one sentence."""


class BreachedError(WrongValueError):
    """In what a contract does not hold: a sentence for each thing."""


@dataclasses.dataclass(frozen=True)
class ContractFacts:
    """What a contract's file holds, and the winner's trained weights by their paths."""

    content: dict[str, Any]
    weights: dict[str, np.ndarray] = dataclasses.field(repr=False)

    @classmethod
    def from_search(
        cls,
        record: SearchRecord,
        objective: InitOffsetObjective,
        confirmation: dict[str, Any] | None,
    ) -> Self:
        """Train a search's baseline and winner once more and write down what comes out."""
        best = record.best
        assert best is not None, "There is a winner, which was tested."
        objective, starts, runs = retrain_winner(record, objective)
        for role, run in zip(ROLES, runs, strict=True):
            if not is_finite(run.metrics):
                said = f"The {role}'s training diverged"
                raise WrongValueError(f"{said}, so there is nothing to make a contract of.")
        params = {name: best.params[name] for name in objective.distributions}
        trained = [stated(objective, *pair) for pair in zip(starts, runs, strict=True)]
        weights, winner = runs[1].weights, {"params": params, **trained[1]}
        # What the user's functions of the trial made model and training of.
        if others := {name: v for name, v in best.params.items() if name not in params}:
            winner["hyperparameters"] = others
        data, states = objective.dataset, [trial.state for trial in record.done_trials]
        content = {
            **_FORMAT,
            "study": {
                "name": record.study.study_name,
                "sampler": record.proposers[best.number],
                "trials": len(states),
                "completed_trials": states.count(TrialState.COMPLETE),
                "best_trial": best.number,
                "stop_reason": record.stop_reason,
                "direction": objective.direction.name.lower(),
            },
            "objective": portable_config(objective.config),
            "split": {name: len(getattr(data, f"y_{name}")) for name in _SPLITS},
            "baseline": trained[0],
            "winner": winner,
            "environment": describe_environment(),
        }
        if confirmation is not None:
            content["confirmation"], claim = confirmation, claim_of(content)
            held, found = confirmation["holds"][0], winner[claim.metric]
            if not math.isclose(held, found, rel_tol=1e-6, abs_tol=claim.tolerance(found)):
                said = f"The winner's {claim.metric} is {held}, but trained again here {found}"
                raise WrongValueError(f"{said}; make its contract where it was tested.")
        paths = [variable.path for variable in objective.trainer.architecture.variables]
        if (n := len(weights) // len(paths)) > 1:  # Of an average, each network has its own.
            paths = [f"network_{i}/{path}" for i in range(n) for path in paths]
        # As it comes back from the file: tuples are lists there.
        content = json.loads(json.dumps(content, allow_nan=False))
        return cls(content, dict(zip(paths, weights, strict=True)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the contract, and beside it the winner's trained weights.

        Beside ``fashion.contract.json`` the weights are ``fashion.contract.HASH.npz`` (arrays by
        their paths in the model). HASH is the beginning of the file's SHA-256, so the weights of a
        contract that is replaced stay: delete them if you keep no copy of that contract.

        Raises:
            ValueError: If its name does not end in ``.json``.
            FileNotFoundError: If the folder does not exist.
            OSError: If one of the two files cannot be written; the previous contract stays.
        """
        path = Path(path)
        _checks.check_output_file("path", path, ".json")
        archive = io.BytesIO()
        np.savez(archive, allow_pickle=False, **self.weights)
        sha256 = hashlib.sha256(archive.getbuffer()).hexdigest()
        weights = path.with_suffix(f".{sha256[:16]}.npz")
        content = {**self.content, "files": {"weights": {"name": weights.name, "sha256": sha256}}}
        content["sha256"] = contract_sha256(content)
        # The contract is replaced last, so the weights that it names are there at any moment.
        with replacing(path) as unfinished:
            unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            with replacing(weights) as unfinished_weights:
                unfinished_weights.write_bytes(archive.getbuffer())


def stated(
    objective: InitOffsetObjective, starts: Sequence[Start], run: Retrained
) -> dict[str, Any]:
    """Return what a contract says of a training, or of those whose networks are averaged."""
    initial = itertools.chain(*map(objective.trainer.initial_weights, starts))
    return {
        "initial_weights_sha256": hash_weights([*initial]),
        "trained_weights_sha256": hash_weights(run.weights),
        **run.metrics,
    }


def portable_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return an objective's configuration without folders, and what a contract needs not."""
    # Hashes of the weights tell more than sketches of behaviour.
    kept = {key: value for key, value in config.items() if key != BEHAVIOUR}
    portable: dict[str, Any] = json.loads(json.dumps(kept))
    if "path" in portable["dataset"]:
        portable["dataset"]["path"] = Path(portable["dataset"]["path"]).name
    return portable


def describe_environment() -> dict[str, Any]:
    """Return what this process trains with, as JSON holds it."""
    load_tensorflow("Training a network")
    import tensorflow as tf

    packages = ("numpy", "tensorflow", "keras", "optuna", "adnn_optuna")
    # Only Linux has it.
    path = Path("/proc/cpuinfo")
    cpuinfo = path.read_text(encoding="utf-8") if path.exists() else ""
    model = re.search(r"^model name\s*: (.+)", cpuinfo, re.MULTILINE)
    threading, onednn = tf.config.threading, os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1")
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
        "system": platform.system(),
        "processor": {
            "machine": platform.machine(),
            "model": model[1] if model else platform.processor(),
        },
        "devices": sorted(device.device_type for device in tf.config.list_physical_devices()),
        "intra_op_threads": _threads(threading.get_intra_op_parallelism_threads(), "INTRAOP"),
        "inter_op_threads": _threads(threading.get_inter_op_parallelism_threads(), "INTEROP"),
        "onednn": onednn.lower() not in {"0", "false"},
        "flags": {name: os.environ.get(name, "") for name in ("XLA_FLAGS", "TF_XLA_FLAGS")},
    }


def _threads(configured: int, kind: str) -> int:
    """Return a number of threads as TensorFlow chooses it: by Python, the shell or the CPUs."""
    wanted = os.environ.get(f"TF_NUM_{kind}_THREADS", "")
    by_shell = int(wanted) if wanted.isdigit() else 0
    return configured or by_shell or n_cores()


def read_contract(path: Path) -> dict[str, Any]:
    """Return a contract as its file holds it; refuse what is none, or was edited."""
    where = f"The file {os.fspath(path)!a}"
    try:
        with path.open("rb") as file:
            # One that is larger is cut off, so it is no JSON.
            content = json.loads(file.read(_MAX_BYTES))
    except OSError as error:
        raise CannotCheckError(f"{where} cannot be read ({error.strerror}).") from None
    except (RecursionError, ValueError) as error:
        raise CannotCheckError(f"{where} is not the JSON of a contract ({error}).") from None
    if not isinstance(content, dict) or {key: content.get(key) for key in _FORMAT} != _FORMAT:
        said = f"{where} is not a contract of format_version {_FORMAT['format_version']}"
        raise CannotCheckError(f"{said}, which this version of adnn_optuna reads.")
    found = set(_checked_fields(content, ()))
    needed = [field for field, (_, is_optional) in _FIELDS.items() if not is_optional]
    if "confirmation" not in content:  # Of a training that no seed changes.
        needed = [field for field in needed if field[0] != "confirmation"]
    if missing := next((field for field in needed if field not in found), None):
        raise CannotCheckError(f"The field {'.'.join(missing)} is missing.")
    judge = test_metric(content["objective"]["metric"])
    if untested := next((role for role in ROLES if (role, judge) not in found), None):
        said = f"The field {untested}.{judge:.80} is missing, which objective.metric asks for"
        raise CannotCheckError(f"{said}.")
    if contract_sha256(content) != content["sha256"]:
        raise BreachedError("The contract was edited after it was written.")
    return content


class Claim(NamedTuple):
    """The test gain that a contract claims, its metric, and one test example's part of it."""

    metric: str
    gain: float
    resolution: float
    unit: Unit = ACCURACY
    sign: int = 1  # -1 if lower values are better.
    positive: Any = None  # The class that the metric is of, if it is of one.

    @property
    def of(self) -> str:
        """The words behind a gain that say what it is in."""
        return in_metric(self.metric, self.positive)

    def tolerance(self, found: float) -> float:
        """Return how far apart the metrics may be that two processors find of one network.

        ``found`` is what was found here: the size of a metric that is not within [0, 1].
        """
        return max(self.scale(found) * LEAST, 2 * self.resolution) + 1e-9 * self.scale(found)

    def scale(self, found: float) -> float:
        """Return the size of the metric, of which 0.5% are no difference."""
        is_relative = self.unit.largest == math.inf and not self.metric.endswith("_r2")
        return abs(found) if is_relative else 1.0


def claim_of(content: Mapping[str, Any]) -> Claim:
    """Return what a contract claims."""
    metric = test_metric(content["objective"]["metric"])
    # No single example makes a step of other metrics.
    resolution = 1 / content["split"]["test"] if metric == "test_accuracy" else 0.0
    baseline, winner = (content[role][metric] for role in ROLES)
    sign = -1 if content["study"]["direction"] == "minimize" else 1
    unit, fitted = unit_of(metric), unit_of_values([[baseline, winner]])
    unit = fitted if unit is PLAIN and fitted.digits > unit.digits else unit
    gain, positive = sign * (winner - baseline), content["objective"].get("positive")
    return Claim(metric, gain, resolution, unit, sign, positive)


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
        is_right = isinstance(node, list) and len(node) in wanted and all(map(_is_within, node))
        words = " to ".join(map(str, sorted({wanted[0], wanted[-1]}))) + " numbers"
    elif isinstance(wanted, tuple):
        low, high = wanted
        is_right = _is_within(node, low, high)
        words = f"a {'whole ' * isinstance(low, int)}number from {low:g} to {high:g}"
    else:
        is_right = isinstance(node, wanted)
        words = f"a JSON value of type {getattr(wanted, '__name__', wanted)}"
    if not is_right:
        raise CannotCheckError(f"{name} must be {words}, but it is {node!a:.80}.")
    yield path


def _is_within(value: Any, low: float = -1e30, high: float = 1e30) -> bool:
    return type(value) in {int, type(low)} and low <= value <= high


def contract_sha256(content: dict[str, Any]) -> str:
    """Return the SHA-256 of a contract's content, which its own field ``sha256`` is no part of."""
    signed = {key: value for key, value in content.items() if key != "sha256"}
    text = json.dumps(signed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
