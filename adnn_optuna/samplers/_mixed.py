"""Where moves lead in spaces with categories, integers and conditions.

A coordinate that not every point has is conditional; points that have the same coordinates are a
*branch*. What a point lacks is NaN, and for a model it is in the middle, as in SMAC [1].

References:
    [1] F. Hutter, H. H. Hoos and K. Leyton-Brown. Sequential model-based optimization for general
    algorithm configuration. LION 5, 2011.

    [2] B. Ru, A. Alvi, V. Nguyen, M. A. Osborne and S. Roberts. Bayesian optimisation over
    multiple continuous and categorical inputs. ICML 2020.
"""

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np

from adnn_optuna.samplers._gaussian_process import GaussianProcess
from adnn_optuna.samplers._local_model import LocalModel, PointPool
from adnn_optuna.samplers._unit_interval import Levels

# How far two choices are from each other, squared, where the points nearest to another are looked
# for: as far as half of the range of a number.
_SWAP = 0.25
N_LATEST = 5  # So many of the latest points are always among those of a model.
_N_MODEL_POINTS, _N_PROCESS_POINTS = 40, 100  # As many as there is time for.
_TOLERANCE = 1e-9  # Values that are equal but for rounding.
_LACKING = -1.0


@dataclasses.dataclass(frozen=True)
class Conditions:
    """Which coordinates points have, as far as the points so far tell.

    Each conditional coordinate has a parent: one with finitely many values of which each came
    always, or never, together with it; of several, that with the fewest values.
    """

    # Of each: itself, its parent, the parent's values in ascending order, and whether it is there.
    children: tuple[tuple[int, int, np.ndarray, np.ndarray], ...] = ()

    @classmethod
    def of(cls, points: np.ndarray, is_finite: np.ndarray) -> Self:
        """Find the parents."""
        lacks = np.isnan(points)
        is_conditional = lacks.any(axis=0)
        conditions: dict[int, tuple[int, int, np.ndarray, np.ndarray]] = {}
        for parent in np.flatnonzero(is_finite) if is_conditional.any() else ():
            parent_values = np.where(lacks[:, parent], _LACKING, points[:, parent])
            values, codes = np.unique(parent_values, return_inverse=True)
            is_value = codes == np.arange(len(values))[:, None]
            n_lacking = is_value.astype(float) @ lacks
            decides = ((n_lacking == 0) | (n_lacking == is_value.sum(axis=1)[:, None])).all(axis=0)
            for child in map(int, np.flatnonzero(decides & is_conditional)):
                if child != parent and (
                    child not in conditions or len(values) < len(conditions[child][2])
                ):
                    is_there = np.asarray(n_lacking[:, child] == 0)
                    conditions[child] = child, int(parent), values, is_there
        return cls(tuple(conditions[child] for child in sorted(conditions)))

    def presence(self, points: np.ndarray) -> np.ndarray:
        """Return which coordinates points would have; any that may be there."""
        has = np.ones(points.shape, dtype=bool)
        for child, parent, values, is_there in self.children:
            value = np.where(has[:, parent], points[:, parent], _LACKING)
            place = np.minimum(np.searchsorted(values, value - _TOLERANCE), len(values) - 1)
            is_known = np.abs(values[place] - value) < _TOLERANCE
            has[:, child] = ~is_known | is_there[place]
        return has

    def led_to(self, points: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return points with the parents of ``x`` where these are known: in its branch."""
        is_parent = np.zeros(len(x), dtype=bool)
        is_parent[[parent for _, parent, _, _ in self.children]] = True
        return np.where(is_parent & ~np.isnan(x), x, points)


def draw_branch(
    points: np.ndarray, values: np.ndarray, u: float, exponent: float
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a branch by a uniform number: its coordinates, and the rows of its points, best first.

    That with the r-th best value has a probability in proportion to r^-exponent: a bandit, as in
    [2], but by rank, as what counts is the best value of a branch and not its mean.
    """
    branches, of_point = np.unique(~np.isnan(points), axis=0, return_inverse=True)
    order = np.argsort(values, kind="stable")
    of_point = of_point.ravel()[order]
    ranked = of_point[np.sort(np.unique(of_point, return_index=True)[1])]
    weights = np.cumsum(np.arange(1.0, len(ranked) + 1) ** -exponent)
    rank = int(np.searchsorted(weights, u * weights[-1], side="right"))
    return branches[ranked[rank]], order[of_point == ranked[rank]]


def best_known(points: np.ndarray) -> np.ndarray:
    """Return the first of some points, what it lacks from the first that has it, or NaN."""
    first = np.argmin(np.isnan(points), axis=0)
    return np.asarray(points[first, np.arange(points.shape[1])])


def without_nan(points: np.ndarray) -> np.ndarray:
    """Put coordinates that points lack in the middle."""
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
    """Return which coordinates of candidates try values of which a model knows nothing.

    Such as another value of a fixed one, or a choice that was told once, perhaps with much noise.
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
    """Return which candidates are among the points."""
    is_equal = np.ones((len(candidates), len(points)), dtype=bool)
    for column in np.argsort(is_finite):  # First those where hardly any two are equal.
        is_equal &= candidates[:, column, None] == points[:, column]
        if not is_equal.any():
            break
    return np.asarray(is_equal.any(axis=1))


def process_near(
    x: np.ndarray,
    pool: PointPool,
    n_choices: np.ndarray,
    rows: np.ndarray | None = None,
    n_fits: int = 2,
) -> GaussianProcess:
    """Return a Gaussian process of the points nearest to ``x`` and the latest, or of some rows."""
    if rows is None:
        rows = np.arange(len(pool))
    points, values = without_nan(pool.points)[rows], pool.values[rows]
    is_latest = pool.is_latest(N_LATEST)[rows]
    near = nearest(points, without_nan(x), n_choices, _N_PROCESS_POINTS, is_latest)
    return GaussianProcess(points[near], values[near], n_choices, n_fits)


def model_near(
    x: np.ndarray, pool: PointPool, n_choices: np.ndarray, n_latest: int, *, is_exact: bool
) -> LocalModel | None:
    """Return a model of the points nearest to ``x`` and the latest, if these tell anything."""
    size = max(_N_MODEL_POINTS, 4 * len(x))
    points = without_nan(pool.points)
    rows = nearest(points, without_nan(x), n_choices, size, pool.is_latest(n_latest))
    model = LocalModel(points[rows])
    if model.fit(pool.values[rows], is_exact=is_exact):
        return model
    return None


def nearest(
    points: np.ndarray,
    x: np.ndarray,
    n_choices: np.ndarray,
    size: int,
    is_wanted: np.ndarray | None = None,
) -> np.ndarray:
    """Return the rows of the points nearest to ``x``, and of those that are wanted anyway."""
    if len(points) <= size:
        return np.arange(len(points))
    squares = np.where(n_choices > 0, _SWAP * (points != x), (points - x) ** 2).sum(axis=1)
    if is_wanted is not None:
        squares[is_wanted] = -1.0
    return np.argpartition(squares, size)[:size]
