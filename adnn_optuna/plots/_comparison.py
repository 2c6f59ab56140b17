"""Figures of several searchers, each with several seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from adnn_optuna.plots._style import (
    COLORS,
    CONTROL_COLOR,
    add_mean,
    arms_of,
    gain_title,
    line,
    metric_of,
    new_figure,
    say_if_empty,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    import plotly.graph_objects as go
    from optuna.trial import FrozenTrial

    from adnn_optuna.plots._style import Runs

# Where curves against seconds are drawn.
_N_TIMES = 100


def plot_best_against_trials(runs: Runs) -> go.Figure:
    """Plot the best gain so far against trials, for each searcher the mean over its runs.

    The band is one standard deviation to each side. A run that ended early keeps its last gain.

    Args:
        runs: For each searcher, by its label, its studies or their records.
    """
    return _plot_best_against("trials", "Trial", runs)


def plot_best_against_seconds(runs: Runs) -> go.Figure:
    """Plot the best gain so far against seconds, as :func:`plot_best_against_trials`.

    Runs that were trained at the same time share its seconds equally.

    Args:
        runs: For each searcher, by its label, its studies or their records.
    """
    return _plot_best_against("seconds", "Seconds of each run", runs)


def _plot_best_against(unit: Literal["trials", "seconds"], x_title: str, runs: Runs) -> go.Figure:
    arms = arms_of(runs)
    everything = [record for *_, records in arms for record in records]
    metric, scale = metric_of(everything)
    n_seeds = max((len(records) for *_, records in arms), default=0)
    title = f"Best gain against {unit}, mean ± sd of {n_seeds} seeds"
    figure = new_figure(title, x_title, gain_title(f"Gain in {metric}", scale))
    trials = [record.done_trials for record in everything]
    counts = [range(1, len(of_run) + 1) for of_run in trials]
    ends = iter(counts if unit == "trials" else seconds_until_done(trials))
    for label, color, records in arms:
        # Trials of one batch are done at once, in whatever order their times were noted.
        steps = [(np.sort(end), run.gains_so_far()) for run in records if len(end := next(ends))]
        last = max((end[-1] for end, _ in steps), default=0)
        x = np.arange(1, last + 1) if unit == "trials" else np.linspace(0, last, _N_TIMES)
        gains = [np.array([0.0, *gain])[np.searchsorted(end, x, "right")] for end, gain in steps]
        add_mean(figure, x.round(3).tolist(), scale * np.array(gains), color, label, width=2.5)
    return say_if_empty(figure.update_layout(hovermode="x unified"), "No trial is done.")


def seconds_until_done(runs: Sequence[Sequence[FrozenTrial]]) -> list[list[float]]:
    """Return the seconds that each run took until each of its finished trials was done.

    Trials that were under way at the same time share that time equally, whichever run they belong
    to. Time in which nothing ran counts for nobody.
    """
    spans = [np.array([_span(trial) for trial in run]).reshape(-1, 2) for run in runs]
    times = np.unique(np.concatenate([np.empty((0, 2)), *spans]))
    # How many trials of each run were under way from each time to the next.
    under_way = [
        np.searchsorted(begins, times, "right") - np.searchsorted(ends, times, "right")
        for begins, ends in (np.sort(span, axis=0).T for span in spans)
    ]
    of_all = np.maximum(sum(under_way), 1)
    seconds = []
    for span, of_run in zip(spans, under_way, strict=True):
        shares = np.diff(times) * (of_run / of_all)[:-1]
        clock = np.concatenate([[0.0], np.cumsum(shares)])
        seconds.append(clock[np.searchsorted(times, span[:, 1])].tolist())
    return seconds


def _span(trial: FrozenTrial) -> list[float]:
    moments = (trial.datetime_start, trial.datetime_complete)
    return [moment.timestamp() if moment else 0.0 for moment in moments]


def plot_target_share(runs: Runs, target: float | None = None) -> go.Figure:
    """Plot the share of a searcher's runs that reached a target, against trials.

    Args:
        runs: For each searcher, by its label, its studies or their records.
        target: A value of the metric. By default it is what random restarts come to in the end,
            in the mean over their runs, and without any the mean of all baselines.
    """
    arms = arms_of(runs)
    everything = [record for *_, records in arms for record in records]
    metric, scale = metric_of(everything)
    if target is None:
        reached = [record.best_value for record in everything if record.is_restart]
        known = [v for v in reached or [r.baseline for r in everything] if np.isfinite(v)]
        target = float(np.mean(known)) if known else float("nan")
    unit = " %" if scale > 1 else ""
    title = f"Share of the runs that reached {metric} {scale * target:.4g}{unit}"
    figure = new_figure(title, "Trial", "Share of the runs [%]")
    for label, color, records in arms:
        share = np.zeros(max((len(record.done_trials) for record in records), default=0))
        for record in records:
            missing = max(record.improvement(target, record.baseline), 0.0)
            gains = record.gains_so_far()
            first = next((i for i, gain in enumerate(gains) if gain >= missing), len(share))
            share[first:] += 100 / len(records)
        if len(share):
            x = range(1, len(share) + 1)
            figure.add_trace(line(x, share.tolist(), color, label, width=2.5, shape="hv"))
    figure.update_yaxes(range=[-3, 103])
    return say_if_empty(figure.update_layout(hovermode="x unified"), "No trial is done.")


def plot_test_accuracy(runs: Runs) -> go.Figure:
    """Plot the test accuracy of the unmoved networks and of each searcher's winners.

    Args:
        runs: For each searcher, by its label, its studies or their records, in the same order of
            seeds. Winners of the same seed are joined by a line.
    """
    figure = new_figure("Test accuracy by seed, which no search saw", "", "test accuracy [%]")
    arms = [arm for arm in arms_of(runs) if arm[-1]]
    first = arms[0][-1] if arms else []
    columns = [("unmoved", COLORS[-1], [record.test_baseline for record in first])]
    for label, color, records in arms:
        columns.append((label, color, [record.test_value for record in records]))
    table = 100 * np.array([values for *_, values in columns])
    if np.isfinite(table).any():
        # Labels such as 0.1 are names, too.
        figure.update_xaxes(type="category")
        for of_seed in table.T.tolist():
            y = [value if np.isfinite(value) else None for value in of_seed]
            trace = line([name for name, *_ in columns], y, CONTROL_COLOR, "", width=1)
            figure.add_trace(trace.update(opacity=0.35, hoverinfo="skip", showlegend=False))
        for (name, color, _), values in zip(columns, table, strict=True):
            known = values[np.isfinite(values)].tolist()
            figure.add_box(
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
    return say_if_empty(figure, "No winner was tested.")
