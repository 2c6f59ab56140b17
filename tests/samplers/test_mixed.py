"""Where moves lead with categories, integers and conditions: small cases, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from adnn_optuna.samplers._local_model import LocalModel, PointPool
from adnn_optuna.samplers._mixed import (
    Branch,
    Conditions,
    best_known,
    draw_branch,
    is_told,
    is_untried,
    model_near,
    model_of,
    most_promising,
    nearest,
    rounded,
    without_nan,
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

    def test_led_to(self) -> None:
        x, points = np.array([0.25, NAN, 0.3, 0.3, 0.3]), np.full((2, 5), 0.6)
        led = self.conditions.led_to(points, x)
        assert led.tolist() == [[0.25, 0.6, 0.6, 0.6, 0.6]] * 2


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
                branch = draw_branch(points, values, u, exponent)
                assert branch.rows.tolist() == rows[rank]
                assert branch.has.tolist() == has[rank]
                assert branch.is_best == (rank == 0)


def test_best_known() -> None:
    points = np.array([[NAN, 0.1, NAN], [0.2, 0.3, NAN], [0.4, NAN, NAN]])
    assert np.array_equal(best_known(points), [0.2, 0.1, NAN], equal_nan=True)
    assert without_nan(points)[0].tolist() == [0.5, 0.1, 0.5]


def test_rounded() -> None:
    levels = [None, (np.array([0.25, 0.75]), np.array([0.5]))]
    candidates = np.array([[0.3, 0.3], [0.9, 0.5], [0.6, 0.51]])
    assert rounded(candidates, levels).tolist() == [[0.3, 0.25], [0.9, 0.25], [0.6, 0.75]]
    assert candidates[0, 1] == 0.3


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


def test_is_told() -> None:
    points = np.array([[0.1, 0.5], [0.2, 0.7]])
    candidates = np.array([[0.1, 0.5], [0.1, 0.7], [0.2, 0.7], [0.3, 0.3]])
    for is_finite in ([False, True], [True, False], [True, True]):
        told = is_told(candidates, points, np.array(is_finite))
        assert told.tolist() == [True, False, True, False]
    assert not is_told(candidates[3:], points, np.array([False, True])).any()


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


def test_most_promising() -> None:
    points = np.linspace(0, 1, 12)[:, None]
    model = LocalModel(points, np.array([0]))
    assert model.fit((points[:, 0] - 0.4) ** 2)
    # The second is nearly as good as the first, and farther from the points.
    candidates = np.array([[0.405], [0.41], [0.3], [0.455]])
    assert most_promising(model, candidates) == 0
    assert most_promising(model, candidates, explores=True) == 1
    # The merit is 0.85 of the prediction and 0.15 of the nearness, each from 0 to 1.
    predictions, distances = model.predict(candidates), model.distances(candidates)
    merits = 0.85 * (predictions - predictions.min()) / np.ptp(predictions)
    merits += 0.15 * (1 - (distances - distances.min()) / np.ptp(distances))
    assert most_promising(model, candidates, explores=True) == np.argmin(merits)
    same = np.array([[0.42], [0.42]])
    assert most_promising(model, same, explores=True) == 0
    # Equally far from the points: the prediction alone counts.
    far = np.array([[points[4, 0] + 0.01], [points[4, 0] - 0.01]])
    assert most_promising(model, far, explores=True) == most_promising(model, far)


def test_a_model_of_points_nearby() -> None:
    rng = np.random.default_rng(0)
    points, values = rng.random((50, 2)), rng.random(50)
    pool = PointPool().with_coordinate().with_coordinate()
    for point, value in zip(points, values, strict=True):
        pool = pool.with_point(point, value)
    n_choices, x = np.array([0, 0]), np.array([0.2, np.nan])
    model = model_near(x, pool, n_choices, 10, n_latest=3, is_exact=True)
    assert model is not None
    near = np.argsort(((points - [0.2, 0.5]) ** 2).sum(axis=1))
    near = {*range(47, 50), *[row for row in near if row < 47][:7]}
    is_fitted = [abs(error) < 1e-9 for error in model.distances(points)]
    assert {row for row in range(50) if is_fitted[row]} == near
    flat = PointPool().with_coordinate()
    for x0 in (0.1, 0.2, 0.3):
        flat = flat.with_point(np.array([x0]), 1.0)
    assert model_near(np.array([0.1]), flat, np.array([0]), 10, n_latest=0) is None


def test_a_model_of_a_branch_is_taken_where_it_predicts_better() -> None:
    """In one branch the value follows `x`, in the other, twice as large, it is noise."""
    rng = np.random.default_rng(0)
    kinds = np.repeat([0.25, 0.75], 15)
    x, y = rng.random(30), rng.random(30)
    points = np.column_stack(
        [kinds, np.where(kinds == 0.25, x, NAN), np.where(kinds > 0.5, y, NAN)]
    )
    n_choices = np.array([2, 0, 0])
    ordered = np.where(kinds == 0.25, (x - 0.3) ** 2, 50 * rng.random(30) + 10)
    branch = draw_branch(points, ordered, 0.0, 1.0)
    assert branch.rows.tolist() == np.argsort(ordered)[:15].tolist()
    model = model_of(branch, points, ordered, n_choices)
    assert model is not None
    candidates = np.array([[0.25, at, 0.5] for at in np.linspace(0, 1, 101)])
    assert np.argmin(model.predict(candidates)) == pytest.approx(30, abs=2)
    # Of few points, those of the other branch tell more where it is the same in both.
    alike = np.column_stack([kinds, x, np.where(kinds > 0.5, y, NAN)])
    few = np.r_[:4, 15:30]
    branch = Branch(np.array([True, True, False]), np.arange(4), is_best=True)
    values = np.sin(6 * x)
    assert model_of(branch, alike[few], values[few], n_choices) is None
