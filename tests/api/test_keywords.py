"""Keywords that public functions share have the same meaning in each function."""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING, Any, assert_type

import optuna
import pytest

import adnn_optuna as adnn
from adnn_optuna.cli import docstrings

if TYPE_CHECKING:
    from collections.abc import Callable

COMMON = ("storage", "study_name", "n_jobs", "executor", "catch", "show_progress_bar")
VERBS = (adnn.search, adnn.compare, adnn.recheck, adnn.compare_models, adnn.measure_variance)


def noisy(trial: optuna.Trial, seed: int) -> float:
    return trial.suggest_float("x", 0, 1) + seed % 7 / 7


def searched() -> optuna.Study:
    study = optuna.create_study(study_name="searched")
    study.optimize(lambda trial: noisy(trial, 0), n_trials=3)
    return study


def test_each_function_has_the_keywords_with_the_same_documentation() -> None:
    for name in COMMON:
        parameters = {inspect.signature(verb).parameters[name] for verb in VERBS}
        sentences = {docstrings.arguments(verb)[name] for verb in VERBS}
        assert len(parameters) == len(sentences) == 1, name


@pytest.mark.parametrize("verb", VERBS)
def test_a_wrong_keyword_is_refused_and_the_nearest_is_named(verb: Any) -> None:
    subject: Any = {"a": noisy, "b": noisy} if verb is adnn.compare_models else noisy
    required = {"max_trial": 1} if verb is adnn.compare else {}
    message = rf"{verb.__name__}\(\) has no argument 'n_job'. Did you mean 'n_jobs'\?"
    with pytest.raises(TypeError, match=message):
        verb(subject, n_job=2, **required)
    with pytest.raises(ValueError, match="n_jobs must be a whole number"):
        verb(subject, n_jobs=0, **required)
    with pytest.raises(TypeError, match="show_progress_bar must be True or False; got 'no'"):
        verb(subject, show_progress_bar="no", **required)


def test_optunas_word_for_an_argument_names_ours() -> None:
    for call, meant in (
        (lambda: adnn.search(noisy, n_trials=3), "max_trial"),
        (lambda: adnn.compare(noisy, n_trials=3), "max_trial"),
        (lambda: adnn.search(noisy, timeout=60), "max_time"),
        (lambda: adnn.search(noisy, minimize=True), "direction"),
        (lambda: adnn.compare_values({"a": [0], "b": [1]}, direction="minimize"), "minimize"),
    ):
        with pytest.raises(TypeError, match=f"Did you mean '{meant}'"):
            call()


def calls(failing: bool) -> dict[str, Callable[..., Any]]:
    """Return calls that evaluate a function, by name of the public function."""

    def value(seed: int) -> float:
        if failing and seed % 2:
            raise ArithmeticError
        meeting.wait()
        return seed % 7

    # With one thread, a call that waits for a second evaluation breaks the barrier.
    meeting = threading.Barrier(1 if failing else 2, timeout=30)
    return {
        "compare": lambda **options: adnn.compare(
            lambda trial: trial.suggest_float("x", 0, 1) + value(trial.number),
            ["random"],
            max_trial=2,
            seeds=2,
            confirm=0,
            **options,
        ),
        "recheck": lambda **options: adnn.recheck(
            # This number of random seeds contains odd ones.
            searched(),
            lambda _, seed: value(seed),
            top=1,
            choose=2,
            confirm=30,
            **options,
        ),
        "models": lambda **options: adnn.compare_models(
            {"a": value, "b": value}, seeds=8, **options
        ),
        "variance": lambda **options: adnn.measure_variance(value, n=6, **options),
    }


@pytest.mark.parametrize("name", calls(failing=False))
def test_evaluations_run_in_this_number_of_threads(name: str) -> None:
    calls(failing=False)[name](n_jobs=2)


@pytest.mark.parametrize("name", calls(failing=True))
def test_a_caught_error_ends_its_own_evaluation(name: str) -> None:
    call = calls(failing=True)[name]
    with pytest.raises(ArithmeticError):
        call()
    assert call(catch=ArithmeticError).document().conclusion


def test_a_number_of_seeds_means_the_first_ones() -> None:
    compared = adnn.compare(noisy, ["random"], max_trial=1, seeds=2, confirm=0)
    assert compared.seeds == (0, 1)
    models = adnn.compare_models({"a": lambda seed: seed, "b": lambda seed: seed + 1}, seeds=3)
    assert models.runs.seeds == (0, 1, 2)


def test_a_recheck_has_a_study_of_the_passed_name() -> None:
    study = searched()
    adnn.recheck(study, noisy, top=1, choose=1, confirm=2, study_name="again")
    adnn.recheck(study, noisy, top=1, choose=1, confirm=2)
    names = {*optuna.get_all_study_names(study._storage)}
    assert names == {study.study_name, "again", f"{study.study_name}/recheck"}


def test_a_search_has_the_type_of_its_result(objective: adnn.InitOffsetObjective) -> None:
    result = adnn.search(noisy, "random", max_trial=1, confirm=0)
    assert isinstance(assert_type(result, adnn.FunctionSearch), adnn.FunctionSearch)
    of_network = adnn.search(objective, max_trial=1, confirm=0, test=False)
    assert isinstance(assert_type(of_network, adnn.SearchResult), adnn.SearchResult)
