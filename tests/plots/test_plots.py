"""Figures: what they show of a study, and that no study breaks them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from stored_studies import N_TRIALS, store_comparison, store_study

from adnn_optuna import DeltaStepSampler
from adnn_optuna.plots import _comparison as plots

if TYPE_CHECKING:
    from collections.abc import Callable

    import plotly.graph_objects as go

    from adnn_optuna import Comparison

OF_ONE = [
    plots.plot_gain,
    plots.plot_accuracy_distribution,
    plots.plot_best_of_n,
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

    def test_lists_are_written_as_lists(self) -> None:
        # The dashboard's plotly.js is older than the compact format for arrays.
        comparison = store_comparison({"greedy": [0.0] * 3, "random_restart": [0.0] * 3})
        studies = studies_of(comparison)
        for study in (studies["greedy"][0], studies["random_restart"][0]):
            for plot in OF_ONE:
                assert "bdata" not in plot(study).to_json()

    def test_has_the_same_figure_as_its_record(self) -> None:
        comparison = store_comparison({"greedy": [0.01] * 2, "random_restart": [0.0] * 2})
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


@pytest.mark.parametrize("wrong", ["s", None, ["s"], {"a": 3}, {"a": ["s"]}])
def test_what_is_no_study_is_refused(wrong: Any) -> None:
    for plot in OF_ONE:
        with pytest.raises(TypeError, match=r"must be (an Optuna study|a mapping)"):
            plot(wrong)
