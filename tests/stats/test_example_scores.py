"""Scores that are means over test examples: known values, and simulations of CIs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from adnn_optuna.stats.example_scores import difference_from_mean, mean_gain, score_estimate
from adnn_optuna.stats.intervals import difference_interval


class TestScore:
    def test_interval_of_an_accuracy_is_that_of_clopper_and_pearson(self) -> None:
        is_right = np.arange(100) < 91
        exact = stats.binomtest(91, 100).proportion_ci(0.95, "exact")
        own_scores, grouped = (is_right,), (is_right, np.arange(100))
        assert score_estimate(*own_scores) == pytest.approx((0.91, exact.low, exact.high))
        assert score_estimate(*grouped) == pytest.approx(score_estimate(*own_scores))
        wider = stats.binomtest(91, 100).proportion_ci(0.975, "exact")
        assert score_estimate(*own_scores, level=0.975) == pytest.approx(
            (0.91, wider.low, wider.high)
        )

    @pytest.mark.parametrize("n_right", [0, 20])
    def test_an_accuracy_of_0_or_1_has_an_interval(self, n_right: int) -> None:
        value, low, high = score_estimate(np.arange(20) < n_right)
        assert (value == low == 0) or (value == high == 1)
        assert high - low == pytest.approx(1 - 0.025 ** (1 / 20))

    def test_ten_copies_of_an_example_count_as_one(self) -> None:
        is_right, groups = np.arange(40) < 31, np.repeat(np.arange(40), 10)
        once = score_estimate(is_right)
        often = score_estimate(np.repeat(is_right, 10), groups)
        assert often.value == once.value
        # The interval is a little wider, because the variance of 40 groups is estimated.
        assert once.high - once.low <= often.high - often.low < 1.1 * (once.high - once.low)

    def test_no_interval_of_r2_exceeds_1(self) -> None:
        scores = 1 - np.array([1.0] + [0.01] * 19)
        value, low, high = score_estimate(scores, most=1.0)
        assert low < value < high == 1


def scores_of_auc(y: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Return the AUC plus each example's influence value (DeLong 1988)."""
    positive, negative = outputs[y], outputs[~y]
    is_above = positive[:, np.newaxis] > negative
    influence = np.empty(len(y))
    influence[y] = (is_above.mean(axis=1) - is_above.mean()) / y.mean()
    influence[~y] = (is_above.mean(axis=0) - is_above.mean()) / (1 - y.mean())
    return np.asarray(is_above.mean() + influence)


class TestAuc:
    """With 8 positive examples of 100, the spread of the AUC depends on a few examples."""

    @pytest.mark.parametrize("n", [100, 400])
    @pytest.mark.parametrize("distance", [1.8, 3.0])
    def test_interval_contains_the_true_value(self, n: int, distance: float) -> None:
        rng, y = np.random.default_rng(n), np.arange(n) < 0.08 * n
        truth, n_held, times = stats.norm.cdf(distance / math.sqrt(2)), 0, 400
        for _ in range(times):
            scores = scores_of_auc(y, rng.normal(distance * y, 1))
            _, low, high = score_estimate(scores, n_rare=int(y.sum()))
            n_held += low <= truth <= high
        assert n_held / times > 0.93

    def test_with_perfect_order_only_the_rarer_class_counts(self) -> None:
        scores = np.ones(100)
        value, low, high = score_estimate(scores, n_rare=8)
        assert value == high == 1
        assert low == pytest.approx(0.025 ** (1 / 8))
        same = difference_from_mean(scores, np.ones((6, 100)), n_rare=8)
        assert same.low < same.value == 0 < same.high

    def test_without_influence_values_nothing_is_known(self) -> None:
        assert all(map(math.isnan, score_estimate(np.full(9, np.nan), n_rare=3)))


class TestDifference:
    def test_the_interval_allows_for_the_variance_of_baseline_networks(self) -> None:
        """The baseline networks differ much more than the examples do."""
        own_scores = np.arange(1000) < 900
        unmoved = np.arange(1000) < np.arange(710, 900, 20)[:, np.newaxis]
        value, low, high = difference_from_mean(own_scores, unmoved)
        assert value == pytest.approx(0.1)
        of_networks = np.std(unmoved.mean(axis=1), ddof=1) / math.sqrt(10)
        assert high - value > stats.t.ppf(0.975, 12) * of_networks
        assert low > 0

    def test_ten_copies_of_an_example_count_as_one(self) -> None:
        rng = np.random.default_rng(1)
        own_scores, unmoved = rng.random(60) < 0.9, rng.random((10, 60)) < 0.8
        once = difference_from_mean(own_scores, unmoved)
        groups = np.repeat(np.arange(60), 10)
        often = difference_from_mean(np.repeat(own_scores, 10), np.repeat(unmoved, 10, 1), groups)
        assert often == pytest.approx(once)

    def test_a_network_equal_to_all_others_may_differ_on_other_examples(self) -> None:
        own_scores = np.arange(50) < 40
        low, high = difference_interval(0, 0, 50)
        difference = difference_from_mean(own_scores, np.stack([own_scores] * 10))
        assert difference == pytest.approx((0, low, high))
        errors = own_scores / 2
        assert difference_from_mean(errors, np.stack([errors] * 10)) == (0, 0, 0)

    def test_on_easy_images_the_interval_contains_the_true_value(self) -> None:
        """One image in fifty is difficult. All networks often classify all thirty images
        correctly.
        """
        rng, n_held = np.random.default_rng(0), 0
        for _ in range(200):
            is_hard = rng.random(30) < 0.02
            own_scores = ~is_hard | (rng.random(30) < 0.7)
            other_scores = ~is_hard | (rng.random((10, 30)) < 0.5)
            _, low, high = difference_from_mean(own_scores, other_scores)
            n_held += low <= 0.02 * 0.2 <= high
        assert n_held >= 190


class TestMeanGain:
    def test_gains_of_equal_sign_in_all_ten_pairs_exclude_zero(self) -> None:
        gains = np.linspace(0.01, 0.02, 10)
        assert mean_gain(gains).low > 0.01
        assert mean_gain(-gains).high < -0.01
        assert mean_gain(gains[:3])[0] == gains[:3].mean()
        assert all(map(math.isnan, mean_gain(gains[:3])[1:]))
        assert mean_gain([0.0] * 10, n_examples=50)[1:] == (-0.01, 0.01)
        assert all(map(math.isnan, mean_gain([0.1] * 9 + [math.nan])))
