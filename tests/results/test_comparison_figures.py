"""The numbers that the figures of a comparison draw."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import optuna
import pytest
from stored_studies import changed, read_again, read_result, store_comparison, store_study

from adnn_optuna._units import PLAIN
from adnn_optuna.results import comparison as curves
from adnn_optuna.results.comparison import Comparison
from adnn_optuna.results.study import gains_so_far

if TYPE_CHECKING:
    from adnn_optuna.render.document import Figure, Series


def figure_of(comparison: Comparison, key: str) -> Figure:
    [figure] = [figure for figure in comparison.document().figures() if figure.key == key]
    return figure


def series_of(figure: Figure, label: str) -> Series:
    [series] = [series for series in figure.series if series.label == label]
    return series


def mean_of(runs: list) -> Series:
    return curves.mean_series("", curves.best_curves([run.record for run in runs]), PLAIN, color=0)


def test_gains_are_over_the_reference_and_controls_are_hollow() -> None:
    noise = np.random.default_rng(0).normal(0, 0.002, (3, 8))
    gains = {"greedy": noise[0] + 0.02, "rates": noise[1] + 0.2, "random_restart": noise[2]}
    comparison = store_comparison(gains)
    for run in comparison.results["rates"]:
        changed(run, "adnn:search", sampler="learning_rate")
    comparison = read_again(comparison)
    figure = figure_of(comparison, "gains")
    assert [*figure.rows] == ["greedy", "rates"]
    assert figure.x_label == "test accuracy over random restarts [pp]"
    assert figure.margin == pytest.approx(0.1)
    assert [series.mark for series in figure.series] == ["points", "rings"]
    assert [series.label.partition(", ")[2] for series in figure.series] == ["better"] * 2
    table = comparison.differences()
    greedy = table.loc[("greedy", "random_restart")]
    rates = table.loc[("random_restart", "rates")]
    for series, (mean, low, high) in zip(
        figure.series,
        (
            100 * greedy[["difference", "low", "high"]],
            -100 * rates[["difference", "high", "low"]],
        ),
        strict=True,
    ):
        assert (*series.x, *series.low, *series.high) == pytest.approx((mean, low, high))
    title = comparison.plot().layout.title
    assert title.text.replace("<br>", " ") == (
        "greedy is better than random restarts on average; rates is better, assuming symmetric "
        "differences"
    )
    assert figure.caption.endswith("Shaded band: differences up to 0.1 pp.")


def test_scores_are_drawn_by_seed_beside_the_baseline() -> None:
    comparison = store_comparison({"greedy": [0.01, 0.02], "random_restart": [0.0, 0.0]})
    figure = figure_of(comparison, "scores")
    assert [*figure.rows] == ["baseline", "greedy", "random_restart"]
    baseline, greedy, _ = (s.x for s in figure.series if s.mark == "points")
    assert np.subtract(greedy, baseline) == pytest.approx([1, 2])
    [mean] = (s.x[0] for s in figure.series if s.mark == "squares")
    assert mean == pytest.approx(np.mean(greedy))
    [of_baseline, _] = (s.x[0] for s in figure.series if s.mark == "hollow squares")
    assert of_baseline == pytest.approx(np.mean(baseline))
    assert "Hollow: baseline and random_restart." in figure.caption


def test_the_trials_figure_shows_the_mean_best_so_far() -> None:
    comparison = store_comparison({"greedy": [0.0] * 3, "random_restart": [0.0] * 3})
    figure = figure_of(comparison, "trials")
    for label, runs in comparison.results.items():
        gains = np.mean([gains_so_far(run.record) for run in runs], axis=0)
        assert series_of(figure, label).y == pytest.approx(100 * gains, abs=1e-4)
    assert series_of(figure, "random_restart").color is None


def test_a_run_that_ended_early_keeps_its_last_gain() -> None:
    runs = [read_result(store_study("a", values=[0.9, 0.92]))]
    runs.append(read_result(store_study("b", values=[0.9] * 4)))
    for run in runs:
        run.study.set_user_attr("adnn:baseline", 0.9)
    mean_figure = mean_of([read_result(run.study) for run in runs])
    assert mean_figure.y == pytest.approx([0, 0.01, 0.01, 0.01])


def test_a_comparison_without_values_has_all_figures() -> None:
    failed = read_result(store_study("failed", values=[math.nan] * 3))
    failed.study.set_user_attr("adnn:baseline", math.nan)
    empty = read_result(optuna.create_study(study_name="empty", direction="maximize"))
    for comparison in (
        Comparison({"failed": [read_result(failed.study)]}, (0,)),
        Comparison({"empty": [empty]}, (0,)),
    ):
        for figure in comparison.document().figures():
            mean_figure = comparison.plot(figure.key)
            assert mean_figure.data or mean_figure.layout.annotations[0].text
            assert "NaN" not in mean_figure.to_json()


def test_an_unknown_figure_is_refused_with_the_known_keys() -> None:
    comparison = store_comparison({"greedy": [0.0], "random_restart": [0.0]})
    message = r"^key must be one of gains, scores, .*; got 'gain'\. Did you mean 'gains'\?$"
    with pytest.raises(ValueError, match=message):
        comparison.plot("gain")


def test_the_mean_of_one_run_has_no_band_and_that_of_none_no_points() -> None:
    study = read_result(store_study("one", values=[0.9, 0.92, 0.91]))
    assert mean_of([study]).low == []
    assert mean_of([study, study]).low
    assert mean_of([]).x == []
