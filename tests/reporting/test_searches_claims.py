"""What is said of a search, word for word."""

from __future__ import annotations

import math

import optuna
import pytest
from optuna.trial import TrialState
from search_worker import make_objective, quick_training
from stored_studies import (
    changed,
    declaration,
    store_classes,
    store_head,
    store_look,
    store_study,
)

import adnn_optuna as adnn
from adnn_optuna.engine.records import read_record
from adnn_optuna.reporting import searches, searches_claims

VERDICT, OTHERWISE, CHECK = "verdict", "What else could be done?", "How to check it?"


OTHER_BEGINNINGS = (
    "The same 12 trainings could go into other random beginnings, one longer training or other "
    "learning rates, which may gain as much: adnn compare tries them all."
)


WRITE_CONTRACT = (
    "Write its contract, by result.contract().save(FILE) or adnn resume --contract FILE; adnn "
    "verify FILE trains both networks again and names what differs."
)


def answers(study: optuna.Study, contract: str | None = None) -> dict[str, str]:
    return searches_claims.answers_of_search(read_record(study), contract)


class TestSearch:
    def test_that_was_not_confirmed(self) -> None:
        assert answers(store_study("one", gain=0.05), "c.json") == {
            VERDICT: "Whether anything repeats on fresh seeds is not known.",
            OTHERWISE: OTHER_BEGINNINGS,
            CHECK: (
                "Anyone can: adnn verify c.json trains both networks again and names what differs."
            ),
        }
        assert answers(store_study("one"))[CHECK] == WRITE_CONTRACT

    def test_of_one_trial_has_no_plural(self) -> None:
        study = store_study("one", values=[0.9])
        record = read_record(study)
        assert answers(study)[OTHERWISE].startswith("The same 1 training could go")
        assert searches_claims.use_of_test_set(record).endswith(" once, after 1 trial")
        assert searches.text(record).startswith("Study 'one': 1 trial, ended")
        assert searches.page(record).content["trials"] == "1 trial, ended by max_trial"

    def test_control_moves_nothing(self) -> None:
        said = answers(store_study("luck", sampler="random_restart", gain=0.05))
        assert said[VERDICT] == "Nothing repeats: this control moves nothing."

    def test_that_goes_on_with_an_untested_winner(self) -> None:
        study = store_study("going", gain=0.003)
        study.set_user_attr("adnn:stop_reason", None)
        study.enqueue_trial({})
        baseline = study.user_attrs["adnn:baseline"]
        study.tell(study.ask(), baseline + 0.25)
        assert answers(study)[VERDICT] == ("Whether anything repeats on fresh seeds is not known.")
        record = read_record(study)
        once = "The test set was used once, after 12 trials"
        assert searches_claims.use_of_test_set(record) == once
        assert searches_claims.to_mind([record]) == ""
        store_look(study, "2026-11-25T13:00:00+00:00", 0.9, 0.005)
        twice = (
            "The test set was looked at 2 times, after 12 and 13 trials: all looks but the "
            "first are no longer of untouched test data"
        )
        assert searches_claims.use_of_test_set(read_record(study)) == twice
        # Of several runs it is said once.
        assert searches_claims.to_mind([read_record(study)] * 2) == f"{twice}."
        study.set_user_attr("adnn:stop_reason", "max_trial")
        assert answers(study)[VERDICT].startswith("Whether")

    def test_of_anybody_else_s_objective(self) -> None:
        other = optuna.create_study(study_name="other", direction="maximize")
        assert answers(other) == {VERDICT: "No trial was finished yet."}
        for value in (0.25, 0.75):
            other.add_trial(optuna.trial.create_trial(value=value))
        other.set_user_attr("adnn:stop_reason", "max_trial")
        assert answers(other) == {
            VERDICT: "How much of the best value is luck is not known.",
            "What was gained?": (
                "+0.5000 over the first trial, by which the best of 2 was chosen: it looks better "
                "than it is; adnn recheck evaluates the best ones again, with fresh random "
                "numbers."
            ),
        }
        tiny = optuna.create_study(study_name="tiny")
        tiny.add_trials([optuna.trial.create_trial(value=value) for value in (3e-6, 1e-6)])
        assert answers(tiny)["What was gained?"].startswith("+0.00000200 over the first trial")
        assert "baseline 0.00000300  best 0.00000100  gain +0.00000200" in searches.text(
            read_record(tiny)
        )
        # Nobody else's objective has a test accuracy.
        assert "unknown" not in searches.text(read_record(other))
        closed = "The test set is closed; result.test() or resume opens it"
        assert searches_claims.use_of_test_set(read_record(other)) == closed

    def test_uneven_classes_are_to_be_minded(self) -> None:
        study = store_study("classes")
        store_classes(study, [97, 3])
        assert searches_claims.to_mind([read_record(study)]) == (
            "Mind that 97 % of the test set is class 'a': a network that always says so reaches "
            "97 %."
        )


@pytest.mark.tensorflow
def test_a_training_that_is_too_long_is_named() -> None:
    objective = make_objective(training=quick_training(epochs=10**6, batch_size=7))
    result = adnn.search(objective, "annealing", max_time=0.5)
    result = adnn.search(objective, "annealing", max_time=1)
    said = "; max_time ended the search, resume it with a longer max_time."
    for text in (str(result), searches.page(result).claim):
        assert f"No trial was finished yet{said}" in text
        assert "nan" not in text
    searches.page(result).render()


def test_without_a_completed_trial_it_says_what_came_of_all() -> None:
    study = store_study("s")
    copy = optuna.create_study(direction="maximize")
    for name, value in study.user_attrs.items():
        if not name.startswith("adnn:test"):
            copy.set_user_attr(name, value)
    copy.add_trials([optuna.create_trial(state=TrialState.PRUNED) for _ in range(2)])
    said = "No trial was completed: 2 were pruned, 0 diverged; let the pruner wait for longer."
    assert said in searches.text(read_record(copy))
    assert "nan" not in searches.text(read_record(copy))


def test_a_function_without_a_value_has_no_learning_rate_to_lower() -> None:
    study = optuna.create_study(study_name="function")
    failed = {"state": TrialState.FAIL, "system_attrs": {"adnn:ended": "diverged"}}
    study.add_trials([optuna.create_trial(**failed) for _ in range(3)])
    study.add_trial(optuna.create_trial(state=TrialState.FAIL))  # As Optuna's samplers leave it.
    assert answers(study)[VERDICT] == (
        "No trial was completed: 0 were pruned, 4 failed; look at the objective."
    )


def test_a_better_trial_after_the_test_contradicts_nothing() -> None:
    study = store_study("s")
    best = study.best_trial
    study.add_trial(
        optuna.create_trial(params=best.params, distributions=best.distributions, value=1.0)
    )
    study.set_user_attr("adnn:stop_reason", None)
    page = searches.page(read_record(study)).render()
    assert "only an earlier winner was tested" in page
    assert "The test set was used once, after 12 trials" in page
    assert "test set is closed" not in page
    store_look(study, "2026-11-25T12:00:02+00:00", 0.9, 0.01)
    assert "910 of 1000 test images right" in searches.page(read_record(study)).render()


def test_looks_at_one_test_set_are_counted_over_the_storage() -> None:
    storage = optuna.storages.InMemoryStorage()
    studies = [store_study(f"s{i}", seed=i, gain=0.003, storage=storage) for i in range(3)]
    store_head(storage, "c", declaration((0, 1), "annealing"))
    units = [store_study(f"c/annealing/seed={i}", seed=i, storage=storage) for i in range(2)]
    other = store_study("of other data", storage=storage)
    changed(read_record(other), "adnn:config", dataset={"name": "d", "fingerprint": "1" * 64})
    closed = store_study("closed", values=[math.nan], storage=storage)
    wanted = {"s0": 1, "s1": 1, "c/annealing/seed=0": 1, "c/annealing/seed=1": 1}
    record = read_record(studies[2])
    assert record.test_evaluations_elsewhere == wanted
    said = searches_claims.use_of_test_set(record)
    assert said == (
        "The test set was looked at once, after 12 trials, and 4 more by other studies of this "
        "storage: all looks but the first are no longer of untouched test data"
    )
    page = searches.page(record)
    for shown in (searches.text(record), page.mind):
        assert said in shown
    # A comparison looks once, by all its units together.
    assert [*read_record(units[0]).test_evaluations_elsewhere] == ["s0", "s1", "s2"]
    assert read_record(other).test_evaluations_elsewhere == {}
    assert "used once" in searches_claims.use_of_test_set(read_record(other))
    assert len(read_record(closed).test_evaluations_elsewhere) == 5
    assert searches_claims.to_mind([read_record(closed)]) == ""
