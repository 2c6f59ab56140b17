"""The studies of a comparison, found by what its head declares."""

from __future__ import annotations

import optuna
import pytest
from optuna.study import StudyDirection
from stored_studies import store_study

from adnn_optuna._attributes import COMPARISON
from adnn_optuna.engine.comparisons import (
    is_comparison,
    load_head,
    open_head,
    records_of_comparison,
)

MAXIMIZE = StudyDirection.MAXIMIZE


def declare(storage: optuna.storages.BaseStorage, name: str) -> optuna.Study:
    head = open_head(storage, name, MAXIMIZE)
    arms = {"greedy": "greedy", "one arm": "annealing"}
    declaration = {"seeds": [10, 0], "looks_again": False, "arms": arms}
    head.set_user_attr(COMPARISON, declaration)
    return head


def test_studies_of_a_comparison_are_those_that_it_declares() -> None:
    storage = optuna.storages.InMemoryStorage()
    head = declare(storage, "a.b")
    names = ("a.b/greedy/seed=0", "a.b/greedy/seed=10", "a.b/one arm/seed=0")
    others = (
        "axb/greedy/seed=0",
        "a.b/c/seed=0",
        "a.b/greedy/seed=1",
        "a.b/greedy/seed=0/recheck",
    )
    for name in (*names, *others):
        store_study(name, values=[0.9], storage=storage)
    found = records_of_comparison(head)
    assert {arm: {*runs} for arm, runs in found.items()} == {"greedy": {0, 10}, "one arm": {0}}
    assert found["greedy"][10].study.study_name == "a.b/greedy/seed=10"


def test_a_head_is_opened_again() -> None:
    storage = optuna.storages.InMemoryStorage()
    assert not is_comparison(open_head(storage, "mine", MAXIMIZE))
    declare(storage, "mine")
    again = open_head(storage, "mine", MAXIMIZE)
    assert is_comparison(again)
    assert load_head(storage, "mine").user_attrs == again.user_attrs


def test_a_search_is_no_comparison() -> None:
    storage = optuna.storages.InMemoryStorage()
    store_study("mine", values=[0.9], storage=storage)
    with pytest.raises(ValueError, match="'mine' is no comparison; give the comparison another"):
        open_head(storage, "mine", MAXIMIZE)
    with pytest.raises(ValueError, match="'mine' is no comparison, but a search"):
        load_head(storage, "mine")
