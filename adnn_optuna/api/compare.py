"""Comparisons: several searchers on the same networks, with paired seeds and the same budget."""

from __future__ import annotations

import copy
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent import futures
from typing import Literal

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage
from tqdm.auto import tqdm

from adnn_optuna import _checks as checks
from adnn_optuna._checks import WrongTypeError, WrongValueError
from adnn_optuna.api.search import conclude, result_of
from adnn_optuna.engine import studies
from adnn_optuna.engine.loop import Loop
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.searchers import RANDOM_RESTART, Searcher, check_searcher
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.engine.workers import interruptible
from adnn_optuna.evidence.comparison import Comparison
from adnn_optuna.evidence.dashboard import show_comparison
from adnn_optuna.evidence.paired_differences import EQUIVALENCE

_MAX_SEEDS = 10_000  # A mistyped range would fill the storage.

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
    executor: futures.Executor | None = None,
    equivalence: float = EQUIVALENCE,
    show_progress_bar: bool = False,
) -> Comparison:
    """Compare searchers on the same networks: paired seeds, the same budget for each.

    All runs of one seed start from the same initial weights and see the same batches. Each is a
    study of its own, called ``<study_name>/<sampler>/seed=<seed>``; those that are stored already
    are continued. Random restarts are always compared: what they gain is what luck alone brings.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            objective = adnn.InitOffsetObjective(adnn.MLP(), adnn.load_dataset("digits"))
            comparison = adnn.compare(objective, max_trial=30, seeds=range(10))
            print(comparison)
            comparison.plot().show()

    Args:
        objective: What is searched; its seed is replaced by each of ``seeds``.
        samplers:
            Names of searchers, or a mapping from labels to what :func:`~adnn_optuna.search` takes.
        max_trial: The number of trials of each run.
        seeds: The seeds of the runs.
        storage: Where the studies are, see :func:`~adnn_optuna.search`.
        study_name: What the studies' names begin with.
        max_time: The seconds that each run's trials may take, beside those of other runs.
        max_gain: The gain over its baseline at which a run ends.
        batch_size: How many trials of a run are proposed before any of them is told, as in search.
        executor: Who runs the comparison, one job for each run, such as a Dask cluster's
            ``client.get_executor()``, or a pool of spawned processes; its workers have to reach
            ``storage``. If :obj:`None`, it is this process, on all cores.
        equivalence: The difference of test accuracies, as a fraction, up to which two searchers
            are as good as each other.
        show_progress_bar: Whether to show a progress bar.

    Returns:
        The comparison.

    Raises:
        ValueError: If an argument is wrong, or a study of another objective or searcher exists.
        KeyboardInterrupt: If the user interrupts; all that was computed is stored.
    """
    studies.check_objective(objective)
    studies.check_study_name(study_name)
    searchers = _labelled(samplers)
    seeds = _checked_seeds(seeds, objective)
    max_trial = checks.as_positive_int("max_trial", max_trial)
    checks.check_positive("equivalence", equivalence)
    limits = studies.Limits(max_time, max_trial, max_gain)
    plans = [
        studies.Plan(
            objective.replace(seed=seed),
            f"{study_name}/{label}/{seed=}",
            # Samplers keep random state.
            copy.deepcopy(searcher) if isinstance(searcher, BaseSampler) else searcher,
            limits,
            batch_size,
        )
        for label, searcher in searchers.items()
        for seed in seeds
    ]
    _check_executor(executor)
    opened_storage = open_storage(storage)
    if executor is not None and isinstance(opened_storage, InMemoryStorage):
        raise WrongValueError(
            "storage is in the memory of this process, where no worker of the executor can reach "
            "it; give the URL of a database."
        )
    opened = studies.open_studies(plans, opened_storage)
    try:
        with (
            tqdm(total=max_trial * len(plans), unit="trial", disable=not show_progress_bar) as bar,
            interruptible() as stop,
        ):
            lock = threading.Lock()

            def count(n_trials: int) -> None:
                with lock:
                    bar.update(n_trials)

            if executor is None:
                with futures.ThreadPoolExecutor(len(os.sched_getaffinity(0)), "run") as threads:
                    runs = zip(plans, opened, strict=True)
                    _finish([threads.submit(_run_one, stop, count, *run) for run in runs], stop)
            else:
                _finish([executor.submit(_run_elsewhere, p, storage) for p in plans], stop, count)
    except KeyboardInterrupt:
        _logger.info(studies.resume_hint(opened[0]))
        raise
    results = iter([result_of(s, plan.objective) for s, plan in zip(opened, plans, strict=True)])
    comparison = Comparison(
        {label: list(itertools.islice(results, len(seeds))) for label in searchers},
        seeds,
        float(equivalence),
    )
    show_comparison(comparison)
    return comparison


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


def _run_elsewhere(plan: studies.Plan, storage: str | BaseStorage | None) -> int:
    """Run a study in a worker of an executor."""
    [study] = studies.open_studies([plan], open_storage(storage))
    with interruptible() as stop:
        return _run_one(stop, lambda _: None, plan, study)


def _run_one(
    stop: threading.Event, update: Callable[[int], object], plan: studies.Plan, study: optuna.Study
) -> int:
    """Run a study and return how many trials it has."""
    loop = Loop(plan, study, stop, lambda _, __: update(1))
    update(loop.n_done)
    loop.run()
    conclude(study, plan.objective, stop)
    return loop.n_done


def _check_executor(executor: object) -> None:
    wanted = "a concurrent.futures.Executor or None"
    checks.check_type("executor", executor, futures.Executor | None, wanted)
    if isinstance(executor, futures.ProcessPoolExecutor):
        context = getattr(executor, "_mp_context", None)
        if context is not None and context.get_start_method() == "fork":
            raise WrongValueError(
                "executor forks this process, and in a copy TensorFlow waits for ever: give "
                "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))."
            )


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
        samplers = {name: name for name in samplers}
    searchers = dict(samplers)
    if not searchers:
        raise WrongValueError("samplers is empty, but there must be at least one to compare.")
    for label, searcher in searchers.items():
        _check_label(label)
        check_searcher(searcher)
    has_control = RANDOM_RESTART in searchers.values()
    if RANDOM_RESTART in searchers and not has_control:
        raise WrongValueError(
            f"The label {RANDOM_RESTART!r} is that of the control, which is added to every "
            f"comparison: call {searchers[RANDOM_RESTART]!r} otherwise."
        )
    return searchers if has_control else {**searchers, RANDOM_RESTART: RANDOM_RESTART}


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
