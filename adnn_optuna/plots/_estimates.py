"""Figures of gains and their intervals."""

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

import adnn_optuna.plots._style as style
from adnn_optuna._units import ACCURACY, Unit


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
