"""The runs of a comparison: each one job, of threads of this process or of a user's executor."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any

import optuna
from optuna.storages import BaseStorage
from tqdm.auto import tqdm

from adnn_optuna import _checks as checks
from adnn_optuna._attributes import LONGER, OBJECTIVE
from adnn_optuna._checks import WrongValueError
from adnn_optuna.engine.controls import train_longer
from adnn_optuna.engine.loop import Loop
from adnn_optuna.engine.records import record_of
from adnn_optuna.engine.retraining import conclude
from adnn_optuna.engine.storages import open_storage, patiently
from adnn_optuna.engine.studies import Plan, open_studies
from adnn_optuna.engine.workers import interruptible


def check_executor(executor: object) -> None:
    """Refuse what runs no jobs, or in copies of this process."""
    wanted = "a concurrent.futures.Executor or None"
    checks.check_type("executor", executor, futures.Executor | None, wanted)
    if isinstance(executor, futures.ProcessPoolExecutor):
        context = getattr(executor, "_mp_context", None)
        if context is not None and context.get_start_method() == "fork":
            raise WrongValueError(
                "executor forks this process, and in a copy TensorFlow waits for ever: give "
                "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))."
            )


def run_jobs(
    jobs: Sequence[Plan],
    opened: Sequence[optuna.Study],
    *,
    stop: threading.Event,
    bar: tqdm[Any],
    executor: futures.Executor | None,
    storage: str | BaseStorage | None,
) -> None:
    """Run some jobs; where one failed or was interrupted, so are the others."""
    lock = threading.Lock()

    def count(n_trials: int) -> None:
        with lock:
            bar.update(n_trials)

    if executor is None:
        with futures.ThreadPoolExecutor(len(os.sched_getaffinity(0)), "run") as threads:
            runs = zip(jobs, opened, strict=True)
            _finish([threads.submit(_run_one, stop, count, *run) for run in runs], stop)
    else:
        elsewhere = [executor.submit(_run_elsewhere, job, storage) for job in jobs]
        _finish(elsewhere, stop, count)


def _finish(
    runs: Sequence[futures.Future[int]],
    stop: threading.Event,
    update: Callable[[int], object] = lambda _: None,
) -> None:
    """Wait for all runs; where one failed or was interrupted, so are the others."""
    try:
        for run in futures.as_completed(runs):
            update(run.result())
    finally:
        if not all(run.done() for run in runs):
            stop.set()
        for run in runs:
            run.cancel()


def _run_elsewhere(job: Plan, storage: str | BaseStorage | None) -> int:
    """Run a study in a worker of an executor."""
    [study] = open_studies([job], open_storage(storage))
    with interruptible() as stop:
        return _run_one(stop, lambda _: None, job, study)


def _run_one(
    stop: threading.Event, update: Callable[[int], object], job: Plan, study: optuna.Study
) -> int:
    """Run a study and return how many trials its budget was."""
    if job.searcher == LONGER:
        train_longer(job, study, stop)
        n_done = job.limits.max_trial or 0
        update(n_done)
    else:
        loop = Loop(job, study, stop, lambda _, __: update(1))
        update(loop.n_done)
        loop.run()
        n_done = loop.n_done
    if job.searcher != OBJECTIVE:  # Which says itself what its winner reaches.
        conclude(patiently(record_of, study), job.objective, stop)
    return n_done
