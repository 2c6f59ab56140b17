"""Draw the picture of the package keyed: ``picture.py FILE``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import optuna
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from adnn_optuna.samplers import KeyedSampler

if TYPE_CHECKING:
    from collections.abc import Callable

N, STOPPED = 30, 12


def tpe(seed: int, _: int | None = None) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed)


def proposed(make: Callable[[], optuna.samplers.BaseSampler], *parts: int) -> list[float]:
    """Return the values of x in a study; ``parts`` has the number of trials of each part.

    Each part has a new sampler, as after a restart.
    """
    study = optuna.create_study()
    for n_trials in parts:
        study.sampler = make()
        study.optimize(lambda trial: (trial.suggest_float("x", -5, 5) - 1) ** 2, n_trials)
    return [trial.params["x"] for trial in study.trials]


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    makers = {"TPESampler(seed=0)": lambda: tpe(0), "KeyedSampler": lambda: KeyedSampler(tpe, 0)}
    figure = make_subplots(1, 2, subplot_titles=[*makers], shared_yaxes=True)
    for column, make in enumerate(makers.values(), start=1):
        styles = {
            "never stopped": ((N,), {"symbol": "circle-open", "size": 13, "color": "#0072b2"}),
            "stopped, resumed": ((STOPPED, N - STOPPED), {"symbol": "x", "color": "#d55e00"}),
        }
        for name, (parts, marker) in styles.items():
            ys = proposed(make, *parts)
            points = go.Scatter(y=ys, mode="markers", name=name, marker=marker)
            figure.add_trace(points.update(showlegend=column == 1), 1, column)
        figure.add_vline(STOPPED - 0.5, line={"dash": "dot"}, row=1, col=column)
    figure.update_xaxes(title="trial").update_yaxes(title="x", col=1)
    figure.update_layout(template="plotly_white", legend={"orientation": "h", "y": -0.2})
    figure.update_layout(margin={"l": 60, "r": 20, "t": 40, "b": 20})
    figure.write_image(sys.argv[1], width=900, height=380, scale=1.5)


if __name__ == "__main__":
    main()
