"""Figures draw the marks, names and intervals of their series in colors that readers can tell."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from render_documents import EVIL, figures

from adnn_optuna.render.document import Figure, Mark, Series
from adnn_optuna.render.figures import COLORS, CONTROL_COLOR, DARK_COLORS, standalone, to_plotly

MADE = {figure.key: figure for figure in figures()}


def test_rows_draw_intervals_labels_and_the_margin() -> None:
    figure = to_plotly(MADE["rows"])
    points = figure.data[0]
    assert [*points.error_x.array] == [*points.error_x.arrayminus] == [0.5] * 4
    assert [*points.text] == ["+1.00"] * 4
    assert [*figure.layout.yaxis.ticktext] == [f"{i}: arm" for i in range(4)]
    band = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert [(shape.x0, shape.x1) for shape in band] == [(-0.1, 0.1)]
    assert [trace.marker.color for trace in figure.data[:4]] == [
        COLORS[0],
        CONTROL_COLOR,
        COLORS[2],
        COLORS[1],
    ]


def test_lines_draw_bands_and_the_target() -> None:
    figure = to_plotly(MADE["lines"])
    band, line, steps, grey, _ = figure.data
    assert [*band.y] == [0.5, 1.5, 2.5, 3.5, 2.5, 1.5, 0.5, -0.5]
    assert (line.name, steps.line.shape, grey.line.color) == ("arm", "hv", CONTROL_COLOR)
    assert figure.layout.shapes[0].y0 == 2.0


def test_labels_stand_at_the_ends_of_lines_and_never_overlap() -> None:
    ends = [7.0, 1.0, 1.0, 1.0, 9.0]
    series = [Series(f"arm {i}", [0, 1], [0.0, end], color=i) for i, end in enumerate(ends)]
    layout = to_plotly(Figure("key", "A title", "x", "y", series)).layout
    assert not layout.template.layout.showlegend
    labels = layout.yaxis2
    assert [text.partition(" arm ")[2] for text in labels.ticktext][3:] == ["0", "4"]
    for text in labels.ticktext:
        assert COLORS[int(text[-1])] in text
    low, high = layout.yaxis.range
    assert min(np.diff(labels.tickvals)) >= 15 / 250 * (high - low)
    assert labels.tickvals[1:] == pytest.approx([1.0, labels.tickvals[2], 7.0, 9.0])
    crowd = [replace(series[0], label=f"arm {i}") for i in range(100)]
    drawing = to_plotly(Figure("key", "A title", "x", "y", crowd))
    assert drawing.layout.height > 100 * 15
    low, high = drawing.layout.yaxis.range
    assert low < min(drawing.layout.yaxis2.tickvals) < max(drawing.layout.yaxis2.tickvals) < high


def test_an_axis_with_few_whole_numbers_has_whole_tick_marks() -> None:
    def axis(*x: float) -> Any:
        points = Series("", x, [0.0] * len(x), "points")
        return to_plotly(Figure("key", "A title", "x", "y", [points])).layout.xaxis

    assert axis(0).range == (-0.5, 0.5)
    assert axis(0, 1, 2).dtick == 1
    assert axis(0, 1, 20).dtick is axis(0.0, 1.5).dtick is None


def test_colored_points_have_a_color_scale() -> None:
    figure = to_plotly(MADE["places"])
    assert [*figure.data[0].marker.color] == [0.0, 1.0, 2.0, 3.0]
    assert figure.layout.coloraxis.colorbar.title.text == "value"


def test_a_standalone_figure_has_its_title_and_its_caption() -> None:
    title = standalone(replace(MADE["rows"], lower_is_better=True)).layout.title
    assert title.text == "Differences"
    assert title.subtitle.text == "How to read arm. Lower is better."
    # In a report, the caption is outside the figure.
    assert to_plotly(MADE["rows"]).layout.title.text is None


def test_further_lines_of_a_title_move_the_plot_and_not_the_title() -> None:
    def layout(n_words: int) -> Any:
        return standalone(replace(MADE["rows"], title="compared " * n_words)).layout

    two_lines, three_lines = layout(8), layout(12)
    assert three_lines.margin.t - two_lines.margin.t == 18
    tops = [(1 - of.title.y) * of.height for of in (two_lines, three_lines)]
    assert tops[0] == pytest.approx(tops[1])


def test_lines_of_a_title_are_about_equally_long() -> None:
    title = "12 seeds show a gain of 0.02 with a power of 80%"
    lines = standalone(replace(MADE["rows"], title=title)).layout.title.text.split("<br>")
    assert lines == ["12 seeds show a gain of", "0.02 with a power of 80%"]


def test_long_row_names_break_after_underscores_and_keep_their_ends() -> None:
    names = [
        "model_with_a_long_name_5",
        "a_5 vs b_5",
        "one two three four five six seven eight nine ten",
    ]
    drawing = to_plotly(replace(MADE["rows"], rows=names))
    assert drawing.layout.yaxis.ticktext == (
        "model_with_a_<br>long_name_5",
        "a_5 vs b_5",
        "one two three<br>four five six…<br>ten",
    )


def test_an_empty_figure_says_that_there_is_nothing_to_draw() -> None:
    figure = to_plotly(MADE["empty"])
    assert figure.layout.annotations[0].text == "There is nothing to draw yet."


@pytest.mark.parametrize("key", MADE)
def test_names_are_escaped_as_html(key: str) -> None:
    evil = {figure.key: figure for figure in figures(EVIL)}[key]
    assert EVIL not in str(standalone(evil).to_json()).replace("\\", "")


@pytest.mark.parametrize("end", [math.nan, math.inf])
def test_without_finite_ends_a_point_has_no_error_bar(end: float) -> None:
    series = Series("", [1.0], [0], "points", low=[-end], high=[end])
    [point] = to_plotly(Figure("a", "A", "x", "", [series], rows=["a"])).data
    assert (point.mode, point.error_x.array) == ("markers", None)


# Linear RGB as people see it who lack one kind of cone (Machado, Oliveira and Fernandes 2009, IEEE
# Transactions on Visualization and Computer Graphics 15:1291).
SEEN = {
    "normal vision": np.eye(3),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
}
# Convert linear RGB to Oklab. The smallest difference that people notice there is about 0.02.
TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def linear(color: str) -> np.ndarray:
    """Return a color such as ``#8b929c`` as linear RGB."""
    rgb = np.frombuffer(bytes.fromhex(color[1:]), np.uint8) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def luminance(color: str) -> float:
    return float(linear(color) @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("eyes", SEEN)
@pytest.mark.parametrize("palette", [COLORS, DARK_COLORS])
def test_color_blind_people_can_tell_arms_apart(palette: tuple[str, ...], eyes: str) -> None:
    seen = np.array([linear(color) for color in (*palette, CONTROL_COLOR)]) @ SEEN[eyes].T
    oklab = np.cbrt(seen.clip(0, 1) @ TO_CONES.T) @ TO_OKLAB.T
    distances = np.linalg.norm(oklab[:, None] - oklab, axis=-1)
    assert distances[np.triu_indices(len(seen), 1)].min() > 0.08


@pytest.mark.parametrize(("palette", "ground"), [(COLORS, "#ffffff"), (DARK_COLORS, "#181e26")])
def test_arms_stand_out_from_the_ground(palette: tuple[str, ...], ground: str) -> None:
    for color in (*palette, CONTROL_COLOR):
        low, high = sorted([luminance(color), luminance(ground)])
        # WCAG requires this minimal contrast for graphics.
        assert (high + 0.05) / (low + 0.05) > 3


def test_each_mark_is_tried_in_a_browser() -> None:
    tried = {series.mark for figure in MADE.values() for series in figure.series}
    assert tried == {*get_args(Mark)}
