"""Figures of several searchers, each with several seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from adnn_optuna.evidence.luck import seconds_until_done
from adnn_optuna.plots._luck import add_best_of_n
from adnn_optuna.plots._style import (
    COLORS,
    CONTROL_COLOR,
    add_band,
    gain_title,
    literal,
    metric_of,
    new_figure,
    records_of,
    say_if_empty,
    scale_of,
    value_title,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import optuna

    from adnn_optuna.engine.records import SearchRecord

    Runs = Mapping[str, Sequence[optuna.Study]]

# Where curves against seconds are drawn.
_N_TIMES = 100


def plot_best_against_trials(runs: Runs) -> go.Figure:
    """Plot the best gain so far against trials, for each searcher the mean over its runs.

    The band is one standard deviation to each side. A run that ended early keeps its last gain.

    Args:
        runs:
            For each searcher, by its label, its studies.

    Returns:
        A plotly figure.
    """
    arms = _arms(runs)
    metric = _metric(arms)
    figure = new_figure(
        f"Best gain against trials, mean ± sd of {_n_runs(arms)} seeds",
        "Trial",
        gain_title(metric),
    )
    for label, color, records in _colored(arms):
        gains = [gain for record in records if (gain := record.gains_so_far())]
        length = max(map(len, gains), default=0)
        padded = [[*gain, *[gain[-1]] * (length - len(gain))] for gain in gains]
        x = list(range(1, length + 1))
        _add_mean(figure, label, color, x, scale_of(metric) * np.array(padded))
    return say_if_empty(figure.update_layout(hovermode="x unified"), "No trial is done.")


def plot_best_against_seconds(runs: Runs) -> go.Figure:
    """Plot the best gain so far against seconds, for each searcher the mean over its runs.

    Runs that were trained in one stack share its seconds equally. The band is one standard
    deviation to each side.

    Args:
        runs:
            For each searcher, by its label, its studies.

    Returns:
        A plotly figure.
    """
    arms = _arms(runs)
    metric = _metric(arms)
    figure = new_figure(
        f"Best gain against seconds, mean ± sd of {_n_runs(arms)} seeds",
        "Seconds of each run",
        gain_title(metric),
    )
    everything = [record for records in arms.values() for record in records]
    seconds = iter(seconds_until_done([record.done_trials for record in everything]))
    for label, color, records in _colored(arms):
        steps = [(next(seconds), record.gains_so_far()) for record in records]
        steps = [(times, gains) for times, gains in steps if times]
        x = np.linspace(0, max((max(times) for times, _ in steps), default=0), _N_TIMES)
        # Trials of one stack are done at once, in whatever order their times were noted.
        gains = [
            np.concatenate([[0.0], gains])[np.searchsorted(np.sort(times), x, "right")]
            for times, gains in steps
        ]
        _add_mean(
            figure, label, color, np.round(x, 3).tolist(), scale_of(metric) * np.array(gains)
        )
    return say_if_empty(figure.update_layout(hovermode="x unified"), "No trial is done.")


def plot_target_share(runs: Runs, target: float | None = None) -> go.Figure:
    """Plot the share of a searcher's runs that reached a target, against trials.

    Args:
        runs:
            For each searcher, by its label, its studies.
        target:
            A value of the metric. By default it is what random restarts come to in the end, in
            the mean over their runs, and without any the mean of all baselines.

    Returns:
        A plotly figure.
    """
    arms = _arms(runs)
    metric = _metric(arms)
    scale = scale_of(metric)
    if target is None:
        target = _usual_target(arms)
    unit = " %" if scale > 1 else ""
    figure = new_figure(
        f"Share of the runs that reached {metric} {scale * target:.4g}{unit}",
        "Trial",
        "Share of the runs [%]",
    )
    for label, color, records in _colored(arms):
        length = max((len(record.done_trials) for record in records), default=0)
        if length == 0:
            continue
        reached = np.zeros(length)
        for record in records:
            missing = record.improvement(target, record.baseline)
            first = next(
                (i for i, gain in enumerate(record.gains_so_far()) if gain >= max(missing, 0.0)),
                length,
            )
            reached[first:] += 100 / len(records)
        figure.add_trace(
            go.Scatter(
                x=list(range(1, length + 1)),
                y=reached.tolist(),
                name=label,
                mode="lines",
                line={"color": color, "width": 2.5, "shape": "hv"},
            )
        )
    figure.update_yaxes(range=[-3, 103])
    return say_if_empty(figure.update_layout(hovermode="x unified"), "No trial is done.")


def _usual_target(arms: Mapping[str, Sequence[SearchRecord]]) -> float:
    everything = [record for records in arms.values() for record in records]
    of_control = [record.best_value for record in everything if record.is_restart]
    values = [v for v in of_control or [r.baseline for r in everything] if np.isfinite(v)]
    return float(np.mean(values)) if values else float("nan")


def plot_test_accuracy(runs: Runs) -> go.Figure:
    """Plot the test accuracy of the unmoved networks and of each searcher's winners.

    Args:
        runs:
            For each searcher, by its label, its studies, in the same order of seeds. Winners of
            the same seed are joined by a line.

    Returns:
        A plotly figure.
    """
    arms = _arms(runs)
    figure = new_figure(
        "Test accuracy by seed, which no search saw", "", value_title("test accuracy")
    )
    columns: list[tuple[str, str, list[float]]] = []
    first = next(iter(arms.values()), [])
    columns.append(("unmoved", COLORS[-1], [record.test_baseline for record in first]))
    columns += [
        (label, color, [record.test_value for record in records])
        for label, color, records in _colored(arms)
    ]
    table = 100 * np.array([values for _, _, values in columns if values])
    if np.isfinite(table).any():
        names = [name for name, _, _ in columns]
        # Labels such as 0.1 are names, too.
        figure.update_xaxes(type="category")
        for of_seed in table.T:
            figure.add_trace(
                go.Scatter(
                    x=names,
                    y=[value if np.isfinite(value) else None for value in of_seed.tolist()],
                    mode="lines",
                    line={"color": CONTROL_COLOR, "width": 1},
                    opacity=0.35,
                    hoverinfo="skip",
                    showlegend=False,
                )
            )
        for (name, color, _), values in zip(columns, table, strict=True):
            known = values[np.isfinite(values)].tolist()
            figure.add_trace(
                go.Box(
                    x=[name] * len(known),
                    y=known,
                    name=name,
                    boxpoints="all",
                    jitter=0.3,
                    pointpos=0,
                    boxmean=True,
                    marker={"color": color, "size": 6},
                    line={"width": 1.5},
                    width=0.45,
                    showlegend=False,
                )
            )
    return say_if_empty(figure, "No winner was tested.")


def plot_price_of_luck(runs: Runs) -> go.Figure:
    """Plot the expected best of n random restarts, and what the searchers reached.

    All are gains over the mean of a seed's random initialisations: what is below the curve, as
    many lucky draws would bring, too.

    Args:
        runs:
            For each searcher, by its label, its studies, in the same order of seeds.

    Returns:
        A plotly figure.
    """
    arms = _arms(runs)
    metric = _metric(arms)
    figure = new_figure(
        "The price of luck: the best of n random initialisations",
        "Number of initialisations n",
        "Gain over the mean draw" + (" [pp]" if scale_of(metric) > 1 else ""),
    )
    control = next((records for records in arms.values() if _is_control(records)), [])
    add_best_of_n(figure, control)
    means = [np.mean(record.values) if record.values else np.nan for record in control]
    length = max((len(record.values) for record in control), default=0)
    for label, color, records in _colored(arms):
        gains = [
            record.improvement(record.best_value, float(mean))
            for record, mean in zip(records, means, strict=False)
        ]
        if _is_control(records) or not np.isfinite(gains).any():
            continue
        gain = scale_of(metric) * float(np.nanmean(gains))
        figure.add_trace(
            go.Scatter(
                x=[1, length],
                y=[gain, gain],
                mode="lines",
                line={"color": color, "width": 2, "dash": "dash"},
                name=f"{label}, mean of the winners",
            )
        )
    return say_if_empty(figure, "No random restarts.")


def _arms(runs: Runs) -> dict[str, list[SearchRecord]]:
    return {literal(label): records_of(studies) for label, studies in runs.items()}


def _metric(arms: Mapping[str, Sequence[SearchRecord]]) -> str:
    return metric_of(next(iter(arms.values()), []))


def _n_runs(arms: Mapping[str, Sequence[SearchRecord]]) -> int:
    return max(map(len, arms.values()), default=0)


def _is_control(records: Sequence[SearchRecord]) -> bool:
    return bool(records) and records[0].is_restart


def _colored(
    arms: Mapping[str, Sequence[SearchRecord]],
) -> list[tuple[str, str, Sequence[SearchRecord]]]:
    """Return label, color and records of each arm; random restarts are grey."""
    colors = iter(COLORS * (len(arms) // len(COLORS) + 1))
    return [
        (label, CONTROL_COLOR if _is_control(records) else next(colors), records)
        for label, records in arms.items()
    ]


def _add_mean(
    figure: go.Figure, label: str, color: str, x: Sequence[float], table: np.ndarray
) -> None:
    if table.size == 0:
        return
    # More digits than anyone sees make pages of many figures heavy.
    mean = table.mean(axis=0).round(5)
    if len(table) > 1:
        std = table.std(axis=0, ddof=1).round(5)
        add_band(figure, x, (mean - std).tolist(), (mean + std).tolist(), color=color, group=label)
    figure.add_trace(
        go.Scatter(
            x=x,
            y=mean.tolist(),
            name=label,
            mode="lines",
            line={"color": color, "width": 2.5},
            legendgroup=label,
        )
    )
