"""A search of a function in a separate process without TensorFlow.

Arguments: how the storage is opened (a name of ``STORAGES``), its URL, path or address, the number
of trials, and a trial. In this trial, counted among its own trials, the process kills itself (0:
never).
"""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from itertools import count
from typing import TYPE_CHECKING

from optuna.exceptions import ExperimentalWarning
from storage_worker import STORAGES

import adnn_optuna as adnn

if TYPE_CHECKING:
    import optuna

SECONDS = 0.1

if __name__ == "__main__":
    warnings.simplefilter("ignore", ExperimentalWarning)
    how, url, n_trials, last = sys.argv[1:]
    counter = count(1)

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -10, 10)
        time.sleep(SECONDS)
        if next(counter) == int(last):
            os.kill(os.getpid(), signal.SIGKILL)
        return x**2

    adnn.search(
        objective, "annealing", storage=STORAGES[how](url), study_name="s", max_trial=int(n_trials)
    )
