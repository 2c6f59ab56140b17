"""The figure of a recheck: what a study said of its best trials, and what fresh seeds say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

import adnn_optuna.plots._style as style

Fresh = Sequence[tuple[Sequence[float], tuple[float, float, float]]]
"""New values of each trial, and their mean with the ends of its interval."""


def plot_recheck(
    stored: Mapping[str, float], choosing: Fresh, confirming: Fresh, noise: str
) -> go.Figure:
    """Plot the stored values of a study's best trials beside those of fresh seeds.

    Args:
        stored: The stored values by the trials' labels, the best first.
        choosing: The values of the seeds by which one of the trials was chosen.
        confirming: Those of the further seeds.
        noise: How large the noise is, in words.
    """
    figure = style.new_figure("What the study said, and what fresh seeds say", noise, "value")
    for fresh, name, shift, color in (
        (choosing, "fresh seeds to choose by", -0.17, style.CONTROL_COLOR),
        (confirming, "further seeds to confirm", 0.12, style.COLORS[0]),
    ):
        points = [(i + shift, value) for i, (values, _) in enumerate(fresh) for value in values]
        if not points:
            continue
        x, y = zip(*points, strict=True)
        marker = {"color": color, "size": 7, "opacity": 0.5}
        figure.add_scatter(x=x, y=y, mode="markers", marker=marker, name=name)
        means = [(i + shift + 0.07, *bounds) for i, (_, bounds) in enumerate(fresh)]
        x, y, _, ends = zip(*means, strict=True)
        # A single value has no interval.
        widths = [end - mean if end < math.inf else 0.0 for mean, end in zip(y, ends, strict=True)]
        figure.add_scatter(
            x=x,
            y=y,
            error_y={"array": widths},
            mode="markers",
            marker={"color": color, "size": 10, "symbol": "square"},
            name="their mean, 95 % interval",
        )
    figure.add_scatter(
        x=[*range(len(stored))],
        y=[*stored.values()],
        mode="markers",
        marker={"color": style.COLORS[1], "size": 11, "symbol": "diamond"},
        name="what the study said",
    )
    labels = [style.literal(label) for label in stored]
    return figure.update_xaxes(tickvals=[*range(len(stored))], ticktext=labels)
