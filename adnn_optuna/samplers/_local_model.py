"""A model of the objective near a point, fitted to trials."""

import dataclasses
import math
from typing import Self

import numpy as np

# A fit tries two smoothings: almost none, and a smoothing that averages noise out.
_SMOOTHINGS = 1e-6, 1.0
_TAIL_RIDGE = 1e-9  # This keeps the linear part defined if all points are in a plane.


@dataclasses.dataclass(frozen=True)
class PointPool:
    """The best and latest points, one per row, to which models are fitted."""

    capacity: int = 200
    points: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 0)))
    values: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))
    numbers: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, dtype=np.int64))
    n_guesses: int = 0  # The last n_guesses values are guesses.

    def __len__(self) -> int:
        return len(self.values)

    def with_coordinate(self) -> Self:
        """Return the pool with one more coordinate, which is NaN for all points so far."""
        unknown = np.full((len(self), 1), np.nan)
        return self.with_points(np.hstack([self.points, unknown]))

    def with_points(self, points: np.ndarray) -> Self:
        """Return the pool with its points in other coordinates."""
        return dataclasses.replace(self, points=points)

    def with_point(self, x: np.ndarray, value: float) -> Self:
        """Return the pool with one more point. In a full pool, it replaces the worst old point."""
        number = self.numbers.max(initial=-1) + 1
        if len(self) == self.capacity:
            is_old = self.numbers < number - self.capacity // 4
            worst = np.argmax(np.where(is_old, self.values, -np.inf))
            points = self.points.copy()
            values = self.values.copy()
            numbers = self.numbers.copy()
            points[worst] = x
            values[worst] = value
            numbers[worst] = number
        else:
            points = np.vstack([self.points, x])
            values = np.append(self.values, value)
            numbers = np.append(self.numbers, number)
        return dataclasses.replace(self, points=points, values=values, numbers=numbers)

    def with_guesses(self, points: np.ndarray, guesses: np.ndarray) -> Self:
        """Return the pool with guessed points. All guesses are worse than the best value."""
        if not len(guesses):
            return self
        guesses = np.maximum(guesses, np.nextafter(self.values.min(), math.inf))
        return dataclasses.replace(
            self,
            points=np.vstack([self.points, points]),
            values=np.append(self.values, guesses),
            numbers=np.append(self.numbers, np.full(len(guesses), -1)),
            n_guesses=len(guesses),
        )

    @property
    def is_guess(self) -> np.ndarray:
        """Whether each value is a guess."""
        return np.arange(len(self)) >= len(self) - self.n_guesses

    def without_outliers(self) -> Self:
        """Return the pool, with values limited that are far above the median.

        The limit's distance from the median is twice the lowest value's distance. Larger values
        say little about where the best point is, but would determine the scale of all values.
        """
        median = np.median(self.values)
        with np.errstate(over="ignore"):  # If the limit overflows, no value is far above.
            highest = median + 2 * (median - self.values.min())
        if highest <= median:
            return self
        return dataclasses.replace(self, values=np.minimum(self.values, highest))

    def is_latest(self, count: int) -> np.ndarray:
        """Return which points are among the latest ``count``."""
        return self.numbers > self.numbers.max(initial=0) - count


def relative(values: np.ndarray) -> np.ndarray:
    """Return values in units of the largest. Squares and differences of large values overflow."""
    return values / (np.abs(values).max() or 1.0)


class LocalModel:
    """A cubic radial basis function with a linear tail. Points are rows in [0, 1].

    It is the smoothest function through the values, or near them if there is noise. The noise is
    estimated by predicting each value from all other values.
    """

    def __init__(self, points: np.ndarray) -> None:
        self._center = points.sum(axis=0) / len(points)
        offsets = (points - self._center).ravel()
        self._scale = math.sqrt(offsets @ offsets / len(points)) + 1e-12
        self._z = self._scaled(points)
        self._weights = np.empty(0)

    def fit(
        self, values: np.ndarray, is_guess: np.ndarray | None = None, *, is_exact: bool = False
    ) -> bool:
        """Fit the values, with smoothing if smoothing predicts better.

        Return whether the fit can predict.

        Guesses are always smoothed.
        """
        from scipy.linalg import blas, lapack  # This import takes as long as importing Optuna.

        values = relative(values)
        deviations = values - values.sum() / len(values)
        variance = deviations @ deviations / len(values)
        if variance == 0:
            return False
        m = len(values)
        n = 1 + self._z.shape[1]
        right_side = np.zeros(m + n)
        right_side[:m] = deviations / math.sqrt(variance)

        # LAPACK reads only the upper triangle, and needs Fortran's memory order.
        matrix = np.zeros((m + n, m + n), order="F")
        matrix[:m, :m] = self._basis(self._z)
        matrix[:m, m] = 1.0
        matrix[:m, m + 1 :] = self._z
        diagonal = matrix.reshape(-1, order="F")[:: m + n + 1]
        diagonal[m:] = -_TAIL_RIDGE
        best_error = math.inf
        for smoothing in _SMOOTHINGS[: 1 if is_exact else None]:
            diagonal[:m] = smoothing
            if is_guess is not None:
                diagonal[:m][is_guess] = _SMOOTHINGS[-1]
            # The inversion takes most of a proposal's time. LAPACK's routines for symmetric
            # matrices need a fifth of the time of `numpy.linalg.inv`.
            factors, pivots, failure = lapack.dsytrf(matrix)
            inverse, is_singular = lapack.dsytri(factors, pivots)
            if failure or is_singular:
                continue
            weights = blas.dsymv(1.0, inverse, right_side)
            # This is the error of predicting each value from all other values, without further
            # fits. It is NaN if the points are badly placed.
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                errors = weights[:m] / inverse.diagonal()[:m]
                error = errors @ errors
            if error < best_error:
                best_error = error
                self._weights = weights
        return best_error < math.inf

    def predict(self, points: np.ndarray) -> np.ndarray:
        """Predict the values of points, up to an offset and a positive factor."""
        z = self._scaled(points)
        m = len(self._z)
        predictions = self._basis(z) @ self._weights[:m]
        predictions += z @ self._weights[m + 1 :] + self._weights[m]
        return predictions

    def _scaled(self, points: np.ndarray) -> np.ndarray:
        return (points - self._center) / self._scale

    def _basis(self, z: np.ndarray) -> np.ndarray:
        """Return the cubes of the distances from the points of the fit."""
        # Small distances may be rounding errors, but their cubes are negligible.
        distances = z @ (-2 * self._z.T)
        distances += (z * z).sum(axis=1)[:, None]
        distances += (self._z * self._z).sum(axis=1)
        np.maximum(distances, 0.0, out=distances)
        distances *= np.sqrt(distances)
        return distances


def sensitivities(points: np.ndarray, values: np.ndarray, best: np.ndarray) -> np.ndarray | None:
    """Estimate how fast the values rise from the best point along each coordinate.

    Ingber takes finite differences, and each of them costs an evaluation. Here, a separable
    parabola is fitted to the points near the best point, and its curvatures are used.
    """
    values = relative(values)
    rises = np.minimum(values, np.quantile(values, 0.9)) - values.min()
    offsets = points - best
    scales = np.sqrt((offsets**2).mean(axis=0))
    if rises.max() == 0 or not np.all(scales > 0):
        return None
    z = offsets / scales
    features = np.hstack([z, z**2])
    gram = features.T @ features
    ridge = 1e-3 * np.trace(gram) / len(gram)
    solution = np.linalg.solve(gram + ridge * np.eye(len(gram)), features.T @ rises)
    return np.maximum(solution[z.shape[1] :], 0) / scales**2
