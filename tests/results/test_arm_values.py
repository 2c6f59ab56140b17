"""Arms of which each has one value for a seed: units, means, and intervals of unpaired values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adnn_optuna._units import PLAIN, params_in_words
from adnn_optuna.results.arm_values import (
    ValueComparisonFacts,
    unit_of_values,
    unpaired_differences,
)

NAMES = tuple("abcdefgh")
ONE, TWO = [1.0, 2.0, 4.0, 3.0, 5.0, 2.0, 3.0, 4.0], [2.0, 3.0, 5.0, 4.0, 6.5, 3.0, 4.0, 5.0]


class TestUnits:
    @pytest.mark.parametrize(
        ("arms", "digits"),
        [
            ([[0.91, 0.92]], 5),  # A spread of .007: three digits of it.
            ([[1000.0, 1000.001]], 5),  # But nine digits at the most.
            ([[0.1] * 5], 4),  # Of which the standard deviation is 1.6e-17.
            ([[1e6, 2e6]], 0),
            ([[0.91, 0.92, 1e20], [1e20, 0.9]], 5),
            ([[1e-9, 2e-9]], 12),
            ([[7.0]], 4),
            ([[7.0, 7.0]], 4),
            ([[3e-6, 3e-6]], 8),
        ],
    )
    def test_show_what_tells_values_apart(self, arms: list[list[float]], digits: int) -> None:
        assert unit_of_values(arms).digits == digits

    def test_show_differences_that_are_far_smaller_than_what_pairs_have_in_common(self) -> None:
        arms = [np.array([0.5, 0.7, 0.9]), np.array([0.5004, 0.7005, 0.9003])]
        assert unit_of_values(arms).digits == 3
        assert unit_of_values(arms, are_paired=True).digits == 6

    def test_are_plain_where_nothing_is_known(self) -> None:
        for arms in ([], [[]], [[0.0, 0.0]], [[math.nan, math.inf]]):
            assert unit_of_values(arms) is PLAIN


def test_parameters_that_are_whole_or_no_numbers_are_told_as_they_are() -> None:
    params = {"units": 12345, "rate": 0.0123456, "bias": True, "kind": "a"}
    assert params_in_words(params) == "units=12345, rate=0.01235, bias=True, kind=a"


class TestPaired:
    def test_lower_is_better_where_that_is_said(self) -> None:
        higher = ValueComparisonFacts({"one": ONE, "two": TWO}, NAMES)
        lower = ValueComparisonFacts({"one": ONE, "two": TWO}, NAMES, maximize=False)
        [up], [down] = higher.paired_differences, lower.paired_differences
        assert (up.mean, up.low, up.high) == (-down.mean, -down.high, -down.low)
        assert (up.verdict, down.verdict) == ("worse", "better")
        assert (up.win_rate, down.win_rate) == (0, 1)

    def test_means_are_of_the_rows_that_all_have(self) -> None:
        facts = ValueComparisonFacts({"one": ONE, "two": [*TWO[:3], math.nan, *TWO[4:]]}, NAMES)
        table = facts.table()
        assert [*table["seeds"]] == [3, 3]
        assert [*table["value"]] == pytest.approx([7 / 3, 10 / 3])
        assert facts.n_values == 3
        [row] = facts.paired_differences
        assert row.reason.endswith("the evidence ends before seed d, which lacks a finite value")

    def test_one_that_lacks_the_last_is_named_too(self) -> None:
        facts = ValueComparisonFacts({"one": ONE, "two": [*TWO[:-1], math.nan]}, NAMES, "fold")
        assert facts.paired_differences[0].reason == (
            "the evidence ends before fold h, which lacks a finite value"
        )
        assert not facts.is_of_new_data


class TestUnpaired:
    def test_share_the_error_rate(self) -> None:
        values = {"one": ONE, "two": TWO, "three": ONE}
        two = unpaired_differences({"one": ONE, "two": TWO}, margin=None)
        three = unpaired_differences(values, margin=None)
        assert three[0].high - three[0].low > two[0].high - two[0].low
        assert len(three) == 3

    def test_margin_and_superiority(self) -> None:
        [row] = unpaired_differences({"one": ONE, "two": ONE[:5]}, margin=9.0)
        assert (row.verdict, row.n_pairs) == ("equivalent", 5)
        above = np.subtract.outer(ONE, ONE[:5])
        assert row.win_rate == pytest.approx(((above > 0) + 0.5 * (above == 0)).mean())
        assert math.isnan(row.win_rate_low)

    def test_many_values_need_no_memory_for_all_their_pairs(self) -> None:
        values = np.random.default_rng(0).normal(size=100_000).tolist()
        [row] = unpaired_differences({"one": values, "two": values}, margin=0.1)
        assert (row.verdict, row.win_rate) == ("equivalent", 0.5)

    @pytest.mark.parametrize(
        ("one", "two"),
        [([1.0], ONE), ([1.0, 1.0], [2.0, 2.0]), ([0.3, 0.1 + 0.2, 0.3], [0.5] * 3)],
    )
    def test_nothing_is_decided_without_a_spread(self, one: list[float], two: list[float]) -> None:
        [row] = unpaired_differences({"one": one, "two": two}, margin=9.0)
        assert (row.low, row.high, row.verdict) == (-math.inf, math.inf, "inconclusive")
        assert row.reason
