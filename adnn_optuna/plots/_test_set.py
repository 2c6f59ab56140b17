"""Figures of what the best trial's network does on the test set."""

import math

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

import adnn_optuna.plots._style as style
from adnn_optuna.engine.classes import calibration_error
from adnn_optuna.engine.records import records_of

_N_COUNTS = 12  # Of more classes than these, the counts have no room in their cells.


def plot_confusion_matrix(study: style.Source) -> go.Figure:
    """Plot which classes of the test set the best trial's network takes for which."""
    [record] = records_of(study)
    figure = style.new_figure("Confusion matrix of the winner", "Predicted class", "True class")
    look = record.test_look
    if look is not None and "confusion" in look:
        counts = np.array(look["confusion"]["best"])
        sizes = counts.sum(axis=1, keepdims=True)
        n, names = len(counts), [style.shown(name, 16, 1) for name in look["classes"]]
        figure.add_heatmap(
            z=(100 * counts / np.maximum(sizes, 1)).round(2).tolist(),
            text=counts.tolist(),
            texttemplate="%{text}" if n <= _N_COUNTS else None,
            textfont={"color": "#1c2430"},
            # Transparent where there is nothing, on white and on black.
            colorscale=[[0, "rgba(43, 140, 217, 0)"], [1, "rgba(43, 140, 217, 0.8)"]],
            zmin=0,
            zmax=100,
            showscale=False,
            hovertemplate="%{y} as %{x}: %{text} (%{z:.1f} %)<extra></extra>",
            x=[*range(n)],
            y=[*range(n)],
        )
        # As many labels as have room, upright where they are long.
        ticks = [*range(0, n, math.ceil(n / 16))]
        angle = -90 if len(ticks) * max(map(len, names)) > 36 else 0
        texts = [names[i] for i in ticks]
        bare = {"showgrid": False, "zeroline": False}
        figure.update_xaxes(tickvals=ticks, ticktext=texts, tickangle=angle, **bare)
        figure.update_yaxes(tickvals=[*range(n)], ticktext=names, autorange="reversed", **bare)
        figure.update_layout(height=max(400, 140 + 18 * n))
    return style.say_if_empty(figure, "No confusion of classes was stored.")


def plot_calibration(study: style.Source) -> go.Figure:
    """Plot how often networks are right against how sure they are, on the test set."""
    [record] = records_of(study)
    figure, look = style.new_figure("Calibration", "", ""), record.test_look
    if look is None or "calibration" not in look:
        return style.say_if_empty(figure, "No calibration was stored.")
    options = {"shared_xaxes": True, "row_heights": [0.7, 0.3], "vertical_spacing": 0.06}
    make_subplots(rows=2, cols=1, figure=figure, **options)
    ideal = style.line([0, 100], [0, 100], style.CONTROL_COLOR, "as sure as right", dash="dot")
    figure.add_trace(ideal, row=1, col=1)
    for name, role, color in (
        ("unmoved", "baseline", style.COLORS[1]),
        ("winner", "best", style.COLORS[0]),
    ):
        bins = look["calibration"].get(role, [])
        known = [(i, *found) for i, found in enumerate(bins) if found[0]]
        if not known:
            continue
        places, counts, sure, right = (np.array(column) for column in zip(*known, strict=True))
        label = f"{name}, expected calibration error {100 * calibration_error(bins):.2f} pp"
        curve = style.line(100 * sure, 100 * right, color, label, width=2)
        figure.add_trace(curve.update(mode="lines+markers"), row=1, col=1)
        bars = {"x": (100 * (places + 0.5) / len(bins)).tolist(), "y": counts.tolist()}
        figure.add_bar(**bars, marker_color=color, showlegend=False, name=name, row=2, col=1)
    figure.update_yaxes(title_text="Right [%]", row=1, col=1)
    figure.update_yaxes(title_text="Examples", row=2, col=1)
    figure.update_xaxes(title_text="Confidence [%]", row=2, col=1)
    return figure.update_xaxes(range=[-2, 102]).update_layout(height=420)
