"""What all figures have in common, so that they look alike on white and on black."""

import itertools
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import plotly.graph_objects as go

from adnn_optuna._attributes import CONFIG
from adnn_optuna._checks import check_type
from adnn_optuna._units import Unit, printable, unit_of
from adnn_optuna.engine.records import read_records
from adnn_optuna.engine.search_record import SearchRecord
from adnn_optuna.results.curves import Curve

Source = optuna.Study | SearchRecord
Sources = Source | Sequence[Source]
Runs = Mapping[str, Sequence[Source]]

# They can be told apart by the colour-blind and from both backgrounds; luck is grey.
COLORS = ("#2b8cd9", "#e07b1f", "#0f9d76", "#b26fd8", "#d8487a", "#a8892c")
CONTROL_COLOR = "#8b929c"
SCALE = ("#d3e5f4", "#08406e")  # From the worst to the best; pages have one for each theme.

_AXIS = {
    "gridcolor": "rgba(128, 128, 128, 0.25)",
    "zerolinecolor": "rgba(128, 128, 128, 0.6)",
    "automargin": True,
    "ticks": "",
    "exponentformat": "e",  # As small as other labels: powers of 10 are drawn larger.
    "title": {"standoff": 8, "font": {"size": 13}},
}
_TEMPLATE = go.layout.Template(
    layout={
        "colorway": COLORS,
        "title": {"y": 0.97, "yanchor": "top"},
        "xaxis": {**_AXIS, "tickangle": 0},
        "yaxis": _AXIS,
        "plot_bgcolor": "white",
        "paper_bgcolor": "white",
        "legend": {"orientation": "h", "yref": "container", "yanchor": "bottom", "y": 0, "x": 0},
        "margin": {"l": 10, "r": 10, "t": 60, "b": 10},
        "hoverlabel": {"align": "left"},
    }
)


# Made here, as plotly adds filters of warnings with its first figure: see `_checks.importing`.
_EMPTY = go.Figure(layout={"template": _TEMPLATE})


def metric_of(records: Sequence[SearchRecord]) -> tuple[str, Unit]:
    """Return the metric of all records, and how its values are shown."""
    metric = records[0].metric_label if records else "value"
    return metric, unit_of(metric)


def arms_of(runs: Runs) -> tuple[list[tuple[str, str, list[SearchRecord]]], str, Unit]:
    """Return label, color and records of each arm, random restarts in grey, metric and unit."""
    check_type("runs", runs, Mapping, "a mapping from labels to studies")
    arms, everything, colors = [], [], itertools.cycle(COLORS)
    for label, studies in runs.items():
        everything += (records := read_records(studies))
        is_control = any(record.is_restart for record in records)
        arms.append((label, CONTROL_COLOR if is_control else next(colors), records))
    return arms, *metric_of(everything)


def new_figure(title: str, x: str, y: str) -> go.Figure:
    """Return an empty figure with its titles."""
    titles = {"title_text": printable(title), "xaxis_title_text": shown(x, 28)}
    titles["yaxis_title_text"] = shown(y, 20)
    return go.Figure(_EMPTY).update_layout(titles)


def shown(label: str, width: int = 36, max_lines: int = 3) -> str:
    """Return a label in short lines, so that plotly, which knows some HTML, shows it as it is."""
    lines = textwrap.wrap(printable(label, keep="\n"), width, max_lines=max_lines, placeholder="…")
    return "<br>".join(line.replace("&", "&amp;").replace("<", "&lt;") for line in lines)


def label_rows(figure: go.Figure, labels: Collection[str]) -> go.Figure:
    """Label the rows of a figure, 0, 1, …, from the top: there, long labels leave it its room."""
    texts = [shown(label, 16) for label in labels]
    ticks = {"tickvals": [*range(len(texts))], "ticktext": texts, "autorange": "reversed"}
    figure.update_yaxes(zeroline=False, **ticks)
    return figure.update_layout(height=max(360, 110 + 50 * len(texts)))


def line(x: Iterable[Any], y: Iterable[Any], color: str, name: str, **style: Any) -> go.Scatter:
    """Return a line with the color and further settings of plotly's ``line``."""
    line = {"color": color, **style}
    return go.Scatter(x=[*x], y=[*y], mode="lines", line=line, name=shown(name))


def dots(
    x: Iterable[Any],
    y: Iterable[Any],
    color: Any,
    name: str,
    said: Iterable[str] = (),
    **look: Any,
) -> go.Scatter:
    """Return points, which say what they are, with further settings of plotly's ``marker``."""
    marker = {"color": color, **look}
    return hover(go.Scatter(x=[*x], y=[*y], mode="markers", marker=marker, name=shown(name)), said)


def hover(trace: Any, texts: Iterable[str]) -> Any:
    """Return a trace whose points say what they are; users' names in that are no HTML."""
    hovertext = [shown(text, 60, 6) for text in texts]
    return trace.update(hovertext=hovertext, hoverinfo="text") if hovertext else trace


def seed_of(record: SearchRecord) -> str:
    """Return the seed of a search as the beginning of what a point says; empty of a function."""
    config = record.attrs.get(CONFIG, {})
    return f"seed {config['seed']}, " if "seed" in config else ""


def add_mean(
    figure: go.Figure,
    curve: Curve,
    unit: Unit,
    color: str,
    name: str,
    *,
    is_gain: bool = True,
    **style: Any,
) -> None:
    """Draw a mean and, where it is one of several curves, a band of one standard deviation."""
    if not len(curve.x):
        return
    # More digits than anyone sees make pages of many figures heavy.
    mean = (unit.scale * curve.mean).round(6)
    if curve.sd is not None:
        sd = unit.scale * curve.sd
        edge = np.concatenate([mean + sd, (mean - sd)[::-1]]).round(6)
        band = line([*curve.x, *reversed(curve.x)], edge.tolist(), color, "", width=0)
        band.update(fill="toself", fillcolor=color, opacity=0.15, hoverinfo="skip")
        figure.add_trace(band.update(showlegend=False, legendgroup=shown(name)))
    trace = line(curve.x, mean.tolist(), color, name, **style).update(legendgroup=shown(name))
    behind = unit.of_gains if is_gain else unit.of_values
    figure.add_trace(trace.update(hovertemplate=f"%{{y:.{unit.digits}f}}{behind}"))


def floor_of(gains: Collection[float]) -> float:
    """Return a floor for gains: the few that are far below all others are drawn on it."""
    # Far below is below the lower quartile by more than three times the quartiles' distance.
    low, high = np.quantile([*gains], [0.25, 0.75])
    floor = min(gain for gain in gains if gain >= low - 3 * (high - low))
    # Below the lowest of the others, so that they can be told from it.
    return floor if floor == min(gains) else floor - 0.15 * max(max(gains) - floor, 1e-9)


def say_if_empty(figure: go.Figure, text: str) -> go.Figure:
    """Return the figure, with a text instead of nothing."""
    if not figure.data:
        figure.add_annotation(text=text, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
        figure.update_xaxes(visible=False).update_yaxes(visible=False)
    return figure
