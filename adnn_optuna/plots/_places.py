"""Where a search's trials lie, and how good they are."""

import itertools
from typing import Any

import numpy as np
import plotly.graph_objects as go

import adnn_optuna.plots._style as style
from adnn_optuna._units import params_in_words, unit_of
from adnn_optuna.engine.search_record import SearchRecord
from adnn_optuna.results.curves import places_of


def plot_places(record: SearchRecord) -> go.Figure:
    """Plot where the trials of a search lie, in one or two coordinates, and how good they are."""
    (names, trials), unit = places_of(record), unit_of(record.metric)
    metric = unit.heading(record.metric_label)
    figure = style.new_figure("Where the best trials lie", *[*names, metric, metric][:2])
    if not names:
        return figure
    values = [unit.scale * trial.values[0] for trial in trials]
    shown = [[trial.params[name] for trial in trials] for name in names]
    x, y = [*shown, values][:2]
    # Few that are far worse than all others would leave these one colour.
    is_loss = record.improvement(1.0, 0.0) < 0
    low, high = np.quantile(values, [0.0, 0.75] if is_loss else [0.25, 1.0]).tolist()
    scale: Any = {"colorscale": style.SCALE, "reversescale": is_loss, "cmin": low, "cmax": high}
    bar = {"thickness": 10, "outlinewidth": 0, "title": {"text": metric, "side": "right"}}
    figure.update_layout(coloraxis={**scale, "colorbar": bar})
    look: Any = {"size": 9, "coloraxis": "coloraxis", "line": {"width": 1}}
    said = [
        f"{style.seed_of(record)}trial {trial.number}: {unit.value(trial.values[0])} at "
        f"{params_in_words({name: trial.params[name] for name in names})}"
        for trial in trials
    ]
    figure.add_trace(style.dots(x, y, values, "", said, **look).update(showlegend=False))
    is_best = [trial.number == (record.best and record.best.number) for trial in trials]
    ring: Any = {"size": 17, "symbol": "circle-open", "line": {"width": 3}}
    best_x, best_y = ([*itertools.compress(of, is_best)] for of in (x, y))
    winner = style.dots(best_x, best_y, style.COLORS[1], "winner", **ring)
    figure.add_trace(winner.update(hoverinfo="skip"))
    for name, axis in zip(names, (figure.layout.xaxis, figure.layout.yaxis), strict=False):
        axis.type = "log" if getattr(trials[0].distributions[name], "log", False) else None
    return figure
