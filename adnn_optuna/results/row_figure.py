"""A figure of values, with a row for each arm or trial."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import mean

from adnn_optuna._units import Unit, capitalized, in_list
from adnn_optuna.render.document import Figure, Series
from adnn_optuna.results.selection_figure import dots_in_row


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

    The arms in ``controls`` are grey.
    """
    series = []
    means = {}
    colors = iter(range(len(values)))
    for row, (label, of_arm) in enumerate(values.items()):
        color = None
        if label not in controls:
            color = next(colors)
        value_names = names or map(str, range(len(of_arm)))
        named_values = zip(value_names, of_arm, strict=False)
        finite_values = {name: value for name, value in named_values if math.isfinite(value)}
        if finite_values:
            hover = [f"{label}, {name}: {unit.value(v)}" for name, v in finite_values.items()]
            dots = dots_in_row([*finite_values.values()], row, unit, hover)
            means[label] = mean(finite_values.values())
            mean_hover = f"{label}: {unit.value(means[label])}"
            x = [unit.scale * means[label]]
            series += [dots, Series("", x, [row], "squares", hover=[mean_hover], color=color)]
    return Figure(
        key,
        best_mean(score, means, unit.value, lower_is_better=lower_is_better),
        unit.heading(score),
        "",
        series,
        caption="Dots: single values. Squares: their means.",
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
