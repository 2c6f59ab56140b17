"""The list of a result's numbers: each is told wherever it says that it is."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from stored_studies import changed, store_comparison, store_confirmation

import adnn_optuna as adnn
from adnn_optuna.api.comparisons import Comparison
from adnn_optuna.engine.records import read_record
from adnn_optuna.reporting import comparisons, searches
from adnn_optuna.reporting.parts import filled, told
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


@pytest.fixture(scope="module")
def of_function() -> Comparison:
    return adnn.compare(lambda t: t.suggest_float("x", 0, 1), ["tpe"], max_trial=2, seeds=range(2))


@pytest.mark.parametrize("number", NUMBERS, ids=[number.name for number in NUMBERS])
class TestEach:
    def test_is_in_the_table_of_a_comparison(self, number: Number, comparison: Comparison) -> None:
        table = comparison.table()
        for label, runs in comparison.results.items():
            values = [values[number.name] for values in numbers_of(runs)]
            assert table[number.name][label] == pytest.approx(sum(values) / len(values))

    def test_is_shown_where_it_says(
        self, number: Number, comparison: Comparison, of_function: Comparison
    ) -> None:
        runs = comparison.results["greedy"]
        first = runs[0]
        [alone], [in_its_arm, _] = numbers_of([first]), numbers_of(runs)
        search, several = searches.page(first).content, comparisons.page(comparison).content
        mean = comparison.table()[number.name]["greedy"]
        unit = number.unit_of(first).bare
        shown = unit.gain(mean) if number.is_gain else unit.value(mean)
        title, of_runs = (
            filled(number.heading, number, first, with_unit=with_unit)
            for with_unit in (True, False)
        )
        record = of_function.any_record
        of_its = filled(number.heading, number, record).strip().split("\n")
        places = {
            "function": all(text in comparisons.text(of_function) for text in of_its),
            "print": told(number, alone[number.name], first) in searches.text(first),
            "statements": told(number, alone[number.name], first) in searches.text(first),
            "scores": told(number, alone[number.name], first) in search["text"],
            "means": all(
                text in comparisons.text(comparison) for text in (shown, *title.split("\n"))
            ),
            "runs": of_runs in several["runs"]["header"]
            and told(number, in_its_arm[number.name], first) in several["runs"]["rows"][0],
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

    [values] = numbers_of([read_record(optuna.create_study())])
    assert (values.pop("trials"), values.pop("seconds")) == (0, 0)
    assert all(map(math.isnan, values.values()))
