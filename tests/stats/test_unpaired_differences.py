"""Differences of means of unpaired values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from adnn_optuna.stats.unpaired_differences import unpaired_differences

if TYPE_CHECKING:
    from adnn_optuna.stats.paired_differences import PairedDifference

Draw = Callable[[np.random.Generator, int], np.ndarray]

ONE, TWO = [1.0, 2.0, 4.0, 3.0, 5.0, 2.0, 3.0, 4.0], [2.0, 3.0, 5.0, 4.0, 6.5, 3.0, 4.0, 5.0]


N_WORLDS = 400
SAME_SHAPE: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "heavy tails": lambda rng, n: rng.standard_t(2, size=n),
    "collapses": lambda rng, n: rng.normal(size=n) - 15 * (rng.random(n) < 0.1),
    "ties": lambda rng, n: rng.binomial(3, 0.5, size=n).astype(float),
}


def compared(one: np.ndarray, two: np.ndarray) -> PairedDifference:
    [row] = unpaired_differences({"one": one.tolist(), "two": two.tolist()}, margin=None)
    return row


def share_of_claims(seed: int, draw_one: Draw, draw_two: Draw, sizes: tuple[int, int]) -> float:
    """Return the share of worlds in which one arm is claimed to be better."""
    rng, n_claims = np.random.default_rng(seed), 0
    for _ in range(N_WORLDS):
        row = compared(draw_one(rng, sizes[0]), draw_two(rng, sizes[1]))
        n_claims += row.verdict in ("better", "worse")
    return n_claims / N_WORLDS


class TestClaims:
    @pytest.mark.parametrize(
        "sizes",
        [
            (6, 18),
            *(pytest.param(n, marks=pytest.mark.slow) for n in ((5, 5), (20, 20), (20, 60))),
        ],
    )
    @pytest.mark.parametrize(
        "draw",
        [
            pytest.param(draw, id=name, marks=[pytest.mark.slow] * (name != "collapses"))
            for name, draw in SAME_SHAPE.items()
        ],
    )
    def test_between_equal_arms_are_rare(self, draw: Draw, sizes: tuple[int, int]) -> None:
        # With Welch's test alone, 11% of claims would be false for 10 and 30 collapsing values.
        assert share_of_claims(sum(sizes), draw, draw, sizes) <= 0.065

    @pytest.mark.parametrize("sizes", [(5, 5), (5, 10), (10, 5)])
    def test_between_unequal_spreads_are_rare(self, sizes: tuple[int, int]) -> None:
        # With the permutation test alone, 9% of claims would be false for 4 wide and 8 narrow
        # values.
        wide: Draw = lambda rng, n: 3 * rng.normal(size=n)  # noqa: E731
        assert share_of_claims(0, wide, SAME_SHAPE["normal"], sizes) <= 0.065

    def test_are_as_frequent_as_those_of_students_t(self) -> None:
        rng, n_claims, n_of_t = np.random.default_rng(1), 0, 0
        for _ in range(N_WORLDS):
            first, second = rng.normal(1, 1, 10), rng.normal(size=10)
            n_claims += compared(first, second).verdict == "better"
            n_of_t += stats.ttest_ind(first, second).pvalue < 0.05
        assert n_claims >= 0.95 * n_of_t > 0.5 * N_WORLDS

    def test_always_name_their_assumption(self) -> None:
        """Exponential and narrow values with equal means violate the assumption, so claims are
        too often false.
        """
        rng = np.random.default_rng(2)
        rows = [compared(rng.exponential(size=n), rng.normal(1, 0.1, n)) for n in (10, 60)]
        for row in (*rows, rows[0].turned()):
            assert row.assumption == "that the arms differ in their means only"

    def test_of_not_worse_use_a_one_sided_bound(self) -> None:
        rng = np.random.default_rng(0)
        first, second = rng.normal(size=(2, 400))
        row = compared(first, second)
        welch = stats.ttest_ind(first, second, equal_var=False, alternative="greater")
        assert row.low < row.at_least < row.at_most < row.high
        assert row.at_least == pytest.approx(welch.confidence_interval(0.95).low)

    def test_need_enough_permutations(self) -> None:
        few = compared(np.arange(3.0), np.arange(10.0, 13.0))
        assert few.verdict == "inconclusive"
        assert few.reason == "no CI yet: 3 and 3 values have too few permutations"
        assert compared(np.arange(4.0), np.arange(10.0, 14.0)).verdict == "worse"

    def test_do_not_depend_on_the_unit(self) -> None:
        first, second = np.array(ONE), np.array(TWO)
        row, scaled = compared(first, second), compared(1e-30 * first + 0.0, 1e-30 * second)
        assert (scaled.low, scaled.high) == pytest.approx((1e-30 * row.low, 1e-30 * row.high))
        turned = compared(second, first)
        assert (turned.low, turned.high) == pytest.approx((-row.high, -row.low))


class TestUnpaired:
    def test_share_the_error_rate(self) -> None:
        values = {"one": ONE, "two": TWO, "three": ONE}
        two = unpaired_differences({"one": ONE, "two": TWO}, margin=None)
        three = unpaired_differences(values, margin=None)
        assert three[0].high - three[0].low > two[0].high - two[0].low
        assert len(three) == 3

    def test_a_wide_margin_makes_equal_arms_equivalent(self) -> None:
        [row] = unpaired_differences({"one": ONE, "two": ONE[:5]}, margin=9.0)
        assert (row.verdict, row.n_pairs) == ("equivalent", 5)
        above = np.subtract.outer(ONE, ONE[:5])
        assert row.win_rate == pytest.approx(((above > 0) + 0.5 * (above == 0)).mean())
        assert math.isnan(row.win_rate_low)

    def test_many_values_need_little_memory(self) -> None:
        values = np.random.default_rng(0).normal(size=100_000).tolist()
        [row] = unpaired_differences({"one": values, "two": values}, margin=0.1)
        assert (row.verdict, row.win_rate) == ("equivalent", 0.5)

    @pytest.mark.parametrize(
        ("one", "two"),
        [([1.0], ONE), ([1.0, 1.0], [2.0, 2.0]), ([0.3, 0.1 + 0.2, 0.3], [0.5] * 3)],
    )
    def test_nothing_is_decided_without_a_spread(self, one: list[float], two: list[float]) -> None:
        [row] = unpaired_differences({"one": one, "two": two}, margin=9.0)
        assert np.isnan([row.low, row.high]).all()
        assert row.verdict == "inconclusive"
        assert row.reason.startswith("no CI")
