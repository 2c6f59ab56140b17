"""The list of a run's numbers: all tables and the JSON have each number."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import optuna
import pytest
from optuna.trial import FrozenTrial, create_trial
from stored_studies import store_comparison

import adnn_optuna as adnn
from adnn_optuna.engine.records import read_record
from adnn_optuna.render.json import to_json
from adnn_optuna.results.fields import RUN_FIELDS, Field, numbers_of, seconds_under_way

if TYPE_CHECKING:
    from adnn_optuna.results.comparison import Comparison


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    gains = {"greedy": [0.0213, 0.0157], "random_restart": [0.0032, 0.0171]}
    return store_comparison(gains)


@pytest.fixture(scope="module")
def of_function() -> Comparison:
    return adnn.compare(lambda t: t.suggest_float("x", 0, 1), ["tpe"], max_trial=2, seeds=range(2))


@pytest.mark.parametrize("field", RUN_FIELDS, ids=[field.key for field in RUN_FIELDS])
def test_each_field_is_in_every_table_and_in_json(
    field: Field, comparison: Comparison, of_function: Comparison
) -> None:
    for compared in (comparison, of_function):
        has_it = compared is comparison or not field.needs_baseline
        label = next(iter(compared.results))
        tables = {table.title.split()[0]: table for table in compared.document().tables}
        stored = json.loads(to_json(compared.document()))["results"][label][0]
        assert (field.key in compared.table()) == (field in compared.numbers.fields) == has_it
        assert (field.key in stored) == has_it
        if has_it:
            mean = compared.table()[field.key][label]
            written = field.text(mean, field.unit_in(compared.numbers.units).bare)
            means = tables["Mean"]
            headings = [*means.headings]
            if field.is_tabled:
                column = headings.index(compared._heading(field))
                assert means.rows[0][column].startswith(written)
            for other in RUN_FIELDS:
                if other.of_baseline == field.key:
                    column = headings.index(compared._heading(other))
                    assert means.rows[-1][0] == "baseline"
                    assert means.rows[-1][column].startswith(written)
            values = [numbers[field.key] for numbers in compared.numbers.numbers_of(label)]
            assert mean == pytest.approx(sum(values) / len(values))


def test_keys_and_headings_are_unique(comparison: Comparison) -> None:
    assert len({field.key for field in RUN_FIELDS}) == len(RUN_FIELDS)
    headings = {comparison._heading(field) for field in comparison.numbers.fields}
    assert len(headings) == len(comparison.numbers.fields)
    assert all(len(heading.split("\n")) <= 2 for heading in headings)


def test_fields_of_an_empty_study_are_unknown() -> None:
    [numbers] = numbers_of([read_record(optuna.create_study())], RUN_FIELDS)
    assert (numbers.pop("trials"), numbers.pop("seconds")) == (0, 0)
    assert all(map(math.isnan, numbers.values()))


def test_seconds_count_parallel_trials_once_and_pauses_never() -> None:
    begin = datetime(2026, 1, 1)  # noqa: DTZ001 - as Optuna's

    def trial(start: float, end: float) -> FrozenTrial:
        finished = create_trial(value=0.0)
        finished.datetime_start = begin + timedelta(seconds=start)
        finished.datetime_complete = begin + timedelta(seconds=end)
        return finished

    run = [trial(0, 2), trial(1, 3), trial(10, 11)]
    assert seconds_under_way(run) == pytest.approx(4)
    assert seconds_under_way(run[::-1]) == pytest.approx(4)
    assert seconds_under_way([trial(0, 9), trial(1, 3), *run]) == pytest.approx(10)
    assert seconds_under_way([]) == 0
