"""Best trials of functions, evaluated on new seeds."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.study import StudyDirection

import adnn_optuna as adnn
from adnn_optuna.callbacks import checked_limits
from adnn_optuna.engine.arms import SAMPLERS
from adnn_optuna.engine.functions import FunctionObjective
from adnn_optuna.engine.objectives import Ending
from adnn_optuna.engine.records import read_record
from adnn_optuna.engine.studies import ends_before_new_seeds
from adnn_optuna.results.study import result_of

if TYPE_CHECKING:
    from adnn_optuna.engine.records import SearchRecord


def record(n_new_values: int, seed: int = 0) -> Any:
    study = optuna.create_study()
    settings = {"sampler": "tpe", "n_trials": 2, "batch_size": 1, "seed": seed}
    study.set_user_attr("adnn:search", {**settings, "confirm": n_new_values})
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    return read_record(study)


def objective(function: Any, seed: int = 0) -> FunctionObjective:
    return FunctionObjective(function, StudyDirection.MINIMIZE, seed)


def evaluate_best_trial(
    found: SearchRecord, searched: FunctionObjective, stop: Any, max_time: float | None = None
) -> None:
    limits, ending = checked_limits(max_trial=2), Ending(confirm=3, max_time=max_time)
    plan = searched.plan(SAMPLERS["tpe"], limits, 1, ending)
    searched.conclude(found, plan, stop)


def values(found: SearchRecord) -> list[float | None]:
    evaluated = read_record(found.study)
    return [None if math.isnan(value) else value for value in evaluated.new_values]


def test_each_evaluation_is_made_once_and_its_seed_follows_from_the_study_seed() -> None:
    seeds_of_calls: list[int] = []

    def function(trial: Any, seed: int) -> float:
        seeds_of_calls.append(seed)
        return float(seed)

    first_record = record(3)
    assert math.isnan(first_record.test_value)
    evaluate_best_trial(first_record, objective(function), threading.Event())
    evaluate_best_trial(read_record(first_record.study), objective(function), threading.Event())
    assert len(seeds_of_calls) == len(set(seeds_of_calls)) == 3
    assert values(first_record) == seeds_of_calls
    assert read_record(first_record.study).test_value == pytest.approx(sum(seeds_of_calls) / 3)
    other_record = record(3, seed=1)
    evaluate_best_trial(other_record, objective(function, seed=1), threading.Event())
    assert not {*values(other_record)} & {*values(first_record)}


def test_a_trial_that_violates_a_constraint_is_not_the_best() -> None:
    study = optuna.create_study()
    for value, violation in ((0.0, 1.0), (0.5, 0.0), (0.2, -1.0), (0.1, math.nan)):
        # Optuna 5 and Optuna 4 store constraints in these attributes.
        attrs: dict[str, Any] = {"constraints:c": violation, "constraints": [violation]}
        study.add_trial(optuna.create_trial(value=value, system_attrs=attrs))
    record = read_record(study)
    assert record.best.number == study.best_trial.number == 2
    assert record.baseline == 0.5


def test_evaluations_end_when_they_are_stopped() -> None:
    stop = threading.Event()

    def function(trial: Any, seed: int) -> float:
        stop.set()
        return 1.0

    first_record = record(3)
    with pytest.raises(KeyboardInterrupt):
        evaluate_best_trial(first_record, objective(function), stop)
    assert values(first_record) == [1.0]
    evaluate_best_trial(read_record(first_record.study), objective(function), threading.Event())
    assert values(first_record) == [1.0, 1.0, 1.0]


def evaluations(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    name = f"{study.study_name}/confirmation"
    return optuna.load_study(study_name=name, storage=study._storage).trials


def test_as_many_evaluations_run_at_once_as_there_are_jobs() -> None:
    at_once = threading.Barrier(2)

    def function(trial: Any, seed: int) -> float:
        if not isinstance(trial, optuna.Trial):
            at_once.wait(timeout=60)
        return float(trial.suggest_float("x", 0, 1))

    result = adnn.search(function, "random", max_trial=2, confirm=4, n_jobs=2)
    assert len(result.record.new_values) == 4


def test_a_caught_error_counts_as_no_value() -> None:
    def function(trial: Any, seed: int) -> float:
        if not isinstance(trial, optuna.Trial):
            raise ZeroDivisionError
        return 1.0

    with pytest.raises(ZeroDivisionError):
        adnn.search(function, "random", max_trial=1, confirm=2)
    result = adnn.search(function, "random", max_trial=1, confirm=2, catch=ZeroDivisionError)
    assert [*map(math.isnan, result.record.new_values)] == [True, True]


def test_a_search_leaves_time_for_new_seeds_but_uses_at_least_half_of_it() -> None:
    first_record, limits = record(3), checked_limits(max_time=60, max_trial=100)

    def is_over(seconds: float, n_new_seeds: int) -> bool:
        study = optuna.create_study()
        for elapsed in (seconds / 2, seconds):
            trial = study.ask()
            trial.set_user_attr("adnn:outcome", {"elapsed": elapsed})
            study.tell(trial, 1.0)
        ends = ends_before_new_seeds(limits, n_new_seeds)
        assert [limit.value for limit in ends] == [100, 60]
        return any(limit.reached(study) for limit in ends)

    # Two trials and one evaluation of s seconds each reach 60 seconds at s = 20.
    assert [is_over(2 * 19.9, 1), is_over(2 * 20.1, 1)] == [False, True]
    assert [is_over(29, 50), is_over(31, 50)] == [False, True]
    assert [is_over(59, 0), is_over(61, 0)] == [False, True]

    trial = first_record.study.ask()
    trial.set_user_attr("adnn:outcome", {"elapsed": 100.0})
    first_record.study.tell(trial, 5.0)
    function = objective(lambda trial: 1.0)
    evaluate_best_trial(read_record(first_record.study), function, threading.Event(), max_time=60)
    assert values(first_record) == []
    text = format(result_of(read_record(first_record.study)), "details")
    assert "No CI of the value yet: 0 of 3 new seeds are evaluated." in " ".join(text.split())
    evaluate_best_trial(read_record(first_record.study), function, threading.Event(), max_time=101)
    assert values(first_record) == [1.0, 1.0, 1.0]


def test_evaluations_of_an_earlier_study_of_the_same_name_are_refused_before_any_trial() -> None:
    storage = optuna.storages.InMemoryStorage()
    options: Any = {"storage": storage, "study_name": "s", "max_trial": 2, "confirm": 2}
    adnn.search(lambda trial, seed: 1.0, "random", **options)
    optuna.delete_study(study_name="s", storage=storage)
    sentence = "Study 's/confirmation' must be of study 's'; got one of an earlier study"
    with pytest.raises(ValueError, match=sentence):
        adnn.search(lambda trial, seed: 1.0, "random", **options)
    assert optuna.get_all_study_names(storage) == ["s/confirmation"]
    optuna.delete_study(study_name="s/confirmation", storage=storage)
    assert adnn.search(lambda trial, seed: 2.0, "random", **options).record.new_values == [
        2.0,
        2.0,
    ]
