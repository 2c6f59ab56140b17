"""The figures of a comparison, as numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import optuna
import pytest
from stored_studies import N_TRIALS, changed, read_again, store_comparison, store_study

from adnn_optuna._units import PLAIN
from adnn_optuna.engine.records import read_record
from adnn_optuna.render.figures import to_plotly
from adnn_optuna.results import comparison_figures as curves
from adnn_optuna.results.comparison import Comparison
from adnn_optuna.results.search_figures import (
    gain_figure,
    gains_so_far,
    mean_series,
    restart_figures,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adnn_optuna.render.document import Figure, Series
    from adnn_optuna.results.search_figures import Curve


def figure_of(comparison: Comparison, key: str) -> Figure:
    [figure] = [figure for figure in comparison.document().figures if figure.key == key]
    return figure


def series_of(figure: Figure, label: str) -> Series:
    [series] = [series for series in figure.series if series.label == label]
    return series


def mean_of(drawn: Sequence[Curve]) -> Series:
    return mean_series("", drawn, PLAIN)


def test_gains_are_over_the_reference_and_those_of_controls_are_hollow() -> None:
    noise = np.random.default_rng(0).normal(0, 0.002, (3, 8))
    gains = {"greedy": noise[0] + 0.02, "rates": noise[1] + 0.2, "random_restart": noise[2]}
    comparison = store_comparison(gains)
    for run in comparison.results["rates"]:
        changed(run, "adnn:search", sampler="learning_rate")
    comparison = read_again(comparison)
    figure = figure_of(comparison, "gains")
    assert [*figure.rows] == ["greedy", "rates", "random_restart"]
    assert figure.x_label == "test accuracy over random restarts [pp]"
    assert figure.margin == pytest.approx(0.1)
    assert [series.mark for series in figure.series] == ["points", "rings", "rings"]
    table = comparison.differences()
    greedy = table.loc[("greedy", "random_restart")]
    rates = table.loc[("random_restart", "rates")]
    for series, (mean, low, high) in zip(
        figure.series,
        (
            100 * greedy[["difference", "low", "high"]],
            -100 * rates[["difference", "high", "low"]],
        ),
        strict=False,
    ):
        assert (*series.x, *series.low, *series.high) == pytest.approx((mean, low, high))
    assert comparison.plot().layout.title.text == (
        "Difference from random restarts (right is better)"
    )


def test_scores_are_by_seed_beside_those_of_the_baseline() -> None:
    comparison = store_comparison({"greedy": [0.01, 0.02], "random_restart": [0.0, 0.0]})
    figure = figure_of(comparison, "scores")
    assert [*figure.rows] == ["baseline", "greedy", "random_restart"]
    boxes = {series.label: series.x for series in figure.series if series.mark == "box"}
    assert np.subtract(boxes["greedy"], boxes["baseline"]) == pytest.approx([1, 2])
    assert len(comparison.plot("scores").data) == 4


@pytest.mark.parametrize(("metric", "said"), [("val_accuracy", False), ("val_loss", True)])
def test_titles_say_if_lower_values_are_better(metric: str, said: bool) -> None:
    record = read_record(store_study("a", values=[0.9, 0.8], metric=metric))
    for figure in (*restart_figures(record), gain_figure(record)):
        is_of_values = figure.key == "distribution"  # Gains are positive for losses, too.
        title = to_plotly(figure).layout.title.text
        assert title.endswith(" (lower is better)") == (said and is_of_values)


def test_best_of_n_shows_the_samplers_beside_the_restarts() -> None:
    comparison = store_comparison({"greedy": [0.0] * 2, "random_restart": [0.0] * 2})
    figure = figure_of(comparison, "best-of-n")
    restarts = series_of(figure, "best of n random restarts")
    assert restarts.y[0] == 0
    assert (np.diff(restarts.y) > 0).all()
    gains = [
        100 * (best.best_value - np.mean(draws.values))
        for best, draws in zip(*comparison.results.values(), strict=True)
    ]
    greedy = series_of(figure, "greedy, mean of best")
    assert greedy.y[0] == pytest.approx(np.mean(gains))
    assert max(greedy.x) == N_TRIALS


def test_trials_show_the_mean_of_the_best_so_far() -> None:
    comparison = store_comparison({"greedy": [0.0] * 3, "random_restart": [0.0] * 3})
    figure = figure_of(comparison, "trials")
    for label, runs in comparison.results.items():
        gains = np.mean([gains_so_far(run) for run in runs], axis=0)
        assert series_of(figure, label).y == pytest.approx(100 * gains, abs=1e-4)
    assert series_of(figure, "random_restart").color is None


def test_a_run_that_ended_early_keeps_its_last_gain() -> None:
    runs = [read_record(store_study("a", values=[0.9, 0.92]))]
    runs.append(read_record(store_study("b", values=[0.9] * 4)))
    for run in runs:
        run.study.set_user_attr("adnn:baseline", 0.9)
    drawn = mean_of(curves.best_against_trials([read_record(run.study) for run in runs]))
    assert drawn.y == pytest.approx([0, 0.01, 0.01, 0.01])


def test_compute_is_counted_in_epochs() -> None:
    searches = [
        read_record(store_study("a", values=[0.9, 0.88, 0.92])),
        read_record(store_study("b", values=[0.8, 0.9, 0.7])),
    ]
    # Two epochs each; the longer training run reports a value for each of its six.
    longer = optuna.create_study(direction="maximize")
    longer.set_user_attr("adnn:config", searches[0].attrs["adnn:config"])
    longer.set_user_attr("adnn:search", {"sampler": "longer", "n_trials": 3, "batch_size": 1})
    reported = dict(enumerate([0.6, 0.8, 0.7, 0.85, 0.95, 0.9]))
    longer.add_trial(optuna.trial.create_trial(value=0.95, intermediate_values=reported))
    walk = mean_of(curves.best_against_compute(searches))
    control = mean_of(curves.best_against_compute([read_record(longer)]))
    assert walk.x == [2, 4, 6]
    assert walk.y == pytest.approx([0.85, 0.90, 0.91])
    assert control.x == [1, 2, 3, 4, 5, 6]
    assert control.y == pytest.approx([0.60, 0.80, 0.80, 0.85, 0.95, 0.95])


def test_an_average_is_shown_network_by_network_and_may_become_worse() -> None:
    ensembles, settings = [], store_study("a").user_attrs
    for baseline, others in ((0.6, (0.8, 0.7)), (0.5, (0.6, 0.8, 0.9))):
        study = optuna.create_study(direction="maximize")
        study.set_user_attr("adnn:search", {**settings["adnn:search"], "sampler": "ensemble"})
        study.set_user_attr("adnn:config", settings["adnn:config"])
        study.set_user_attr("adnn:baseline", baseline)
        reported = dict(enumerate((baseline, *others), start=1))
        trained = {"seconds": 1.0, "epochs": 2 * len(reported)}
        study.add_trial(
            optuna.trial.create_trial(
                value=others[-1],
                intermediate_values=reported,
                user_attrs={"adnn:outcome": {"elapsed": 1.0, "trained": trained}},
            )
        )
        ensembles.append(read_record(study))
    averages = mean_of(curves.gains_of_averages(ensembles))
    assert averages.x == [1, 2, 3]
    assert averages.y == pytest.approx([0, 0.15, 0.20])
    compute = mean_of(curves.best_against_compute(ensembles[:1]))
    assert compute.x == [2, 4, 6]
    assert compute.y == pytest.approx([0.60, 0.80, 0.70])


def test_any_state_has_all_figures() -> None:
    failed = read_record(store_study("failed", values=[math.nan] * 3))
    failed.study.set_user_attr("adnn:baseline", math.nan)
    empty = read_record(optuna.create_study(study_name="empty", direction="maximize"))
    for comparison in (
        Comparison({"failed": [read_record(failed.study)]}, (0,)),
        Comparison({"empty": [empty]}, (0,)),
    ):
        for figure in comparison.document().figures:
            drawn = comparison.plot(figure.key)
            assert drawn.data or drawn.layout.annotations[0].text
            assert "NaN" not in drawn.to_json()


def test_a_figure_that_is_not_there_is_refused_with_those_that_are() -> None:
    comparison = store_comparison({"greedy": [0.0], "random_restart": [0.0]})
    with pytest.raises(ValueError, match=r"^key must be one of gains, scores, .*; got 'gain'\.$"):
        comparison.plot("gain")


def test_of_a_single_run_have_no_spread_and_of_none_no_place() -> None:
    one = read_record(store_study("one", values=[0.9, 0.92, 0.91]))
    assert mean_of(curves.best_against_trials([one])).low == []
    assert mean_of(curves.best_against_trials([one, one])).low
    assert mean_of(curves.best_against_trials([])).x == []
