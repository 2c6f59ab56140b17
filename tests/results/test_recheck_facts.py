"""The numbers of rechecks, and what luck alone brings."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_facts import (
    changed,
    choosing,
    compared,
    confirming,
    minimizing,
    of_equals,
    recheck,
    trial,
    with_a_lost_one,
)
from scipy import stats

import adnn_optuna as adnn
from adnn_optuna.engine.evaluations import new_seeds
from adnn_optuna.results.recheck import RecheckFacts, chance_of_luck, mean_interval
from adnn_optuna.stats.paired_differences import planned_interval


def test_numbers_of_both_trials_confirmed() -> None:
    report = recheck(17, [0.904, 0.905, 0.906], confirm_best=True)
    # Student's t of three values whose standard deviation is 0.001: 4.3027 · 0.001 / √3.
    assert (report.low, report.high) == pytest.approx((0.902516, 0.907484), abs=1e-6)
    assert report.n_evaluations == 2 * 1 + 2 * 3
    assert report.missing == []
    table = report.to_dataframe()
    assert [*table.columns] == ["trial", "stored", "role", "seed", "value"]
    # By their seeds.
    confirmed = sorted(zip(confirming(3), (0.904, 0.905, 0.906), strict=True))
    assert table[["trial", "stored", "role", "value"]].to_numpy().tolist() == [
        [number, stored, role, value]
        for number, stored, chosen_by in ((31, 0.9123, 0.85), (17, 0.91, 0.95))
        for role, value in (("choose", chosen_by), *(("confirm", v) for _, v in confirmed))
    ]


def test_chosen_one_alone_is_confirmed_where_it_is_the_best_or_the_best_is_not_asked_for() -> None:
    for chosen, confirm_best in ((17, False), (31, False), (31, True)):
        report = recheck(chosen, [0.904, 0.905, 0.906], confirm_best=confirm_best)
        assert report.n_evaluations == 2 + 3
        others = {17, 31} - {chosen}
        known = {e: v for e, v in report.evaluations.items() if e[0] == chosen or e[1] % 2 == 0}
        again = changed(report, known)
        assert again.missing == []
        assert not again.values(next(t for t in again.candidates if t.number in others), "confirm")


def test_asks_stage_by_stage_for_what_it_needs() -> None:
    whole = recheck(17, [0.904, 0.905, 0.906], confirm_best=True)
    known: dict[tuple[int, ...], float] = {}
    asked = []
    while missing := changed(whole, known).missing:
        report = changed(whole, known)
        assert math.isnan(report.value)
        asked.append([(number, "odd" if seed % 2 else "even") for number, seed in missing])
        known |= {e: whole.evaluations[e] for e in missing}
    assert asked == [
        [(31, "even"), (17, "even")],  # Which one is the best,
        [(n, "odd") for n in (17, 17, 17, 31, 31, 31)],  # and what it is worth.
    ]
    # What an earlier recheck made of another trial counts for nothing.
    assert changed(whole, known | {(5, 3): math.nan}).evaluations == known


def test_five_equal_values_do_not_show_that_nothing_is_random() -> None:
    assert len(of_equals([]).missing) == 5
    report = of_equals([0.5] * 5)
    assert not report.is_deterministic
    assert {seed % 2 for _, seed in report.missing} == {1}  # It goes on.
    told = dataclasses.replace(report, is_deterministic=True)
    assert (told.trial, told.missing, told.n_evaluations) == (told.best, [], 0)
    assert (told.value, told.low, told.high) == (0.5, 0.5, 0.5)


def test_first_of_equals_is_chosen_and_who_has_more_values_before_all() -> None:
    [seed, other] = choosing(2)
    candidates = [trial(1, 0.7), trial(2, 0.7), trial(3, 0.6)]
    for lost, chosen in ((0, 1), (1, 2), (2, 3)):
        # The third is the worst, but the only one without a failure.
        values = {(n, s): 0.69 if n < 3 else 0.1 for n in (1, 2, 3) for s in (seed, other)}
        values |= {(n, other): math.nan for n in range(1, lost + 1)}
        report = RecheckFacts(values, "s", True, candidates, [0.7, 0.7, 0.6], 2, 2, False, True)
        assert report.trial is not None
        assert report.trial.number == chosen


def test_lower_values_are_better_where_it_minimizes() -> None:
    report = minimizing()
    half = 4.302653 / math.sqrt(3)
    assert (report.overstated, report.overstated_low, report.overstated_high) == pytest.approx(
        (4.9, 4.9 - half, 4.9 + half)
    )


def test_seeds_follow_from_the_names_and_more_of_them_begin_alike() -> None:
    even, odd = (new_seeds("study", role, 200) for role in ("choose", "confirm"))
    assert new_seeds("study", "choose", 3) == even[:3] == (2013144564, *even[1:3])
    assert {seed % 2 for seed in even} == {0}
    assert {seed % 2 for seed in odd} == {1}
    everything = {*even, *odd, *new_seeds("another", "choose", 200)}
    assert len(everything) == 600
    assert 0 <= min(everything) < 2**28 < 2**31 - 2**28 < max(everything) < 2**31


def test_tied_values_have_an_interval_of_one_image() -> None:
    report = recheck(17, [0.9, 0.9, 0.9])
    # The least difference of all values, 0.9123 and 0.91; last bits are none.
    report.study_values = [*report.study_values, 0.1 + 0.2, 0.3]
    report = changed(report, dict(report.evaluations))
    assert report.high - report.low == pytest.approx(0.0023)
    assert report.low < report.value < report.high


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20),
    st.floats(0, 10),
)
def test_interval_holds_its_mean(values: list[float], resolution: float) -> None:
    mean, low, high = mean_interval(values, resolution)
    assert low <= mean <= high


def test_values_that_differ_by_their_last_bits_only_are_tied() -> None:
    assert mean_interval([0.3, 0.1 + 0.2, 0.3], 0.1) == pytest.approx((0.3, 0.25, 0.35))


def test_interval_of_few_values() -> None:
    assert np.isnan(mean_interval([], 0.1)).all()
    assert mean_interval([0.9], 0.1) == (0.9, -math.inf, math.inf)
    # Student's t of one degree of freedom: 12.7062 · √2 / √2.
    assert mean_interval([1.0, 3.0], 0.1) == pytest.approx((2, 2 - 12.7062, 2 + 12.7062))
    assert mean_interval([0.5, 0.5], 0.1) == (0.5, 0.45, 0.55)


def test_lost_evaluations_are_counted_and_one_value_has_no_interval() -> None:
    report = with_a_lost_one()
    assert (report.value, report.low, report.high) == (0.2, -math.inf, math.inf)
    assert report.n_lost == 1


def test_repr_is_short() -> None:
    shown = repr(recheck(17, [0.904, 0.905, 0.906]))
    assert shown.startswith("RecheckFacts(study_name='study', maximize=True, seeds=1, confirm=3, ")
    assert "FrozenTrial" not in shown


def test_expected_luck_is_the_mean_best_draw() -> None:
    # Exact, and of the table that every text on order statistics has.
    for n, expected in [(1, 0.0), (2, math.pi**-0.5), (3, 1.5 * math.pi**-0.5), (10, 1.53875)]:
        assert adnn.expected_luck(n, 1.0) == pytest.approx(expected, abs=1e-5)
    draws = np.random.default_rng(0).normal(0, 0.5, (20_000, 50)).max(axis=1)
    assert adnn.expected_luck(50, 0.5) == pytest.approx(draws.mean(), abs=0.006)
    # The largest of many is where on average an exponential number of them is above.
    above = -np.log((np.arange(100_000) + 0.5) / 100_000)
    for n in (10**9, 10**16, 10**20, 10**300):
        expected = stats.norm.isf(above / n).mean()
        assert adnn.expected_luck(n, 1.0) == pytest.approx(expected, abs=1e-3)
    with pytest.raises(ValueError, match="`n` must be a finite number"):
        adnn.expected_luck(10**400, 1.0)


@pytest.mark.parametrize(("n", "sd"), [(0, 1.0), (1.5, 1.0), (3, 0.0), (3, math.nan), (True, 1.0)])
def test_wrong_draws_are_refused(n: int, sd: float) -> None:
    with pytest.raises(ValueError, match="must"):
        adnn.expected_luck(n, sd)


def test_chance_of_luck_is_how_often_it_happens() -> None:
    # 1 - Φ(2)^20 = 1 - 0.97725^20.
    assert chance_of_luck(20, 1.0, 2.0) == pytest.approx(1 - 0.9772499**20, rel=1e-5)
    draws = np.random.default_rng(0).normal(0, 1, (20_000, 20)).max(axis=1)
    assert chance_of_luck(20, 1.0, 2.0) == pytest.approx(np.mean(draws >= 2), abs=0.02)
    # Over one further draw, and in one of several searches at least.
    gains = draws - np.random.default_rng(1).normal(0, 1, 20_000)
    assert chance_of_luck(20, 1.0, 2.0, "one") == pytest.approx(np.mean(gains >= 2), abs=0.02)
    best = gains.reshape(5_000, 4).max(axis=1)
    assert chance_of_luck(20, 1.0, 3.5, "one", 4) == pytest.approx(np.mean(best >= 3.5), abs=0.02)
    assert chance_of_luck(1, 1.0, -50.0, "one") == pytest.approx(1)


class TestGain:
    GAINS = (0.02, 0.024, 0.022, 0.026, 0.03, 0.022, 0.024, 0.021, 0.025, 0.026)

    def test_is_that_of_pairs_on_the_same_seeds(self) -> None:
        report = compared(self.GAINS, trial(0, 0.888))
        assert report.missing == []
        assert report.n_evaluations == 1 + 2 * 10
        low, high = planned_interval(np.array(self.GAINS), 1)
        assert report.gain == pytest.approx((0.024, low, high))
        assert report.said_gain == pytest.approx(0.028)
        # The value, of which the seeds' luck is no part of the gain, is far less sure.
        assert report.high - report.low > 2 * (report.gain.high - report.gain.low)
        assert {*report.to_dataframe()["trial"]} == {23, 0}

    def test_is_positive_where_lower_values_are_better(self) -> None:
        report = compared(self.GAINS, trial(0, 0.95), maximize=False)
        assert report.gain.value == pytest.approx(0.024)
        assert report.said_gain == pytest.approx(0.034)

    def test_is_unknown_without_another_or_with_a_lost_pair_and_before_it_is_made(self) -> None:
        assert np.isnan(compared(self.GAINS, None).gain).all()
        report = compared(self.GAINS, trial(0, 0.888))
        last = (0, confirming(10)[9])
        lost = changed(report, {**report.evaluations, last: math.nan})
        assert np.isnan(lost.gain).all()
        fewer = {e: v for e, v in report.evaluations.items() if e != last}
        assert changed(report, fewer).missing == [last]
        assert np.isnan(changed(report, fewer).gain).all()

    def test_of_too_few_pairs_has_no_interval(self) -> None:
        assert compared(self.GAINS[:5], trial(0, 0.888)).gain[1:] == (-math.inf, math.inf)

    @pytest.mark.parametrize("size", [2.0**-50, 1.0, 2.0**50])
    def test_is_as_sure_in_any_unit(self, size: float) -> None:
        values = {(23, choosing(1)[0]): 0.9 * size}
        for i, seed in enumerate(confirming(8)):
            values |= {(23, seed): (0.9 + 0.01 * i) * size, (7, seed): 0.8 * size}
        # With the value of a trial that failed.
        first, of_study = trial(7, 0.8 * size), [0.916 * size, 0.8 * size, -1e20 * size]
        report = RecheckFacts(
            *(values, "study", True, [trial(23, of_study[0])], of_study, 1, 8, False, True),
            against_of=lambda _: first,
        )
        assert np.divide(report.gain, size) == pytest.approx((0.135, 0.1125, 0.1575), rel=0.1)
        assert report._resolution == pytest.approx(0.004 * size)


def test_one_more_run_lies_where_it_is_expected_in_95_of_100_cases() -> None:
    rng, n_inside = np.random.default_rng(3), 0
    for _ in range(400):
        *values, further = rng.normal(0.9, 0.01, 4).tolist()
        report = recheck(17, values)
        n_inside += report.next_low <= further <= report.next_high
        assert report.next_low < report.low < report.high < report.next_high
    assert 0.925 <= n_inside / 400 <= 0.975


def test_luck_of_observed_runs_is_that_of_drawing_them_again() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random(40) < 0.1, 0.5, rng.normal(0.9, 0.01, 40))  # Some collapse.
    drawn = rng.choice(values, (20_000, 10)).max(axis=1)
    assert adnn.expected_luck(10, values=values) == pytest.approx(
        drawn.mean() - values.mean(), abs=5e-4
    )
    for baseline in ("mean", "one"):
        over = values.mean() if baseline == "mean" else rng.choice(values, 20_000)
        chance = chance_of_luck(10, None, 0.03, baseline, values=values)
        assert chance == pytest.approx(np.mean(drawn - over >= 0.03), abs=0.015)
    for wrong in ({}, {"sd": 1.0, "values": values}, {"values": [1.0] * 4}):
        with pytest.raises(ValueError, match=r"Set either sd|at least 5 finite numbers"):
            adnn.expected_luck(10, **wrong)
