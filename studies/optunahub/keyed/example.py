"""Example of the package keyed: a study in two parts gets the same trials as an unbroken study."""

from __future__ import annotations

import optuna
import optunahub


def objective(trial: optuna.Trial) -> float:
    return (trial.suggest_float("x", -5, 5) - 1) ** 2


def tpe(seed: int, n_trials: int | None) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed)


if __name__ == "__main__":
    module = optunahub.load_module("samplers/keyed")
    studies = []
    for parts in ([30], [12, 18]):
        study = optuna.create_study()
        for n_trials in parts:
            study.sampler = module.KeyedSampler(tpe, seed=0)
            study.optimize(objective, n_trials=n_trials)
        studies.append(study)
    whole, resumed = studies
    print([t.params for t in whole.trials] == [t.params for t in resumed.trials])
