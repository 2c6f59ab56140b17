"""The declaration of a comparison finds the comparison's studies."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from stored_studies import declaration, store_head, store_study

import adnn_optuna as adnn
from adnn_optuna.api.stored import (
    head_if_declared,
    is_comparison,
    like_comparisons,
    load_head,
    records_of_comparison,
)
from adnn_optuna.callbacks import LIMITS, Limit
from adnn_optuna.engine.records import read_record


def test_studies_of_a_comparison_are_the_declared_ones() -> None:
    storage = optuna.storages.InMemoryStorage()
    head = store_head(storage, "a.b", declaration([10, 0], "greedy", "one arm"))
    names = ("a.b/greedy/seed=0", "a.b/greedy/seed=10", "a.b/one arm/seed=0")
    other_names = ("axb/greedy/seed=0", "a.b/c/seed=0", "a.b/greedy/seed=1", "a.b/greedy/seed=0/x")
    for name in (*names, *other_names):
        store_study(name, values=[0.9], storage=storage)
    records = records_of_comparison(head)
    assert {arm: {*runs} for arm, runs in records.items()} == {"greedy": {0, 10}, "one arm": {0}}
    assert records["greedy"][10].study.study_name == "a.b/greedy/seed=10"


def test_only_a_stored_comparison_has_a_declaration() -> None:
    storage, declared = optuna.storages.InMemoryStorage(), declaration([3, 1], "greedy")
    assert head_if_declared(storage, "mine") is None
    assert is_comparison(store_head(storage, "mine", declared))
    head = head_if_declared(storage, "mine")
    assert head is not None
    assert head.user_attrs["adnn:comparison"] == declared


def test_comparisons_of_the_same_objective_are_found_by_their_runs() -> None:
    storage = optuna.storages.InMemoryStorage()
    for name, arm in (("a", "greedy"), ("b", "random_restart"), ("other", "greedy")):
        store_head(storage, name, declaration([3], arm))
        study = store_study(f"{name}/{arm}/seed=3", sampler=arm, values=[0.9], storage=storage)
        if name == "other":
            config = study.user_attrs["adnn:config"]
            study.set_user_attr("adnn:config", {**config, "metric": "train_accuracy"})
    # A comparison without runs is not listed, nor is a single search.
    store_head(storage, "not begun", declaration([3], "greedy"))
    store_study("search", values=[0.9], storage=storage)
    names_alike = {
        name: like_comparisons(load_head(storage, name)) for name in ("a", "b", "other")
    }
    assert names_alike == {"a": ("b",), "b": ("a",), "other": ()}


def test_a_search_is_not_a_comparison() -> None:
    storage = optuna.storages.InMemoryStorage()
    store_study("mine", values=[0.9], storage=storage)
    for load in (head_if_declared, load_head):
        with pytest.raises(
            ValueError, match="'mine' must be a comparison of samplers; got another kind"
        ):
            load(storage, "mine")


@pytest.mark.parametrize("limit", LIMITS)
def test_a_resumed_comparison_keeps_each_limit(limit: type[Limit]) -> None:
    storage = optuna.storages.InMemoryStorage()

    def function(trial: optuna.Trial) -> float:
        return trial.suggest_float("x", 0, 1)

    options: Any = {"max_trial": 2, limit.name: 7, "storage": storage, "study_name": "c"}
    first = adnn.compare(function, ["tpe"], seeds=range(1), **options)
    resumed = adnn.resume(storage, "c", objective=function)
    for comparison in (first, resumed):
        for [run] in comparison.results.values():
            assert read_record(run.study).runs[-1]["limits"][limit.name] == 7


def line(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


class TestLowerLimits:
    @pytest.fixture
    def options(self) -> dict[str, Any]:
        storage = optuna.storages.InMemoryStorage()
        options = {"seeds": range(2), "storage": storage, "study_name": "c"}
        adnn.compare(line, ["annealing"], max_trial=4, **options)
        return options

    def test_ended_runs_are_reported_whatever_the_limits(
        self, options: dict[str, Any], logs: pytest.LogCaptureFixture
    ) -> None:
        comparison = adnn.compare(line, ["annealing"], max_trial=3, max_time=60, **options)
        assert {len(run.done_trials) for run in comparison.numbers.runs} == {4}
        assert comparison._reused == "16 stored trials reused, 0 new."
        limits = {"max_time": None, "max_trial": 4, "max_gain": None, "max_stale": None}
        assert comparison.numbers.declaration["arguments"]["limits"] == limits
        assert "The runs of 'c' ended before, with max_time=None, max_trial=4." in logs.text

    @pytest.mark.parametrize(
        "changes", [{"samplers": ["tpe"]}, {"seeds": range(3)}], ids=["arm", "seed"]
    )
    def test_no_further_run_begins_with_lower_limits(
        self, options: dict[str, Any], changes: dict[str, Any]
    ) -> None:
        storage = options["storage"]
        names = optuna.get_all_study_names(storage)
        declared = load_head(storage, "c").user_attrs
        with pytest.raises(ValueError, match=r"at least .* max_trial=4; got max_trial=3"):
            adnn.compare(line, **{"samplers": ["annealing"], **options, **changes, "max_trial": 3})
        assert optuna.get_all_study_names(storage) == names
        assert load_head(storage, "c").user_attrs == declared

    def test_an_interrupted_comparison_may_continue_with_lower_limits(self) -> None:
        def interrupted(trial: optuna.Trial) -> float:
            if trial.number == 2:
                raise KeyboardInterrupt
            return line(trial)

        options: Any = {"seeds": range(2), "storage": optuna.storages.InMemoryStorage()}
        with pytest.raises(KeyboardInterrupt):
            adnn.compare(interrupted, ["annealing"], max_trial=4, **options)
        comparison = adnn.compare(line, ["annealing"], max_trial=3, reuse=True, **options)
        assert {len(run.done_trials) for run in comparison.numbers.runs} == {3}
