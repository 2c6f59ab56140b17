"""The expected best of equally good draws, compared with simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import adnn_optuna as adnn
from adnn_optuna.stats.selection_bias import chance_of_luck


def test_expected_luck_is_the_mean_best_draw() -> None:
    # The first three values are exact. The fourth is from tables of order statistics.
    for n, expected in [(1, 0.0), (2, math.pi**-0.5), (3, 1.5 * math.pi**-0.5), (10, 1.53875)]:
        assert adnn.expected_luck(n, 1.0) == pytest.approx(expected, abs=1e-5)
    draws = np.random.default_rng(0).normal(0, 0.5, (20_000, 50)).max(axis=1)
    assert adnn.expected_luck(50, 0.5) == pytest.approx(draws.mean(), abs=0.006)
    # For the maximum M of n draws, n · P(draw > M) is exponentially distributed.
    above = -np.log((np.arange(100_000) + 0.5) / 100_000)
    for n in (10**9, 10**16, 10**20, 10**300):
        expected = stats.norm.isf(above / n).mean()
        assert adnn.expected_luck(n, 1.0) == pytest.approx(expected, abs=1e-3)
    with pytest.raises(ValueError, match="n must be a finite number"):
        adnn.expected_luck(10**400, 1.0)


@pytest.mark.parametrize(("n", "sd"), [(0, 1.0), (1.5, 1.0), (3, 0.0), (3, math.nan), (True, 1.0)])
def test_wrong_draws_are_refused(n: int, sd: float) -> None:
    with pytest.raises(ValueError, match="must"):
        adnn.expected_luck(n, sd)


def test_chance_of_luck_is_its_frequency() -> None:
    # 1 - Φ(2)^20 = 1 - 0.97725^20.
    assert chance_of_luck(20, 1.0, 2.0) == pytest.approx(1 - 0.9772499**20, rel=1e-5)
    draws = np.random.default_rng(0).normal(0, 1, (20_000, 20)).max(axis=1)
    assert chance_of_luck(20, 1.0, 2.0) == pytest.approx(np.mean(draws >= 2), abs=0.02)
    # The baseline is one more draw. The last case takes the best of four searches.
    gains = draws - np.random.default_rng(1).normal(0, 1, 20_000)
    assert chance_of_luck(20, 1.0, 2.0, "one") == pytest.approx(np.mean(gains >= 2), abs=0.02)
    best = gains.reshape(5_000, 4).max(axis=1)
    assert chance_of_luck(20, 1.0, 3.5, "one", 4) == pytest.approx(np.mean(best >= 3.5), abs=0.02)
    assert chance_of_luck(1, 1.0, -50.0, "one") == pytest.approx(1)


def test_luck_of_observed_runs_is_that_of_resampling_them() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random(40) < 0.1, 0.5, rng.normal(0.9, 0.01, 40))  # Some runs collapse.
    sample = rng.choice(values, (20_000, 10)).max(axis=1)
    assert adnn.expected_luck(10, values=values) == pytest.approx(
        sample.mean() - values.mean(), abs=5e-4
    )
    for baseline in ("mean", "one"):
        over = values.mean() if baseline == "mean" else rng.choice(values, 20_000)
        chance = chance_of_luck(10, None, 0.03, baseline, values=values)
        assert chance == pytest.approx(np.mean(sample - over >= 0.03), abs=0.015)
    for wrong in ({}, {"sd": 1.0, "values": values}, {"values": [1.0] * 4}):
        with pytest.raises(ValueError, match=r"if sd is (set|omitted)|at least 5 finite numbers"):
            adnn.expected_luck(10, **wrong)
