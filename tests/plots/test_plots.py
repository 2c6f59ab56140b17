"""Figures: what they show of a study, and that no study breaks them."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from stored_studies import N_TRIALS, store_comparison, store_study

from adnn_optuna import DeltaStepSampler, plots

if TYPE_CHECKING:
    from collections.abc import Callable

    import plotly.graph_objects as go

    from adnn_optuna import Comparison

OF_ONE = [
    plots.plot_gain,
    plots.plot_accuracy_distribution,
    plots.plot_best_of_n,
]
OF_SEVERAL = [
    plots.plot_best_against_compute,
    plots.plot_best_against_trials,
    plots.plot_test_accuracy,
    plots.plot_price_of_luck,
]
NAMES = ("weight_offset_0", "bias_offset_0")


def named(figure: go.Figure, name: str) -> Any:
    [trace] = [trace for trace in figure.data if trace.name and trace.name.startswith(name)]
    return trace


def studies_of(comparison: Comparison) -> dict[str, list[optuna.Study]]:
    return {label: [run.study for run in runs] for label, runs in comparison.results.items()}


def empty(name: str = "empty") -> optuna.Study:
    return optuna.create_study(study_name=name, direction="maximize")


def troubled() -> optuna.Study:
    """Return a study whose trials ended in every way there is."""
    study = store_study("troubled", values=[0.9, math.nan, 0.91, 0.2])
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    distributions = dict.fromkeys(NAMES, FloatDistribution(-0.2, 0.2))
    study.tell(study.ask(distributions), state=TrialState.PRUNED)
    study.tell(study.ask(distributions), state=TrialState.FAIL)
    study.tell(study.ask(distributions), math.inf)
    study.ask(distributions)
    study.enqueue_trial(dict.fromkeys(NAMES, 0.1))
    return study


def of_another_objective() -> optuna.Study:
    study = optuna.create_study(study_name="other", sampler=DeltaStepSampler((0.5,), 3))
    study.optimize(lambda trial: (trial.suggest_float("x", -1, 2) - 1) ** 2)
    return study


class TestAnyStudy:
    @pytest.mark.parametrize(
        "make", [empty, troubled, of_another_objective], ids=lambda make: make.__name__
    )
    @pytest.mark.parametrize("plot", OF_ONE, ids=lambda plot: plot.__name__)
    def test_has_a_figure(
        self,
        plot: Callable[[optuna.Study], go.Figure],
        make: Callable[[], optuna.Study],
    ) -> None:
        figure = plot(make())
        assert figure.data or figure.layout.annotations[0].text
        assert figure.layout.title.text
        assert "NaN" not in figure.to_json()

    @pytest.mark.parametrize("plot", OF_SEVERAL, ids=lambda plot: plot.__name__)
    def test_has_a_figure_among_others(self, plot: Callable[..., go.Figure]) -> None:
        for runs in (
            {},
            {"nothing": []},
            {"empty": [empty()]},
            {"troubled": [troubled(), empty()], "whole": [store_study("a"), store_study("b")]},
        ):
            figure = plot(runs)
            assert figure.data or figure.layout.annotations[0].text
            assert "NaN" not in figure.to_json()

    def test_lists_are_written_as_lists(self) -> None:
        # The dashboard's plotly.js is older than the compact format for arrays.
        comparison = store_comparison({"greedy": [0.0] * 3, "random_restart": [0.0] * 3})
        for plot in OF_SEVERAL:
            assert "bdata" not in plot(studies_of(comparison)).to_json()
        studies = studies_of(comparison)
        for study in (studies["greedy"][0], studies["random_restart"][0]):
            for plot in OF_ONE:
                assert "bdata" not in plot(study).to_json()

    def test_has_the_same_figure_as_its_record(self) -> None:
        comparison = store_comparison({"greedy": [0.01] * 2, "random_restart": [0.0] * 2})
        for plot in OF_SEVERAL:
            assert plot(comparison.results) == plot(studies_of(comparison))
        for runs in comparison.results.values():
            for plot in OF_ONE:
                assert plot(runs[0]) == plot(runs[0].study)

    @pytest.mark.parametrize("plot", OF_ONE, ids=lambda plot: plot.__name__)
    def test_has_one_objective(self, plot: Callable[[optuna.Study], go.Figure]) -> None:
        several = optuna.create_study(study_name="s", directions=["minimize"] * 2)
        with pytest.raises(ValueError, match="'s' must have one objective; got 2"):
            plot(several)


class TestGain:
    def test_shows_each_trial_and_the_best_so_far(self) -> None:
        study = store_study("s", values=[0.5, 0.52, 0.51, 0.55])
        study.set_user_attr("adnn:baseline", 0.5)
        figure = plots.plot_gain(study)
        np.testing.assert_allclose(named(figure, "trial").y, [0, 2, 1, 5], atol=1e-9)
        np.testing.assert_allclose(named(figure, "best so far").y, [0, 2, 2, 5], atol=1e-9)
        assert "[pp]" in figure.layout.yaxis.title.text

    def test_of_a_loss_is_what_it_fell_by(self) -> None:
        study = store_study("s", metric="val_loss", values=[0.5, 0.4])
        study.set_user_attr("adnn:baseline", 0.5)
        figure = plots.plot_gain(study)
        np.testing.assert_allclose(named(figure, "best so far").y, [0, 0.1])
        assert figure.layout.yaxis.title.text == "Gain in val_loss"

    def test_marks_what_is_far_below(self) -> None:
        study = store_study("s", values=[0.5, 0.51, 0.52, 0.51, 0.5, 0.1])
        study.set_user_attr("adnn:baseline", 0.5)
        trials = named(plots.plot_gain(study), "trial (▽ far below)")
        assert trials.hovertext[-1] == "seed 0, trial 5: -40.00 pp"
        assert -1 < trials.y[-1] < min(trials.y[:-1])
        assert trials.marker.symbol[-1] == "triangle-down-open"


class TestLabels:
    LONG = "simulated annealing, cooled slowly, from the origin of the plain network"

    def test_are_wrapped_beside_their_rows_and_below_the_figure(self) -> None:
        runs = {self.LONG: [store_study("a")], "restarts": [store_study("b")]}
        rows = plots.plot_test_accuracy(runs).layout.yaxis.ticktext
        assert [len(text.split("<br>")) for text in rows] == [1, 3, 1]
        figure = plots.plot_best_against_trials(runs)
        for text in [*rows, *(trace.name for trace in figure.data if trace.name)]:
            assert max(map(len, text.split("<br>"))) <= 36
        legend = figure.layout.template.layout.legend
        assert (legend.yref, legend.y, legend.yanchor) == ("container", 0, "bottom")

    def test_of_many_rows_have_their_room(self) -> None:
        arms = {f"arm {i}": [store_study(f"{i}")] for i in range(30)}
        assert plots.plot_test_accuracy(arms).layout.height > 30 * 45


class TestLuck:
    def test_curve_is_the_gain_over_a_single_draw(self) -> None:
        study = store_study("r", sampler="random_restart")
        curve = plots.plot_best_of_n(study).data[0]
        values = [trial.value for trial in study.trials]
        assert curve.y[0] == 0
        assert curve.y[-1] == pytest.approx(100 * (max(values) - np.mean(values)))

    def test_of_a_loss_gains_too(self) -> None:
        study = store_study("r", sampler="random_restart", metric="val_loss")
        curve = plots.plot_best_of_n(study).data[0]
        assert (np.diff(curve.y) > 0).all()

    def test_distribution_holds_every_draw(self) -> None:
        studies = [store_study(f"{i}", sampler="random_restart", seed=i) for i in range(2)]
        histogram = plots.plot_accuracy_distribution(studies).data[0]
        assert len(histogram.x) == 2 * N_TRIALS

    def test_price_shows_the_other_searchers_beside_it(self) -> None:
        comparison = store_comparison({"greedy": [0.0] * 2, "random_restart": [0.0] * 2})
        figure = plots.plot_price_of_luck(studies_of(comparison))
        gains = [
            100 * (winner.best_value - np.mean(draws.values))
            for winner, draws in zip(*comparison.results.values(), strict=True)
        ]
        assert named(figure, "greedy").y[0] == pytest.approx(np.mean(gains))
        assert max(named(figure, "greedy").x) == N_TRIALS


class TestComparison:
    def test_a_run_that_ended_early_keeps_its_last_gain(self) -> None:
        short, long = store_study("a", values=[0.9, 0.92]), store_study("b", values=[0.9] * 4)
        for study in (short, long):
            study.set_user_attr("adnn:baseline", 0.9)
        line = named(plots.plot_best_against_trials({"arm": [short, long]}), "arm")
        assert line.y == pytest.approx((0, 1, 1, 1))

    def test_compute_is_counted_in_epochs(self) -> None:
        searches = [
            store_study("a", values=[0.9, 0.88, 0.92]),
            store_study("b", values=[0.8, 0.9, 0.7]),
        ]
        # Two epochs each; the longer training tells of each of its six.
        longer = optuna.create_study(direction="maximize")
        longer.set_user_attr("adnn:config", searches[0].user_attrs["adnn:config"])
        longer.set_user_attr("adnn:search", {"sampler": "longer", "n_trials": 3, "batch_size": 1})
        told = dict(enumerate([0.6, 0.8, 0.7, 0.85, 0.95, 0.9]))
        longer.add_trial(optuna.trial.create_trial(value=0.95, intermediate_values=told))
        figure = plots.plot_best_against_compute({"walk": searches, "longer": [longer]})
        walk, control = named(figure, "walk"), named(figure, "longer")
        assert list(walk.x) == [2, 4, 6]
        assert list(walk.y) == pytest.approx([85, 90, 91])
        assert list(control.x) == [1, 2, 3, 4, 5, 6]
        assert list(control.y) == pytest.approx([60, 80, 80, 85, 95, 95])
        assert (walk.line.dash, control.line.dash) == ("solid", "dot")

    def test_an_average_is_shown_as_it_is_network_by_network(self) -> None:
        ensembles, settings = [], store_study("a").user_attrs["adnn:search"]
        for baseline, others in ((0.6, (0.8, 0.7)), (0.5, (0.6, 0.8, 0.9))):
            study = optuna.create_study(direction="maximize")
            study.set_user_attr("adnn:search", {**settings, "sampler": "ensemble"})
            study.set_user_attr("adnn:config", store_study("a").user_attrs["adnn:config"])
            study.set_user_attr("adnn:baseline", baseline)
            told = dict(enumerate((baseline, *others), start=1))
            study.add_trial(
                optuna.trial.create_trial(
                    value=others[-1],
                    intermediate_values=told,
                    user_attrs={
                        "adnn:outcome": {
                            "elapsed": 1.0,
                            "trained": {"seconds": 1.0, "epochs": 2 * len(told)},
                        }
                    },
                )
            )
            ensembles.append(study)
        line = named(plots.plot_gain_against_members(ensembles), "average of n networks")
        assert list(line.x) == [1, 2, 3]
        assert list(line.y) == pytest.approx([0, 15, 20])
        compute = named(plots.plot_best_against_compute({"average": ensembles[:1]}), "average")
        assert list(compute.x) == [2, 4, 6]
        assert list(compute.y) == pytest.approx([60, 80, 70])
        nothing = plots.plot_gain_against_members([store_study("a")])
        assert nothing.layout.annotations[0].text == "No networks were averaged."

    def test_labels_are_shown_as_they_are(self) -> None:
        figure = plots.plot_best_against_trials({"<b>&": [store_study("a")]})
        assert figure.data[-1].name == "&lt;b>&amp;"

    def test_test_accuracy_is_by_seed(self) -> None:
        comparison = store_comparison({"greedy": [0.01, 0.02], "random_restart": [0.0, 0.0]})
        figure = plots.plot_test_accuracy(studies_of(comparison))
        boxes = {trace.name: list(trace.x) for trace in figure.data if trace.type == "box"}
        assert list(boxes) == ["unmoved", "greedy", "random_restart"]
        assert list(figure.layout.yaxis.ticktext) == list(boxes)
        assert np.subtract(boxes["greedy"], boxes["unmoved"]) == pytest.approx([1, 2])

    def test_figures_are_small(self) -> None:
        comparison = store_comparison({"greedy": [0.0] * 3, "random_restart": [0.0] * 3})
        for plot in OF_SEVERAL:
            assert (
                len(json.dumps(plot(studies_of(comparison)).to_plotly_json(), default=str))
                < 30_000
            )


@pytest.mark.parametrize("wrong", ["s", None, ["s"], {"a": 3}, {"a": ["s"]}])
def test_what_is_no_study_is_refused(wrong: Any) -> None:
    for plot in (*OF_ONE, *OF_SEVERAL):
        with pytest.raises(TypeError, match=r"must be (an Optuna study|a mapping)"):
            plot(wrong)
