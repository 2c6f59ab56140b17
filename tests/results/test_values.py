"""Comparisons of values that were measured elsewhere: their numbers and their sentences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from snapshots import assert_states, assert_surfaces

from adnn_optuna.results.arm_comparison import ValueComparison, ValueTable
from adnn_optuna.stats.paired_differences import PairedDesign

NAMES = tuple("abcdefgh")
ONE, TWO = [1.0, 2.0, 4.0, 3.0, 5.0, 2.0, 3.0, 4.0], [2.0, 3.0, 5.0, 4.0, 6.5, 3.0, 4.0, 5.0]


def of_values(
    values: dict[str, list[float]],
    names: tuple[str, ...],
    *,
    margin: float | None = None,
    sequential: bool = False,
    per: str = "seed",
    **settings: Any,
) -> ValueComparison:
    design = PairedDesign(
        *([f"{per} {name}" for name in names], len(names)), margin=margin, sequential=sequential
    )
    return ValueComparison(ValueTable(values, design, per=per, **settings), names)


def test_surfaces_of_values() -> None:
    values = {"one": ONE, "two": TWO, "a long name & <b>": [*ONE[1:], 2.0]}
    comparison = of_values(values, NAMES, maximize=False, margin=1.5, baseline="one")
    assert_surfaces("values", comparison)


def test_surfaces_of_states() -> None:
    steady, seeds = [0.9 + 0.001 * (i % 5) for i in range(24)], tuple(map(str, range(24)))
    worse = [value - 0.01 for value in steady]
    rarely = [0.5 if i % 3 == 0 else value + 0.004 for i, value in enumerate(steady)]
    with_outlier, far_worse = (
        [*worse[:-1], 0.2],
        [*(value - 0.2 for value in steady[:-2]), 0.2, 0.2],
    )
    states = {
        "nothing shown": of_values({"a": ONE, "b": [*ONE[1:], 2.0]}, NAMES),
        "better": of_values({"a": steady, "b": worse}, seeds),
        "better on average": of_values({"a": steady, "b": rarely}, seeds),
        "an outlier": of_values({"a": steady, "b": with_outlier}, seeds),
        "unpaired": of_values({"a": steady, "b": far_worse}, (), is_paired=False),
        "equivalent": of_values({"a": ONE, "b": TWO}, NAMES, margin=3.0),
        "a gap": of_values({"one": ONE, "two": [*TWO[:-1], math.nan]}, NAMES, per="fold"),
        "sequential": of_values({"a": steady, "b": worse}, seeds, sequential=True),
    }
    assert_states("values", states)


@pytest.mark.parametrize("maximize", [True, False])
def test_a_hard_row_is_no_outlier_but_a_value_of_one_arm_is(*, maximize: bool) -> None:
    rng = np.random.default_rng(0)
    easy = rng.normal(0, 0.01, 20) - 2.0 * (np.arange(20) == 5)  # Row 5 is hard for every arm.
    a, b, c = (easy + rng.normal(0, noise, 20) for noise in (0.002, 0.002, 0.05))
    sign = 1 if maximize else -1
    c -= 2.0 * (np.arange(20) == 3)
    arms: Any = {"a": sign * a, "b": sign * b, "c": sign * c}
    document = of_values(arms, (*map(str, range(20)),), maximize=maximize).document()
    assert document.verdict == "inconclusive"
    assert "Check the outliers (c: seed 3): " in document.notes[0]


def test_if_a_gap_leaves_few_rows_no_arm_has_the_best_mean() -> None:
    gap = of_values({"one": [*ONE[:3], math.nan, *ONE[4:]], "two": TWO}, NAMES).document()
    assert "best mean" not in gap.conclusion
    assert "one has no finite value at seed d" in gap.conclusion
    assert gap.scope == "3 of 8 seeds"


@pytest.mark.parametrize(("baseline", "is_noted"), [(None, True), ("one", False)])
def test_the_choice_of_an_arm_is_noted_unless_a_baseline_leaves_none(
    baseline: str | None, *, is_noted: bool
) -> None:
    notes = of_values({"one": ONE, "two": TWO}, NAMES, baseline=baseline).document().notes
    assert any("If you choose one arm" in note for note in notes) == is_noted


def test_the_best_arm_is_compared_with_the_nearest_four() -> None:
    rng = np.random.default_rng(0)
    arms: Any = {f"m{i}": 0.1 * (i % 7) + rng.normal(0, 0.01, 12) for i in range(7)}
    document = of_values(arms, (*map(str, range(12)),)).document()
    assert [line.label for line in document.estimates] == [f"m6 vs m{i}" for i in (5, 4, 3, 2)]
    assert "The 4 best others are compared below." in document.conclusion
    assert "No arm" not in document.conclusion  # The best arm is shown to be better.


def test_figures_have_the_rows_and_values_of_the_tables() -> None:
    one, two = "model_with_a_long_name_1", "model_with_a_long_name_2"
    comparison = of_values({one: [*ONE[:-1], math.nan], two: TWO}, NAMES)
    differences, values = comparison.document().figures()
    means = [point.x[0] for point in values.series if point.mark == "squares"]
    means_of_table = [float(row[1]) for row in comparison.document().tables[0].rows]
    assert means == pytest.approx(means_of_table[::-1], abs=5e-4)
    assert [*differences.rows] == [line.label for line in comparison.document().estimates]


def test_a_figure_names_the_level_after_added_seeds() -> None:
    steady = [0.9 + 0.001 * (i % 5) for i in range(24)]
    design = PairedDesign([*map(str, range(24))], 24, sequential=True, after_fixed=True)
    table = ValueTable({"a": steady, "b": [value - 0.01 for value in steady]}, design)
    figure, _ = ValueComparison(table).document().figures()
    assert ", 99% CI " in figure.series[0].hover[0]
