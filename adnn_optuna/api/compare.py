"""Comparisons: several searchers on the same networks, with paired seeds and the same budget."""

from __future__ import annotations

import copy
import itertools
import os
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Literal

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from tqdm.auto import tqdm

from adnn_optuna._checks import WrongTypeError, WrongValueError, as_positive_int, check_positive
from adnn_optuna.api.search import conclude, result_of
from adnn_optuna.engine.loop import Loop
from adnn_optuna.engine.searchers import (
    RANDOM_RESTART,
    check_searcher,
    default_batch_size,
    objective_for,
)
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.engine.studies import (
    Limits,
    Plan,
    check_objective,
    check_study_name,
    open_studies,
    resume_hint,
)
from adnn_optuna.engine.workers import interruptible
from adnn_optuna.evidence.comparison import Comparison
from adnn_optuna.evidence.dashboard import show_comparison
from adnn_optuna.evidence.paired_differences import EQUIVALENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from optuna.storages import BaseStorage

    from adnn_optuna.engine.objective import InitOffsetObjective
    from adnn_optuna.engine.searchers import Searcher
    from adnn_optuna.engine.studies import Job

# A mistyped range would fill the storage.
_MAX_SEEDS = 10_000

_logger = optuna.logging.get_logger("optuna.adnn_optuna")


def compare(
    objective: InitOffsetObjective,
    samplers: Iterable[str] | Mapping[str, Searcher] = ("greedy", "annealing", "random_restart"),
    *,
    max_trial: int,
    seeds: Iterable[int] = range(10),
    storage: str | BaseStorage | None = None,
    study_name: str = "compare",
    max_time: float | None = None,
    max_gain: float | None = None,
    batch_size: int | Literal["auto"] = "auto",
    executor: Executor | None = None,
    equivalence: float = EQUIVALENCE,
    show_progress_bar: bool = False,
) -> Comparison:
    """Compare searchers on the same networks: paired seeds, the same budget for each.

    All runs of one seed start from the same initial weights and see the same batches. As many
    runs as there are cores advance side by side. Each is a study of its own, called
    ``<study_name>/<sampler>/seed=<seed>``; those that are stored already are continued.

    Random restarts are always compared, also where they are not named: what they gain is what
    luck alone brings, and only what a searcher gains beyond that is worth its name.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn

            objective = adnn.InitOffsetObjective(adnn.MLP(), adnn.load_dataset("digits"))
            comparison = adnn.compare(objective, max_trial=30, seeds=range(10))
            print(comparison)
            comparison.plot().show()

    Args:
        objective:
            What is searched; its seed is replaced by each of ``seeds``.
        samplers:
            Names of searchers, see :func:`~adnn_optuna.search`, or a mapping from a label to a
            name, an Optuna sampler or a factory ``(seed, n_trials) -> sampler``. Without random
            restarts among them, they are added as ``"random_restart"``.
        max_trial:
            The number of trials of each run.
        seeds:
            The seeds of the runs.
        storage:
            A database URL, an Optuna storage, or :obj:`None` to keep the studies in memory.
        study_name:
            What the studies' names begin with.
        max_time:
            The seconds that each run's trials may take, beside those of other runs.
        max_gain:
            The gain over its baseline at which a run ends.
        batch_size:
            How many trials of a run are proposed before any of them is told, see
            :func:`~adnn_optuna.search`.
        executor:
            Who runs the comparison, one job for each run: a Dask cluster's
            ``client.get_executor()``, a process pool of new processes
            (``ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"))``), any other
            :class:`concurrent.futures.Executor`. Its workers have to reach ``storage``, and each
            compiles for itself. If :obj:`None`, all is done in this process, which uses all
            cores, too.
        equivalence:
            The difference of test accuracies up to which two searchers are as good as each other,
            as a fraction: 0.001 is 0.1 percentage points.
        show_progress_bar:
            Whether to show a progress bar.

    Returns:
        The comparison.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If an argument is wrong, or a study that exists is of another objective or
            searcher.
        KeyboardInterrupt: If the user interrupts; all that was computed is stored.
    """
    check_objective(objective)
    check_study_name(study_name)
    searchers = _labelled(samplers)
    seeds = _checked_seeds(seeds, objective)
    max_trial = as_positive_int("max_trial", max_trial)
    if not (isinstance(batch_size, str) and batch_size == "auto"):
        batch_size = as_positive_int("batch_size", batch_size)
    check_positive("equivalence", equivalence)
    limits = Limits(max_time, max_trial, max_gain)
    plans = [
        Plan(
            of_searcher.replace(seed=seed),
            f"{study_name}/{label}/{seed=}",
            _one_for_each_run(searcher),
            limits,
            default_batch_size(searcher, of_searcher) if batch_size == "auto" else batch_size,
        )
        for label, searcher in searchers.items()
        for of_searcher in (objective_for(searcher, objective),)
        for seed in seeds
    ]
    for plan in plans:
        check_study_name(plan.name)
    _check_executor(executor)
    opened = open_storage(storage)
    if executor is not None and isinstance(opened, InMemoryStorage):
        raise WrongValueError(
            "storage is in the memory of this process, where no worker of the executor can reach "
            "it; give the URL of a database."
        )
    jobs = open_studies(plans, opened)
    with tqdm(total=max_trial * len(jobs), unit="trial", disable=not show_progress_bar) as bar:
        try:
            with interruptible() as stop:
                if executor is None:
                    _run_here(jobs, stop, bar.update)
                else:
                    _run_elsewhere(plans, storage, executor, bar.update)
        except KeyboardInterrupt:
            _logger.info(resume_hint(jobs[0].study))
            raise
    results = iter([result_of(job.study, job.plan.objective) for job in jobs])
    comparison = Comparison(
        {label: list(itertools.islice(results, len(seeds))) for label in searchers},
        seeds,
        float(equivalence),
    )
    show_comparison(comparison)
    return comparison


def _run_here(jobs: Sequence[Job], stop: threading.Event, update: Callable[[int], object]) -> None:
    """Run all studies, as many at once as there are cores."""
    lock = threading.Lock()

    def count(n_trials: int) -> None:
        with lock:
            update(n_trials)

    # Neighbours have the same seed.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)), "run") as executor:
        futures = [executor.submit(_run_one, job, stop, count) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
        finally:
            # Where one failed or was interrupted, so are the others.
            if not all(future.done() for future in futures):
                stop.set()
            _cancel(futures)


def _run_elsewhere(
    plans: Sequence[Plan],
    storage: str | BaseStorage | None,
    executor: Executor,
    update: Callable[[int], object],
) -> None:
    futures = [executor.submit(_run_plan, plan, storage) for plan in plans]
    try:
        for future in as_completed(futures):
            update(future.result())
    finally:
        _cancel(futures)


def _cancel(futures: Iterable[Future[int]]) -> None:
    for future in futures:
        future.cancel()


def _run_plan(plan: Plan, storage: str | BaseStorage | None) -> int:
    """Run a study in a worker of an executor."""
    [job] = open_studies([plan], open_storage(storage))
    with interruptible() as stop:
        return _run_one(job, stop, lambda _: None)


def _run_one(job: Job, stop: threading.Event, update: Callable[[int], object]) -> int:
    """Run a study and return how many trials it has."""
    loop = Loop(job, stop, lambda _, __: update(1))
    update(loop.n_done)
    loop.run()
    conclude(job, stop)
    return loop.n_done


def _check_executor(executor: object) -> None:
    if executor is not None and not isinstance(executor, Executor):
        raise WrongTypeError(
            f"executor must be a concurrent.futures.Executor or None, but it is {executor!r}."
        )
    if isinstance(executor, ProcessPoolExecutor):
        context = getattr(executor, "_mp_context", None)
        if context is not None and context.get_start_method() == "fork":
            raise WrongValueError(
                "executor forks this process, and in a copy TensorFlow waits for ever: give "
                "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))."
            )


def _one_for_each_run(searcher: Searcher) -> Searcher:
    """Return a searcher that gives each run a sampler of its own: samplers keep random state."""
    if not isinstance(searcher, BaseSampler):
        return searcher

    def copied(seed: int, n_trials: int | None) -> BaseSampler:  # noqa: ARG001
        return copy.deepcopy(searcher)

    return copied


def _labelled(samplers: Iterable[str] | Mapping[str, Searcher]) -> dict[str, Searcher]:
    if isinstance(samplers, str):
        raise WrongTypeError(
            f"samplers must be a sequence of names: write samplers=({samplers!r},)."
        )
    if not isinstance(samplers, Mapping):
        try:
            samplers = list(samplers)
        except TypeError:
            raise WrongTypeError(
                f"samplers must be a sequence of names or a mapping, but it is {samplers!r}."
            ) from None
        for sampler in samplers:
            if not isinstance(sampler, str):
                raise WrongTypeError(
                    f"samplers holds {sampler!r}, which has no name: write samplers={{'label': "
                    "sampler, ...}."
                )
        if len(set(samplers)) < len(samplers):
            raise WrongValueError(f"samplers names a searcher twice: {', '.join(samplers)}.")
        searchers: dict[str, Searcher] = {name: name for name in samplers}
    else:
        searchers = dict(samplers)
    if not searchers:
        raise WrongValueError("samplers is empty, but there must be at least one to compare.")
    for label, searcher in searchers.items():
        _check_label(label)
        check_searcher(searcher)
    if RANDOM_RESTART not in searchers.values():
        if RANDOM_RESTART in searchers:
            raise WrongValueError(
                f"The label {RANDOM_RESTART!r} is that of the control, which is added to every "
                f"comparison: call {searchers[RANDOM_RESTART]!r} otherwise."
            )
        searchers[RANDOM_RESTART] = RANDOM_RESTART
    return searchers


def _check_label(label: object) -> None:
    if not isinstance(label, str) or not label:
        raise WrongTypeError(
            "samplers must have labels that are strings and not empty, but one of them is "
            f"{label!r}."
        )
    if "/" in label:
        raise WrongValueError(
            f"The label {label!r} of samplers has a slash, which parts the names of studies: "
            "use another character."
        )


def _checked_seeds(seeds: Iterable[int], objective: InitOffsetObjective) -> tuple[int, ...]:
    try:
        first = itertools.islice(seeds, _MAX_SEEDS + 1)
    except TypeError:
        raise WrongTypeError(
            f"seeds must be a sequence of whole numbers, but it is {seeds!r}."
        ) from None
    # As the objective has it: NumPy's numbers become Python's, by which studies are named.
    checked = tuple(objective.replace(seed=seed).seed for seed in first)
    if len(checked) > _MAX_SEEDS:
        raise WrongValueError(
            f"seeds has more than {_MAX_SEEDS:,}, but each is a study: take fewer."
        )
    if not checked:
        raise WrongValueError("seeds is empty, but a comparison needs at least one.")
    if len(set(checked)) < len(checked):
        raise WrongValueError(
            f"seeds has duplicates, but each run needs its own: {list(checked)}."
        )
    return checked
