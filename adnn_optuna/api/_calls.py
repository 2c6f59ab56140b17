"""Code that the functions of the API share: keywords, the user's objective, and evaluations."""

import contextlib
import dataclasses
import functools
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from numbers import Real
from typing import (
    Annotated,
    Any,
    Literal,
    ParamSpec,
    TypedDict,
    TypeVar,
    cast,
    get_args,
    get_type_hints,
)

import numpy as np
import optuna

from adnn_optuna._attributes import TOO_MANY
from adnn_optuna._checks import (
    WrongTypeError,
    WrongValueError,
    as_integer,
    check_type,
    checked_failed,
    did_you_mean,
    logger,
    shown,
)
from adnn_optuna.api._splits import check_splits
from adnn_optuna.callbacks import LimitValues, checked_limits
from adnn_optuna.engine.functions import FunctionObjective, seeds_of_trials
from adnn_optuna.engine.kinds import Kind
from adnn_optuna.engine.objectives import Catch, Caught, Searched, checked_catch, checked_direction
from adnn_optuna.engine.storages import AnyStorage, check_study_name
from adnn_optuna.render.printed import Printed
from adnn_optuna.samplers._evaluations import Evaluation, made_evaluations

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Running(TypedDict, total=False):
    """The keywords that say how evaluations are made."""

    n_jobs: Annotated[
        int | None,
        "How many evaluations (in a comparison of samplers: runs) are made at once in threads of "
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
        """The time limit in seconds, or None."""
        return self.limits["max_time"]

    def evaluation_options(self, n_at_once: int = 1) -> dict[str, Any]:
        """Return the keyword arguments that this call passes to :func:`make_evaluations`.

        If the user does not set ``n_jobs``, ``n_at_once`` evaluations run at once.
        """
        return {
            "n_jobs": self.n_jobs or n_at_once,
            "max_time": self.max_time,
            "executor": self.executor,
            "catch": self.catch,
            "show_progress_bar": self.show_progress_bar,
        }


def checked_call(keywords: Mapping[str, Any]) -> Call:
    """Return the checked keywords of a call. Refuse a wrong value."""
    checked: Any = {**keywords}
    limits: Any = {}
    for name in checked.keys() & LimitValues.__annotations__:
        limits[name] = checked.pop(name)
    for name in checked.keys() & _CHECKS_OF_KEYWORDS.keys():
        checked[name] = _CHECKS_OF_KEYWORDS[name](checked[name])
    return Call(limits=checked_limits(**limits), **checked)


def verb(kind: Any) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Show the keywords of a :class:`TypedDict` in a function's signature and docstring.

    The function accepts these keywords as ``**keywords``. If the user interrupts it, the traceback
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
        return called_by_users(function)

    return decorated


# Words for an argument's meaning that are not similar to its name.
_OTHER_WORDS = (
    ("n_trials", "max_trial"),
    ("timeout", "max_time"),
    ("minimize", "direction"),
    ("maximize", "direction"),
    ("direction", "minimize"),
    ("seeds", "n"),
    ("seeds", "confirm"),
)


def called_by_users(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Return the function with checks of its keywords, and with shorter tracebacks.

    Unknown keywords and wrong truth values are refused. After Ctrl-C, tracebacks end at the
    caller.
    """

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        parameters = inspect.signature(function).parameters
        for name, value in kwargs.items():
            if name not in parameters:
                raise WrongTypeError(
                    f"{function.__name__}() has no argument {name!r}.{_meant(name, parameters)}"
                )
            if isinstance(parameters[name].default, bool):
                check_type(name, value, bool | np.bool_, "True or False")
        try:
            return function(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            # A bare `raise` adds no line of this function to the traceback.
            interrupt.__traceback__ = None
            interrupt.__suppress_context__ = True
            raise

    return call


def _meant(name: str, names: Iterable[str]) -> str:
    """Return the question whether another argument was meant. It is empty if none is similar."""
    for word, other in _OTHER_WORDS:
        if word == name and other in names:
            return f" Did you mean {other!r}?"
    return did_you_mean(name, names)


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
    """Return the executor or None. Raise an error for other objects and for forking executors."""
    check_type(
        "executor", executor, futures.Executor | None, "a concurrent.futures.Executor or None"
    )
    # Only a pool of processes has this attribute.
    context = getattr(executor, "_mp_context", None)
    if context is not None and context.get_start_method() == "fork":
        raise WrongValueError(
            "executor forks this process, in which threads and TensorFlow wait forever. Pass "
            "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))."
        )
    return executor


_CHECKS_OF_KEYWORDS: dict[str, Callable[[Any], Any]] = {
    "study_name": _checked_study_name,
    "n_jobs": _checked_n_jobs,
    "executor": _checked_executor,
    "catch": checked_catch,
    "failed": checked_failed,
}


NO_EXECUTOR = (
    "executor must be None for Keras models, which train on all cores of this process; omit it, "
    "or make the same call on each machine with one storage URL."
)


def are_labels(labels: Iterable[object]) -> bool:
    """Return whether all labels are texts that are not empty."""
    return all(isinstance(label, str) and label.strip() for label in labels)


def as_searched(
    objective: Any,
    call: Call,
    *,
    name: str = "objective",
    is_random: bool = True,
    sequential: bool = False,
    **of_functions: Any,
) -> Searched[Any]:
    """Return an objective of this package unchanged, and a user's function as an objective.

    ``name`` is the name of the argument that the user passed. ``of_functions`` are arguments that
    are only for functions. If the user omitted an argument, it is :obj:`None`. If ``is_random`` is
    false, there is no check whether the function redraws splits.
    """
    options = {key: value for key, value in of_functions.items() if value is not None}
    if isinstance(getattr(objective, "kind", None), Kind):
        for key, value in options.items():
            raise for_functions_only(key, value)
        searched: Searched[Any] = objective
        if call.catch:
            return searched.replace(catch=call.catch)
        return searched
    if not callable(objective):
        objective_rule = "an InitOffsetObjective, or a function (trial) or (trial, seed)"
        check_type(name, objective, Callable, objective_rule)  # type: ignore[arg-type]
    folds = options.pop("folds", False)
    if is_random:
        seeds = seeds_of_trials(objective)
        sizes = check_splits(
            {name: objective},
            {name: seeds},
            options.get("resampled"),
            folds=folds,
            sequential=sequential,
        )
        if "resampled" in options:
            options["resampled"] = False if sizes is None else sizes
    for key, check in _CHECKS_OF_FUNCTIONS.items():
        if key in options:
            options[key] = check(options[key])
    function = FunctionObjective(objective, name=name, catch=call.catch, **options)
    if function.replicate not in ("auto", 0.0) and not function.is_seeded:
        raise WrongValueError(
            "replicate must be 0 unless the objective is a function (trial, seed); got "
            f"{function.replicate!r}. Let it take a seed."
        )
    return function


def for_functions_only(name: str, value: object) -> WrongValueError:
    """Return the error for an argument that is only for users' functions."""
    return WrongValueError(
        f"{name} must be omitted for a network; got {shown(value)}. It is for functions."
    )


def checked_share(share: Any, name: str = "replicate") -> float | Literal["auto"]:
    """Return a share of replicates as a float, or ``"auto"``. Raise an error for a wrong share."""
    if share == "auto":
        return "auto"
    check_type(name, share, Real, "a number")
    if not 0 <= share < 1:
        raise WrongValueError(
            f"{name} must be at least 0 and below 1; got {shown(share)}. Pass 0.2 for a fifth of "
            "the trials."
        )
    return float(share)


_CHECKS_OF_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "direction": checked_direction,
    "seed": lambda seed: as_integer("seed", seed, 0),
    "replicate": checked_share,
    "confirm": lambda n: as_integer("confirm", n, 0, TOO_MANY),
}


def with_tuples(settings: Any) -> dict[str, Any]:
    """Return stored settings with lists replaced by tuples."""
    return {
        name: tuple(part) if isinstance(part, list) else part for name, part in settings.items()
    }


def stored_evaluations(study: optuna.Study, names: Sequence[str]) -> dict[Evaluation, float]:
    """Return the values of a study's evaluations.

    A key has the value of each parameter in ``names``, such as a model's number and a seed.
    """
    try:
        return made_evaluations(study.get_trials(deepcopy=False), names)
    except KeyError as error:
        raise WrongValueError(
            f"The trials of study {study.study_name!r} must have the parameters "
            f"{', '.join(names)}; got a trial without {error}. Restore a copy of the storage."
        ) from None


@contextlib.contextmanager
def logged_if_interrupted(result_so_far: Callable[[], Printed]) -> Iterator[None]:
    """Log the result so far if the user interrupts evaluations."""
    try:
        yield
    except KeyboardInterrupt:
        document = result_so_far().document()
        logger.info("Interrupted. %s %s", document.conclusion, document.next_step.python)
        raise
