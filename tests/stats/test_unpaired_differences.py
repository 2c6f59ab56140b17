"""Differences of means of values that are not paired."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adnn_optuna.stats.unpaired_differences import unpaired_differences

ONE, TWO = [1.0, 2.0, 4.0, 3.0, 5.0, 2.0, 3.0, 4.0], [2.0, 3.0, 5.0, 4.0, 6.5, 3.0, 4.0, 5.0]


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
