from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import optunahub
import pytest


REGISTRY = Path(__file__).parents[3]


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", -1, 1) ** 2 + trial.suggest_int("k", 0, 9)


def random(seed: int, n_trials: int | None) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def tpe(seed: int, n_trials: int | None) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed)


@pytest.mark.parametrize("factory", [random, tpe])
def test_a_resumed_study_gets_the_same_trials(factory: Any) -> None:
    module = optunahub.load_local_module("samplers/keyed", registry_root=str(REGISTRY))
    found = []
    for parts in ([20], [7, 13]):
        study = optuna.create_study()
        for n_trials in parts:
            study.sampler = module.KeyedSampler(factory, seed=3)
            study.optimize(objective, n_trials=n_trials)
        found.append([trial.params for trial in study.trials])
    assert found[0] == found[1]
    assert len({params["x"] for params in found[0]}) == 20
