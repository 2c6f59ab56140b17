"""Runs a study with a trivial objective in a process of its own, without TensorFlow.

Arguments: a key of ``STORAGES`` (the way to open the storage), the storage's URL, path or address,
the study's name, and the number of trials.
"""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage
from optuna.storages.journal import JournalFileBackend

import adnn_optuna as adnn
from adnn_optuna.engine.storages import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable


def grpc(address: str) -> GrpcStorageProxy:
    host, port = address.split(":")
    proxy = GrpcStorageProxy(host=host, port=int(port))
    proxy.wait_server_ready(timeout=60)
    return proxy


def watched(url: str) -> BaseStorage:
    """Open a database that regards a worker as dead 15 seconds after its last heartbeat."""
    storage: Any = open_storage(url)
    storage._backend.heartbeat_interval, storage._backend.grace_period = 1, 15
    return storage


STORAGES: dict[str, Callable[[str], str | BaseStorage]] = {
    "ours": open_storage,
    "watched": watched,
    "optuna": str,
    "journal": lambda path: JournalStorage(JournalFileBackend(path)),
    "grpc": grpc,
}


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", -10, 10) ** 2


if __name__ == "__main__":
    warnings.simplefilter("ignore", ExperimentalWarning)
    how, url, study_name, n_trials = sys.argv[1:]
    study = optuna.create_study(
        storage=STORAGES[how](url),
        study_name=study_name,
        load_if_exists=True,
        sampler=adnn.DeltaStepSampler(deltas=(0.01,), max_steps=2 * int(n_trials)),
    )
    limit = adnn.MaxTrialCallback(int(n_trials))
    if not limit.reached(study):
        study.optimize(objective, callbacks=[limit])
