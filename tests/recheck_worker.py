"""Rechecks a study whose true values are known, in a process that tests can kill.

Arguments: storage URL, seconds per evaluation.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna

import adnn_optuna as adnn

if TYPE_CHECKING:
    from adnn_optuna import Recheck

NOISE = 0.01
seconds = 0.0


def truth(trial: Any) -> float:
    """Suggest parameters of all kinds and return the true value of the trial, without noise."""
    x = trial.suggest_float("x", -1, 1)
    if trial.suggest_categorical("kind", ["flat", "steep"]) == "steep":
        x *= 1 + trial.suggest_int("power", 1, 3)
    return float(0.9 - 0.005 * x**2)


def evaluate(trial: Any, seed: int) -> float:
    time.sleep(seconds)
    # As for networks, the noise of two trials is independent even at equal seeds.
    noise = np.random.default_rng([seed, trial.number]).normal(0, NOISE)
    return truth(trial) + float(noise)


def make_study(**options: Any) -> optuna.Study:
    options = {"sampler": optuna.samplers.TPESampler(seed=0), "study_name": "study", **options}
    study = optuna.create_study(direction="maximize", **options)
    study.optimize(lambda trial: evaluate(trial, trial.number), n_trials=20)
    return study


def make_recheck(study: Any, **options: Any) -> Recheck:
    settings: Any = {"top": 3, "choose": 3, "confirm": 5, **options}
    return adnn.recheck(study, evaluate, **settings)


if __name__ == "__main__":
    seconds = float(sys.argv[2])
    make_recheck((sys.argv[1], "study"))
    assert not {"tensorflow", "keras"} & sys.modules.keys()
