"""What is compared, networks or any function: its arms by their labels, and what each runs."""

import contextlib
import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from optuna.pruners import BasePruner, MedianPruner
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import RANDOM_RESTART
from adnn_optuna._checks import (
    WrongTypeError,
    WrongValueError,
    check_integer,
    check_positive,
    logger,
)
from adnn_optuna.callbacks import LimitValues, callbacks_of
from adnn_optuna.engine.arms import CONTROLS, Searcher, arm_of, check_searcher
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.outcomes import FunctionObjective, KeyedObjective, Objective, with_seed
from adnn_optuna.engine.studies import check_objective
from adnn_optuna.evidence.paired_differences import EQUIVALENCE, check_equivalence
from adnn_optuna.networks.training import n_cores

Samplers = Iterable[str] | Mapping[str, Searcher] | None
Control = str | Callable[..., float]
"""A name, or a user's own Optuna objective of a trial, or of a trial and the seed."""

_TRIALS_FOR_CONTROL = 10  # With fewer, a search of the learning rate is none.
_CONFIRM = 5


class Networks:
    """Searches over the initial values of networks, and their controls."""

    n_at_once = n_cores()
    arguments: Mapping[str, Any] = {}

    def __init__(
        self,
        objective: InitOffsetObjective,
        samplers: Samplers,
        controls: Iterable[str] | Mapping[str, Control] | None,
        equivalence: float | None,
        limits: LimitValues,
    ) -> None:
        equivalence = EQUIVALENCE if equivalence is None else equivalence
        check_equivalence(equivalence)
        default = (stored.GREEDY, stored.ANNEALING, RANDOM_RESTART)
        searchers = _labelled(default if samplers is None else samplers, RANDOM_RESTART)
        self.equivalence = float(equivalence)
        self._objective = objective
        self._controls = _checked_controls(controls, searchers, objective, limits)
        self.arms: dict[str, Any] = {**searchers, **self._controls}

    def of(self, label: str, seed: int) -> tuple[Objective, Searcher, BasePruner | None]:
        """Return what a run of an arm searches, by which searcher, with which pruner."""
        # Samplers keep random state.
        arm, of_seed = copy.deepcopy(self.arms[label]), self._objective.replace(seed=seed)
        if label in self._controls and callable(arm):
            own = FunctionObjective(arm, of_seed.direction, seed, told=("test_accuracy",))
            return own, stored.OBJECTIVE, MedianPruner()
        return of_seed, arm, None


class Function:
    """Searches of any Optuna objective."""

    n_at_once = 1

    def __init__(
        self,
        function: Callable[..., float],
        samplers: Samplers,
        equivalence: float | None,
        *,
        direction: str | StudyDirection | None,
        confirm: int | None,
        pruner: BasePruner | None,
    ) -> None:
        with_seed(function)
        if isinstance(direction, StudyDirection):
            direction = direction.name.lower()
        if direction not in (None, "minimize", "maximize"):
            raise WrongValueError(
                f"direction must be 'minimize' or 'maximize', but it is {direction!r}."
            )
        if equivalence is not None:
            check_positive("equivalence", equivalence)
            equivalence = float(equivalence)
        times = _CONFIRM if confirm is None else confirm
        check_integer("confirm", times, 0)
        given = ("tpe", stored.ANNEALING) if samplers is None else samplers
        self.equivalence, self.arguments = equivalence, {"confirm": int(times)}
        self.arms: dict[str, Any] = _labelled(given, stored.RANDOM)
        self._function, self._pruner = function, MedianPruner() if pruner is None else pruner
        self._direction = StudyDirection[(direction or "minimize").upper()]

    def of(self, label: str, seed: int) -> tuple[Objective, Searcher, BasePruner | None]:
        """Return what a run of an arm searches, by which searcher, with which pruner."""
        times = self.arguments["confirm"]
        objective = KeyedObjective(self._function, self._direction, seed, confirm=times)
        return objective, copy.deepcopy(self.arms[label]), copy.deepcopy(self._pruner)


def what_is_compared(
    objective: InitOffsetObjective | Callable[..., float],
    samplers: Samplers,
    limits: LimitValues,
    *,
    controls: Iterable[str] | Mapping[str, Control] | None,
    equivalence: float | None,
    **of_function: Any,
) -> Networks | Function:
    """Return what the arguments of a comparison are about; refuse those that are wrong."""
    if callable(objective) and not isinstance(objective, InitOffsetObjective):
        if controls:
            raise WrongValueError("controls are of networks: leave them out for a function.")
        return Function(objective, samplers, equivalence, **of_function)
    network = check_objective(objective)
    if given := [name for name, value in of_function.items() if value is not None]:
        raise WrongValueError(
            f"{given[0]} is of other objectives: leave it out for an InitOffsetObjective."
        )
    return Networks(network, samplers, controls, equivalence, limits)


def _checked_controls(
    controls: Iterable[str] | Mapping[str, Control] | None,
    searchers: Mapping[str, Searcher],
    objective: InitOffsetObjective,
    limits: LimitValues,
) -> dict[str, Control]:
    """Return the controls by their labels, by default the learning rate, where it is a number."""
    rate = stored.LEARNING_RATE
    early = [limit.reason for limit in callbacks_of(limits) if limit.ends_early]
    if controls is None:
        is_default = (limits["max_trial"] or 0) >= _TRIALS_FOR_CONTROL and not early
        has_rate = objective.fixed_learning_rate is not None
        return {rate: rate} if is_default and has_rate and rate not in searchers else {}
    found = _by_label("controls", controls)
    if found and early:
        raise WrongValueError(
            f"controls spend the compute of all trials, but {early[0]} ends searches before that; "
            "give one of the two."
        )
    for label, control in found.items():
        if label in searchers:
            raise WrongValueError(
                f"{label!r} is a label of samplers and of controls; use another."
            )
        if callable(control):
            with_seed(control)
        elif control not in CONTROLS:
            raise WrongValueError(
                f"controls has {control!r}, but it must be one of "
                f"{', '.join(map(repr, CONTROLS))}, or an Optuna objective by its label: "
                "controls={'label': objective}."
            )
    return found


def _labelled(samplers: Iterable[str] | Mapping[str, Searcher], luck: str) -> dict[str, Searcher]:
    """Return searchers by their labels, with that by which luck is told."""
    searchers = _by_label("samplers", samplers)
    if not searchers:
        raise WrongValueError("samplers is empty, but there must be at least one to compare.")
    is_of_function = luck == stored.RANDOM
    for label, searcher in searchers.items():
        check_searcher(searcher)
        if isinstance(searcher, BaseSampler) and not arm_of(searcher).ends_by_itself:
            logger.warning(
                "samplers has one sampler as %r for all seeds: its copies may draw the same, so "
                "that luck with one seed is luck with all. Give a function (seed, n_trials) that "
                "returns one.",
                label,
            )
        if is_of_function and searcher == RANDOM_RESTART:
            raise WrongValueError(
                f"samplers has {RANDOM_RESTART!r}, which draws new initial weights: of a function "
                f"the same is {luck!r}, which is always compared."
            )
    # Random search always has its own name.
    has_luck = searchers.get(luck) == luck or (not is_of_function and luck in searchers.values())
    if luck in searchers and not has_luck:
        raise WrongValueError(
            f"The label {luck!r} is that of the control, which is added to every "
            f"comparison: call {searchers[luck]!r} otherwise."
        )
    return searchers if has_luck else {**searchers, luck: luck}


def _by_label(argument: str, given: Iterable[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Return searchers or controls by their labels, which are their names without others."""
    labels = None
    if not isinstance(given, str):
        with contextlib.suppress(TypeError):
            labels = [*given]
    if labels is None:
        raise WrongTypeError(
            f"{argument} must be a sequence of names or a mapping from labels, but it is "
            f"{given!r}: write {argument}=(..., ...)."
        )
    for label in labels:
        if not isinstance(label, str) or not label:
            raise WrongTypeError(
                f"{argument} holds {label!r}, which has no name: write {argument}={{'label': ..., "
                "...}, with labels that are strings and not empty."
            )
        if "/" in label:
            raise WrongValueError(
                f"The label {label!r} of {argument} has a slash, which parts the names of "
                "studies: use another character."
            )
    if len(set(labels)) < len(labels):
        raise WrongValueError(f"{argument} names one twice: {', '.join(labels)}.")
    return dict(given) if isinstance(given, Mapping) else dict(zip(labels, labels, strict=True))
