"""What is compared, networks or any function: its arms by their labels, and what each runs."""

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from optuna.pruners import BasePruner, MedianPruner
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection

from adnn_optuna import _attributes as stored
from adnn_optuna._checks import WrongValueError, as_integer, check_positive, check_type, logger
from adnn_optuna._units import unit_of
from adnn_optuna.callbacks import LimitValues, callbacks_of
from adnn_optuna.engine.arms import CONTROLS, SamplerSpec, arm_of, check_sampler
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.objectives import (
    FunctionObjective,
    KeyedObjective,
    Objective,
    with_seed,
)
from adnn_optuna.engine.search_record import test_metric
from adnn_optuna.engine.studies import check_objective
from adnn_optuna.networks.training import n_cores
from adnn_optuna.stats.paired_differences import EQUIVALENCE, check_equivalence
from adnn_optuna.stats.resampling import checked_resampling

Samplers = Iterable[str] | Mapping[str, SamplerSpec] | None
Control = str | Callable[..., float]
"""A name, or a user's own Optuna objective of a trial, or of a trial and the seed."""
Controls = Iterable[str] | Mapping[str, Control] | None

_TRIALS_FOR_CONTROL = 10  # With fewer, a search of the learning rate is none.
_CONFIRM = 5

Run = tuple[Objective, SamplerSpec, BasePruner | None]
"""What a run searches, by which searcher, with which pruner."""


class Compared(NamedTuple):
    """Arms by their labels, and what a run of one of them with a seed is."""

    arms: Mapping[str, Any]
    run: Callable[[str, int], Run]
    equivalence: float | None
    n_at_once: int  # With how many seeds it goes on if it is to stop once all is decided.
    arguments: Mapping[str, Any]  # What it stores beside what all comparisons do.


def of_networks(
    objective: object,
    samplers: Samplers,
    controls: Controls,
    equivalence: float | None,
    limits: LimitValues,
    *,
    catch: tuple[type[Exception], ...],
    **of_functions: object,
) -> Compared:
    """Return the arms of a comparison of searches over networks' initial values."""
    network = check_objective(objective).catching(catch)
    if given := [name for name, value in of_functions.items() if value is not None]:
        raise WrongValueError(
            f"{given[0]} is of other objectives: leave it out for an InitOffsetObjective."
        )
    metric = test_metric(network.metric)
    if equivalence is None and network.direction == StudyDirection.MAXIMIZE:
        equivalence = EQUIVALENCE  # Losses and errors have units of their own.
    if equivalence is not None:
        check_equivalence(equivalence, unit_of(metric).largest)
        equivalence = float(equivalence)
    default = (stored.GREEDY, stored.ANNEALING, stored.RANDOM_RESTART)
    searchers = _checked_searchers(default if samplers is None else samplers)
    if stored.RANDOM_RESTART not in searchers.values():
        searchers = _with_luck(searchers, stored.RANDOM_RESTART)
    beside = _checked_controls(controls, network, limits)
    if twice := [*(searchers.keys() & beside.keys())]:
        raise WrongValueError(f"{twice[0]!r} is a label of samplers and of controls; use another.")
    arms: dict[str, Any] = {**searchers, **beside}

    def run(label: str, seed: int) -> Run:
        # Samplers keep random state.
        arm, of_seed = copy.deepcopy(arms[label]), network.replace(seed=seed)
        if label in beside and callable(arm):
            told: Any = {"told": metric, "catch": catch}
            own = FunctionObjective(arm, of_seed.direction, seed, **told)
            return own, stored.OBJECTIVE, MedianPruner()
        return of_seed, arm, None

    return Compared(arms, run, equivalence, n_cores(), {})


def of_function(
    function: Callable[..., float],
    samplers: Samplers,
    controls: Controls,
    equivalence: float | None,
    *,
    catch: tuple[type[Exception], ...],
    direction: str | StudyDirection | None,
    confirm: int | None,
    pruner: BasePruner | None,
    resampled: Sequence[int] | None,
    folds: bool | None,
    sequential: bool,
) -> Compared:
    """Return the arms of a comparison of searches of any Optuna objective."""
    with_seed(function)
    _, *seeds = inspect.signature(function).parameters
    overlap = checked_resampling(
        "The seed of objective", seeds, resampled, folds=bool(folds), sequential=sequential
    )
    if controls:
        raise WrongValueError("controls are of networks: leave them out for a function.")
    named = direction.name.lower() if isinstance(direction, StudyDirection) else direction
    if named not in (None, "minimize", "maximize"):
        raise WrongValueError(
            f"direction must be 'minimize' or 'maximize', but it is {direction!r}."
        )
    towards = StudyDirection[(named or "minimize").upper()]
    if equivalence is not None:
        check_positive("equivalence", equivalence)
        equivalence = float(equivalence)
    times = as_integer("confirm", _CONFIRM if confirm is None else confirm, 0)
    default = ("tpe", stored.ANNEALING)
    searchers = _checked_searchers(default if samplers is None else samplers)
    if stored.RANDOM_RESTART in searchers.values():
        raise WrongValueError(
            f"samplers has {stored.RANDOM_RESTART!r}, which draws new initial weights: of a "
            f"function the same is {stored.RANDOM!r}, which is always compared."
        )
    arms = _with_luck(searchers, stored.RANDOM)
    pruner = MedianPruner() if pruner is None else pruner

    def run(label: str, seed: int) -> Run:
        objective = KeyedObjective(function, towards, seed, confirm=times, catch=catch)
        return objective, copy.deepcopy(arms[label]), copy.deepcopy(pruner)

    return Compared(
        arms, run, equivalence, 1, {"confirm": times, "resampled": overlap and [*overlap]}
    )


def _by_label(argument: str, given: Any) -> dict[str, Any]:
    """Return searchers or controls by their labels, which are their names without others."""
    check_type(argument, given, Iterable, "names, or a mapping from labels")
    labels = [*given]
    # A slash parts the names of studies.
    are_names = all(isinstance(label, str) and label and "/" not in label for label in labels)
    if isinstance(given, str) or not are_names or len(set(labels)) < len(labels):
        raise WrongValueError(
            f"{argument} must be names, each of them once, or a mapping from labels, which are "
            f"not empty and have no slash, but it is {given!r:.200}: write {argument}=(..., ...) "
            f"or {argument}={{'label': ..., ...}}."
        )
    return dict(given) if isinstance(given, Mapping) else dict(zip(labels, labels, strict=True))


def _with_luck(searchers: Mapping[str, SamplerSpec], luck: str) -> dict[str, SamplerSpec]:
    """Return searchers with that by which luck is told, under its own name."""
    if searchers.get(luck, luck) != luck:
        raise WrongValueError(
            f"The label {luck!r} is that of the control, which is added to every comparison: "
            f"call {searchers[luck]!r} otherwise."
        )
    return {**searchers, luck: luck}


def _checked_searchers(given: Iterable[str] | Mapping[str, SamplerSpec]) -> dict[str, SamplerSpec]:
    """Return searchers by their labels."""
    if not (searchers := _by_label("samplers", given)):
        raise WrongValueError("samplers is empty, but there must be at least one to compare.")
    for label, searcher in searchers.items():
        check_sampler(searcher)
        if isinstance(searcher, BaseSampler) and not arm_of(searcher).ends_by_itself:
            logger.warning(
                "samplers has one sampler as %r for all seeds: its copies may draw the same, so "
                "that luck with one seed is luck with all. Give a function (seed, n_trials) that "
                "returns one.",
                label,
            )
    return searchers


def _checked_controls(
    controls: Controls, objective: InitOffsetObjective, limits: LimitValues
) -> dict[str, Control]:
    """Return the controls by their labels, by default the learning rate, where it is a number."""
    early = [limit.reason for limit in callbacks_of(limits) if limit.ends_early]
    if controls is None:
        is_long = (limits["max_trial"] or 0) >= _TRIALS_FOR_CONTROL
        has_rate = objective.fixed_learning_rate is not None
        is_default = is_long and has_rate and not early
        return {stored.LEARNING_RATE: stored.LEARNING_RATE} if is_default else {}
    found = _by_label("controls", controls)
    if found and early:
        raise WrongValueError(
            f"controls spend the compute of all trials, but {early[0]} ends searches before that; "
            "give one of the two."
        )
    for control in found.values():
        if callable(control):
            with_seed(control)
        elif control not in CONTROLS:
            raise WrongValueError(
                f"controls has {control!r}, but it must be one of "
                f"{', '.join(map(repr, CONTROLS))}, or an Optuna objective by its label: "
                "controls={'label': objective}."
            )
    return found
