"""What luck alone brings."""

from __future__ import annotations

import math

import numpy as np
import pytest

import adnn_optuna as adnn
from adnn_optuna.evidence.draws import chance_of_luck


def test_expected_luck_is_the_mean_best_draw() -> None:
    # Exact, and of the table that every text on order statistics has.
    for n, expected in [(1, 0.0), (2, math.pi**-0.5), (3, 1.5 * math.pi**-0.5), (10, 1.53875)]:
        assert adnn.expected_luck(n, 1.0) == pytest.approx(expected, abs=1e-5)
    draws = np.random.default_rng(0).normal(0, 0.5, (20_000, 50)).max(axis=1)
    assert adnn.expected_luck(50, 0.5) == pytest.approx(draws.mean(), abs=0.006)
    assert adnn.expected_luck(10**9, 1.0) == pytest.approx(6.0877, abs=1e-3)


@pytest.mark.parametrize(("n", "sd"), [(0, 1.0), (1.5, 1.0), (3, 0.0), (3, math.nan), (True, 1.0)])
def test_wrong_draws_are_refused(n: int, sd: float) -> None:
    with pytest.raises(ValueError, match="must"):
        adnn.expected_luck(n, sd)


def test_chance_of_luck_is_how_often_it_happens() -> None:
    # 1 - Φ(2)^20 = 1 - 0.97725^20.
    assert chance_of_luck(20, 1.0, 2.0) == pytest.approx(1 - 0.9772499**20, rel=1e-5)
    draws = np.random.default_rng(0).normal(0, 1, (20_000, 20)).max(axis=1)
    assert chance_of_luck(20, 1.0, 2.0) == pytest.approx(np.mean(draws >= 2), abs=0.02)
