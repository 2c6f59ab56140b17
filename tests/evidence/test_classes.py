"""What prints and reports say of a test set's classes, and for somebody who knows nothing."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import optuna
import pytest
from search_worker import make_objective
from stored_studies import store_comparison, store_confusions, store_look, store_study
from test_report import parsed, text_of

import adnn_optuna as adnn
from adnn_optuna.api.compare_models import ModelComparison
from adnn_optuna.engine.classes import balanced_accuracy
from adnn_optuna.engine.records import record_of
from adnn_optuna.evidence.comparison import Comparison
from adnn_optuna.reporting.claims import answers_of_comparison, answers_of_search
from adnn_optuna.reporting.pages import comparison_page, search_page

if TYPE_CHECKING:
    from pathlib import Path

    from adnn_optuna.engine.records import SearchRecord

# 97 of class a, 3 of class b: the gain is that of always saying a.
UNEVEN = [[60, 37], [0, 3]], [[97, 0], [3, 0]]
EVEN = [[40, 10], [20, 30]], [[45, 5], [10, 40]]
MAJORITY = "97 % of the test set is class 'a': a network that always says so reaches 97 %"


def classified(matrices: tuple[list[list[int]], list[list[int]]]) -> optuna.Study:
    study = store_study("classes")
    store_confusions(study, *matrices)
    return study


class TestUnevenClasses:
    def test_majority_and_balanced_accuracy_stand_beside_the_gain(self) -> None:
        record = record_of(classified(UNEVEN))
        assert MAJORITY in str(record)
        assert "balanced accuracy  baseline 80.93 %  best 50.00 %" in str(record)
        shown = text_of(search_page(record).render())
        # Before all evidence.
        first, _, _ = shown.partition(" Evidence ")
        assert MAJORITY in first
        assert "80.93 % is right before and 50.00 % after" in first

    def test_even_ones_need_no_word(self) -> None:
        record = record_of(classified(EVEN))
        shown = str(record) + text_of(search_page(record).render())
        assert "always says so" not in shown
        assert "always says so" not in str(record_of(store_study("no classes")))

    @pytest.mark.parametrize(("n", "is_uneven"), [(59, False), (60, True)])
    def test_are_so_where_one_is_half_as_frequent_again(self, n: int, is_uneven: bool) -> None:
        matrix = [[n, 0], [0, 100 - n]]
        assert ("always says so" in str(record_of(classified((matrix, matrix))))) == is_uneven

    def test_of_a_baseline_that_diverged_is_unknown(self) -> None:
        study = classified(UNEVEN)
        name = next(n for n in study.user_attrs if n.startswith("adnn:test/2026-11-25T14"))
        study.set_user_attr(name, {**study.user_attrs[name], "baseline": math.nan})
        record = record_of(study)
        assert "baseline unknown  best 50.00 %" in str(record)
        assert "nan" not in text_of(search_page(record).render()).lower()

    def test_classes_that_the_test_set_lacks_count_for_nothing(self) -> None:
        matrix = [[5, 5, 0], [0, 10, 0], [0, 0, 0]]
        look = record_of(classified((matrix, matrix))).test_look
        assert look is not None
        assert balanced_accuracy(look, "best") == 0.75


def test_report_shows_classes_pairs_and_calibration() -> None:
    html = search_page(record_of(classified(EVEN))).render()
    shown = text_of(html)
    assert "class test examples unmoved winner gain a 50 80.00 % 90.00 % +10.00 pp b 50" in shown
    # 85 of the winner right, of which 17 alone, 2 of the unmoved network alone.
    assert "unmoved network right 68 2 unmoved network wrong 17 13" in shown
    assert "McNemar's exact test: p = 0.00073" in shown
    ids = [element.attrib.get("id", "") for element in parsed(html).iter("script")]
    assert {"confusion-1", "calibration-2"} <= set(ids)
    assert "of which class" not in text_of(search_page(record_of(store_study("none"))).render())


class TestFirstScreen:
    def test_answers_four_questions_without_a_word_of_the_field(self) -> None:
        record = record_of(store_study("one", gain=0.003))
        answers = answers_of_search(record, None)
        assert "of 1000 test examples" in answers["What was gained?"].lower()
        assert "+0.30 percentage points" in answers["What was gained?"]
        assert "It may well be" in answers["Is it luck?"]
        assert "adnn compare" in answers["What else could be done?"]
        assert "adnn verify" in answers["How to check it?"]
        for answer in answers.values():
            assert answer.count(". ") == 0
            assert answer.endswith(".")
            for word in ("seed", " pp", "p-value", "McNemar", "baseline"):
                assert word not in answer
        first, _, _ = text_of(search_page(record).render()).partition(" Evidence ")
        for answer in answers.values():
            assert answer in first
        assert "What was gained, and how far it may be off" in first

    @pytest.mark.parametrize(
        ("gain", "luck"),
        [(0.05, "Not by the choice"), (0.0, "There is no gain"), (-0.01, "There is no gain")],
    )
    def test_calls_luck_what_may_be(self, gain: float, luck: str) -> None:
        record = record_of(store_study("one", gain=gain))
        assert answers_of_search(record, None)["Is it luck?"].startswith(luck)

    def test_says_no_more_of_what_is_not_ours_or_not_there(self) -> None:
        other = optuna.create_study(study_name="other")
        assert list(answers_of_search(record_of(other), None)) == ["What was gained?"]
        other.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
        answers = answers_of_search(record_of(other), None)
        assert "adnn recheck" in answers["Is it luck?"]
        assert (
            "network"
            not in text_of(search_page(record_of(other)).render()).partition(" Evidence ")[0]
        )

    def test_of_the_control_is_all_luck(self) -> None:
        record = record_of(store_study("luck", sampler="random_restart", gain=0.05))
        assert answers_of_search(record, None)["Is it luck?"].startswith("All of it")

    def test_of_a_comparison_sets_luck_apart(self) -> None:
        gains = {"greedy": [0.01] * 8, "random_restart": [0.01] * 8}
        comparison = store_comparison(gains)
        answers = answers_of_comparison(comparison, None)
        assert (
            "On 1000 test examples, which no search saw, greedy gains +1.00 percentage"
            in (answers["What was gained?"])
        )
        assert "so it is no more than luck" in answers["Is it luck?"]
        assert "not shown" not in answers["Is it luck?"]
        first, _, _ = text_of(comparison_page(comparison).render()).partition(" Evidence ")
        for answer in answers.values():
            assert answer in first
        untested = store_comparison(gains)
        for run in (run for runs in untested.results.values() for run in runs):
            for name in [name for name in run.attrs if name.startswith("adnn:test/")]:
                del run.attrs[name]
        assert "not tested" in answers_of_comparison(untested, None)["What was gained?"]
        without = store_comparison({"greedy": [0.01] * 2})
        assert "not known" in answers_of_comparison(without, None)["Is it luck?"]


class TestUnfinished:
    def test_says_once_and_alike_that_its_winner_was_not_tested(self) -> None:
        study = store_study("going on")
        study.set_user_attr("adnn:stop_reason", None)
        study.enqueue_trial({})
        study.tell(study.ask(), 2.0)
        record = record_of(study)
        shown = text_of(search_page(record).render())
        first, _, evidence = shown.partition(" Evidence ")
        assert first.count("The search has not ended") == 1
        assert "Trials 13 not ended" in evidence
        assert "nothing yet" not in shown
        assert "only an earlier winner was tested; result.test() or resume opens it" in evidence
        assert "used once, after 12 trials, for an earlier winner than the present one" in shown
        assert "closed" not in shown + str(record)

    def test_says_where_it_stands_if_its_winner_was_tested(self) -> None:
        study = store_study("going on")
        study.set_user_attr("adnn:stop_reason", None)
        store_look(study, "2026-11-25T13:00:00+00:00", 0.9, 0.005)
        answer = answers_of_search(record_of(study), None)["What was gained?"]
        assert answer.startswith("The search has not ended; so far, of 1000 test examples")


def of_a_regression(study: optuna.Study) -> SearchRecord:
    config = study.user_attrs["adnn:config"]
    config["dataset"]["task"] = "regression"
    study.set_user_attr("adnn:config", config)
    [name] = [name for name in study.user_attrs if name.startswith("adnn:test/")]
    look = {**study.user_attrs[name], "standard_error": 0.001, "unit": "examples"}
    study.set_user_attr(name, look)
    return record_of(study)


class TestRegression:
    """R² has no unit: it is no percentage, and no example is right."""

    WRONG = ("images", "accuracy", "percentage points", " pp", "network right", "[%]")

    def test_search_tells_r2(self) -> None:
        record = of_a_regression(store_study("numbers", metric="val_r2", gain=0.003))
        shown = text_of(search_page(record).render())
        said = answers_of_search(record, None)["What was gained?"]
        assert "on 1000 test examples" in said.lower()
        assert (
            "+0.0030 nearer to 23 of 1000 test targets (95 % interval +0.0010 to +0.0050)" in shown
        )
        assert "R² of the winner on the test set" in shown
        for wrong in self.WRONG:
            assert wrong not in shown.partition(" Settings ")[0] + str(record)

    def test_comparison_tells_r2(self) -> None:
        gains = {"greedy": [0.02] * 8, "random_restart": [0.01] * 8}
        arms = store_comparison(gains, metric="val_r2").results
        results = {k: [of_a_regression(run.study) for run in runs] for k, runs in arms.items()}
        comparison = Comparison(results, tuple(range(8)))
        printed, html = str(comparison), comparison_page(comparison).render()
        assert "greedy is better than random restarts: +0.0100 of test R²" in printed
        assert "equivalent: within ±0.001;" in printed
        shown = text_of(html)
        assert "greedy against random_restart better +0.0100 +0.0100 to +0.0100" in shown
        for wrong in self.WRONG:
            assert wrong not in printed + shown.partition(" Settings ")[0]
        titles = [
            json.loads(s.text or "")["layout"]
            for s in parsed(html).iter("script")
            if s.attrib.get("type") == "application/json"
        ]
        assert "Gain in R² over random<br>restarts" in str(titles)
        assert "pp]" not in str(titles)
        assert "percentage" not in str(titles)

    def test_models_tell_r2(self, tmp_path: Path) -> None:
        known = {(i, seed): 0.8 + i / 10 for i in range(2) for seed in range(6)}
        settings = ("models", ("a", "b"), tuple(range(6)), False, 0.001, ("split",), True, 100, 50)
        models = ModelComparison(known, *settings, score="test R²")
        models.report(tmp_path / "models.html")
        shown = text_of((tmp_path / "models.html").read_text(encoding="utf-8"))
        assert "b has the best mean test R², 0.9000 over 6 seeds" in shown
        assert models.caveat in shown
        for text in (shown, str(models)):
            assert "+0.1000" in text
            for wrong in (*self.WRONG, "80.00"):
                assert wrong not in text
        assert max(models.plot().data[-1].x) == 0.9


@pytest.mark.tensorflow
def test_search_stores_what_its_report_shows() -> None:
    result = adnn.search(make_objective(), "greedy", max_trial=2)
    shown = text_of(search_page(result).render())
    assert "Confusion matrix of the winner" in shown
    assert "Calibration" in shown
    look = result.test_look
    assert look is not None
    right = sum(row[i] for i, row in enumerate(look["confusion"]["best"]))
    assert f"gets {right} right" in shown


def test_gain_beside_other_parameters_is_shared_out() -> None:
    study = store_study("of a trial", values=[0.9, 0.95])
    [name] = [name for name in study.user_attrs if name.startswith("adnn:test/")]
    study.set_user_attr(name, {**study.user_attrs[name], "unmoved": 0.945})
    shown = text_of(search_page(record_of(study)).render())
    assert "Of the gain in val_accuracy, +0.50 pp is from the offsets" in shown
    assert "from the offsets" not in text_of(search_page(record_of(store_study("s"))).render())
