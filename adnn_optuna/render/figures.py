"""Draw the figures of a document with plotly. They are readable on white and on black."""

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from scipy.optimize import isotonic_regression

from adnn_optuna._checks import printable
from adnn_optuna.render.document import Figure, Mark, Series

COLORS = ("#2f80ed", "#e8690b", "#2fa15a", "#b04fb0", "#a30131", "#8a6508")
"""The colors of arms on white, which color-blind people can distinguish."""
DARK_COLORS = ("#3f93f5", "#f5832b", "#62ebb4", "#f0a0ee", "#d8434a", "#e0da45")
"""The colors of arms on a dark background."""
CONTROL_COLOR = "#8b929c"
"""The grey of controls, on light and dark backgrounds."""
_ROOM_FOR_LABELS = 230  # The height in pixels that a figure has for labels by default.
_FEW = 10  # Up to this number of whole numbers, each has a tick mark.
_LINE_HEIGHT = 17  # The height of a line of labels, in pixels.
_LABEL_WIDTH = 13  # The width of labels of series, in characters.
_ROW_WIDTH = 16  # The width of labels of rows, in characters.
# Heights in pixels.
_MODE_BAR = 24  # The buttons above the title.
_ABOVE_TITLE = 8
_TITLE_LINE = 18
_SHIFT_OF_LONG_TITLES = 12  # Plotly moves titles of several lines up.
_CAPTION_LINE = 16
_ABOVE_PLOT = 44
_HEIGHT = 400  # A figure without title and caption, if it does not set its height.
_SCALE = ("#d3e5f4", "#08406e")  # From worst to best. A page has its own scale for each theme.

_AXIS = {
    "gridcolor": "rgba(128, 128, 128, 0.25)",
    "zerolinecolor": "rgba(128, 128, 128, 0.6)",
    "automargin": True,
    "ticks": "",
    "exponentformat": "e",  # Plotly would draw powers of 10 larger than other labels.
    "title": {"standoff": 8, "font": {"size": 13}},
}
_TEMPLATE = go.layout.Template(
    layout={
        "colorway": COLORS,
        "title": {
            "x": 0.01,
            "yref": "container",
            "yanchor": "top",
            "font": {"size": 13.5},
            "subtitle": {"font": {"size": 12}},
        },
        "xaxis": {**_AXIS, "tickangle": 0},
        "yaxis": _AXIS,
        "plot_bgcolor": "white",
        "paper_bgcolor": "white",
        "showlegend": False,
        "margin": {"l": 10, "r": 10, "t": 60, "b": 10},
        "hoverlabel": {"align": "left"},
    }
)
# Plotly adds filters of warnings with its first figure. This figure is made during the import, so
# `_checks.importing` removes the filters.
_EMPTY = go.Figure(layout={"template": _TEMPLATE})

_LABEL_AXIS = {
    "side": "right",
    "ticklabelstandoff": 2,
    "overlaying": "y",
    "matches": "y",
    "showgrid": False,
    "zeroline": False,
}
_LINES: Mapping[Mark, Mapping[str, Any]] = {
    "line": {"width": 2.5},
    "steps": {"width": 2.5, "shape": "hv"},
}
_MARKERS: Mapping[Mark, Mapping[str, Any]] = {
    "points": {"size": 8, "opacity": 0.75},
    "squares": {"size": 11, "symbol": "square"},
    "hollow squares": {"size": 10, "symbol": "square-open", "line": {"width": 2.5}},
    "rings": {"size": 17, "symbol": "circle-open", "line": {"width": 3}},
}


def standalone(figure: Figure) -> go.Figure:
    """Return a plotly figure with its title and its caption above it."""
    drawing = to_plotly(figure)
    # Plotly does not wrap text, and cuts off text that is wider than the figure. A phone is 360
    # pixels wide.
    title_lines = _in_even_lines(figure.title, 40)
    caption = _in_lines(figure.guide, 51, 5)
    n_further_lines = title_lines.count("<br>")  # The first line already has its space.
    n_caption_lines = 1 + caption.count("<br>")
    # A phone always shows the buttons, so their height is added.
    room = _MODE_BAR + _TITLE_LINE * n_further_lines + _CAPTION_LINE * n_caption_lines
    height = (drawing.layout.height or _HEIGHT) + room
    top = _MODE_BAR + _ABOVE_TITLE
    if n_further_lines:
        top += _SHIFT_OF_LONG_TITLES
    title = {
        "text": title_lines,
        "subtitle": {"text": caption},
        "y": 1 - top / height,
    }
    return drawing.update_layout(title=title, margin_t=_ABOVE_PLOT + room, height=height)


def to_plotly(figure: Figure) -> go.Figure:
    """Return a plotly figure without the title and caption above it."""
    drawing = go.Figure(_EMPTY).update_layout(
        xaxis_title_text=_in_even_lines(figure.x_label, 28),
        yaxis_title_text=_in_lines(figure.y_label, 40),
    )
    for series in figure.series:
        if len(series.x):
            is_line = series.mark in _LINES
            drawing.add_traces(_line(series) if is_line else _points(series, figure))
    if not drawing.data:
        drawing.add_annotation(
            text=figure.if_empty, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False
        )
        return drawing.update_xaxes(visible=False).update_yaxes(visible=False)
    if figure.from_zero:
        drawing.update_xaxes(rangemode="tozero")
    for axis in figure.log:
        drawing.update_layout({f"{axis}axis": {"type": "log", "nticks": 5}})
    if not math.isnan(figure.margin):
        line = {"color": CONTROL_COLOR, "width": 1.5}
        drawing.add_vline(0, line=line, layer="below")
        band = {"fillcolor": CONTROL_COLOR, "opacity": 0.25, "line_width": 0}
        drawing.add_vrect(-figure.margin, figure.margin, **band)
    if not math.isnan(figure.target):
        line = {"color": CONTROL_COLOR, "dash": "dot", "width": 1}
        drawing.add_hline(figure.target, line=line)
    if any(series.values for series in figure.series):
        drawing.update_layout(coloraxis=_color_axis(figure))
    if figure.rows:
        _label_rows(drawing, figure)
    else:
        _mark_whole_numbers(drawing, figure)
        if all(series.mark in _LINES for series in figure.series):
            drawing.update_layout(hovermode="x unified")
    _label_series(drawing, figure)
    return drawing


def _line(series: Series) -> list[Any]:
    """Return a line and, if there are intervals, a band behind it."""
    color = _color(series)
    traces = []
    if series.low:
        band = go.Scatter(
            x=[*series.x, *reversed(series.x)],
            y=[*series.high, *reversed(series.low)],
            mode="lines",
            line={"color": color, "width": 0},
            fill="toself",
            fillcolor=color,
            opacity=0.15,
            hoverinfo="skip",
        )
        traces.append(band)
    line = {"color": color, **_LINES[series.mark]}
    # A single point has no line.
    mode = "lines" if len(series.x) > 1 else "markers"
    trace = go.Scatter(x=[*series.x], y=[*series.y], mode=mode, line=line)
    trace.update(name=_in_lines(series.label))
    return [*traces, _with_hover(_with_text(trace, series), series)]


def _points(series: Series, figure: Figure) -> list[Any]:
    """Return the points of a series, with its error bars and texts if it has any."""
    marker: dict[str, Any] = {"color": _color(series), **_MARKERS[series.mark]}
    if series.values:
        # The points are opaque, so their colors equal those of the color bar.
        marker |= {"color": [*series.values], "coloraxis": "coloraxis", "line": {"width": 1}}
        marker["opacity"] = 1
    trace = go.Scatter(x=[*series.x], y=[*series.y], mode="markers", marker=marker)
    if any(map(math.isfinite, (*series.low, *series.high))):
        along = series.y
        axis = "error_y"
        if figure.rows:
            along = series.x
            axis = "error_x"
        lengths = {
            "array": _distances(along, series.high),
            "arrayminus": _distances(series.low, along),
            "thickness": 3,
            "width": 8,
        }
        trace.update({axis: lengths})
    return [_with_hover(_with_text(trace, series), series)]


def _with_text(trace: Any, series: Series) -> Any:
    """Return a trace whose points have labels."""
    if not series.text:
        return trace
    # Each parenthesis begins on a new line.
    parts_by_text = [text.split(" (") for text in series.text]
    texts = ["<br>(".join(_in_lines(part, 29) for part in parts) for parts in parts_by_text]
    places = [*series.text_at] or "top center"
    trace.update(mode=f"{trace.mode}+text", text=texts, textposition=places)
    return trace.update(textfont_size=12, cliponaxis=False)


def _distances(starts: Sequence[float], ends: Sequence[float]) -> list[float]:
    """Return the distance from each start to its end, or 0 if an end is not finite."""
    distances = [end - start for start, end in zip(starts, ends, strict=True)]
    return [distance if math.isfinite(distance) else 0.0 for distance in distances]


def _color(series: Series) -> str:
    if series.color is None:
        return CONTROL_COLOR
    return COLORS[series.color % len(COLORS)]


def _color_axis(figure: Figure) -> dict[str, Any]:
    """Return the color scale.

    The scale ends at a quartile, so all worse values have its last color.
    """
    values = np.concatenate([series.values for series in figure.series if series.values])
    quantiles = [0.25, 1.0]
    if figure.lower_is_better:
        quantiles = [0.0, 0.75]
    low, high = np.quantile(values, quantiles).tolist()
    title = {"text": figure.value_label, "side": "right"}
    bar = {"thickness": 10, "outlinewidth": 0, "exponentformat": "e", "title": title}
    ends = {"cmin": low, "cmax": high, "reversescale": figure.lower_is_better}
    return {"colorscale": _SCALE, "colorbar": bar, **ends}


def _label_rows(drawn: go.Figure, figure: Figure) -> None:
    """Label the rows 0, 1, … from the top.

    Leave room for long labels and for texts between rows.
    """
    n = len(figure.rows)
    texts = [_as_label(label, _ROW_WIDTH) for label in figure.rows]
    n_lines = 1 + max(text.count("<br>") for text in texts)
    row_height = max(50, _LINE_HEIGHT * n_lines + 16)
    if any(series.text for series in figure.series):
        row_height = 125
    ends = [n - 0.3, -0.6]
    labels = {"tickvals": [*range(n)], "ticktext": texts, "ticklabelstandoff": 2}
    drawn.update_yaxes(labels, range=ends, zeroline=False)
    drawn.update_layout(height=max(240, 110 + row_height * n))


def _mark_whole_numbers(drawing: go.Figure, figure: Figure) -> None:
    """If all x are a few whole numbers, mark exactly these numbers on the axis."""
    numbers = [x for series in figure.series for x in series.x]
    if not all(isinstance(number, int) for number in numbers):
        return
    first, last = min(numbers), max(numbers)
    if last - first < _FEW:
        drawing.update_xaxes(dtick=1, range=[first - 0.5, last + 0.5])


def _label_series(drawing: go.Figure, figure: Figure) -> None:
    """Label series at the right edge, at the heights of their last points.

    The labels belong to a second axis, because plotly makes room only for labels of axes.
    """
    ends = []
    for series in figure.series:
        numbers = _finite(series.y)
        if series.label and len(numbers):
            text = _as_label(series.label, _LABEL_WIDTH)
            if series.mark in _LINES:
                text = f"<span style='color:{_color(series)}'><b>—</b></span> {text}"
            ends.append((numbers[-1], text))
    if not ends:
        return
    ends.sort()
    heights = np.array([height for height, _ in ends])
    texts = [text for _, text in ends]
    if figure.rows:
        # On a phone, few ticks fit between the left and the right labels of rows.
        drawing.update_xaxes(nticks=4)
    else:
        heights = _spread(drawing, figure, heights, texts)
    drawing.update_layout(yaxis2={"tickvals": heights.tolist(), "ticktext": texts, **_LABEL_AXIS})
    # Plotly draws an axis only if a trace uses it.
    drawing.add_scatter(x=[None], y=[None], yaxis="y2", hoverinfo="skip")


def _spread(
    drawing: go.Figure, figure: Figure, heights: np.ndarray, texts: Sequence[str]
) -> np.ndarray:
    """Move the sorted heights of labels as little as possible, so that labels do not overlap.

    The axis of y is made long enough for all labels.
    """
    drawn = [figure.target]
    for series in figure.series:
        drawn += [*series.y, *series.low, *series.high]
    low = _finite(drawn).min()
    high = _finite(drawn).max()
    space = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    low -= space
    high += space
    drawing.update_yaxes(range=[low, high])
    sizes = _LINE_HEIGHT * np.array([1 + text.count("<br>") for text in texts])
    room = max(_ROOM_FOR_LABELS, sizes.sum())
    if room > _ROOM_FOR_LABELS:
        drawing.update_layout(height=220 + room)
    sizes = sizes * (high - low) / room
    places_in_stack = np.cumsum(sizes) - sizes / 2
    shifts = isotonic_regression(heights - places_in_stack).x
    return shifts.clip(low, high - sizes.sum()) + places_in_stack


def _finite(numbers: Sequence[Any]) -> np.ndarray:
    """Return the finite numbers of a sequence, without NaN and None."""
    array = np.array(numbers, float)
    return array[np.isfinite(array)]


def _with_hover(trace: Any, series: Series) -> Any:
    """Return a trace with hover texts."""
    if not series.hover:
        return trace
    return trace.update(
        hovertext=[_in_lines(text, 60, 6) for text in series.hover], hoverinfo="text"
    )


def _as_label(name: str, width: int) -> str:
    """Return a name in at most three lines.

    A long name keeps its end, because names often differ there.
    """
    # A word that is longer than a line breaks after an underscore.
    words = re.sub(rf"(?=\S{{{width + 1}}})(\S{{,{width - 1}}}_)", r"\1 ", printable(name))
    lines = textwrap.wrap(words, width)
    if len(lines) > 3:
        lines = [lines[0], f"{lines[1]}…", lines[-1]]
    return _joined(lines)


def _in_even_lines(text: str, width: int) -> str:
    """Return a text in as few lines as the width allows. All lines are about equally long."""
    drafts = [_in_lines(text, narrow, 5) for narrow in range(width // 2, width + 1)]
    # Each further line has one space less. Of equal drafts, the first is the narrowest.
    return max(drafts, key=lambda lines: (len(lines.replace("<br>", "")), -lines.count("<br>")))


def _in_lines(text: str, width: int = 36, max_lines: int = 3) -> str:
    """Return a text in short lines. A number stays on the same line as the unit pp."""
    text = printable(text, keep="\n").replace(" pp", "\N{NO-BREAK SPACE}pp")
    lines = textwrap.wrap(text, width, max_lines=max_lines, placeholder="…")
    return _joined(lines)


def _joined(lines: Sequence[str]) -> str:
    """Join lines for plotly. Escape the text, because plotly interprets some HTML."""
    return "<br>".join(line.replace("&", "&amp;").replace("<", "&lt;") for line in lines)
