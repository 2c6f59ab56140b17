"""Functions that draw the results of the sampler benchmarks."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from _common import COLORS, CONTROL_COLOR, Results
from _samplers import OURS, RANDOM, label_of, methods_of

if TYPE_CHECKING:
    from collections.abc import Sequence


def markers_of(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the marker of each sampler; ours is large, random search is grey, and all differ."""
    own = {OURS: COLORS[0], RANDOM: CONTROL_COLOR}
    colors = itertools.cycle(COLORS[1:])
    symbols = itertools.cycle(("circle", "square", "diamond", "triangle-up", "cross", "x", "star"))
    return {
        name: {
            "color": own.get(name) or next(colors),
            "symbol": next(symbols),
            "size": 11 if name == OURS else 8,
        }
        for name in names
    }


def side_by_side(groups: Sequence[str], i: int, n: int) -> dict[str, float]:
    """Return the position of sampler i of n in each group, so that no marker hides another."""
    return {group: place + 0.9 * ((i + 0.5) / n - 0.5) for place, group in enumerate(groups)}


def rank_figures(results: Results) -> dict[str, go.Figure]:
    """Draw the mean ranks and their intervals."""
    figure, names = go.Figure(), methods_of(results)
    ranked = [row for row in results["rows"] if row["mean_rank"]]
    groups = [*dict.fromkeys(map(label_of, ranked))]
    for i, (name, marker) in enumerate(markers_of(names).items()):
        rows = [row for row in ranked if row["method"] == name]
        places = side_by_side(groups, i, len(names))
        ranks = np.array([row["mean_rank"] for row in rows], float).reshape(-1, 3)
        figure.add_scatter(
            x=[places[label_of(row)] for row in rows],
            y=ranks[:, 0],
            error_y={"array": ranks[:, 2] - ranks[:, 0]},
            mode="markers",
            name=name,
            marker=marker,
        )
    first = [min(ranked, key=lambda row: (label_of(row) != g, row["mean_rank"])) for g in groups]
    n_first = sum(row["method"] == OURS for row in first)
    texts = [f"{group} trials".replace(", ", "<br>") for group in groups]
    ticks = {"tickvals": [*range(len(groups))], "ticktext": texts, "tickangle": 0}
    figure.update_xaxes(**ticks, showgrid=False, zeroline=False)
    figure.update_yaxes(title="mean rank (lower is better)")
    figure.update_layout(
        title=f"{OURS} has the best mean rank in {n_first} of {len(groups)} groups (95% CIs)",
        width=900,
        height=450,
        margin={"t": 50, "b": 70},
    )
    return {"": figure}
