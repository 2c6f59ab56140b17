"""Contracts: a search's result written down so that anyone can train it again and compare."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, Self

import numpy as np
from optuna.trial import TrialState

from adnn_optuna._checks import WrongValueError, as_positive_int
from adnn_optuna.accountability import contract_file
from adnn_optuna.accountability.environment import describe_environment
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.engine.retraining import Retrained, Source, retrain_afresh, retrain_winner
from adnn_optuna.networks.network import hash_weights
from adnn_optuna.networks.offsets import Start
from adnn_optuna.networks.training import is_finite

ROLES = ("baseline", "winner")
_FRESH = 0x5EED  # Keeps the seeds of a certificate apart from those of anything else.


@dataclasses.dataclass(frozen=True)
class ContractFacts:
    """What a contract's file holds, and the winner's trained weights by their paths."""

    content: dict[str, Any]
    weights: dict[str, np.ndarray] = dataclasses.field(repr=False)

    @classmethod
    def from_search(
        cls, record: SearchRecord, objective: InitOffsetObjective, certify: int | None = None
    ) -> Self:
        """Train a search's baseline and winner once more and write down what comes out.

        Raises:
            ValueError: If a training diverges, or nothing is random that a gain could be certified
                against.
        """
        best = record.best
        assert best is not None, "There is a winner, which was tested."
        objective, starts, runs = retrain_winner(record, objective)
        for role, run in zip(ROLES, runs, strict=True):
            if not is_finite(run.metrics):
                raise WrongValueError(
                    f"The {role}'s training diverged, so there is nothing to make a contract of."
                )
        params = {name: best.params[name] for name in objective.distributions}
        trained = [stated(objective, *pair) for pair in zip(starts, runs, strict=True)]
        weights = runs[1].weights
        data, states = objective.dataset, [trial.state for trial in record.done_trials]
        content = {
            "format": contract_file.FORMAT,
            "format_version": contract_file.FORMAT_VERSION,
            "study": {
                "name": record.study.study_name,
                "sampler": record.proposers[best.number],
                "trials": len(states),
                "completed_trials": states.count(TrialState.COMPLETE),
                "best_trial": best.number,
                "stop_reason": record.stop_reason,
            },
            "objective": portable_config(objective.config),
            "split": {name: len(getattr(data, f"y_{name}")) for name in ("train", "val", "test")},
            "baseline": trained[0],
            "winner": {"params": params, **trained[1]},
            "environment": describe_environment(),
        }
        if certify is not None:
            content["certified"] = _certified(objective, params, certify)
        paths = [variable.path for variable in objective.trainer.architecture.variables]
        # As it comes back from the file: tuples are lists there.
        content = json.loads(json.dumps(content, allow_nan=False))
        return cls(content, dict(zip(paths, weights, strict=True)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the contract, and beside it the winner's trained weights.

        Beside ``fashion.contract.json`` the weights are ``fashion.contract.npz`` (arrays by their
        paths in the model). Files of these names are replaced.

        Raises:
            ValueError: If its name does not end in ``.json``, or if one of the two files cannot be
                written or would be taken for the data.
            FileNotFoundError: If the folder does not exist.
        """
        path = Path(path)
        data = self.content["objective"]["dataset"].get("path")
        contract_file.check_contract_path("path", path, data)
        file = path.with_suffix(".npz")
        np.savez(file, allow_pickle=False, **self.weights)
        weights = {"name": file.name, "sha256": contract_file.hash_file(file)}
        content = {**self.content, "files": {"weights": weights}}
        content["sha256"] = contract_file.contract_sha256(content)
        # Last and at once: there is no contract without its weights, and no half of one.
        unfinished = path.with_name(f".{path.name}.tmp")
        unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)


def stated(objective: InitOffsetObjective, start: Start, run: Retrained) -> dict[str, Any]:
    """Return what a contract says of a training."""
    return {
        "initial_weights_sha256": hash_weights(objective.trainer.initial_weights(start)),
        "trained_weights_sha256": hash_weights(run.weights),
        **run.metrics,
    }


def _certified(
    objective: InitOffsetObjective, params: dict[str, Any], certify: int
) -> dict[Source, list[float]]:
    """Return the gains with fresh random numbers, of each source that the training has."""
    if as_positive_int("certify", certify) not in contract_file.CERTIFIED:
        low, high = contract_file.CERTIFIED[0], contract_file.CERTIFIED[-1]
        raise WrongValueError(f"certify must be from {low} to {high}, but it is {certify}.")
    sources: list[Source] = ["initialisations"] * objective.trainer.architecture.depends_on_seed
    sources += ["orders"] * objective.training.shuffle
    if not sources:
        raise WrongValueError(
            "Neither the initial weights nor the order of the batches are random, so there is "
            "no luck to certify against; leave out certify."
        )
    # Such as no search uses, and of each objective the same.
    seeds = np.random.SeedSequence((objective.seed, _FRESH)).generate_state(certify).tolist()
    return {source: retrain_afresh(objective, params, source, seeds) for source in sources}


def portable_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return an objective's configuration without folders."""
    portable: dict[str, Any] = json.loads(json.dumps(config))
    if "path" in portable["dataset"]:
        portable["dataset"]["path"] = Path(portable["dataset"]["path"]).name
    return portable
