"""Figures of searches, alone or several with several seeds, of their winners and their luck."""

import itertools
import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import numpy as np
import plotly.graph_objects as go

import adnn_optuna.plots._style as style
from adnn_optuna._checks import load
from adnn_optuna._units import PLAIN, Unit, score_in_words, unit_of
from adnn_optuna.engine.records import read_records
from adnn_optuna.results import curves
from adnn_optuna.results.examples import WinnerFacts
from adnn_optuna.results.numbers import unit_of_search


def plot_gain(study: style.Source) -> go.Figure:
    """Plot each trial's gain over the baseline, and the best gain so far."""
    [record] = read_records(study)
    unit, seed = unit_of(record.metric), style.seed_of(record)
    y_title = unit.heading(f"Gain in {record.metric_label}", is_gain=True)
    figure = style.new_figure("Gain against trials", "Trial", y_title)
    if record.gains:
        gains = unit.scale * np.array([*record.gains.values()])
        below = gains < (floor := style.floor_of(gains.tolist()))
        symbols = np.where(below, "triangle-down-open", "circle").tolist()
        look: Any = {"size": 7, "opacity": 0.9, "symbol": symbols}
        name = "trial (▽ far below)" if below.any() else "trial"
        shown = np.maximum(gains, floor).tolist()
        said = [f"{seed}trial {n}: {unit.gain(g)}" for n, g in record.gains.items()]
        points = style.dots(record.gains, shown, style.COLORS[0], name, said, **look)
        numbers = [trial.number for trial in record.done_trials]
        best = [unit.scale * gain for gain in curves.gains_so_far(record)]
        line = style.line(numbers, best, style.COLORS[1], "best so far", width=2.5, shape="hv")
        figure.add_traces([points, line])
    return style.say_if_empty(figure, "No trial was completed.")


def plot_best_against_trials(runs: style.Runs) -> go.Figure:
    """Plot the best gain so far against trials, for each searcher the mean over its runs.

    The band is one standard deviation to each side. A run that ended early keeps its last gain.
    """
    arms, metric, unit = style.arms_of(runs)
    n_seeds = max((len(records) for *_, records in arms), default=0)
    what, y_title = "gain", unit.heading(f"Gain in {metric}", is_gain=True)
    if any(record.is_of_function for *_, records in arms for record in records):
        what, y_title = "value so far", "Best value"
    title = f"Best {what} against trials, mean ± sd of {n_seeds} seeds"
    figure = style.new_figure(title, "Trial", y_title)
    for label, color, records in arms:
        curve = curves.best_against_trials(records)
        style.add_mean(figure, curve, unit, color, label, width=2.5)
    return style.say_if_empty(figure.update_layout(hovermode="x unified"), "No trial is done.")


def plot_best_against_compute(runs: style.Runs) -> go.Figure:
    """Plot the best selection metric so far against the epochs trained, the mean over the seeds.

    So searchers and controls are seen side by side: a longer training spends its epochs in one
    row, the others a training after the other. A run that ended early keeps its last value.
    """
    arms, metric, unit = style.arms_of(runs)
    title = "What the same compute brings: best so far against epochs trained"
    figure = style.new_figure(title, "Epochs trained", unit.heading(metric))
    for label, color, records in arms:
        curve = curves.best_against_compute(records)
        dash = "dot" if any(record.is_control for record in records) else "solid"
        look: Any = {"is_gain": False, "width": 2.5, "dash": dash}
        style.add_mean(figure, curve, unit, color, label, **look)
    return style.say_if_empty(figure.update_layout(hovermode="x unified"), "No trial is done.")


def plot_test_accuracy(runs: style.Runs) -> go.Figure:
    """Plot the test metric of the baseline networks, and of each sampler's best networks.

    Winners of the same seed, which must come in the same order, are joined by a line.
    """
    arms = [arm for arm in style.arms_of(runs)[0] if arm[-1]]
    first = arms[0][-1] if arms else []
    values = {label: [record.test_value for record in records] for label, _, records in arms}
    colors, addition = [color for _, color, _ in arms], ""
    if not any(record.is_of_function for record in first):
        values = {"unmoved": [record.test_baseline for record in first], **values}
        colors, addition = [style.COLORS[-1], *colors], ", which no search saw"
    score, unit = "test metric", PLAIN
    if first:
        score = score_in_words(first[0].test_metric, first[0].positive)
        unit = unit_of_search(first[0], first[0].test_metric)
    names = [style.seed_of(record).removesuffix(", ") for record in first]
    figure = plot_by_seed(values, score, addition, colors, unit=unit, names=names)
    return style.say_if_empty(figure, "No winner was tested.")


def plot_by_seed(
    values: Mapping[str, Sequence[float]],
    score: str,
    addition: str = "",
    colors: Sequence[str] = style.COLORS,
    *,
    unit: Unit,
    per: str = "seed",
    names: Sequence[str] = (),
) -> go.Figure:
    """Plot scores of several arms by their labels, with a line for each seed.

    They are in the same order, ``per`` seed or what else pairs them, if anything does, of which
    ``names`` are the names. Colors begin again after the last one.
    """
    by = f" by {per}" if per else ""
    title = f"{score[:1].upper()}{score[1:]}{by}{addition}"
    figure = style.new_figure(title, unit.heading(score), "")
    if not any(map(math.isfinite, itertools.chain(*values.values()))):
        return figure
    rows = [
        [unit.scale * v if math.isfinite(v) else None for v in of_arm]
        for of_arm in values.values()
    ]
    for of_seed in zip(*rows, strict=True) if per else ():
        trace = style.line(of_seed, range(len(rows)), style.CONTROL_COLOR, "", width=1)
        figure.add_trace(trace.update(opacity=0.35, hoverinfo="skip", showlegend=False))
    look = {"boxpoints": "all", "jitter": 0.3, "pointpos": 0, "boxmean": True, "width": 0.45}
    look |= {"marker_size": 6, "line_width": 1.5, "showlegend": False, "orientation": "h"}
    of_arms = zip(values.items(), rows, itertools.cycle(colors), strict=False)
    for i, ((label, of_arm), row, color) in enumerate(of_arms):
        box = go.Box(x=row, y=[i] * len(row), name=style.shown(label), **look)
        of_each = zip(names or range(len(row)), of_arm, strict=False)
        said = [f"{label}, {of}: {unit.value(value)}" for of, value in of_each]
        figure.add_trace(style.hover(box.update(marker_color=color, hoveron="points"), said))
    return style.label_rows(figure, values)


def plot_power(curves: Mapping[str, Mapping[int, float]], title: str, target: float) -> go.Figure:
    """Plot the power of each way of comparing against its seeds, and that which is planned for."""
    figure = style.new_figure(title, "Seeds", "Power [%]")
    for (name, curve), color in zip(curves.items(), style.COLORS, strict=False):
        power = [round(100 * value, 2) for value in curve.values()]
        figure.add_trace(style.line(curve, power, color, name, width=2.5))
    figure.add_hline(100 * target, line={"color": style.CONTROL_COLOR, "dash": "dot", "width": 1})
    return figure.update_yaxes(range=[-3, 103]).update_layout(hovermode="x unified")


def plot_gain_against_members(study: style.Sources) -> go.Figure:
    """Plot what the average of n networks gains over one, against n, of one or several ensembles.

    Of several seeds the mean and the standard deviation are shown.
    """
    records = [record for record in read_records(study) if record.n_networks > 1]
    metric, unit = style.metric_of(records)
    title = "The average of n networks against one of them"
    y_title = unit.heading(f"Gain in {metric}", is_gain=True)
    figure = style.new_figure(title, "Number of networks n", y_title)
    curve, name = curves.gains_of_averages(records), "average of n networks"
    style.add_mean(figure, curve, unit, style.COLORS[0], name, width=2.5)
    return style.say_if_empty(figure, "No networks were averaged.")


def plot_accuracy_distribution(study: style.Sources) -> go.Figure:
    """Plot the distribution of the metric over random initialisations of the unmoved network.

    It shows how far luck alone moves a model's accuracy. The initialisations are the trials of
    random restarts, of one or several seeds; without any, the baselines of all studies.
    """
    records = read_records(study)
    metric, unit = style.metric_of(records)
    title = unit.heading(metric)
    figure = style.new_figure("The same network, other random numbers", title, "Initialisations")
    if draws := curves.draws_of(records):
        n, sd = len(draws), stdev(draws) if len(draws) > 1 else 0.0
        told = map(unit.bare.value, (fmean(draws), sd, min(draws), max(draws)))
        name = style.shown("{} initialisations: {} ± {}, {} to {}".format(n, *told))
        look: Any = {"nbinsx": max(5, round(2 * n**0.5)), "marker_color": style.CONTROL_COLOR}
        x = [unit.scale * value for value in draws]
        figure.add_histogram(x=x, name=name, opacity=0.75, **look)
        xs = [unit.scale * baseline for baseline in curves.baselines_of(records)]
        tick: Any = {"symbol": "line-ns-open", "size": 12, "line_width": 2}
        name = f"the baseline{'s' if len(xs) > 1 else ''} of the searches"
        figure.add_trace(style.dots(xs, [0] * len(xs), style.COLORS[0], name, **tick))
    return style.say_if_empty(figure.update_layout(bargap=0), "No network was trained.")


def plot_best_of_n(study: style.Sources) -> go.Figure:
    """Plot what the best of n random restarts is expected to gain over one: the price of luck.

    Of several seeds the mean and the standard deviation are shown.
    """
    return plot_price_of_luck(
        {"": [record for record in read_records(study) if record.is_restart]}
    )


def plot_price_of_luck(runs: style.Runs) -> go.Figure:
    """Plot the expected best of n random restarts, and what the searchers reached.

    All are gains over the mean of a seed's random initialisations: what is below the curve, as
    many lucky draws would bring, too. Seeds must come in the same order.
    """
    arms, _, unit = style.arms_of(runs)
    title = "The price of luck: the best of n random initialisations"
    y_title = unit.heading("Gain over the mean draw", is_gain=True)
    figure = style.new_figure(title, "Number of initialisations n", y_title)
    control = next((arm[-1] for arm in arms if any(record.is_restart for record in arm[-1])), [])
    curve = curves.price_of_luck(control)
    name = "best of n random restarts"
    style.add_mean(figure, curve, unit, style.CONTROL_COLOR, name, width=3)
    ends = [1, max((len(record.values) for record in control), default=0)]
    for label, color, records in arms:
        gain = unit.scale * curves.gain_over_draws(records, control)
        if records is not control and math.isfinite(gain):
            name = f"{label}, mean of the winners"
            figure.add_trace(style.line(ends, [gain] * 2, color, name, width=2, dash="dash"))
    return style.say_if_empty(figure, "No random restarts.")


def plot_learning(facts: WinnerFacts, metric: str) -> go.Figure:
    """Plot what both networks came to after each epoch, on training and validation data."""
    title = "How the winner and the unmoved network learned"
    figure = style.new_figure(title, "Epoch", unit_of(metric).heading(metric))
    networks = {"winner": facts.winner, "unmoved": facts.unmoved}
    for split, part, dash in (("val", "validation", "solid"), ("train", "training", "dot")):
        for (name, epochs), color in zip(networks.items(), style.COLORS, strict=False):
            key = f"{split}_{metric}"
            values = np.array([epoch[key] for epoch in epochs if key in epoch])
            curve = curves.Curve(range(1, len(values) + 1), values, None)
            look: Any = {"is_gain": False, "dash": dash, "width": 2.5}
            style.add_mean(figure, curve, unit_of(metric), color, f"{name}, {part}", **look)
    # Of one epoch there is no line.
    figure.update_traces(mode="lines+markers", marker={"size": 6})
    return figure.update_layout(hovermode="x unified")


def png(pixels: np.ndarray) -> str:
    """Return values from 0 to 1, of shape (height, width[, 3]), as a PNG in a ``data:`` URI."""
    rows = (255 * pixels).round().astype(np.uint8)
    # By the encoder that plotly brings along: Pillow is there for some only.
    options: Any = {"contrast_rescaling": "infer", "binary_backend": "pypng"}
    px: Any = load("plotly.express")
    return str(px.imshow(rows, binary_string=True, **options).data[0].source)
