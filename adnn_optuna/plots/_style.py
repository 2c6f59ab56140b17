"""What all figures have in common, so that they look alike on white and on black."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from adnn_optuna.engine.records import record_of

if TYPE_CHECKING:
    import optuna

    from adnn_optuna.engine.records import SearchRecord

# They can be told apart by the colour-blind and from both backgrounds.
COLORS = ("#2b8cd9", "#e07b1f", "#0f9d76", "#b26fd8", "#d8487a", "#a8892c")

# Luck is grey.
CONTROL_COLOR = "#8b929c"

_GRID = "rgba(128, 128, 128, 0.25)"
_AXIS = {
    "gridcolor": _GRID,
    "zerolinecolor": "rgba(128, 128, 128, 0.6)",
    "automargin": True,
    "ticks": "",
}
_TEMPLATE = go.layout.Template(
    layout={
        "colorway": COLORS,
        "xaxis": {**_AXIS, "title": {"standoff": 8, "font": {"size": 13}}},
        "yaxis": {**_AXIS, "title": {"standoff": 8, "font": {"size": 13}}},
        "plot_bgcolor": "white",
        "paper_bgcolor": "white",
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        "margin": {"l": 10, "r": 10, "t": 90, "b": 10},
        "hoverlabel": {"align": "left"},
    }
)


def records_of(study: optuna.Study | Sequence[optuna.Study]) -> list[SearchRecord]:
    """Return what one or several studies tell of their searches."""
    return [record_of(one) for one in (study if isinstance(study, Sequence) else [study])]


def metric_of(records: Sequence[SearchRecord]) -> str:
    """Return the name of the metric of all of them."""
    return records[0].metric if records else "value"


def new_figure(title: str, x: str, y: str) -> go.Figure:
    """Return an empty figure with its titles."""
    figure = go.Figure()
    figure.update_layout(
        template=_TEMPLATE,
        title={"text": title, "y": 0.97, "yanchor": "top"},
        xaxis_title=x,
        yaxis_title=y,
    )
    return figure


def scale_of(metric: str) -> float:
    """Return what values of a metric are shown times: accuracies are shown in percent."""
    return 100.0 if metric.endswith("accuracy") else 1.0


def value_title(metric: str) -> str:
    """Return the title of an axis of a metric."""
    return f"{metric} [%]" if scale_of(metric) > 1 else metric


def gain_title(metric: str) -> str:
    """Return the title of an axis of gains."""
    return f"Gain in {metric}" + (" [pp]" if scale_of(metric) > 1 else "")


def literal(label: str) -> str:
    """Return a user's label so that plotly, which knows some HTML, shows it as it is."""
    return label.replace("&", "&amp;").replace("<", "&lt;")


def add_band(
    figure: go.Figure,
    x: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    color: str,
    group: str,
) -> None:
    """Draw a band that belongs to a line of the same legend group."""
    figure.add_trace(
        go.Scatter(
            x=[*x, *reversed(x)],
            y=[*high, *reversed(low)],
            fill="toself",
            fillcolor=color,
            line={"width": 0},
            opacity=0.15,
            hoverinfo="skip",
            showlegend=False,
            legendgroup=group,
        )
    )


def floor_of(gains: Collection[float]) -> float:
    """Return a floor for gains: those far below all others are drawn on it.

    A few bad trials may lose 80 percentage points, where all others differ by 2. Far below is
    below the lower quartile by more than three times the distance of the quartiles.
    """
    low, high = np.quantile([*gains], [0.25, 0.75])
    limit = low - 3 * (high - low)
    floor = min(gain for gain in gains if gain >= limit)
    # Below the lowest of the others, so that they can be told from it.
    return floor if floor == min(gains) else floor - 0.15 * max(max(gains) - floor, 1e-9)


def trial_points(
    gains: Mapping[int, float], floor: float, *, name: str, symbol: str, **marker: Any
) -> go.Scatter:
    """Return a trace of trials' gains by number, with a triangle for those below the floor."""
    below = [gain < floor for gain in gains.values()]
    return go.Scatter(
        x=list(gains),
        y=[max(gain, floor) for gain in gains.values()],
        mode="markers",
        marker={"symbol": ["triangle-down-open" if b else symbol for b in below], **marker},
        name=f"{name} (▽ far below)" if any(below) else name,
        text=[f"{gain:.4g}" for gain in gains.values()],
        hovertemplate="trial %{x}: %{text}",
    )


def say_if_empty(figure: go.Figure, text: str) -> go.Figure:
    """Return the figure, with a text instead of nothing."""
    if not figure.data:
        figure.add_annotation(text=text, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
    return figure
