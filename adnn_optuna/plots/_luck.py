"""Figures of luck: what a study said and what fresh seeds say, and how far a value varies."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
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
        figure.add_trace(style.dots(x, y, color, name, size=7, opacity=0.5))
        means = [(i + shift + 0.07, *bounds) for i, (_, bounds) in enumerate(fresh)]
        x, y, _, ends = zip(*means, strict=True)
        # A single value has no interval.
        widths = [end - mean if end < math.inf else 0.0 for mean, end in zip(y, ends, strict=True)]
        trace = style.dots(x, y, color, "their mean, 95 % interval", size=10, symbol="square")
        figure.add_trace(trace.update(error_y={"array": widths}))
    said, places = stored.values(), range(len(stored))
    name, color = "what the study said", style.COLORS[1]
    figure.add_trace(style.dots(places, said, color, name, size=11, symbol="diamond"))
    return _with_labels(figure, stored)


def plot_variance(
    points: Mapping[str, Sequence[float]],
    spreads: Mapping[str, tuple[float, float, float]],
    own: float,
    value_name: str,
) -> go.Figure:
    """Plot what each source of randomness does to a value, and what all of them do.

    Args:
        points: Deviations from the mean that a source brings, by its name; the last is of all.
        spreads: Their standard deviations, with the ends of its interval.
        own: The deviation of the seed in use; NaN without one.
        value_name: What varies.
    """
    scale, unit = (100, " [pp]") if value_name.endswith("accuracy") else (1, "")
    title = "How far it varies from run to run, and from what"
    figure = style.new_figure(title, "", f"deviation of {value_name}{unit}")
    for i, (name, deviations) in enumerate(points.items()):
        color = style.COLORS[0] if name == list(points)[-1] else style.CONTROL_COLOR
        # Side by side, lest equal ones hide each other.
        x = (i + np.linspace(-0.2, 0.2, max(len(deviations), 1))).tolist()
        y = (scale * np.asarray(deviations)).round(6).tolist()
        runs = style.dots(x, y, color, "", size=7, opacity=0.5)
        sd, low, high = (scale * value for value in spreads[name])
        ends = {"array": [sd - low, high - sd], "arrayminus": [high - sd, sd - low]}
        dash: Any = {"size": 11, "symbol": "line-ew-open", "line_width": 3}
        said = "one standard deviation, 95 % interval"
        spread = style.dots([i, i], [-sd, sd], color, said, **dash).update(error_y=ends)
        spread.update(showlegend=i == len(points) - 1)
        figure.add_traces([runs.update(showlegend=False), spread])
    if not math.isnan(own):
        x, y, color = [len(points) - 1], [scale * own], style.COLORS[1]
        figure.add_trace(style.dots(x, y, color, "the seed in use", size=11, symbol="diamond"))
    return _with_labels(figure, points)


def _with_labels(figure: go.Figure, labels: Collection[str]) -> go.Figure:
    texts = [style.literal(label) for label in labels]
    return figure.update_xaxes(zeroline=False, tickvals=[*range(len(texts))], ticktext=texts)
