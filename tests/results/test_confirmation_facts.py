"""What fresh seeds show of a winner: known truths, by simulation where chance decides."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats
from stored_studies import confirmation

from adnn_optuna.engine.confirmation import BASELINE, BEST, FIRST
from adnn_optuna.results.confirmation import (
    ConfirmationFacts,
    Estimate,
    difference_from_usual,
    facts_of,
    mean_gain,
    own_score,
)
from adnn_optuna.results.confirmation_runs import OwnScores
from adnn_optuna.stats.proportions import difference_interval

_SPREAD = 0.25  # Of networks' abilities.


class World(NamedTuple):
    """What fresh seeds showed of a winner, and what is true of it."""

    facts: ConfirmationFacts
    holds: float
    usual: float
    repeats: float


def world(rng: np.random.Generator, *, n: int = 359, gain: float = 0.0, k: int = 10) -> World:
    """Return the best of 30 networks by validation, tested on images of which some are hard.

    ``gain`` is what offsets add to each network's ability.
    """
    abilities = rng.normal(2.5, _SPREAD, 30 + 2 * k)
    abilities[:30] += gain
    abilities[30 + k :] += gain
    best = int(np.argmax(abilities[:30] + rng.normal(0, 0.15, 30)))
    chosen = abilities[[best, *range(30, 30 + 2 * k)], np.newaxis]
    is_right = chosen - rng.normal(0, 2, n) + rng.normal(0, 1, (len(chosen), n)) > 0
    scores = {BASELINE: is_right[1 : 1 + k], BEST: is_right[1 + k :]}
    facts = facts_of(confirmation(is_right[0], scores))
    holds, usual, moved = (
        float(stats.norm.cdf(ability / math.sqrt(1 + 2**2 + spread**2)))
        for ability, spread in ((abilities[best], 0), (2.5, _SPREAD), (2.5 + gain, _SPREAD))
    )
    return World(facts, holds, holds - usual, moved - usual)


def covered(worlds: list[World]) -> dict[str, float]:
    """Return the share of worlds in which each interval holds the truth."""
    shares = {}
    for name in ("holds", "usual", "repeats"):
        pairs = [(getattr(w.facts, name), getattr(w, name)) for w in worlds]
        shares[name] = float(np.mean([e.low <= truth <= e.high for e, truth in pairs]))
    return shares


@pytest.mark.parametrize("gain", [0.0, 0.3])
def test_intervals_hold_the_truth_of_a_lucky_winner(gain: float) -> None:
    rng = np.random.default_rng(3)
    worlds = [world(rng, gain=gain) for _ in range(400)]
    # Each misses in 5 %, here with a standard error of 1.1 %.
    assert all(share > 0.925 for share in covered(worlds).values())
    if not gain:
        above = [w.facts.repeats.low > 0 for w in worlds]
        assert np.mean(above) < 0.025 + 2 * 0.0078
        # A lucky winner is better than usual, and may be said to be.
        assert np.mean([w.facts.usual.low > 0 for w in worlds]) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "gain", "k"), [(359, 0.0, 6), (359, 0.3, 10), (2000, 0.0, 10), (2000, 0.3, 20)]
)
def test_intervals_hold_the_truth_in_many_worlds(n: int, gain: float, k: int) -> None:
    rng = np.random.default_rng(4)
    worlds = [world(rng, n=n, gain=gain, k=k) for _ in range(4000)]
    assert all(share > 0.935 for share in covered(worlds).values())


class TestWhatYouHold:
    def test_is_that_of_clopper_and_pearson(self) -> None:
        is_right = np.arange(100) < 91
        exact = stats.binomtest(91, 100).proportion_ci(0.95, "exact")
        own, grouped = OwnScores(is_right), OwnScores(is_right, np.arange(100))
        assert own_score(own) == pytest.approx((0.91, exact.low, exact.high))
        assert own_score(grouped) == pytest.approx(own_score(own))
        wider = stats.binomtest(91, 100).proportion_ci(0.975, "exact")
        assert own_score(own, level=0.975) == pytest.approx((0.91, wider.low, wider.high))

    @pytest.mark.parametrize("n_right", [0, 20])
    def test_none_or_all_right_has_an_end(self, n_right: int) -> None:
        value, low, high = own_score(OwnScores(np.arange(20) < n_right))
        assert (value == low == 0) or (value == high == 1)
        assert high - low == pytest.approx(1 - 0.025 ** (1 / 20))

    def test_the_same_example_ten_times_is_one(self) -> None:
        is_right, groups = np.arange(40) < 31, np.repeat(np.arange(40), 10)
        once = own_score(OwnScores(is_right))
        often = own_score(OwnScores(np.repeat(is_right, 10), groups))
        assert often.value == once.value
        # A little wider, as the variance of 40 groups is not known exactly.
        assert once.high - once.low <= often.high - often.low < 1.1 * (once.high - once.low)

    def test_no_r2_may_be_above_1(self) -> None:
        scores = 1 - np.array([1.0] + [0.01] * 19)
        value, low, high = own_score(OwnScores(scores, most=1.0))
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
    """Of 100 examples, 8 are positive, so the spread of the AUC is that of a few examples."""

    @pytest.mark.parametrize("n", [100, 400])
    @pytest.mark.parametrize("distance", [1.8, 3.0])
    def test_interval_holds_the_truth(self, n: int, distance: float) -> None:
        rng, y = np.random.default_rng(n), np.arange(n) < 0.08 * n
        truth, n_held, times = stats.norm.cdf(distance / math.sqrt(2)), 0, 400
        for _ in range(times):
            scores = scores_of_auc(y, rng.normal(distance * y, 1))
            _, low, high = own_score(OwnScores(scores, n_rare=int(y.sum())))
            n_held += low <= truth <= high
        assert n_held / times > 0.93

    def test_of_perfect_order_only_the_rarer_class_counts(self) -> None:
        scores = np.ones(100)
        value, low, high = own_score(OwnScores(scores, n_rare=8))
        assert value == high == 1
        assert low == pytest.approx(0.025 ** (1 / 8))
        same = difference_from_usual(OwnScores(scores, n_rare=8), np.ones((6, 100)))
        assert same.low < same.value == 0 < same.high

    def test_without_a_derivative_nothing_is_known(self) -> None:
        unknown = OwnScores(np.full(9, np.nan), n_rare=3)
        assert all(map(math.isnan, own_score(unknown)))


class TestWhatIsUsual:
    def test_one_baseline_s_luck_is_taken_out(self) -> None:
        """The unmoved networks differ by far more than the examples do."""
        own = np.arange(1000) < 900
        unmoved = np.arange(1000) < np.arange(710, 900, 20)[:, np.newaxis]
        value, low, high = difference_from_usual(OwnScores(own), unmoved)
        assert value == pytest.approx(0.1)
        of_networks = np.std(unmoved.mean(axis=1), ddof=1) / math.sqrt(10)
        assert high - value > stats.t.ppf(0.975, 12) * of_networks
        assert low > 0

    def test_the_same_example_ten_times_is_one(self) -> None:
        rng = np.random.default_rng(1)
        own, unmoved = rng.random(60) < 0.9, rng.random((10, 60)) < 0.8
        once = difference_from_usual(OwnScores(own), unmoved)
        groups = np.repeat(np.arange(60), 10)
        repeated = OwnScores(np.repeat(own, 10), groups)
        often = difference_from_usual(repeated, np.repeat(unmoved, 10, 1))
        assert often == pytest.approx(once)

    def test_a_network_that_all_others_equal_is_no_better_but_may_differ_on_others(self) -> None:
        own = np.arange(50) < 40
        low, high = difference_interval(0, 0, 50)
        found = difference_from_usual(OwnScores(own), np.stack([own] * 10))
        assert found == pytest.approx((0, low, high))
        errors = own / 2
        assert difference_from_usual(OwnScores(errors), np.stack([errors] * 10)) == (0, 0, 0)

    def test_of_easy_images_the_interval_holds_the_truth(self) -> None:
        """One in fifty is hard: often all networks get all thirty images right."""
        rng, n_held = np.random.default_rng(0), 0
        for _ in range(200):
            is_hard = rng.random(30) < 0.02
            own = ~is_hard | (rng.random(30) < 0.7)
            others = ~is_hard | (rng.random((10, 30)) < 0.5)
            _, low, high = difference_from_usual(OwnScores(own), others)
            n_held += low <= 0.02 * 0.2 <= high
        assert n_held >= 190


class TestWhatRepeats:
    def test_gains_of_equal_sign_in_all_ten_pairs(self) -> None:
        gains = np.linspace(0.01, 0.02, 10)
        assert mean_gain(gains).low > 0.01
        assert mean_gain(-gains).high < -0.01
        assert mean_gain(gains[:5]) == (gains[:5].mean(), -math.inf, math.inf)
        assert all(map(math.isnan, mean_gain([0.1] * 9 + [math.nan])))

    def test_a_second_winner_has_half_the_error(self) -> None:
        rng = np.random.default_rng(2)
        own, scores = rng.random(100) < 0.9, {a: rng.random((10, 100)) < 0.8 for a in range(2)}
        facts = [facts_of(confirmation(own, scores, rank=rank)) for rank in (1, 2, 3)]
        assert [f.level for f in facts] == pytest.approx([0.95, 0.975, 0.9875])
        for name in ("holds", "usual", "repeats"):
            widths = [getattr(f, name).high - getattr(f, name).low for f in facts]
            assert widths[0] < widths[1] < widths[2]

    def test_without_offsets_nothing_does(self) -> None:
        own, unmoved = np.arange(10) < 9, np.arange(10) < np.full((6, 1), 8)
        facts = facts_of(confirmation(own, {BASELINE: unmoved}))
        assert (facts.repeats, facts.gains) == (Estimate(0, 0, 0), ())
        assert facts.unmoved == (0.8,) * 6

    def test_hyperparameters_are_told_beside(self) -> None:
        right = {BASELINE: 8, BEST: 9, FIRST: 5}
        scores = {arm: np.arange(10) < np.full((6, 1), n) for arm, n in right.items()}
        facts = facts_of(confirmation(np.arange(10) < 9, scores))
        assert facts.gains == pytest.approx((0.1,) * 6)
        assert facts.repeats == pytest.approx((0.1, 0.1, 0.1))
        assert facts.hyperparameters == pytest.approx((0.3, 0.3, 0.3))
