"""Figures of estimates and their intervals: rechecks, variances, gains."""

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

import adnn_optuna.plots._style as style
from adnn_optuna._units import ACCURACY, Unit, score_in_words, unit_of
from adnn_optuna.results.curves import Curve
from adnn_optuna.results.ensembles import EnsembleFacts
from adnn_optuna.results.variance import ALL, VarianceFacts


def plot_variance(facts: VarianceFacts) -> go.Figure:
    """Plot what each source of randomness does to a value, and what all of them do."""
    unit, points = unit_of(facts.value_name), facts.deviations
    title = "How far it varies from run to run, and from what"
    heading = unit.heading(f"deviation of {facts.value_name}", is_gain=True)
    figure = style.new_figure(title, heading, "")
    for i, (name, deviations) in enumerate(points.items()):
        color = style.COLORS[0] if name == ALL else style.CONTROL_COLOR
        # Side by side, lest equal ones hide each other.
        x = (unit.scale * deviations).round(6)
        y = i + np.linspace(-0.2, 0.2, max(len(x), 1))
        said = [f"run {n}: {unit.gain(d)}" for n, d in enumerate(deviations, 1)]
        runs = style.dots(x.tolist(), y.tolist(), color, "", said, size=7, opacity=0.6)
        sd, low, high = (unit.scale * value for value in facts.spreads[name])
        ends = {"array": [sd - low, high - sd], "arrayminus": [high - sd, sd - low]}
        dash: Any = {"size": 11, "symbol": "line-ns-open", "line_width": 3}
        shown = "one standard deviation, 95% interval"
        spread = style.dots([-sd, sd], [i, i], color, shown, **dash).update(error_x=ends)
        figure.add_traces([runs.update(showlegend=False), spread.update(showlegend=name == ALL)])
    if not math.isnan(own := facts.own_value - facts.mean):
        look: Any = {"size": 11, "symbol": "diamond"}
        place, said = (
            ([unit.scale * own], [len(points) - 1]),
            [f"seed {facts.seed}: {unit.gain(own)}"],
        )
        figure.add_trace(style.dots(*place, style.COLORS[1], "the seed in use", said, **look))
    return style.label_rows(figure, points)


def plot_averages(facts: EnsembleFacts) -> go.Figure:
    """Plot the test score of averages against the number of networks, beside each alone."""
    unit, scores = unit_of(facts.score_name), facts.scores_by_number
    title, heading = "What averaging brings", unit.heading(score_in_words(facts.score_name))
    figure = style.new_figure(title, "Number of networks that are averaged", heading)
    if scores:
        alone = [unit.scale * score for score in facts.members]
        seeds = [seed for seed in facts.seeds if seed in facts.predicted]
        of_each = zip(seeds, facts.members, strict=True)
        said = [f"seed {seed}: {unit.value(score)}" for seed, score in of_each]
        ones = [1] * len(alone)
        figure.add_trace(style.dots(ones, alone, style.CONTROL_COLOR, "one network", said, size=7))
        curve, look = Curve(range(1, len(scores) + 1), np.array(scores), None), {"width": 2.5}
        style.add_mean(figure, curve, unit, style.COLORS[0], "average", is_gain=False, **look)
        figure.update_xaxes(dtick=max(1, len(scores) // 10))
    return style.say_if_empty(figure, "No network was trained.")


def plot_gains(
    gains: Mapping[str, tuple[float, ...]],
    title: str,
    unit: Unit,
    *,
    of: str = "accuracy",
    over: str = "",
    region: float = 0.0,
    open_dots: Collection[str] = (),
) -> go.Figure:
    """Plot gains, each with the ends of its interval, if they are known, by what it is of.

    They are gains of accuracy, or of what ``of`` says, ``over`` something. In the ``region``
    around 0, nothing is gained or lost.
    """
    is_accuracy = unit is ACCURACY
    x_title = f"Gain{over} [percentage points]" if is_accuracy else f"Gain in {of}{over}"
    figure = style.new_figure(title, x_title, "")
    rows, region = unit.scale * np.array([*gains.values()]), unit.scale * region
    for i, (label, (gain, low, high)) in enumerate(zip(gains, rows.tolist(), strict=True)):
        color = style.COLORS[2 if low > 0 else 4 if high < 0 else 0]
        symbol = "circle-open" if label in open_dots else "circle"
        look: Any = {"size": 15, "symbol": symbol, "line": {"width": 3, "color": color}}
        said = f"{label}: {unit.gain(gain / unit.scale)}"
        ends: dict[str, Any] = {}
        if math.isfinite(low) and math.isfinite(high):
            said += f", interval {unit.interval(low / unit.scale, high / unit.scale)}"
            ends = {"array": [high - gain], "arrayminus": [gain - low], "thickness": 3, "width": 8}
        dot = style.dots([gain], [i], color, "", [said], **look)
        dot.update(text=f"{gain:+.{unit.digits}f}", textposition="top center", textfont_size=15)
        dot.update(mode="markers+text", cliponaxis=False, showlegend=False, error_x=ends)
        figure.add_trace(dot)
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
