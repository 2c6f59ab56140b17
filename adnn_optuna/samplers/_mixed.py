"""Candidates and models for spaces with categories, integers and conditions.

A point's missing coordinates are NaN. For models, they are in the middle of their range, as in
SMAC [1].

References:
    [1] F. Hutter, H. H. Hoos and K. Leyton-Brown. Sequential model-based optimization for general
    algorithm configuration. LION 5, 2011.
"""

from collections.abc import Sequence

import numpy as np

from adnn_optuna.samplers._gaussian_process import GaussianProcess
from adnn_optuna.samplers._local_model import LocalModel, PointPool
from adnn_optuna.samplers._unit_interval import Levels

# The squared distance of two different choices, for finding the nearest points. Two numbers that
# are half a range apart have the same squared distance.
_SWAP = 0.25
N_LATEST = 5  # A model always has this number of latest points.
_N_MODEL_POINTS, _N_PROCESS_POINTS = 40, 100  # These numbers limit the time of a fit.


def without_nan(points: np.ndarray) -> np.ndarray:
    """Return points with missing coordinates replaced by 0.5."""
    return np.where(np.isnan(points), 0.5, points)


def rounded(candidates: np.ndarray, levels: Sequence[Levels]) -> np.ndarray:
    """Round coordinates to the values that their parameters can have."""
    candidates = candidates.copy()
    for column, of_column in enumerate(levels):
        if of_column is not None:
            units, between = of_column
            candidates[..., column] = units[np.searchsorted(between, candidates[..., column])]
    return candidates


def is_untried(
    candidates: np.ndarray, points: np.ndarray, n_choices: np.ndarray, is_finite: np.ndarray
) -> np.ndarray:
    """Return which coordinates of candidates have values that the model does not know.

    A category is unknown if at most one trial had it. A number is unknown if the coordinate had
    one other value in all trials.
    """
    untried = np.zeros(candidates.shape, dtype=bool)
    for i in np.flatnonzero(is_finite):
        tried_values, counts = np.unique(points[~np.isnan(points[:, i]), i], return_counts=True)
        if not n_choices[i] and len(tried_values) > 1:
            continue
        tried = tried_values[counts > 1] if n_choices[i] else tried_values
        untried[:, i] = ~np.isin(candidates[:, i], tried)
    return untried


def is_told(candidates: np.ndarray, points: np.ndarray, is_finite: np.ndarray) -> np.ndarray:
    """Return which candidates equal a known point."""
    is_equal = np.ones((len(candidates), len(points)), dtype=bool)
    for column in np.argsort(is_finite):  # The most distinctive columns come first.
        is_equal &= candidates[:, column, None] == points[:, column]
        if not is_equal.any():
            break
    return np.asarray(is_equal.any(axis=1))


def process_near(
    x: np.ndarray,
    pool: PointPool,
    n_choices: np.ndarray,
    rows: np.ndarray | None = None,
    *,
    is_rough: bool = False,
) -> GaussianProcess:
    """Fit a Gaussian process to the latest points and the points nearest to ``x``.

    If ``rows`` are passed, only these points are used.
    """
    if rows is None:
        rows = np.arange(len(pool))
    points = without_nan(pool.points)[rows]
    values = pool.values[rows]
    is_latest = pool.is_latest(N_LATEST)[rows]
    near = nearest(points, without_nan(x), n_choices, _N_PROCESS_POINTS, is_latest)
    is_guess = pool.is_guess[rows][near]
    return GaussianProcess(points[near], values[near], n_choices, is_guess, is_rough=is_rough)


def model_near(
    x: np.ndarray, pool: PointPool, n_choices: np.ndarray, n_latest: int, *, is_exact: bool
) -> LocalModel | None:
    """Fit a model to the latest points and the points nearest to ``x``.

    Return None if no fit succeeds.
    """
    size = max(_N_MODEL_POINTS, 4 * len(x))
    points = without_nan(pool.points)
    rows = nearest(points, without_nan(x), n_choices, size, pool.is_latest(n_latest))
    model = LocalModel(points[rows])
    if model.fit(pool.values[rows], pool.is_guess[rows], is_exact=is_exact):
        return model
    return None


def nearest(
    points: np.ndarray,
    x: np.ndarray,
    n_choices: np.ndarray,
    size: int,
    is_wanted: np.ndarray | None = None,
) -> np.ndarray:
    """Return ``size`` rows: all wanted points, and then the points nearest to ``x``."""
    if len(points) <= size:
        return np.arange(len(points))
    squares = np.where(n_choices > 0, _SWAP * (points != x), (points - x) ** 2).sum(axis=1)
    if is_wanted is not None:
        squares[is_wanted] = -1.0
    return np.argpartition(squares, size)[:size]
