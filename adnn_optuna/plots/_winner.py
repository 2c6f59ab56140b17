"""Figures of a search's winner: how it learned, and the images that it sees otherwise."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

import adnn_optuna.plots._style as style
from adnn_optuna._units import unit_of
from adnn_optuna.evidence.curves import Curve
from adnn_optuna.evidence.examples import WinnerFacts


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
