"""The figures of a comparison of samplers."""

import itertools
from collections.abc import Sequence

import numpy as np

from adnn_optuna._units import Estimate, Unit, score_in_words
from adnn_optuna.engine.records import FunctionRecord, SearchRecord
from adnn_optuna.render.document import Figure, Series
from adnn_optuna.results.comparison_numbers import ComparisonNumbers
from adnn_optuna.results.differences import interval_figure, values_figure
from adnn_optuna.results.search_figures import bests_so_far, gains_so_far
from adnn_optuna.stats.spread import known_sd


def figures_of(comparison: ComparisonNumbers, reference: str) -> list[Figure]:
    """Return the figures of a comparison; ``reference`` is the reference arm in words."""
    return [_gains(comparison, reference), _scores(comparison), _best_against_trials(comparison)]


def _gains(comparison: ComparisonNumbers, reference: str) -> Figure:
    """Return how much better than the reference each arm is."""
    rows, label = list(comparison.over_reference), comparison.reference
    of_controls = [(str(label), control) for control in comparison.controls]
    rows += [row.turned() for row in comparison.rows_of(of_controls) if row.n_pairs]
    estimates = {row.arm: row.estimate for row in rows}
    if estimates and label is not None:
        estimates[label] = Estimate(0.0)
    unit = comparison.unit
    return interval_figure(
        "gains",
        f"Difference from {reference} (right is better)",
        unit.heading(f"{_score(comparison)} over {reference}", is_gain=True),
        estimates,
        unit,
        margin=comparison.margin or 0.0,
        hollow=[*comparison.controls, str(label)],
        if_empty="No best trial has a test score.",
    )


def _scores(comparison: ComparisonNumbers) -> Figure:
    """Return the score of each run, beside those of the baseline networks."""
    values = {
        label: [run.test_value for run in runs] for label, runs in comparison.results.items()
    }
    if not comparison.is_of_function:
        first = next(iter(comparison.results.values()))
        values = {"baseline": [run.test_baseline for run in first], **values}
    score = _score(comparison)
    return values_figure(
        "scores",
        f"{score[:1].upper()}{score[1:]} by seed",
        comparison.unit.heading(score),
        values,
        comparison.unit,
        names=[f"seed {seed}" for seed in comparison.seeds],
        controls=["baseline", str(comparison.reference)],
        lower_is_better=comparison.any_record.is_minimized,
    )


def _best_against_trials(comparison: ComparisonNumbers) -> Figure:
    """Return the best gain so far against trials; for functions, the best value."""
    unit = comparison.units.selection
    what = "gain"
    label = unit.heading(f"Gain in {comparison.any_record.metric_label}", is_gain=True)
    if comparison.is_of_function:
        what, label = "value", "Best value"

    series = []
    colors = itertools.count()
    for arm, runs in comparison.samplers.items():
        color = None if arm == comparison.reference else next(colors)
        series.append(mean_series(arm, best_against_trials(runs), unit, color))
    return Figure(
        "trials",
        f"Best {what} so far against trials",
        "Trials",
        label,
        series,
        "Mean over the seeds, of the metric of the selection. The band is one standard deviation "
        "to each side.",
        lower_is_better=comparison.is_of_function and comparison.any_record.is_minimized,
        if_empty="No trial is done.",
    )


def _score(comparison: ComparisonNumbers) -> str:
    return score_in_words(comparison.any_record.test_metric, comparison.any_record.positive)


def best_against_trials(runs: Sequence[SearchRecord]) -> list[list[float]]:
    """Return the best gain, of a function the best value, after each trial of each run.

    A shorter run keeps its last one.
    """
    curves = []
    for run in runs:
        curve = bests_so_far(run) if isinstance(run, FunctionRecord) else gains_so_far(run)
        if curve:
            curves.append(curve)
    n_trials = max(map(len, curves), default=0)
    return [[*curve, *[curve[-1]] * (n_trials - len(curve))] for curve in curves]


def mean_series(
    label: str, curves: Sequence[Sequence[float]], unit: Unit, color: int | None
) -> Series:
    """Return the mean of curves of one length, with a band of one standard deviation."""
    if not curves:
        return Series(label, [], [])
    scaled = unit.scale * np.array(curves)
    # Pages of many figures are heavy with more digits than anyone sees.
    mean = scaled.mean(axis=0).round(6)
    low, high = list[float](), list[float]()
    if len(curves) > 1:
        sd = np.array([known_sd(column) for column in scaled.T])
        low, high = (mean - sd).round(6).tolist(), (mean + sd).round(6).tolist()
    trials = [*range(1, len(mean) + 1)]
    return Series(label, trials, mean.tolist(), low=low, high=high, color=color)
