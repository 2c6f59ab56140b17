"""The figure of what one search did."""

import plotly.graph_objects as go

import adnn_optuna.plots._style as style
from adnn_optuna._units import unit_of
from adnn_optuna.engine.records import records_of
from adnn_optuna.evidence.curves import gains_so_far


def plot_gain(study: style.Source) -> go.Figure:
    """Plot each trial's gain over the baseline, and the best gain so far."""
    [record] = records_of(study)
    unit = unit_of(record.metric)
    y_title = unit.heading(f"Gain in {record.metric}", is_gain=True)
    figure = style.new_figure("Gain against trials", "Trial", y_title)
    gains = {number: unit.scale * gain for number, gain in record.gains.items()}
    if gains:
        floor, look = style.floor_of(gains.values()), {"size": 6, "opacity": 0.6}
        figure.add_trace(
            style.trial_points(gains, floor, style.COLORS[0], "trial", "circle", **look)
        )
        numbers = [trial.number for trial in record.done_trials]
        best = [unit.scale * gain for gain in gains_so_far(record)]
        color, name = style.COLORS[1], "best so far"
        figure.add_trace(style.line(numbers, best, color, name, width=2.5, shape="hv"))
    return style.say_if_empty(figure, "No trial was completed.")
