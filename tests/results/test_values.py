"""Comparisons of values that were measured elsewhere: their numbers and their sentences."""

from __future__ import annotations

import math

from snapshots import assert_surfaces

from adnn_optuna.results.values import ValueComparison

NAMES = tuple("abcdefgh")
ONE, TWO = [1.0, 2.0, 4.0, 3.0, 5.0, 2.0, 3.0, 4.0], [2.0, 3.0, 5.0, 4.0, 6.5, 3.0, 4.0, 5.0]


def test_surfaces() -> None:
    values = {"one": ONE, "two": TWO, "a long name & <b>": [*ONE[1:], 2.0]}
    found = ValueComparison(values, NAMES, maximize=False, margin=1.5, baseline="one")
    assert_surfaces("values", found)


class TestPaired:
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


def _line(text: str) -> str:
    return " ".join(text.split())
