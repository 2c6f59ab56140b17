"""Contracts: a search's result written down so that anyone can train it again and compare."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.trial import TrialState

from adnn_optuna._attributes import BASELINE_METRICS, SEARCH, TRIAL_METRICS
from adnn_optuna.accountability import contract_file
from adnn_optuna.accountability.contract_file import LEAST_TOLERANCE, MAX_TOLERANCE
from adnn_optuna.accountability.environment import describe_environment
from adnn_optuna.engine.records import params_in_words
from adnn_optuna.networks.differences import config_differences
from adnn_optuna.networks.keras_files import check_model_config
from adnn_optuna.networks.network import build_architecture, hash_weights, model_from_config

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    import keras

    from adnn_optuna.engine.objective import InitOffsetObjective
    from adnn_optuna.engine.records import SearchRecord
    from adnn_optuna.networks.offsets import Start

_logger = optuna.logging.get_logger("optuna.adnn_optuna")

ROLES = ("baseline", "winner")
# What the last bits of a number may do, tried out by moving the initial weights by as much.
_LAST_BITS = (1e-7, -1e-7)
# How many times that counts as within tolerance.
_SAFETY = 3


@dataclasses.dataclass(frozen=True)
class Contract:
    """What a search promises: all that is needed to train its baseline and its winner again.

    Made by :meth:`SearchResult.contract() <adnn_optuna.SearchResult.contract>`, checked by
    :func:`verify`.

    Attributes:
        content:
            What the file holds, as JSON does: ``study`` (how it was searched), ``objective``,
            ``split`` (the samples in each part of the data), ``baseline`` and ``winner`` (SHA-256
            of weights, accuracies, losses), ``environment`` and ``tolerance`` (how far results may
            differ in another one, as measured here).
        weights:
            The winner's trained weights by their paths in the model, in the model's order.
    """

    content: dict[str, Any]
    weights: dict[str, np.ndarray]
    _build: Callable[[], keras.Model] = dataclasses.field(repr=False)

    @classmethod
    def from_search(cls, record: SearchRecord, objective: InitOffsetObjective) -> Contract:
        """Train a search's baseline and winner once more and write down what comes out.

        Raises:
            ValueError: If no trial was completed, or a training diverges.
        """
        study, best = record.study, record.best
        if best is None:
            raise ValueError(
                f"The study {study.study_name!r} has no completed trial, so there is no "
                "winner to make a contract of; resume it."
            )
        architecture = objective.trainer.architecture
        starts = (objective.baseline_start, objective.start(best.params))
        trained, weights = train_again(objective, starts)
        for role, metrics in zip(ROLES, trained, strict=True):
            if not all(math.isfinite(v) for v in metrics.values() if isinstance(v, float)):
                raise ValueError(
                    f"The {role}'s training diverged, so there is nothing to make a contract of."
                )
        stored = study.user_attrs.get(BASELINE_METRICS), best.user_attrs.get(TRIAL_METRICS)
        if any(
            before is not None and not before.items() <= metrics.items()
            for before, metrics in zip(stored, trained, strict=True)
        ):
            _logger.warning(
                "Trained again for the contract, baseline or winner of study %r came out "
                "differently than in the search, which ran on another machine, or with other "
                "versions or threads; the contract states what came out now.",
                study.study_name,
            )
        completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        data = objective.dataset
        content = {
            "format": contract_file.FORMAT,
            "format_version": contract_file.FORMAT_VERSION,
            "study": {
                "name": study.study_name,
                "sampler": study.user_attrs.get(SEARCH, {}).get("sampler"),
                "trials": len(record.done_trials),
                "completed_trials": len(completed),
                "best_trial": best.number,
                "stop_reason": record.stop_reason,
            },
            "objective": portable_config(objective.config),
            "rebuilds_from_config": _rebuilds(objective),
            "split": {name: len(getattr(data, f"y_{name}")) for name in ("train", "val", "test")},
            "baseline": trained[0],
            "winner": {"params": dict(best.params), **trained[1]},
            "environment": describe_environment(),
            "tolerance": measure_tolerance(objective, starts, trained),
        }
        paths = [variable.path for variable in architecture.variables]
        return cls(
            # As it comes back from the file: tuples are lists there.
            json.loads(json.dumps(content, allow_nan=False)),
            dict(zip(paths, weights[1], strict=True)),
            lambda: architecture.build(starts[1].seed, starts[1].restart),
        )

    def build_model(self) -> keras.Model:
        """Return the winner as a Keras model, trained. An :class:`MLP`'s outputs are logits."""
        model = self._build()
        for variable, values in zip(model.variables, self.weights.values(), strict=True):
            variable.assign(values)
        return model

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the contract, and beside it the winner's trained weights.

        For ``fashion.contract.json`` the weights are ``fashion.contract.npz`` (arrays by their
        paths in the model, readable without pickle) and the model is ``fashion.contract.keras``,
        which :func:`keras.saving.load_model` opens. Files of these names are replaced.

        Raises:
            ValueError: If its name does not end in ``.json``, if one of the three files cannot be
                written or would be taken for the data, or if Keras cannot save the model.
            FileNotFoundError: If the folder does not exist.
        """
        path = Path(path)
        contract_file.check_contract_path(
            "path", path, self.content["objective"]["dataset"].get("path")
        )
        files = contract_file.files_beside(path)
        try:
            self.build_model().save(files["model"])
        except NotImplementedError:
            raise ValueError(
                "Keras cannot save the winner's model, as one of its classes has arguments that "
                "no configuration can hold; give that class a get_config method."
            ) from None
        np.savez(files["weights"], allow_pickle=False, **self.weights)
        hashes = {kind: contract_file.hash_file(file) for kind, file in files.items()}
        beside = {kind: {"name": files[kind].name, "sha256": h} for kind, h in hashes.items()}
        content = {**self.content, "files": beside}
        content["sha256"] = contract_file.contract_sha256(content)
        # Last and at once: there is no contract without its files, and no half of one.
        unfinished = path.with_name(f".{path.name}.tmp")
        unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)

    def __str__(self) -> str:
        study, winner = self.content["study"], self.content["winner"]
        data = self.content["objective"]["dataset"]["name"]
        head = f"Contract of study {study['name']!r} on {data}, {study['sampler']}: "
        lines = [f"{head}trial {study['best_trial']} of {study['trials']}"]
        for name in ("val_accuracy", "train_accuracy", "test_accuracy"):
            if name in winner:
                before, after = 100 * self.content["baseline"][name], 100 * winner[name]
                lines.append(
                    f"  {name:<15} baseline {before:6.2f} %  winner {after:6.2f} %  "
                    f"gain {after - before:+.2f} pp"
                )
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
    accuracies = trainer.evaluate(weights, data.x_test, data.y_test)
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


def measure_tolerance(
    objective: InitOffsetObjective, starts: Sequence[Start], trained: Sequence[dict[str, Any]]
) -> dict[str, float]:
    """Return how far results may differ where the last bits of numbers do.

    It is a property of the training: some forget a difference in the last bit of a weight, others
    double it with every step. So it is measured, by trainings from such weights; ``trained`` is
    what :func:`train_again` says of those from ``starts``.
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
            for name in before.keys() & after.keys():
                kind, scale = "accuracy", 1.0
                if name.endswith("_sha256"):
                    continue
                if name.endswith("_loss"):
                    scale = max(abs(before[name]), abs(after[name])) or 1.0
                    kind = "relative_loss"
                drifts[kind] = max(drifts[kind], abs(before[name] - after[name]) / scale)
    rows = min(len(y) for y in (data.y_train, data.y_val, data.y_test) if len(y))
    least = {**LEAST_TOLERANCE, "accuracy": max(LEAST_TOLERANCE["accuracy"], 2 / rows)}
    return {
        kind: round(min(max(least[kind], _SAFETY * drift), MAX_TOLERANCE[kind]), 4)
        for kind, drift in drifts.items()
    }


def portable_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return an objective's configuration with the bare name of its data's file.

    What tells its initial weights is left out: a contract states their SHA-256.
    """
    portable: dict[str, Any] = json.loads(json.dumps(config))
    portable["model"].pop("initial_weights", None)
    if "path" in portable["dataset"]:
        portable["dataset"]["path"] = Path(portable["dataset"]["path"]).name
    return portable


def _rebuilds(objective: InitOffsetObjective) -> bool:
    """Return whether the model's configuration gives the same initial weights as the model.

    It may not: those that were loaded, or one initializer for several layers, are not stored.
    """
    architecture = objective.trainer.architecture
    config = architecture.config
    if config["type"] == "MLP":
        return True
    try:
        check_model_config(config["model"], "objective.model.model")
        rebuilt = build_architecture(
            model_from_config(config), architecture.input_shape, architecture.num_classes
        )
    except (TypeError, ValueError):
        return False
    return not config_differences(config, rebuilt.config)
