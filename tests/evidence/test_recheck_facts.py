"""The numbers and sentences of luck."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, create_trial

import adnn_optuna as adnn
from adnn_optuna.evidence.draws import luck_in_words
from adnn_optuna.evidence.recheck import Recheck, fresh_seeds, mean_interval


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


def test_whole_text_of_both_trials_confirmed() -> None:
    report = recheck(17, [0.904, 0.905, 0.906], confirm_best=True)
    assert str(report) == (
        "The study said 0.9123 (trial 31); trained afresh, trial 17 gives 0.9050 (0.9025 to "
        "0.9075): the study overstated by 0.0073 (0.0048 to 0.0098), on the same validation data. "
        "Trial 31 itself gives 0.9050 (0.9025 to 0.9075). Of trial 31's value, 0.0073 (0.0048 to "
        "0.0098) was luck.\n"
        "It measures the luck of training on the data that was evaluated on; where the seed "
        "redraws these, too, the luck of the split is included."
    )
    shown = "Recheck('study', best=0.9123, trial=17, value=0.905, overstated=0.0073)"
    assert repr(report) == shown
    # Student's t of three values whose standard deviation is 0.001: 4.3027 · 0.001 / √3.
    assert (report.low, report.high) == pytest.approx((0.902516, 0.907484), abs=1e-6)
    # Of the study's values 0.9123, 0.91 and 0.9 the variance is 4.2763e-5.
    assert (report.noise, report.noise_share) == pytest.approx((0.001, 1e-6 / 4.2763e-5), rel=1e-4)
    assert report.n_evaluations == 2 * 1 + 2 * 3
    assert report.missing == []
    table = report.to_dataframe()
    assert [*table.columns] == ["trial", "stored", "role", "seed", "value"]
    assert table[["trial", "stored", "role", "value"]].to_numpy().tolist() == [
        [number, stored, role, value]
        for number, stored, chosen_by in ((31, 0.9123, 0.85), (17, 0.91, 0.95))
        for role, value in (
            ("choose", chosen_by),
            *zip(["confirm"] * 3, [0.904, 0.905, 0.906], strict=True),
        )
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


def changed(report: Recheck, known: dict[tuple[int, ...], float]) -> Recheck:
    values = vars(report)
    settings = [values[f.name] for f in dataclasses.fields(report) if f.init]
    return Recheck(known, *settings[1:])


def test_asks_stage_by_stage_for_what_it_needs() -> None:
    whole = recheck(17, [0.904, 0.905, 0.906], confirm_best=True)
    known: dict[tuple[int, ...], float] = {}
    asked = []
    while missing := changed(whole, known).missing:
        report = changed(whole, known)
        said = f"is not known yet, with {len(known)} of "
        assert said in report.claim
        assert report.claim.endswith(" evaluations made. The same call goes on.")
        assert math.isnan(report.value)
        asked.append([(number, "odd" if seed % 2 else "even") for number, seed in missing])
        known |= {e: whole.evaluations[e] for e in missing}
    assert asked == [
        [(31, "even")],  # Whether anything is random,
        [(17, "even")],  # which one is the best,
        [(n, "odd") for n in (17, 17, 17, 31, 31, 31)],  # and what it is worth.
    ]
    # What an earlier recheck made of another trial counts for nothing.
    assert changed(whole, known | {(5, 3): math.nan}).evaluations == known


def of_equals(values: list[float], *, seeds: int = 4) -> Recheck:
    """Return a recheck of a trial with 0.5, by the values of its seeds to choose by."""
    known = dict(zip([(3, s) for s in fresh_seeds("s", "choose", 5)], values, strict=False))
    return Recheck(known, "s", False, [trial(3, 0.5)], [0.5], seeds, 2, False, True)


def test_five_equal_values_show_that_nothing_is_random() -> None:
    assert len(of_equals([]).missing) == 4
    assert len(of_equals([], seeds=2).missing) == 2
    [fifth] = of_equals([0.5] * 4).missing
    assert fifth == (3, fresh_seeds("s", "choose", 5)[4])
    report = of_equals([0.5] * 5)
    assert str(report) == (
        "The study said 0.5 (trial 3), and 5 fresh seeds give exactly that: the evaluation is "
        "deterministic, so there is no luck of training to measure.\n"
        "Whether the value holds on other data, no seed can tell."
    )
    assert (report.is_deterministic, report.trial, report.missing) == (True, report.best, [])
    assert (report.value, report.low, report.high) == (0.5, 0.5, 0.5)
    for values in ([0.5, 0.5, 0.5, 0.51], [0.5] * 4 + [0.51]):
        other = of_equals(values)
        assert not other.is_deterministic
        assert {seed % 2 for _, seed in other.missing} == {1}


def test_first_of_equals_is_chosen_and_who_has_more_values_before_all() -> None:
    [seed, other] = fresh_seeds("s", "choose", 2)
    candidates = [trial(1, 0.7), trial(2, 0.7), trial(3, 0.6)]
    for lost, chosen in ((0, 1), (1, 2), (2, 3)):
        # The third is the worst, but the only one without a failure.
        values = {(n, s): 0.69 if n < 3 else 0.1 for n in (1, 2, 3) for s in (seed, other)}
        values |= {(n, other): math.nan for n in range(1, lost + 1)}
        report = Recheck(values, "s", True, candidates, [0.7, 0.7, 0.6], 2, 2, False, True)
        assert report.trial is not None
        assert report.trial.number == chosen


def test_lower_values_are_better_where_it_minimizes() -> None:
    [seed] = fresh_seeds("s", "choose", 1)
    known = {(1, seed): 0.3, (2, seed): 0.2}
    known |= {(2, s): v for s, v in zip(fresh_seeds("s", "confirm", 3), (4, 5, 6), strict=True)}
    candidates = [trial(1, 0.1), trial(2, 0.15)]
    report = Recheck(known, "s", False, candidates, [0.1, 0.15], 1, 3, False, True)
    half = 4.302653 / math.sqrt(3)
    assert (report.overstated, report.overstated_low, report.overstated_high) == pytest.approx(
        (4.9, 4.9 - half, 4.9 + half)
    )
    assert report.noise_share == 1.0  # At most.
    assert "trial 2 gives 5.0 (2.5 to 7.5): the study overstated by 4.9 (2.4 to 7.4)" in str(
        report
    )


def test_lost_evaluations_and_those_without_a_seed_are_told() -> None:
    [seed] = fresh_seeds("s", "choose", 1)
    confirming = fresh_seeds("s", "confirm", 2)
    known = {(1, seed): 0.3} | dict(
        zip([(1, s) for s in confirming], (0.2, math.nan), strict=True)
    )
    report = Recheck(known, "s", True, [trial(1, 0.4)], [0.4], 1, 2, False, False)
    assert report.caveat == (
        "It measures the luck of training on the data that was evaluated on; where the seed "
        "redraws these, too, the luck of the split is included. 1 of 3 evaluations came to no "
        "value (NaN, infinite or pruned) and are left out, so the value is that of those that "
        "succeed. The evaluations take no seed, so they cannot be made again."
    )
    # One value has no interval, and the study's only value no variance.
    assert (report.value, report.low, report.high) == (0.2, -math.inf, math.inf)
    assert math.isnan(report.noise)
    assert math.isnan(report.noise_share)
    assert "trial 1 gives 0.2 (-inf to inf)" in report.claim
    known[1, confirming[0]] = math.nan
    lost = Recheck(known, "s", True, [trial(1, 0.4)], [0.4], 1, 2, False, True)
    said = "The study said 0.4 (trial 1); trained afresh, trial 1 gives no value."
    assert lost.claim == said


@pytest.mark.parametrize(
    ("sd", "shown"),
    # As many digits as the half width has two of: 4.3027 / √3 times the standard deviation.
    [
        (0.0001, "0.90000 (0.89975 to 0.90025)"),
        (0.02, "0.900 (0.850 to 0.950)"),
        (0.5, "0.9 (-0.3 to 2.1)"),
        (50, "1 (-123 to 125)"),
    ],
)
def test_values_have_as_many_digits_as_their_interval_asks_for(sd: float, shown: str) -> None:
    said = recheck(17, [0.9 - sd, 0.9, 0.9 + sd]).claim
    assert f"trial 17 gives {shown}: the study" in said


def test_seeds_follow_from_the_names_and_more_of_them_begin_alike() -> None:
    choosing, confirming = (fresh_seeds("study", role, 200) for role in ("choose", "confirm"))
    assert fresh_seeds("study", "choose", 3) == choosing[:3] == (2013144564, *choosing[1:3])
    assert {seed % 2 for seed in choosing} == {0}
    assert {seed % 2 for seed in confirming} == {1}
    everything = {*choosing, *confirming, *fresh_seeds("another", "choose", 200)}
    assert len(everything) == 600
    assert 0 <= min(everything) < 2**28 < 2**31 - 2**28 < max(everything) < 2**31


def test_figure_says_which_is_chosen_and_how_large_the_noise_is() -> None:
    figure = recheck(17, [0.904, 0.905, 0.906]).plot()
    assert [*figure.layout.yaxis.ticktext] == ["trial 31", "trial 17, chosen"]
    title = figure.layout.xaxis.title.text.replace("<br>", " ")
    assert title == "value; noise: sd 0.001, 2% of the study's variance"
    values = {trace.name: [*trace.x] for trace in figure.data}
    assert values["fresh seeds to choose by"] == [0.85, 0.95]
    assert values["further seeds to confirm"] == [0.904, 0.905, 0.906] * 2
    assert values["what the study said"] == [0.9123, 0.91]
    assert of_equals([0.4]).plot().layout.xaxis.title.text == "value"


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


def test_interval_of_few_values() -> None:
    assert np.isnan(mean_interval([], 0.1)).all()
    assert mean_interval([0.9], 0.1) == (0.9, -math.inf, math.inf)
    # Student's t of one degree of freedom: 12.7062 · √2 / √2.
    assert mean_interval([1.0, 3.0], 0.1) == pytest.approx((2, 2 - 12.7062, 2 + 12.7062))
    assert mean_interval([0.5, 0.5], 0.1) == (0.5, 0.45, 0.55)


def test_expected_luck_is_the_mean_best_draw() -> None:
    # Exact, and of the table that every text on order statistics has.
    for n, expected in [(1, 0.0), (2, math.pi**-0.5), (3, 1.5 * math.pi**-0.5), (10, 1.53875)]:
        assert adnn.expected_luck(n, 1.0) == pytest.approx(expected, abs=1e-5)
    draws = np.random.default_rng(0).normal(0, 0.5, (20_000, 50)).max(axis=1)
    assert adnn.expected_luck(50, 0.5) == pytest.approx(draws.mean(), abs=0.006)
    assert adnn.expected_luck(10**9, 1.0) == pytest.approx(6.0877, abs=1e-3)


def test_luck_in_words_tells_how_likely_a_gain_is() -> None:
    # 1 - Φ(2)^20 = 1 - 0.97725^20.
    assert luck_in_words(20, 1.0, 2.0) == (
        "By luck alone the best of 20 equally good draws with a standard deviation of 1 is "
        "expected to be 1.867 better than the mean, and 2 or more with probability 0.37."
    )
    assert luck_in_words(1, 0.5) == (
        "By luck alone one draw with a standard deviation of 0.5 is expected to be 0 better than "
        "the mean."
    )
    # 1 - Φ(1)^3 = 1 - 0.84134^3.
    assert luck_in_words(3, 0.5, 0.5).endswith(", and 0.5 or more with probability 0.4.")
    assert luck_in_words(3, 0.5, 0.0).endswith(", and 0 or more with probability 0.88.")
    with pytest.raises((TypeError, ValueError), match="`claimed` must be a finite"):
        luck_in_words(3, 0.5, math.nan)
    draws = np.random.default_rng(0).normal(0, 1, (20_000, 20)).max(axis=1)
    chance = float(luck_in_words(20, 1.0, 2.0).split()[-1].rstrip("."))
    assert chance == pytest.approx(np.mean(draws >= 2), abs=0.02)


@pytest.mark.parametrize(("n", "sd"), [(0, 1.0), (1.5, 1.0), (3, 0.0), (3, math.nan), (True, 1.0)])
def test_wrong_draws_are_refused(n: int, sd: float) -> None:
    with pytest.raises(ValueError, match="must"):
        adnn.expected_luck(n, sd)
