"""Example of the package study_limits."""

from __future__ import annotations

import optuna
import optunahub


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", -1, 1) ** 2


if __name__ == "__main__":
    module = optunahub.load_module("callbacks/study_limits")
    study = optuna.create_study()
    limits = [module.MaxTimeCallback(10), module.MaxTrialCallback(100)]
    study.optimize(objective, callbacks=limits)
    print(len(study.trials), study.user_attrs)
