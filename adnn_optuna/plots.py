"""Figures of studies and comparisons, in the style of ``optuna.visualization``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.colors import qualitative

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def plot_gain_so_far(runs: Mapping[str, Sequence[Sequence[float]]], *, metric: str) -> go.Figure:
    """Plot the best gain so far against trials, for each searcher the mean over its runs.

    The band is one standard deviation to each side. A run that ended early keeps its last gain.

    Args:
        runs:
            For each searcher the gains after each trial, one sequence for each run.
        metric:
            The name of the metric; gains of an accuracy are shown in percentage points.

    Returns:
        A plotly figure.
    """
    is_accuracy = "accuracy" in metric
    figure = go.Figure()
    for i, (label, gains) in enumerate(runs.items()):
        color = qualitative.Plotly[i % len(qualitative.Plotly)]
        length = max((len(gain) for gain in gains), default=0)
        if length == 0:
            continue
        table = np.array(
            [[*gain, *[gain[-1]] * (length - len(gain))] for gain in gains if len(gain)]
        ) * (100 if is_accuracy else 1)
        trials = np.arange(1, length + 1)
        mean = table.mean(axis=0)
        std = table.std(axis=0, ddof=1) if len(table) > 1 else np.zeros(length)
        figure.add_trace(
            go.Scatter(
                x=np.concatenate([trials, trials[::-1]]),
                y=np.concatenate([mean + std, (mean - std)[::-1]]),
                fill="toself",
                fillcolor=color,
                line={"width": 0},
                opacity=0.15,
                hoverinfo="skip",
                showlegend=False,
                legendgroup=label,
            )
        )
        figure.add_trace(
            go.Scatter(
                x=trials,
                y=mean,
                name=label,
                mode="lines",
                line={"color": color, "width": 2.5},
                legendgroup=label,
            )
        )
    n_runs = max((len(gains) for gains in runs.values()), default=0)
    figure.update_layout(
        title=f"Best gain so far (mean ± standard deviation, {n_runs} seeds)",
        xaxis_title="Trial",
        yaxis_title=f"Gain in {metric} [percentage points]"
        if is_accuracy
        else f"Gain in {metric}",
        template="plotly_white",
        hovermode="x unified",
    )
    return figure
