"""Curves: what figures draw, as numbers."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta

import numpy as np
import pytest
from optuna.trial import FrozenTrial, create_trial
from stored_studies import N_TRIALS, store_study

from adnn_optuna.engine.records import record_of
from adnn_optuna.evidence.curves import (
    best_against_trials,
    draws_of,
    expected_best_of_n,
    seconds_until_done,
)


def test_expected_best_of_n_is_the_mean_over_all_draws() -> None:
    values = np.random.default_rng(0).normal(size=7)
    for n, expected in enumerate(expected_best_of_n(values.tolist()), start=1):
        draws = itertools.combinations(values, n)
        assert expected == pytest.approx(np.mean([max(draw) for draw in draws]))
    assert len(expected_best_of_n([])) == 0


def test_of_a_single_run_have_no_spread_and_of_none_no_place() -> None:
    one = record_of(store_study("one", values=[0.9, 0.92, 0.91]))
    assert best_against_trials([one]).sd is None
    assert len(best_against_trials([]).x) == len(best_against_trials([]).mean) == 0


def test_draws_are_all_restarts_or_else_the_baselines() -> None:
    restarts = [record_of(store_study(f"{i}", sampler="random_restart", seed=i)) for i in (0, 1)]
    walk = record_of(store_study("walk", sampler="greedy"))
    draws = draws_of([walk, *restarts])
    assert draws is not None
    values = [value for record in restarts for value in record.values]
    assert (draws.n, draws.counts.sum()) == (2 * N_TRIALS, 2 * N_TRIALS)
    assert (draws.mean, draws.sd) == (pytest.approx(np.mean(values)), np.std(values, ddof=1))
    assert (draws.edges[0], draws.edges[-1]) == (min(values), max(values))
    alone = draws_of([walk])
    assert alone is not None
    assert (alone.n, alone.mean, alone.sd) == (1, walk.baseline, 0)
    assert draws_of([]) is None


class TestSeconds:
    BEGIN = datetime(2026, 1, 1)  # noqa: DTZ001 - as Optuna's

    def trial(self, start: float, end: float) -> FrozenTrial:
        trial = create_trial(value=0.0)
        trial.datetime_start = self.BEGIN + timedelta(seconds=start)
        trial.datetime_complete = self.BEGIN + timedelta(seconds=end)
        return trial

    def test_of_one_run_are_those_in_which_it_ran(self) -> None:
        run = [self.trial(0, 2), self.trial(1, 3), self.trial(10, 11)]
        assert seconds_until_done([run]) == [pytest.approx([2, 3, 4])]

    def test_are_shared_by_runs_of_one_stack(self) -> None:
        stack = [[self.trial(0, 4), self.trial(4, 6)], [self.trial(0, 4), self.trial(4, 6)]]
        assert seconds_until_done(stack) == [pytest.approx([2, 3])] * 2
        assert seconds_until_done([[], []]) == [[], []]
