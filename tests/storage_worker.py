"""A worker on a study with a trivial objective, in a process of its own and without TensorFlow.

Arguments: how the storage is opened (``ours`` or ``optuna``), its URL, the study's name, the
number of trials.
"""

from __future__ import annotations

import sys

import optuna

import adnn_optuna as adnn
from adnn_optuna.storages import open_storage


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", -10, 10) ** 2


if __name__ == "__main__":
    how, url, study_name, n_trials = sys.argv[1:]
    study = optuna.create_study(
        storage=open_storage(url) if how == "ours" else url,
        study_name=study_name,
        load_if_exists=True,
        sampler=adnn.DeltaStepSampler(deltas=(0.01,), max_steps=2 * int(n_trials)),
    )
    limit = adnn.MaxTrialCallback(int(n_trials))
    if not limit.reached(study):
        study.optimize(objective, callbacks=[limit])
