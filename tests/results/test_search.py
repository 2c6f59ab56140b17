"""The sentences of a search result, and simulations in which its verdict could be false."""

from __future__ import annotations

import functools
import json
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial
from search_worker import make_objective, quick_training
from shown_pages import of_a_regression
from snapshots import assert_states, assert_surfaces
from stored_studies import (
    changed,
    confirmation,
    declaration,
    store_classes,
    store_confirmation,
    store_head,
    store_study,
    store_test_evaluation,
)

import adnn_optuna as adnn
from adnn_optuna._attributes import BASELINE, CONFIG
from adnn_optuna.engine.records import read_record
from adnn_optuna.experiments import records as arms
from adnn_optuna.experiments.confirmation import confirmation_of
from adnn_optuna.experiments.search import _verdict_on
from adnn_optuna.render.html import to_page
from adnn_optuna.render.json import to_json
from adnn_optuna.render.text import to_text
from adnn_optuna.results.fields import FIELDS, Field, units_of
from adnn_optuna.results.study import StudyResult, result_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adnn_optuna.engine.records import SearchRecord
    from adnn_optuna.render.document import Document, Line

GAINS = (0.01, 0.012, 0.014, 0.01, 0.02, 0.01, 0.012, 0.014, 0.01, 0.02)


def document_of(of: StudyResult | SearchRecord | optuna.Study) -> Document:
    if isinstance(of, StudyResult):
        return of.document()
    record = read_record(of) if isinstance(of, optuna.Study) else of
    return result_of(record).document()


def confirmed(gains: Sequence[float] = GAINS, **options: Any) -> SearchRecord:
    """Return a search whose best network classifies 894 of 1000 test images correctly."""
    return store_confirmation(store_study("digits", gain=0.003), gains, **options)


def lines_of(document: Document) -> dict[str, Line]:
    return {line.label: line for line in document.estimates}


def notes_of(document: Document) -> str:
    return "\n".join(document.notes)


def untested() -> optuna.Study:
    """Return a search whose best trial came after the last test-set evaluation."""
    study = store_study("untested", gain=0.003)
    study.enqueue_trial({})
    study.tell(study.ask(), 2.0)
    return study


@functools.cache
def searches() -> list[tuple[StudyResult, tuple[str, ...]]]:
    """Return search results and their texts on all surfaces.

    There are results of networks, of an Optuna study, and of functions with and without
    replicates.
    """
    record = confirmed(first=0.8)
    record.best.user_attrs[BASELINE] = record.baseline  # The objective is a function of the trial.
    study = optuna.create_study()
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)

    def function(trial: Any, seed: int) -> float:
        return float(trial.suggest_float("x", 0, 1) + np.random.default_rng(seed).normal())

    options: Any = {"max_trial": 10, "confirm": 2}
    plain, replicated = (
        adnn.search(function, "random", **options, replicate=share) for share in (0, 0.5)
    )
    assert replicated.replicates
    results = result_of(record), result_of(read_record(study)), plain, replicated
    return [(result, surfaces_of(result)) for result in results]


def surfaces_of(result: StudyResult) -> tuple[str, ...]:
    """Return a result as JSON, and the words of its text, its Markdown and its page."""
    document = result.document()
    texts = format(result, "details"), format(result, "markdown"), to_page(document)
    unescaped = (re.sub(r"<[^>]*>|[|]", " ", text.replace("\\", "")) for text in texts)
    return to_json(document), *(" ".join(text.split()) for text in unescaped)


def test_a_function_has_no_test_set_numbers() -> None:
    result = adnn.search(lambda t: t.suggest_float("x", 0, 1), "random", max_trial=2)
    assert "test" not in format(result, "details")
    of_test = {field.key for field in FIELDS if "test" in field.key}
    assert len(of_test) == 4
    fields = json.loads(to_json(result.document()))
    assert [fields[key] for key in of_test] == [None] * 4


def test_large_losses_have_no_superfluous_digits() -> None:
    study = store_study("mae", metric="val_mae", values=[38557.2332, 38611.871, 38402.5])
    assert units_of(read_record(study)).selection.value(38557.2332) == "38557"
    study = store_study("loss", metric="val_loss", values=[0.55, 0.65])
    assert units_of(read_record(study)).selection.value(0.55) == "0.5500"


class TestSurfaces:
    def test_of_a_confirmed_search(self) -> None:
        record = store_confirmation(store_study("digits", gain=0.003), GAINS)
        assert_surfaces("search", result_of(record))

    def test_of_any_optuna_study(self) -> None:
        study = optuna.create_study(study_name="depths", direction="maximize")
        for value in (0.25, 0.75):
            study.add_trial(create_trial(value=value))
        assert_surfaces("study", result_of(read_record(study)))

    @pytest.mark.parametrize("field", FIELDS, ids=[field.key for field in FIELDS])
    def test_each_number_is_on_each_surface(self, field: Field) -> None:
        n_with_it = 0
        for result, (in_json, *texts) in searches():
            number = result._numbers[field.key]
            if not math.isnan(number):
                n_with_it += 1
                text_of_number = field.text(number, field.unit_in(units_of(result.record)))
                assert f'"{field.key}": ' in in_json
                label = field.label
                if field.metric == "selection":
                    label = f"{label}, {result.record.metric_label}"
                assert all(f" {label} {text_of_number} " in text for text in texts)
        assert n_with_it


def evaluated_elsewhere() -> list[optuna.Study]:
    """Return four studies of one storage: two evaluated the same test set, two did not."""
    storage = optuna.storages.InMemoryStorage()
    studies = [store_study(f"s{i}", seed=i, gain=0.003, storage=storage) for i in range(3)]
    store_head(storage, "c", declaration((0, 1), "annealing"))
    runs = [store_study(f"c/annealing/seed={i}", seed=i, storage=storage) for i in range(2)]
    other_study = store_study("of other data", storage=storage)
    other_study.set_user_attr("adnn:test_rows", "1" * 64)
    closed = store_study("closed", values=[math.nan], storage=storage)
    return [studies[2], runs[0], other_study, closed]


def evaluated_again() -> optuna.Study:
    """Return a search in which two workers evaluated the test set, because they ended together."""
    study = untested()
    for second in (0, 1):
        store_test_evaluation(study, f"2026-11-25T13:00:0{second}+00:00", 0.9, 0.005)
    return study


def in_state(state: TrialState) -> optuna.Study:
    study = optuna.create_study(study_name="theirs")
    study.add_trial(create_trial(state=state))
    return study


def without_offsets(**config: Any) -> optuna.Study:
    """Return a search of a model that has variables without offsets."""
    study = store_study("own layers")
    model = {**study.user_attrs[CONFIG]["model"], "not_moved": [f"own/w{i}" for i in range(7)]}
    study.set_user_attr(CONFIG, {**study.user_attrs[CONFIG], "model": model, **config})
    return study


def ended_by(reason: str | None) -> optuna.Study:
    study = store_study("ended")
    study.set_user_attr("adnn:stop_reason", reason)
    return study


@functools.cache
def states() -> dict[str, StudyResult]:
    """Return search results in all states that have different sentences."""
    restarts = store_study("restarts", sampler="random_restart", gain=0.07)
    worst = store_study("worst", sampler="random_restart", gain=0.0724)
    chance, added = store_study("classes"), store_study("added")
    store_classes(chance, [30, 40, 30])
    best = added.best_trial
    added.add_trial(create_trial(params=best.params, distributions=best.distributions, value=1.0))
    unfinished = store_study("left")
    unfinished.add_trial(create_trial(state=TrialState.RUNNING))
    tiny = optuna.create_study(study_name="tiny")
    tiny.add_trials([create_trial(value=value) for value in (3e-6, 1e-6)])
    diverged = {"baseline": math.nan, "n_groups": 800.0}
    stored_states: dict[str, SearchRecord | optuna.Study] = {
        "not shown": confirmed([0.012, -0.01] * 5, baseline=0.894),
        "worse": confirmed([-0.01, -0.02] * 5, baseline=0.93),
        "not shown but better than new baselines": confirmed([gain - 0.012 for gain in GAINS]),
        "random restarts": store_study("restarts", sampler="random_restart", gain=0.07),
        "random restarts on new seeds": store_confirmation(restarts, []),
        "the worst of all baselines": store_confirmation(worst, [], baseline=0.96),
        "the second best trial": confirmed(n_earlier=1),
        "the third best trial": confirmed(n_earlier=2),
        # At this low error rate, a sign-flip test of ten seeds cannot show a gain.
        "the sixth best trial": confirmed(n_earlier=5),
        "a long name": store_confirmation(store_study("n" * 90, gain=0.003), GAINS),
        "no new seeds": store_study("long", gain=0.003),
        "no gain": store_study("same", values=[0.901257] * 12),
        "an earlier best trial was tested": untested(),
        "tested again": evaluated_again(),
        "tested elsewhere": evaluated_elsewhere()[0],
        "at chance": changed(read_record(chance), "adnn:test/", best=0.41, baseline=0.39),
        "a diverged baseline and groups": changed(
            read_record(store_study("s")), "adnn:test/", **diverged
        ),
        "a loss": store_study("loss", metric="val_loss", gain=0.003),
        "hyperparameters": confirmed([0.01] * 10, first=0.8),
        "no trial": optuna.create_study(study_name="theirs"),
        "failed": in_state(TrialState.FAIL),
        "pruned": in_state(TrialState.PRUNED),
        "variables without offsets": without_offsets(),
        "variables without offsets, of a control": without_offsets(space={"type": "ControlSpace"}),
        "left running": unfinished,
        "an added best trial": added,
        **{f"ended by {r}": ended_by(r) for r in ("max_time", "interrupted", "exhausted", None)},
        "tiny values": tiny,
    }
    results = {}
    for state, value in stored_states.items():
        record = read_record(value) if isinstance(value, optuna.Study) else value
        results[state] = record if isinstance(record, StudyResult) else result_of(record)
    return results


def test_surfaces_of_states() -> None:
    assert_states("search", states())


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        ("not shown", "not shown"),
        ("worse", "worse"),
        ("random restarts", "no claim"),
        ("random restarts on new seeds", "no claim"),
        ("the worst of all baselines", "no claim"),
        ("no new seeds", "not known"),
    ],
)
def test_each_state_has_its_verdict(state: str, verdict: str) -> None:
    assert states()[state].document().verdict == verdict


def verdict_of(own: np.ndarray, baselines: np.ndarray, moved: np.ndarray) -> str:
    facts = confirmation_of(
        confirmation(own, {arms.BASELINE_ARM: baselines, arms.BEST_ARM: moved})
    )
    return _verdict_on(facts)[0]


def test_a_worse_network_is_named_even_if_its_offsets_gain_on_new_seeds() -> None:
    rows = np.arange(200)
    scores = {
        arms.BASELINE_ARM: np.array([rows < 180 + i % 2 for i in range(10)]),
        arms.BEST_ARM: np.array([rows < 190 + i % 3 for i in range(10)]),
    }
    worse = confirmation_of(confirmation(rows < 100, scores))
    better = confirmation_of(confirmation(rows < 190, scores))
    assert worse.vs_baselines.high < 0 < worse.replication.low
    assert _verdict_on(worse) == (
        "replicates",
        "offsets gain on new seeds, but this network is worse",
    )
    assert _verdict_on(better) == ("replicates", "the gain replicates on new seeds")


class TestWhenItWouldBeFalse:
    """In each simulation, "replicates" would be false, and its share must be at most 2.5%."""

    @pytest.mark.parametrize("rarely", [0.0, 0.03])
    def test_offsets_that_do_nothing_replicate_in_at_most_2_5_percent(self, rarely: float) -> None:
        """The difficulty of images varies, and rare collapses affect both networks alike."""
        rng, false, n = np.random.default_rng(5), 0, 600
        for _ in range(n):
            hard = rng.random(200) < 0.1
            chance = rng.normal(0.95, 0.01, (2, 10, 1)) - 0.5 * hard
            chance = np.where(rng.random((2, 10, 1)) < rarely, 0.6, chance)
            baselines, moved = rng.random((2, 10, 200)) < chance
            false += verdict_of(moved[0], baselines, moved) == "replicates"
        assert false / n < 0.025 + 2 * np.sqrt(0.025 * 0.975 / n)

    def test_a_diverged_training_run_shows_nothing(self) -> None:
        scores = {arms.BASELINE_ARM: np.full((10, 5), np.nan), arms.BEST_ARM: np.ones((10, 5))}
        facts = confirmation_of(confirmation(np.ones(5), scores))
        assert _verdict_on(facts)[0] == "not known"
        assert all(np.isnan(facts.vs_baselines))


class TestTestSet:
    def test_each_evaluation_counts_once(self) -> None:
        for study, count in ((untested(), "1"), (evaluated_again(), "2")):
            assert ("test-set evaluations", count) in document_of(study).tables[0].rows

    def test_evaluations_count_over_the_whole_storage(self) -> None:
        study, run, *other_studies = evaluated_elsewhere()
        expected = {"s0": 1, "s1": 1, "c/annealing/seed=0": 1, "c/annealing/seed=1": 1}
        assert read_record(study).test_evaluations_elsewhere == expected
        # The runs of a comparison share one test-set evaluation, so no run counts another run.
        assert [*read_record(run).test_evaluations_elsewhere] == ["s0", "s1", "s2"]
        assert all(
            "untouched" not in notes_of(document_of(other_study)) for other_study in other_studies
        )

    @pytest.mark.parametrize(
        ("sizes", "is_uneven"),
        [([59, 41], False), ([60, 40], True), ([60, 40, 0], True), ([42, 29, 29], False)],
    )
    def test_classes_are_uneven_if_the_largest_is_1_5_times_the_mean_of_the_others(
        self, sizes: list[int], is_uneven: bool
    ) -> None:
        study = store_study("classes")
        store_classes(study, sizes)
        assert ("always predicts it reaches" in notes_of(document_of(study))) == is_uneven

    def test_networks_at_chance_are_named_in_almost_all_cases(self) -> None:
        study, rng = store_study("classes"), np.random.default_rng(0)
        store_classes(study, [30, 40, 30])
        n_named = {0.4: 0, 0.6: 0}
        for chance in n_named:
            for right in rng.binomial(100, chance, 50):
                record = changed(read_record(study), "adnn:test/", best=right / 100, baseline=0.9)
                notes = notes_of(document_of(record))
                n_named[chance] += "The best network is at chance" in notes
        assert n_named[0.4] >= 45
        assert n_named[0.6] <= 5

    def test_a_regression_has_no_percentages(self) -> None:
        document = document_of(of_a_regression(store_study("r2", metric="val_r2", gain=0.003)))
        text = to_text(document)
        for wrong in ("images", "accuracy", " pp", "%"):
            assert wrong not in text.replace("95% CI", "")


class TestHyperparameters:
    def test_the_gain_of_hyperparameters_is_shown_apart_from_that_of_offsets(self) -> None:
        record = read_record(store_study("of a trial", values=[0.9, 0.95]))
        first = record.baseline
        record.best.user_attrs[BASELINE] = 0.945
        record = read_record(record.study)
        assert (record.baseline, record.gain) == (0.945, record.best_value - 0.945)
        document = document_of(record)
        line = lines_of(document)["hyperparameters"]
        assert line.value == f"{100 * (0.945 - first):+.2f} pp"
        assert "hyperparameters" not in to_text(document_of(store_study("s")))


class TestWithoutBestTrial:
    @pytest.mark.skipif(
        not hasattr(optuna.Trial, "set_constraint"), reason="Optuna 4 has no Trial.set_constraint"
    )
    def test_a_function_without_feasible_trials_is_told(self) -> None:
        def infeasible(trial: optuna.Trial) -> float:
            trial.set_constraint("c", 1.0)
            return trial.suggest_float("x", 0, 1)

        document = adnn.search(infeasible, "random", max_trial=3).document()
        assert document.conclusion.startswith("No trial is feasible: 3 violate a constraint.")

    @pytest.mark.tensorflow
    def test_a_training_run_that_exceeds_max_time_is_named(self) -> None:
        objective = make_objective(training=quick_training(epochs=10**6, batch_size=7))
        # The first search compiles the network, so the second search spends its time on training.
        adnn.search(objective, "annealing", max_time=0.1)
        result = adnn.search(objective, "annealing", max_time=0.3)
        assert result.document().conclusion.endswith("with a longer max_time if it is set.")
