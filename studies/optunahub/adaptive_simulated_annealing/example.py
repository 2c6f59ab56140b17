"""Example of the package adaptive_simulated_annealing."""

from __future__ import annotations

import optuna
import optunahub


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -5, 5)
    y = trial.suggest_float("y", -5, 5)
    return (x - 1) ** 2 + (y + 2) ** 2


if __name__ == "__main__":
    module = optunahub.load_module("samplers/adaptive_simulated_annealing")
    sampler = module.AdaptiveSimulatedAnnealingSampler(seed=0, n_trials=50, x0={"x": 0, "y": 0})
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=50)
    print(study.best_trial.value, study.best_trial.params)
