"""Steps of all parameters together, from an origin or from the best point so far."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, Self

from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)
from optuna.trial import TrialState

from adnn_optuna._attributes import PROPOSAL
from adnn_optuna._checks import WrongTypeError, check_number, check_parameters
from adnn_optuna.samplers._unit_interval import nearest_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

# A bound is reached even if the sum of many steps is off by rounding, as 0.1 + 0.2 is.
_TOLERANCE = 1e-9


class Origin:
    """Where the walks start: one value for all numerical parameters, or a mapping from names."""

    def __init__(self, values: float | Mapping[str, Any]) -> None:
        self._by_name: dict[str, Any] = {}
        self._default = 0.0
        if isinstance(values, Mapping):
            check_parameters("origin", values)
            self._by_name = dict(sorted(values.items()))
        elif isinstance(values, bool) or not isinstance(values, Real):
            raise WrongTypeError(
                "`origin` must be a number or a mapping from names to values, but is "
                f"{values!r} of type {type(values).__name__}."
            )
        else:
            check_number("origin", values)
            self._default = float(values)

    def __repr__(self) -> str:
        return repr(self._by_name or self._default)

    @property
    def identity(self) -> str:
        """What is the same for equal origins only."""
        by_name = {name: _identity(value) for name, value in self._by_name.items()}
        return repr(by_name or _identity(self._default))

    def value(self, name: str, distribution: BaseDistribution) -> Any:
        """Return a parameter's value at the origin, or the nearest one that it can have."""
        if isinstance(distribution, CategoricalDistribution):
            return self._by_name.get(name, distribution.choices[0])
        value = self._by_name.get(name, self._default)
        check_number(f"origin[{name!r}]", value)
        return nearest_value(value, distribution)


def _identity(value: Any) -> Any:
    """Return the same of equal numbers, and other values as they are."""
    if isinstance(value, bool) or not isinstance(value, Real) or float(value) != value:
        return value
    return float(value) + 0.0  # -0.0 + 0.0 is 0.0.


def _moves(distribution: BaseDistribution) -> bool:
    return not (isinstance(distribution, CategoricalDistribution) or distribution.single())


def _is_inside(value: float, delta: float, distribution: BaseDistribution) -> bool:
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    tolerance = _TOLERANCE * abs(delta)
    return distribution.low - tolerance <= value <= distribution.high + tolerance


class StepsInside:
    """Which steps of walks along a ray are in the search space of all trials so far.

    A parameter that another sampler fixes does not move, so its range does not matter.
    """

    def __init__(self, origin: Origin, deltas: tuple[float, ...], max_steps: int) -> None:
        self._origin = origin
        self._deltas = deltas
        self._max_steps = max_steps
        # For each parameter, how many steps of each walk are inside of all its ranges so far.
        self._n_inside_of: dict[str, list[float]] = {}
        self._n_inside = [float(max_steps)] * len(deltas)
        self._fixed: frozenset[str] = frozenset()
        self._last_noted: dict[str, BaseDistribution] = {}

    def note(self, trial: FrozenTrial, index: int) -> None:
        """Take in the search space of a trial, as far as it is known."""
        fixed = self._fixed
        # What was asked for in vain repeats some other step.
        if index <= len(self._deltas) * self._max_steps:
            step = step_on_ray(self._origin, self._deltas, self._max_steps, index)
            fixed |= fixed_parameters(trial, step)
        if fixed == self._fixed and trial.distributions == self._last_noted:
            return
        self._fixed = fixed
        self._last_noted = trial.distributions.copy()
        for name, distribution in self._last_noted.items():
            if _moves(distribution):
                start = self._origin.value(name, distribution)
                known = self._n_inside_of.get(name, [float(self._max_steps)] * len(self._deltas))
                self._n_inside_of[name] = [
                    min(n_inside, _n_steps_inside(start, delta, distribution))
                    for n_inside, delta in zip(known, self._deltas, strict=True)
                ]
        moving = [n for name, n in self._n_inside_of.items() if name not in self._fixed]
        self._n_inside = [
            min((of_one[walk] for of_one in moving), default=float(self._max_steps))
            for walk in range(len(self._deltas))
        ]

    def has(self, index: int) -> bool:
        """Return whether the step with an index is in the search space, or beyond all walks."""
        walk, step = divmod(index - 1, self._max_steps)
        return index == 0 or walk >= len(self._deltas) or step < self._n_inside[walk]


def _n_steps_inside(value: float, delta: float, distribution: BaseDistribution) -> float:
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    bound = distribution.high if delta > 0 else distribution.low
    steps = (bound - value) / delta + _TOLERANCE
    return math.floor(steps) if math.isfinite(steps) else steps


@dataclasses.dataclass
class Step:
    """A step from the origin, or from the parameters of a trial."""

    origin: Origin
    length: float
    start: FrozenTrial | None = None

    def __call__(self, name: str, distribution: BaseDistribution) -> Any:
        """Return the value of a parameter after the step."""
        value = self.origin.value(name, distribution)
        if self.start is not None and name in self.start.params:
            check_distribution_compatibility(self.start.distributions[name], distribution)
            value = self.start.params[name]
        if isinstance(distribution, CategoricalDistribution):
            return value
        return nearest_value(value + self.length, distribution)


def step_on_ray(origin: Origin, deltas: tuple[float, ...], max_steps: int, index: int) -> Step:
    """Return the step with an index of walks along a ray; 0 is the origin itself."""
    walk, step = divmod(index - 1, max_steps)
    return Step(origin, (step + 1) * deltas[walk] if index else 0.0)


def fixed_parameters(trial: FrozenTrial, step: Step) -> frozenset[str]:
    """Return the parameters of a trial that are not those of its step: another sampler's."""
    return frozenset(
        name
        for name, distribution in trial.distributions.items()
        if _moves(distribution) and trial.params[name] != step(name, distribution)
    )


@dataclasses.dataclass(frozen=True)
class _Leg:
    """How far a walk has come: the trial that it stands at, :obj:`None` for the origin."""

    length: float  # Of the next step forward.
    kept: FrozenTrial | None = None
    best_value: float | None = None
    is_reversed: bool = False  # The step forward failed, so that the next one leads back.

    @property
    def next_length(self) -> float:
        return -self.length if self.is_reversed else self.length

    def after(self, start: int | None, length: float) -> _Leg:
        """Return the leg after a step of this length that failed, or whose value is awaited.

        A step from where the walk stood before says nothing of the next one.
        """
        if start != (None if self.kept is None else self.kept.number):
            return self
        is_reversed = (length < 0) != (self.length < 0)
        size = math.copysign(length, self.length) / (2 if is_reversed else 1)
        turned = dataclasses.replace(self, length=size, is_reversed=not is_reversed)
        # Steps are told in any order: the walk turns on from the last one.
        return max(self, turned, key=lambda leg: (-abs(leg.length), leg.is_reversed))


class Walk:
    """Walks that keep improving steps only, as told so far; the sign is -1 to maximise."""

    def __init__(
        self, origin: Origin, deltas: tuple[float, ...], max_steps: int, sign: int
    ) -> None:
        self._origin = origin
        self._max_steps = max_steps
        self._sign = sign
        self._baseline = math.inf
        self._legs = [_Leg(delta) for delta in deltas]
        self._starts: dict[int | None, FrozenTrial | None] = {None: None}
        self._distributions: dict[str, BaseDistribution] = {}
        self._fixed: frozenset[str] = frozenset()

    def copy(self) -> Self:
        """Return a copy that can walk on without changing this one."""
        other = copy.copy(self)
        other._legs = self._legs.copy()
        other._starts = self._starts.copy()
        return other

    def tell(self, index: int | None, trial: FrozenTrial) -> None:
        """Take in the trial of a step; one of others is no step."""
        if index is None:
            return
        # Replaced and never changed, as copies share it.
        self._distributions = {**self._distributions, **trial.distributions}
        is_complete = trial.state == TrialState.COMPLETE and trial.value is not None
        value = self._sign * trial.value if is_complete and trial.value is not None else math.inf
        if index == 0:
            self._baseline = value
            self._fixed |= fixed_parameters(trial, Step(self._origin, 0.0))
            return
        number = (index - 1) // self._max_steps
        if number >= len(self._legs):  # It was asked for in vain.
            return
        start, length = trial.system_attrs[PROPOSAL]["step"]
        self._fixed |= fixed_parameters(trial, Step(self._origin, length, self._starts.get(start)))
        leg = self._legs[number]
        best_value = self._baseline if leg.best_value is None else leg.best_value
        if value < best_value:
            # On in the direction that improved.
            self._legs[number] = _Leg(length, trial, value)
            self._starts[trial.number] = trial
        else:
            self._legs[number] = leg.after(start, length)

    def next_step(
        self, index: int, pending: Iterable[tuple[int | None, float]]
    ) -> tuple[int | None, float]:
        """Return from which trial the step with an index starts, and its length.

        ``pending`` is the same of the steps whose values are awaited.
        """
        leg = self._legs[(index - 1) // self._max_steps]
        for step in pending:
            leg = leg.after(*step)
        number = None if leg.kept is None else leg.kept.number
        # Each turn but the first halves the step: after 100, it is no step any more.
        for _ in range(100):
            if self._is_inside(leg):
                break
            leg = leg.after(number, leg.next_length)
        return number, leg.next_length

    def _is_inside(self, leg: _Leg) -> bool:
        # As far as it is known: a trial that failed early has asked for no parameters.
        step, length = Step(self._origin, 0.0, leg.kept), leg.next_length
        return all(
            _is_inside(step(name, distribution) + length, length, distribution)
            for name, distribution in self._distributions.items()
            if _moves(distribution) and name not in self._fixed
        )
