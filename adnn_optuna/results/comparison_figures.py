"""The figures of a comparison of samplers."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from adnn_optuna._units import Estimate, score_in_words
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.render.document import Figure, Series
from adnn_optuna.results import curves
from adnn_optuna.results.comparison_numbers import ComparisonNumbers
from adnn_optuna.results.curves import Curve, mean_series
from adnn_optuna.results.differences import estimate, interval_figure, values_figure

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
    estimates = {row.arm: estimate(row) for row in rows}
    if estimates and label is not None:
        estimates[label] = Estimate(0.0, math.nan, math.nan)
    unit = comparison.unit
    return interval_figure(
        "gains",
        f"Difference from {reference}",
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
    )


def _best_against_trials(comparison: ComparisonNumbers) -> Figure:
    """Return the best gain so far against trials; for functions, the best value."""
    label = comparison.selection_unit.heading(
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
        [*_mean_of_each(comparison, comparison.samplers, curves.best_against_trials)],
        f"Mean over the seeds, of the metric of the selection. {_BAND}",
        if_empty=_NO_TRIAL,
    )


def _best_against_compute(comparison: ComparisonNumbers) -> Figure:
    """Return the best value so far against epochs, which controls spend in other ways."""
    return Figure(
        "compute",
        "Best value so far against epochs trained",
        "Epochs trained",
        comparison.selection_unit.heading(comparison.any_record.metric_label),
        [*_mean_of_each(comparison, comparison.results, curves.best_against_compute)],
        f"Mean over the seeds, of the metric of the selection; controls are dashed. {_BAND}",
        if_empty=_NO_TRIAL,
    )


def _best_of_n(comparison: ComparisonNumbers) -> Figure:
    """Return the expected best of n random restarts, and what the samplers reached."""
    unit, label = comparison.selection_unit, comparison.reference
    restarts = comparison.results[label] if label is not None else ()
    curve = curves.price_of_luck(restarts)
    series = [mean_series("best of n random restarts", curve, unit, color=None)]
    ends = [1, max((len(run.values) for run in restarts), default=0)]
    others = [arm for arm in comparison.samplers if arm != label]
    for color, arm in enumerate(others):
        gain = unit.scale * curves.gain_over_draws(comparison.results[arm], restarts)
        if math.isfinite(gain):
            series.append(Series(f"{arm}, mean of best", ends, [gain] * 2, "dashes", color=color))
    return Figure(
        "best-of-n",
        "Selection bias: the best of n random restarts",
        "Number of random restarts n",
        unit.heading("Gain over the mean restart", is_gain=True),
        series,
        "Of the metric of the selection. As many restarts do as well if a dashed line meets the "
        "curve.",
        if_empty="There are no random restarts.",
    )


def _averages(comparison: ComparisonNumbers) -> Iterator[Figure]:
    """Yield for each control that averages networks the gain of n of them over one."""
    for label, runs in comparison.controls.items():
        if any(run.n_networks > 1 for run in runs):
            curve, unit = curves.gains_of_averages(runs), comparison.selection_unit
            yield Figure(
                f"averages-{label}",
                f"{label}: the average of n networks",
                "Number of networks n",
                unit.heading(f"Gain in {comparison.any_record.metric_label}", is_gain=True),
                [mean_series("average of n networks", curve, unit)],
                f"Gain over one network; none is chosen. {_BAND}",
            )


def _mean_of_each(
    comparison: ComparisonNumbers,
    labels: Iterable[str],
    curve_of: Callable[[Sequence[SearchRecord]], Curve],
) -> Iterator[Series]:
    """Yield the mean curve of each arm, the reference in grey and controls dashed."""
    colors = itertools.count()
    for label in labels:
        yield mean_series(
            label,
            curve_of(comparison.results[label]),
            comparison.selection_unit,
            "dashes" if label in comparison.controls else "line",
            None if label == comparison.reference else next(colors),
        )


def _score(comparison: ComparisonNumbers) -> str:
    return score_in_words(comparison.any_record.test_metric, comparison.any_record.positive)
