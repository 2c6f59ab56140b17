"""Standard deviations with CIs, compared with simulations; outliers; digits of values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from adnn_optuna._units import PLAIN
from adnn_optuna.stats.spread import outliers, standard_deviation, unit_of_values


@pytest.mark.parametrize("differences", [True, False])
def test_interval_of_a_standard_deviation_covers_it(differences: bool) -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(1000):
        values = rng.standard_normal(20)
        if differences:
            values -= rng.standard_normal(20)
        spread = standard_deviation(values, are_differences=differences)
        covered.append(spread.low <= 1 <= spread.high)
    assert 0.93 <= np.mean(covered) <= 0.96


@pytest.mark.parametrize("n", [8, 20, 100])
@pytest.mark.parametrize("are_counts", [False, True])
def test_normal_values_and_counts_seldom_look_like_outliers(n: int, are_counts: bool) -> None:
    rng, n_found = np.random.default_rng(n), 0
    for _ in range(400):
        values = rng.binomial(359, 0.9, n) / 359 if are_counts else rng.normal(size=n)
        n_found += bool(outliers(values))
    assert n_found / 400 <= 0.065


class TestOutliers:
    VALUES = (0.90, 0.91, 0.89, 0.905, 0.895, 0.90, 0.91, 0.70)

    def test_are_far_worse_than_the_median(self) -> None:
        assert outliers(self.VALUES) == [7]
        assert outliers(self.VALUES, maximize=False) == []
        assert outliers([-value for value in self.VALUES], maximize=False) == [7]
        assert outliers(self.VALUES[1:]) == []  # There are too few values.
        assert outliers([*self.VALUES, 0.6]) == []  # Two of nine values are not rare.

    def test_among_ties_are_far_beyond_other_values(self) -> None:
        assert outliers([0.9] * 6 + [0.9 + 1e-17, 0.897, 0.5]) == [8]
        assert outliers([0.9] * 8) == []
        assert outliers([0.9] * 8 + [0.1]) == []  # Equal values have no scale.


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=30),
    st.floats(0.001, 1000),
    st.booleans(),
)
def test_the_deviation_scales_with_the_values_and_is_in_its_interval(
    values: list[float], scale: float, differences: bool
) -> None:
    array = np.array(values)
    spread, scaled = (
        standard_deviation(a, are_differences=differences) for a in (array, scale * array)
    )
    assert spread.low <= spread.value * (1 + 1e-9)
    assert spread.high >= spread.value * (1 - 1e-9)
    if spread.value > 1e-3:
        assert scaled == pytest.approx(tuple(scale * x for x in spread), rel=1e-6)


@pytest.mark.parametrize("n", [5, 6, 20])
def test_the_interval_is_that_of_bonett(n: int) -> None:
    values = np.random.default_rng(n).exponential(size=n)
    z = stats.norm.isf(0.025)
    center = stats.trim_mean(values, 0.5 / math.sqrt(n - 4))
    kurtosis = n * np.sum((values - center) ** 4) / np.sum((values - values.mean()) ** 2) ** 2
    c = n / (n - z)
    error = c * math.sqrt((kurtosis - (n - 3) / n) / (n - 1))
    variances = [1, c * math.exp(-z * error), c * math.exp(z * error)] * np.array(
        values.var(ddof=1)
    )
    assert standard_deviation(values) == pytest.approx(tuple(np.sqrt(variances)))


def test_the_deviation_of_differences_is_that_of_one_of_the_two_values() -> None:
    d, n, z = np.array([1.0, -2.0, 0.5, 3.0, -0.5, 2.0]), 6, stats.norm.isf(0.025)
    # The mean is known to be 0, so all degrees of freedom remain: Σd² = 18.5, Σd⁴ = 114.125.
    c = n / (n - z)
    error = c * math.sqrt((n * 114.125 / 18.5**2 - 0.5) / n)
    variances = [
        18.5 / 12 * factor for factor in (1, c * math.exp(-z * error), c * math.exp(z * error))
    ]
    spread = standard_deviation(d, are_differences=True)
    assert spread == pytest.approx(tuple(map(math.sqrt, variances)))
    # Equal differences have an interval, except if they are 0.
    alike = standard_deviation(np.full(5, -3.0), are_differences=True)
    assert alike.value == pytest.approx(3 / math.sqrt(2))
    assert 0 < alike.low < alike.value < alike.high
    for nothing in (
        standard_deviation(np.zeros(5), are_differences=True),
        standard_deviation(np.full(5, -3.0)),
    ):
        assert nothing == (0, 0, 0)
    for are_differences in (False, True):
        assert np.isnan(standard_deviation(d[:4], are_differences=are_differences)).all()


class TestUnits:
    @pytest.mark.parametrize(
        ("arms", "digits"),
        [
            ([[0.91, 0.92]], 5),  # Three digits of the deviation, .007.
            ([[1000.0, 1000.001]], 5),  # At most nine digits in total.
            ([[0.1] * 5], 4),  # The deviation, 1.6e-17, is a rounding error.
            ([[1e6, 2e6]], 0),
            ([[0.91, 0.92, 1e20], [1e20, 0.9]], 5),
            ([[1e-9, 2e-9]], 12),
            ([[7.0]], 4),
            ([[7.0, 7.0]], 4),
            ([[3e-6, 3e-6]], 8),
        ],
    )
    def test_show_digits_that_distinguish_values(
        self, arms: list[list[float]], digits: int
    ) -> None:
        assert unit_of_values(arms).digits == digits

    def test_of_paired_values_show_digits_that_distinguish_differences(self) -> None:
        arms = [np.array([0.5, 0.7, 0.9]), np.array([0.5004, 0.7005, 0.9003])]
        assert unit_of_values(arms).digits == 3
        assert unit_of_values(arms, are_paired=True).digits == 6

    def test_are_plain_without_finite_values(self) -> None:
        for arms in ([], [[]], [[0.0, 0.0]], [[math.nan, math.inf]]):
            assert unit_of_values(arms) is PLAIN
