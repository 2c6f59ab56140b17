"""Runs a search in a process that tests can kill.

Arguments: storage URL, sampler, number of trials, batch size.
"""

from __future__ import annotations

import sys
from typing import Any

import adnn_optuna as adnn


def quick_training(*settings: Any, **options: Any) -> adnn.Training:
    """Return training settings without XLA, whose compilation takes four times as long.

    ``tests/networks`` and tests with default settings train with XLA.
    """
    return adnn.Training(*settings, jit_compile=False, **options)


def make_objective(**changes: object) -> adnn.InitOffsetObjective:
    settings: dict[str, object] = {
        "training": quick_training(optimizer="sgd", learning_rate=0.05, epochs=2),
        "seed": 3,
    }
    return adnn.InitOffsetObjective(
        adnn.MLP(hidden=(16,)), adnn.load_dataset("digits"), **{**settings, **changes}
    )


if __name__ == "__main__":
    storage, sampler, max_trial, batch_size = sys.argv[1:]
    adnn.search(
        make_objective(),
        sampler,
        storage=storage,
        study_name="killed",
        max_trial=int(max_trial),
        batch_size=int(batch_size),
    )
