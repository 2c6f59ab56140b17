"""Comparisons: several searchers on the same networks, with paired seeds and the same budget."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from typing import TYPE_CHECKING

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from tqdm.auto import tqdm

from adnn_optuna._checks import as_positive_int, check_positive
from adnn_optuna.api.search import conclude, resume_hint
from adnn_optuna.engine.loop import Limits, run_lanes
from adnn_optuna.engine.records import result_of
from adnn_optuna.engine.searchers import RANDOM_RESTART, check_searcher, objective_for
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.engine.studies import (
    Plan,
    SearchSettings,
    check_objective,
    check_study_name,
    open_lanes,
)
from adnn_optuna.evidence.comparison import Comparison
from adnn_optuna.evidence.dashboard import show_comparison
from adnn_optuna.evidence.paired_differences import EQUIVALENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.storages import BaseStorage

    from adnn_optuna.engine._trial_stack import Outcome
    from adnn_optuna.engine.loop import Lane
    from adnn_optuna.engine.objective import InitOffsetObjective
    from adnn_optuna.engine.searchers import Searcher

    # The objectives of a searcher's runs and the names of their studies, by label.
    _Runs = Mapping[str, Sequence[tuple[InitOffsetObjective, str]]]

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
    stack_size: int = 16,
    executor: Executor | None = None,
    equivalence: float = EQUIVALENCE,
    show_progress_bar: bool = False,
) -> Comparison:
    """Compare searchers on the same networks: paired seeds, the same budget for each.

    All runs of one seed start from the same initial weights and see the same batches. The runs
    advance in lockstep, so that one stack trains a trial of each, and no searcher has to propose
    several trials before it learns from the first. Each run is a study of its own, called
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
            The seconds that each run's trials may take. Runs that are trained together share
            the clock: with more of them, each comes to fewer trials.
        max_gain:
            The gain over its baseline at which a run ends.
        stack_size:
            How many trials are trained at once, at the most.
        executor:
            Who runs the comparison, one job for each seed: a Dask cluster's
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
    stack_size = as_positive_int("stack_size", stack_size)
    check_positive("equivalence", equivalence)
    limits = Limits(max_time, max_trial, max_gain)
    runs = {
        label: [
            (
                objective_for(searcher, objective).replace(seed=seed),
                f"{study_name}/{label}/{seed=}",
            )
            for seed in seeds
        ]
        for label, searcher in searchers.items()
    }
    for _, name in itertools.chain.from_iterable(runs.values()):
        check_study_name(name)
    _check_executor(executor)
    opened = open_storage(storage)
    if executor is not None and isinstance(opened, InMemoryStorage):
        raise ValueError(
            "storage is in the memory of this process, where no worker of the executor can reach "
            "it; give the URL of a database."
        )
    lanes_of = _open_lanes(runs, searchers, limits, opened)
    # Neighbours have the same seed, hence the same baseline, which a stack trains once.
    lanes = list(itertools.chain.from_iterable(zip(*lanes_of.values(), strict=True)))
    done = sum(lane.n_done for lane in lanes)
    with tqdm(
        total=max_trial * len(lanes), initial=done, unit="trial", disable=not show_progress_bar
    ) as bar:

        def after_tell(_: Lane, trials: Sequence[optuna.Trial], __: Sequence[Outcome]) -> None:
            bar.update(len(trials))

        try:
            if executor is not None:
                jobs = [
                    executor.submit(
                        _run_seed,
                        {label: [of_label[i]] for label, of_label in runs.items()},
                        searchers,
                        limits,
                        storage,
                        stack_size,
                    )
                    for i in range(len(seeds))
                ]
                try:
                    for job in as_completed(jobs):
                        bar.update(job.result())
                finally:
                    for job in jobs:
                        job.cancel()
            # What the workers have left undone; with none, everything.
            run_lanes(lanes, stack_size, after_tell)
        except KeyboardInterrupt:
            _logger.info(resume_hint(lanes[0].study))
            raise
    conclude(lanes, stack_size)
    comparison = Comparison(
        {
            label: [result_of(lane.study, lane.objective) for lane in lanes_of[label]]
            for label in searchers
        },
        seeds,
        float(equivalence),
    )
    show_comparison(comparison)
    return comparison


def _check_executor(executor: object) -> None:
    if executor is not None and not isinstance(executor, Executor):
        raise TypeError(
            f"executor must be a concurrent.futures.Executor or None, but it is {executor!r}."
        )
    if isinstance(executor, ProcessPoolExecutor):
        context = getattr(executor, "_mp_context", None)
        if context is not None and context.get_start_method() == "fork":
            raise ValueError(
                "executor forks this process, and in a copy TensorFlow waits for ever: give "
                "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))."
            )


def _open_lanes(
    runs: _Runs,
    searchers: Mapping[str, Searcher],
    limits: Limits,
    storage: BaseStorage,
) -> dict[str, list[Lane]]:
    plans = [
        Plan(
            objective,
            name,
            _one_for_each_run(searchers[label]),
            SearchSettings.of(searchers[label], limits, stack_size=1),
        )
        for label, of_label in runs.items()
        for objective, name in of_label
    ]
    lanes = iter(open_lanes(plans, storage))
    return {
        label: list(itertools.islice(lanes, len(of_label))) for label, of_label in runs.items()
    }


def _run_seed(
    runs: _Runs,
    searchers: Mapping[str, Searcher],
    limits: Limits,
    storage: str | BaseStorage | None,
    stack_size: int,
) -> int:
    """Run all searchers on one seed, and return how many trials that took."""
    # Each objective was sent by itself; together, they share one trainer.
    first = next(iter(runs.values()))[0][0]
    shared = {
        label: [(first.replace(seed=other.seed, space=other.space), name) for other, name in run]
        for label, run in runs.items()
    }
    of_label = _open_lanes(shared, searchers, limits, open_storage(storage))
    lanes = list(itertools.chain.from_iterable(of_label.values()))
    n_before = sum(lane.n_done for lane in lanes)
    run_lanes(lanes, stack_size)
    conclude(lanes, stack_size)
    return sum(lane.n_done for lane in lanes) - n_before


def _one_for_each_run(searcher: Searcher) -> Searcher:
    """Return a searcher that gives each run a sampler of its own: samplers keep random state."""
    if not isinstance(searcher, BaseSampler):
        return searcher

    def copied(seed: int, n_trials: int | None) -> BaseSampler:  # noqa: ARG001
        return copy.deepcopy(searcher)

    return copied


def _labelled(samplers: Iterable[str] | Mapping[str, Searcher]) -> dict[str, Searcher]:
    if isinstance(samplers, str):
        raise TypeError(f"samplers must be a sequence of names: write samplers=({samplers!r},).")
    if not isinstance(samplers, Mapping):
        try:
            samplers = list(samplers)
        except TypeError:
            raise TypeError(
                f"samplers must be a sequence of names or a mapping, but it is {samplers!r}."
            ) from None
        for sampler in samplers:
            if not isinstance(sampler, str):
                raise TypeError(
                    f"samplers holds {sampler!r}, which has no name: write samplers={{'label': "
                    "sampler, ...}."
                )
        if len(set(samplers)) < len(samplers):
            raise ValueError(f"samplers names a searcher twice: {', '.join(samplers)}.")
        searchers: dict[str, Searcher] = {name: name for name in samplers}
    else:
        searchers = dict(samplers)
    if not searchers:
        raise ValueError("samplers is empty, but there must be at least one to compare.")
    for label, searcher in searchers.items():
        _check_label(label)
        check_searcher(searcher)
    if RANDOM_RESTART not in searchers.values():
        if RANDOM_RESTART in searchers:
            raise ValueError(
                f"The label {RANDOM_RESTART!r} is that of the control, which is added to every "
                f"comparison: call {searchers[RANDOM_RESTART]!r} otherwise."
            )
        searchers[RANDOM_RESTART] = RANDOM_RESTART
    return searchers


def _check_label(label: object) -> None:
    if not isinstance(label, str) or not label:
        raise TypeError(
            "samplers must have labels that are strings and not empty, but one of them is "
            f"{label!r}."
        )
    if "/" in label:
        raise ValueError(
            f"The label {label!r} of samplers has a slash, which parts the names of studies: "
            "use another character."
        )


def _checked_seeds(seeds: Iterable[int], objective: InitOffsetObjective) -> tuple[int, ...]:
    try:
        first = itertools.islice(seeds, _MAX_SEEDS + 1)
    except TypeError:
        raise TypeError(
            f"seeds must be a sequence of whole numbers, but it is {seeds!r}."
        ) from None
    # As the objective has it: NumPy's numbers become Python's, by which studies are named.
    checked = tuple(objective.replace(seed=seed).seed for seed in first)
    if len(checked) > _MAX_SEEDS:
        raise ValueError(f"seeds has more than {_MAX_SEEDS:,}, but each is a study: take fewer.")
    if not checked:
        raise ValueError("seeds is empty, but a comparison needs at least one.")
    if len(set(checked)) < len(checked):
        raise ValueError(f"seeds has duplicates, but each run needs its own: {list(checked)}.")
    return checked
