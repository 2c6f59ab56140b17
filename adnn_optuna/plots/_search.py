"""Figures of what one searcher did, and of what its winner does on the test set."""

import itertools
import math
from typing import Any

import numpy as np
import plotly.graph_objects as go
from optuna.trial import FrozenTrial
from plotly.subplots import make_subplots

import adnn_optuna.plots._style as style
from adnn_optuna.engine.arms import sampler_of
from adnn_optuna.engine.classes import calibration_error
from adnn_optuna.engine.records import SearchRecord, records_of
from adnn_optuna.samplers import AdaptiveSimulatedAnnealingSampler, DeltaStepSampler

_N_COUNTS = 12  # Of more classes than these, the counts have no room in their cells.


def plot_gain(study: style.Source) -> go.Figure:
    """Plot each trial's gain over the baseline, and the best gain so far."""
    [record] = records_of(study)
    unit = record.unit
    y_title = unit.heading(f"Gain in {record.metric}", is_gain=True)
    figure = style.new_figure("Gain against trials", "Trial", y_title)
    gains = {number: unit.scale * gain for number, gain in record.gains.items()}
    if gains:
        floor, look = style.floor_of(gains.values()), {"size": 6, "opacity": 0.6}
        figure.add_trace(
            style.trial_points(gains, floor, style.COLORS[0], "trial", "circle", **look)
        )
        numbers = [trial.number for trial in record.done_trials]
        best = [unit.scale * gain for gain in record.gains_so_far()]
        color, name = style.COLORS[1], "best so far"
        figure.add_trace(style.line(numbers, best, color, name, width=2.5, shape="hv"))
    return style.say_if_empty(figure, "No trial was completed.")


def plot_walk(study: style.Sources) -> go.Figure:
    """Plot the gain along the walks of a :class:`~adnn_optuna.DeltaStepSampler`.

    Lines of several seeds are faint, and their mean is bold where the steps are the same for all.
    """
    records = records_of(study)
    metric, unit = style.metric_of(records)
    y_title = unit.heading(f"Gain in {metric}", is_gain=True)
    figure = style.new_figure("Walk along δ", "Offset of all parameters", y_title)
    walks = [_walks(record) for record in records]
    is_single = len(records) == 1
    look: Any = {"mode": "lines+markers"} if is_single else {"opacity": 0.3}
    deltas = dict.fromkeys(delta for of_run in walks for delta in of_run)
    for color, delta in zip(itertools.cycle(style.COLORS), deltas, strict=False):
        name, group = f"δ = {delta:g}", f"{delta:g}"
        of_delta = [of_run[delta] for of_run in walks if delta in of_run]
        for walk in of_delta:
            gains = [unit.scale * gain for gain in walk.values()]
            trace = style.line(walk, gains, color, name, width=2 if is_single else 1)
            figure.add_trace(trace.update(legendgroup=group, showlegend=is_single, **look))
        shared = [offset for offset in of_delta[0] if all(offset in walk for walk in of_delta)]
        if not is_single and shared:
            means = [unit.scale * float(np.mean([walk[x] for walk in of_delta])) for x in shared]
            name += f", mean of {len(of_delta)} seeds"
            mean = style.line(shared, means, color, name, width=3)
            figure.add_trace(mean.update(legendgroup=group))
    return style.say_if_empty(figure, "No walk of a DeltaStepSampler.")


def _walks(record: SearchRecord) -> dict[float, dict[float, float]]:
    """Return the gain at each offset of each walk, by its δ; all walks begin at the baseline."""
    walks: dict[float, dict[float, float]] = {}
    start: dict[float, float] = {}
    sampler, trials = sampler_of(record.study), record.study.get_trials(deepcopy=False)
    for step in sampler.steps(record.study) if isinstance(sampler, DeltaStepSampler) else ():
        if (gain := record.gains.get(step.number)) is None:
            continue
        offset = next(iter(trials[step.number].params.values()), 0.0)
        if step.delta is None:
            start = {offset: gain}
        else:
            walks.setdefault(step.delta, dict(start))[offset] = gain
    return walks


def plot_annealing(study: style.Source) -> go.Figure:
    """Plot the temperatures of an annealing, and which of its trials were accepted.

    The parameters' temperatures say how far they are moved (1 is everywhere), the cost
    temperature how much worse a trial may be and still be accepted.
    """
    [record] = records_of(study)
    unit = record.unit
    figure, steps = style.new_figure("Annealing", "", ""), []
    if isinstance(sampler := sampler_of(record.study), AdaptiveSimulatedAnnealingSampler):
        steps = sampler.steps(record.study)
    if not steps:
        return style.say_if_empty(figure, "No trial of an annealing.")
    make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08, figure=figure)
    names = steps[-1].temperatures
    curves = {name: [step.temperatures.get(name) for step in steps] for name in names}
    if len(different := {tuple(curve) for curve in curves.values()}) == 1:
        curves = {"all parameters": [*different.pop()]}
    curves["cost"] = [unit.scale * step.cost_temperature or None for step in steps]
    numbers = [step.number for step in steps]
    for color, (name, curve) in zip(itertools.cycle(style.COLORS), curves.items(), strict=False):
        dash = "dash" if name == "cost" else "solid"
        label = f"temperature of {name}"
        figure.add_trace(style.line(numbers, curve, color, label, dash=dash), row=1, col=1)
    # A trial has no gain where it diverged, nor any where the baseline did.
    gains = {number: unit.scale * gain for number, gain in record.gains.items()}
    way, others = (
        {s.number: gains[s.number] for s in steps if s.is_accepted == ok and s.number in gains}
        for ok in (True, False)
    )
    floor, green = style.floor_of(gains.values()), style.COLORS[2]
    grey = style.CONTROL_COLOR
    rejected = style.trial_points(others, floor, grey, "rejected", "x-thin-open")
    accepted = style.trial_points(way, floor, green, "accepted", "circle")
    accepted.update(mode="lines+markers", line={"color": green, "width": 1, "shape": "hv"})
    figure.add_traces([rejected, accepted], rows=2, cols=1)
    # At most five powers of ten, so that their labels do not overlap.
    known = np.log10([v for curve in curves.values() for v in curve if v] or [1.0])
    log: Any = {"type": "log", "exponentformat": "power", "dtick": max(np.ptp(known) // 5 + 1, 1)}
    figure.update_yaxes(title_text="Temperature", row=1, col=1, **log)
    figure.update_yaxes(title_text=unit.heading("Gain", is_gain=True), row=2, col=1)
    figure.update_xaxes(title_text="Trial", row=2, col=1)
    return figure.update_layout(height=460)


def plot_offsets(study: style.Sources) -> go.Figure:
    """Plot the offsets of all completed trials by layer, and mark the best trial of each seed."""
    records = records_of(study)
    figure = style.new_figure("Offsets by layer", "Offset (bright: high gain)", "")
    bests = [(record, record.best) for record in records if record.best and not record.is_restart]
    names = list(dict.fromkeys(name for _, best in bests for name in best.distributions))
    # Other parameters that are searched beside offsets have other sizes.
    names = [name for name in names if "offset" in name] or names

    def places(trial: FrozenTrial) -> list[tuple[int, float]]:
        numbers = {n: v for n, v in trial.params.items() if isinstance(v, int | float)}
        return [(names.index(name), value) for name, value in numbers.items() if name in names]

    points = [
        (x, y, record.gains[trial.number])
        for record, _ in bests
        for trial in record.done_trials
        if trial.number in record.gains
        for x, y in places(trial)
    ]
    if points:
        jitter = np.random.default_rng(0).uniform(-0.25, 0.25, len(points))
        row, offset, gains = zip(*points, strict=True)
        dot: Any = {"size": 5, "opacity": 0.55, "colorscale": "Viridis"}
        colors = np.maximum(gains, style.floor_of(gains)).tolist()
        figure.add_trace(style.dots(offset, (row + jitter).tolist(), colors, "trial", **dot))
        row, offset = zip(*(place for _, best in bests for place in places(best)), strict=True)
        star: Any = {"symbol": "star", "size": 13, "line_color": "white", "line_width": 1}
        name = "best trial" if len(records) == 1 else "best trial of each seed"
        figure.add_trace(style.dots(offset, row, style.COLORS[4], name, **star))
        style.label_rows(figure, names).update_yaxes(showgrid=False)
    return style.say_if_empty(figure, "No offsets were moved.")


def plot_confusion_matrix(study: style.Source) -> go.Figure:
    """Plot which classes of the test set the best trial's network takes for which."""
    [record] = records_of(study)
    figure = style.new_figure("Confusion matrix of the winner", "Predicted class", "True class")
    look = record.test_look
    if look is not None and "confusion" in look:
        counts = np.array(look["confusion"]["best"])
        sizes = counts.sum(axis=1, keepdims=True)
        n, names = len(counts), [style.shown(name, 16, 1) for name in look["classes"]]
        figure.add_heatmap(
            z=(100 * counts / np.maximum(sizes, 1)).round(2).tolist(),
            text=counts.tolist(),
            texttemplate="%{text}" if n <= _N_COUNTS else None,
            textfont={"color": "#1c2430"},
            # Transparent where there is nothing, on white and on black.
            colorscale=[[0, "rgba(43, 140, 217, 0)"], [1, "rgba(43, 140, 217, 0.8)"]],
            zmin=0,
            zmax=100,
            showscale=False,
            hovertemplate="%{y} as %{x}: %{text} (%{z:.1f} %)<extra></extra>",
            x=[*range(n)],
            y=[*range(n)],
        )
        # As many labels as have room, upright where they are long.
        ticks = [*range(0, n, math.ceil(n / 16))]
        angle = -90 if len(ticks) * max(map(len, names)) > 36 else 0
        texts = [names[i] for i in ticks]
        bare = {"showgrid": False, "zeroline": False}
        figure.update_xaxes(tickvals=ticks, ticktext=texts, tickangle=angle, **bare)
        figure.update_yaxes(tickvals=[*range(n)], ticktext=names, autorange="reversed", **bare)
        figure.update_layout(height=max(400, 140 + 18 * n))
    return style.say_if_empty(figure, "No confusion of classes was stored.")


def plot_calibration(study: style.Source) -> go.Figure:
    """Plot how often networks are right against how sure they are, on the test set."""
    [record] = records_of(study)
    figure, look = style.new_figure("Calibration", "", ""), record.test_look
    if look is None or "calibration" not in look:
        return style.say_if_empty(figure, "No calibration was stored.")
    options = {"shared_xaxes": True, "row_heights": [0.7, 0.3], "vertical_spacing": 0.06}
    make_subplots(rows=2, cols=1, figure=figure, **options)
    ideal = style.line([0, 100], [0, 100], style.CONTROL_COLOR, "as sure as right", dash="dot")
    figure.add_trace(ideal, row=1, col=1)
    for name, role, color in (
        ("unmoved", "baseline", style.COLORS[1]),
        ("winner", "best", style.COLORS[0]),
    ):
        bins = look["calibration"].get(role, [])
        known = [(i, *found) for i, found in enumerate(bins) if found[0]]
        if not known:
            continue
        places, counts, sure, right = (np.array(column) for column in zip(*known, strict=True))
        label = f"{name}, expected calibration error {100 * calibration_error(bins):.2f} pp"
        curve = style.line(100 * sure, 100 * right, color, label, width=2)
        figure.add_trace(curve.update(mode="lines+markers"), row=1, col=1)
        bars = {"x": (100 * (places + 0.5) / len(bins)).tolist(), "y": counts.tolist()}
        figure.add_bar(**bars, marker_color=color, showlegend=False, name=name, row=2, col=1)
    figure.update_yaxes(title_text="Right [%]", row=1, col=1)
    figure.update_yaxes(title_text="Examples", row=2, col=1)
    figure.update_xaxes(title_text="Confidence [%]", row=2, col=1)
    return figure.update_xaxes(range=[-2, 102]).update_layout(height=420)
