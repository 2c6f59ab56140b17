"""The figure of a recheck: what a study said of its best trials, and what fresh seeds say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

import adnn_optuna.plots._style as style


class Points(NamedTuple):
    """A trial's stored value, the new ones, and their means with the ends of the intervals."""

    label: str
    stored: float
    choosing: Sequence[float]
    choosing_mean: tuple[float, float, float]
    confirming: Sequence[float]
    confirming_mean: tuple[float, float, float]


def plot_recheck(trials: Sequence[Points], noise: str) -> go.Figure:
    """Plot the stored values of a study's best trials beside those of fresh seeds.

    Args:
        trials: The trials, the best first.
        noise: How large the noise is, in words.
    """
    figure = style.new_figure("What the study said, and what fresh seeds say", "", "value")
    told, luck, worth = style.COLORS[1], style.CONTROL_COLOR, style.COLORS[0]
    series = [
        (-0.17, luck, "fresh seeds to choose by", [(t.choosing, t.choosing_mean) for t in trials]),
        (
            0.12,
            worth,
            "further seeds to confirm",
            [(t.confirming, t.confirming_mean) for t in trials],
        ),
    ]
    for shift, color, name, values in series:
        shown = [(i + shift, y) for i, (ys, _) in enumerate(values) for y in ys]
        if not shown:
            continue
        x, y = zip(*shown, strict=True)
        marker = {"color": color, "size": 7, "opacity": 0.5}
        figure.add_scatter(x=x, y=y, mode="markers", marker=marker, name=name)
        # There is no mean without values, and no interval of a single one.
        means = [(i + shift, *mean) for i, (_, mean) in enumerate(values) if np.isfinite(mean[0])]
        widths = np.array([high - mean for _, mean, _, high in means])
        widths[~np.isfinite(widths)] = 0.0
        figure.add_scatter(
            x=[mean[0] + 0.07 for mean in means],
            y=[mean[1] for mean in means],
            error_y={"array": widths.tolist(), "thickness": 1.5, "width": 5},
            mode="markers",
            marker={"color": color, "size": 10, "symbol": "square"},
            name="their mean, 95 % interval",
        )
    figure.add_scatter(
        x=[*range(len(trials))],
        y=[trial.stored for trial in trials],
        mode="markers",
        marker={"color": told, "size": 11, "symbol": "diamond"},
        name="what the study said",
    )
    labels = [style.literal(trial.label) for trial in trials]
    figure.update_xaxes(tickvals=[*range(len(trials))], ticktext=labels, title_text=noise)
    return figure
