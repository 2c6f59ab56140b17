"""The figures of a search, as plain data, and the curves that those of comparisons share."""

import logging
import math
import threading
import warnings
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial

from adnn_optuna._units import Estimate, Unit, params_in_words, score_in_words
from adnn_optuna.engine.records import FunctionRecord, SearchRecord
from adnn_optuna.render.document import Figure, Mark, Series
from adnn_optuna.results.confirmation import Confirmation
from adnn_optuna.results.differences import interval_figure
from adnn_optuna.results.fields import units_of
from adnn_optuna.stats.spread import known_sd

Curve = Mapping[int, float]
"""Values by a number, such as that of trials."""

_FEWEST_TRIALS = 10  # Of fewer, nothing tells which parameters matter.


def gain_figure(record: SearchRecord) -> Figure:
    """Return each trial's gain over the baseline, and the best gain so far."""
    unit = units_of(record).selection
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
        best = [unit.scale * gain for gain in gains_so_far(record)]
        done = [trial.number for trial in record.done_trials]
        series.append(Series("best so far", done, best, "steps", color=1))
    over = "first complete trial" if isinstance(record, FunctionRecord) else "baseline of one seed"
    return Figure(
        "gain",
        "Gain against trials",
        "Trial",
        unit.heading(f"Gain in {record.metric_label}", is_gain=True),
        series,
        f"By the metric of the selection, over the {over}.",
        if_empty="No trial was completed.",
    )


def _gain_series(
    label: str, mark: Mark, record: SearchRecord, shown: Mapping[int, float]
) -> Series:
    """Return trials at the places where they are shown; their texts say their gains."""
    unit = units_of(record).selection
    hover = [f"trial {number}: {unit.gain(record.gains[number])}" for number in shown]
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


def evidence_figure(record: SearchRecord, confirmation: Confirmation | None) -> Figure:
    """Return the differences on new seeds with their CIs, beside the search's own gain."""
    unit = units_of(record).test
    gains = {}
    if confirmation is not None:
        gains["vs new baselines"] = confirmation.vs_baselines
        gains["replication"] = confirmation.replication
    gains["vs own baseline"] = Estimate(record.test_gain)
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
    names, trials = places_of(record)
    if not names:
        return []
    unit = units_of(record).selection
    metric = unit.heading(record.metric_label)
    x_label, y_label = [*names, metric][:2]
    values = [unit.scale * value for _, value in record.valued]
    columns = [[trial.params[name] for trial in trials] for name in names]
    x, y = [*columns, values][:2]
    hover = [
        f"trial {trial.number}: {unit.value(value / unit.scale)} at "
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
            lower_is_better=record.is_minimized,
            log="".join(logs),
        )
    ]


def restart_figures(record: SearchRecord) -> list[Figure]:
    """Return how random initializations vary, and the expected gain of the best of n."""
    unit = units_of(record).selection
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
        lower_is_better=record.is_minimized,
        if_empty="No network was trained.",
    )
    caption = "Expected over all ways to draw n of these restarts."
    return [distribution, best_of_n_figure([record], unit, [], caption)]


def best_of_n_figure(
    restarts: Sequence[SearchRecord], unit: Unit, more: Sequence[Series], caption: str
) -> Figure:
    """Return the expected gain of the best of n random restarts, beside ``more``."""
    curve = mean_series("best of n random restarts", price_of_luck(restarts), unit, color=None)
    return Figure(
        "best-of-n",
        "Selection bias: the best of n random restarts",
        "Number of random restarts n",
        unit.heading("Gain over the mean restart", is_gain=True),
        [curve, *more],
        caption,
        if_empty="There are no random restarts.",
    )


def mean_series(
    label: str, curves: Sequence[Curve], unit: Unit, mark: Mark = "line", color: int | None = 0
) -> Series:
    """Return the mean of curves at the places of all, with a band of one standard deviation."""
    x = sorted(set.intersection(*map(set, curves))) if curves else []
    if not x:
        return Series(label, [], [])
    table = unit.scale * np.array([[curve[n] for n in x] for curve in curves])
    # Pages of many figures are heavy with more digits than anyone sees.
    mean = table.mean(axis=0).round(6)
    low, high = list[float](), list[float]()
    if len(curves) > 1:
        sd = np.array([known_sd(column) for column in table.T])
        low, high = (mean - sd).round(6).tolist(), (mean + sd).round(6).tolist()
    return Series(label, x, mean.tolist(), mark, low, high, color=color)


def gains_so_far(record: SearchRecord) -> list[float]:
    """Return the best gain after each trial that was run to an end; 0 while there is none."""
    gains = (record.improvement(best, record.baseline) for best in bests_so_far(record))
    return [gain if math.isfinite(gain) else 0.0 for gain in gains]


def bests_so_far(record: SearchRecord) -> list[float]:
    """Return the best value after each trial; NaN while there is none."""
    values, bests, best = dict(record.valued), [], math.nan
    for trial in record.done_trials:
        value = values.get(trial.number, math.nan)
        if record.improvement(value, best) > 0 or math.isnan(best):
            best = value
        bests.append(best)
    return bests


def expected_best_of_n(values: Sequence[float]) -> np.ndarray:
    """Return the mean of the best of n of the values, over all subsets, for each n."""
    # All n are among the i smallest of N values in C(i, n) of C(N, n) subsets, which is i / N
    # times (i - 1) / (N - 1) and so on, n times.
    i, ordered = np.arange(len(values) + 1), np.sort(values)
    share, means = np.ones(len(i)), np.empty(len(values))
    for drawn in range(len(values)):  # One after the other, to spare memory.
        share *= np.maximum(i - drawn, 0) / (len(values) - drawn)
        means[drawn] = np.diff(share) @ ordered
    return means


def price_of_luck(control: Sequence[SearchRecord]) -> list[Curve]:
    """Return the expected gain of the best of n random restarts over one, by n."""
    bests = [
        expected_best_of_n([record.improvement(value, 0.0) for value in record.values])
        for record in control
        if record.values
    ]
    return [dict(enumerate((best - best[0]).tolist(), start=1)) for best in bests]


def places_of(record: SearchRecord) -> tuple[list[str], list[FrozenTrial]]:
    """Return up to two parameters that have several values, and the trials with a finite value.

    Of more, the two that matter most for being among the best tenth, by PED-ANOVA (Watanabe et al.
    2023, IJCAI).
    """
    values = dict(record.valued)
    trials = [trial for trial in record.done_trials if trial.number in values]
    names = sorted(set.intersection(*(set(t.params) for t in trials)) if trials else ())
    names = [n for n in names if len({str(trial.params[n]) for trial in trials}) > 1]
    if len(names) > 2 and len(trials) >= _FEWEST_TRIALS:
        # It loads scikit-learn, which takes longer than all the rest.
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            evaluator = PedAnovaImportanceEvaluator()
            study = _study_of(record, trials)
            names = [*get_param_importances(study, evaluator=evaluator, params=names)]
    return names[:2], trials


def _study_of(record: SearchRecord, trials: Sequence[FrozenTrial]) -> optuna.Study:
    """Return a study in memory of some trials: what is told of a record reads no database."""
    logger, own = logging.getLogger("optuna.storages._in_memory"), threading.get_ident()

    def is_of_others(_: logging.LogRecord) -> bool:
        return threading.get_ident() != own

    logger.addFilter(is_of_others)
    try:
        study = optuna.create_study(direction=record.study.direction)
    finally:
        logger.removeFilter(is_of_others)
    study.add_trials(trials)
    return study
