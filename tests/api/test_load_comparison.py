"""Comparisons that are loaded from their studies."""

from __future__ import annotations

import re
from typing import Any

import optuna
import pytest
from stored_studies import declaration, store_head, store_study

import adnn_optuna as adnn
from adnn_optuna.api.stored import load_comparison

ARMS = ("greedy", "random_restart")


def test_loading_refuses_missing_and_empty_comparisons() -> None:
    storage = optuna.storages.InMemoryStorage()
    with pytest.raises(
        ValueError, match=r"^Study 'c' not found in the storage\. Available: none\.$"
    ):
        load_comparison(storage, "c")
    store_head(storage, "c", declaration(range(3), *ARMS))
    for arm, ends in (("greedy", (True, True)), ("random_restart", (False, True))):
        for seed, is_over in enumerate(ends):
            study = store_study(f"c/{arm}/{seed=}", sampler=arm, seed=seed, storage=storage)
            study.set_user_attr("adnn:stop_reason", "max_trial" if is_over else "interrupted")
    sentence = (
        "All runs of the first seed (0) of comparison 'c' must have ended; got 3 of 6 ended runs, "
        "but not all of this seed. Continue with resume or compare."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        load_comparison(storage, "c")
    study = optuna.load_study(study_name="c/random_restart/seed=0", storage=storage)
    study.set_user_attr("adnn:stop_reason", "max_trial")
    loaded = load_comparison(storage, "c")
    assert (loaded.seeds, loaded.numbers.n_done, loaded.margin) == ((0, 1), 2, 0.001)


def test_an_arm_whose_runs_were_deleted_is_missing_but_not_omitted() -> None:
    storage = optuna.storages.InMemoryStorage()
    store_head(storage, "c", declaration([0], *ARMS))
    store_study("c/random_restart/seed=0", sampler="random_restart", storage=storage)
    with pytest.raises(ValueError, match="got 1 of 2 ended runs, but not all"):
        load_comparison(storage, "c")
    optuna.delete_study(study_name="c/random_restart/seed=0", storage=storage)
    with pytest.raises(ValueError, match="got 0 of 2 ended runs"):
        load_comparison(storage, "c")
    with pytest.raises(ValueError, match=r"'c' has no runs yet\. Call compare"):
        adnn.resume(storage, "c")


def test_evaluations_are_neither_a_search_nor_a_comparison() -> None:
    storage = optuna.storages.InMemoryStorage()
    functions = {"a": lambda seed: seed % 7, "b": lambda seed: seed % 5}
    adnn.compare_models(functions, seeds=range(6), storage=storage, study_name="evaluated")

    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_float("x", 0, 1)

    compare: Any = {"max_trial": 1, "seeds": range(6), "storage": storage}
    with pytest.raises(ValueError, match="'evaluated' must be a search or a comparison"):
        adnn.compare(objective, ["annealing"], study_name="evaluated", **compare)
    with pytest.raises(ValueError, match="got evaluations, such as of a recheck"):
        load_comparison(storage, "evaluated")
    adnn.compare(objective, ["annealing"], **compare)
    before = optuna.load_study(study_name="compare", storage=storage).user_attrs
    with pytest.raises(ValueError, match="'compare' must hold the same evaluations"):
        adnn.compare_models(functions, seeds=range(6), storage=storage, study_name="compare")
    assert optuna.load_study(study_name="compare", storage=storage).user_attrs == before
