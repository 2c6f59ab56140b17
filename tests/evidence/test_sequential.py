"""Looking again: how often it is wrong, what it finds, and that no look contradicts another."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adnn_optuna.evidence.paired_differences import verdict_of
from adnn_optuna.evidence.sequential import e_process, sequential_interval

if TYPE_CHECKING:
    from collections.abc import Callable

SPREADS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.normal(0, 0.01, n),
    "t2": lambda rng, n: 0.01 * rng.standard_t(2, n),
    "tied": lambda rng, n: rng.integers(-2, 3, n) / 360,
}
# Accuracies on 1000 images, so ties are common.
SOME_DIFFERENCES = st.lists(st.integers(-40, 40).map(lambda n: n / 1000), max_size=25)


class TestErrorRates:
    # An interval that is not empty only shrinks, so after the last look it shows every false claim
    # but those of which later pairs made it empty: these are seen in the e-process.
    @pytest.mark.parametrize("spread", SPREADS)
    @pytest.mark.parametrize("n_claims", [1, 3])
    def test_under_the_null_few_are_ever_wrong(self, spread: str, n_claims: int) -> None:
        rng, n_runs = np.random.default_rng(n_claims), 4000
        d = SPREADS[spread](rng, n_runs * n_claims * 60).reshape(n_runs, n_claims, 60)
        wrong = (e_process(d.round(12)) >= n_claims / 0.05).any(axis=(1, 2))
        assert wrong.mean() <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / n_runs)

    @pytest.mark.parametrize("spread", SPREADS)
    @pytest.mark.parametrize("n_claims", [1, 3])
    def test_verdicts_are_as_rarely_wrong(self, spread: str, n_claims: int) -> None:
        rng, n_runs, n_wrong = np.random.default_rng(7), 120 // n_claims, 0
        for _ in range(n_runs):
            drawn = [SPREADS[spread](rng, 60) for _ in range(n_claims)]
            ends = [sequential_interval(d, n_claims) for d in drawn]
            n_wrong += any(low > 0 or high < 0 for low, high in ends)
        assert n_wrong / n_runs <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / n_runs)

    @pytest.mark.slow
    @pytest.mark.parametrize("spread", SPREADS)
    def test_intervals_cover_at_each_of_many_looks(self, spread: str) -> None:
        rng, n_runs = np.random.default_rng(1), 1000
        missed = 0
        for _ in range(n_runs):
            low, high = sequential_interval((0.02 + SPREADS[spread](rng, 60)).round(12), 1)
            missed += not low <= 0.02 <= high
        assert missed / n_runs <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / n_runs)


@pytest.mark.parametrize(("n_claims", "n_seeds"), [(1, 14), (3, 18)])
def test_a_gain_of_one_standard_deviation_is_soon_found(n_claims: int, n_seeds: int) -> None:
    rng = np.random.default_rng(0)
    lows = [sequential_interval(d, n_claims)[0] for d in rng.normal(1, 1, (100, n_seeds))]
    assert np.greater(lows, 0).sum() >= 50


class TestIntervals:
    @given(SOME_DIFFERENCES)
    @settings(max_examples=60, deadline=None)
    def test_say_what_the_e_process_says_of_0(self, d: list[float]) -> None:
        low, high = sequential_interval(np.array(d), 1)
        if len(d) and e_process(np.array(d)).max() < 20:
            assert low <= 0 <= high
        elif len(d):
            assert not low <= 0 <= high

    @given(SOME_DIFFERENCES)
    @settings(max_examples=30, deadline=None)
    def test_only_shrink_with_further_pairs(self, d: list[float]) -> None:
        low, high = -math.inf, math.inf
        for n in range(len(d) + 1):
            now = sequential_interval(np.array(d[:n]), 1)
            if math.isnan(now[0]):
                break
            slack = 1e-5 * (1 if math.isinf(high) else high - low + 0.01)
            assert low - slack <= now[0] <= now[1] <= high + slack
            low, high = now

    @given(SOME_DIFFERENCES, st.sampled_from([-1e-5, 1e-3, -1.0, 1e4]))
    @settings(max_examples=40, deadline=None)
    def test_scale_and_turn_with_the_differences(self, d: list[float], factor: float) -> None:
        ends = np.array(sequential_interval(np.array(d), 1)) * factor
        scaled = sequential_interval(np.array(d) * factor, 1)
        # Both are found by trying centres, which are not the same ones.
        slack = 1e-5 * abs(factor)
        np.testing.assert_allclose(scaled, np.sort(ends), rtol=1e-4, atol=slack)

    @pytest.mark.parametrize("value", [0.0, 0.01, -1 / 3])
    @pytest.mark.parametrize(("n_claims", "n_pairs"), [(1, 7), (2, 9), (3, 9), (4, 10)])
    def test_of_equal_differences_are_a_point_as_soon_as_any_is_finite(
        self, value: float, n_claims: int, n_pairs: int
    ) -> None:
        infinite = (-math.inf, math.inf)
        assert sequential_interval(np.full(n_pairs - 1, value), n_claims) == infinite
        ends = sequential_interval(np.full(n_pairs, value), n_claims)
        assert ends == (round(value, 12), round(value, 12))

    def test_are_those_of_a_fine_grid(self) -> None:
        rng = np.random.default_rng(2)
        for d in rng.standard_t(2, (5, 20)):
            grid = np.linspace(-8, 8, 8001)
            possible = grid[e_process(d - grid[:, np.newaxis]).max(axis=1) < 20]
            ends = sequential_interval(d, 1)
            np.testing.assert_allclose(ends, possible[[0, -1]], atol=0.0021)

    @pytest.mark.parametrize("spread", [*SPREADS, "outliers"])
    def test_end_where_the_e_process_begins_to_exclude(self, spread: str) -> None:
        rng = np.random.default_rng(3)
        for n, n_claims in ((9, 1), (15, 2), (40, 3)):
            d = SPREADS.get(spread, SPREADS["normal"])(rng, n)
            if spread == "outliers":
                d[[2, 7]] = 30.0, -5.0
            d = d.round(12)
            low, high = sequential_interval(d, n_claims)
            scale = float(np.subtract(*np.quantile(d, [0.75, 0.25])))
            bulk = np.linspace(*np.quantile(d, [0.1, 0.9]), 501)
            grid = np.concatenate([np.linspace(d.min() - 9, d.max() + 9, 501), bulk, d, [0]])
            possible = grid[e_process(d - grid[:, np.newaxis]).max(axis=1) < n_claims / 0.05]
            assert low - 1e-9 <= possible.min() <= possible.max() <= high + 1e-9
            beside = np.array([low, high, low - 1e-3 * scale, high + 1e-3 * scale])
            is_in = e_process(d - beside[:, np.newaxis]).max(axis=1) < n_claims / 0.05
            assert is_in.tolist() == [True, True, False, False]

    def test_of_ties_between_outliers_are_found(self) -> None:
        d = np.array([0.0, 1.0] * 12 + [1000.0, -1000.0, 1.0, 0.0])
        low, high = sequential_interval(d, 1)
        assert 0 < low < 0.5 < high < 1
        grid = np.linspace(-1, 2, 3001)
        possible = grid[e_process(d - grid[:, np.newaxis]).max(axis=1) < 20]
        np.testing.assert_allclose((low, high), possible[[0, -1]], atol=1.1e-3)

    def test_are_empty_where_the_differences_are_of_two_distributions(self) -> None:
        assert np.isnan(sequential_interval(np.repeat([1.0, -1.0], 20), 1)).all()


def test_the_e_value_is_as_defined() -> None:
    d = [0.01, 0.03, 0.0, -0.02, 0.05]
    rates = np.array([0.25, 0.35, 0.5, 0.7, 1, 1.4, 2])
    products = np.ones(14)
    for i, value in enumerate(d):
        z = np.append(rates, -rates) * value / math.sqrt(np.mean(np.square(d[: i + 1])))
        products *= np.exp(z) / np.cosh(z)
    assert e_process(np.array(d))[[0, -1]] == pytest.approx([1, products.mean()])
    assert sequential_interval(np.array([]), 1) == (-math.inf, math.inf)


def test_equivalent_takes_precedence() -> None:
    assert verdict_of(0.0001, 0.0009, 0.001) == "equivalent"
    assert verdict_of(0.0001, 0.0011, 0.001) == "better"
    assert verdict_of(-0.0011, -0.0001, 0.001) == "worse"
    assert verdict_of(math.nan, math.nan, 0.001) == "undecided"
