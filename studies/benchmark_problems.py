"""Functions to minimise on the unit cube, with known optima, for sampler_quality.

An instance has its optimum at a random point away from the centre. The regret of a value is its
distance from the optimal value. The unit is this distance for a typical random point, the median
over 2048 Sobol points.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.trial import Trial
from scipy.stats import ortho_group, qmc

if TYPE_CHECKING:
    from collections.abc import Callable

# The optimum of Schwefel's function, the sum of -z sin(sqrt(|z|)) over [-500, 500].
_SCHWEFEL_OPTIMUM = 420.9687462275036


def _sphere(z: np.ndarray) -> np.ndarray:
    return (z**2).sum(axis=-1)


def _rosenbrock(z: np.ndarray) -> np.ndarray:
    y = z + 1
    return (100 * (y[..., 1:] - y[..., :-1] ** 2) ** 2 + (1 - y[..., :-1]) ** 2).sum(axis=-1)


def _rastrigin(z: np.ndarray) -> np.ndarray:
    return (z**2 - 10 * np.cos(2 * np.pi * z) + 10).sum(axis=-1)


def _ackley(z: np.ndarray) -> np.ndarray:
    radius = np.sqrt((z**2).mean(axis=-1))
    waves = np.cos(2 * np.pi * z).mean(axis=-1)
    return 20 - 20 * np.exp(-0.2 * radius) + math.e - np.exp(waves)


def _griewank(z: np.ndarray) -> np.ndarray:
    roots = np.sqrt(np.arange(1, z.shape[-1] + 1))
    return 1 + (z**2).sum(axis=-1) / 4000 - np.cos(z / roots).prod(axis=-1)


def _schwefel(z: np.ndarray) -> np.ndarray:
    y = z + _SCHWEFEL_OPTIMUM
    inside = np.clip(y, -500, 500)
    # Rotated instances also have points outside the range. There, the value increases
    # quadratically.
    outside = 0.02 * ((y - inside) ** 2).sum(axis=-1)
    highest = _SCHWEFEL_OPTIMUM * math.sin(math.sqrt(_SCHWEFEL_OPTIMUM))
    return (highest - inside * np.sin(np.sqrt(np.abs(inside)))).sum(axis=-1) + outside


# The functions and the widths of their usual ranges. All functions have the optimum 0 at 0.
FUNCTIONS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "sphere": (_sphere, 10.24),
    "rosenbrock": (_rosenbrock, 4.096),
    "rastrigin": (_rastrigin, 10.24),
    "ackley": (_ackley, 65.536),
    "griewank": (_griewank, 1200.0),
    "schwefel": (_schwefel, 1000.0),
}
KINDS = ("plain", "rotated", "noisy", "scaled", "good start")


def _point(trial: Any, n_dims: int) -> np.ndarray:
    """Return a trial's point in the unit cube."""
    return np.array([trial.suggest_float(f"x{i}", 0, 1) for i in range(n_dims)])


@dataclasses.dataclass(frozen=True)
class Problem:
    """An instance of a function.

    Args:
        function: The function's name.
        n_dims: The number of parameters.
        seed: The number of the instance.
        kind: ``rotated`` in a random direction. ``noisy`` with a standard deviation of 2% of a
            typical value. ``scaled``, so that parameters matter differently (for the sphere, with
            a condition number of 1e4). With a ``good start`` within 10% of the range.
    """

    function: str
    n_dims: int
    seed: int
    kind: str = "plain"

    @functools.cached_property
    def _random(self) -> np.random.Generator:
        name = zlib.crc32(f"{self.function} {self.n_dims}".encode())
        return np.random.default_rng([self.seed, name])

    @functools.cached_property
    def optimum(self) -> np.ndarray:
        """The optimum's point, at a distance of 0.1 to 0.4 from the centre in each coordinate."""
        sides = self._random.choice([-1, 1], self.n_dims)
        if self.function == "schwefel" and self.kind != "rotated":
            # This function's optimum is fixed, so it is only mirrored.
            return 0.5 + sides * _SCHWEFEL_OPTIMUM / 1000
        return 0.5 + sides * self._random.uniform(0.1, 0.4, self.n_dims)

    @functools.cached_property
    def _transformation(self) -> np.ndarray:
        width = FUNCTIONS[self.function][1]
        if self.kind == "rotated" and self.n_dims > 1:
            return width * ortho_group.rvs(self.n_dims, random_state=self._random)
        matrix = width * np.eye(self.n_dims)
        if self.function == "schwefel":
            return matrix * np.sign(self.optimum - 0.5)
        if self.kind == "scaled":
            scales = np.logspace(0, -2, self.n_dims)
            return matrix * self._random.permutation(scales)
        return matrix

    @functools.cached_property
    def typical_value(self) -> float:
        """The median value of 2048 Sobol points."""
        points = qmc.Sobol(self.n_dims, seed=self.seed).random(2048)
        return float(np.median(self.exact(points)))

    @functools.cached_property
    def start(self) -> np.ndarray | None:
        """A point near the optimum, if the kind has a good start."""
        if self.kind != "good start":
            return None
        random = np.random.default_rng([self.seed, 1])
        return np.clip(self.optimum + random.uniform(-0.1, 0.1, self.n_dims), 0, 1)

    def exact(self, x: np.ndarray) -> np.ndarray:
        """Return values of points of the unit cube, without noise."""
        return FUNCTIONS[self.function][0]((x - self.optimum) @ self._transformation.T)

    def __call__(self, trial: Any, seed: int) -> float:
        """Return the regret of a trial's point, with noise if the kind has noise.

        If a finished trial is evaluated again, the regret has no noise.
        """
        regret = float(self.exact(_point(trial, self.n_dims))) / self.typical_value
        if self.kind == "noisy" and isinstance(trial, Trial):
            regret += 0.02 * np.random.default_rng([2, seed]).standard_normal()
        return regret


@dataclasses.dataclass(frozen=True)
class CocoProblem:
    """A function from a suite of coco-experiment.

    The regret is the distance from the optimal value. In the suites with noise and with integers,
    its unit is the distance of a typical random point: the median of 256 Sobol points.

    Args:
        suite: The suite: ``bbob``, ``bbob-noisy`` or ``bbob-mixint``.
        function: The function's number in the suite.
        n_dims: The number of parameters. The suite allows some numbers only.
        seed: The number of the instance, from 0 on.
    """

    suite: str
    function: int
    n_dims: int
    seed: int

    def _problem_of(self, function: int) -> Any:
        import cocoex

        where = function, self.n_dims, self.seed + 1
        return cocoex.Suite(self.suite, "", "").get_problem_by_function_dimension_instance(*where)

    @functools.cached_property
    def _told(self) -> Any:
        return self._problem_of(self.function)

    @functools.cached_property
    def _exact(self) -> Any:
        # The suite returns only noisy values. Each function has three kinds of noise. The last
        # kind, Cauchy noise, adds the same number to most values.
        is_noisy = self.suite == "bbob-noisy"
        return self._problem_of(self.function + is_noisy * ((103 - self.function) % 3))

    def _true(self, x: np.ndarray) -> float:
        times = 101 if self.suite == "bbob-noisy" else 1
        return float(np.median([self._exact(x) for _ in range(times)]))

    @functools.cached_property
    def _lowest(self) -> float:
        # The suite shows the optimum only in a file that it writes to the working folder.
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            self._exact._best_parameter("print")  # noqa: SLF001
            (file,) = Path(folder).iterdir()
            return self._true(np.loadtxt(file))

    @functools.cached_property
    def _unit(self) -> float:
        if self.suite == "bbob":  # The targets of bbob are distances without a unit.
            return 1.0
        low, high = self._exact.lower_bounds, self._exact.upper_bounds
        points = low + (high - low) * qmc.Sobol(self.n_dims, seed=self.seed).random(256)
        n = self._exact.number_of_integer_variables
        points[:, :n] = np.round(points[:, :n])
        return float(np.median([self._true(x) for x in points])) - self._lowest

    def _point(self, trial: Any) -> np.ndarray:
        """Return a trial's point: real numbers from 0 to 1, integers in their own range."""
        low, high = self._told.lower_bounds, self._told.upper_bounds
        n = self._told.number_of_integer_variables
        integers = [trial.suggest_int(f"x{i}", int(low[i]), int(high[i])) for i in range(n)]
        numbers = [trial.suggest_float(f"x{i}", 0, 1) for i in range(n, self.n_dims)]
        return np.array([*integers, *(low[n:] + (high - low)[n:] * np.array(numbers))])

    def __call__(self, trial: Any, _: int) -> float:
        """Return the regret of a trial's point, with the suite's noise.

        If a finished trial is evaluated again, the regret has no noise.
        """
        x = self._point(trial)
        if isinstance(trial, Trial):
            return (float(self._told(x)) - self._lowest) / self._unit
        return max(self._true(x) - self._lowest, 0.0) / self._unit
