"""A figure of what selection adds to a best value: all trials, the best one, and new seeds."""

import math
from collections.abc import Sequence

import numpy as np

from adnn_optuna._units import Unit, in_number
from adnn_optuna.render.document import Figure, Line, Series
from adnn_optuna.stats.spread import floor_of

_SPREAD = 0.3  # Of the dots of a row, as they are drawn side by side.
_CENTER = 0.35, 0.65  # The share of the width from which labels are centered.
_LABEL = 0.25  # How far a label is from the point that it names.
_SPACE = "\N{NO-BREAK SPACE}"  # Between a text and the line beside it.


def selection_figure(
    title: str,
    x_label: str,
    unit: Unit,
    *,
    trials: Sequence[float],
    best: Line,
    runs: Sequence[float],
    chosen: Line,
    level: float,
    rows: tuple[str, str],
    excess: str = "",
    maximize: bool = True,
) -> Figure:
    """Return the figure, in which labels name the best trial and its value on new seeds.

    Args:
        title: The finding.
        x_label: The name of the values.
        unit: The unit of the values.
        trials: The values of the study's trials.
        best: The study's best value.
        runs: The values on new seeds.
        chosen: Their mean.
        level: The level of its CI.
        rows: The labels of the trials and of the runs.
        excess: What the distance from the mean to the best value is; empty if they have no
            distance, as they are not of the same data.
        maximize: Whether higher values are better.
    """
    sign = 1 if maximize else -1
    floor = floor_of([sign * value for value in trials])
    near = [value for value in trials if sign * value >= floor]
    caption = "Dots: single values."
    if n_far := len(trials) - len(near):
        caption = f"{caption} {in_number(n_far, 'trial')} far below are not drawn."
    dots = [_dots(near, 0, unit), _dots(runs, 1, unit)]
    drawn = [x for series in dots for x in series.x]
    labels = _labels(best, chosen, level, excess, ends=(min(drawn), max(drawn)))
    points = [_point(best, 0, color=1), _point(chosen, 1, color=0)]
    return Figure(
        key="selection",
        title=title,
        x_label=x_label,
        y_label="",
        series=[*dots, labels, *points],
        caption=caption,
        rows=rows,
    )


def _dots(values: Sequence[float], row: int, unit: Unit) -> Series:
    """Return values as grey dots around a row, so that equal ones do not hide each other."""
    x = [unit.scale * value for value in values]
    # Multiples of the golden ratio are spread evenly, however many there are.
    places = np.arange(len(values)) * (math.sqrt(5) - 1) / 2 % 1 - 0.5
    y = (row + _SPREAD * places).round(3).tolist()
    return Series("", x, y, "points", hover=[unit.value(v) for v in values], color=None)


def _point(line: Line, row: int, *, color: int) -> Series:
    """Return an estimate as a square with its CI, if it has one."""
    value, low, high = ([line.unit.scale * end] for end in line.estimate)
    return Series("", value, [row], "squares", low, high, color=color)


def _labels(
    best: Line, chosen: Line, level: float, excess: str, *, ends: tuple[float, float]
) -> Series:
    """Return a line from the label of the best value over both points to that of the mean.

    Without a name of the distance, the line has a gap between the points.
    """
    start = best.unit.scale * best.estimate.value
    end = chosen.unit.scale * chosen.estimate.value
    mean = f"{chosen.label}: {chosen.value}"
    if chosen.ends:
        mean = f"{mean} ({100 * level:.9g}% CI {chosen.ends})"
    x = [start, start, start, end, end]
    if excess:
        y = [-_LABEL, 0.5, 0.5, 0.5, 1 + _LABEL]
        excess = f"{_SPACE}{excess}{_SPACE}"
    else:
        y = [-_LABEL, 0.0, math.nan, 1.0, 1 + _LABEL]
    above = _place("top", start, *ends)
    below = _place("bottom", end, *ends)
    return Series(
        "",
        x,
        y,
        "line",
        color=1,
        text=[f"{best.label}: {best.value}", "", excess, "", mean],
        text_at=[above, above, above, above, below],
    )


def _place(side: str, x: float, low: float, high: float) -> str:
    """Return the place of a text at ``x`` where there is the most room from low to high."""
    share = 0.5
    if low < high:
        share = (x - low) / (high - low)
    if share > _CENTER[1]:
        return f"{side} left"
    if share < _CENTER[0]:
        return f"{side} right"
    return f"{side} center"
