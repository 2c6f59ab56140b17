"""Contracts: a search's result written down so that anyone can train it again and compare."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.trial import TrialState

from adnn_optuna._attributes import BASELINE_METRICS, SEARCH, TRIAL_METRICS
from adnn_optuna._checks import WrongValueError
from adnn_optuna.accountability import contract_file
from adnn_optuna.accountability.contract_file import LEAST_TOLERANCE, MAX_TOLERANCE
from adnn_optuna.accountability.environment import describe_environment
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.records import SearchRecord, params_in_words
from adnn_optuna.networks import network
from adnn_optuna.networks.differences import config_differences
from adnn_optuna.networks.keras_files import check_model_config
from adnn_optuna.networks.network import Architecture, hash_weights
from adnn_optuna.networks.offsets import Start

if TYPE_CHECKING:
    import keras

_logger = optuna.logging.get_logger("optuna.adnn_optuna")

ROLES = ("baseline", "winner")
# What the last bits of a number may do, tried out by moving the initial weights by as much.
_LAST_BITS = (1e-7, -1e-7)
_SAFETY = 3  # How many times that counts as within tolerance.
# A loss below it, of data learnt by heart, is next to nothing, and so are differences of it.
_LEAST_LOSS = 0.1


@dataclasses.dataclass(frozen=True)
class Contract:
    """What a search promises: all that is needed to train its baseline and its winner again.

    Made by :meth:`SearchResult.contract() <adnn_optuna.SearchResult.contract>`, checked by
    :func:`verify`.

    Attributes:
        content: What the file holds, as JSON does: ``study`` (how it was searched), ``objective``,
            ``split`` (the samples in each part of the data), ``baseline`` and ``winner`` (SHA-256
            of weights, accuracies, losses), ``environment`` and ``tolerance`` (how far results may
            differ in another one, as measured here).
        weights: The winner's trained weights by their paths in the model, in the model's order.
    """

    content: dict[str, Any]
    weights: dict[str, np.ndarray]
    _model: keras.Model = dataclasses.field(repr=False)

    @classmethod
    def from_search(cls, record: SearchRecord, objective: InitOffsetObjective) -> Contract:
        """Train a search's baseline and winner once more and write down what comes out.

        Raises:
            ValueError: If no trial was completed, or a training diverges.
        """
        study, best = record.study, record.best
        if best is None:
            raise WrongValueError(
                f"The study {study.study_name!r} has no completed trial, so there is no "
                "winner to make a contract of; resume it."
            )
        starts = (objective.baseline_start, objective.start(best.params))
        trained, weights = train_again(objective, starts)
        stored = study.user_attrs.get(BASELINE_METRICS), best.user_attrs.get(TRIAL_METRICS)
        for role, metrics, before in zip(ROLES, trained, stored, strict=True):
            if not all(math.isfinite(v) for v in metrics.values() if isinstance(v, float)):
                raise WrongValueError(
                    f"The {role}'s training diverged, so there is nothing to make a contract of."
                )
            if before is not None and not before.items() <= metrics.items():
                _logger.warning(
                    "The %s of study %r came out differently than in the search, which had other "
                    "versions, threads or processors; the contract states what came out now.",
                    *(role, study.study_name),
                )
        architecture, data = objective.trainer.architecture, objective.dataset
        states = [trial.state for trial in record.done_trials]
        content = {
            "format": contract_file.FORMAT,
            "format_version": contract_file.FORMAT_VERSION,
            "study": {
                "name": study.study_name,
                "sampler": study.user_attrs.get(SEARCH, {}).get("sampler"),
                "trials": len(states),
                "completed_trials": states.count(TrialState.COMPLETE),
                "best_trial": best.number,
                "stop_reason": record.stop_reason,
            },
            "objective": portable_config(objective.config),
            "rebuilds_from_config": _rebuilds(architecture),
            "split": {name: len(getattr(data, f"y_{name}")) for name in ("train", "val", "test")},
            "baseline": trained[0],
            "winner": {"params": best.params, **trained[1]},
            "environment": describe_environment(),
            "tolerance": measure_tolerance(objective, starts, trained),
        }
        model = architecture.build(starts[1].seed, starts[1].restart)
        for variable, values in zip(model.variables, weights[1], strict=True):
            variable.assign(values)
        paths = [variable.path for variable in architecture.variables]
        # As it comes back from the file: tuples are lists there.
        content = json.loads(json.dumps(content, allow_nan=False))
        return cls(content, dict(zip(paths, weights[1], strict=True)), model)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the contract, and beside it the winner's trained weights.

        Beside ``fashion.contract.json`` the weights are ``fashion.contract.npz`` (arrays by their
        paths in the model) and the model is ``fashion.contract.keras``. Files of these names are
        replaced.

        Raises:
            ValueError: If its name does not end in ``.json``, if one of the three files cannot be
                written or would be taken for the data, or if Keras cannot save the model.
            FileNotFoundError: If the folder does not exist.
        """
        path = Path(path)
        data = self.content["objective"]["dataset"].get("path")
        contract_file.check_contract_path("path", path, data)
        files = contract_file.files_beside(path)
        try:
            self._model.save(files["model"])
        except NotImplementedError:
            raise WrongValueError(
                "Keras cannot save the winner's model, as one of its classes has arguments that "
                "no configuration can hold; give that class a get_config method."
            ) from None
        np.savez(files["weights"], allow_pickle=False, **self.weights)
        beside = {
            kind: {"name": file.name, "sha256": contract_file.hash_file(file)}
            for kind, file in files.items()
        }
        content = {**self.content, "files": beside}
        content["sha256"] = contract_file.contract_sha256(content)
        # Last and at once: there is no contract without its files, and no half of one.
        unfinished = path.with_name(f".{path.name}.tmp")
        unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)

    def __str__(self) -> str:
        content, winner = self.content, self.content["winner"]
        study, data = content["study"], content["objective"]["dataset"]["name"]
        head = f"Contract of study {study['name']!r} on {data}, {study['sampler']}: "
        lines = [f"{head}trial {study['best_trial']} of {study['trials']}"]
        for name, after in winner.items():
            if name.endswith("_accuracy"):
                before = content["baseline"][name]
                line = f"  {name:<15} baseline {before:.2%}  winner {after:.2%}  gain "
                lines.append(f"{line}{100 * (after - before):+.2f} pp")
        lines.append(f"  offsets: {params_in_words(winner['params'])}")
        lines.append(f"  trained weights: SHA-256 {winner['trained_weights_sha256']}")
        return "\n".join(lines)


def train_again(
    objective: InitOffsetObjective, starts: Sequence[Start]
) -> tuple[list[dict[str, Any]], list[list[np.ndarray]]]:
    """Return what a contract says of each training, and the trained weights of each."""
    trainer, data = objective.trainer, objective.dataset
    runs = trainer.train(starts, evaluate_each_epoch=False, keep_weights=True)
    weights = [run.weights or [] for run in runs]
    accuracies = trainer.evaluate(weights, data.x_test, data.y_test).mean(axis=1).tolist()
    said = [
        {
            "initial_weights_sha256": hash_weights(trainer.initial_weights(start)),
            "trained_weights_sha256": hash_weights(of_run),
            **run.history[-1],
            "test_accuracy": accuracy,
        }
        for start, run, of_run, accuracy in zip(starts, runs, weights, accuracies, strict=True)
    ]
    return said, weights


def distance(name: str, one: float, other: float) -> tuple[str, float]:
    """Return which tolerance holds for a result of a training, and how far apart two of it are."""
    if name.endswith("_loss"):
        return "relative_loss", abs(one - other) / max(abs(one), abs(other), _LEAST_LOSS)
    return "accuracy", abs(one - other)


def measure_tolerance(
    objective: InitOffsetObjective, starts: Sequence[Start], trained: Sequence[dict[str, Any]]
) -> dict[str, float]:
    """Return how far results may differ where the last bits of numbers do.

    Some trainings forget a difference in the last bit of a weight, others double it with every
    step. So it is measured; ``trained`` is what :func:`train_again` says of ``starts``.
    """
    data, variables = objective.dataset, objective.trainer.architecture.variables
    drifts = dict.fromkeys(MAX_TOLERANCE, 0.0)
    for epsilon in _LAST_BITS:
        moving = [0.0 if variable.kind == "other" else epsilon for variable in variables]
        moved = [
            dataclasses.replace(start, offsets=tuple(np.add(start.offsets, moving).tolist()))
            for start in starts
        ]
        for before, after in zip(trained, train_again(objective, moved)[0], strict=True):
            for name, value in before.items():
                if not name.endswith("_sha256"):
                    kind, drift = distance(name, value, after[name])
                    drifts[kind] = max(drifts[kind], drift)
    rows = min(len(y) for y in (data.y_train, data.y_val, data.y_test) if len(y))
    least = {**LEAST_TOLERANCE, "accuracy": max(LEAST_TOLERANCE["accuracy"], 2 / rows)}
    return {
        kind: round(min(max(least[kind], _SAFETY * drift), MAX_TOLERANCE[kind]), 4)
        for kind, drift in drifts.items()
    }


def portable_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return an objective's configuration without folders, nor what tells its initial weights."""
    portable: dict[str, Any] = json.loads(json.dumps(config))
    portable["model"].pop("initial_weights", None)
    if "path" in portable["dataset"]:
        portable["dataset"]["path"] = Path(portable["dataset"]["path"]).name
    return portable


def _rebuilds(architecture: Architecture) -> bool:
    """Return whether the model's configuration gives the same initial weights as the model."""
    # Those that were loaded, or one initializer for several layers, are not stored.
    config, sizes = architecture.config, (architecture.input_shape, architecture.num_classes)
    if config["type"] == "MLP":
        return True
    try:
        check_model_config(config["model"], "objective.model.model")
        rebuilt = network.build_architecture(network.model_from_config(config), *sizes)
    except (TypeError, ValueError):
        return False
    return not config_differences(config, rebuilt.config)
