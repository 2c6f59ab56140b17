"""Jobs of a user's executor."""

from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any

from optuna.storages import BaseStorage, InMemoryStorage

from adnn_optuna._checks import WrongValueError, check_type
from adnn_optuna.networks._tensorflow import FORKED

NO_EXECUTOR = (
    "executor must be None for Keras models, which train on all cores of this process; omit it, "
    "or make the same call on each machine with one storage URL."
)


def check_executor(executor: object) -> None:
    """Refuse what runs no jobs, or in copies of this process."""
    wanted = "a concurrent.futures.Executor or None"
    check_type("executor", executor, futures.Executor | None, wanted)
    context = getattr(executor, "_mp_context", None)  # Of a pool of processes.
    if context is not None and context.get_start_method() == "fork":
        raise WrongValueError(
            f"executor forks this process: {FORKED}. Pass "
            "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))."
        )


def check_is_reached(storage: BaseStorage, executor: object) -> None:
    """Refuse an opened storage that the workers of an executor cannot reach."""
    if executor is not None and isinstance(storage, InMemoryStorage):
        raise WrongValueError(
            "storage is in the memory of this process, where no worker of the executor can reach "
            "it; give the URL of a database."
        )


def run_jobs(jobs: Sequence[futures.Future[Any]], after_job: Callable[[Any], object]) -> None:
    """Wait for jobs; if one fails or the user interrupts, those that have not begun never do."""
    try:
        for job in futures.as_completed(jobs):
            after_job(job.result())
    finally:
        for job in jobs:
            job.cancel()
