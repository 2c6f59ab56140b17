"""Curves: what figures draw, as numbers."""

from __future__ import annotations

import itertools
import tracemalloc
from datetime import datetime, timedelta

import numpy as np
import pytest
from optuna.trial import FrozenTrial, create_trial
from stored_studies import store_study

from adnn_optuna.engine.records import read_record
from adnn_optuna.results.curves import (
    best_against_trials,
    expected_best_of_n,
    seconds_under_way,
)


def test_expected_best_of_n_is_the_mean_over_all_draws() -> None:
    values = np.random.default_rng(0).normal(size=7)
    for n, expected in enumerate(expected_best_of_n(values.tolist()), start=1):
        draws = itertools.combinations(values, n)
        assert expected == pytest.approx(np.mean([max(draw) for draw in draws]))
    assert len(expected_best_of_n([])) == 0
    # Of many it takes no memory for each pair of them.
    tracemalloc.start()
    assert expected_best_of_n(range(2000))[-1] == 1999
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_of_a_single_run_have_no_spread_and_of_none_no_place() -> None:
    one = read_record(store_study("one", values=[0.9, 0.92, 0.91]))
    assert best_against_trials([one]).sd is None
    assert len(best_against_trials([]).x) == len(best_against_trials([]).mean) == 0


def test_seconds_of_trials_at_once_count_once_and_pauses_not_at_all() -> None:
    begin = datetime(2026, 1, 1)  # noqa: DTZ001 - as Optuna's

    def trial(start: float, end: float) -> FrozenTrial:
        made = create_trial(value=0.0)
        made.datetime_start = begin + timedelta(seconds=start)
        made.datetime_complete = begin + timedelta(seconds=end)
        return made

    run = [trial(0, 2), trial(1, 3), trial(10, 11)]
    assert seconds_under_way(run) == pytest.approx(4)
    assert seconds_under_way(run[::-1]) == pytest.approx(4)
    assert seconds_under_way([trial(0, 9), trial(1, 3), *run]) == pytest.approx(10)
    assert seconds_under_way([]) == 0
