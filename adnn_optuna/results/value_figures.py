"""Figures of values as dots in rows: selection bias in a study, and the values of several arms."""

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import mean
from typing import NamedTuple

import numpy as np

from adnn_optuna._units import Unit, capitalized, in_list, in_number, percent, score_sign
from adnn_optuna.render.document import Figure, Line, Mark, Series
from adnn_optuna.results.sentences import not_drawn
from adnn_optuna.stats.spread import floor_of

_LABEL = 0.25  # The distance of a label from its point, in rows.
_SPACE = 2 * "\N{NO-BREAK SPACE}"  # The space between a text and the line beside it.
_OF_BEST, _OF_CHOSEN = 1, 0  # The colors of the best and the chosen trial.
_SPREAD = 0.3  # The height of the band in which a row's dots are spread, in rows.


class NewValues(NamedTuple):
    """Values without selection bias, which the figure shows in a row below the trials."""

    row: str  # The row's label.
    mean: Line  # The mean of the values, with its CI if it has one.
    values: Sequence[float] = ()


def selection_figure(
    key: str,
    title: str,
    x_label: str,
    *,
    trials: Sequence[float],
    best: Line,
    chosen: NewValues,
    level: float,
    of_trials: str = "",
    compared: NewValues | None = None,
    reported: Line | None = None,
    excess: str = "",
    maximize: bool = True,
) -> Figure:
    """Return a figure of selection bias, with labels for the best trial and for the new seeds.

    Args:
        key: The figure's key.
        title: The finding, as the figure's title.
        x_label: The name of the values.
        trials: The values of the study's trials.
        best: The study's best value.
        chosen: The values of the chosen trial on new seeds.
        level: The level of the CI of the mean on new seeds.
        of_trials: The words before the number of trials.
        compared: The values of the trial with which the chosen trial is compared.
        reported: The chosen trial's value in the study, if it is not the best trial.
        excess: The label of the distance from the mean to the best value; empty if these two
            values are of different data.
        maximize: Whether higher values are better.
    """
    # The best value needs no more decimals than the mean's CI.
    best = dataclasses.replace(best, unit=chosen.mean.unit)
    sign = score_sign(maximize=maximize)
    floor = floor_of([sign * value for value in trials])
    near = [value for value in trials if sign * value >= floor]
    n_trials = in_number(len(trials), "trial")
    caption = "Each dot is one trial."
    if chosen.values:
        caption = "Each dot is one trial or one new run."
    if n_far := len(trials) - len(near):
        n_trials = f"{len(near)} of {n_trials}"
        caption += not_drawn(n_far)
    of_best = _point("squares", best, 0, _OF_BEST)
    of_chosen = _point("squares", chosen.mean, 1, _OF_CHOSEN)
    squares = [of_best, of_chosen]
    new_values = [chosen]
    if compared is not None:
        squares.append(_point("squares", compared.mean, 2, None))
        new_values.append(compared)
    _drop(near, best)
    if reported is not None:
        _drop(near, reported)
        squares.append(_point("hollow squares", reported, 0, _OF_CHOSEN))
        caption = f"{caption} Hollow square: {reported.label} in the study, {reported.value}."
    dots = [dots_in_row(near, 0, best.unit)]
    for row, new in enumerate(new_values, 1):
        dots.append(dots_in_row(new.values, row, best.unit))
    drawn = list[float]()
    for series in (*dots, *squares):
        drawn += filter(math.isfinite, [*series.x, *series.low, *series.high])
    ends = min(drawn), max(drawn)
    lines = [_label(f"{best.label}: {best.value}", "top", of_best, -_LABEL, ends)]
    for square, new in zip(squares[1:], new_values, strict=False):
        text = f"{new.mean.label}: {new.mean.value}"
        if new.mean.ends:
            text = f"{text} ({percent(level)} CI {new.mean.ends})"
        lines.append(_label(text, "bottom", square, _LABEL, ends))
    if excess:
        lines.insert(0, _distance(excess, of_best.x[0], of_chosen.x[0], sum(ends) / 2))
    return Figure(
        key=key,
        title=title,
        x_label=x_label,
        y_label="",
        series=[*dots, *lines, *squares],
        caption=caption,
        rows=[f"{of_trials}{n_trials}", *(new.row for new in new_values)],
        lower_is_better=not maximize,
    )


def _drop(values: list[float], square: Line) -> None:
    """Remove from the dots the value that is drawn as a square."""
    if square.estimate.value in values:
        values.remove(square.estimate.value)


def _point(mark: Mark, line: Line, row: int, color: int | None) -> Series:
    """Return an estimate as a mark with a bar for its CI."""
    value, low, high = ([line.unit.scale * end] for end in line.estimate)
    return Series("", value, [row], mark, low, high, hover=[line.value], color=color)


def _label(
    text: str, side: str, square: Series, distance: float, ends: tuple[float, float]
) -> Series:
    """Return a line from a square to its label.

    The label is aligned so that it stays within the axis, which ends at ``ends``. The space to the
    left of the axis is for the name of the row.
    """
    x = square.x[0]
    row = square.y[0]
    low, high = ends
    align = "center"
    if x > low + 0.5 * (high - low):
        align = "left"
    elif x < low + 0.1 * (high - low):
        align = "right"
    places = [f"{side} {align}"] * 2
    y = [row, row + distance]
    return Series("", [x, x], y, color=square.color, text=["", text], text_at=places)


def _distance(text: str, best: float, mean: float, middle: float) -> Series:
    """Return a line from the best value to the mean on new seeds.

    The text is beside the horizontal part of the line, on the side with more room.
    """
    side = "right"
    at = max(best, mean)
    if best + mean > 2 * middle:
        side = "left"
        at = min(best, mean)
    # NaN separates the text's point from the line.
    x = [at, math.nan, best, best, mean, mean]
    y = [0.5, math.nan, 0, 0.5, 0.5, 1]
    texts = [f"{_SPACE}{text}{_SPACE}", *5 * [""]]
    return Series("", x, y, color=_OF_BEST, text=texts, text_at=[f"middle {side}"] * 6)


def dots_in_row(
    values: Sequence[float], row: int, unit: Unit, hover: Sequence[str] = ()
) -> Series:
    """Return values as grey dots in a row, spread vertically so that equal values are visible."""
    x = [unit.scale * value for value in values]
    # Multiples of the golden ratio are evenly distributed for any number of values.
    places = np.arange(len(values)) * (math.sqrt(5) - 1) / 2 % 1 - 0.5
    y = (row + _SPREAD * places).round(3).tolist()
    texts = [*hover] or [*map(unit.value, values)]
    return Series("", x, y, "points", hover=texts, color=None)


def values_figure(
    key: str,
    score: str,
    values: Mapping[str, Sequence[float]],
    unit: Unit,
    *,
    names: Sequence[str] = (),
    controls: Collection[str] = (),
    lower_is_better: bool,
) -> Figure:
    """Return a figure with a row for each arm: its values as dots, and their mean.

    The means of arms in ``controls`` are hollow.
    """
    series = []
    means = {}
    caption = "Dots: single values. Squares: their means."
    hollow = [label for label in values if label in controls]
    if hollow:
        caption = f"{caption} Hollow: {in_list(hollow)}."
    for row, (label, of_arm) in enumerate(values.items()):
        mark: Mark = "hollow squares" if label in hollow else "squares"
        value_names = names or map(str, range(len(of_arm)))
        named_values = zip(value_names, of_arm, strict=False)
        finite_values = {name: value for name, value in named_values if math.isfinite(value)}
        if finite_values:
            hover = [f"{label}, {name}: {unit.value(v)}" for name, v in finite_values.items()]
            dots = dots_in_row([*finite_values.values()], row, unit, hover)
            means[label] = mean(finite_values.values())
            mean_hover = f"{label}: {unit.value(means[label])}"
            x = [unit.scale * means[label]]
            series += [dots, Series("", x, [row], mark, hover=[mean_hover], color=0)]
    return Figure(
        key,
        best_mean(score, means, unit.value, lower_is_better=lower_is_better),
        unit.heading(score),
        "",
        series,
        caption=caption,
        rows=[*values],
        lower_is_better=lower_is_better,
    )


def best_mean(
    score: str, means: Mapping[str, float], write: Callable[[float], str], *, lower_is_better: bool
) -> str:
    """Return a title with the best mean and the arms that reach it."""
    if not means:
        return capitalized(score)
    best = max(means.values())
    if lower_is_better:
        best = min(means.values())
    leaders = [arm for arm, of_arm in means.items() if of_arm == best]
    return f"Best mean {score}: {write(best)} ({in_list(leaders)})"
