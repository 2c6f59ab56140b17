"""Rechecks: their numbers, and their verdicts on simulated studies with known true values."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from snapshots import assert_states, assert_surfaces

from adnn_optuna._seeds import confirmation_seeds, confirms, new_seeds
from adnn_optuna._units import PLAIN
from adnn_optuna.results.confirmed_value import ConfirmedValue, mean_interval
from adnn_optuna.results.recheck import Recheck, RecheckNumbers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adnn_optuna._attributes import Planned


def choosing(count: int) -> tuple[int, ...]:
    """Return the new seeds with which a recheck chooses among trials."""
    return new_seeds("null", "choose", count, draws_data=True)


def confirming(count: int) -> tuple[int, ...]:
    """Return the new seeds that confirm a trial without parameters."""
    return confirmation_seeds(None, {}, count, draws_data=True)


def trial(number: int, value: float) -> FrozenTrial:
    finished = create_trial(value=value)
    finished.number = number
    return finished


def of_evaluations(
    evaluations: Mapping[tuple[int, ...], float],
    candidates: Sequence[FrozenTrial],
    *,
    choose: int,
    confirm: int,
    maximize: bool = True,
    against: FrozenTrial | None = None,
    label: str = "",
    **settings: Any,
) -> Recheck:
    """Return a recheck with the given evaluations and settings."""
    trials = [*candidates]
    described = None
    if against is not None:
        label = label or f"trial {against.number}"
        described = {"label": label, "number": against.number, "params": against.params}
        described["value"] = against.value
        if against.number not in [trial.number for trial in trials]:
            trials.append(against)
    all_settings: Any = {
        "study": "study",
        "choose": choose,
        "confirm": confirm,
        "failed": None,
        "resampled": None,
        "is_deterministic": False,
        "is_seeded": True,
        "draws_data": True,
        "candidates": [trial.number for trial in candidates],
        "baselines": [described for _ in candidates],
    }
    plan: Planned = {"seeds": confirm, "is_raised": False, "rank": 1}
    plans = dict.fromkeys(all_settings["candidates"], plan)
    numbers = RecheckNumbers(
        all_settings | settings, evaluations, trials, maximize, "value", None, plans
    )
    return Recheck(numbers)


def recheck(chosen: int, values: list[float]) -> Recheck:
    """Return a recheck of trial 31, the best of the study, and trial 17."""
    candidates = [trial(31, 0.9123), trial(17, 0.9100)]
    [seed_to_choose] = choosing(1)
    evaluations = {(n, seed_to_choose): 0.95 if n == chosen else 0.85 for n in (31, 17)}
    for seed, value in zip(confirming(3), values, strict=True):
        evaluations[chosen, seed] = value
    return of_evaluations(evaluations, candidates, choose=1, confirm=3)


def compared(
    gains: Sequence[float],
    against: FrozenTrial | None,
    *,
    maximize: bool = True,
    label: str = "",
) -> Recheck:
    """Return a recheck that compares trial 23, whose stored value is 0.916, with another trial."""
    values: dict[tuple[int, ...], float] = {(23, choosing(1)[0]): 0.9}
    for i, (seed, gain) in enumerate(zip(confirming(len(gains)), gains, strict=True)):
        base = 0.87 + 0.01 * (i % 3)
        values[23, seed] = base + (gain if maximize else -gain)
        if against is not None and against.number != 23:
            values[against.number, seed] = base
    return of_evaluations(
        values,
        [trial(23, 0.916)],
        choose=1,
        confirm=len(gains),
        maximize=maximize,
        against=against,
        label=label,
    )


def with_numbers(report: Recheck, **changes: Any) -> Recheck:
    return Recheck(dataclasses.replace(report.numbers, **changes))


def with_settings(report: Recheck, **changes: Any) -> Recheck:
    return with_numbers(report, settings=report.numbers.settings | changes)


def changed(report: Recheck, known: dict[tuple[int, ...], float]) -> Recheck:
    return with_numbers(report, evaluations=known)


def planned(report: Recheck, count: int, *, is_raised: bool = False, rank: int = 1) -> Recheck:
    plan: Planned = {"seeds": count, "is_raised": is_raised, "rank": rank}
    return with_numbers(report, plans=dict.fromkeys(report.numbers.plans, plan))


def of_equals(values: list[float], *, confirm: int = 2) -> Recheck:
    """Return a recheck of a trial with the stored loss 0.5, given its values on new seeds."""
    seeds = (*choosing(5), *confirming(confirm))
    evaluations = dict(zip([(3, s) for s in seeds], values, strict=False))
    candidates = [trial(3, 0.5)]
    return of_evaluations(evaluations, candidates, choose=5, confirm=confirm, maximize=False)


def with_a_lost_one() -> Recheck:
    """Return a recheck of a function without a seed; the last of its three evaluations failed."""
    seeds = [*choosing(1), *confirming(2)]
    values = {(1, s): v for s, v in zip(seeds, (0.3, 0.2, math.nan), strict=True)}
    return of_evaluations(values, [trial(1, 0.4)], choose=1, confirm=2, is_seeded=False)


def test_numbers_of_the_chosen_trial() -> None:
    report = recheck(17, [0.904, 0.905, 0.906])
    assert report.numbers.n_made == 2 * 1 + 3
    assert report.numbers.missing == []
    table = report.to_dataframe()
    assert [*table.columns] == ["trial", "stored", "role", "seed", "value"]
    # Confirming evaluations are in the order of their seeds.
    confirmed = sorted(zip(confirming(3), (0.904, 0.905, 0.906), strict=True))
    assert table[["trial", "stored", "role", "value"]].to_numpy().tolist() == [
        [31, 0.9123, "choose", 0.85],
        [17, 0.91, "choose", 0.95],
        *([17, 0.91, "confirm", value] for _, value in confirmed),
    ]


def test_choosing_evaluations_are_asked_for_before_confirming_ones() -> None:
    whole = recheck(17, [0.904, 0.905, 0.906])
    values: dict[tuple[int, ...], float] = {}
    stages = []
    while missing := changed(whole, values).numbers.missing:
        report = changed(whole, values)
        assert math.isnan(report.value)
        roles = [(n, confirms(seed, draws_data=True)) for n, seed in missing]
        stages.append([(number, "confirm" if further else "choose") for number, further in roles])
        values |= {e: whole.numbers.evaluations[e] for e in missing}
    assert stages == [
        [(31, "choose"), (17, "choose")],  # The first stage chooses the best trial.
        [(17, "confirm")] * 3,  # The second stage estimates its value.
    ]
    # Failed evaluations of an earlier recheck, of other trials or with more seeds, do not count.
    left = {(5, 3): math.nan, (17, 3): math.nan}
    numbers = changed(whole, values | left).numbers
    assert (numbers.n_made, numbers.n_lost) == (5, 0)


def test_a_single_candidate_needs_no_choosing_seeds() -> None:
    alone = of_evaluations({}, [trial(1, 0.7)], choose=4, confirm=3)
    assert alone.trial.number == 1
    assert alone.numbers.missing == [(1, seed) for seed in confirming(3)]
    assert len(alone.numbers.needed) == 3
    assert "1 trial, 3 new seeds" in str(alone)


def test_values_of_another_scale_are_not_attributed_to_luck() -> None:
    rng = np.random.default_rng(0)

    def report(stored: float, n: int) -> Recheck:
        runs = rng.normal(0.8, 0.01, n)
        values = dict(zip([(1, seed) for seed in confirming(n)], runs, strict=True))
        return of_evaluations(values, [trial(1, stored)], choose=1, confirm=n)

    in_percent = report(81.0, 5).document()
    assert in_percent.verdict == "not known"
    assert "another scale" in in_percent.conclusion
    assert "overstatement" not in [line.label for line in in_percent.estimates]
    # The verdict is on the gain if the scale is wrong.
    baseline = trial(0, 80.0)
    values = dict(report(81.0, 5).numbers.evaluations)
    values |= {(0, seed): value for (_, seed), value in values.items()}
    with_baseline = of_evaluations(values, [trial(1, 81.0)], choose=1, confirm=5, against=baseline)
    assert with_baseline.numbers.is_of_other_values
    assert with_baseline.document().verdict == "not shown"
    # The best of 10,000 runs is at most about four standard deviations above the mean.
    assert not any(report(0.84, n).numbers.is_of_other_values for n in range(2, 11) for _ in "123")
    # A small spread of fewer than five runs may be chance, so nothing is concluded.
    assert not report(81.0, 4).numbers.is_of_other_values


def test_a_rare_value_is_luck_if_another_trial_reported_usual_values() -> None:
    evaluations = dict.fromkeys([(n, choosing(1)[0]) for n in (1, 2)], 0.5)
    runs = np.random.default_rng(0).normal(0.5, 0.002, 5)
    evaluations |= dict(zip([(1, seed) for seed in confirming(5)], runs, strict=True))
    candidates = [trial(1, 0.9), trial(2, 0.501)]
    lucky = of_evaluations(evaluations, candidates, choose=1, confirm=5)
    assert lucky.document().verdict == "overstated"
    assert lucky.numbers.trial.number == 1
    alone = of_evaluations(evaluations, candidates[:1], choose=1, confirm=5)
    assert alone.document().verdict == "not known"


def test_a_trial_without_failures_is_chosen_and_otherwise_the_first_of_equals() -> None:
    [seed, second_seed] = choosing(2)
    candidates = [trial(1, 0.7), trial(2, 0.7), trial(3, 0.6)]
    for lost, chosen in ((0, 1), (1, 2), (2, 3)):
        # Trial 3 has the lowest values. It is chosen only if all other trials have failures.
        values = {(n, s): 0.69 if n < 3 else 0.1 for n in (1, 2, 3) for s in (seed, second_seed)}
        values |= {(n, second_seed): math.nan for n in range(1, lost + 1)}
        report = of_evaluations(values, candidates, choose=2, confirm=2)
        assert report.trial.number == chosen


def test_a_stored_value_chooses_only_between_equal_means() -> None:
    [seed] = choosing(1)
    candidates = [trial(1, 0.99), trial(2, 0.5)]
    for of_second, chosen in ((0.7, 1), (0.71, 2)):
        values = {(1, seed): 0.7, (2, seed): of_second}
        report = of_evaluations(values, candidates, choose=1, confirm=2)
        assert report.trial.number == chosen


@pytest.mark.parametrize("draws_data", [False, True])
def test_seeds_follow_from_the_study_name_and_choosing_seeds_never_confirm(
    draws_data: bool,
) -> None:
    choose, confirm = (
        new_seeds("study", role, 200, draws_data=draws_data) for role in ("choose", "confirm")
    )
    first = 2013144564 if not draws_data else 2013144564 // 2
    few = new_seeds("study", "choose", 3, draws_data=draws_data)
    assert few == choose[:3] == (first, *choose[1:3])
    assert {confirms(seed, draws_data=draws_data) for seed in choose} == {False}
    assert {confirms(seed, draws_data=draws_data) for seed in confirm} == {True}
    everything = {*choose, *confirm, *new_seeds("another", "choose", 200, draws_data=draws_data)}
    assert len(everything) == 600
    assert 0 <= min(everything) < 2**28 < 2**31 - 2**28 < max(everything) < 2**31


@pytest.mark.parametrize("n_cases", [2, 3, 4, 5, 7, 10])
def test_remainders_of_the_seeds_are_evenly_distributed_in_each_role(
    n_cases: int,
) -> None:
    for role in ("choose", "confirm", "split", "split again"):
        seeds = np.array(new_seeds("study", role, 3000, draws_data=True))
        counts = np.bincount(seeds % n_cases, minlength=n_cases)
        # The bound is five standard deviations of a binomial distribution.
        assert abs(counts - 3000 / n_cases).max() < 5 * math.sqrt(3000 / n_cases)


def test_equal_values_have_no_interval() -> None:
    report = recheck(17, [0.9, 0.9, 0.9])
    assert (report.value, math.isnan(report.low), math.isnan(report.high)) == (0.9, True, True)
    assert math.isnan(report.numbers.confirmed.next_run.low)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_an_interval_contains_its_mean(values: list[float]) -> None:
    mean, low, high = mean_interval(values)
    assert math.isnan(low) or low <= mean <= high


def test_values_that_differ_only_in_their_last_bits_have_no_interval() -> None:
    assert np.isnan(mean_interval([0.3, 0.1 + 0.2, 0.3])[1:]).all()


def test_an_interval_needs_two_values() -> None:
    assert np.isnan(mean_interval([])).all()
    assert mean_interval([0.9])[0] == 0.9
    assert np.isnan(mean_interval([0.9])[1:]).all()
    # Student's t of one degree of freedom is 12.7062, and the standard error is 1.
    assert mean_interval([1.0, 3.0]) == pytest.approx((2, 2 - 12.7062, 2 + 12.7062))


def test_the_assumption_of_an_interval_is_noted() -> None:
    def notes(values: list[float], *, is_raised: bool = False) -> str:
        planned: Any = {"seeds": len(values), "is_raised": is_raised, "rank": 1}
        return " ".join(ConfirmedValue(values, planned).notes(0, PLAIN))

    even = [float(i) for i in range(16)]
    assert "The values look skewed" in notes([2.0**i for i in range(16)])
    assert "The CI of the value is Student's t" in notes(even)
    assert "Student's t" not in notes(even, is_raised=True)


def test_the_interval_of_binary_values_is_that_of_a_proportion() -> None:
    interval = scipy.stats.binomtest(7, 10).proportion_ci(method="exact")
    assert mean_interval([1.0] * 7 + [0.0] * 3) == pytest.approx((0.7, *interval))


class TestFailures:
    def test_count_as_the_given_value_in_the_choice_and_in_the_gain(self) -> None:
        [seed] = choosing(1)
        values = {(31, seed): math.nan, (17, seed): 0.85}
        values |= {(17, seed): 0.9 for seed in confirming(3)}
        report = changed(recheck(17, [0.9] * 3), values)
        for failed, chosen in ((None, 17), (0.0, 17), (1.0, 31)):
            chosen_trial = with_settings(report, failed=failed).trial
            assert chosen_trial.number == chosen
        lost = compared(TestGain.GAINS, trial(0, 0.888))
        last = (0, confirming(10)[9])
        lost = changed(lost, {**lost.numbers.evaluations, last: math.nan})
        assert math.isnan(lost.gain.value)
        gains = [*TestGain.GAINS[:9], 0.896 - 0.1]
        counted = with_settings(lost, failed=0.1)
        assert counted.gain.value == pytest.approx(np.mean(gains))

    def test_are_counted_in_the_means_that_choose(self) -> None:
        values = {(31, seed): 0.9 for seed in choosing(2)}
        values |= {(17, seed): 0.8 for seed in choosing(2)[1:]} | {(17, choosing(2)[0]): math.nan}
        values |= {(31, seed): 0.9 for seed in confirming(3)}
        candidates = [trial(31, 0.91), trial(17, 0.9)]
        report = of_evaluations(values, candidates, choose=2, confirm=3)
        means = [row[2] for row in report.document().tables[0].rows]
        assert means == ["0.9000", "0.8000 (1 of 2)"]


def test_repr_is_short() -> None:
    text = repr(recheck(17, [0.904, 0.905, 0.906]))
    assert text == """Recheck("Recheck of study 'study'")"""


def test_a_recheck_without_evaluations_has_no_figure() -> None:
    deterministic = with_settings(of_equals([0.5] * 5), is_deterministic=True)
    with pytest.raises(ValueError, match="There is nothing to draw"):
        deterministic.plot()


def test_the_figure_shows_the_compared_trial_in_its_own_row() -> None:
    report = compared(TestGain.GAINS, trial(0, 0.888))
    [figure] = report.document().figures()
    assert figure.rows[1:] == ("10 new seeds", "trial 0, 10 new seeds")
    _, chosen, other = (series for series in figure.series if series.mark == "squares")
    assert (other.y, other.color) == ((2,), None)
    assert chosen.x[0] - other.x[0] == pytest.approx(report.gain.value)
    assert " beats trial 0 by " in figure.caption
    [itself] = compared(TestGain.GAINS, trial(23, 0.916)).document().figures()
    assert len(itself.rows) == 2


def test_the_figure_names_both_trials_and_marks_the_overstatement() -> None:
    [figure] = recheck(17, [0.904, 0.905, 0.906]).document().figures()
    labels = [text for series in figure.series for text in series.text if text]
    assert figure.title == "Expect 0.9050, not the best value, 0.9123"
    luck, best, mean = labels
    assert best.startswith("trial 31, best: ")
    assert luck.strip() == "luck: 0.0073"
    assert mean.startswith("trial 17, chosen: 0.9050")
    # The marked line extends from the mean of the new seeds to the stored best value.
    line = next(series for series in figure.series if series.text)
    assert [line.x[2], line.x[-1]] == pytest.approx([0.9123, 0.905])
    # A hollow square marks the stored value of the chosen trial.
    [hollow] = [series for series in figure.series if series.mark == "hollow squares"]
    assert (hollow.x[0], hollow.y[0], hollow.hover) == (0.91, 0, ("0.9100",))


@pytest.mark.parametrize(
    ("values", "title"),
    [
        ([0.9, 0.94, 0.91], "Luck is not shown: -0.005 (95% CI -0.056 to +0.047)"),
        ([0.95, 0.951, 0.952], "The best value is 0.0387 too pessimistic"),
        ([0.9, math.nan, 0.91], "No CI: 1 of 3 new seeds failed"),
        ([0.9, 0.9, 0.9], "All 3 new seeds give the same value"),
    ],
)
def test_the_title_of_the_figure_states_the_finding(values: list[float], title: str) -> None:
    [figure] = recheck(17, values).document().figures()
    assert figure.title == title


def test_a_loss_that_is_lower_on_new_seeds_was_too_pessimistic_in_the_study() -> None:
    [figure] = compared(TestGain.GAINS, None, maximize=False).document().figures()
    assert figure.title == "The best value is 0.0610 too pessimistic"
    assert figure.guide.endswith("Lower is better.")


class TestGain:
    GAINS = (0.02, 0.024, 0.022, 0.026, 0.03, 0.022, 0.024, 0.021, 0.025, 0.026)

    def test_is_positive_if_lower_values_are_better(self) -> None:
        report = compared(self.GAINS, trial(0, 0.95), maximize=False)
        assert report.gain.value == pytest.approx(0.024)
        assert report.numbers.reported_gain == pytest.approx(0.034)

    def test_is_unknown_without_a_compared_trial_or_if_a_pair_is_lost_or_missing(self) -> None:
        assert np.isnan(compared(self.GAINS, None).gain).all()
        report = compared(self.GAINS, trial(0, 0.888))
        last = (0, confirming(10)[9])
        lost = changed(report, {**report.numbers.evaluations, last: math.nan})
        assert np.isnan(lost.gain).all()
        fewer = {e: v for e, v in report.numbers.evaluations.items() if e != last}
        assert changed(report, fewer).numbers.missing == [last]
        assert np.isnan(changed(report, fewer).gain).all()


def test_one_further_run_lies_in_the_prediction_interval_in_95_of_100_cases() -> None:
    rng, n_inside = np.random.default_rng(3), 0
    for _ in range(400):
        *values, further = rng.normal(0.9, 0.01, 4).tolist()
        report = recheck(17, values)
        n_inside += (
            report.numbers.confirmed.next_run.low
            <= further
            <= report.numbers.confirmed.next_run.high
        )
        assert (
            report.numbers.confirmed.next_run.low
            < report.low
            < report.high
            < report.numbers.confirmed.next_run.high
        )
    assert 0.925 <= n_inside / 400 <= 0.975


def states() -> dict[str, Recheck]:
    """Return rechecks in all states that have different sentences."""
    whole, gains = recheck(17, [0.904, 0.905, 0.906]), TestGain.GAINS
    lost, deterministic = with_a_lost_one(), of_equals([0.5] * 5)
    failed = dict.fromkeys([(1, seed) for seed in confirming(2)], math.nan)
    of_params = create_trial(
        state=TrialState.WAITING, params={"x": 1.5}, distributions={"x": FloatDistribution(0, 2)}
    )
    of_params.number = 2**30
    few = recheck(17, [0.02, 0.9, 0.5])
    same = with_settings(whole, draws_data=False)
    for _ in range(2):  # The changed setting needs other new seeds.
        same = changed(
            same, {**same.numbers.evaluations, **dict.fromkeys(same.numbers.missing, 0.9)}
        )
    constant = compared(gains, trial(0, 0.888))
    return {
        "overstated": whole,
        "understated": recheck(17, [0.919, 0.92, 0.921]),
        "not complete": changed(whole, {}),
        "equal values": recheck(17, [0.9, 0.9, 0.9]),
        "deterministic": with_settings(deterministic, is_deterministic=True),
        "on the same data": same,
        "without a seed": with_settings(whole, is_seeded=False),
        "tiny": recheck(17, [0.904e-3, 0.905e-3, 0.906e-3]),
        "sure": recheck(17, [0.8999, 0.9, 0.9001]),
        "unsure": recheck(17, [-49.1, 0.9, 50.9]),
        "accuracies": with_numbers(few, metric="val_accuracy"),
        "a lost evaluation": lost,
        "all lost": changed(lost, {**lost.numbers.evaluations, **failed}),
        "failures that count": with_settings(lost, failed=0.1),
        "a loss of a gain": compared([-gain for gain in gains], trial(0, 0.888)),
        "an outlier": compared([*gains[:9], -0.5], trial(0, 0.888)),
        "against parameters": compared(gains, of_params, label="x=1.5"),
        "against the baseline": compared(gains, of_params, label="the baseline network"),
        "no differences": compared([0.0] * 10, trial(0, 0.888)),
        "a constant gain": changed(
            constant, {e: 0.9 if e[0] else 0.87 for e in constant.numbers.evaluations}
        ),
        "no gain in the study": compared(gains, trial(0, 0.92)),
        "few pairs": compared(gains[:3], trial(0, 0.888)),
        "against itself": compared(gains, trial(23, 0.916)),
        "against nothing": compared(gains, None),
    }


class TestSurfaces:
    def test_of_a_gain(self) -> None:
        assert_surfaces("recheck", compared(TestGain.GAINS, trial(0, 0.888)))

    def test_of_states(self) -> None:
        assert_states("recheck", states())


class TestVerdict:
    @pytest.mark.parametrize(
        ("values", "verdict"),
        [
            ([0.904, 0.905, 0.906], "overstated"),
            ([0.919, 0.92, 0.921], "not shown"),
            ([0.8, 0.9, 1.0], "not shown"),
        ],
    )
    def test_on_a_value_follows_from_its_interval(self, values: list[float], verdict: str) -> None:
        assert recheck(17, values).document().verdict == verdict

    def test_on_a_gain_seldom_claims_replication_if_offsets_do_nothing(self) -> None:
        rng, n_claims = np.random.default_rng(0), 0
        for _ in range(200):
            report = compared(rng.normal(0, 0.01, 10).tolist(), trial(0, 0.888))
            n_claims += report.document().verdict == "replicates"
        assert n_claims / 200 < 0.025 + 2 * math.sqrt(0.025 * 0.975 / 200)

    def test_on_a_gain_claims_replication_or_loss_if_zero_is_excluded(self) -> None:
        report = compared(TestGain.GAINS, trial(0, 0.888))
        assert report.document().verdict == "replicates"
        worse = compared([-gain for gain in TestGain.GAINS], trial(0, 0.888))
        assert worse.document().verdict == "worse"

    def test_is_overstated_even_if_a_gain_is_not_shown(
        self,
    ) -> None:
        report = compared([-0.001, 0.0, 0.001, 0.001], trial(0, 0.888))
        assert report.overstatement.low > 0 > report.gain.low
        assert report.document().verdict == "overstated"

    def test_understated_is_a_best_trial_that_is_better_on_new_seeds(self) -> None:
        report = recheck(31, [0.919, 0.92, 0.921])
        assert report.document().verdict == "understated"
        other = recheck(17, [0.919, 0.92, 0.921]).document().conclusion
        assert other.startswith("Trial 17 is better than the study's best value, ")

    def test_is_not_known_until_all_evaluations_are_done(self) -> None:
        whole = recheck(17, [0.904, 0.905, 0.906])
        values: dict[tuple[int, ...], float] = {}
        while missing := changed(whole, values).numbers.missing:
            assert changed(whole, values).document().verdict == "not known"
            values |= {e: whole.numbers.evaluations[e] for e in missing}
        assert len(values) == 5
