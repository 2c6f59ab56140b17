"""Running planned studies side by side: in threads of this process or by a user's executor."""

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent import futures

import optuna
from optuna.storages import BaseStorage

from adnn_optuna.engine import confirmation
from adnn_optuna.engine.evaluations import run_jobs
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.loop import Loop
from adnn_optuna.engine.objectives import KeyedObjective
from adnn_optuna.engine.progress import Bar
from adnn_optuna.engine.records import FunctionRecord, read_record
from adnn_optuna.engine.signals import interruptible
from adnn_optuna.engine.storages import open_storage, with_retry
from adnn_optuna.engine.studies import StudySpec, open_studies
from adnn_optuna.networks.training import n_cores


def run_studies(
    specs: Sequence[StudySpec],
    opened: Sequence[optuna.Study],
    *,
    stop: threading.Event,
    bar: Bar | None,
    executor: futures.Executor | None,
    storage: str | BaseStorage | None,
) -> None:
    """Run studies, opened by their specs; where one failed or was interrupted, so are the others.

    The ``bar`` counts the trials that are behind them, in the end all that they might have taken.
    """

    def count(n_trials: int) -> None:
        if bar is not None:
            bar.update(n_trials)

    # A user's own function may be no matter of several threads.
    is_own = any(isinstance(spec.objective, KeyedObjective) for spec in specs)
    own = futures.ThreadPoolExecutor(1 if is_own else n_cores(), "run")
    with own if executor is None else contextlib.nullcontext(executor) as workers:
        is_here = isinstance(workers, futures.ThreadPoolExecutor)
        if is_here:
            pairs = zip(specs, opened, strict=True)
            runs = [workers.submit(_run_one, stop, count, *pair) for pair in pairs]
        else:
            runs = [workers.submit(_run_elsewhere, spec, storage) for spec in specs]
        try:
            run_jobs(runs, (lambda _: None) if is_here else count)
        finally:
            if not all(run.done() for run in runs):
                stop.set()
            if is_here:
                futures.wait(runs)
    if stop.is_set():
        raise KeyboardInterrupt


def _run_elsewhere(spec: StudySpec, storage: str | BaseStorage | None) -> int:
    [study] = open_studies([spec], open_storage(storage))
    with interruptible() as stop:
        return _run_one(stop, lambda _: None, spec, study)


def _run_one(
    stop: threading.Event, count: Callable[[int], object], spec: StudySpec, study: optuna.Study
) -> int:
    """Run a study and return how many trials its budget was."""
    loop = Loop(
        study,
        spec.objective,
        spec.limits,
        stop,
        n_threads=spec.n_threads,
        after_tell=lambda _, __: count(1),
    )
    count(loop.n_done)
    loop.run()
    # Some end by themselves before.
    budget = max(loop.n_done, spec.limits["max_trial"] or 0)
    count(budget - loop.n_done)
    record = with_retry(read_record, study, others={})
    if isinstance(spec.objective, InitOffsetObjective):
        record = confirmation.evaluate_test_set(record, spec.objective, stop)
        confirmation.replicate_best_trial(record, spec.objective, stop)
    elif isinstance(spec.objective, KeyedObjective) and isinstance(record, FunctionRecord):
        confirmation.evaluate_on_new_seeds(record, spec.objective, stop)
    return budget
