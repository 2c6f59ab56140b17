"""Figures of searches, alone or several with several seeds, of their winners and their luck."""

import itertools
import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

import adnn_optuna.plots._style as style
from adnn_optuna._units import Unit


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
