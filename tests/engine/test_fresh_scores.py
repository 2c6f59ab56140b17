"""Best trials, evaluated afresh."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.study import StudyDirection

from adnn_optuna.engine.confirmation import evaluate_on_new_seeds
from adnn_optuna.engine.objectives import FunctionObjective
from adnn_optuna.engine.records import FunctionRecord, read_record

if TYPE_CHECKING:
    from adnn_optuna.engine.records import SearchRecord


def record(n_new_values: int) -> Any:
    study = optuna.create_study()
    study.set_user_attr("adnn:search", {"sampler": "tpe", "n_trials": 2, "batch_size": 1})
    settings = {**study.user_attrs["adnn:search"], "confirm": n_new_values}
    study.set_user_attr("adnn:search", settings)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    return read_record(study)


def objective(function: Any, seed: int = 0) -> FunctionObjective:
    return FunctionObjective(function, StudyDirection.MINIMIZE, seed, confirm=3)


def values(found: SearchRecord) -> list[float | None]:
    evaluated = read_record(found.study)
    assert isinstance(evaluated, FunctionRecord)
    return [None if math.isnan(value) else value for value in evaluated.new_values]


def test_each_is_made_once_and_follows_from_the_seed() -> None:
    asked: list[int] = []

    def function(trial: Any, seed: int) -> float:
        asked.append(seed)
        return float(seed)

    found = record(3)
    assert math.isnan(found.test_value)
    evaluate_on_new_seeds(found, objective(function), threading.Event())
    evaluate_on_new_seeds(read_record(found.study), objective(function), threading.Event())
    assert len(asked) == len(set(asked)) == 3
    assert values(found) == asked
    assert read_record(found.study).test_value == pytest.approx(sum(asked) / 3)
    other = record(3)
    evaluate_on_new_seeds(other, objective(function, seed=1), threading.Event())
    assert not {*values(other)} & {*values(found)}


def test_one_without_a_value_leaves_none() -> None:
    def function(trial: Any) -> float:
        trial.report(1.0, 0)
        if trial.should_prune():
            raise AssertionError
        raise optuna.TrialPruned

    found = record(1)
    evaluate_on_new_seeds(found, objective(function), threading.Event())
    assert values(found) == [None] * 3
    assert math.isnan(read_record(found.study).test_value)


def test_one_that_violates_a_constraint_is_not_the_best() -> None:
    study = optuna.create_study()
    for value, violation in ((0.0, 1.0), (0.5, 0.0), (0.2, -1.0), (0.1, math.nan)):
        # What Optuna 5 and Optuna 4 store of it.
        attrs: dict[str, Any] = {"constraints:c": violation, "constraints": [violation]}
        study.add_trial(optuna.create_trial(value=value, system_attrs=attrs))
    found = read_record(study)
    assert found.best is not None
    assert found.best.number == study.best_trial.number == 2
    assert found.baseline == 0.5


def test_ends_where_it_is_to_stop() -> None:
    stop = threading.Event()

    def function(trial: Any, seed: int) -> float:
        stop.set()
        return 1.0

    found = record(3)
    with pytest.raises(KeyboardInterrupt):
        evaluate_on_new_seeds(found, objective(function), stop)
    assert values(found) == [1.0]
    evaluate_on_new_seeds(read_record(found.study), objective(function), threading.Event())
    assert values(found) == [1.0, 1.0, 1.0]


def test_without_a_best_trial_there_is_nothing_to_do() -> None:
    study = optuna.create_study()
    settings = {"sampler": "tpe", "n_trials": 1, "batch_size": 1, "confirm": 2}
    study.set_user_attr("adnn:search", settings)
    found = read_record(study)
    evaluate_on_new_seeds(found, objective(lambda trial: 1.0), threading.Event())
    assert found.new_values == []
    assert math.isnan(found.test_value)
