"""Searches of any Optuna objective, a part of whose budget replicates the best configurations."""

import contextlib
import dataclasses
from collections.abc import Callable
from concurrent import futures
from numbers import Real
from typing import Any, Literal

import optuna
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from adnn_optuna import _attributes as stored
from adnn_optuna._checks import WrongValueError, as_integer, check_type, checked_failed, logger
from adnn_optuna.api._calls import check_executor
from adnn_optuna.api._progress import SearchProgress, log_trial
from adnn_optuna.api._resampling import check_splits
from adnn_optuna.callbacks import LimitValues
from adnn_optuna.engine.arms import SAMPLERS, SamplerSpec
from adnn_optuna.engine.code_fingerprint import check_code
from adnn_optuna.engine.confirmation import SEEDS
from adnn_optuna.engine.evaluations import check_is_reached
from adnn_optuna.engine.new_seeds import evaluate_best_trial
from adnn_optuna.engine.objectives import (
    Catch,
    FunctionObjective,
    checked_catch,
    checked_direction,
    seeds_of_trials,
    with_seed,
)
from adnn_optuna.engine.records import FunctionRecord, read_record
from adnn_optuna.engine.signals import interruptible, progress_bar
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.engine.studies import StudySpec, n_done, open_studies, resume_hint, run_trials
from adnn_optuna.results.findings import reused_note
from adnn_optuna.results.function_search import FunctionSearch, stored_result
from adnn_optuna.stats.resampling import ResampledArgument

Replicate = float | Literal["auto"]


def search_function(
    function: Callable[..., float],
    sampler: SamplerSpec,
    limits: LimitValues,
    *,
    storage: str | BaseStorage | None,
    study_name: str | None,
    reuse: bool,
    direction: str | StudyDirection | None,
    seed: int,
    replicate: Replicate,
    confirm: int | Literal["auto"],
    batch_size: int | Literal["auto"],
    pruner: BasePruner | None,
    catch: Catch,
    failed: float | None,
    n_jobs: int,
    executor: futures.Executor | None,
    resampled: ResampledArgument,
    show_progress_bar: bool,
) -> FunctionSearch:
    """Run the search of a function and return its result; the arguments are those of search."""
    if sampler == stored.RANDOM_RESTART:
        raise WrongValueError(
            f"sampler must be one for functions; got {sampler!r}, which draws new initial "
            f"weights. Choose {stored.RANDOM!r}."
        )
    is_seeded, n_jobs = with_seed(function)[1], as_integer("n_jobs", n_jobs, 1, stored.TOO_MANY)
    check_executor(executor)
    sizes = check_splits(
        {"objective": function}, {"objective": seeds_of_trials(function)}, resampled
    )
    if replicate != "auto":
        replicate = checked_share("replicate", replicate, is_seeded=is_seeded)
        if replicate and limits["max_trial"] is None:
            raise WrongValueError(
                f"replicate must be omitted without max_trial, of which it is a share; got "
                f"{replicate!r}. Set max_trial, too."
            )
    if confirm == "auto":
        max_trial = limits["max_trial"]
        confirm = SEEDS if is_seeded and (max_trial is None or max_trial >= SEEDS) else 0
    own = executor is None and n_jobs > 1
    threads: Any = futures.ThreadPoolExecutor(n_jobs, "trials") if own else None
    with interruptible() as stop, threads or contextlib.nullcontext():
        objective = FunctionObjective(
            function,
            checked_direction(direction) or StudyDirection.MINIMIZE,
            as_integer("seed", seed, 0),
            confirm=as_integer("confirm", confirm, 0, stored.TOO_MANY),
            replicate=replicate,
            failed=checked_failed(failed),
            catch=checked_catch(catch),
            executor=executor or threads,
            n_jobs=n_jobs,
        )
        at_once = n_jobs if batch_size == "auto" else batch_size
        spec = StudySpec(objective, study_name, sampler, limits, at_once, pruner)
        opened = open_storage(storage)
        check_is_reached(opened, executor)
        [study] = open_studies([spec], opened)
        check_code([study], {"objective": function}, reuse=reuse)
        if resampled is not None:
            study.set_user_attr(stored.RESAMPLED, sizes)
        n_before = n_done(study)
        try:
            with progress_bar(show=show_progress_bar, bar_format="{desc} |{bar}|") as bar:
                shown = None
                if not bar.disable:
                    shown = SearchProgress(bar, study, objective, limits)
                after_tell = log_trial if shown is None else shown.update
                run_trials(spec, study, stop, after_tell)
            record = read_record(study)
            if isinstance(record, FunctionRecord):
                evaluate_best_trial(
                    record,
                    objective,
                    stop,
                    max_time=limits["max_time"],
                    n_jobs=n_jobs,
                    executor=executor,
                    show_progress_bar=show_progress_bar,
                )
        except KeyboardInterrupt:
            logger.info(resume_hint(study, ", objective=..."))
            raise
    found = stored_result(read_record(study))
    assert isinstance(found, FunctionSearch), "It has settings, and no configuration of networks."
    return dataclasses.replace(
        found, reused=reused_note("trial", n_before, len(found.done_trials))
    )


def resumed_function(
    study: optuna.Study,
    function: Callable[..., float],
    sampler: SamplerSpec | None,
    limits: LimitValues,
    *,
    confirm: int | Literal["auto"],
    **options: Any,
) -> FunctionSearch:
    """Continue the search of a function as its study stores it."""
    settings: dict[str, Any] = study.user_attrs.get(stored.SEARCH, {})
    if "seed" not in settings:
        raise WrongValueError(
            f"Study {study.study_name!r} must be a search of a function; got one that search did "
            "not begin. Continue it by study.optimize."
        )
    if sampler is None and settings["sampler"] not in SAMPLERS:
        raise WrongValueError(
            f"Study {study.study_name!r} does not store its sampler {settings['sampler']}. Pass "
            "it as sampler."
        )
    return search_function(
        function,
        settings["sampler"] if sampler is None else sampler,
        limits,
        storage=study._storage,
        study_name=study.study_name,
        direction=study.direction,
        seed=settings["seed"],
        replicate=settings["replicate"],
        confirm=settings["confirm"] if confirm == "auto" else confirm,
        batch_size=settings["batch_size"],
        failed=None,
        n_jobs=settings["n_jobs"],
        executor=None,
        resampled=study.user_attrs.get(stored.RESAMPLED) or False,
        **options,
    )


def checked_share(name: str, share: Any, *, is_seeded: bool) -> float:
    """Return a share of replicates as Python's number; refuse one that the search cannot have."""
    check_type(name, share, Real, "a number")
    if not 0 <= share < 1:
        raise WrongValueError(
            f"{name} must be at least 0 and below 1; got {share!r:.100}. Pass 0.2 for a fifth of "
            "the trials."
        )
    if share and not is_seeded:
        raise WrongValueError(
            f"{name} must be 0 unless the objective is a function (trial, seed); got {share!r}. "
            "Let it take a seed."
        )
    return float(share)
