"""Common parts of all verbs: what is searched, interrupts, and evaluations."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent import futures
from numbers import Real
from typing import Any, Literal, ParamSpec, TypeVar

import optuna

from adnn_optuna._attributes import TOO_MANY
from adnn_optuna._checks import WrongValueError, as_integer, check_type, checked_failed, logger
from adnn_optuna.api._resampling import check_splits
from adnn_optuna.engine.evaluations import make_evaluations
from adnn_optuna.engine.functions import FunctionObjective, seeds_of_trials
from adnn_optuna.engine.kinds import Kind
from adnn_optuna.engine.objectives import (
    Catch,
    Outcome,
    Searched,
    checked_catch,
    checked_direction,
)
from adnn_optuna.engine.signals import progress_bar
from adnn_optuna.results.findings import Findings, reused_note
from adnn_optuna.samplers._evaluations import Evaluation, made_evaluations

_P = ParamSpec("_P")
_T = TypeVar("_T")
_F = TypeVar("_F", bound=Findings)

NO_EXECUTOR = (
    "executor must be None for Keras models, which train on all cores of this process; omit it, "
    "or make the same call on each machine with one storage URL."
)


def are_labels(labels: Iterable[object]) -> bool:
    """Return whether labels of arms are texts, none of them empty."""
    return all(isinstance(label, str) and label.strip() for label in labels)


def checked_executor(executor: Any) -> futures.Executor | None:
    """Return an executor, if any; refuse what is none, or forks this process."""
    executor_rule = "a concurrent.futures.Executor or None"
    check_type("executor", executor, futures.Executor | None, executor_rule)
    context = getattr(executor, "_mp_context", None)  # Of a pool of processes.
    if context is not None and context.get_start_method() == "fork":
        raise WrongValueError(
            "executor forks this process, in which threads and TensorFlow wait forever. Pass "
            "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))."
        )
    of_user: futures.Executor | None = executor
    return of_user


def as_searched(
    objective: Any,
    *,
    name: str = "objective",
    catch: Catch = (),
    is_random: bool = True,
    sequential: bool = False,
    **of_functions: Any,
) -> Searched:
    """Return what is searched: an objective of ours as it is, or one of a user's function.

    ``of_functions`` are arguments that are only for functions, :obj:`None` if they are omitted;
    ``name`` is what the user calls the function. One that is not random redraws no split.
    """
    options = {key: value for key, value in of_functions.items() if value is not None}
    if isinstance(getattr(objective, "kind", None), Kind):
        for key, value in options.items():
            raise for_functions_only(objective, key, value)
        searched: Searched = objective
        if catch != ():
            return searched.replace(catch=checked_catch(catch))
        return searched
    if not callable(objective):
        objective_rule = "an InitOffsetObjective, or a function (trial) or (trial, seed)"
        check_type(name, objective, Callable, objective_rule)  # type: ignore[arg-type]
    folds = options.pop("folds", False)
    if is_random:
        sizes = check_splits(
            {name: objective},
            {name: seeds_of_trials(objective)},
            options.get("resampled"),
            folds=folds,
            sequential=sequential,
        )
        if "resampled" in options:
            options["resampled"] = False if sizes is None else sizes
    for key, check in _CHECKS.items():
        if key in options:
            options[key] = check(options[key])
    function = FunctionObjective(objective, name=name, catch=checked_catch(catch), **options)
    if function.replicate not in ("auto", 0.0) and not function.is_seeded:
        raise WrongValueError(
            "replicate must be 0 unless the objective is a function (trial, seed); got "
            f"{function.replicate!r}. Let it take a seed."
        )
    return function


def for_functions_only(objective: object, name: str, value: object) -> WrongValueError:
    """Return the error for an argument that an objective of ours does not have."""
    return WrongValueError(
        f"{name} must be omitted for an {type(objective).__name__}; got {value!r:.100}. It is for "
        "other objectives."
    )


def checked_share(share: Any, name: str = "replicate") -> float | Literal["auto"]:
    """Return a share of replicates as Python's number, or refuse it."""
    if share == "auto":
        return "auto"
    check_type(name, share, Real, "a number")
    if not 0 <= share < 1:
        raise WrongValueError(
            f"{name} must be at least 0 and below 1; got {share!r:.100}. Pass 0.2 for a fifth of "
            "the trials."
        )
    return float(share)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "direction": checked_direction,
    "seed": lambda seed: as_integer("seed", seed, 0),
    "replicate": checked_share,
    "confirm": lambda n: as_integer("confirm", n, 0, TOO_MANY),
    "failed": checked_failed,
    "n_jobs": lambda n: as_integer("n_jobs", n, 1, TOO_MANY),
    "executor": checked_executor,
}


def interrupted_where_called(verb: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let an interrupt of a verb, which is no fault, be shown at the line that called it."""

    @functools.wraps(verb)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return verb(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            # What is raised again without a name adds no line of its own.
            interrupt.__traceback__, interrupt.__suppress_context__ = None, True
            raise

    return call


def found_by_evaluating(
    known: Callable[[Mapping[Evaluation, float]], _F],
    study: optuna.Study,
    names: Sequence[str],
    evaluate: Callable[..., float | Outcome],
    *,
    show_progress_bar: bool,
    **options: Any,
) -> _F:
    """Make evaluations, see :func:`make_evaluations`; log what is known if the user interrupts.

    What is found says how many of them were stored before.
    """
    before = known(made_evaluations(study.get_trials(deepcopy=False), names))
    bar_options: Any = {"show": show_progress_bar, "unit": "evaluation", "desc": study.study_name}
    try:
        with progress_bar(**bar_options) as bar:

            def missing(made: Mapping[Evaluation, float]) -> Sequence[Evaluation]:
                result_so_far = known(made)
                bar.total = result_so_far.n_evaluations
                bar.update(len(result_so_far.used) - bar.n)
                return result_so_far.missing

            evaluated: Any = known(make_evaluations(missing, study, names, evaluate, **options))
        note = reused_note("evaluation", len(before.used), len(evaluated.used))
        with_note: _F = dataclasses.replace(evaluated, reused=note)
    except KeyboardInterrupt:
        evaluated = known(made_evaluations(study.get_trials(deepcopy=False), names))
        logger.info("Interrupted. %s", evaluated.document().conclusion)
        raise
    return with_note
