"""Where moves lead with categories, integers and conditions: small cases, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adnn_optuna.samplers._local_model import PointPool
from adnn_optuna.samplers._mixed import (
    Conditions,
    draw_branch,
    is_untried,
    nearest,
)

NAN = float("nan")


class TestConditions:
    """A kind of two choices, the depth of one of them, and what comes with a depth of 2."""

    points = np.array(
        [
            # kind, depth, inner, anywhere, number of layers that has nothing to do with them
            [0.25, NAN, NAN, 0.3, 0.25],
            [0.75, 0.25, NAN, 0.4, 0.75],
            [0.75, 0.75, 0.9, 0.5, 0.25],
            [0.75, 0.75, 0.8, 0.6, 0.75],
        ]
    )
    conditions = Conditions.of(points, np.array([True, True, False, False, True]))

    def test_parents(self) -> None:
        depth, inner = self.conditions.children
        assert depth[:2] == (1, 0)
        assert list(depth[2]) == [0.25, 0.75]
        assert list(depth[3]) == [False, True]
        # By the kind alone, `inner` is sometimes there and sometimes not.
        assert inner[:2] == (2, 1)
        assert list(inner[3]) == [False, False, True]

    def test_of_several_parents_the_one_with_the_fewest_values_counts(self) -> None:
        points = np.array([[0.1, 0.25, NAN], [0.5, 0.75, 1.0], [0.9, 0.75, 0.5]])
        for columns in ([0, 1, 2], [1, 0, 2]):
            conditions = Conditions.of(points[:, columns], np.array([True, True, False]))
            ((child, parent, values, _),) = conditions.children
            assert (child, columns[parent], list(values)) == (2, 1, [0.25, 0.75])

    def test_without_conditions(self) -> None:
        assert Conditions.of(self.points[:, [0, 3, 4]], np.array([True] * 3)).children == ()
        continuous = Conditions.of(self.points, np.zeros(5, dtype=bool))
        assert continuous.children == ()
        assert continuous.presence(self.points).all()

    def test_presence(self) -> None:
        candidates = np.array(
            [
                [0.25, 0.75, 0.5, 0.5, 0.5],  # Of this kind there is no depth, and nothing below.
                [0.75, 0.25, 0.5, 0.5, 0.5],
                [0.75, 0.75, 0.5, 0.5, 0.5],
                [0.75, 0.5, 0.5, 0.5, 0.5],  # Nobody knows of this depth: all may be there.
                [0.95, 0.25, 0.5, 0.5, 0.5],
            ]
        )
        has = self.conditions.presence(candidates)
        assert has[:, 1].tolist() == [False, True, True, True, True]
        assert has[:, 2].tolist() == [False, False, True, True, False]
        assert has[:, [0, 3, 4]].all()
        nearly = self.conditions.presence(candidates + 1e-12)
        assert np.array_equal(nearly[:3], has[:3])
        assert np.array_equal(self.conditions.presence(candidates - 1e-12)[:3], has[:3])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 1.0, 2.0, 3.0, 1000.0], [0.0, 1.0, 2.0, 3.0, 6.0]),
        ([-3.0, 1.0, 1.0, 1.0, math.nextafter(9.0, 10.0)], [-3.0, 1.0, 1.0, 1.0, 9.0]),
        ([1.0, 1.0, 1.0, 1.0, 2.0], [1.0, 1.0, 1.0, 1.0, 2.0]),  # A plateau has no scale.
        ([-1e308, 1e308, 1e308], [-1e308, 1e308, 1e308]),
    ],
)
def test_how_far_above_the_median_does_not_matter(
    values: list[float], expected: list[float]
) -> None:
    pool = PointPool(points=np.zeros((len(values), 1)), values=np.array(values))
    assert pool.without_outliers().values.tolist() == expected


def test_branches_are_drawn_by_the_rank_of_their_best_value() -> None:
    points = np.array([[0.1, NAN], [NAN, 0.2], [0.3, 0.4], [0.5, NAN], [0.7, NAN]])
    values = np.array([3.0, 1.0, 2.0, 5.0, 4.0])
    for exponent in (1.0, 2.0):
        weights = np.array([1.0, 2.0**-exponent, 3.0**-exponent])
        edges = [0.0, *np.cumsum(weights / weights.sum())]
        rows = [[1], [2], [0, 4, 3]]  # The best first.
        has = [[False, True], [True, True], [True, False]]
        for rank in range(3):
            for u in (edges[rank] + 1e-9, edges[rank + 1] - 1e-9):
                drawn_has, drawn_rows = draw_branch(points, values, u, exponent)
                assert drawn_rows.tolist() == rows[rank]
                assert drawn_has.tolist() == has[rank]


def test_is_untried() -> None:
    # A number, choices, an integer that moved, one that never did.
    points = np.array(
        [[0.1, 0.1, 0.2, 0.5], [0.2, 0.1, 0.4, 0.5], [0.3, 0.5, 0.4, NAN], [0.4, NAN, 0.2, 0.5]]
    )
    candidates = np.array([[0.7, 0.1, 0.6, 0.5], [0.1, 0.5, 0.2, 0.7], [0.1, 0.9, 0.2, 0.5]])
    untried = is_untried(
        candidates, points, np.array([0, 3, 0, 0]), np.array([False, True, True, True])
    )
    # A choice that was told only once is hardly tried.
    assert untried[:, 1].tolist() == [False, True, True]
    assert untried[:, 3].tolist() == [False, True, False]
    assert not untried[:, [0, 2]].any()


def test_nearest() -> None:
    points = np.array([[0.0, 0.1], [0.1, 0.1], [0.3, 0.1], [0.0, 0.9], [0.9, 0.9]])
    n_choices = np.array([0, 2])
    x = np.array([0.0, 0.1])
    # Another choice is as far as half of the range: 0.25 is more than 0.3², less than 0.9².
    for size, rows in ((1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (4, [0, 1, 2, 3])):
        assert sorted(nearest(points, x, n_choices, size)) == rows
    assert nearest(points, x, n_choices, 5).tolist() == [0, 1, 2, 3, 4]
    is_wanted = np.array([False, False, False, False, True])
    assert sorted(nearest(points, x, n_choices, 2, is_wanted)) == [0, 4]
