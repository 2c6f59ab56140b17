"""What all figures have in common, so that they look alike on white and on black."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from adnn_optuna.results import record_of

if TYPE_CHECKING:
    import optuna

    from adnn_optuna.results import SearchRecord

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
        "xaxis": {**_AXIS, "title": {"standoff": 8}},
        "yaxis": {**_AXIS, "title": {"standoff": 8}},
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
    return f"Gain in {metric}" + (" [percentage points]" if scale_of(metric) > 1 else "")


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


def say_if_empty(figure: go.Figure, text: str) -> go.Figure:
    """Return the figure, with a text instead of nothing."""
    if not figure.data:
        figure.add_annotation(text=text, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
    return figure
