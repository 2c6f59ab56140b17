"""Steps that several functions of the API share, such as reading an objective."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, Literal

import optuna

from adnn_optuna._attributes import TOO_MANY, Resampled
from adnn_optuna._checks import WrongValueError, as_integer, check_type, logger, shown
from adnn_optuna.api._keywords import Call
from adnn_optuna.engine.code_fingerprint import UserFunction
from adnn_optuna.engine.functions import FunctionObjective, seeds_of_trials
from adnn_optuna.engine.kinds import Kind
from adnn_optuna.engine.objectives import Searched, checked_direction
from adnn_optuna.engine.redrawn_splits import redrawn_split
from adnn_optuna.render.printed import Printed
from adnn_optuna.samplers._evaluations import Evaluation, made_evaluations
from adnn_optuna.stats.resampling import ResampledArgument, checked_resampling

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
    are only for functions. An argument that the user omitted is :obj:`None`. If ``is_random`` is
    false, the function is not checked for splits that it redraws.
    """
    options = {key: value for key, value in of_functions.items() if value is not None}
    if isinstance(getattr(objective, "kind", None), Kind):
        for key, value in options.items():
            raise for_functions_only(objective, key, value)
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
    for key, check in _CHECKS.items():
        if key in options:
            options[key] = check(options[key])
    function = FunctionObjective(objective, name=name, catch=call.catch, **options)
    if function.replicate not in ("auto", 0.0) and not function.is_seeded:
        raise WrongValueError(
            "replicate must be 0 unless the objective is a function (trial, seed); got "
            f"{function.replicate!r}. Let it take a seed."
        )
    return function


def check_splits(
    functions: Mapping[str, UserFunction],
    seeds: Mapping[str, Sequence[str]],
    resampled: ResampledArgument,
    *,
    folds: bool,
    sequential: bool,
) -> Resampled | None:
    """Return the sizes of splits; refuse functions that redraw splits of unknown sizes.

    The keys of ``functions`` and ``seeds`` are the names that the user knows, such as
    ``models['a']``. For each function, ``seeds`` are the names of the parameters that are
    seeds.
    """
    names = [name for of_function in seeds.values() for name in of_function]
    sizes = checked_resampling(
        f"The seeds of {', '.join(functions)}",
        names,
        resampled,
        folds=folds,
        sequential=sequential,
    )
    if resampled is None and not folds:
        for name, function in functions.items():
            if call := redrawn_split(function, seeds[name]):
                raise WrongValueError(
                    f"{name} must not redraw the split of one data set, unless you say so; got "
                    f"{call}. Pass resampled=(n_train, n_test), the sizes of a split, or "
                    "resampled=False if each seed has data of its own."
                )
    return sizes


def for_functions_only(objective: object, name: str, value: object) -> WrongValueError:
    """Return the error for an argument that only a user's function may have."""
    return WrongValueError(
        f"{name} must be omitted for an {type(objective).__name__}; got {shown(value)}. It is for "
        "other objectives."
    )


def checked_share(share: Any, name: str = "replicate") -> float | Literal["auto"]:
    """Return a share of replicates as a float, or ``"auto"``; refuse a wrong share."""
    if share == "auto":
        return "auto"
    check_type(name, share, Real, "a number")
    if not 0 <= share < 1:
        raise WrongValueError(
            f"{name} must be at least 0 and below 1; got {shown(share)}. Pass 0.2 for a fifth of "
            "the trials."
        )
    return float(share)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "direction": checked_direction,
    "seed": lambda seed: as_integer("seed", seed, 0),
    "replicate": checked_share,
    "confirm": lambda n: as_integer("confirm", n, 0, TOO_MANY),
}


def with_tuples(settings: Any) -> dict[str, Any]:
    """Return stored settings with tuples in place of lists."""
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
