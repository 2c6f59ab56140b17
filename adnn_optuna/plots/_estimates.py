"""Figures of estimates and their intervals: rechecks, variances, gains."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

import adnn_optuna.plots._style as style
from adnn_optuna._units import ACCURACY, Unit, score_in_words, unit_of
from adnn_optuna.evidence.ensembles import EnsembleFacts
from adnn_optuna.evidence.recheck import RecheckFacts
from adnn_optuna.evidence.variance import ALL, VarianceFacts


def plot_recheck(facts: RecheckFacts) -> go.Figure:
    """Plot the stored values of a study's best trials beside those of fresh seeds."""
    unit = unit_of(facts.metric)
    figure = style.new_figure(
        "What the study said, and what fresh seeds say", unit.heading(facts.metric), ""
    )
    trials = facts.candidates
    for role, name, shift, color in (
        ("choose", "fresh seeds to choose by", -0.17, style.CONTROL_COLOR),
        ("confirm", "further seeds to confirm", 0.12, style.COLORS[0]),
    ):
        made = [
            (
                unit.scale * value,
                i + shift,
                f"trial {trial.number}, seed {seed}: {unit.value(value)}",
            )
            for i, trial in enumerate(trials)
            for seed, value in facts.by_seed(trial, role).items()
        ]
        if not made:
            continue
        x, y, said = zip(*made, strict=True)
        points = style.dots(x, y, color, name, size=7, opacity=0.6)
        figure.add_trace(style.hover(points, said))
        estimates = [facts.interval(trial, role) for trial in trials]
        # A single value has no interval.
        widths = [e.high - e.value if e.high < math.inf else 0.0 for e in estimates]
        rows, mean = np.arange(len(trials)) + shift + 0.07, "their mean, 95 % interval"
        means = [unit.scale * estimate.value for estimate in estimates]
        trace = style.dots(means, rows, color, mean, size=10, symbol="square")
        trace.update(error_x={"array": [unit.scale * width for width in widths]})
        figure.add_trace(style.hover(trace, [f"mean {unit.value(e.value)}" for e in estimates]))
    stored = [t.value for t in trials if t.value is not None]
    look: Any = {"size": 11, "symbol": "diamond"}
    trace = style.dots(
        [unit.scale * value for value in stored],
        range(len(trials)),
        *(style.COLORS[1], "what the study said"),
        **look,
    )
    figure.add_trace(style.hover(trace, map(unit.value, stored)))
    chosen = (", chosen" if trial is facts.trial else "" for trial in trials)
    labels = [f"trial {t.number}{mark}" for t, mark in zip(trials, chosen, strict=True)]
    return style.label_rows(figure, labels)


def plot_variance(facts: VarianceFacts) -> go.Figure:
    """Plot what each source of randomness does to a value, and what all of them do."""
    unit, points = unit_of(facts.value_name), facts.deviations
    title = "How far it varies from run to run, and from what"
    heading = unit.heading(f"deviation of {facts.value_name}", is_gain=True)
    figure = style.new_figure(title, heading, "")
    for i, (name, deviations) in enumerate(points.items()):
        color = style.COLORS[0] if name == ALL else style.CONTROL_COLOR
        # Side by side, lest equal ones hide each other.
        x = (unit.scale * deviations).round(6).tolist()
        y = (i + np.linspace(-0.2, 0.2, max(len(deviations), 1))).tolist()
        runs = style.dots(x, y, color, "", size=7, opacity=0.6)
        style.hover(runs, [f"run {n}: {unit.gain(d)}" for n, d in enumerate(deviations, 1)])
        sd, low, high = (unit.scale * value for value in facts.spreads[name])
        ends = {"array": [sd - low, high - sd], "arrayminus": [high - sd, sd - low]}
        dash: Any = {"size": 11, "symbol": "line-ns-open", "line_width": 3}
        said = "one standard deviation, 95 % interval"
        spread = style.dots([-sd, sd], [i, i], color, said, **dash).update(error_x=ends)
        figure.add_traces([runs.update(showlegend=False), spread.update(showlegend=name == ALL)])
    if not math.isnan(own := facts.own_value - facts.mean):
        x, y, color = [unit.scale * own], [len(points) - 1], style.COLORS[1]
        look: Any = {"size": 11, "symbol": "diamond"}
        trace = style.dots(x, y, color, "the seed in use", **look)
        figure.add_trace(style.hover(trace, [f"seed {facts.seed}: {unit.gain(own)}"]))
    return style.label_rows(figure, points)


def plot_averages(facts: EnsembleFacts) -> go.Figure:
    """Plot the test score of averages against the number of networks, beside each alone."""
    unit, scores = unit_of(facts.score_name), facts.scores_by_number
    title, heading = "What averaging brings", unit.heading(score_in_words(facts.score_name))
    figure = style.new_figure(title, "Number of networks that are averaged", heading)
    if scores:
        alone = [unit.scale * score for score in facts.members]
        points = style.dots([1] * len(alone), alone, style.CONTROL_COLOR, "one network", size=7)
        seeds = [seed for seed in facts.seeds if seed in facts.predicted]
        of_each = zip(seeds, facts.members, strict=True)
        said = [f"seed {seed}: {unit.value(score)}" for seed, score in of_each]
        figure.add_trace(style.hover(points, said))
        means = [round(unit.scale * score, 6) for score in scores]
        numbers = range(1, len(means) + 1)
        trace = style.line(numbers, means, style.COLORS[0], "average", width=2.5)
        said = [f"average of {n}: {unit.value(v)}" for n, v in zip(numbers, scores, strict=True)]
        figure.add_trace(style.hover(trace, said))
        figure.update_xaxes(dtick=max(1, len(means) // 10))
    return style.say_if_empty(figure, "No network was trained.")


def plot_gains(
    gains: Mapping[str, tuple[float, ...]],
    title: str,
    unit: Unit,
    *,
    of: str = "R²",
    over: str = "",
    region: float = 0.0,
    open_dots: Collection[str] = (),
) -> go.Figure:
    """Plot gains, each with the interval in which it may be, beside 0.

    Args:
        gains: Each gain and the ends of its interval, by what it is of; an end that is not known
            is not drawn.
        title: The figure's title.
        unit: How gains are shown.
        of: What is gained, if these are no accuracies.
        over: What they are gains over, as the x axis says it.
        region: Up to this gain, to both sides, nothing is gained or lost.
        open_dots: Of what dots are open.
    """
    is_accuracy = unit is ACCURACY
    x_title = f"Gain{over} [percentage points]" if is_accuracy else f"Gain in {of}{over}"
    figure = style.new_figure(title, x_title, "")
    rows, region = unit.scale * np.array([*gains.values()]), unit.scale * region
    for i, (label, (gain, low, high)) in enumerate(zip(gains, rows.tolist(), strict=True)):
        color = style.COLORS[2 if low > 0 else 4 if high < 0 else 0]
        symbol = "circle-open" if label in open_dots else "circle"
        look: Any = {"size": 15, "symbol": symbol, "line": {"width": 3, "color": color}}
        dot = style.dots([gain], [i], color, "", **look).update(showlegend=False)
        said = f", interval {unit.interval(low / unit.scale, high / unit.scale)}"
        ends = said if math.isfinite(low) and math.isfinite(high) else ""
        style.hover(dot, [f"{label}: {unit.gain(gain / unit.scale)}{ends}"])
        if ends:
            bar = {"array": [high - gain], "arrayminus": [gain - low]}
            dot.update(error_x={**bar, "thickness": 3, "width": 8})
        dot.update(text=f"{gain:+.{unit.digits}f}", textposition="top center", textfont_size=15)
        figure.add_trace(dot.update(mode="markers+text", cliponaxis=False))
    if gains:
        figure.add_vline(0, line={"color": style.CONTROL_COLOR, "width": 1.5}, layer="below")
        grey = {"fillcolor": style.CONTROL_COLOR, "opacity": 0.25, "line_width": 0}
        figure.add_vrect(-region, region, **grey)
        # With room for the numbers above the outermost dots.
        drawn = [0.0, *rows[np.isfinite(rows)].tolist()]
        room = 0.3 * (max(drawn) - min(drawn)) or 1.0
        figure.update_xaxes(zeroline=False, range=[min(drawn) - room, max(drawn) + room])
        style.label_rows(figure, gains).update_yaxes(showgrid=False)
        figure.update_yaxes(autorange=False, range=[len(gains) - 0.4, -0.6])
    return style.say_if_empty(figure, "No winner was tested.")
