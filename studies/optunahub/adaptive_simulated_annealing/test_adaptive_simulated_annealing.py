from __future__ import annotations

from pathlib import Path

import optuna
import optunahub


REGISTRY = Path(__file__).parents[3]


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -5, 5)
    y = trial.suggest_float("y", -5, 5)
    return (x - 1) ** 2 + (y + 2) ** 2


def test_finds_the_minimum_and_goes_on_where_it_stopped() -> None:
    module = optunahub.load_local_module(
        "samplers/adaptive_simulated_annealing", registry_root=str(REGISTRY)
    )

    def sampler() -> optuna.samplers.BaseSampler:
        return module.AdaptiveSimulatedAnnealingSampler(seed=0, n_trials=50, x0={"x": 0, "y": 0})

    study = optuna.create_study(sampler=sampler())
    study.optimize(objective, n_trials=50)
    assert study.trials[0].params == {"x": 0, "y": 0}
    assert study.best_value < 0.1

    stopped = optuna.create_study(sampler=sampler())
    stopped.optimize(objective, n_trials=20)
    stopped.sampler = sampler()
    stopped.optimize(objective, n_trials=30)
    assert [trial.params for trial in stopped.trials] == [trial.params for trial in study.trials]
