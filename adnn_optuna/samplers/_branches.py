"""Branches of spaces in which some coordinates exist only under a condition.

A coordinate is conditional if some points lack it; it is NaN in these points. All points with the
same coordinates are a *branch*.

References:
    [1] B. Ru, A. Alvi, V. Nguyen, M. A. Osborne and S. Roberts. Bayesian optimisation over
    multiple continuous and categorical inputs. ICML 2020.
"""

import dataclasses
import math
from typing import Self

import numpy as np

from adnn_optuna.samplers._local_model import relative


@dataclasses.dataclass(frozen=True)
class _Question:
    """A question about a coordinate: does it have this choice, or is it below this bound?"""

    coordinate: int
    value: float
    is_choice: bool

    def is_yes(self, points: np.ndarray) -> np.ndarray:
        """Return for each point whether the answer is yes."""
        values = points[:, self.coordinate]
        if self.is_choice:
            return np.isclose(values, self.value)
        return values < self.value


@dataclasses.dataclass(frozen=True)
class _Split:
    """A question, and the subtrees for the answers yes and no."""

    question: _Question
    yes: "_Tree"
    no: "_Tree"


_Tree = _Split | np.ndarray
"""A decision tree. A leaf tells which coordinates a point has."""


@dataclasses.dataclass(frozen=True)
class Branches:
    """A decision tree that predicts a point's branch, fitted to the points so far.

    A node may only ask about a coordinate that all points at the node have. So conditions may be
    nested.
    """

    tree: _Tree

    @classmethod
    def of(cls, points: np.ndarray, n_choices: np.ndarray) -> Self:
        """Grow the tree from points."""
        lacks = np.isnan(points)
        if not lacks.any():
            return cls(np.ones(points.shape[1], dtype=bool))
        branches, labels = np.unique(lacks, axis=0, return_inverse=True)
        is_label = labels.ravel()[:, None] == np.arange(len(branches))
        return cls(_grown(points, is_label.astype(float), n_choices))

    @property
    def is_single(self) -> bool:
        """Whether the tree has a single leaf, so all points are in one branch."""
        return not isinstance(self.tree, _Split)

    def presence(self, points: np.ndarray) -> np.ndarray:
        """Return which coordinates points have, by their branches."""
        has = np.empty(points.shape, dtype=bool)

        def descend(tree: _Tree, rows: np.ndarray) -> None:
            if isinstance(tree, _Split):
                is_yes = tree.question.is_yes(points[rows])
                descend(tree.yes, rows[is_yes])
                descend(tree.no, rows[~is_yes])
            else:
                has[rows] = tree

        descend(self.tree, np.arange(len(points)))
        return has

    def led_to(self, points: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Move points that are outside the branch of ``x`` into this branch.

        Coordinates that decide on the branch are copied from ``x``.
        """
        decides = np.zeros(len(x), dtype=bool)
        tree = self.tree
        while isinstance(tree, _Split):
            decides[tree.question.coordinate] = True
            tree = tree.yes if tree.question.is_yes(x[None]).all() else tree.no
        leaf = tree
        is_outside = (self.presence(points) != leaf).any(axis=1)
        return np.where(is_outside[:, None] & decides, x, points)


def _grown(points: np.ndarray, is_label: np.ndarray, n_choices: np.ndarray) -> _Tree:
    """Return a tree that separates points with different labels, as far as questions can do it."""
    question = _best_question(points, is_label, n_choices)
    if question is None:
        return (~np.isnan(points)).any(axis=0)
    is_yes = question.is_yes(points)
    yes, no = (_grown(points[rows], is_label[rows], n_choices) for rows in (is_yes, ~is_yes))
    return _Split(question, yes, no)


def _best_question(
    points: np.ndarray, is_label: np.ndarray, n_choices: np.ndarray
) -> _Question | None:
    """Return the question with the highest information gain about the labels.

    The gain must exceed the number of bits that distinguish all questions about a coordinate.
    """
    n_points = is_label.sum(axis=0)
    least_bits = _bits(n_points)
    best = None
    for column in np.flatnonzero(~np.isnan(points).any(axis=0)):
        is_choice = bool(n_choices[column] > 0)
        values = np.unique(points[:, column])
        if is_choice:
            is_yes = values[:, None] == points[:, column]
        else:
            values = (values[:-1] + values[1:]) / 2
            is_yes = values[:, None] > points[:, column]
        if len(values) == 0:
            continue
        n_yes = is_yes @ is_label
        bits = _bits(n_yes) + _bits(n_points - n_yes) + math.log2(len(values))
        if bits.min() < least_bits:
            least_bits = bits.min()
            best = _Question(int(column), float(values[bits.argmin()]), is_choice)
    return best


def _bits(counts: np.ndarray) -> np.ndarray:
    """Return the number of bits that encode the labels of points, from the count of each label."""

    def total(numbers: np.ndarray) -> np.ndarray:
        return numbers * np.log2(np.maximum(numbers, 1))

    return total(counts.sum(axis=-1)) - total(counts).sum(axis=-1)


def draw_branch(
    points: np.ndarray, values: np.ndarray, u: float, exponent: float
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a branch at random, with the uniform random number ``u``.

    Return which coordinates the branch has, and the rows of its points, best first.

    The branch with the r-th best value has a probability proportional to r^-exponent. This is a
    bandit as in [1], but it ranks a branch by its best value instead of its mean. For the rank,
    the best value of a branch with n points in D dimensions is lowered by s / √(n/D). Here, s is
    the standard deviation of all values.
    """
    branches, of_point = np.unique(~np.isnan(points), axis=0, return_inverse=True)
    of_point = of_point.ravel()
    values = relative(values)
    lowest = np.full(len(branches), math.inf)
    np.minimum.at(lowest, of_point, values)
    n_points_a_dimension = np.bincount(of_point) / np.maximum(branches.sum(axis=1), 1)
    optimistic = lowest - values.std() / np.sqrt(n_points_a_dimension)
    ranked = np.argsort(optimistic, kind="stable")
    weights = np.cumsum(np.arange(1.0, len(ranked) + 1) ** -exponent)
    rank = int(np.searchsorted(weights, u * weights[-1], side="right"))
    rows = np.flatnonzero(of_point == ranked[rank])
    return branches[ranked[rank]], rows[np.argsort(values[rows], kind="stable")]


def best_known(points: np.ndarray) -> np.ndarray:
    """Return the first point; each missing coordinate comes from the next point that has it."""
    first = np.argmin(np.isnan(points), axis=0)
    return points[first, np.arange(points.shape[1])]
