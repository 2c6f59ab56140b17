"""Figures of a search's winner: where it lies among the trials, and how it learned."""

import itertools
from typing import Any

import numpy as np
import plotly.graph_objects as go

import adnn_optuna.plots._style as style
from adnn_optuna._units import params_in_words, unit_of
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.evidence.curves import Curve, places_of
from adnn_optuna.evidence.examples import WinnerFacts


def plot_places(record: SearchRecord) -> go.Figure:
    """Plot where the trials of a search lie, in one or two coordinates, and how good they are."""
    (names, trials), unit = places_of(record), unit_of(record.metric)
    metric = unit.heading(record.metric)
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


def plot_learning(facts: WinnerFacts, metric: str) -> go.Figure:
    """Plot what both networks came to after each epoch, on training and validation data."""
    title = "How the winner and the unmoved network learned"
    figure = style.new_figure(title, "Epoch", unit_of(metric).heading(metric))
    networks = {"winner": facts.winner, "unmoved": facts.unmoved}
    for split, part, dash in (("val", "validation", "solid"), ("train", "training", "dot")):
        for (name, epochs), color in zip(networks.items(), style.COLORS, strict=False):
            key = f"{split}_{metric}"
            values = np.array([epoch[key] for epoch in epochs if key in epoch])
            curve = Curve(range(1, len(values) + 1), values, None)
            look: Any = {"is_gain": False, "dash": dash, "width": 2.5}
            style.add_mean(figure, curve, unit_of(metric), color, f"{name}, {part}", **look)
    # Of one epoch there is no line.
    figure.update_traces(mode="lines+markers", marker={"size": 6})
    return figure.update_layout(hovermode="x unified")


def png(pixels: np.ndarray) -> str:
    """Return values from 0 to 1, of shape (height, width[, 3]), as a PNG in a ``data:`` URI."""
    import plotly.express as px

    rows = (255 * pixels).round().astype(np.uint8)
    # By the encoder that plotly brings along: Pillow is there for some only.
    options: Any = {"contrast_rescaling": "infer", "binary_backend": "pypng"}
    return str(px.imshow(rows, binary_string=True, **options).data[0].source)
