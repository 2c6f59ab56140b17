"""Training again, and how far what comes out may differ where the last bits of numbers do."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from adnn_optuna.accountability.contract_file import LEAST_TOLERANCE, MAX_TOLERANCE
from adnn_optuna.networks.network import hash_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adnn_optuna.engine.objective import InitOffsetObjective
    from adnn_optuna.networks.offsets import Start

ROLES = ("baseline", "winner")
# What the last bits of a number may do, tried out by moving the initial weights by as much.
_LAST_BITS = (1e-7, -1e-7)
# How many times that counts as within tolerance.
_SAFETY = 3
# A loss below it, of data learnt by heart, is next to nothing, and so are differences of it.
_LEAST_LOSS = 0.1


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


def distance(name: str, one: float, other: float) -> tuple[str, float]:
    """Return which tolerance holds for a result of a training, and how far apart two of it are."""
    if name.endswith("_loss"):
        return "relative_loss", abs(one - other) / max(abs(one), abs(other), _LEAST_LOSS)
    return "accuracy", abs(one - other)


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
