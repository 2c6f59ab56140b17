"""The keywords that verbs share: what each means, how they are shown, and their checks."""

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
    """How a verb evaluates."""

    n_jobs: Annotated[
        int | None,
        "How many evaluations run at once, in threads of this process; in a comparison of "
        "samplers, how many runs. For functions the default is 1, because they may not be safe in "
        "several threads.",
    ]
    executor: Annotated[
        futures.Executor | None,
        "Any ``concurrent.futures.Executor``, such as a pool of spawned processes or a Dask "
        "cluster's ``client.get_executor()``. It runs the evaluations in place of threads; in a "
        "comparison of samplers, the runs. Its workers must reach ``storage``.",
    ]
    catch: Annotated[
        Catch,
        "Errors that end their own evaluation and not the call, as in "
        ":meth:`optuna.study.Study.optimize`. Such an evaluation counts, without a value.",
    ]
    show_progress_bar: Annotated[bool, "Whether to show a progress bar."]


class Common(Running, total=False):
    """The keywords of all verbs that evaluate something."""

    storage: Annotated[
        AnyStorage | None,
        'Where all is stored: a database URL such as ``"sqlite:///adnn.db"``, the path of an '
        "SQLite file, or an Optuna storage. By default studies are in memory; a recheck uses the "
        "storage of its study.",
    ]
    study_name: Annotated[
        str | None,
        "The name of the study in which all is stored, or the beginning of the studies' names. "
        "The same call resumes what is stored there. By default a search has a new name, a "
        "recheck ``<name>/recheck``, and others are called ``compare``, ``models`` and "
        "``variance``.",
    ]


class Searching(Common, LimitValues, total=False):
    """The keywords of searches: how they evaluate, and when they end."""


class Evaluating(Common, total=False):
    """The keywords of verbs that make one kind of evaluation."""

    failed: Annotated[
        float | None,
        "The value that each failed evaluation counts as, such as 0.0 for an accuracy. By default "
        "it has none. A value with failed evaluations then has no CI, because the others are a "
        "selection. In a comparison, only seeds before the first failure count.",
    ]
    max_time: Annotated[
        float | None,
        "The seconds that the evaluations may take, over all calls. No evaluation starts later.",
    ]
    reuse: Annotated[
        bool,
        "Whether stored evaluations count although the function changed since they were made. "
        "A change is noticed in its code and in functions of the same module, but not in other "
        "modules or data.",
    ]


@dataclasses.dataclass(frozen=True)
class Call:
    """The shared keywords of a call, checked."""

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
        """The limit of time."""
        return self.limits["max_time"]

    def evaluation_options(self, n_at_once: int = 1) -> dict[str, Any]:
        """Return the keywords of a call that are keywords of `make_evaluations`.

        By default, ``n_at_once`` evaluations are made at the same time.
        """
        return {
            "n_jobs": self.n_jobs or n_at_once,
            "max_time": self.max_time,
            "executor": self.executor,
            "catch": self.catch,
            "show_progress_bar": self.show_progress_bar,
        }


def checked_call(function: Callable[..., Any], keywords: Mapping[str, Any]) -> Call:
    """Return the keywords of a verb's function; refuse a wrong one."""
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
    """Show the keywords of a :class:`TypedDict` in signature and docstring of a verb.

    The verb takes them as ``**keywords``. An interrupt is shown at the line that called it.
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
        # Python can be told to keep no docstrings.
        documented.__doc__ = documented.__doc__ and re.sub(
            r" *\*\*keywords: .*", "\n".join(entries), documented.__doc__
        )
        return interrupted_where_called(function)

    return decorated


def interrupted_where_called(verb: Callable[_P, _T]) -> Callable[_P, _T]:
    """Show an interrupt of a verb at the line that called it."""

    @functools.wraps(verb)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return verb(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            # What is raised again without a name adds no line of its own.
            interrupt.__traceback__ = None
            interrupt.__suppress_context__ = True
            raise

    return call


def _entry(text: str) -> str:
    """Return an entry of a docstring."""
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
    """Return an executor or None; refuse other objects, and executors that fork this process."""
    check_type(
        "executor", executor, futures.Executor | None, "a concurrent.futures.Executor or None"
    )
    context = getattr(executor, "_mp_context", None)  # Of a pool of processes.
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
