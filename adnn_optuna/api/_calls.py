"""Common parts of all verbs: interrupts, and the check of an executor."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent import futures
from typing import Any, ParamSpec, TypeVar

import optuna

from adnn_optuna._checks import WrongValueError, check_type, logger
from adnn_optuna.engine.evaluations import make_evaluations
from adnn_optuna.engine.objectives import Outcome
from adnn_optuna.engine.signals import progress_bar
from adnn_optuna.networks._tensorflow import FORKED
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


def check_executor(executor: object) -> None:
    """Refuse an object that is no executor, or forks this process."""
    wanted = "a concurrent.futures.Executor or None"
    check_type("executor", executor, futures.Executor | None, wanted)
    context = getattr(executor, "_mp_context", None)  # Of a pool of processes.
    if context is not None and context.get_start_method() == "fork":
        raise WrongValueError(
            f"executor forks this process: {FORKED}. Pass "
            "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))."
        )


def check_for_networks(of_functions: Mapping[str, object]) -> None:
    """Refuse arguments that are for functions if the objective trains networks."""
    for name, value in of_functions.items():
        if value is not None:
            raise WrongValueError(
                f"{name} must be omitted for an InitOffsetObjective; got {value!r:.100}. It is "
                "for other objectives."
            )


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
    shown: Any = {"show": show_progress_bar, "unit": "evaluation", "desc": study.study_name}
    try:
        with progress_bar(**shown) as bar:

            def missing(made: Mapping[Evaluation, float]) -> Sequence[Evaluation]:
                found = known(made)
                bar.total = found.n_evaluations
                bar.update(len(found.used) - bar.n)
                return found.missing

            found: Any = known(make_evaluations(missing, study, names, evaluate, **options))
        said = reused_note("evaluation", len(before.used), len(found.used))
        with_note: _F = dataclasses.replace(found, reused=said)
    except KeyboardInterrupt:
        found = known(made_evaluations(study.get_trials(deepcopy=False), names))
        logger.info("Interrupted. %s", found.document().conclusion)
        raise
    return with_note
