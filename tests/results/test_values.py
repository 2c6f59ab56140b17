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
        facts = ValueComparison({"one": ONE, "two": [*TWO[:-1], math.nan]}, NAMES, per="fold")
        assert facts.paired_differences[0].reason == (
            "only pairs before fold h count, which lacks a finite value"
        )
        assert not facts.is_of_new_data


class TestCollapses:
    STEADY = tuple(0.9 + 0.001 * (i % 5) for i in range(24))

    def test_are_named_beside_what_is_better_on_average(self) -> None:
        other = [*(value - 0.01 for value in self.STEADY[:-1]), 0.2]
        seeds = tuple(map(str, range(24)))
        paired = str(ValueComparison({"a": self.STEADY, "b": other}, seeds))
        assert "a is better than b for most seeds, with rare collapses (b: seed 23)." in _line(
            paired
        )
        assert "collapses" not in str(
            ValueComparison({"a": self.STEADY, "b": [*other[:-1], 0.89]}, seeds)
        )

    def test_of_values_that_are_not_paired_are_numbered(self) -> None:
        other = [*(value - 0.2 for value in self.STEADY[:-2]), 0.2, 0.2]
        found = ValueComparison({"a": self.STEADY, "b": other}, (), is_paired=False)
        assert "with rare collapses (b: value 23 and value 24)." in _line(str(found))


class TestUnpaired:
    def test_few_values_name_what_their_verdict_assumes(self) -> None:
        found = ValueComparison({"a": TWO, "b": [v - 9 for v in TWO]}, (), is_paired=False)
        said = "a is better than b on average, assuming that the arms differ in their means only."
        assert said in _line(str(found))
        [reason] = found.differences()["reason"]
        assert reason == "assuming that the arms differ in their means only"
        equal = ValueComparison({"a": TWO, "b": TWO}, (), is_paired=False)
        assert "assuming" not in str(equal)


def _line(text: str) -> str:
    return " ".join(text.split())
