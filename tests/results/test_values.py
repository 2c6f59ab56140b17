"""Comparisons of values that were measured elsewhere: their numbers and their sentences."""

from __future__ import annotations

import math

import pytest
from snapshots import assert_surfaces

from adnn_optuna.results.values import ValueComparison

NAMES = tuple("abcdefgh")
ONE, TWO = [1.0, 2.0, 4.0, 3.0, 5.0, 2.0, 3.0, 4.0], [2.0, 3.0, 5.0, 4.0, 6.5, 3.0, 4.0, 5.0]


def test_surfaces() -> None:
    values = {"one": ONE, "two": TWO, "a long name & <b>": [*ONE[1:], 2.0]}
    found = ValueComparison(values, NAMES, maximize=False, margin=1.5, baseline="one")
    assert_surfaces("values", found)


class TestPaired:
    def test_lower_is_better_where_that_is_said(self) -> None:
        higher = ValueComparison({"one": ONE, "two": TWO}, NAMES)
        lower = ValueComparison({"one": ONE, "two": TWO}, NAMES, maximize=False)
        [up], [down] = higher.paired_differences, lower.paired_differences
        assert (up.mean, up.low, up.high) == (-down.mean, -down.high, -down.low)
        assert (up.verdict, down.verdict) == ("worse", "better")
        assert (up.win_rate, down.win_rate) == (0, 1)

    def test_a_missing_value_leaves_the_means_of_other_arms(self) -> None:
        facts = ValueComparison({"one": ONE, "two": [*TWO[:3], math.nan, *TWO[4:]]}, NAMES)
        table = facts.table()
        assert [*table["seeds"]] == [8, 3]
        assert [*table["value"]] == pytest.approx([3.0, 10 / 3])
        assert [row[-1] for row in facts.document().tables[0].rows] == ["8", "3"]
        # The best mean is of the rows that all arms have.
        assert facts.ranked == ["two", "one"]
        assert "two has the best mean value, 3.333 over 3 seeds." in str(facts)
        assert facts.n_values == 3
        [row] = facts.paired_differences
        assert row.reason.endswith("only pairs before seed d count, which lacks a finite value")

    def test_one_that_lacks_the_last_is_named_too(self) -> None:
        facts = ValueComparison({"one": ONE, "two": [*TWO[:-1], math.nan]}, NAMES, "fold")
        assert facts.paired_differences[0].reason == (
            "only pairs before fold h count, which lacks a finite value"
        )
        assert not facts.is_of_new_data
