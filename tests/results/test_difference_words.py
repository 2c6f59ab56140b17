"""Verdict words, tables, notes and figures of differences, for all kinds of comparisons."""

from __future__ import annotations

import math
from typing import Any

import pytest

from adnn_optuna._units import ACCURACY, PLAIN, Estimate, columns
from adnn_optuna.render.document import Document, Line
from adnn_optuna.render.figures import to_plotly
from adnn_optuna.render.text import to_text
from adnn_optuna.results.difference_words import (
    LABEL_WIDTH,
    difference_line,
    difference_notes,
    differences_frame,
    differences_table,
    interval_figure,
    short_labels,
    with_short_labels,
)
from adnn_optuna.results.value_figures import values_figure
from adnn_optuna.stats.paired_differences import PairedDifference, paired_differences


def difference(**changes: Any) -> PairedDifference:
    settings: dict[str, Any] = {"arm": "a", "other": "b", "n_pairs": 8, "verdict": "inconclusive"}
    settings |= {"mean": 0.01, "low": -0.002, "high": 0.02, "worst": -0.004}
    settings |= {"win_rate": 0.625, "win_rate_low": 0.245, "win_rate_high": 0.915}
    return PairedDifference(**{**settings, **changes})


UNKNOWN = difference(
    arm="a name that is long",
    other="18 characters long",
    n_pairs=3,
    verdict=None,
    reason="too few",
    **dict.fromkeys(("mean", "low", "high", "worst", "win_rate_low", "win_rate_high"), math.nan),
)


class TestWords:
    @pytest.mark.parametrize(
        "name", ["{}x", "x{}", 20 * "a" + "{}" + 20 * "b", "日本{}" + 9 * "日"]
    )
    def test_short_labels_differ_if_the_names_do(self, name: str) -> None:
        names = [name.format(20 * "a" + end) for end in "123"] + ["random"]
        short = short_labels(names)
        assert len({*short.values()}) == 4
        assert all(sum(map(columns, label)) <= LABEL_WIDTH for label in short.values())
        assert short["random"].startswith("random")

    def test_many_ties_are_noted_once(self) -> None:
        values = {"a": 10 * [0.5, 0.6], "b": 10 * [0.5, 0.7], "c": 10 * [0.6, 0.6]}
        values["few"] = [0.1 * i for i in range(20)]

        def notes(arms: str) -> str:
            rows = paired_differences({arm: values[arm] for arm in arms.split()}, margin=None)
            return " ".join(difference_notes(rows, PLAIN, "fixed", n_claims={}))

        assert notes("a b c").count("20 of 60 pairs have equal values") == 1
        assert "equal values" not in notes("a few")
        values["copy"] = values["a"]
        assert "All 20 differences are 0 (" in notes("a copy")
        assert "a vs copy: all differences are equal. So the CI is widened" in notes("a copy")

    def test_a_line_has_an_interval_only_if_its_ends_are_finite(self) -> None:
        line = difference_line(difference(), ACCURACY)
        assert (line.value, line.ends) == ("+1.0 pp", "-0.2 to +2.0")
        assert line.remark.startswith("inconclusive")
        # For contradictory pairs, the ends are NaN.
        for end in (math.inf, math.nan):
            assert difference_line(difference(low=-end, high=end), PLAIN).ends == ""


class TestTable:
    def test_fits_into_80_columns_with_long_names(self) -> None:
        rows = [difference(arm="random_restart_0", other="greedy_improving"), UNKNOWN]
        labels = [label for row in rows for label in (row.arm, row.other)]
        table = differences_table(with_short_labels(rows, labels), ACCURACY, "fixed")
        text = to_text(Document("t", "no claim", tables=[table]))
        assert max(map(len, text.splitlines())) <= 80
        assert "random_…tart_0 vs greedy_…roving" in text
        assert "no claim" in text

    def test_as_a_frame_is_indexed_by_both_arms(self) -> None:
        table = differences_frame([difference(verdict="better"), UNKNOWN], "model")
        assert [*table.index.names] == ["model", "other"]
        columns = (
            "pairs difference low high win_rate win_rate_low win_rate_high worst verdict reason"
        )
        assert [*table.columns] == columns.split()
        assert table["verdict"].tolist() == ["better", "no claim"]
        assert table["pairs"].tolist() == [8, 3]
        nothing = differences_frame([], "sampler")
        assert [*nothing.index.names] == ["sampler", "other"]
        assert [*nothing.columns] == [*table.columns]


class TestNotes:
    def test_say_each_thing_once(self) -> None:
        rows = [difference(margin=0.005), difference(margin=0.005, verdict="not worse"), UNKNOWN]
        claims = {"samplers": 3, "controls": 2}
        notes = difference_notes(
            [*rows, UNKNOWN], ACCURACY, "fixed", n_claims=claims, maximize=False
        )
        assert len(set(notes)) == len(notes)
        pair = f"{UNKNOWN.arm} vs {UNKNOWN.other}"
        assert notes[0] == f"{pair}, {pair}: too few."
        assert difference_notes([UNKNOWN], PLAIN, "fixed", n_claims={})[0] == "Too few."


class TestFigures:
    def test_of_intervals_color_those_that_exclude_zero(self) -> None:
        estimates = {
            "better": Estimate(0.01, 0.002, 0.02),
            "worse": Estimate(-0.01, -0.02, -0.002),
            "open": Estimate(0.01, -0.002, 0.02),
            "equivalent": Estimate(0.0001, -0.0002, 0.0004),
            "few": Estimate(0.01),
            "unknown": Estimate(math.nan, math.nan, math.nan),
        }
        lines = [
            Line(label, estimate, ACCURACY, is_difference=True, remark=label)
            for label, estimate in estimates.items()
        ]
        figure = interval_figure(
            "gains", "Gains", "gain [pp]", lines, margin=0.001, hollow=["open"]
        )
        assert figure.rows == [*estimates]
        assert [series.color for series in figure.series] == [2, 4, None, 0, None]
        marks = [series.mark for series in figure.series]
        assert marks == ["points", "points", "rings", "points", "points"]
        assert figure.series[0].label == "+1.00 pp, better"
        assert figure.margin == pytest.approx(0.1)
        assert figure.caption.endswith(" Shaded band: differences up to 0.1 pp.")
        narrow = interval_figure("gains", "Gains", "gain [pp]", lines, margin=1e-4)
        assert narrow.caption == "Points: differences. Bars: their 95% CIs."
        bars = [point.error_x.array for point in to_plotly(figure).data[:5]]
        assert [bar is None for bar in bars] == [False, False, False, False, True]
        empty = interval_figure("g", "G", "", [], if_empty="Nothing was tested.")
        assert to_plotly(empty).layout.annotations[0].text == "Nothing was tested."

    def test_of_values_show_each_value_and_the_means(self) -> None:
        values = {"a": [0.1, 0.2, math.nan], "b": [0.3, 0.1, 0.5]}
        names = ["seed 3", "seed 4", "seed 5"]
        figure = values_figure("v", "value", values, PLAIN, names=names, lower_is_better=False)
        dots, mean, other_dots, other_mean = figure.series
        assert [*dots.x] == [0.1, 0.2]
        assert [*other_dots.x] == [0.3, 0.1, 0.5]
        assert [*dots.hover] == ["a, seed 3: 0.1000", "a, seed 4: 0.2000"]
        assert [*mean.x, *other_mean.x] == pytest.approx([0.15, 0.3])
        assert figure.title == "Best mean value: 0.3000 (b)"
        nothing = values_figure("v", "value", {"a": [math.nan]}, PLAIN, lower_is_better=False)
        assert not nothing.series
        to_plotly(figure)
