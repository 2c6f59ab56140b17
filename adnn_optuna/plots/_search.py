"""Figures of what one searcher did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from adnn_optuna.engine.records import record_of
from adnn_optuna.plots._style import (
    COLORS,
    CONTROL_COLOR,
    add_band,
    floor_of,
    gain_title,
    literal,
    metric_of,
    new_figure,
    records_of,
    say_if_empty,
    scale_of,
    trial_points,
)
from adnn_optuna.samplers import AdaptiveSimulatedAnnealingSampler, DeltaStepSampler

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna


def plot_gain(study: optuna.Study, baselines: Sequence[float] = ()) -> go.Figure:
    """Plot each trial's gain over the baseline, and the best gain so far.

    Args:
        study:
            The study.
        baselines:
            The selection metric of unmoved networks of other seeds. If there are at least two,
            their mean and standard deviation are shown as a band: what is within it is no more
            than another seed would bring.

    Returns:
        A plotly figure.
    """
    record = record_of(study)
    scale = scale_of(record.metric)
    figure = new_figure("Gain against trials", "Trial", gain_title(record.metric))
    if record.gains:
        numbers = list(record.gains)
        if len(baselines) > 1:
            luck = np.array([record.improvement(b, record.baseline) for b in baselines]) * scale
            mean, std = float(luck.mean()), float(luck.std(ddof=1))
            add_band(
                figure,
                [numbers[0], numbers[-1]],
                [mean - std] * 2,
                [mean + std] * 2,
                color=CONTROL_COLOR,
                group="baselines",
            )
            figure.add_trace(
                go.Scatter(
                    x=[numbers[0], numbers[-1]],
                    y=[mean] * 2,
                    mode="lines",
                    line={"color": CONTROL_COLOR, "dash": "dot"},
                    name=f"unmoved networks, {len(luck)} seeds: mean ± sd",
                    legendgroup="baselines",
                )
            )
        gains = {number: scale * gain for number, gain in record.gains.items()}
        figure.add_trace(
            trial_points(
                gains,
                floor_of(gains.values()),
                name="trial",
                symbol="circle",
                color=COLORS[0],
                size=6,
                opacity=0.6,
            )
        )
        figure.add_trace(
            go.Scatter(
                x=[trial.number for trial in record.done_trials],
                y=[scale * gain for gain in record.gains_so_far()],
                mode="lines",
                line={"color": COLORS[1], "width": 2.5, "shape": "hv"},
                name="best so far",
            )
        )
    return say_if_empty(figure, "No trial was completed.")


def plot_walk(study: optuna.Study | Sequence[optuna.Study]) -> go.Figure:
    """Plot the gain along the walks of a :class:`~adnn_optuna.DeltaStepSampler`.

    Args:
        study:
            The study, or those of several seeds: then the lines are faint, and their mean is bold
            where the steps are the same for all.

    Returns:
        A plotly figure.
    """
    records = records_of(study)
    metric = metric_of(records)
    scale = scale_of(metric)
    figure = new_figure("Walk along δ", "Offset of all parameters", gain_title(metric))
    colors: dict[float, str] = {}
    lines: dict[float, list[dict[float, float]]] = {}
    for record in records:
        sampler = record.sampler
        if not isinstance(sampler, DeltaStepSampler):
            continue
        gains = record.gains
        trials = record.study.get_trials(deepcopy=False)
        points: dict[float, dict[float, float]] = {}
        start: dict[float, float] = {}
        for step in sampler.steps(record.study):
            if step.number not in gains:
                continue
            offset = next(iter(trials[step.number].params.values()), 0.0)
            if step.delta is None:
                start = {offset: gains[step.number]}
            else:
                points.setdefault(step.delta, dict(start))[offset] = gains[step.number]
        for delta, of_walk in points.items():
            lines.setdefault(delta, []).append(of_walk)
    is_single = len(records) == 1
    for delta, of_delta in lines.items():
        color = colors.setdefault(delta, COLORS[len(colors) % len(COLORS)])
        for i, line in enumerate(of_delta):
            figure.add_trace(
                go.Scatter(
                    x=list(line),
                    y=[scale * gain for gain in line.values()],
                    mode="lines+markers" if is_single else "lines",
                    line={"color": color, "width": 2 if is_single else 1},
                    opacity=1 if is_single else 0.3,
                    name=f"δ = {delta:g}",
                    legendgroup=f"{delta:g}",
                    showlegend=is_single and i == 0,
                )
            )
        shared = [x for x in of_delta[0] if all(x in line for line in of_delta)]
        if not is_single and shared:
            means = [float(np.mean([line[x] for line in of_delta])) for x in shared]
            figure.add_trace(
                go.Scatter(
                    x=shared,
                    y=[scale * mean for mean in means],
                    mode="lines",
                    line={"color": color, "width": 3},
                    name=f"δ = {delta:g}, mean of {len(of_delta)} seeds",
                    legendgroup=f"{delta:g}",
                )
            )
    return say_if_empty(figure, "No walk of a DeltaStepSampler.")


def plot_annealing(study: optuna.Study) -> go.Figure:
    """Plot the temperatures of an annealing, and which of its trials were accepted.

    The parameters' temperatures say how far they are moved (1 is everywhere), the cost
    temperature how much worse a trial may be and still be accepted.

    Args:
        study:
            A study that was searched by
            :class:`~adnn_optuna.AdaptiveSimulatedAnnealingSampler`.

    Returns:
        A plotly figure.
    """
    record = record_of(study)
    scale = scale_of(record.metric)
    sampler = record.sampler
    steps = sampler.steps(study) if isinstance(sampler, AdaptiveSimulatedAnnealingSampler) else []
    figure = new_figure("Annealing", "", "")
    if not steps:
        return say_if_empty(figure, "No trial of an annealing.")
    make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08, figure=figure)
    curves = {
        name: [step.temperatures.get(name) for step in steps] for name in steps[-1].temperatures
    }
    if len({tuple(curve) for curve in curves.values()}) == 1:
        curves = {"all parameters": next(iter(curves.values()))}
    curves["cost"] = [scale * step.cost_temperature or None for step in steps]
    for i, (name, curve) in enumerate(curves.items()):
        figure.add_trace(
            go.Scatter(
                x=[step.number for step in steps],
                y=curve,
                mode="lines",
                line={
                    "color": COLORS[i % len(COLORS)],
                    "dash": "dash" if name == "cost" else "solid",
                },
                name=f"temperature of {literal(name)}",
            ),
            row=1,
            col=1,
        )
    gains = {number: scale * gain for number, gain in record.gains.items()}
    floor = floor_of(gains.values()) if gains else 0.0
    # A trial has no gain where it diverged, nor any where the baseline did.
    known = [step for step in steps if step.number in gains]
    way = {step.number: gains[step.number] for step in known if step.is_accepted}
    rejected = {step.number: gains[step.number] for step in known if not step.is_accepted}
    figure.add_trace(
        trial_points(rejected, floor, name="rejected", symbol="x-thin-open", color=CONTROL_COLOR),
        row=2,
        col=1,
    )
    accepted = trial_points(way, floor, name="accepted", symbol="circle", color=COLORS[2])
    accepted.update(mode="lines+markers", line={"color": COLORS[2], "width": 1, "shape": "hv"})
    figure.add_trace(accepted, row=2, col=1)
    figure.update_yaxes(
        type="log", title_text="Temperature", exponentformat="power", dtick=1, row=1, col=1
    )
    unit = " [pp]" if scale > 1 else ""
    figure.update_yaxes(title_text=f"Gain{unit}", row=2, col=1)
    figure.update_xaxes(title_text="Trial", row=2, col=1)
    return figure


def plot_offsets(study: optuna.Study | Sequence[optuna.Study]) -> go.Figure:
    """Plot the offsets of all completed trials by layer, and mark the best trial's.

    Args:
        study:
            The study, or those of several seeds, whose best trials are all marked.

    Returns:
        A plotly figure.
    """
    records = records_of(study)
    metric = metric_of(records)
    scale = scale_of(metric)
    figure = new_figure("Offsets by layer", "", "Offset")
    rng = np.random.default_rng(0)
    xs: list[float] = []
    ys: list[float] = []
    gains: list[float] = []
    best_xs: list[float] = []
    best_ys: list[float] = []
    names: list[str] = []
    for record in records:
        if record.is_restart or record.best is None:
            continue
        names += [name for name in record.best.distributions if name not in names]
        gain_of = record.gains
        for trial in record.done_trials:
            if trial.number not in gain_of:
                continue
            for name, value in trial.params.items():
                if isinstance(value, int | float) and name in names:
                    xs.append(names.index(name) + float(rng.uniform(-0.25, 0.25)))
                    ys.append(value)
                    gains.append(scale * gain_of[trial.number])
        for name, value in record.best.params.items():
            if isinstance(value, int | float):
                best_xs.append(names.index(name) + 0.0)
                best_ys.append(value)
    if xs:
        floor = floor_of(gains)
        figure.add_trace(
            go.Scatter(
                x=xs,
                y=ys,
                mode="markers",
                name="trial",
                marker={
                    "size": 5,
                    "opacity": 0.55,
                    "color": [max(gain, floor) for gain in gains],
                    "colorscale": "Viridis",
                    "colorbar": {
                        "title": {"text": "Gain [pp]" if scale > 1 else "Gain"},
                        "thickness": 12,
                    },
                },
            )
        )
        figure.add_trace(
            go.Scatter(
                x=best_xs,
                y=best_ys,
                mode="markers",
                name="best trial" if len(records) == 1 else "best trial of each seed",
                marker={
                    "symbol": "star",
                    "size": 13,
                    "color": COLORS[4],
                    "line": {"width": 1, "color": "white"},
                },
            )
        )
        labels = [literal(name) for name in names]
        figure.update_xaxes(tickvals=list(range(len(names))), ticktext=labels, showgrid=False)
    return say_if_empty(figure, "No offsets were moved.")
