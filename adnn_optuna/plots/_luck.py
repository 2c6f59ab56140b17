"""Figures of what random initialisations bring by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln

from adnn_optuna.engine.records import records_of
from adnn_optuna.plots._style import (
    COLORS,
    CONTROL_COLOR,
    add_mean,
    arms_of,
    gain_title,
    is_control,
    line,
    metric_of,
    new_figure,
    say_if_empty,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import plotly.graph_objects as go

    from adnn_optuna.plots._style import Runs, Sources


def plot_accuracy_distribution(study: Sources) -> go.Figure:
    """Plot the distribution of the metric over random initialisations of the unmoved network.

    It shows how far luck alone moves a model's accuracy. The initialisations are the trials of
    random restarts; without any, the baselines of all studies.

    Args:
        study: A study of random restarts or its record, or those of several seeds.
    """
    records = records_of(study)
    metric, scale = metric_of(records)
    title = f"{metric} [%]" if scale > 1 else metric
    figure = new_figure("The same network, other random numbers", title, "Initialisations")
    baselines = sorted({record.baseline for record in records if np.isfinite(record.baseline)})
    draws = [value for record in records if record.is_restart for value in record.values]
    values = scale * np.array(draws or baselines)
    if len(values):
        n_bins = int(np.clip(2 * np.sqrt(len(values)), 5, 40))
        counts, edges = np.histogram(values, bins=n_bins)
        std = values.std(ddof=1) if len(values) > 1 else 0
        figure.add_bar(
            x=((edges[1:] + edges[:-1]) / 2).tolist(),
            y=counts.tolist(),
            width=np.diff(edges).tolist(),
            marker={"color": CONTROL_COLOR, "opacity": 0.75, "line": {"width": 0}},
            name=f"{len(values)} initialisations: {values.mean():.2f} ± {std:.2f}, "
            f"{values.min():.2f} to {values.max():.2f}",
        )
        tick = {"symbol": "line-ns-open", "size": 12, "color": COLORS[0], "line": {"width": 2}}
        figure.add_scatter(
            x=[scale * baseline for baseline in baselines],
            y=[-0.03 * float(counts.max())] * len(baselines),
            mode="markers",
            marker=tick,
            name=f"the baseline{'s' if len(baselines) > 1 else ''} of the searches",
        )
        figure.update_layout(bargap=0)
    return say_if_empty(figure, "No network was trained.")


def plot_best_of_n(study: Sources) -> go.Figure:
    """Plot what the best of n random restarts is expected to gain over one: the price of luck.

    Args:
        study: A study of random restarts or its record, or those of several seeds, of which the
            mean and the standard deviation are shown.
    """
    return plot_price_of_luck({"": [record for record in records_of(study) if record.is_restart]})


def plot_price_of_luck(runs: Runs) -> go.Figure:
    """Plot the expected best of n random restarts, and what the searchers reached.

    All are gains over the mean of a seed's random initialisations: what is below the curve, as
    many lucky draws would bring, too.

    Args:
        runs: For each searcher, by its label, its studies or their records, in the same order of
            seeds.
    """
    arms = arms_of(runs)
    _, scale = metric_of([record for *_, records in arms for record in records])
    figure = new_figure(
        "The price of luck: the best of n random initialisations",
        "Number of initialisations n",
        gain_title("Gain over the mean draw", scale),
    )
    control = next((records for *_, records in arms if is_control(records)), [])
    bests = [
        expected_best_of_n([record.improvement(value, 0.0) for value in record.values])
        for record in control
        if record.values
    ]
    numbers = range(1, min(map(len, bests), default=0) + 1)
    curves = scale * np.array([best[: len(numbers)] - best[0] for best in bests])
    add_mean(figure, numbers, curves, CONTROL_COLOR, "best of n random restarts", width=3)
    means = [float(np.mean(record.values or np.nan)) for record in control]
    ends = [1, max((len(record.values) for record in control), default=0)]
    for label, color, records in arms:
        gains = [
            record.improvement(record.best_value, mean)
            for record, mean in zip(records, means, strict=False)
        ]
        if not is_control(records) and np.isfinite(gains).any():
            y = [scale * float(np.nanmean(gains))] * 2
            name = f"{label}, mean of the winners"
            figure.add_trace(line(ends, y, color, name, width=2, dash="dash"))
    return say_if_empty(figure, "No random restarts.")


def expected_best_of_n(values: Sequence[float]) -> np.ndarray:
    """Return the mean of the best of n of the values, for each n up to all of them.

    It is the exact mean over all subsets: the i-th smallest of N values is the largest of n in
    C(i - 1, n - 1) of C(N, n) subsets.
    """
    ascending = np.sort(np.asarray(values, dtype=np.float64))
    size = len(ascending)
    i, n = np.arange(1, size + 1), np.arange(1, size + 1)[:, None]
    with np.errstate(invalid="ignore"):
        weights = np.exp(_log_choose(i - 1, n - 1) - _log_choose(size, n))
    return np.asarray(np.where(i >= n, weights, 0.0) @ ascending)


def _log_choose(n: np.ndarray | int, k: np.ndarray) -> np.ndarray:
    return np.asarray(gammaln(np.add(n, 1)) - gammaln(k + 1) - gammaln(np.maximum(n - k, 0) + 1))
