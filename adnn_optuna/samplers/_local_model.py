"""A model of the objective near a point, fitted to the trials so far."""

from __future__ import annotations

import numpy as np

# How much a value counts for less than its neighbours: not at all, or as noise does. Which one
# is decided anew for each fit.
_SMOOTHINGS = (1e-6, 1.0)

# Keeps the linear part defined where the points lie in a plane.
_TAIL_RIDGE = 1e-9


class PointPool:
    """The points that a model is fitted to: the best ones, and the latest.

    Their number is bounded, and with it the time of a fit, however long the study is.

    Args:
        capacity: The number of points kept.
    """

    def __init__(self, capacity: int = 200) -> None:
        self._capacity = capacity
        self._n_told = 0
        self._points = np.empty((0, 0))
        self._values = np.empty(0)
        self._ages = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def points(self) -> np.ndarray:
        """The points, one a row."""
        return self._points

    @property
    def values(self) -> np.ndarray:
        """The values of the points."""
        return self._values

    def add_coordinate(self) -> None:
        """Add a coordinate, which is unknown of all points so far."""
        unknown = np.full((len(self), 1), np.nan)
        self._points = np.hstack([self._points, unknown])

    def add(self, x: np.ndarray, value: float) -> None:
        """Add a point, in place of the worst old one if the pool is full."""
        # The arrays are replaced and never changed, so that a copy of the pool is cheap.
        if len(self) < self._capacity:
            self._points = np.concatenate([self._points, x[None, :]])
            self._values = np.concatenate([self._values, [value]])
            self._ages = np.concatenate([self._ages, [self._n_told]])
        else:
            is_old = self._ages < self._n_told - self._capacity // 4
            worst = np.argmax(np.where(is_old, self._values, -np.inf))
            self._points, self._values = self._points.copy(), self._values.copy()
            self._ages = self._ages.copy()
            self._points[worst], self._values[worst] = x, value
            self._ages[worst] = self._n_told
        self._n_told += 1

    def nearest(self, x: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the points nearest to ``x`` and their values.

        Coordinates that a point lacks are taken to be those of ``x``.
        """
        points = np.where(np.isnan(self._points), x, self._points)
        if len(self) <= size:
            return points, self._values
        distances = ((points - x) ** 2).sum(axis=1)
        rows = np.argpartition(distances, size)[:size]
        return points[rows], self._values[rows]


def predict(
    points: np.ndarray, values: np.ndarray, candidates: np.ndarray, n_choices: np.ndarray
) -> np.ndarray | None:
    """Predict the values of candidates, up to scale.

    The model is the cubic radial basis function with a linear tail: the smoothest one through
    the values, or near them if there is noise, which shows in how well each value is predicted
    from all others.

    Args:
        points: The points, in [0, 1].
        values: Their values.
        candidates: The points to predict.
        n_choices: The number of choices of each coordinate, 0 for numerical ones.

    Returns:
        The predictions, or :obj:`None` if the values do not tell anything.
    """
    values = values / (np.abs(values).max() or 1.0)  # Squares of large values overflow.
    deviation = values.std()
    if deviation == 0:
        return None
    targets = (values - values.mean()) / deviation

    is_numerical = n_choices == 0
    center = points.mean(axis=0)
    scale = np.sqrt(((points - center) ** 2).sum(axis=1).mean()) + 1e-12
    z = (points[:, is_numerical] - center[is_numerical]) / scale
    w = (candidates[:, is_numerical] - center[is_numerical]) / scale
    distances = _square_distances(z, z)
    candidate_distances = _square_distances(w, z)
    for column in np.flatnonzero(~is_numerical):
        # Two choices are as far from each other as the points are from their center.
        distances += points[:, None, column] != points[None, :, column]
        candidate_distances += candidates[:, None, column] != points[None, :, column]

    m, n = len(points), 1 + z.shape[1]
    matrix = np.zeros((m + n, m + n))
    matrix[:m, :m] = distances**1.5
    matrix[:m, m] = matrix[m, :m] = 1.0
    matrix[:m, m + 1 :] = z
    matrix[m + 1 :, :m] = z.T
    diagonal = np.einsum("ii->i", matrix)
    diagonal[m:] -= _TAIL_RIDGE
    best_error, weights = np.inf, None
    for smoothing in _SMOOTHINGS:
        diagonal[:m] = smoothing
        try:
            inverse = np.linalg.inv(matrix)
        except np.linalg.LinAlgError:
            continue
        solution = inverse[:, :m] @ targets
        # The error of the prediction of each value from all others, without further fits. It is
        # no number where the points lie too badly.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            errors = solution[:m] / np.diagonal(inverse)[:m]
            error = errors @ errors
        if error < best_error:
            best_error, weights = error, solution
    if weights is None:
        return None
    predictions: np.ndarray = candidate_distances**1.5 @ weights[:m] + w @ weights[m + 1 :]
    return predictions


def _square_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    difference = a[:, None, :] - b[None, :, :]
    return np.asarray((difference**2).sum(axis=-1))


def sensitivities(points: np.ndarray, values: np.ndarray, best: np.ndarray) -> np.ndarray | None:
    """Estimate how sharply the values rise from the best point along each coordinate.

    Ingber takes finite differences, each of which costs an evaluation. Here, the curvatures of a
    separable parabola are fitted to the points near the best one.

    Args:
        points: The points nearest to the best.
        values: Their values.
        best: The best point.

    Returns:
        The curvatures, not below zero, or :obj:`None` if nothing can be said.
    """
    values = values / (np.abs(values).max() or 1.0)  # Differences of large values overflow.
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
    return np.asarray(np.maximum(solution[z.shape[1] :], 0) / scales**2)
