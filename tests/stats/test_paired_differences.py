"""Verdicts on paired differences: error rates, numbers of pairs, and degenerate cases."""

from __future__ import annotations

import itertools
import math
import tracemalloc
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_1samp

from adnn_optuna.stats.paired_differences import (
    MARGIN,
    Ends,
    PairedDifference,
    fewest_pairs,
    inconclusive,
    paired_differences,
    planned_interval,
    verdict_of,
)
from adnn_optuna.stats.sequential import (
    _candidates,
    _hull,
    e_process,
    sequential_interval,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# These distributions are around 0: normal as assumed, with ties, and skewed.
SPREADS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.normal(0, 0.01, n),
    "tied": lambda rng, n: rng.integers(-2, 3, n) / 360,
    "gamma": lambda rng, n: 0.01 * (rng.gamma(4, 1, n) - 4),
}


def simulated(rng: np.random.Generator, n_seeds: int, gain: float = 0.0) -> dict[str, list[float]]:
    """Return accuracies of three arms on 360 samples; the arms share the seeds' effects, and
    "a" may gain.
    """
    of_seed = rng.normal(0.9, 0.01, n_seeds)
    arms = {}
    for arm in "abc":
        accuracy = of_seed + rng.normal(0, 0.006, n_seeds) + (gain if arm == "a" else 0)
        arms[arm] = (np.round(accuracy * 360) / 360).tolist()
    return arms


def compared(values: dict[str, list[float]]) -> list[PairedDifference]:
    return paired_differences(values, margin=MARGIN)


def only(
    values: list[float], other: list[float] | None = None, *, sequential: bool = False
) -> PairedDifference:
    arms = {"arm": values, "other": [0.0] * len(values) if other is None else other}
    [difference] = paired_differences(arms, margin=MARGIN, sequential=sequential)
    return difference


def p_value_of_all_flips(differences: np.ndarray, centre: float) -> float:
    """Return the two-sided p-value of the sign-flip test, by its definition."""
    centred = differences - centre
    flips = np.array(list(itertools.product((-1, 1), repeat=len(centred))))
    sums, observed = flips @ centred, centred.sum()
    one_sided = [np.mean(sums >= observed - 1e-9), np.mean(sums <= observed + 1e-9)]
    return float(min(1, 2 * min(one_sided)))


class TestErrorRates:
    @pytest.mark.parametrize("n_seeds", [8, 10])
    def test_without_a_difference_at_most_5_percent_are_found_better(self, n_seeds: int) -> None:
        rng = np.random.default_rng(n_seeds)
        n_wrong = 0
        for _ in range(400):
            verdicts = {d.verdict for d in compared(simulated(rng, n_seeds))}
            n_wrong += bool(verdicts & {"better", "worse"})
        assert n_wrong <= 20  # One wrong pair of three makes a comparison wrong.

    @pytest.mark.parametrize("spread", SPREADS)
    @pytest.mark.parametrize(("n_seeds", "n_runs"), [(6, 2000), (10, 2000), (20, 100)])
    def test_intervals_cover_the_centre(self, spread: str, n_seeds: int, n_runs: int) -> None:
        rng = np.random.default_rng(n_seeds)
        intervals = [
            planned_interval(0.02 + SPREADS[spread](rng, n_seeds), 1) for _ in range(n_runs)
        ]
        covered = np.mean([low - 1e-12 <= 0.02 <= high + 1e-12 for low, high in intervals])
        # With few runs, the share varies by chance, so the bound is lower. With 6 skewed values,
        # the coverage itself is lower.
        is_skewed = n_seeds == 6 and spread == "gamma"
        assert covered >= 0.93 - (0.05 if n_runs < 1000 else 0.02 if is_skewed else 0)

    @pytest.mark.slow
    @pytest.mark.parametrize("spread", SPREADS)
    def test_intervals_of_random_subsets_cover_the_centre(self, spread: str) -> None:
        rng = np.random.default_rng(0)
        intervals = [planned_interval(0.02 + SPREADS[spread](rng, 20), 1) for _ in range(1000)]
        covered = np.mean([low - 1e-12 <= 0.02 <= high + 1e-12 for low, high in intervals])
        assert covered >= 0.93

    def test_a_percentage_point_is_found_with_usual_numbers_of_seeds(self) -> None:
        rng = np.random.default_rng(0)
        comparisons = [compared(simulated(rng, 15, gain=0.01)) for _ in range(20)]
        assert np.mean([pairs[0].verdict == "better" for pairs in comparisons]) > 0.8

    def test_equivalence_is_rarely_claimed_at_the_edge_of_its_region(self) -> None:
        rng = np.random.default_rng(0)
        edge = [only(rng.normal(MARGIN, 0.0003, 8).tolist()).verdict for _ in range(100)]
        assert edge.count("equivalent") <= 5
        inside = [only(rng.normal(0, 0.0003, 8).tolist()).verdict for _ in range(10)]
        assert inside.count("equivalent") == 10


class TestPlannedInterval:
    @given(
        st.lists(st.integers(-30, 30), min_size=8, max_size=10),
        st.integers(1, 6),
        st.integers(-3000, 3000),
    )
    @settings(max_examples=100, deadline=None)
    def test_contains_exactly_the_centres_that_the_sign_flip_test_accepts(
        self, whole: list[int], n_claims: int, centre: int
    ) -> None:
        d = np.array(whole) / 1000
        low, high = planned_interval(d, n_claims)
        # Rounding errors may exclude the ends themselves, but 0 is treated exactly.
        for mu in (centre / 1e5 + 1e-7, low - 1e-7, low + 1e-7, high - 1e-7, high + 1e-7):
            if math.isfinite(mu) and low < high:
                rejected = p_value_of_all_flips(d, mu) <= 0.05 / n_claims
                assert rejected == (not low <= mu <= high)
        assert (p_value_of_all_flips(d, 0) <= 0.05 / n_claims) == (not low <= 0 <= high)

    @pytest.mark.parametrize("n_claims", [2500, 2556, 10_000])
    def test_of_many_claims_is_finite_from_the_fewest_pairs_on(self, n_claims: int) -> None:
        n_pairs = math.ceil(math.log2(2 * n_claims / 0.05))
        low, high = planned_interval(np.linspace(1, 2, n_pairs), n_claims)
        assert 1 <= low < high <= 2
        few = planned_interval(np.linspace(1, 2, n_pairs - 1), n_claims)
        assert few[0] < few[1]

    @pytest.mark.parametrize(("n", "n_claims"), [(4, 1), (7, 1), (6, 3), (8, 7)])
    def test_of_few_pairs_is_that_of_student(self, n: int, n_claims: int) -> None:
        d = np.random.default_rng(n).normal(0.01, 0.02, n)
        ends = ttest_1samp(d, 0).confidence_interval(1 - 0.05 / n_claims)
        assert planned_interval(d, n_claims) == pytest.approx((ends.low, ends.high))
        [row] = paired_differences(
            {"a": d.tolist(), "b": [0.0] * n}, margin=0.1, n_claims=n_claims
        )
        assert (row.low, row.high) == pytest.approx((ends.low, ends.high))
        assert row.assumption == "normal differences"
        bound = ttest_1samp(d, 0, alternative="greater").confidence_interval(1 - 0.05 / n_claims)
        assert row.at_least == pytest.approx(bound.low)

    @pytest.mark.parametrize("n_examples", [20, 30, 100])
    def test_of_few_coarse_values_seldom_excludes_0(self, n_examples: int) -> None:
        # Without the resolution of one example, 6% of comparisons would have a wrong verdict.
        rng, n_wrong, n_worlds = np.random.default_rng(n_examples), 0, 1500
        for i in range(n_worlds):
            of_seed = rng.binomial(n_examples - 4, 0.8, 4 + i % 4)
            arms = of_seed + rng.binomial(2, 0.5, (2, 4 + i % 4))
            row = only((arms[0] / n_examples).tolist(), (arms[1] / n_examples).tolist())
            n_wrong += row.verdict in ("better", "worse")
        assert n_wrong <= 0.05 * n_worlds

    def test_of_random_subsets_is_near_that_of_all_subsets(self) -> None:
        d = np.random.default_rng(0).normal(0, 1, 17)
        sums = counts = np.zeros(1)
        for value in d:
            sums, counts = np.append(sums, sums + value), np.append(counts, counts + 1)
        exact = np.quantile(sums[1:] / counts[1:], [0.025, 0.975])
        np.testing.assert_allclose(planned_interval(d, 1), exact, atol=0.02)

    @given(st.lists(st.integers(-30, 30), min_size=7, max_size=18), st.sampled_from([-1, 7, -0.5]))
    @settings(max_examples=25, deadline=None)
    def test_scales_with_the_differences_and_changes_sign_with_them(
        self, whole: list[int], factor: float
    ) -> None:
        d = np.array(whole) / 100
        ends = sorted(factor * end for end in planned_interval(d, 2))
        np.testing.assert_allclose(planned_interval(factor * d, 2), ends, atol=1e-11)


@pytest.mark.parametrize(
    ("sequential", "fewest"), [(False, [0, 4, 4, 4, 4, 4]), (True, [0, 7, 9, 9, 10])]
)
def test_fewest_pairs_is_the_smallest_number_that_can_decide(
    sequential: bool, fewest: list[int]
) -> None:
    assert [fewest_pairs(m, sequential=sequential) for m in range(len(fewest))] == fewest
    reference = np.arange(10.0)
    for value in (50.0, -50.0):
        n = fewest[1]
        few = only(
            (reference + value)[: n - 1].tolist(), [*reference[: n - 1]], sequential=sequential
        )
        assert few.verdict == "inconclusive"
        assert math.isnan(few.low)
        assert math.isnan(few.high)
        assert few.reason == f"no CI yet: {n} pairs are needed"
        enough = only((reference + value)[:n].tolist(), [*reference[:n]], sequential=sequential)
        assert enough.verdict != "inconclusive"
        assert enough.reason == ""


class TestDegenerate:
    @pytest.mark.parametrize("sequential", [False, True])
    def test_copies_are_equivalent_if_the_margin_exceeds_the_resolution(
        self, sequential: bool
    ) -> None:
        values = [0.9, 0.91, 0.88, 0.93, 0.9, 0.87, 0.9, 0.92]
        for margin, verdict in ((0.006, "equivalent"), (0.004, "inconclusive")):
            [copy] = paired_differences(
                {"a": values, "b": values}, margin=margin, sequential=sequential
            )
            assert copy.verdict == verdict
            assert (copy.mean, copy.win_rate) == (0, 0.5)
            assert (copy.low, copy.high) == pytest.approx((-0.005, 0.005))

    @pytest.mark.parametrize("sequential", [False, True])
    @pytest.mark.parametrize("n", [4, 7, 12, 20])
    def test_arms_without_variance_decide_nothing(self, n: int, sequential: bool) -> None:
        for first, second in ((0.9, 0.8), (0.1, 0.1), (0.0, 0.0), (1e20, 1.0)):
            row = only([first] * n, [second] * n, sequential=sequential)
            assert row.verdict == "inconclusive"
            assert np.isnan([row.low, row.high, row.at_least, row.at_most]).all()
            assert n < 7 or row.reason.startswith("no CI, because no value varies")
        varied = only([0.9] * n, [0.8 + 0.001 * (i % 3) for i in range(n)], sequential=sequential)
        assert (varied.verdict == "better") == (n >= 7 or not sequential)

    @pytest.mark.parametrize("sequential", [False, True])
    @pytest.mark.parametrize("factor", [1e-300, 1e-14, 1.0, 1e14, 1e300])
    def test_verdicts_do_not_depend_on_the_unit(self, factor: float, sequential: bool) -> None:
        values = np.array([1.2, 0.8, 1.0, 1.1, 0.9, 1.3, 0.7, 1.0, 1.2, 0.9, 1.1, 0.8])
        arms = {"a": (factor * values).tolist(), "b": [0.0] * 12}
        margin = 1e-3 * factor
        [row] = paired_differences(arms, margin=margin, sequential=sequential)
        unscaled = only(values.tolist(), sequential=sequential)
        assert row.verdict == unscaled.verdict == "better"
        numbers = np.array([row.mean, row.low, row.high, row.worst, row.largest]) / factor
        assert numbers == pytest.approx(
            [unscaled.mean, unscaled.low, unscaled.high, 0.7, 1.3], rel=1e-9
        )
        assert row.reason == unscaled.reason

    def test_huge_values_of_failed_runs_do_not_hide_differences(self) -> None:
        ours, theirs = [0.1 + 0.001 * i for i in range(10)], [0.2] * 10
        both = only([*ours, 1e20], [*theirs, 1e20])
        assert (both.verdict, both.win_rate) == ("worse", 0.5 / 11)
        assert only([*ours, 0.1], [*theirs, 1e20]).win_rate == 0

    def test_equal_differences_have_an_interval_of_the_resolution(self) -> None:
        # Rounding errors give these equal differences different last bits.
        reference = np.linspace(0.1, 0.9, 12)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            difference = only((reference + 0.01).tolist(), reference.tolist())
        assert (difference.low, difference.high) == pytest.approx((0.005, 0.015))
        assert (difference.verdict, difference.reason) == ("better", "")

    def test_without_any_pair_nothing_is_known(self) -> None:
        nothing = only([math.nan, math.nan])
        assert (nothing.n_pairs, nothing.verdict) == (0, "inconclusive")
        assert math.isnan(nothing.mean)
        assert math.isnan(nothing.win_rate)

    def test_a_single_arm_has_no_comparisons(self) -> None:
        assert compared({"arm": [0.1, 0.2]}) == []

    def test_differences_of_two_distributions_decide_nothing(self) -> None:
        difference = only([0.5] * 20 + [-0.5] * 20, sequential=True)
        assert (difference.verdict, math.isnan(difference.low)) == ("inconclusive", True)
        assert difference.reason == "the differences are not of one distribution"


class TestPairsThatCount:
    def test_are_those_before_the_first_missing_pair(self) -> None:
        difference = only([0.1, 0.3, math.nan, *[0.4] * 9], [0.0] * 12)
        assert (difference.n_pairs, difference.mean) == (2, pytest.approx(0.2))
        assert difference.verdict == "inconclusive"
        assert (
            "no CI: 4 pairs are needed; pair 3 of 12 lacks a finite value, and only"
            in difference.reason
        )

    def test_show_their_worst_and_largest_difference(self) -> None:
        row = only([0.02, -0.03, 0.01, math.nan, -0.5])
        assert (row.worst, row.largest) == (-0.03, 0.02)
        assert (row.turned().worst, row.turned().largest) == (-0.02, 0.03)
        assert math.isnan(only([math.nan]).worst)


def test_win_rate_has_the_interval_of_clopper_and_pearson() -> None:
    for n_better, n in ((0, 6), (3, 8), (7, 7)):
        row = only([0.1] * n_better + [-0.1] * (n - n_better))
        ends = binomtest(n_better, n).proportion_ci(method="exact")
        assert row.win_rate == n_better / n
        assert (row.win_rate_low, row.win_rate_high) == pytest.approx((ends.low, ends.high))
    assert only([0.1, 0.0, 0.0, -0.1]).win_rate == 0.5
    again = only([0.1] * 8, sequential=True)
    assert math.isnan(again.win_rate_low)
    assert math.isnan(again.win_rate_high)


def test_sequential_intervals_need_little_memory_for_many_pairs() -> None:
    differences = np.random.default_rng(0).normal(size=400)
    tracemalloc.start()
    low, high = sequential_interval(differences, 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12e6  # All centres at once would take 46 MB, and 10 GB for 6,000 pairs.
    assert low < differences.mean() < high


def test_a_mean_outside_of_its_interval_is_explained_by_outliers() -> None:
    bulk = [1.61, 0.41, 11.36, 1.7, 1.46, 0.78, 0.4, 0.88, 1.07, 2.29, -0.29, 1.11, 1.49, 7.4]
    row = only([*bulk, 6.66, -61.32], sequential=True)
    assert row.mean < 0 < row.low
    assert row.verdict == "better"
    assert "outliers move the mean difference" in row.reason


def test_inconclusive_claims_have_a_reason_and_no_interval() -> None:
    [claimed, second, third] = inconclusive(
        paired_differences(
            {"a": [0.1] * 5 + [0.2], "b": [0.0] * 5 + [0.1], "c": [0.0] * 6},
            margin=0.01,
            claims=[("a", "b")],
        ),
        "because",
    )
    assert (claimed.verdict, claimed.reason) == ("inconclusive", "because")
    assert math.isnan(claimed.low)
    assert math.isnan(claimed.high)
    assert (claimed.mean, claimed.n_pairs) == (pytest.approx(0.1), 6)
    for row in (second, third):
        assert (row.verdict, row.reason) == (None, "")
        assert math.isnan(row.low)


@pytest.mark.parametrize(("n", "is_told"), [(11, False), (12, True)])
def test_skewness_is_noted_from_twelve_pairs_on(n: int, is_told: bool) -> None:
    # The mean is 1 / n, and so is the mean distance from the median 0. No values are more skewed.
    row = only([1.0] + [0.0] * (n - 1))
    assert ("look skewed" in row.reason) == is_told


def test_skewness_is_tested_by_miao_gel_and_gastwirth() -> None:
    are_skewed = []
    for outlier in (2, 12, 15, 15.7, 16.2, 20, 90):
        d = np.append(np.linspace(-1, 1, 14), outlier)
        median = np.median(d)
        # The statistic √n (mean - median) / J has the variance π / 2 - 1 for symmetric values.
        j = math.sqrt(math.pi / 2) * np.mean(np.abs(d - median))
        statistic = math.sqrt(15) * (d.mean() - median) / j / math.sqrt(math.pi / 2 - 1)
        is_skewed = statistic > 2.5758
        assert ("look skewed" in only(d.tolist()).reason) == is_skewed, statistic
        assert ("look skewed" in only((-d).tolist()).reason) == is_skewed
        are_skewed.append(is_skewed)
    assert are_skewed == [False] * 4 + [True] * 3  # The limit is between 2.57 and 2.60.


class TestClaims:
    def test_are_made_on_the_given_pairs_only_and_share_the_error_rate(self) -> None:
        noise = np.random.default_rng(0).normal(0, 0.006, (3, 10))
        values = {arm: (0.006 * i + noise[i]).tolist() for i, arm in enumerate("abc")}
        rows = paired_differences(values, margin=MARGIN, claims=[("c", "a")])
        assert [(row.arm, row.other, row.verdict) for row in rows] == [
            ("a", "b", None),
            ("a", "c", "worse"),
            ("b", "c", None),
        ]
        assert math.isnan(rows[0].low)
        assert math.isnan(rows[0].high)
        assert compared(values)[1].low < rows[1].low < rows[1].high < 0

    @pytest.mark.parametrize(
        ("low", "high", "verdict", "turned"),
        [
            (0.25, 1.0, "better", "worse"),
            (-1.0, -0.25, "worse", "better"),
            (-0.05, 0.05, "equivalent", "equivalent"),
            (-0.05, 1.0, "not worse", "inconclusive"),
            (-1.0, 0.05, "inconclusive", "not worse"),
            (-1.0, 1.0, "inconclusive", "inconclusive"),
            (-0.25, 1.0, None, None),
        ],
    )
    def test_of_exchanged_arms_are_exchanged(
        self, low: float, high: float, verdict: Any, turned: Any
    ) -> None:
        assert verdict in (None, verdict_of(Ends(low, high, low, high), 0.1))
        rates, bounds = (0.75, 0.5, 0.875), ("few", low, high)
        row = PairedDifference(
            "a", "b", 8, 0.5, low, high, *rates, verdict, "why", -0.25, 2.0, 0.1, *bounds
        )
        numbers = ("b", "a", 8, -0.5, -high, -low, 0.25, 0.125, 0.5, turned, "why", -2.0, 0.25)
        assert row.turned() == PairedDifference(*numbers, 0.1, "few", -high, -low)
        assert row.turned().turned() == row


SPREADS_AGAIN: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.normal(0, 0.01, n),
    "t2": lambda rng, n: 0.01 * rng.standard_t(2, n),
    "tied": lambda rng, n: rng.integers(-2, 3, n) / 360,
}
# These are differences of accuracies on 1000 images, so ties are common.
SOME_DIFFERENCES = st.lists(st.integers(-40, 40).map(lambda n: n / 1000), max_size=25)


class TestErrorRatesOfLookingAgain:
    # A false claim stays visible after the last pair, because intervals only shrink.
    @pytest.mark.parametrize("spread", SPREADS_AGAIN)
    @pytest.mark.parametrize("n_claims", [1, 3])
    def test_without_a_difference_few_claims_are_ever_wrong(
        self, spread: str, n_claims: int
    ) -> None:
        rng, n_runs = np.random.default_rng(n_claims), 4000
        d = SPREADS_AGAIN[spread](rng, n_runs * n_claims * 60).reshape(n_runs, n_claims, 60)
        wrong = (e_process(d.round(12)) >= n_claims / 0.05).any(axis=(1, 2))
        assert wrong.mean() <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / n_runs)

    @pytest.mark.parametrize("spread", SPREADS_AGAIN)
    @pytest.mark.parametrize("n_claims", [1, pytest.param(3, marks=pytest.mark.slow)])
    def test_verdicts_are_wrong_as_rarely_as_the_e_process(
        self, spread: str, n_claims: int
    ) -> None:
        rng, n_runs, n_wrong = np.random.default_rng(7), 120 // n_claims, 0
        for _ in range(n_runs):
            differences = [SPREADS_AGAIN[spread](rng, 60) for _ in range(n_claims)]
            ends = [sequential_interval(d, n_claims) for d in differences]
            n_wrong += any(low > 0 or high < 0 for low, high in ends)
        assert n_wrong / n_runs <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / n_runs)

    @pytest.mark.slow
    @pytest.mark.parametrize("spread", SPREADS_AGAIN)
    @pytest.mark.parametrize("n_first", [10, 20])
    def test_adding_pairs_after_a_fixed_design_is_seldom_wrong(
        self, spread: str, n_first: int
    ) -> None:
        rng, n_runs, n_better, n_worse = np.random.default_rng(n_first), 1500, 0, 0
        for _ in range(n_runs):
            arms = {"a": SPREADS_AGAIN[spread](rng, 60), "b": np.zeros(60)}
            first = {label: of_arm[:n_first] for label, of_arm in arms.items()}
            seen = [
                *paired_differences(first, margin=None),
                *paired_differences(arms, margin=None, sequential=True, after_fixed=True),
            ]
            n_better += any(row.verdict == "better" for row in seen)
            n_worse += any(row.verdict == "worse" for row in seen)
        # With sequential CIs of level 95%, the share would be 3.3 to 3.9% on each side.
        assert (n_better + n_worse) / (2 * n_runs) <= 0.03

    @pytest.mark.slow
    @pytest.mark.parametrize("spread", SPREADS_AGAIN)
    def test_intervals_cover_at_each_of_many_looks(self, spread: str) -> None:
        rng, n_runs = np.random.default_rng(1), 1000
        missed = 0
        for _ in range(n_runs):
            low, high = sequential_interval((0.02 + SPREADS_AGAIN[spread](rng, 60)).round(12), 1)
            missed += not low <= 0.02 <= high
        assert missed / n_runs <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / n_runs)


@pytest.mark.parametrize(("n_claims", "n_seeds"), [(1, 14), (3, 18)])
def test_a_gain_of_one_standard_deviation_is_found_with_few_seeds(
    n_claims: int, n_seeds: int
) -> None:
    rng = np.random.default_rng(0)
    lows = [sequential_interval(d, n_claims)[0] for d in rng.normal(1, 1, (100, n_seeds))]
    assert np.greater(lows, 0).sum() >= 50


class TestIntervalsOfLookingAgain:
    @given(SOME_DIFFERENCES)
    @settings(max_examples=60, deadline=None)
    def test_contain_0_exactly_if_the_e_process_does_not_exclude_it(self, d: list[float]) -> None:
        low, high = sequential_interval(np.array(d), 1)
        if len(d) < fewest_pairs(1, sequential=True):
            assert math.isnan(low)
        else:
            assert (low <= 0 <= high) == (e_process(np.array(d)).max() < 20)

    @given(SOME_DIFFERENCES)
    @settings(max_examples=30, deadline=None)
    def test_only_shrink_with_further_pairs(self, d: list[float]) -> None:
        low, high = -math.inf, math.inf
        for n in range(len(d) + 1):
            now = sequential_interval(np.array(d[:n]), 1)
            if n < fewest_pairs(1, sequential=True):
                assert np.isnan(now).all()
                continue
            if math.isnan(now[0]):
                break
            slack = 1e-5 * (1 if math.isinf(high) else high - low + 0.01)
            assert low - slack <= now[0] <= now[1] <= high + slack
            low, high = now

    @given(SOME_DIFFERENCES, st.sampled_from([-1e-5, 1e-3, -1.0, 1e4]))
    @settings(max_examples=40, deadline=None)
    def test_scale_with_the_differences_and_change_sign_with_them(
        self, d: list[float], factor: float
    ) -> None:
        ends = np.array(sequential_interval(np.array(d), 1)) * factor
        scaled = sequential_interval(np.array(d) * factor, 1)
        # The two searches try different centres, so their ends differ slightly.
        slack = 1e-5 * abs(factor)
        np.testing.assert_allclose(scaled, np.sort(ends), rtol=1e-4, atol=slack)

    @pytest.mark.parametrize("spread", [*SPREADS_AGAIN, "outliers"])
    def test_end_where_the_e_process_begins_to_exclude(self, spread: str) -> None:
        rng = np.random.default_rng(3)
        for n, n_claims in ((9, 1), (15, 2), (40, 3)):
            d = SPREADS_AGAIN.get(spread, SPREADS_AGAIN["normal"])(rng, n)
            if spread == "outliers":
                d[[2, 7]] = 30.0, -5.0
            d = d.round(12)
            low, high = sequential_interval(d, n_claims)
            scale = float(np.subtract(*np.quantile(d, [0.75, 0.25])))
            bulk = np.linspace(*np.quantile(d, [0.1, 0.9]), 501)
            grid = np.concatenate([np.linspace(d.min() - 9, d.max() + 9, 501), bulk, d, [0]])
            possible = grid[e_process(d - grid[:, np.newaxis]).max(axis=1) < n_claims / 0.05]
            assert low - 1e-9 <= possible.min() <= possible.max() <= high + 1e-9
            near_ends = np.array([low, high, low - 1e-3 * scale, high + 1e-3 * scale])
            is_in = e_process(d - near_ends[:, np.newaxis]).max(axis=1) < n_claims / 0.05
            assert is_in.tolist() == [True, True, False, False]

    def test_are_right_for_ties_between_outliers(self) -> None:
        d = np.array([0.0, 1.0] * 12 + [1000.0, -1000.0, 1.0, 0.0])
        low, high = sequential_interval(d, 1)
        assert 0 < low < 0.5 < high < 1
        grid = np.linspace(-1, 2, 3001)
        possible = grid[e_process(d - grid[:, np.newaxis]).max(axis=1) < 20]
        np.testing.assert_allclose((low, high), possible[[0, -1]], atol=1.1e-3)


class TestIntervalsOfManyPairs:
    SPREADS: ClassVar[dict[str, Callable[[np.random.Generator, int], np.ndarray]]] = {
        **SPREADS_AGAIN,
        "exponential": lambda rng, n: rng.exponential(size=n),
        "outliers": lambda rng, n: np.where(rng.random(n) < 0.02, 30, rng.normal(0, 0.01, n)),
        "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.8, 0, rng.normal(size=n)),
        "equal": lambda _, n: np.full(n, 0.3),
        "at the edge": lambda rng, n: rng.normal(0.15, 1, n),
        "of two distributions": lambda _, n: np.resize([1.0] * 20 + [-1.0] * 20, n),
    }

    @pytest.mark.parametrize("spread", SPREADS)
    @pytest.mark.parametrize(
        ("n", "n_claims"),
        [(257, 3), (300, 1), pytest.param(700, 3, marks=pytest.mark.slow)],
    )
    def test_contain_all_centres_that_an_exhaustive_search_finds(
        self, spread: str, n: int, n_claims: int
    ) -> None:
        d = self.SPREADS[spread](np.random.default_rng(n), n).round(12)
        (low, high), _ = _hull(d, _candidates(d), n_claims / 0.05)
        ends = sequential_interval(d, n_claims)
        if math.isnan(low):
            assert np.isnan(ends).all()
            return
        assert ends[0] <= low <= high <= ends[1]
        assert ends == pytest.approx((low, high), abs=1e-4 * (high - low))

    def test_contain_0_exactly_if_the_e_process_does_not_exclude_it(self) -> None:
        holds_0 = set()
        for seed in range(12):
            d = np.random.default_rng(seed).normal(0.18, 1, 400).round(12)
            low, high = sequential_interval(d, 1)
            assert (low <= 0 <= high) == (e_process(d).max() < 20)
            holds_0.add(low <= 0 <= high)
        assert holds_0 == {True, False}

    @pytest.mark.slow
    def test_of_100_000_pairs_are_computed(self) -> None:
        # To try all centres of so many pairs one by one would take hours.
        low, high = sequential_interval(np.random.default_rng(0).normal(0.5, 1, 100_000), 1)
        assert 0.3 < low < 0.5 < high < 0.7


def test_the_fewest_sequential_pairs_follow_from_the_e_process() -> None:
    for m in (1, 45, 780, 4950):
        n = fewest_pairs(m, sequential=True)
        assert e_process(np.ones(n))[-1] >= m / 0.05 > e_process(np.ones(n - 1))[-1]
        equal = np.full(n, -1 / 3)
        assert sequential_interval(equal, m) == (round(-1 / 3, 12), round(-1 / 3, 12))
        assert np.isnan(sequential_interval(equal[1:], m)).all()


def test_many_claims_have_the_intervals_of_each_alone() -> None:
    rng = np.random.default_rng(0)
    values = {f"a{i}": rng.normal(size=20).tolist() for i in range(10)}
    values["a3"][17:] = [math.nan] * 3  # Claims on a3 have 17 pairs.
    for row in paired_differences(values, margin=None):
        d = np.subtract(values[row.arm], values[row.other])[: row.n_pairs]
        assert (row.low, row.high) == pytest.approx(planned_interval(d, 45), abs=1e-11)


def test_the_e_value_has_its_definition() -> None:
    d = [0.01, 0.03, 0.0, -0.02, 0.05]
    rates = np.array([0.25, 0.35, 0.5, 0.7, 1, 1.4, 2])
    products = np.ones(14)
    for i, value in enumerate(d):
        z = np.append(rates, -rates) * value / math.sqrt(np.mean(np.square(d[: i + 1])))
        products *= np.exp(z) / np.cosh(z)
    assert e_process(np.array(d))[[0, -1]] == pytest.approx([1, products.mean()])
    assert np.isnan(sequential_interval(np.array([]), 1)).all()


def test_equivalent_takes_precedence() -> None:
    assert verdict_of(Ends(0.0001, 0.0009, 0.0002, 0.0008), 0.001) == "equivalent"
    assert verdict_of(Ends(0.0001, 0.0011, 0.0002, 0.0010), 0.001) == "better"
    assert verdict_of(Ends(-0.0012, -0.0001, -0.0011, -0.0002), 0.001) == "worse"
    assert verdict_of(Ends(-0.0012, 0.0001, -0.0009, 0.0), 0.001) == "not worse"
    assert verdict_of(Ends(), 0.001) == "inconclusive"
