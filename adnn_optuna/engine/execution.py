"""Running planned studies side by side: in threads of this process or by a user's executor."""

import contextlib
import copy
import math
import threading
from collections.abc import Callable, Sequence
from concurrent import futures

import optuna
from optuna.exceptions import TrialPruned
from optuna.storages import BaseStorage

from adnn_optuna import _attributes as stored
from adnn_optuna.callbacks import checked_limits
from adnn_optuna.engine.confirmation import replicate_best_trial
from adnn_optuna.engine.evaluations import run_jobs
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.loop import Loop
from adnn_optuna.engine.objectives import KeyedObjective, Outcome, catching, number, with_seed
from adnn_optuna.engine.progress import Bar
from adnn_optuna.engine.records import FunctionRecord, read_record
from adnn_optuna.engine.signals import interruptible
from adnn_optuna.engine.storages import open_storage, with_retry
from adnn_optuna.engine.studies import StudySpec, open_studies
from adnn_optuna.engine.test_set import evaluate_test_set
from adnn_optuna.networks.network import derived_seed
from adnn_optuna.networks.training import n_cores
from adnn_optuna.samplers._replicates import ReplicateSampler, replicate_of
from adnn_optuna.samplers._trials import is_done


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
    count(sum(map(is_done, with_retry(study.get_trials, deepcopy=False))))
    n_done = run_trials(spec, study, stop, after_tell=lambda _, __: count(1))
    # Some end by themselves before.
    budget = max(n_done, spec.limits["max_trial"] or 0)
    count(budget - n_done)
    record = with_retry(read_record, study, others={})
    if isinstance(spec.objective, InitOffsetObjective):
        record = evaluate_test_set(record, spec.objective, stop)
        replicate_best_trial(record, spec.objective, stop)
    elif isinstance(spec.objective, KeyedObjective) and isinstance(record, FunctionRecord):
        evaluate_on_new_seeds(record, spec.objective, stop)
    return budget


def run_trials(
    spec: StudySpec,
    study: optuna.Study,
    stop: threading.Event,
    after_tell: Callable[[optuna.Trial, Outcome], object],
) -> int:
    """Run the trials of a study, then its replicates, if any; return how many trials are done."""
    objective, limits, max_trial = spec.objective, spec.limits, spec.limits["max_trial"]
    share, until, n_to_search = 0.0, None, 0
    if isinstance(objective, KeyedObjective) and max_trial is not None:
        share, n_to_search = objective.share(max_trial), objective.n_searched(max_trial)
        # Replicates of an earlier run with lower limits stay, beside all that is to be searched.
        until = n_to_search + _counts(study)[0]
    searching = Loop(
        study,
        objective,
        limits,
        stop,
        n_threads=spec.n_threads,
        until=until,
        after_tell=after_tell,
    )
    searching.run()
    if not share or max_trial is None:
        return searching.n_done
    # A search that another limit ended has the same share of replicates.
    n_searched = _counts(study)[1]
    n_wanted = max_trial if n_searched >= n_to_search else round(n_searched / (1 - share))
    study.sampler = ReplicateSampler(study.direction)
    of_replicates = checked_limits(max_trial=n_wanted, max_time=limits["max_time"])
    replicating = Loop(study, objective, of_replicates, stop, is_run=False, after_tell=after_tell)
    replicating.run()
    return replicating.n_done


def _counts(study: optuna.Study) -> tuple[int, int]:
    """Return how many replicates are done, and how many other trials."""
    done = [t for t in with_retry(study.get_trials, deepcopy=False) if is_done(t)]
    n_replicates = sum(replicate_of(trial) is not None for trial in done)
    return n_replicates, len(done) - n_replicates


def evaluate_on_new_seeds(
    record: FunctionRecord, objective: KeyedObjective, stop: threading.Event
) -> None:
    """Evaluate the best trial of a study as often as its objective says, and store the values.

    Their seeds follow from the unit's, so all arms of a unit have the same ones. One that comes to
    no value (NaN, infinite or pruned) is stored as none.
    """
    if record.best is None:
        return
    evaluate = with_seed(objective.function)[0]
    for place in range(len(record.new_values), objective.confirm):
        if stop.is_set():
            raise KeyboardInterrupt
        name = f"{stored.NEW_SEED}/{record.best.number}/{place}"
        value = math.nan
        evaluation = f"The evaluation of the best trial as {name!r}"
        with contextlib.suppress(TrialPruned), catching(objective.catch, evaluation):
            seed = derived_seed(objective.seed, 1, place)
            value = number(evaluate(copy.deepcopy(record.best), seed))
        record._with_stored({name: value if math.isfinite(value) else None})
