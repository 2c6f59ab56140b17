"""Moves of categories and integers: small cases, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution

from adnn_optuna.samplers._local_model import PointPool
from adnn_optuna.samplers._mixed import is_untried, nearest, rounded
from adnn_optuna.samplers._unit_interval import levels

NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 1.0, 2.0, 3.0, 1000.0], [0.0, 1.0, 2.0, 3.0, 6.0]),
        ([-3.0, 1.0, 1.0, 1.0, math.nextafter(9.0, 10.0)], [-3.0, 1.0, 1.0, 1.0, 9.0]),
        ([1.0, 1.0, 1.0, 1.0, 2.0], [1.0, 1.0, 1.0, 1.0, 2.0]),  # A plateau has no scale.
        ([-1e308, 1e308, 1e308], [-1e308, 1e308, 1e308]),
    ],
)
def test_values_far_above_the_median_are_lowered(
    values: list[float], expected: list[float]
) -> None:
    pool = PointPool(points=np.zeros((len(values), 1)), values=np.array(values))
    assert pool.without_outliers().values.tolist() == expected


def test_candidates_are_rounded_to_values_of_their_parameters() -> None:
    distributions = CategoricalDistribution(["a", "b", "c"]), IntDistribution(0, 3)
    candidates = np.array([[0.1, 0.1], [0.5, 0.3], [0.99, 0.99]])
    expected = [[1 / 6, 0.125], [0.5, 0.375], [5 / 6, 0.875]]
    assert rounded(candidates, [*map(levels, distributions)]) == pytest.approx(np.array(expected))


def test_is_untried_finds_choices_and_integers_that_need_trials() -> None:
    # The coordinates are a number, choices, an integer that changed, and an integer that never
    # changed.
    points = np.array(
        [[0.1, 0.1, 0.2, 0.5], [0.2, 0.1, 0.4, 0.5], [0.3, 0.5, 0.4, NAN], [0.4, NAN, 0.2, 0.5]]
    )
    candidates = np.array([[0.7, 0.1, 0.6, 0.5], [0.1, 0.5, 0.2, 0.7], [0.1, 0.9, 0.2, 0.5]])
    untried = is_untried(
        candidates, points, np.array([0, 3, 0, 0]), np.array([False, True, True, True])
    )
    # A choice with a single trial counts as untried.
    assert untried[:, 1].tolist() == [False, True, True]
    assert untried[:, 3].tolist() == [False, True, False]
    assert not untried[:, [0, 2]].any()


def test_nearest_points_are_found_by_distances_and_choices() -> None:
    points = np.array([[0.0, 0.1], [0.1, 0.1], [0.3, 0.1], [0.0, 0.9], [0.9, 0.9]])
    n_choices = np.array([0, 2])
    x = np.array([0.0, 0.1])
    # Another choice counts as 0.25, the square of half the range. 0.3² is less, and 0.9² is more.
    for size, rows in ((1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (4, [0, 1, 2, 3])):
        assert sorted(nearest(points, x, n_choices, size)) == rows
    assert nearest(points, x, n_choices, 5).tolist() == [0, 1, 2, 3, 4]
    is_wanted = np.array([False, False, False, False, True])
    assert sorted(nearest(points, x, n_choices, 2, is_wanted)) == [0, 4]
