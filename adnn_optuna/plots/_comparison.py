"""Figures of several searchers, each with several seeds, and of the luck that all of them have."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from optuna.trial import FrozenTrial

import adnn_optuna.plots._style as style
from adnn_optuna._units import unit_of
from adnn_optuna.engine.records import records_of

_N_TIMES = 100  # Where curves against seconds are drawn.


def plot_best_against_trials(runs: style.Runs) -> go.Figure:
    """Plot the best gain so far against trials, for each searcher the mean over its runs.

    The band is one standard deviation to each side. A run that ended early keeps its last gain.
    """
    return _plot_best_against("trials", "Trial", runs)


def plot_best_against_seconds(runs: style.Runs) -> go.Figure:
    """Plot the best gain so far against seconds, as :func:`plot_best_against_trials`.

    Runs that were trained at the same time share its seconds equally.
    """
    return _plot_best_against("seconds", "Seconds of each run", runs)


def _plot_best_against(what: str, x_title: str, runs: style.Runs) -> go.Figure:
    arms, everything = style.arms_of(runs)
    metric, unit = style.metric_of(everything)
    n_seeds = max((len(records) for *_, records in arms), default=0)
    title = f"Best gain against {what}, mean ± sd of {n_seeds} seeds"
    figure = style.new_figure(title, x_title, unit.heading(f"Gain in {metric}", is_gain=True))
    trials = [record.done_trials for record in everything]
    counts = [range(1, len(of_run) + 1) for of_run in trials]
    ends = iter(counts if what == "trials" else seconds_until_done(trials))
    for label, color, records in arms:
        # Trials of one batch are done at once, in whatever order their times were noted.
        steps = [(np.sort(end), run.gains_so_far()) for run in records if len(end := next(ends))]
        last = max((end[-1] for end, _ in steps), default=0)
        x = np.arange(1, last + 1) if what == "trials" else np.linspace(0, last, _N_TIMES)
        gains = [np.array([0.0, *gain])[np.searchsorted(end, x, "right")] for end, gain in steps]
        table = unit.scale * np.array(gains)
        style.add_mean(figure, x.round(3).tolist(), table, color, label, width=2.5)
    return style.say_if_empty(figure.update_layout(hovermode="x unified"), "No trial is done.")


def plot_best_against_compute(runs: style.Runs) -> go.Figure:
    """Plot the best selection metric so far against the epochs trained, the mean over the seeds.

    So searchers and controls are seen side by side: a longer training spends its epochs in one
    row, the others a training after the other. A run that ended early keeps its last value.
    """
    arms, everything = style.arms_of(runs)
    metric, unit = style.metric_of(everything)
    title = "What the same compute brings: best so far against epochs trained"
    figure = style.new_figure(title, "Epochs trained", unit.heading(metric))
    for label, color, records in arms:
        curves = [curve for record in records if (curve := record.best_by_epochs())]
        # From the first epoch at which all have a value, to the last of any.
        x = sorted({epochs for curve in curves for epochs in curve})
        x = [n for n in x if n >= max(min(curve) for curve in curves)]
        table = [[curve[max(k for k in curve if k <= n)] for n in x] for curve in curves]
        dash = "dot" if any(record.is_control for record in records) else "solid"
        style.add_mean(figure, x, unit.scale * np.array(table), color, label, width=2.5, dash=dash)
    return style.say_if_empty(figure.update_layout(hovermode="x unified"), "No trial is done.")


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
        clock = np.cumsum([0.0, *(np.diff(times) * (of_run / of_all)[:-1])])
        seconds.append(clock[np.searchsorted(times, span[:, 1])].tolist())
    return seconds


def _span(trial: FrozenTrial) -> list[float]:
    moments = (trial.datetime_start, trial.datetime_complete)
    return [moment.timestamp() if moment else 0.0 for moment in moments]


def plot_target_share(runs: style.Runs, target: float | None = None) -> go.Figure:
    """Plot the share of a searcher's runs that reached a target, against trials.

    Args:
        runs: The studies of searchers, or their records.
        target: A value of the metric. By default it is what random restarts come to in the end,
            in the mean over their runs, and without any the mean of all baselines.
    """
    arms, everything = style.arms_of(runs)
    metric, unit = style.metric_of(everything)
    if target is None:
        reached = [record.best_value for record in everything if record.is_restart]
        known = [v for v in reached or [r.baseline for r in everything] if np.isfinite(v)]
        target = float(np.mean(known)) if known else float("nan")
    title = f"Share of the runs that reached {metric} {unit.scale * target:.4g}{unit.of_values}"
    figure = style.new_figure(title, "Trial", "Share of the runs [%]")
    for label, color, records in arms:
        share = np.zeros(max((len(record.done_trials) for record in records), default=0))
        for record in records:
            missing = max(record.improvement(target, record.baseline), 0.0)
            gains = record.gains_so_far()
            first = next((i for i, gain in enumerate(gains) if gain >= missing), len(share))
            share[first:] += 100 / len(records)
        if len(share):
            x = range(1, len(share) + 1)
            figure.add_trace(style.line(x, share.tolist(), color, label, width=2.5, shape="hv"))
    figure.update_yaxes(range=[-3, 103]).update_layout(hovermode="x unified")
    return style.say_if_empty(figure, "No trial is done.")


def plot_test_accuracy(runs: style.Runs) -> go.Figure:
    """Plot the test accuracy of the unmoved networks and of each searcher's winners.

    Winners of the same seed, which must come in the same order, are joined by a line.
    """
    arms = [arm for arm in style.arms_of(runs)[0] if arm[-1]]
    first = arms[0][-1] if arms else []
    values = {"unmoved": [record.test_baseline for record in first]}
    values |= {label: [record.test_value for record in records] for label, _, records in arms}
    colors = [style.COLORS[-1], *(color for _, color, _ in arms)]
    score = first[0].test_score if first else "test accuracy"
    figure = plot_by_seed(values, score, ", which no search saw", colors)
    return style.say_if_empty(figure, "No winner was tested.")


def plot_by_seed(
    values: Mapping[str, Sequence[float]],
    score: str,
    addition: str = "",
    colors: Sequence[str] = style.COLORS,
) -> go.Figure:
    """Plot test scores of several arms, with a line for each seed.

    Args:
        values: The scores of each arm by its label, in the same order of seeds.
        score: What they are.
        addition: What else the figure's title says of them.
        colors: The arms' colors, which begin again after the last one.
    """
    unit = unit_of(score)
    figure = style.new_figure(f"T{score[1:]} by seed{addition}", unit.heading(score), "")
    table = unit.scale * np.array([*values.values()])
    if np.isfinite(table).any():
        rows = [[v if np.isfinite(v) else None for v in row] for row in table.tolist()]
        for of_seed in zip(*rows, strict=True):
            trace = style.line(of_seed, range(len(rows)), style.CONTROL_COLOR, "", width=1)
            figure.add_trace(trace.update(opacity=0.35, hoverinfo="skip", showlegend=False))
        look = {"boxpoints": "all", "jitter": 0.3, "pointpos": 0, "boxmean": True, "width": 0.45}
        look |= {"marker_size": 6, "line_width": 1.5, "showlegend": False}
        look["orientation"] = "h"
        arms = zip(rows, values, itertools.cycle(colors), strict=False)
        for i, (row, name, color) in enumerate(arms):
            box = {"x": row, "y": [i] * len(row), "name": style.shown(name), **look}
            figure.add_box(marker_color=color, **box)
        style.label_rows(figure, values)
    return figure


def plot_power(curves: Mapping[str, Mapping[int, float]], title: str, target: float) -> go.Figure:
    """Plot the power of a comparison against its number of seeds.

    Args:
        curves: For each way of comparing, by its name, its power by the number of seeds.
        title: The figure's title.
        target: The power that is planned for, a dotted line.
    """
    figure = style.new_figure(title, "Seeds", "Power [%]")
    for (name, curve), color in zip(curves.items(), style.COLORS, strict=False):
        power = [round(100 * value, 2) for value in curve.values()]
        figure.add_trace(style.line(curve, power, color, name, width=2.5))
    figure.add_hline(100 * target, line={"color": style.CONTROL_COLOR, "dash": "dot", "width": 1})
    return figure.update_yaxes(range=[-3, 103]).update_layout(hovermode="x unified")


def plot_accuracy_distribution(study: style.Sources) -> go.Figure:
    """Plot the distribution of the metric over random initialisations of the unmoved network.

    It shows how far luck alone moves a model's accuracy. The initialisations are the trials of
    random restarts, of one or several seeds; without any, the baselines of all studies.
    """
    records = records_of(study)
    metric, unit = style.metric_of(records)
    title = unit.heading(metric)
    figure = style.new_figure("The same network, other random numbers", title, "Initialisations")
    baselines = sorted({record.baseline for record in records if np.isfinite(record.baseline)})
    draws = [value for record in records if record.is_restart for value in record.values]
    values = unit.scale * np.array(draws or baselines)
    if len(values):
        n_bins = int(np.clip(2 * np.sqrt(len(values)), 5, 40))
        counts, edges = np.histogram(values, bins=n_bins)
        std = values.std(ddof=1) if len(values) > 1 else 0
        figure.add_bar(
            x=((edges[1:] + edges[:-1]) / 2).tolist(),
            y=counts.tolist(),
            width=np.diff(edges).tolist(),
            marker={"color": style.CONTROL_COLOR, "opacity": 0.75, "line": {"width": 0}},
            name=style.shown(
                f"{len(values)} initialisations: {values.mean():.{unit.digits}f} ± "
                f"{std:.{unit.digits}f}, {values.min():.{unit.digits}f} to "
                f"{values.max():.{unit.digits}f}"
            ),
        )
        xs = [unit.scale * baseline for baseline in baselines]
        ys = [-0.03 * float(counts.max())] * len(baselines)
        tick: Any = {"symbol": "line-ns-open", "size": 12, "line_width": 2}
        name = f"the baseline{'s' if len(baselines) > 1 else ''} of the searches"
        figure.add_trace(style.dots(xs, ys, style.COLORS[0], name, **tick))
    return style.say_if_empty(figure.update_layout(bargap=0), "No network was trained.")


def plot_best_of_n(study: style.Sources) -> go.Figure:
    """Plot what the best of n random restarts is expected to gain over one: the price of luck.

    Of several seeds the mean and the standard deviation are shown.
    """
    return plot_price_of_luck({"": [record for record in records_of(study) if record.is_restart]})


def plot_price_of_luck(runs: style.Runs) -> go.Figure:
    """Plot the expected best of n random restarts, and what the searchers reached.

    All are gains over the mean of a seed's random initialisations: what is below the curve, as
    many lucky draws would bring, too. Seeds must come in the same order.
    """
    arms, everything = style.arms_of(runs)
    _, unit = style.metric_of(everything)
    title = "The price of luck: the best of n random initialisations"
    y_title = unit.heading("Gain over the mean draw", is_gain=True)
    figure = style.new_figure(title, "Number of initialisations n", y_title)
    control = next((arm[-1] for arm in arms if any(record.is_restart for record in arm[-1])), [])
    bests = [
        expected_best_of_n([record.improvement(value, 0.0) for value in record.values])
        for record in control
        if record.values
    ]
    numbers = range(1, min(map(len, bests), default=0) + 1)
    curves = unit.scale * np.array([best[: len(numbers)] - best[0] for best in bests])
    name = "best of n random restarts"
    style.add_mean(figure, numbers, curves, style.CONTROL_COLOR, name, width=3)
    means = [float(np.mean(record.values or np.nan)) for record in control]
    ends = [1, max((len(record.values) for record in control), default=0)]
    for label, color, records in arms:
        pairs = zip(records, means, strict=False)
        gains = [record.improvement(record.best_value, mean) for record, mean in pairs]
        if records is not control and np.isfinite(gains).any():
            y = [unit.scale * float(np.nanmean(gains))] * 2
            name = f"{label}, mean of the winners"
            figure.add_trace(style.line(ends, y, color, name, width=2, dash="dash"))
    return style.say_if_empty(figure, "No random restarts.")


def expected_best_of_n(values: Sequence[float]) -> np.ndarray:
    """Return the mean of the best of n of the values, for each n up to all of them.

    It is the exact mean over all subsets: all n are among the i smallest of N values in C(i, n) of
    C(N, n) subsets, which is i / N times (i - 1) / (N - 1) and so on, n times.
    """
    i, drawn = np.arange(len(values) + 1), np.arange(len(values))[:, None]
    share = np.cumprod(np.maximum(i - drawn, 0) / (len(values) - drawn), axis=0)
    return np.asarray(np.diff(share) @ np.sort(values))
