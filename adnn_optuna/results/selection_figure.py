"""A figure of what selection adds to a best value: all trials, the best one, and new seeds."""

from collections.abc import Sequence

from adnn_optuna._units import in_number
from adnn_optuna.render.document import Figure, Line, Mark, Series
from adnn_optuna.results.row_figure import dots_in_row
from adnn_optuna.stats.spread import floor_of

_CENTER = 0.35, 0.65  # The share of the width from which labels are centered.
_LABEL = 0.25  # How far a label is from the point that it names.
_SPACE = 2 * "\N{NO-BREAK SPACE}"  # Between a text and the line beside it.
_OF_BEST, _OF_CHOSEN = 1, 0  # Colors.


def selection_figure(
    title: str,
    x_label: str,
    *,
    trials: Sequence[float],
    best: Line,
    runs: Sequence[float],
    chosen: Line,
    level: float,
    rows: tuple[str, str],
    reported: Line | None = None,
    excess: str = "",
    maximize: bool = True,
) -> Figure:
    """Return the figure, in which labels name the best trial and its value on new seeds.

    Args:
        title: The finding.
        x_label: The name of the values.
        trials: The values of the study's trials.
        best: The study's best value.
        runs: The values on new seeds.
        chosen: Their mean.
        level: The level of its CI.
        rows: What stands before the number of trials, and the label of the runs.
        reported: The chosen trial's value in the study, if it is not the best one.
        excess: What the distance from the mean to the best value is; empty if they have no
            distance, as they are not of the same data.
        maximize: Whether higher values are better.
    """
    sign = 1 if maximize else -1
    floor = floor_of([sign * value for value in trials])
    near = [value for value in trials if sign * value >= floor]
    of_trials, of_runs = rows
    n_trials = in_number(len(trials), "trial")
    if n_far := len(trials) - len(near):
        n_trials = f"{len(near)} of {n_trials}"
    caption = "Dots: single values."
    if n_far:
        caption = f"{caption} {in_number(n_far, 'trial')} far below are not drawn."
    squares = [_point("squares", best, 0, _OF_BEST), _point("squares", chosen, 1, _OF_CHOSEN)]
    _drop(near, best)
    if reported is not None:
        _drop(near, reported)
        squares.insert(0, _point("hollow squares", reported, 0, _OF_CHOSEN))
        caption = f"{caption} Hollow square: {reported.label} in the study, {reported.value}."
    dots = [dots_in_row(near, 0, best.unit), dots_in_row(runs, 1, chosen.unit)]
    drawn = [x for series in (*dots, *squares) for x in series.x]
    ends = min(drawn), max(drawn)
    mean = f"{chosen.label}: {chosen.value}"
    if chosen.ends:
        mean = f"{mean} ({100 * level:.9g}% CI {chosen.ends})"
    labels = [
        _label(f"{best.label}: {best.value}", "top", squares[-2], ends),
        _label(mean, "bottom", squares[-1], ends),
    ]
    if excess:
        labels.insert(0, _step(excess, squares[-2].x[0], squares[-1].x[0], ends))
    return Figure(
        key="selection",
        title=title,
        x_label=x_label,
        y_label="",
        series=[*dots, *labels, *squares],
        caption=caption,
        rows=(f"{of_trials}{n_trials}", of_runs),
        lower_is_better=not maximize,
    )


def _drop(values: list[float], square: Line) -> None:
    """Drop the value that a square shows."""
    if square.estimate.value in values:
        values.remove(square.estimate.value)


def _point(mark: Mark, line: Line, row: int, color: int) -> Series:
    """Return an estimate as a square with its CI, if it has one."""
    value, low, high = ([line.unit.scale * end] for end in line.estimate)
    return Series("", value, [row], mark, low, high, hover=[line.value], color=color)


def _label(text: str, side: str, square: Series, ends: tuple[float, float]) -> Series:
    """Return a line from a square to its label above or below, where there is the most room."""
    x = square.x[0]
    row = square.y[0]
    y = row - _LABEL if side == "top" else row + _LABEL
    share = 0.5
    if ends[0] < ends[1]:
        share = (x - ends[0]) / (ends[1] - ends[0])
    place = "center"
    if share > _CENTER[1]:
        place = "left"
    elif share < _CENTER[0]:
        place = "right"
    places = [f"{side} {place}"] * 2
    return Series("", [x, x], [row, y], color=square.color, text=["", text], text_at=places)


def _step(text: str, best: float, mean: float, ends: tuple[float, float]) -> Series:
    """Return a line from the best value down to the mean, whose step is the distance.

    Its label is beside the step, where there is more room.
    """
    low, high = sorted([best, mean])
    label_x = high
    side = "right"
    padded = f"{_SPACE}{text}"
    if low - ends[0] > ends[1] - high:
        label_x = low
        side = "left"
        padded = f"{text}{_SPACE}"
    x = [best, best, mean, mean]
    texts = ["", padded, "", ""]
    if label_x == mean:
        texts.reverse()
    places = [f"middle {side}"] * 4
    return Series("", x, [0, 0.5, 0.5, 1], color=_OF_BEST, text=texts, text_at=places)
