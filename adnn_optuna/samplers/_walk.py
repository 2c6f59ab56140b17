"""Steps of all parameters together, from an origin or from the best point so far."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, Self, TypeGuard

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._attributes import PROPOSAL, StoredStep
from adnn_optuna._checks import check_number, check_parameters, check_type
from adnn_optuna.samplers._trials import TrialReader
from adnn_optuna.samplers._unit_interval import nearest_value

# A bound is reached even if the sum of many steps is off by rounding, as 0.1 + 0.2 is.
_TOLERANCE = 1e-9


class Origin:
    """Where the walks start: one value for all numerical parameters, or a mapping from names."""

    def __init__(self, values: float | Mapping[str, Any]) -> None:
        by_name = values if isinstance(values, Mapping) else {}
        default = 0.0 if isinstance(values, Mapping) else values
        check_parameters("origin", by_name)
        check_type("`origin`", default, Real, "a number or a mapping from names to values")
        check_number("origin", default)
        self._by_name = {name: _normal(by_name[name]) for name in sorted(by_name)}
        self._default = _normal(default)

    def __repr__(self) -> str:
        """Return what is the same for equal origins only."""
        return repr(self._by_name or self._default)

    def value(self, name: str, distribution: BaseDistribution) -> Any:
        """Return a parameter's value at the origin, or the nearest one that it can have."""
        if isinstance(distribution, CategoricalDistribution):
            choice = self._by_name.get(name, distribution.choices[0])
            return distribution.to_external_repr(distribution.to_internal_repr(choice))
        return nearest_value(self._by_name.get(name, self._default), distribution)


def _normal(value: Any) -> Any:
    """Return the same of equal numbers, and choices as they are."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return float(value) + 0.0 if is_number else value  # -0.0 + 0.0 is 0.0.


def moves(distribution: BaseDistribution) -> TypeGuard[FloatDistribution | IntDistribution]:
    """Return whether a parameter can be moved by a step."""
    return not (isinstance(distribution, CategoricalDistribution) or distribution.single())


def n_steps_inside(
    value: float, delta: float, distribution: FloatDistribution | IntDistribution
) -> float:
    """Return how many steps from a value stay in a range."""
    bound = distribution.high if delta > 0 else distribution.low
    return (bound - value) / delta + _TOLERANCE


@dataclasses.dataclass
class Step:
    """A step from the origin, or from the parameters of a trial; without one, the origin."""

    origin: Origin
    trials: Sequence[FrozenTrial]
    stored: StoredStep | None

    def __call__(self, name: str, distribution: BaseDistribution) -> Any:
        """Return the value of a parameter after the step."""
        start, length = self.stored or (None, 0.0)
        value = self.origin.value(name, distribution)
        if start is not None and name in (trial := self.trials[start]).params:
            check_distribution_compatibility(trial.distributions[name], distribution)
            value = trial.params[name]
        if isinstance(distribution, CategoricalDistribution):
            return value
        return nearest_value(value + length, distribution)


@dataclasses.dataclass(frozen=True)
class _Leg:
    """How far a walk has come: the trial that it stands at, :obj:`None` for the origin."""

    length: float  # Of the next step forward.
    start: int | None = None
    best_value: float | None = None
    is_reversed: bool = False  # The step forward failed, so that the next one leads back.

    @property
    def next_length(self) -> float:
        return -self.length if self.is_reversed else self.length

    def after(self, start: int | None, length: float) -> Self:
        """Return the leg after a step of this length that failed, or whose value is awaited.

        A step from where the walk stood before says nothing of the next one.
        """
        if start != self.start:
            return self
        is_reversed = (length < 0) != (self.length < 0)
        size = math.copysign(length, self.length) / (2 if is_reversed else 1)
        turned = dataclasses.replace(self, length=size, is_reversed=not is_reversed)
        # Steps are told in any order: the walk turns on from the last one.
        return max(self, turned, key=lambda leg: (-abs(leg.length), leg.is_reversed))


@dataclasses.dataclass
class Walk:
    """Walks that keep improving steps only, as told so far; the sign is -1 to maximise."""

    origin: Origin
    deltas: Sequence[float]
    max_steps: int
    sign: int
    reader: TrialReader
    legs: Mapping[int, _Leg] = dataclasses.field(default_factory=dict)  # By the walk's number.
    baseline: float = math.inf
    distributions: Mapping[str, BaseDistribution] = dataclasses.field(default_factory=dict)

    def tell(self, index: int | None, trial: FrozenTrial) -> None:
        """Take in the trial of a step; one of others is no step."""
        if index is None:
            return
        start, length = trial.system_attrs[PROPOSAL]["step"]
        self.distributions = {**self.distributions, **trial.distributions}
        is_complete = trial.state == TrialState.COMPLETE
        value = self.sign * trial.values[0] if is_complete else math.inf
        if index == 0:
            self.baseline = value
            return
        number = (index - 1) // self.max_steps
        if number >= len(self.deltas):  # It was asked for in vain.
            return
        leg = self._leg(number)
        best_value = self.baseline if leg.best_value is None else leg.best_value
        # On in the direction that improved.
        leg = _Leg(length, trial.number, value) if value < best_value else leg.after(start, length)
        self.legs = {**self.legs, number: leg}

    def next_step(self, index: int, pending: Iterable[StoredStep]) -> StoredStep:
        """Return the step with an index, given the steps whose values are awaited."""
        leg = self._leg((index - 1) // self.max_steps)
        for step in pending:
            leg = leg.after(*step)
        # Each turn but the first halves the step: after 100, it is no step any more.
        for _ in range(100):
            if self._is_inside(leg):
                break
            leg = leg.after(leg.start, leg.next_length)
        return leg.start, leg.next_length

    def _leg(self, number: int) -> _Leg:
        return self.legs.get(number, _Leg(self.deltas[number]))

    def _is_inside(self, leg: _Leg) -> bool:
        # As far as it is known: a trial that failed early has asked for no parameters.
        step = Step(self.origin, self.reader.trials, (leg.start, 0.0))
        length, tolerance = leg.next_length, _TOLERANCE * abs(leg.length)
        return all(
            known.low - tolerance <= step(name, known) + length <= known.high + tolerance
            for name, known in self.distributions.items()
            if moves(known)
        )
