"""The numbers and sentences of luck."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, create_trial

import adnn_optuna as adnn
from adnn_optuna.evidence.luck import Recheck, fresh_seeds, luck_in_words, mean_interval


def trial(number: int, value: float) -> FrozenTrial:
    made = create_trial(value=value)
    made.number = number
    return made


def recheck(chosen: int, confirming: list[float], *, confirm_best: bool = False) -> Recheck:
    """Return a recheck in which trial 31 is the study's best, and 17 the other one."""
    candidates = [trial(31, 0.9123), trial(17, 0.9100)]
    [choosing] = fresh_seeds("study", "choose", 1)
    evaluations = {(n, choosing): 0.95 if n == chosen else 0.85 for n in (31, 17)}
    for seed, value in zip(fresh_seeds("study", "confirm", 3), confirming, strict=True):
        evaluations[chosen, seed] = value
        evaluations[31, seed] = value
    values = [0.9123, 0.91, 0.9]
    return Recheck(evaluations, "study", True, candidates, values, 1, 3, confirm_best, True)


def test_claim_says_what_the_study_said_and_what_fresh_seeds_say() -> None:
    assert recheck(17, [0.904, 0.905, 0.906]).claim == (
        "The study said 0.9123 (trial 31); trained afresh, trial 17 gives 0.9050 (0.9025 to "
        "0.9075): the study overstated by 0.0073 (0.0048 to 0.0098), on the same validation data."
    )


def test_word_luck_is_for_the_same_trial_only() -> None:
    values = [0.904, 0.905, 0.906]
    assert "luck" not in recheck(17, values).claim
    assert "0.0073 (0.0048 to 0.0098) was luck" in recheck(31, values).claim
    assert "Trial 31 itself gives" in recheck(17, values, confirm_best=True).claim
    assert "was luck" in recheck(17, values, confirm_best=True).claim
    assert "lucky is not shown" in recheck(31, [0.8, 0.9, 1.0]).claim


def test_better_than_the_study_said_is_understated() -> None:
    said = recheck(17, [0.919, 0.92, 0.921]).claim
    assert "the study understated by 0.0077 (0.0052 to 0.0102)" in said


def test_tied_values_have_an_interval_of_one_image() -> None:
    report = recheck(17, [0.9, 0.9, 0.9])
    # The least difference of all values, 0.9123 and 0.91.
    assert report.high - report.low == pytest.approx(0.0023)
    assert report.low < report.value < report.high


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20),
    st.floats(0, 10),
)
def test_interval_holds_its_mean(values: list[float], resolution: float) -> None:
    mean, low, high = mean_interval(values, resolution)
    assert low <= mean <= high


def test_expected_luck_is_the_mean_best_draw() -> None:
    # Exact, and of the table that every text on order statistics has.
    for n, expected in [(1, 0.0), (2, math.pi**-0.5), (3, 1.5 * math.pi**-0.5), (10, 1.53875)]:
        assert adnn.expected_luck(n, 1.0) == pytest.approx(expected, abs=1e-5)
    draws = np.random.default_rng(0).normal(0, 0.5, (20_000, 50)).max(axis=1)
    assert adnn.expected_luck(50, 0.5) == pytest.approx(draws.mean(), abs=0.006)
    assert adnn.expected_luck(10**9, 1.0) == pytest.approx(6.0877, abs=1e-3)


def test_luck_in_words_tells_how_likely_a_gain_is() -> None:
    draws = np.random.default_rng(0).normal(0, 1, (20_000, 20)).max(axis=1)
    chance = float(luck_in_words(20, 1.0, 2.0).split()[-1].rstrip("."))
    assert chance == pytest.approx(np.mean(draws >= 2), abs=0.02)


@pytest.mark.parametrize(("n", "sd"), [(0, 1.0), (1.5, 1.0), (3, 0.0), (3, math.nan), (True, 1.0)])
def test_wrong_draws_are_refused(n: int, sd: float) -> None:
    with pytest.raises(ValueError, match="must"):
        adnn.expected_luck(n, sd)
