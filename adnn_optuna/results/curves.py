"""Curves and places of searches, as numbers and as series of figures."""

import logging
import math
import threading
import warnings
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial

from adnn_optuna import _attributes as stored
from adnn_optuna._units import Unit
from adnn_optuna.engine.arms import ARMS
from adnn_optuna.engine.search_record import SearchRecord
from adnn_optuna.render.document import Mark, Series

_FEWEST_TRIALS = 10  # Of fewer, nothing tells which parameters matter.


class Curve(NamedTuple):
    """The mean of several curves at the places ``x``, with their standard deviation, if any."""

    x: Sequence[int]
    mean: np.ndarray
    sd: np.ndarray | None


def _mean_curve(
    curves: Sequence[Sequence[float] | np.ndarray], x: Sequence[int] | None = None
) -> Curve:
    """Return the mean of curves as far as all of them go, by default by number from 1."""
    if not (n := min(map(len, curves), default=0)):
        return Curve([], np.empty(0), None)
    table = np.array([curve[:n] for curve in curves])
    sd = table.std(axis=0, ddof=1) if len(table) > 1 else None
    return Curve(range(1, n + 1) if x is None else x, table.mean(axis=0), sd)


def mean_series(
    label: str,
    curve: Curve,
    unit: Unit,
    mark: Mark = "line",
    color: int | None = 0,
) -> Series:
    """Return a curve with a band of one standard deviation to each side, if it has any."""
    # Pages of many figures are heavy with more digits than anyone sees.
    mean = (unit.scale * curve.mean).round(6)
    low, high = list[float](), list[float]()
    if curve.sd is not None:
        sd = unit.scale * curve.sd
        low, high = (mean - sd).round(6).tolist(), (mean + sd).round(6).tolist()
    return Series(label, [*curve.x], mean.tolist(), mark, low, high, color=color)


def gains_so_far(record: SearchRecord) -> list[float]:
    """Return the best gain after each trial that was run to an end; 0 while there is none."""
    gains = (record.improvement(best, record.baseline) for best in _bests_so_far(record))
    return [gain if math.isfinite(gain) else 0.0 for gain in gains]


def _bests_so_far(record: SearchRecord) -> list[float]:
    """Return the best value after each trial; NaN while there is none."""
    values, bests, best = dict(record.valued), [], math.nan
    for trial in record.done_trials:
        value = values.get(trial.number, math.nan)
        if record.improvement(value, best) > 0 or math.isnan(best):
            best = value
        bests.append(best)
    return bests


def best_against_trials(runs: Sequence[SearchRecord]) -> Curve:
    """Return the best gain, of a function the best value, so far; the last one of a short run."""
    of_run = (_bests_so_far(run) if run.is_of_function else gains_so_far(run) for run in runs)
    curves = [curve for curve in of_run if curve]
    n = max(map(len, curves), default=0)
    return _mean_curve([[*curve, *[curve[-1]] * (n - len(curve))] for curve in curves])


def best_by_epochs(record: SearchRecord) -> dict[int, float]:
    """Return the best selection metric so far by the epochs that were trained until then."""
    config = record.attrs.get(stored.CONFIG, {})
    epochs, n_trained = config.get("training", {}).get("epochs", 1), 0
    best, curve = math.nan, {}
    reports_by = ARMS[record.sampler].reports_by if record.sampler in ARMS else ""
    for trial in record.done_trials:
        trained = stored.outcome_of(trial.user_attrs).get("trained")
        n_epochs = max(trained["epochs"] if trained else epochs, 1)
        values = {n_epochs - 1: trial.value}
        if reports_by == "network":  # Nothing is chosen, so an average may become worse.
            averages = trial.intermediate_values
            return {round(k * n_epochs / len(averages)): v for k, v in averages.items()}
        if reports_by == "epoch":
            values = {**trial.intermediate_values}
        for step, value in values.items():
            if value is not None and not record.improvement(value, best) <= 0:
                best = value
            curve[n_trained + step + 1] = best
        n_trained = max(curve, default=n_trained)
    return {n: value for n, value in curve.items() if math.isfinite(value)}


def best_against_compute(runs: Sequence[SearchRecord]) -> Curve:
    """Return the best selection metric so far by epochs trained, from where all runs have one."""
    curves = [curve for run in runs if (curve := best_by_epochs(run))]
    first = max((min(curve) for curve in curves), default=0)
    x = sorted({epochs for curve in curves for epochs in curve if epochs >= first})
    # A run that ended early keeps its last one.
    longest = [[curve[max(k for k in curve if k <= n)] for n in x] for curve in curves]
    return _mean_curve(longest, x)


def gains_of_averages(runs: Sequence[SearchRecord]) -> Curve:
    """Return by how much the average of the first n networks is better than one, by n."""
    curves = [
        [run.improvement(value, run.baseline) for value in run.best.intermediate_values.values()]
        for run in runs
        if run.best is not None and math.isfinite(run.baseline)
    ]
    return _mean_curve(curves)


def seconds_under_way(trials: Iterable[FrozenTrial]) -> float:
    """Return the seconds in which any of some trials ran; those of several at once count once."""
    seconds, last = 0.0, -math.inf
    spans = ((trial.datetime_start, trial.datetime_complete) for trial in trials)
    for start, end in sorted((s.timestamp(), e.timestamp()) for s, e in spans if s and e):
        seconds += max(end - max(start, last), 0.0)
        last = max(last, end)
    return seconds


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


def price_of_luck(control: Sequence[SearchRecord]) -> Curve:
    """Return what the best of n random restarts is expected to gain over one, by n."""
    bests = [
        expected_best_of_n([record.improvement(value, 0.0) for value in record.values])
        for record in control
        if record.values
    ]
    return _mean_curve([best - best[0] for best in bests])


def gain_over_draws(runs: Sequence[SearchRecord], control: Sequence[SearchRecord]) -> float:
    """Return the mean gain of best trials over the mean random restart of their seed."""
    gains = [
        run.improvement(run.best_value, float(np.mean(restarts.values)))
        for run, restarts in zip(runs, control, strict=False)
        if restarts.values and math.isfinite(run.best_value)
    ]
    return float(np.mean(gains)) if gains else math.nan


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
