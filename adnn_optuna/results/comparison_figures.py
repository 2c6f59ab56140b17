"""The figures of a comparison of samplers."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from adnn_optuna import _attributes as stored
from adnn_optuna._units import Estimate, score_in_words
from adnn_optuna.engine.arms import ARMS
from adnn_optuna.engine.records import FunctionRecord, SearchRecord
from adnn_optuna.render.document import Figure, Series
from adnn_optuna.results.comparison_numbers import ComparisonNumbers
from adnn_optuna.results.differences import interval_figure, values_figure
from adnn_optuna.results.search_figures import (
    Curve,
    best_of_n_figure,
    bests_so_far,
    gains_so_far,
    mean_series,
)

_BAND = "The band is one standard deviation to each side."
_NO_TRIAL = "No trial is done."


def figures_of(comparison: ComparisonNumbers, reference: str) -> list[Figure]:
    """Return the figures of a comparison; ``reference`` is the reference arm in words."""
    figures = [_gains(comparison, reference), _scores(comparison)]
    if not comparison.is_of_function:
        figures += [_best_against_compute(comparison), _best_of_n(comparison)]
        figures += _averages(comparison)
    return [*figures, _best_against_trials(comparison)]


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
    label = comparison.units.selection.heading(
        f"Gain in {comparison.any_record.metric_label}", is_gain=True
    )
    what = "gain"
    if comparison.is_of_function:
        what, label = "value", "Best value"
    return Figure(
        "trials",
        f"Best {what} so far against trials",
        "Trials",
        label,
        [*_mean_of_each(comparison, comparison.samplers, best_against_trials)],
        f"Mean over the seeds, of the metric of the selection. {_BAND}",
        lower_is_better=comparison.is_of_function and comparison.any_record.is_minimized,
        if_empty=_NO_TRIAL,
    )


def _best_against_compute(comparison: ComparisonNumbers) -> Figure:
    """Return the best value so far against epochs, which controls spend in other ways."""
    return Figure(
        "compute",
        "Best value so far against epochs trained",
        "Epochs trained",
        comparison.units.selection.heading(comparison.any_record.metric_label),
        [*_mean_of_each(comparison, comparison.results, best_against_compute)],
        f"Mean over the seeds, of the metric of the selection; controls are dashed. {_BAND}",
        lower_is_better=comparison.any_record.is_minimized,
        if_empty=_NO_TRIAL,
    )


def _best_of_n(comparison: ComparisonNumbers) -> Figure:
    """Return the expected best of n random restarts, and the values that the samplers reached."""
    unit, label, series = comparison.units.selection, comparison.reference, list[Series]()
    restarts = comparison.results[label] if label is not None else ()
    ends = [1, max((len(run.values) for run in restarts), default=0)]
    others = [arm for arm in comparison.samplers if arm != label]
    for color, arm in enumerate(others):
        gain = unit.scale * gain_over_draws(comparison.results[arm], restarts)
        if math.isfinite(gain):
            series.append(Series(f"{arm}, mean of best", ends, [gain] * 2, "dashes", color=color))
    caption = (
        "Of the metric of the selection. As many restarts do as well if a dashed line meets the "
        "curve."
    )
    return best_of_n_figure(restarts, unit, series, caption)


def _averages(comparison: ComparisonNumbers) -> Iterator[Figure]:
    """Yield for each control that averages networks the gain of n of them over one."""
    for label, runs in comparison.controls.items():
        if any(run.n_networks > 1 for run in runs):
            unit = comparison.units.selection
            yield Figure(
                f"averages-{label}",
                f"{label}: the average of n networks",
                "Number of networks n",
                unit.heading(f"Gain in {comparison.any_record.metric_label}", is_gain=True),
                [mean_series("average of n networks", gains_of_averages(runs), unit)],
                f"Gain over one network; none is chosen. {_BAND}",
            )


def _mean_of_each(
    comparison: ComparisonNumbers,
    labels: Iterable[str],
    curves_of: Callable[[Sequence[SearchRecord]], list[Curve]],
) -> Iterator[Series]:
    """Yield the mean curve of each arm, the reference in grey and controls dashed."""
    colors = itertools.count()
    for label in labels:
        yield mean_series(
            label,
            curves_of(comparison.results[label]),
            comparison.units.selection,
            "dashes" if label in comparison.controls else "line",
            None if label == comparison.reference else next(colors),
        )


def _score(comparison: ComparisonNumbers) -> str:
    return score_in_words(comparison.any_record.test_metric, comparison.any_record.positive)


def best_against_trials(runs: Sequence[SearchRecord]) -> list[Curve]:
    """Return the best gain, of a function the best value, so far; the last one of a short run."""
    of_run = (
        bests_so_far(run) if isinstance(run, FunctionRecord) else gains_so_far(run) for run in runs
    )
    curves = [curve for curve in of_run if curve]
    n = max(map(len, curves), default=0)
    longest = ([*curve, *[curve[-1]] * (n - len(curve))] for curve in curves)
    return [dict(enumerate(curve, start=1)) for curve in longest]


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


def best_against_compute(runs: Sequence[SearchRecord]) -> list[Curve]:
    """Return the best selection metric so far by epochs trained, from where all runs have one."""
    curves = [curve for run in runs if (curve := best_by_epochs(run))]
    first = max((min(curve) for curve in curves), default=0)
    x = sorted({epochs for curve in curves for epochs in curve if epochs >= first})
    # A run that ended early keeps its last one.
    return [{n: curve[max(k for k in curve if k <= n)] for n in x} for curve in curves]


def gains_of_averages(runs: Sequence[SearchRecord]) -> list[Curve]:
    """Return by how much the average of the first n networks is better than one, by n."""
    return [
        {
            n: run.improvement(value, run.baseline)
            for n, value in enumerate(run.best.intermediate_values.values(), start=1)
        }
        for run in runs
        if run.best is not None and math.isfinite(run.baseline)
    ]


def gain_over_draws(runs: Sequence[SearchRecord], control: Sequence[SearchRecord]) -> float:
    """Return the mean gain of best trials over the mean random restart of their seed."""
    gains = [
        run.improvement(run.best_value, float(np.mean(restarts.values)))
        for run, restarts in zip(runs, control, strict=False)
        if restarts.values and math.isfinite(run.best_value)
    ]
    return float(np.mean(gains)) if gains else math.nan
