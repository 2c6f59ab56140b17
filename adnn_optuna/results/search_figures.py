"""The figures of a search, as plain data."""

import logging
import math
import threading
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial

from adnn_optuna._units import Estimate, params_in_words, score_in_words
from adnn_optuna.engine.records import FunctionRecord, SearchRecord
from adnn_optuna.render.document import Figure, Mark, Series
from adnn_optuna.results.confirmation import Confirmation
from adnn_optuna.results.differences import interval_figure
from adnn_optuna.results.fields import units_of

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
