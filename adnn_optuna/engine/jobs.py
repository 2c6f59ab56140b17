"""Jobs of a user's executor."""

from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any

from optuna.storages import BaseStorage, InMemoryStorage

from adnn_optuna._checks import WrongValueError


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
