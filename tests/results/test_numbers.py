"""The list of a result's numbers: each is told wherever it says that it is."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from stored_studies import changed, store_comparison, store_confirmation

from adnn_optuna.engine.records import record_of
from adnn_optuna.reporting import searches
from adnn_optuna.reporting.parts import filled, told
from adnn_optuna.results.comparison import Comparison
from adnn_optuna.results.numbers import NUMBERS, Number, numbers_of


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """Of searches by losses, so that validation scores are others than what was selected by."""
    gains = {"greedy": [0.0213, 0.0157], "random_restart": [0.0032, 0.0171]}
    stored = store_comparison(gains, metric="train_loss")
    for i, runs in enumerate(stored.results.values()):
        for j, run in enumerate(runs):
            store_confirmation(run.study, np.arange(1, 7) / 1000 * (i + j + 1), unmoved=0.71)
    results = {
        label: [changed(run, "adnn:baseline_metrics", val_loss=0.123) for run in runs]
        for label, runs in stored.results.items()
    }
    return Comparison(results, stored.seeds)


@pytest.mark.parametrize("number", NUMBERS, ids=[number.name for number in NUMBERS])
class TestEach:
    def test_is_shown_where_it_says(self, number: Number, comparison: Comparison) -> None:
        first = comparison.results["greedy"][0]
        [alone] = numbers_of([first])
        search = searches.page(first).content
        places = {
            "print": told(number, alone[number.name], first) in searches.text(first),
            "statements": told(number, alone[number.name], first) in searches.text(first),
            "scores": told(number, alone[number.name], first) in search["text"],
        }
        assert {place: places[place] for place in number.shown} == dict.fromkeys(
            number.shown, True
        )
        assert number.shown

    def test_has_a_heading_of_two_lines_at_most(
        self, number: Number, comparison: Comparison
    ) -> None:
        title = filled(number.heading, number, comparison.any_record)
        assert 1 <= len(title.split("\n")) <= 2
        assert "{" not in title


def test_names_are_different() -> None:
    assert len({number.name for number in NUMBERS}) == len(NUMBERS)


def test_are_not_known_of_a_study_of_nothing() -> None:

    [values] = numbers_of([record_of(optuna.create_study())])
    assert all(map(math.isnan, values.values()))
