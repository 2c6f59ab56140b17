"""Branches of categories, integers and floats: small cases, worked out by hand."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from adnn_optuna.samplers import AdaptiveSimulatedAnnealingSampler
from adnn_optuna.samplers._branches import Branches, best_known, draw_branch

NAN = float("nan")


def nested(kinds: np.ndarray, numbers: np.ndarray, bound: float) -> np.ndarray:
    """Return points: a kind, the second kind's number, a value above a bound, and any number."""
    is_second = kinds > 0.5
    number = np.where(is_second, numbers, NAN)
    is_above = is_second & (numbers > bound)
    inner, anywhere = np.random.default_rng(0).random((2, len(kinds)))
    return np.column_stack([kinds, number, np.where(is_above, inner, NAN), anywhere])


@pytest.mark.parametrize("kind_is_choice", [True, False])
@pytest.mark.parametrize("levels", [np.arange(0.05, 1, 0.1), np.linspace(0.011, 0.987, 17)])
def test_nested_branches_are_found_and_entered(levels: np.ndarray, kind_is_choice: bool) -> None:
    kinds = np.tile([0.25, 0.75], len(levels))
    points = nested(kinds, np.repeat(levels, 2), 0.6)
    branches = Branches.of(points, np.array([2 * kind_is_choice, 0, 0, 0]))
    assert not branches.is_single
    candidates = np.array([[0.25, 0.9, 0.5, 0.5], [0.75, 0.3, 0.5, 0.5], [0.75, 0.9, 0.5, 0.5]])
    expected = [[True, False, False, True], [True, True, False, True], [True] * 4]
    assert branches.presence(candidates).tolist() == expected
    # Candidates outside x's branch take the coordinates that decide on the branch from x.
    x = np.array([0.75, 0.8, 0.1, 0.2])
    led = branches.led_to(candidates, x)
    assert led.tolist() == [[0.75, 0.8, 0.5, 0.5], [0.75, 0.8, 0.5, 0.5], [0.75, 0.9, 0.5, 0.5]]
    back = branches.led_to(candidates, np.array([0.25, 0.8, 0.1, 0.2]))
    assert back[:, 0].tolist() == [0.25] * 3
    assert np.array_equal(back[:, 1:], candidates[:, 1:])


def test_presence_may_depend_on_an_interval_or_on_two_parameters() -> None:
    x, y = np.random.default_rng(1).random((2, 80))
    for is_there in ((x > 0.4) & (x < 0.7), (x > 0.5) & (y > 0.3)):
        points = np.column_stack([x, y, np.where(is_there, 0.5, NAN)])
        branches = Branches.of(points, np.zeros(3, dtype=int))
        assert np.array_equal(branches.presence(points)[:, 2], is_there)


def test_a_branch_may_have_a_single_point() -> None:
    x, y = np.random.default_rng(2).random((2, 30))
    points = np.column_stack([x, y, np.where(x == x.max(), 0.5, NAN)])
    has = Branches.of(points, np.zeros(3, dtype=int)).presence(np.array([[1.0, 0.5, 0.5]]))
    assert has.all()


def test_a_parameter_that_was_added_later_makes_no_branch() -> None:
    points = np.random.default_rng(3).random((40, 4))
    points[:20, 3] = NAN
    branches = Branches.of(points, np.zeros(4, dtype=int))
    assert branches.presence(points)[20:, 3].mean() > 0.7
    # If no parameter distinguishes the points, every parameter may be present.
    equal = np.array([[0.5, NAN], [0.5, 0.1]])
    assert Branches.of(equal, np.zeros(2, dtype=int)).is_single
    assert Branches.of(equal, np.zeros(2, dtype=int)).presence(equal).all()
    assert Branches.of(np.empty((0, 2)), np.zeros(2, dtype=int)).presence(equal).all()


def test_branches_are_drawn_by_the_rank_of_their_best_value() -> None:
    points = np.array([[0.1, NAN], [NAN, 0.2], [0.3, 0.4], [0.5, NAN], [0.7, NAN]])
    values = np.array([3.0, 1.0, 2.0, 5.0, 4.0])
    for exponent in (1.0, 2.0):
        weights = np.array([1.0, 2.0**-exponent, 3.0**-exponent])
        edges = [0.0, *np.cumsum(weights / weights.sum())]
        rows = [[1], [2], [0, 4, 3]]  # The best branch comes first.
        has = [[False, True], [True, True], [True, False]]
        for rank in range(3):
            for u in (edges[rank] + 1e-9, edges[rank + 1] - 1e-9):
                drawn_has, drawn_rows = draw_branch(points, values, u, exponent)
                assert drawn_rows.tolist() == rows[rank]
                assert drawn_has.tolist() == has[rank]


def test_a_branch_of_few_points_has_an_optimistic_value() -> None:
    points = np.array([[0.1, NAN]] * 4 + [[NAN, 0.2]])
    # The bonus is one standard deviation for one point, and half a standard deviation for four.
    deviation = np.std([0.0, 2.0, 2.0, 2.0, 0.4])
    assert 0.4 - deviation < 0.0 - deviation / 2
    assert draw_branch(points, np.array([0.0, 2.0, 2.0, 2.0, 0.4]), 0.0, 1.0)[1].tolist() == [4]
    assert draw_branch(points, np.array([0.0, 2.0, 2.0, 2.0, 1.0]), 0.0, 1.0)[1][0] == 0
    huge = np.array([-1e308, 1e308, 1e308, 1e308, 1e308])
    assert draw_branch(points, huge, 0.0, 1.0)[1][0] == 0


def test_missing_coordinates_come_from_the_best_point_that_has_them() -> None:
    points = np.array([[0.1, NAN, NAN], [0.2, 0.3, NAN], [0.4, 0.5, NAN]])
    assert np.array_equal(best_known(points), [0.1, 0.3, NAN], equal_nan=True)


@pytest.mark.parametrize("step", [None, pytest.param(0.05, marks=pytest.mark.slow)])
def test_the_better_branch_of_a_number_is_found(step: float | None) -> None:
    best = np.random.default_rng(0).random((3, 4))

    def objective(trial: optuna.Trial, seed: int) -> float:
        x = trial.suggest_float("x", 0, 1, step=step)
        if x > 0.6:
            return float(4 * (trial.suggest_float("y", 0, 1) - best[seed, 0]) ** 2)
        z, w = trial.suggest_int("z", 1, 10), trial.suggest_float("w", 0, 1)
        return float(0.2 + abs(z - 10 * best[seed, 1]) / 10 + abs(w - best[seed, 2]))

    for seed in range(3):
        study = optuna.create_study(sampler=AdaptiveSimulatedAnnealingSampler(seed, 40))
        study.optimize(lambda trial, seed=seed: objective(trial, seed), n_trials=40)
        assert study.best_value < 0.01
