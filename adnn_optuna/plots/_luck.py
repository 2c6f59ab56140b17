"""Figures of what random initialisations bring by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from adnn_optuna.evidence.luck import gain_of_best_of_n
from adnn_optuna.plots._style import (
    COLORS,
    CONTROL_COLOR,
    add_band,
    metric_of,
    new_figure,
    records_of,
    say_if_empty,
    scale_of,
    value_title,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna

    from adnn_optuna.engine.records import SearchRecord


def plot_accuracy_distribution(study: optuna.Study | Sequence[optuna.Study]) -> go.Figure:
    """Plot the distribution of the metric over random initialisations of the unmoved network.

    It shows how far luck alone moves a model's accuracy, as Figure 1 of the paper does for
    others. The initialisations are the trials of random restarts, and the baselines of all other
    studies.

    Args:
        study:
            A study of random restarts, or studies of several seeds.

    Returns:
        A plotly figure.
    """
    records = records_of(study)
    metric = metric_of(records)
    scale = scale_of(metric)
    figure = new_figure(
        "The same network, other random numbers", value_title(metric), "Initialisations"
    )
    baselines = sorted({record.baseline for record in records if np.isfinite(record.baseline)})
    draws = [value for record in records if record.is_restart for value in record.values]
    values = scale * np.array(draws or baselines)
    if len(values):
        n_bins = int(np.clip(2 * np.sqrt(len(values)), 5, 40))
        counts, edges = np.histogram(values, bins=n_bins)
        figure.add_trace(
            go.Bar(
                x=((edges[1:] + edges[:-1]) / 2).tolist(),
                y=counts.tolist(),
                width=np.diff(edges).tolist(),
                marker={"color": CONTROL_COLOR, "opacity": 0.75, "line": {"width": 0}},
                name=f"{len(values)} initialisations: {values.mean():.2f} ± "
                f"{values.std(ddof=1) if len(values) > 1 else 0:.2f}, "
                f"{values.min():.2f} to {values.max():.2f}",
            )
        )
        figure.add_trace(
            go.Scatter(
                x=[scale * baseline for baseline in baselines],
                y=[-0.03 * float(counts.max())] * len(baselines),
                mode="markers",
                marker={
                    "symbol": "line-ns-open",
                    "size": 12,
                    "color": COLORS[0],
                    "line": {"width": 2},
                },
                name=f"the baseline{'s' if len(baselines) > 1 else ''} of the searches",
            )
        )
        figure.update_layout(bargap=0)
    return say_if_empty(figure, "No network was trained.")


def plot_best_of_n(study: optuna.Study | Sequence[optuna.Study]) -> go.Figure:
    """Plot what the best of n random restarts is expected to gain over one: the price of luck.

    Args:
        study:
            A study of random restarts, or those of several seeds, of which the mean and the
            standard deviation are shown.

    Returns:
        A plotly figure.
    """
    records = [record for record in records_of(study) if record.is_restart]
    metric = metric_of(records)
    figure = new_figure(
        "The price of luck: the best of n random initialisations",
        "Number of initialisations n",
        "Gain over the mean draw" + (" [pp]" if scale_of(metric) > 1 else ""),
    )
    add_best_of_n(figure, records)
    return say_if_empty(figure, "No random restarts.")


def add_best_of_n(figure: go.Figure, records: Sequence[SearchRecord]) -> None:
    """Add the curve of :func:`plot_best_of_n` to a figure."""
    curves = [gain_of_best_of_n(record) for record in records]
    curves = [curve for curve in curves if len(curve)]
    if not curves:
        return
    scale = scale_of(records[0].metric)
    length = min(map(len, curves))
    table = scale * np.array([curve[:length] for curve in curves])
    n = list(range(1, length + 1))
    mean = table.mean(axis=0)
    if len(curves) > 1:
        std = table.std(axis=0, ddof=1)
        add_band(
            figure,
            n,
            (mean - std).tolist(),
            (mean + std).tolist(),
            color=CONTROL_COLOR,
            group="best of n",
        )
    figure.add_trace(
        go.Scatter(
            x=n,
            y=mean.tolist(),
            mode="lines",
            line={"color": CONTROL_COLOR, "width": 3},
            name="best of n random restarts",
            legendgroup="best of n",
        )
    )
