"""Predictions of feasibility: a Gaussian process learns the constraints (Gardner et al. 2014)."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Self

import numpy as np

from adnn_optuna.samplers._gaussian_process import GaussianProcess
from adnn_optuna.samplers._local_model import PointPool
from adnn_optuna.samplers._mixed import process_near


@dataclasses.dataclass(frozen=True)
class ConstraintPool(PointPool):
    """Points with known constraints. A point's value is its total violation."""

    # The constraints of all points that were ever in the pool, by the point's number. Constraints
    # above 0 are violated.
    constraints: tuple[tuple[float, ...], ...] = ()

    def with_constraints(self, x: np.ndarray, constraints: Sequence[float]) -> Self:
        """Return the pool with one more point."""
        pool = self.with_point(x, violation_of(constraints))
        return dataclasses.replace(pool, constraints=(*self.constraints, tuple(constraints)))


def violation_of(constraints: Sequence[float]) -> float:
    """Return the sum of all constraint violations."""
    return sum(max(constraint, 0.0) for constraint in constraints)


class Feasibility:
    """The estimated probability that points are feasible.

    Args:
        known: The points with known constraints.
        x: The points to predict are near this point.
        n_choices: The number of choices of each coordinate, or 0 for a numerical coordinate.
    """

    def __init__(self, known: ConstraintPool, x: np.ndarray, n_choices: np.ndarray) -> None:
        self._known = known
        self._x = x
        self._n_choices = n_choices

    @functools.cached_property
    def _process(self) -> GaussianProcess | None:
        """The Gaussian process of the constraints that were violated at least once."""
        if len(self._known) < len(self._x) + 2:
            return None
        rows = [self._known.constraints[number] for number in self._known.numbers]
        columns = [
            _compressed(np.array(column)) for column in zip(*rows, strict=False) if max(column) > 0
        ]
        if not columns:
            return None
        pool = dataclasses.replace(self._known, values=np.column_stack(columns))
        return process_near(self._x, pool, self._n_choices, is_rough=True)

    def log_probability(self, points: np.ndarray) -> np.ndarray:
        """Return the logarithm of the probability that points are feasible."""
        if self._process is None:
            return np.zeros(len(points))
        return self._process.log_probability_below_zero(points)

    def is_likely(self, points: np.ndarray) -> np.ndarray:
        """Return which points are probably feasible, or else the most likely point."""
        log_probabilities = self.log_probability(points)
        return log_probabilities >= min(log_probabilities.max(), math.log(0.5))


def _compressed(constraint: np.ndarray) -> np.ndarray:
    """Return a constraint's values on a scale that is logarithmic far from 0."""
    sizes = np.abs(constraint)
    typical_size = max(np.median(sizes), 1e-9 * sizes.max())
    return np.arcsinh(constraint / typical_size)
