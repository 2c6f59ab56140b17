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

from adnn_optuna._checks import check_number, check_parameters
from adnn_optuna.samplers._unit_interval import nearest_value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

# A bound is reached even if the sum of many steps is off by rounding, as 0.1 + 0.2 is.
_TOLERANCE = 1e-9


class Origin:
    """Where the walks start.

    Args:
        values: One value for all numerical parameters, or a mapping from names to values.
    """

    def __init__(self, values: float | Mapping[str, Any]) -> None:
        self._by_name: dict[str, Any] = {}
        self._default = 0.0
        if isinstance(values, Mapping):
            check_parameters("origin", values)
            self._by_name = dict(sorted(values.items()))
        elif isinstance(values, bool) or not isinstance(values, Real):
            raise TypeError(
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
    """Leaves out the steps of walks along a ray that lead out of the search space.

    Where the trials differ in their search spaces, they lead out of none. A parameter that another
    sampler fixes does not move, so its range does not matter.

    Args:
        origin: Where the walks start.
        deltas: The length of the steps of each walk.
        max_steps: The number of steps of each walk.
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

    def skip_ahead(self, index: int) -> int:
        """Return the first index from this one on whose step is in the search space."""
        walk, step = divmod(index - 1, self._max_steps)
        if index == 0 or walk >= len(self._deltas) or step < self._n_inside[walk]:
            return index
        for later in range(walk + 1, len(self._deltas)):
            if self._n_inside[later] > 0:
                return 1 + later * self._max_steps
        return 1 + len(self._deltas) * self._max_steps


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

    def value(self, name: str, distribution: BaseDistribution) -> Any:
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
        if _moves(distribution) and trial.params[name] != step.value(name, distribution)
    )


class Walk:
    """A walk that keeps improving steps only, and the walks before it.

    Args:
        origin: Where the walks start.
        deltas: The length of the first step of each walk.
        max_steps: The number of steps of each walk.
        batch_size: Steps of the same batch know nothing of each other's values.
        sign: 1 to minimise, -1 to maximise.
    """

    def __init__(
        self,
        origin: Origin,
        deltas: tuple[float, ...],
        max_steps: int,
        batch_size: int,
        sign: int,
    ) -> None:
        self._origin = origin
        self._deltas = deltas
        self._max_steps = max_steps
        self._batch_size = batch_size
        self._sign = sign
        self._baseline: FrozenTrial | None = None
        self._distributions: dict[str, BaseDistribution] = {}
        self._fixed: frozenset[str] = frozenset()
        self._number = -1  # The first walk starts with its first step, after the baseline.
        self._batch = -1
        self._kept: FrozenTrial | None = None
        self._best_value = math.inf
        self._length = 0.0
        self._is_reversed = False
        # What was told of the current batch: value, length of the step, trial.
        self._told: list[tuple[float, float, FrozenTrial]] = []

    def copy(self) -> Self:
        """Return a copy that can walk on without changing this one."""
        other = copy.copy(self)
        other._told = self._told.copy()
        return other

    def tell(self, index: int | None, trial: FrozenTrial | None) -> None:
        """Take in a step's trial, :obj:`None` if it has no value yet."""
        if trial is not None and index is not None:
            # Replaced and never changed, as copies share it.
            self._distributions = {**self._distributions, **trial.distributions}
        if index is None:  # A trial of others is no step of a walk.
            return
        step = self.step(index) if index else Step(self._origin, 0.0)
        if trial is not None:
            self._fixed |= fixed_parameters(trial, step)
        if index == 0:
            self._baseline = trial
            return
        if trial is not None and trial.state == TrialState.COMPLETE:
            assert trial.value is not None
            self._told.append((self._sign * trial.value, step.length, trial))
        self._turn()

    def step(self, index: int) -> Step:
        """Return the step with an index, which must be the next one."""
        number, batch = (index - 1) // self._max_steps, index // self._batch_size
        if number != self._number:
            self._start(number)
        elif batch != self._batch:
            self._keep_best()
        self._batch = batch
        return Step(self._origin, self._next_length(), self._kept)

    def _start(self, number: int) -> None:
        self._number = number
        self._kept = None
        self._best_value = math.inf
        if self._baseline is not None and self._baseline.state == TrialState.COMPLETE:
            assert self._baseline.value is not None
            self._best_value = self._sign * self._baseline.value
        self._length = self._deltas[number]
        self._is_reversed = False
        self._told = []

    def _keep_best(self) -> None:
        best = min(self._told, key=lambda told: told[0], default=None)
        self._told = []
        if best is not None and best[0] < self._best_value:
            # On in the direction that improved.
            self._best_value, self._length, self._kept = best
            self._is_reversed = False

    def _turn(self) -> None:
        if self._is_reversed:
            self._length /= 2
        self._is_reversed = not self._is_reversed

    def _next_length(self) -> float:
        # Each turn but the first halves the step: after 100, it is no step any more.
        for _ in range(100):
            length = -self._length if self._is_reversed else self._length
            if self._is_inside(length):
                break
            self._turn()
        return -self._length if self._is_reversed else self._length

    def _is_inside(self, length: float) -> bool:
        # As far as it is known: a trial that failed early has asked for no parameters.
        step = Step(self._origin, 0.0, self._kept)
        return all(
            _is_inside(step.value(name, distribution) + length, length, distribution)
            for name, distribution in self._distributions.items()
            if _moves(distribution) and name not in self._fixed
        )
