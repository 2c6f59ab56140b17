"""Parameters of all kinds as numbers in [0, 1]."""

import math
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Levels = tuple[np.ndarray, np.ndarray] | None
"""The positions of a parameter's values in [0, 1], and the bounds between the positions.

It is :obj:`None` for a numerical parameter without a step, or with more than a thousand values.
"""

_MAX_LEVELS = 1000  # A parameter with more values counts as continuous.


def to_unit(value: Any, distribution: BaseDistribution) -> float:
    """Scale a parameter's value to [0, 1]; log parameters are scaled by their logarithm.

    For a categorical parameter, [0, 1] has an equal interval for each choice, and a choice is in
    the middle of its interval. A range with a step is first widened by half a step at both ends.
    Values outside the range are not clipped.
    """
    if isinstance(distribution, CategoricalDistribution):
        return (distribution.to_internal_repr(value) + 0.5) / len(distribution.choices)
    low, high, is_log = _bounds(distribution)
    if is_log:
        value = math.log(max(value, math.ulp(0.0)))
    if high > low:
        return float((value - low) / (high - low))
    return 0.5


def from_unit(unit: float, distribution: BaseDistribution) -> Any:
    """Return the parameter's value for a number in [0, 1], the inverse of :func:`to_unit`."""
    if isinstance(distribution, CategoricalDistribution):
        n_choices = len(distribution.choices)
        return distribution.choices[min(int(unit * n_choices), n_choices - 1)]
    return nearest_value(_value_at(unit, distribution), distribution)


def levels(distribution: BaseDistribution) -> Levels:
    """Return the levels of a distribution."""
    if n := n_choices(distribution):
        return (np.arange(n) + 0.5) / n, np.arange(1, n) / n
    step = getattr(distribution, "step", None)
    if step is None:
        return None
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    count = round((distribution.high - distribution.low) / step) + 1
    if count > _MAX_LEVELS:
        return None
    values = [distribution.low + i * step for i in range(count)]
    between = [value + step / 2 for value in values[:-1]]
    units, bounds = ([to_unit(v, distribution) for v in some] for some in (values, between))
    return np.array(units), np.array(bounds)


def can_rescale(old: BaseDistribution, new: BaseDistribution) -> bool:
    """Return whether values of one distribution have a position on the scale of another."""
    return old == new or not (n_choices(old) or n_choices(new))


def hull(one: BaseDistribution, other: BaseDistribution) -> BaseDistribution:
    """Return a distribution whose range contains both ranges.

    If types, scales (log) or steps differ, return ``one``.
    """
    for kind in (FloatDistribution, IntDistribution):
        if isinstance(one, kind) and isinstance(other, kind):
            if (one.log, one.step) != (other.log, other.step):
                return one
            low = min(one.low, other.low)
            high = max(one.high, other.high)
            return kind(low, high, log=one.log, step=one.step)  # type: ignore[arg-type]
    return one


def rescale(unit: float, old: BaseDistribution, new: BaseDistribution) -> float:
    """Convert a number in [0, 1] from one distribution's scale to the scale of another."""
    return to_unit(_value_at(unit, old), new)


def _value_at(unit: float, distribution: BaseDistribution) -> float:
    low, high, is_log = _bounds(distribution)
    value = low + unit * (high - low)
    if is_log:
        return math.exp(value)
    return value


def nearest_value(value: float, distribution: BaseDistribution) -> float:
    """Return the value of a numerical distribution that is nearest to a number."""
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low = distribution.low
    high = distribution.high
    step = distribution.step
    if step is not None:
        value = low + round((value - low) / step) * step
    if value < low:
        return low
    return min(value, high)


def n_choices(distribution: BaseDistribution) -> int:
    """Return the number of choices of a categorical parameter, or 0 for a numerical one."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    return 0


def _bounds(distribution: BaseDistribution) -> tuple[float, float, bool]:
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low = float(distribution.low)
    high = float(distribution.high)
    half_step = 0.5 * (distribution.step or 0)
    low, high = low - half_step, high + half_step
    if distribution.log:
        return math.log(low), math.log(high), True
    return low, high, False
