from __future__ import annotations

from pathlib import Path

import optuna
import optunahub


REGISTRY = Path(__file__).parents[3]


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", -1, 1) ** 2


def test_limits_hold_for_the_study_and_not_for_a_call() -> None:
    module = optunahub.load_local_module("callbacks/study_limits", registry_root=str(REGISTRY))
    study = optuna.create_study()
    limits = [module.MaxTrialCallback(7), module.MaxTimeCallback(60), module.MaxGainCallback(1e9)]
    study.optimize(objective, n_trials=4, callbacks=limits)
    study.optimize(objective, n_trials=20, callbacks=limits)
    assert len(study.trials) == 7
    assert limits[0].reached(study)
