"""Each kind of study has figures, with these contents."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from stored_studies import store_confirmation, store_study

import adnn_optuna as adnn
from adnn_optuna import DeltaStepSampler
from adnn_optuna.engine.records import read_record
from adnn_optuna.experiments.confirmation import read_confirmation
from adnn_optuna.render.figures import standalone, to_plotly
from adnn_optuna.results.study import places_of, result_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from adnn_optuna.render.document import Figure, Mark, Series


NAMES = ("weight_offset_0", "bias_offset_0")


def drawn(study: optuna.Study) -> dict[str, Figure]:
    """Return the figures of a search by key."""
    document = result_of(read_record(study)).document()
    return {figure.key: figure for figure in document.figures()}


def series(figure: Figure, mark: Mark) -> Series:
    [single] = [series for series in figure.series if series.mark == mark]
    return single


def empty() -> optuna.Study:
    return optuna.create_study(study_name="empty", direction="maximize")


def troubled() -> optuna.Study:
    """Return a study with trials in all states and with some values far below the others."""
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


def restarts() -> optuna.Study:
    return store_study("r", sampler="random_restart")


@pytest.mark.parametrize("make", [empty, troubled, of_another_objective, restarts])
def test_every_study_has_figures(make: Callable[[], optuna.Study]) -> None:
    for figure in drawn(make()).values():
        drawing = standalone(figure)
        assert drawing.data or drawing.layout.annotations[0].text
        assert drawing.layout.title.text
        json = drawing.to_json()
        assert "NaN" not in json
        assert "bdata" not in json  # The plotly.js of the dashboard cannot read it.


class TestGain:
    def test_shows_each_trial_and_the_best_so_far(self) -> None:
        study = store_study("s", values=[0.5, 0.52, 0.51, 0.55])
        study.set_user_attr("adnn:baseline", 0.5)
        figure = drawn(study)["gain"]
        np.testing.assert_allclose(series(figure, "points").y, [0, 2, 1, 5], atol=1e-9)
        np.testing.assert_allclose(series(figure, "steps").y, [0, 2, 2, 5], atol=1e-9)
        assert figure.y_label == "Gain in val_accuracy [pp]"

    def test_of_a_loss_is_the_decrease(self) -> None:
        study = store_study("s", metric="val_loss", values=[0.5, 0.4])
        study.set_user_attr("adnn:baseline", 0.5)
        figure = drawn(study)["gain"]
        np.testing.assert_allclose(series(figure, "steps").y, [0, 0.1])
        assert figure.y_label == "Gain in val_loss"

    def test_counts_trials_far_below_that_are_not_drawn(self) -> None:
        study = store_study("s", values=[0.5, 0.51, 0.52, 0.51, 0.5, 0.1])
        study.set_user_attr("adnn:baseline", 0.5)
        figure = drawn(study)["gain"]
        assert [*series(figure, "points").x] == [0, 1, 2, 3, 4]
        assert figure.caption.endswith(" Not drawn: 1 trial far worse.")

    def test_title_names_the_trial_with_the_best_value_or_the_value_on_new_seeds(self) -> None:
        def loss(trial: optuna.Trial, seed: int) -> float:
            noise = np.random.default_rng(seed).normal()
            return (trial.suggest_float("x", 0, 1) - 0.5) ** 2 + 0.3 * noise

        def search(**options: Any) -> tuple[Any, list[Figure]]:
            result = adnn.search(loss, "random", max_trial=20, replicate=0.5, **options)
            return result, result.document().figures()

        result, (gain, places) = search(confirm=0)
        best = result.study.best_trial.number
        assert best != result.best.number
        assert gain.title.startswith(f"Largest single gain: trial {best}, +")
        assert gain.title.endswith("(selected: biased upward)")
        assert places.title.startswith(f"Trial {result.best.number}: ")
        assert places.caption == f"Ring: trial {result.best.number}."
        result, (selection, *_) = search(confirm=2)
        assert selection.title.startswith(f"Trial {result.best.number} averages ")
        assert selection.rows == ("20 trials", "2 new seeds")
        best, recommended, reported = (s for s in selection.series if "squares" in s.mark)
        assert best.x == (result.study.best_value,)
        assert recommended.x == (result.value.value,)
        assert reported.x == (result.best.value,)


class TestSelection:
    GAINS = (0.003, 0.004, 0.005, 0.006, 0.007, 0.008)

    def test_shows_gains_of_trials_and_of_new_seeds(self) -> None:
        study = store_study("one", gain=0.003)
        record = store_confirmation(study, [*self.GAINS])
        assert next(iter(drawn(study))) == "selection"
        figure = drawn(study)["selection"]
        assert figure.rows == ("validation data, 12 trials", "test data, 6 new seeds")
        trials, runs, gains_of_best, of_runs, best, replication = figure.series
        # The best trial is a square instead of a dot.
        gains = sorted(100 * gain for gain in record.gains.values())
        assert sorted([*trials.x, *best.x]) == pytest.approx(gains)
        assert runs.x == pytest.approx([100 * gain for gain in self.GAINS])
        assert best.x == pytest.approx([100 * record.gain])
        interval = read_confirmation(record).replication
        ends = (*replication.x, *replication.low, *replication.high)
        assert ends == pytest.approx([100 * end for end in interval])
        # Each square has its own vertical line, because gains on different data have no distance.
        assert ({*gains_of_best.x}, {*of_runs.x}) == ({*best.x}, {*replication.x})
        assert (gains_of_best.color, of_runs.color) == (best.color, replication.color)

    def test_names_the_level_of_a_later_best_trial(self) -> None:
        study = store_study("one", gain=0.003)
        store_confirmation(study, [*self.GAINS], n_earlier=1)
        assert "(97.5% CI " in drawn(study)["selection"].series[3].text[-1]

    def test_needs_new_seeds(self) -> None:
        assert "selection" not in drawn(store_study("two", gain=0.003))


class TestPlaces:
    @pytest.mark.parametrize("metric", ["val_accuracy", "val_loss"])
    def test_the_best_trial_has_the_ring_and_the_end_of_the_color_scale(self, metric: str) -> None:
        study = store_study("s", metric=metric)
        record = read_record(study)
        figure = drawn(study)["places"]
        trials, ring = figure.series
        i = record.best.number
        assert (ring.x[0], ring.y[0]) == (trials.x[i], trials.y[i])
        assert trials.x[i] == record.best.params["bias_offset_0"]
        assert figure.lower_is_better == (metric == "val_loss")
        scale = to_plotly(figure).layout.coloraxis
        assert (scale.cmin if metric == "val_loss" else scale.cmax) == trials.values[i]
        assert trials.hover[i].startswith(f"trial {i}: ")


def test_random_restarts_have_no_figure_of_places() -> None:
    assert [*drawn(restarts())] == ["gain"]


def test_places_are_drawn_by_the_two_parameters_that_matter_most() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        values = [trial.suggest_float(f"x{i}", 1e-3, 1, log=i == 3) for i in range(5)]
        trial.suggest_categorical("kind", ["a", "b"])
        return (values[1] - 0.5) ** 2 + (math.log(values[3]) + 3) ** 2 / 40

    study.optimize(objective, n_trials=60)
    study.add_trial(optuna.create_trial(value=math.inf))
    names, trials = places_of(read_record(study))
    names = names[:2]
    assert {*names} == {"x1", "x3"}
    assert [trial.number for trial in trials] == [*range(60)]
    figure = drawn(study)["places"]
    assert "these two matter most" in figure.caption
    assert figure.log == "xy"[names.index("x3")]
    assert figure.series[0].x[7] == study.trials[7].params[names[0]]


def test_places_need_two_parameters_that_vary() -> None:
    assert places_of(read_record(store_study("two")))[0] == ["bias_offset_0", "weight_offset_0"]
    study = optuna.create_study()
    assert places_of(read_record(study)) == ([], [])
    study.optimize(lambda trial: trial.suggest_int("n", 1, 1), n_trials=3)
    assert places_of(read_record(study))[0] == []
    assert "places" not in drawn(study)
