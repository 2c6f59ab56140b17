"""The keyword arguments that functions such as ``search`` share: their docstrings and checks."""

import dataclasses
import functools
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import Annotated, Any, ParamSpec, TypedDict, TypeVar, cast, get_args, get_type_hints

from adnn_optuna._attributes import TOO_MANY
from adnn_optuna._checks import (
    WrongTypeError,
    WrongValueError,
    as_integer,
    check_type,
    checked_failed,
    did_you_mean,
)
from adnn_optuna.callbacks import LimitValues, checked_limits
from adnn_optuna.engine.objectives import Catch, Caught, checked_catch
from adnn_optuna.engine.storages import AnyStorage, check_study_name

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Running(TypedDict, total=False):
    """The keywords that say how evaluations are made."""

    n_jobs: Annotated[
        int | None,
        "How many evaluations, or runs of a sampler comparison, are made at once in threads of "
        "this process. For functions the default is 1, because a function may not be thread-safe.",
    ]
    executor: Annotated[
        futures.Executor | None,
        "A ``concurrent.futures.Executor`` that runs the evaluations in place of threads. It may "
        "be a pool of spawned processes or a Dask cluster's ``client.get_executor()``. In a "
        "comparison of samplers, it runs the runs. All its workers must have access to "
        "``storage``.",
    ]
    catch: Annotated[
        Catch,
        "The errors that end only an evaluation and not the whole call, as in "
        ":meth:`optuna.study.Study.optimize`. The evaluation counts, but has no value.",
    ]
    show_progress_bar: Annotated[bool, "Whether to show a progress bar."]


class Common(Running, total=False):
    """The keywords of all functions of the API that evaluate something."""

    storage: Annotated[
        AnyStorage | None,
        'The storage: a database URL such as ``"sqlite:///adnn.db"``, the path of an SQLite file, '
        "or an Optuna storage. By default, studies are in memory. A recheck uses the storage of "
        "its study by default.",
    ]
    study_name: Annotated[
        str | None,
        "The name of the study that stores the evaluations. In a comparison of samplers, the "
        "names of all its studies begin with it. The same call with the same name resumes. By "
        "default, a search gets a new name, and a recheck the name ``<name>/recheck``. The other "
        "defaults are ``compare``, ``models``, ``variance`` and ``loop``.",
    ]


class Searching(Common, LimitValues, total=False):
    """The keywords that say how a search evaluates, and when it ends."""


class Evaluating(Common, total=False):
    """The keywords of functions of the API that evaluate without a search."""

    failed: Annotated[
        float | None,
        "The value of each failed evaluation, such as 0.0 for an accuracy. By default, a failed "
        "evaluation has no value. A mean then has no CI, because the evaluations that succeeded "
        "are a selection. In a comparison, only the seeds before the first failure count.",
    ]
    max_time: Annotated[
        float | None,
        "The seconds that the evaluations of all calls may take together. No evaluation starts "
        "later.",
    ]
    reuse: Annotated[
        bool,
        "Whether stored evaluations count although the function's code changed since. Changes in "
        "the function and in functions of its module are noticed. Changes in other modules and in "
        "data are not.",
    ]


@dataclasses.dataclass(frozen=True)
class Call:
    """The shared keywords of one call, with their checked values."""

    storage: AnyStorage | None = None
    study_name: str | None = None
    n_jobs: int | None = None
    executor: futures.Executor | None = None
    catch: Caught = ()
    show_progress_bar: bool = False
    failed: float | None = None
    reuse: bool = False
    limits: LimitValues = dataclasses.field(default_factory=checked_limits)

    @property
    def max_time(self) -> float | None:
        """The limit of time in seconds; None if there is none."""
        return self.limits["max_time"]

    def evaluation_options(self, n_at_once: int = 1) -> dict[str, Any]:
        """Return the keyword arguments that this call passes to :func:`make_evaluations`.

        If the user did not set ``n_jobs``, ``n_at_once`` evaluations run at once.
        """
        return {
            "n_jobs": self.n_jobs or n_at_once,
            "max_time": self.max_time,
            "executor": self.executor,
            "catch": self.catch,
            "show_progress_bar": self.show_progress_bar,
        }


def checked_call(function: Callable[..., Any], keywords: Mapping[str, Any]) -> Call:
    """Return the checked keywords of a call; refuse an unknown keyword or a wrong value."""
    names = inspect.signature(function).parameters
    for name in keywords.keys() - names:
        raise WrongTypeError(
            f"{function.__name__}() has no argument {name!r}.{did_you_mean(name, names)}"
        )
    checked: Any = {**keywords}
    limits: Any = {}
    for name in checked.keys() & LimitValues.__annotations__:
        limits[name] = checked.pop(name)
    for name in checked.keys() & _CHECKS.keys():
        checked[name] = _CHECKS[name](checked[name])
    return Call(limits=checked_limits(**limits), **checked)


def verb(kind: Any) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Show the keywords of a :class:`TypedDict` in a function's signature and docstring.

    The function takes these keywords as ``**keywords``. If the user interrupts it, the traceback
    ends at the line that called the function.
    """

    def decorated(function: Callable[_P, _T]) -> Callable[_P, _T]:
        documented = cast("Any", function)
        signature = inspect.signature(function)
        *parameters, _ = signature.parameters.values()
        defaults = vars(Call())
        entries = []
        for name, hint in get_type_hints(kind, include_extras=True).items():
            annotation, meaning = get_args(hint)
            if name not in signature.parameters:
                default = defaults.get(name)
                parameter = inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
                )
                parameters.append(parameter)
                entries.append(_entry(f"{name}: {meaning}"))
        documented.__signature__ = signature.replace(parameters=parameters)
        # With the option -OO, Python keeps no docstrings.
        documented.__doc__ = documented.__doc__ and re.sub(
            r" *\*\*keywords: .*", "\n".join(entries), documented.__doc__
        )
        return interrupted_where_called(function)

    return decorated


def interrupted_where_called(verb: Callable[_P, _T]) -> Callable[_P, _T]:
    """Return the function with shorter tracebacks: after Ctrl-C, they end at the caller."""

    @functools.wraps(verb)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return verb(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            # A bare `raise` adds no line of this function to the traceback.
            interrupt.__traceback__ = None
            interrupt.__suppress_context__ = True
            raise

    return call


def _entry(text: str) -> str:
    """Return the lines of an argument in a docstring."""
    indent = " " * 8
    return textwrap.fill(
        text, 99, initial_indent=indent, subsequent_indent=indent + " " * 4, break_on_hyphens=False
    )


def _checked_study_name(name: str | None) -> str | None:
    if name is not None:
        check_study_name(name)
    return name


def _checked_n_jobs(n_jobs: Any) -> int | None:
    if n_jobs is None:
        return None
    return as_integer("n_jobs", n_jobs, 1, TOO_MANY)


def _checked_executor(executor: Any) -> Any:
    """Return the executor or None; refuse other objects, and executors that fork this process."""
    check_type(
        "executor", executor, futures.Executor | None, "a concurrent.futures.Executor or None"
    )
    context = getattr(executor, "_mp_context", None)  # A pool of processes has it.
    if context is not None and context.get_start_method() == "fork":
        raise WrongValueError(
            "executor forks this process, in which threads and TensorFlow wait forever. Pass "
            "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))."
        )
    return executor


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "study_name": _checked_study_name,
    "n_jobs": _checked_n_jobs,
    "executor": _checked_executor,
    "catch": checked_catch,
    "failed": checked_failed,
}
