"""Figures: what they show of a study, and that no study breaks them."""

from __future__ import annotations

import itertools
import json
import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from stored_studies import N_TRIALS, store_comparison, store_confusions, store_study

from adnn_optuna import AdaptiveSimulatedAnnealingSampler, DeltaStepSampler, plots
from adnn_optuna.engine.arms import sampler_of
from adnn_optuna.plots._comparison import expected_best_of_n, seconds_until_done

if TYPE_CHECKING:
    from collections.abc import Callable

    import plotly.graph_objects as go

    from adnn_optuna.evidence.comparison import Comparison

OF_ONE = [
    plots.plot_gain,
    plots.plot_walk,
    plots.plot_annealing,
    plots.plot_offsets,
    plots.plot_accuracy_distribution,
    plots.plot_best_of_n,
    plots.plot_calibration,
    plots.plot_confusion_matrix,
]
OF_SEVERAL = [
    plots.plot_best_against_compute,
    plots.plot_best_against_trials,
    plots.plot_best_against_seconds,
    plots.plot_target_share,
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
        with pytest.raises(ValueError, match=r"'s' has 2 objectives, but .* of one; give a study"):
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
        assert trials.text[-1] == "-40"
        assert -1 < trials.y[-1] < min(trials.y[:-1])
        assert trials.marker.symbol[-1] == "triangle-down-open"


class TestWalk:
    def test_has_a_line_for_each_delta_from_the_baseline(self) -> None:
        study = optuna.create_study(
            direction="maximize", sampler=DeltaStepSampler((0.1, 0.2), max_steps=3)
        )
        study.optimize(lambda trial: -abs(trial.suggest_float("x", 0, 1) - 0.2))
        figure = plots.plot_walk(study)
        assert named(figure, "δ = 0.1").x == pytest.approx((0, 0.1, 0.2, 0.3))
        assert named(figure, "δ = 0.2").x == pytest.approx((0, 0.2, 0.4, 0.6))
        assert named(figure, "δ = 0.1").y == pytest.approx((0, 0.1, 0.2, 0.1))

    def test_of_a_loaded_study_is_the_same(self) -> None:
        storage = optuna.storages.InMemoryStorage()
        study = store_study("walk", sampler="greedy", storage=storage)
        loaded = optuna.load_study(study_name="walk", storage=storage)
        assert plots.plot_walk(loaded) == plots.plot_walk(study)
        assert len(named(plots.plot_walk(loaded), "δ = 0.0025").x) == N_TRIALS

    def test_of_several_seeds_has_their_mean(self) -> None:
        studies = [store_study(f"{i}", sampler="greedy", seed=i) for i in range(3)]
        figure = plots.plot_walk(studies)
        lines = [trace.y for trace in figure.data if trace.name == "δ = 0.0025"]
        assert len(lines) == 3
        mean = named(figure, "δ = 0.0025, mean of 3 seeds")
        np.testing.assert_allclose(mean.y, np.mean(lines, axis=0))


@pytest.fixture(scope="module")
def annealed() -> optuna.Study:
    sampler = AdaptiveSimulatedAnnealingSampler(seed=0, n_trials=30, x0={"x": 0, "y": 0})
    study = optuna.create_study(sampler=sampler)
    study.optimize(
        lambda t: (t.suggest_float("x", -1, 1) - 0.3) ** 2 + t.suggest_float("y", -1, 1) ** 2,
        n_trials=30,
    )
    return study


class TestAnnealing:
    def test_cools_down(self, annealed: optuna.Study) -> None:
        curve = named(plots.plot_annealing(annealed), "temperature of all parameters")
        assert list(curve.x) == list(range(30))
        assert (np.diff(curve.y) < 0).all()
        assert curve.y[0] == 0.1

    def test_shows_which_trials_were_accepted(self, annealed: optuna.Study) -> None:
        figure = plots.plot_annealing(annealed)
        accepted, rejected = named(figure, "accepted"), named(figure, "rejected")
        assert sorted([*accepted.x, *rejected.x]) == list(range(30))
        best = math.inf
        for trial in annealed.trials:
            if trial.value < best:
                best = trial.value
                assert trial.number in accepted.x

    def test_of_a_baseline_that_diverged_shows_the_temperatures(self) -> None:
        study = store_study("s", metric="val_loss")
        study.set_user_attr("adnn:baseline", math.nan)
        figure = plots.plot_annealing(study)
        assert len(named(figure, "temperature of all parameters").x) == N_TRIALS
        assert not len(named(figure, "accepted").x)

    def test_has_few_labels_of_temperatures(self) -> None:
        sampler = AdaptiveSimulatedAnnealingSampler(seed=0, n_trials=400, x0={"x": 0})
        study = optuna.create_study(sampler=sampler)
        study.optimize(lambda t: t.suggest_float("x", -1, 1) ** 2, n_trials=400)
        figure = plots.plot_annealing(study)
        values = [value for trace in figure.data[:2] for value in trace.y if value]
        decades = np.ptp(np.log10(values))
        assert decades > 5
        assert decades / figure.layout.yaxis.dtick < 6

    def test_begins_as_cool_where_the_first_trial_died_at_once(self) -> None:
        study = store_study("s")
        dead = optuna.create_study(study_name="dead", direction="maximize")
        dead.tell(dead.ask(), state=TrialState.FAIL)
        for key, value in study.user_attrs.items():
            dead.set_user_attr(key, value)
        dead.sampler = sampler_of(study)
        for trial in study.trials:
            dead.tell(dead.ask(trial.distributions), trial.value)
        curve = named(plots.plot_annealing(dead), "temperature of all parameters")
        assert curve.y[0] == named(plots.plot_annealing(study), curve.name).y[0] == 0.1

    def test_of_a_loaded_study_is_the_same(self, annealed: optuna.Study) -> None:
        another = AdaptiveSimulatedAnnealingSampler(seed=0, n_trials=30, x0={"x": 0, "y": 0})
        loaded = optuna.load_study(
            study_name=annealed.study_name, storage=annealed._storage, sampler=another
        )
        figure = plots.plot_annealing(loaded)
        assert figure == plots.plot_annealing(annealed)
        assert len(named(figure, "rejected").x) > 0


class TestOffsets:
    def test_marks_the_best_trial(self) -> None:
        study = store_study("s")
        figure = plots.plot_offsets(study)
        assert list(figure.layout.yaxis.ticktext) == list(NAMES)
        assert list(named(figure, "best trial").x) == [
            study.best_trial.params[name] for name in NAMES
        ]
        assert len(named(figure, "trial").y) == 2 * N_TRIALS

    def test_are_alone_where_other_parameters_are_searched_beside_them(self) -> None:
        study = store_study("s")
        params = {"width": IntDistribution(16, 512), "offset": FloatDistribution(-1, 1)}
        values = {"width": 256, "offset": 0.1}
        study.add_trial(create_trial(params=values, distributions=params, value=2.0))
        figure = plots.plot_offsets(study)
        assert list(figure.layout.yaxis.ticktext) == ["offset"]
        assert list(named(figure, "best trial").x) == [0.1]

    def test_names_are_shown_as_they_are(self) -> None:
        name = "<b>&x</b>"
        sampler = AdaptiveSimulatedAnnealingSampler(seed=0, n_trials=60, reannealing=True)
        study = optuna.create_study(sampler=sampler)
        study.optimize(
            lambda t: t.suggest_float(name, -1, 1) ** 2 + t.suggest_float("y", -2, 2) ** 4,
            n_trials=60,
        )
        shown = "&lt;b>&amp;x&lt;/b>"
        assert list(plots.plot_offsets(study).layout.yaxis.ticktext) == [shown, "y"]
        # As soon as each has a temperature of its own.
        names = {trace.name for trace in plots.plot_annealing(study).data}
        assert f"temperature of {shown}" in names


class TestTestSet:
    @pytest.fixture
    def study(self) -> optuna.Study:
        study = store_study("s")
        store_confusions(study, [[6, 4], [1, 9]], [[8, 2], [0, 10]])
        return study

    def test_confusion_is_of_the_winner_by_true_classes(self, study: optuna.Study) -> None:
        [matrix] = plots.plot_confusion_matrix(study).data
        assert [list(row) for row in matrix.text] == [[8, 2], [0, 10]]
        assert [list(row) for row in matrix.z] == [[80, 20], [0, 100]]

    def test_calibration_tells_its_error_and_how_many_it_is_of(self, study: optuna.Study) -> None:
        figure = plots.plot_calibration(study)
        # Half of all is right 10 points less often than it is sure, the other half as often.
        curve = named(figure, "winner, expected calibration error<br>5.00 pp")
        assert (list(curve.x), list(curve.y)) == ([85, 95], [75, 95])
        bars = [trace for trace in figure.data if trace.type == "bar"]
        assert [list(trace.y) for trace in bars] == [[10, 10]] * 2

    def test_of_a_study_without_classes_says_so(self) -> None:
        for plot in (plots.plot_calibration, plots.plot_confusion_matrix):
            assert "was stored" in plot(store_study("s")).layout.annotations[0].text


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
    def test_expected_best_of_n_is_the_mean_over_all_draws(self) -> None:
        values = np.random.default_rng(0).normal(size=7)
        for n, expected in enumerate(expected_best_of_n(values.tolist()), start=1):
            draws = itertools.combinations(values, n)
            assert expected == pytest.approx(np.mean([max(draw) for draw in draws]))
        assert len(expected_best_of_n([])) == 0

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
        bars = plots.plot_accuracy_distribution(studies).data[0]
        assert sum(bars.y) == 2 * N_TRIALS

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

    def test_target_share_counts_runs(self) -> None:
        studies = [store_study(f"{i}", values=[0.9, 0.9, 0.9 + i / 100]) for i in range(4)]
        for study in studies:
            study.set_user_attr("adnn:baseline", 0.9)
        figure = plots.plot_target_share({"arm": studies}, target=0.915)
        assert named(figure, "arm").y == pytest.approx((0, 0, 50))
        assert "91.5 %" in figure.layout.title.text

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


class TestSeconds:
    BEGIN = datetime(2026, 1, 1)  # noqa: DTZ001 - as Optuna's

    def trial(self, start: float, end: float) -> optuna.trial.FrozenTrial:
        trial = create_trial(value=0.0)
        trial.datetime_start = self.BEGIN + timedelta(seconds=start)
        trial.datetime_complete = self.BEGIN + timedelta(seconds=end)
        return trial

    def test_of_one_run_are_those_in_which_it_ran(self) -> None:
        run = [self.trial(0, 2), self.trial(1, 3), self.trial(10, 11)]
        assert seconds_until_done([run]) == [pytest.approx([2, 3, 4])]

    def test_are_shared_by_runs_of_one_stack(self) -> None:
        stack = [[self.trial(0, 4), self.trial(4, 6)], [self.trial(0, 4), self.trial(4, 6)]]
        assert seconds_until_done(stack) == [pytest.approx([2, 3])] * 2
        assert seconds_until_done([[], []]) == [[], []]
