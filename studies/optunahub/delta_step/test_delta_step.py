from __future__ import annotations

from pathlib import Path

import optuna
import optunahub


REGISTRY = Path(__file__).parents[3]


def objective(trial: optuna.Trial) -> float:
    return (trial.suggest_float("x", -1, 1) - 0.1) ** 2


def test_walks_from_the_origin_and_stops() -> None:
    module = optunahub.load_local_module("samplers/delta_step", registry_root=str(REGISTRY))
    sampler = module.DeltaStepSampler(deltas=(0.1, -0.1), max_steps=2)
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective)
    assert [round(trial.params["x"], 6) for trial in study.trials] == [0, 0.1, 0.2, -0.1, -0.2]
