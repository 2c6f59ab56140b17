"""The figures of a search, as plain data."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

import numpy as np

from adnn_optuna import _attributes as stored
from adnn_optuna._units import Estimate, params_in_words, score_in_words
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.render.document import Figure, Mark, Series
from adnn_optuna.results import curves
from adnn_optuna.results.confirmation import Confirmation
from adnn_optuna.results.differences import interval_figure
from adnn_optuna.results.search_numbers import selection_unit, test_unit


def gain_figure(record: SearchRecord) -> Figure:
    """Return each trial's gain over the baseline, and the best gain so far."""
    unit = selection_unit(record)
    gains = {number: unit.scale * gain for number, gain in record.gains.items()}
    floor = _floor([*gains.values()])
    series = [
        _gain_series("trial", "points", record, {n: g for n, g in gains.items() if g >= floor}),
        _gain_series(
            "trial, far below",
            "triangles",
            record,
            {n: floor for n, gain in gains.items() if gain < floor},
        ),
    ]
    if gains:
        best = [unit.scale * gain for gain in curves.gains_so_far(record)]
        done = [trial.number for trial in record.done_trials]
        series.append(Series("best so far", done, best, "steps", color=1))
    return Figure(
        "gain",
        "Gain against trials",
        "Trial",
        unit.heading(f"Gain in {record.metric_label}", is_gain=True),
        series,
        "By the metric of the selection, over the baseline of one seed.",
        if_empty="No trial was completed.",
    )


def _gain_series(
    label: str, mark: Mark, record: SearchRecord, shown: Mapping[int, float]
) -> Series:
    """Return trials at the places where they are shown; their texts say what they gained."""
    unit, seed = selection_unit(record), _seed(record)
    hover = [f"{seed}trial {number}: {unit.gain(record.gains[number])}" for number in shown]
    return Series(label, [*shown], [*shown.values()], mark, hover=hover)


def _floor(gains: Sequence[float]) -> float:
    """Return a floor for gains: the few that are far below all others are drawn on it."""
    if not gains:
        return -math.inf
    # Far below is below the lower quartile by more than three times the quartiles' distance.
    low, high = np.quantile(gains, [0.25, 0.75])
    floor = min(gain for gain in gains if gain >= low - 3 * (high - low))
    # Below the lowest of the others, to be distinguishable from it.
    return floor if floor == min(gains) else floor - 0.15 * max(max(gains) - floor, 1e-9)


def _seed(record: SearchRecord) -> str:
    """Return the seed of a search as the beginning of a point's text; empty without one."""
    config = record.attrs.get(stored.CONFIG, {})
    return f"seed {config['seed']}, " if "seed" in config else ""


def evidence_figure(record: SearchRecord, confirmation: Confirmation | None) -> Figure:
    """Return the differences on new seeds with their CIs, beside the search's own gain."""
    unit = test_unit(record)
    gains = {}
    if confirmation is not None:
        gains["vs new baselines"] = confirmation.vs_baselines
        gains["replication"] = confirmation.replication
    gains["vs own baseline"] = Estimate(record.test_gain, math.nan, math.nan)
    score = score_in_words(record.test_metric, record.positive)
    return interval_figure(
        "evidence",
        "Gain on the test set",
        unit.heading(f"Difference of the {score}", is_gain=True),
        {label: gain for label, gain in gains.items() if math.isfinite(gain.value)},
        unit,
        level=0.95 if confirmation is None else confirmation.level,
        if_empty="No best trial was tested.",
    )


def places_figure(record: SearchRecord) -> list[Figure]:
    """Return the trials in one or two parameters, and their values; nothing if none varies."""
    names, trials = curves.places_of(record)
    if not names:
        return []
    unit = selection_unit(record)
    metric = unit.heading(record.metric_label)
    x_label, y_label = [*names, metric][:2]
    values = [unit.scale * value for _, value in record.valued]
    columns = [[trial.params[name] for trial in trials] for name in names]
    x, y = [*columns, values][:2]
    hover = [
        f"{_seed(record)}trial {trial.number}: {unit.value(value / unit.scale)} at "
        f"{params_in_words({name: trial.params[name] for name in names})}"
        for trial, value in zip(trials, values, strict=True)
    ]
    best = [
        i for i, trial in enumerate(trials) if record.best and trial.number == record.best.number
    ]
    ring = Series("best trial", [x[i] for i in best], [y[i] for i in best], "rings", color=1)
    axes = zip("xy", names, strict=False)
    logs = (axis for axis, name in axes if getattr(trials[0].distributions[name], "log", False))
    return [
        Figure(
            "places",
            "Parameters of the trials",
            x_label,
            y_label,
            [Series("", x, y, "points", hover=hover, values=values), ring],
            "The ring is the best trial. Of more than two parameters, these matter most for the "
            "best trials.",
            value_label=metric,
            lower_is_better=record.improvement(1.0, 0.0) < 0,
            log="".join(logs),
        )
    ]


def restart_figures(record: SearchRecord) -> list[Figure]:
    """Return how random initializations vary, and what the best of n is expected to gain."""
    unit = selection_unit(record)
    draws = [unit.scale * value for value in record.values]
    bars = list[Series]()
    if draws:
        sd = stdev(draws) if len(draws) > 1 else 0.0
        numbers = (f"{value:.{unit.digits}f}" for value in (fmean(draws), sd))
        label = f"{len(draws)} initializations: {' ± '.join(numbers)} (standard deviation)"
        bars = [Series(label, draws, [], "bars", color=None)]
    if draws and math.isfinite(record.baseline):
        bars.append(Series("baseline", [unit.scale * record.baseline], [0], "diamonds"))
    distribution = Figure(
        "distribution",
        "Random initializations of one network",
        unit.heading(record.metric_label),
        "Initializations",
        bars,
        "How far the seed alone changes the metric of the selection.",
        if_empty="No network was trained.",
    )
    curve = curves.price_of_luck([record])
    best_of_n = Figure(
        "best-of-n",
        "Selection bias: the best of n random restarts",
        "Number of random restarts n",
        unit.heading("Gain over the mean restart", is_gain=True),
        [curves.mean_series("best of n random restarts", curve, unit, color=None)],
        "Expected over all ways to draw n of these restarts.",
        if_empty="There are no random restarts.",
    )
    return [distribution, best_of_n]
