"""What a search says, and the cases in which it would be false."""

from __future__ import annotations

import functools
import itertools
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
from snapshots import assert_surfaces
from stored_studies import (
    changed,
    confirmation,
    declaration,
    store_classes,
    store_confirmation,
    store_head,
    store_look,
    store_study,
)

import adnn_optuna as adnn
from adnn_optuna._attributes import BASELINE, CONFIG
from adnn_optuna.engine import confirmation as arms
from adnn_optuna.engine.records import read_record
from adnn_optuna.render.html import to_page
from adnn_optuna.render.json import to_json
from adnn_optuna.render.text import to_text
from adnn_optuna.results.confirmation import confirmation_of
from adnn_optuna.results.fields import FIELDS, Field, units_of
from adnn_optuna.results.function_search import stored_result
from adnn_optuna.results.search import StudyResult, _verdict_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adnn_optuna.engine.records import SearchRecord
    from adnn_optuna.render.document import Document, Line

GAINS = (0.01, 0.012, 0.014, 0.01, 0.02, 0.01, 0.012, 0.014, 0.01, 0.02)
_names = itertools.count()


def document_of(of: SearchRecord | optuna.Study) -> Document:
    record = read_record(of) if isinstance(of, optuna.Study) else of
    return stored_result(record).document()


def confirmed(gains: Sequence[float] = GAINS, **options: Any) -> SearchRecord:
    """Return a search whose best network predicts 894 of 1000 test images right."""
    return store_confirmation(store_study(f"s{next(_names)}", gain=0.003), gains, **options)


def lines_of(document: Document) -> dict[str, Line]:
    return {line.label: line for line in document.estimates}


def notes_of(document: Document) -> str:
    return "\n".join(document.notes)


def untested() -> optuna.Study:
    """Return a search whose best trial came after the test set was evaluated."""
    study = store_study("untested", gain=0.003)
    study.enqueue_trial({})
    study.tell(study.ask(), 2.0)
    return study


@functools.cache
def searches() -> list[tuple[StudyResult, tuple[str, ...]]]:
    """Return searches, with their surfaces.

    They are of networks, of any study, and of a function without and with replicates.
    """
    record = confirmed(first=0.8)
    assert record.best is not None
    record.best.user_attrs[BASELINE] = record.baseline  # Of a function of the trial.
    study = optuna.create_study()
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)

    def function(trial: Any, seed: int) -> float:
        return float(trial.suggest_float("x", 0, 1) + np.random.default_rng(seed).normal())

    options: Any = {"max_trial": 10, "confirm": 2}
    plain, replicated = (
        adnn.search(function, "random", **options, replicate=share) for share in (0, 0.5)
    )
    assert replicated.replicates
    results = stored_result(record), stored_result(read_record(study)), plain, replicated
    return [(result, surfaces_of(result)) for result in results]


def surfaces_of(result: StudyResult) -> tuple[str, ...]:
    """Return a result as JSON, and the words of its text, its Markdown and its page."""
    document = result.document()
    texts = result.to_text(details=True), result.to_markdown(), to_page(document)
    return to_json(document), *(" ".join(re.sub(r"<[^>]*>|[|\\]", " ", t).split()) for t in texts)


def test_a_function_has_no_numbers_of_a_test_set() -> None:
    result = adnn.search(lambda t: t.suggest_float("x", 0, 1), "random", max_trial=2)
    assert "test" not in result.to_text(details=True)
    of_test = {field.key for field in FIELDS if "test" in field.key}
    assert len(of_test) == 4
    fields = json.loads(to_json(result.document()))
    assert [fields[key] for key in of_test] == [None] * 4


def test_large_losses_have_no_more_digits_than_they_need() -> None:
    study = store_study("mae", metric="val_mae", values=[38557.2332, 38611.871, 38402.5])
    assert units_of(read_record(study)).selection.value(38557.2332) == "38557"
    study = store_study("loss", metric="val_loss", values=[0.55, 0.65])
    assert units_of(read_record(study)).selection.value(0.55) == "0.5500"


class TestSurfaces:
    def test_of_a_confirmed_search(self) -> None:
        record = store_confirmation(store_study("digits", gain=0.003), GAINS)
        assert_surfaces("search", stored_result(record))

    def test_of_any_optuna_study(self) -> None:
        study = optuna.create_study(study_name="depths", direction="maximize")
        for value in (0.25, 0.75):
            study.add_trial(create_trial(value=value))
        assert_surfaces("study", stored_result(read_record(study)))

    @pytest.mark.parametrize("field", FIELDS, ids=[field.key for field in FIELDS])
    def test_each_number_is_on_each_surface(self, field: Field) -> None:
        n_with_it = 0
        for result, (in_json, *texts) in searches():
            number = result._numbers[field.key]
            if not math.isnan(number):
                n_with_it += 1
                shown = field.text(number, field.unit_in(units_of(result)))
                assert f'"{field.key}": ' in in_json
                assert all(f" {field.label} {shown} " in text for text in texts)
        assert n_with_it


class TestVerdict:
    @pytest.mark.parametrize("gains", [[0.01, -0.01], [0.012, -0.01], [-0.012, 0.01], [0.0, 0.0]])
    def test_a_ci_that_contains_0_shows_nothing(self, gains: list[float]) -> None:
        document = document_of(confirmed(gains * 5, unmoved=0.894))
        assert document.verdict == "not shown"
        assert "not shown to differ from the baseline mean" in notes_of(document)

    def test_a_loss_is_called_one(self) -> None:
        document = document_of(confirmed([-0.01, -0.02] * 5, unmoved=0.93))
        assert (document.verdict, lines_of(document)["replication"].value) == ("worse", "-1.50 pp")
        assert "is worse than the baseline mean" in notes_of(document)

    def test_random_restarts_replicate_nothing(self) -> None:
        study = store_study("restarts", sampler="random_restart", gain=0.07)
        for record in (read_record(study), store_confirmation(study, [])):
            document = document_of(record)
            assert (document.verdict, "replication" in lines_of(document)) == ("no claim", False)
        # The best restart may well be better than the baseline mean, by seed variance.
        assert lines_of(document)["vs new baselines"].value == "+8.10 pp"
        assert "Without offsets, the cause is seed variance" in notes_of(document)

    def test_later_best_trials_have_half_the_error_each(self) -> None:
        second = document_of(confirmed(n_earlier=1))
        assert "(97.5% CI " in to_text(second)
        assert "best trial number 2 of the study" in notes_of(second)
        assert "(98.75% CI " in to_text(document_of(confirmed(n_earlier=2)))
        # With so little error left, ten seeds can show nothing by sign flips.
        sixth = document_of(confirmed(n_earlier=5))
        assumed = "The CI of the replication is Student's t, assuming normal differences."
        assert assumed in notes_of(sixth)
        assert assumed not in notes_of(second)

    def test_before_new_seeds_nothing_is_known(self) -> None:
        document = document_of(store_study("long", gain=0.003))
        assert document.verdict == "not known"
        assert {"replication", "vs new baselines"}.isdisjoint(lines_of(document))
        assert "adnn resume --confirm 10. It trains 20 networks" in document.next_step

    def test_a_long_name_does_not_hide_it(self) -> None:
        document = document_of(store_confirmation(store_study("n" * 90, gain=0.003), GAINS))
        assert document.title.endswith("…: the gain replicates on new seeds")


def verdict_of(own: np.ndarray, baselines: np.ndarray, moved: np.ndarray) -> str:
    found = confirmation_of(confirmation(own, {arms.BASELINE: baselines, arms.BEST: moved}))
    return _verdict_on(found.replication)[0]


class TestWhenItWouldBeFalse:
    """Each of these worlds was tried to make the verdict false; none may in more than 2.5%."""

    @pytest.mark.parametrize("rarely", [0.0, 0.03])
    def test_offsets_that_do_nothing_replicate_in_2_5_percent(self, rarely: float) -> None:
        """Unequal images, ties, and collapses that affect both alike."""
        rng, false, n = np.random.default_rng(5), 0, 600
        for _ in range(n):
            hard = rng.random(200) < 0.1
            chance = rng.normal(0.95, 0.01, (2, 10, 1)) - 0.5 * hard
            chance = np.where(rng.random((2, 10, 1)) < rarely, 0.6, chance)
            baselines, moved = rng.random((2, 10, 200)) < chance
            false += verdict_of(moved[0], baselines, moved) == "replicates"
        assert false / n < 0.025 + 2 * np.sqrt(0.025 * 0.975 / n)

    def test_offsets_that_rarely_ruin_are_not_excluded(self) -> None:
        """Ten seeds cannot see a rare effect: a note names its share."""
        for gains in (GAINS, [-gain for gain in GAINS]):
            notes = notes_of(document_of(confirmed(gains)))
            assert "An effect on 26% of seeds is missing from 10 seeds in 5% of cases." in notes

    @pytest.mark.parametrize("replicates", [True, False])
    def test_seed_variance_is_a_cause_only_if_the_gain_does_not_replicate(
        self, *, replicates: bool
    ) -> None:
        gains = GAINS if replicates else [gain - 0.012 for gain in GAINS]
        notes = notes_of(document_of(confirmed(gains)))
        cause = "Seed variance may be the cause: the gain is not shown to replicate."
        assert (cause in notes) is not replicates

    def test_the_worst_baseline_of_all_replicates_nothing(self) -> None:
        """+7 pp over its own baseline, by other initial weights alone."""
        study = store_study("worst", sampler="random_restart", gain=0.0724)
        document = document_of(store_confirmation(study, [], unmoved=0.96))
        assert lines_of(document)["vs own baseline"].value == "+7.24 pp"
        assert document.verdict == "no claim"
        assert "not shown to differ from the baseline mean" in notes_of(document)

    def test_a_training_run_without_a_number_shows_nothing(self) -> None:
        scores = {arms.BASELINE: np.full((10, 5), np.nan), arms.BEST: np.ones((10, 5))}
        found = confirmation_of(confirmation(np.ones(5), scores))
        assert _verdict_on(found.replication)[0] == "not known"
        assert all(np.isnan(found.vs_baselines))


class TestTestSet:
    def test_only_an_earlier_best_trial_was_tested(self) -> None:
        study = untested()
        document = document_of(study)
        assert "evaluated only for an earlier best trial" in notes_of(document)
        assert [*lines_of(document)] == ["validation gain"]
        store_look(study, "2026-11-25T13:00:00+00:00", 0.9, 0.005)
        assert lines_of(document_of(study))["test score"].remark == "905 of 1000 images"

    def test_several_evaluations_are_counted_once(self) -> None:
        study = untested()
        once = document_of(study)
        assert ("test-set evaluations", "1") in once.tables[0].rows
        assert "untouched" not in notes_of(once)
        store_look(study, "2026-11-25T13:00:00+00:00", 0.9, 0.005)
        # Another worker that ended at the same time.
        store_look(study, "2026-11-25T13:00:01+00:00", 0.9, 0.005)
        twice = document_of(study)
        assert ("test-set evaluations", "2") in twice.tables[0].rows
        assert notes_of(twice).count("untouched") == 1
        assert "evaluated 2 times" in notes_of(twice)

    def test_evaluations_are_counted_over_the_storage(self) -> None:
        storage = optuna.storages.InMemoryStorage()
        studies = [store_study(f"s{i}", seed=i, gain=0.003, storage=storage) for i in range(3)]
        store_head(storage, "c", declaration((0, 1), "annealing"))
        runs = [store_study(f"c/annealing/seed={i}", seed=i, storage=storage) for i in range(2)]
        other = store_study("of other data", storage=storage)
        other.set_user_attr("adnn:test_rows", "1" * 64)
        closed = store_study("closed", values=[math.nan], storage=storage)
        wanted = {"s0": 1, "s1": 1, "c/annealing/seed=0": 1, "c/annealing/seed=1": 1}
        assert read_record(studies[2]).test_evaluations_elsewhere == wanted
        document = document_of(studies[2])
        assert "once by one search, and 4 times by other studies" in notes_of(document)
        assert ("test-set evaluations", "5") in document.tables[0].rows
        # The runs of a comparison evaluate it once, all together.
        assert [*read_record(runs[0]).test_evaluations_elsewhere] == ["s0", "s1", "s2"]
        assert "untouched" not in notes_of(document_of(other))
        assert "untouched" not in notes_of(document_of(closed))

    @pytest.mark.parametrize(
        ("sizes", "is_uneven"),
        [([59, 41], False), ([60, 40], True), ([60, 40, 0], True), ([42, 29, 29], False)],
    )
    def test_classes_are_uneven_if_one_is_half_as_frequent_again(
        self, sizes: list[int], is_uneven: bool
    ) -> None:
        study = store_study("classes")
        store_classes(study, sizes)
        assert ("always predicts it reaches" in notes_of(document_of(study))) == is_uneven

    def test_networks_at_chance_are_named_as_such_in_all_but_few_cases(self) -> None:
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
        record = changed(read_record(study), "adnn:test/", best=0.41, baseline=0.39)
        assert "The baseline and best networks are at chance" in notes_of(document_of(record))

    def test_groups_and_a_diverged_baseline_are_named(self) -> None:
        record = changed(
            read_record(store_study("s")), "adnn:test/", baseline=math.nan, n_groups=800.0
        )
        document = document_of(record)
        assert "1000 test images count as 800" in notes_of(document)
        assert "baseline network diverged" in notes_of(document)
        assert "vs own baseline" not in lines_of(document)

    def test_a_regression_has_no_percentages(self) -> None:
        document = document_of(of_a_regression(store_study("r2", metric="val_r2", gain=0.003)))
        text = to_text(document)
        for wrong in ("images", "accuracy", " pp", "%"):
            assert wrong not in text.replace("95% CI", "")

    def test_a_loss_says_that_lower_is_better(self) -> None:
        document = document_of(store_study("loss", metric="val_loss", gain=0.003))
        assert lines_of(document)["vs own baseline"].value == "+0.0030"
        assert "Lower values of the metric are better" in notes_of(document)
        assert "Lower" not in notes_of(document_of(store_study("accuracy")))


class TestHyperparameters:
    def test_their_gain_is_no_part_of_the_gain(self) -> None:
        record = read_record(store_study("of a trial", values=[0.9, 0.95]))
        assert record.best is not None
        first = record.baseline
        record.best.user_attrs[BASELINE] = 0.945
        record = read_record(record.study)
        assert (record.baseline, record.gain) == (0.945, record.best_value - 0.945)
        document = document_of(record)
        line = lines_of(document)["hyperparameters"]
        assert line.value == f"{100 * (0.945 - first):+.2f} pp"
        assert line.remark == "one seed: biased upward"
        assert "hyperparameters" not in to_text(document_of(store_study("s")))

    def test_on_new_seeds_they_stand_beside_replication(self) -> None:
        document = document_of(confirmed([0.01] * 10, first=0.8))
        line = lines_of(document)["hyperparameters"]
        assert (line.value, line.ends) == ("+8.00 pp", "+7.00 to +9.00")


class TestWithoutBestTrial:
    @pytest.mark.parametrize("state", [None, TrialState.FAIL, TrialState.PRUNED])
    def test_any_study_says_why(self, state: TrialState | None) -> None:
        study = optuna.create_study(study_name="theirs")
        if state is not None:
            study.add_trial(create_trial(state=state))
        document = document_of(study)
        assert document.title == "theirs: no best trial"
        wanted = {
            None: "No trial is finished yet.",
            TrialState.FAIL: "0 were pruned, 1 failed or diverged.",
            TrialState.PRUNED: "1 were pruned, 0 failed or diverged.",
        }
        assert wanted[state] in document.conclusion
        assert (document.estimates, document.next_step) == ((), "")

    @pytest.mark.skipif(
        not hasattr(optuna.Trial, "set_constraint"), reason="Optuna 4 has no Trial.set_constraint"
    )
    def test_of_a_function_says_that_no_trial_is_feasible(self) -> None:
        def infeasible(trial: optuna.Trial) -> float:
            trial.set_constraint("c", 1.0)
            return trial.suggest_float("x", 0, 1)

        document = adnn.search(infeasible, "random", max_trial=3).document()
        assert document.conclusion.startswith("No trial is feasible: 3 violate a constraint.")

    @pytest.mark.tensorflow
    def test_a_training_run_that_is_too_long_is_named(self) -> None:
        objective = make_objective(training=quick_training(epochs=10**6, batch_size=7))
        result = adnn.search(objective, "annealing", max_time=0.5)
        result = adnn.search(objective, "annealing", max_time=1)
        assert result.document().conclusion.endswith("with a longer max_time if it is set.")


class TestTrials:
    def test_variables_that_no_offset_changes_are_named(self) -> None:
        study = store_study("own layers")
        config = study.user_attrs[CONFIG]
        assert "No offset changes" not in notes_of(document_of(study))
        model = {**config["model"], "not_moved": [f"own/w{i}" for i in range(7)]}
        study.set_user_attr(CONFIG, {**config, "model": model})
        wanted = "No offset changes own/w0, own/w1, own/w2, own/w3, own/w4 and 2 more"
        assert wanted in notes_of(document_of(study))
        study.set_user_attr(CONFIG, {**config, "model": model, "space": {"type": "ControlSpace"}})
        assert "No offset changes" not in notes_of(document_of(study))

    def test_running_without_a_worker_are_named(self) -> None:
        study = store_study("left")
        study.add_trial(create_trial(state=TrialState.RUNNING))
        notes = notes_of(document_of(study))
        assert "Trial 12 is RUNNING without a known worker" in notes
        assert "study.tell(12, state=optuna.trial.TrialState.FAIL)" in notes

    def test_a_best_trial_that_was_added_is_named(self) -> None:
        study = store_study("added")
        best = study.best_trial
        assert "study.add_trial" not in notes_of(document_of(study))
        study.add_trial(
            create_trial(params=best.params, distributions=best.distributions, value=1.0)
        )
        assert "added by study.add_trial" in notes_of(document_of(study))

    def test_what_ended_the_search_is_named(self) -> None:
        study = store_study("ended")
        for reason, wanted in (
            ("max_time", "ended by max_time"),
            ("interrupted", "was interrupted"),
            ("exhausted", "has proposed all of its trials"),
            (None, "has not ended"),
        ):
            study.set_user_attr("adnn:stop_reason", reason)
            assert wanted in notes_of(document_of(study))


class TestOtherObjectives:
    def test_small_values_have_their_digits(self) -> None:
        tiny = optuna.create_study(study_name="tiny")
        tiny.add_trials([create_trial(value=value) for value in (3e-6, 1e-6)])
        assert lines_of(document_of(tiny))["gain"].value == "+0.00000200"
