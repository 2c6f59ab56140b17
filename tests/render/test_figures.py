"""Figures: every mark is drawn as it says."""

from __future__ import annotations

import base64
import math
import struct
import zlib

import numpy as np
import pytest
from render_documents import EVIL, figures

from adnn_optuna.render.document import Figure, Series
from adnn_optuna.render.figures import COLORS, CONTROL_COLOR, to_plotly, to_png

MADE = {figure.key: figure for figure in figures()}


def test_rows_have_intervals_labels_and_a_margin() -> None:
    drawn = to_plotly(MADE["rows"])
    points = drawn.data[0]
    assert [*points.error_x.array] == [*points.error_x.arrayminus] == [0.5] * 4
    assert [*points.text] == ["+1.00"] * 4
    assert [*drawn.layout.yaxis.ticktext] == [f"{i}: arm" for i in range(4)]
    band = [shape for shape in drawn.layout.shapes if shape.type == "rect"]
    assert [(shape.x0, shape.x1) for shape in band] == [(-0.1, 0.1)]
    assert [trace.marker.color for trace in drawn.data] == [COLORS[0], CONTROL_COLOR, COLORS[1]]


def test_lines_have_bands_and_a_target() -> None:
    drawn = to_plotly(MADE["lines"])
    band, line, steps, dashes = drawn.data
    assert [*band.y] == [0.5, 1.5, 2.5, 3.5, 2.5, 1.5, 0.5, -0.5]
    assert not band.showlegend
    assert (line.name, steps.line.shape, dashes.line.dash) == ("arm", "hv", "dash")
    assert drawn.layout.shapes[0].y0 == 2.0


def test_points_have_a_scale_of_colors() -> None:
    drawn = to_plotly(MADE["places"])
    assert [*drawn.data[0].marker.color] == [0.0, 1.0, 2.0, 3.0]
    assert drawn.layout.coloraxis.colorbar.title.text == "value"


def test_boxes_and_histograms_show_each_value() -> None:
    assert [[*box.x] for box in to_plotly(MADE["boxes"]).data] == [[0.0, 1.0, 2.0, 3.0]] * 4
    [bars] = to_plotly(MADE["bars"]).data
    assert [*bars.x] == [0.0, 1.0, 2.0, 3.0]


def test_an_empty_figure_says_so() -> None:
    drawn = to_plotly(MADE["empty"])
    assert drawn.layout.annotations[0].text == "There is nothing to draw yet."


@pytest.mark.parametrize("key", MADE)
def test_names_are_no_html(key: str) -> None:
    evil = {figure.key: figure for figure in figures(EVIL)}[key]
    assert EVIL not in str(to_plotly(evil).to_json()).replace("\\", "")


@pytest.mark.parametrize("end", [math.nan, math.inf])
def test_without_finite_ends_there_is_a_point_and_no_bar_of_no_width(end: float) -> None:
    series = Series("a", [1.0], [0], "points", low=[-end], high=[end])
    [point] = to_plotly(Figure("a", "A", "x", "", [series], rows=["a"])).data
    assert (point.mode, point.error_x.array) == ("markers", None)


@pytest.mark.parametrize("colors", [(), (3,)])
def test_png_holds_the_pixels(colors: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).random((4, 5, *colors))
    kind, _, text = to_png(pixels).partition(",")
    assert kind == "data:image/png;base64"
    file = base64.b64decode(text)
    assert file[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(file):
        [size] = struct.unpack(">I", file[at : at + 4])
        name, data = file[at + 4 : at + 8], file[at + 8 : at + 8 + size]
        [checksum] = struct.unpack(">I", file[at + 8 + size : at + 12 + size])
        assert checksum == zlib.crc32(name + data)
        chunks[name], at = data, at + 12 + size
    assert chunks[b"IHDR"] == struct.pack(">2I5B", 5, 4, 8, 2 if colors else 0, 0, 0, 0)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(4, -1)
    assert not rows[:, 0].any()  # No row is filtered.
    np.testing.assert_allclose(rows[:, 1:].reshape(pixels.shape) / 255, pixels, atol=1 / 500)
