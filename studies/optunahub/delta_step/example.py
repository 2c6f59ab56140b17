"""Example of the package delta_step."""

from __future__ import annotations

import optuna
import optunahub


def objective(trial: optuna.Trial) -> float:
    return (trial.suggest_float("x", -1, 1) - 0.1) ** 2


if __name__ == "__main__":
    module = optunahub.load_module("samplers/delta_step")
    sampler = module.DeltaStepSampler(deltas=(0.01, -0.01), max_steps=20)
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective)
    print(study.best_trial.value, study.best_trial.params)
