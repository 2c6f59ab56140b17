"""With the planned number of seeds, comparisons have the promised power."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from pilots import pilot, planned
from scipy import stats

from adnn_optuna.stats.paired_differences import fewest_pairs, planned_interval
from adnn_optuna.stats.power import (
    _fixed_power,
    _possible_sds,
    _sequential_power,
)
from adnn_optuna.stats.sequential import e_process

ONE = "The pilot must have at least two seeds for each claim; got 1. Run more seeds."
NONE = "The pilot must have at least two seeds for each claim; got 0. Run more seeds."
EQUAL = (
    "The pilot's differences must vary; got 2 equal ones. Run more seeds, or test on more data."
)
MANY = "gain must be large enough for at most 1,000,000 seeds. Pass a larger one."


def power_of(n_seeds: int, effect: float, n_runs: int, seed: int) -> float:
    """Return the power of planned comparisons with an effect in standard deviations."""
    values = np.random.default_rng(seed).normal(effect, 1, (n_runs, n_seeds))
    return float(np.mean([planned_interval(d, 1)[0] > 0 for d in values]))


@pytest.mark.parametrize("n_pilot", [5, 10])
def test_plans_from_pilots_have_the_promised_power_on_average(n_pilot: int) -> None:
    rng, effect = np.random.default_rng(n_pilot), 1.4
    seeds = [
        planned({"claim": rng.normal(0, 1, n_pilot).tolist()}, effect).seeds for _ in range(12)
    ]
    # These runs estimate the power of each of 12 plans.
    powers = [power_of(min(n, 16), effect, 60, seed) for seed, n in enumerate(seeds)]
    assert np.mean(powers) == pytest.approx(0.8, abs=0.1)


# For larger effects, so few seeds are needed that one more seed adds several points of power.
@pytest.mark.slow
@pytest.mark.parametrize(("n_pilot", "effect"), [(5, 0.8), (10, 0.6)])
def test_plans_have_the_promised_power_within_5_points(n_pilot: int, effect: float) -> None:
    rng = np.random.default_rng(0)
    pilots = rng.normal(0, 1, (150, n_pilot)).tolist()
    seeds = [planned({"claim": differences}, effect).seeds for differences in pilots]
    powers = [power_of(n, effect, 10, seed) for seed, n in enumerate(seeds)]
    assert np.mean(powers) == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize(("effect", "n_seeds"), [(3.0, 4), (1.6, 6), (1.2, 8), (1.0, 11)])
def test_with_a_known_deviation_the_smallest_sufficient_number_is_planned(
    effect: float, n_seeds: int
) -> None:
    plan = planned({"claim": pilot(2000)}, 0.01 * effect)
    assert plan.seeds == pytest.approx(n_seeds, abs=1)
    assert power_of(plan.seeds, effect, 1500, 0) >= 0.77
    if plan.seeds > fewest_pairs(1):
        assert power_of(plan.seeds - 1, effect, 1500, 0) <= 0.83


def test_sequential_designs_need_more_seeds() -> None:
    plan = planned({"claim": pilot(40)}, 0.005)
    assert (plan.seeds, plan.seeds_sequential) == (
        pytest.approx(36, abs=2),
        pytest.approx(20, abs=4),
    )
    assert plan.seeds_sequential is not None
    # The e-process includes the pilot's 40 seeds.
    n = 40 + plan.seeds_sequential
    e_values = e_process(np.random.default_rng(5).normal(0.5, 1, (1000, n)))
    assert np.mean(e_values.max(axis=1) >= 20) == pytest.approx(0.8, abs=0.06)
    added = planned({"claim": pilot(40)}, 0.005, after_fixed=True)
    assert added.seeds == plan.seeds
    assert added.seeds_sequential is not None
    n = 40 + added.seeds_sequential
    e_values = e_process(np.random.default_rng(5).normal(0.5, 1, (1000, n)))
    assert np.mean(e_values.max(axis=1) >= 100) == pytest.approx(0.8, abs=0.06)
    assert plan.hours == plan.seeds / 2
    assert plan.hours_sequential == plan.seeds_sequential / 2


@pytest.mark.parametrize(
    ("effect", "n", "power"),
    # G*Power gives these powers for the paired t test at a level of 5%.
    [(0.5, 34, 0.8078), (0.5, 33, 0.7954), (0.8, 15, 0.8213), (1.0, 10, 0.8031)],
)
def test_power_with_a_known_deviation_is_that_of_the_t_test(
    effect: float, n: int, power: float
) -> None:
    assert _fixed_power(np.array([effect]), n, 1) == pytest.approx(power, abs=1e-4)
    both = _fixed_power(np.array([effect, 100.0]), n, 1)
    assert both == pytest.approx((power + 1) / 2, abs=1e-4)
    assert _fixed_power(np.array([effect]), n, 2) < power - 0.05


@pytest.mark.parametrize(("n", "n_claims"), [(6, 1), (7, 1), (7, 2), (7, 3)])
def test_power_with_few_pairs_is_that_of_their_interval(n: int, n_claims: int) -> None:
    values = np.random.default_rng(1).normal(1.5, 1, (2000, n))
    powers = np.mean([planned_interval(d, n_claims)[0] > 0 for d in values])
    assert _fixed_power(np.array([1.5]), n, n_claims) == pytest.approx(powers, abs=0.03)


def test_power_of_sequential_designs_is_that_of_the_e_process() -> None:
    power = _sequential_power(np.full(200, 1.0), 30, 20.0)
    values = np.random.default_rng(9).normal(1, 1, (2000, 30))
    powers = np.maximum.accumulate(e_process(values), axis=1) >= 20
    np.testing.assert_allclose(power, powers.mean(axis=0), atol=0.05)
    assert power.tolist() == sorted(power)
    assert power[:5].tolist() == [0] * 5


def test_the_deviation_may_be_any_that_the_pilot_allows() -> None:
    # For 10 pairs, the end is s·sqrt(9 / χ²). χ² with 9 degrees has the quantiles 14.684, 8.343
    # and 4.168.
    powers = _possible_sds(2.0, 10, np.array([0.9, 0.5, 0.1]))
    assert powers == pytest.approx(2 * np.sqrt(9 / np.array([14.6837, 8.3428, 4.1682])), rel=1e-4)


def test_powers_cover_all_relevant_numbers_of_seeds() -> None:
    plan = planned({"claim": pilot(6)}, 0.01)
    # The numbers extend from the smallest decisive number to twice the larger planned number.
    assert (min(plan.numbers.power), max(plan.numbers.power)) == (4, 50)
    assert plan.numbers.power.keys() == plan.numbers.power_sequential.keys() >= {14}
    assert plan.numbers.power[13] < 0.8 <= plan.numbers.power[14]
    fewest = min(n for n, power in plan.numbers.power_sequential.items() if power >= 0.8)
    assert 24 <= fewest <= 26
    assert list(plan.numbers.power.values()) == sorted(plan.numbers.power.values())
    assert "{" not in repr(plan)


def test_fewer_pilot_pairs_require_more_seeds() -> None:
    few, many = (planned({"claim": pilot(n)}, 0.01) for n in (5, 50))
    assert few.seeds > many.seeds
    assert (
        few.numbers.seeds_low
        < many.numbers.seeds_low
        <= many.numbers.seeds_high
        < few.numbers.seeds_high
    )


def test_a_gain_far_below_the_deviation_has_no_sequential_design() -> None:
    plan = planned({"claim": pilot(10)}, 0.0003)
    assert plan.seeds_sequential is plan.hours_sequential is None


def test_claims_pool_their_deviation_and_share_the_error_rate() -> None:
    single = planned({"a": pilot(10, 0.01)}, 0.01)
    both = planned({"a": pilot(10, 0.01), "b": pilot(10, 0.01)}, 0.01)
    assert both.numbers.sd == pytest.approx(0.01)
    # The variances are weighted by their degrees of freedom, 9 and 3.
    assert planned({"a": pilot(10, 0.01), "b": pilot(4, 0.003)}, 0.01).numbers.sd == pytest.approx(
        math.sqrt((9 * 0.01**2 + 3 * 0.003**2) / 12)
    )
    assert both.numbers.n_claims == 2
    assert both.seeds > single.seeds
    assert planned({"a": pilot(9), "b": pilot(9), "c": pilot(9)}, 9.0).seeds == fewest_pairs(3)


def test_a_claim_without_variance_does_not_lower_the_number_of_seeds() -> None:
    # A sampler that only draws at random has no difference from random search on any seed.
    numbers = planned({"same": [0.0] * 8, "other": pilot(8)}, 0.01).numbers
    assert (numbers.n_claims, numbers.sd) == (2, pytest.approx(0.01))
    assert numbers.seeds == planned({"a": pilot(8), "b": pilot(8)}, 0.01).seeds
    assert (numbers.seeds_by_claim, numbers.omitted) == ({"other": numbers.seeds}, ["same"])


def test_three_equal_claims_are_planned_with_their_pooled_deviation() -> None:
    values = np.random.default_rng(0).normal(0, 1, (12, 3, 10)).tolist()
    pilots = [dict(zip("abc", of_claims, strict=True)) for of_claims in values]
    required = planned(dict.fromkeys("abc", pilot(2000, 1.0)), 0.6).seeds
    # With the largest of three deviations, the plan would have half as many seeds more.
    seeds = [planned(of_claims, 0.6).seeds for of_claims in pilots]
    assert np.mean(seeds) == pytest.approx(1.15 * required, rel=0.12)


@pytest.mark.parametrize(
    ("differences", "gain", "words"),
    [
        ({"a": [0.1]}, 0.01, ONE),
        ({"a": [0.1, 0.2], "b": []}, 0.01, NONE),
        ({"a": [0.1, 0.1 + 1e-15]}, 0.01, EQUAL),
        ({"a": [0.1, 0.2]}, 0.0, "gain must be greater than 0; got 0.0."),
        ({"a": [0.1, 0.2]}, math.nan, "gain must be a finite number; got nan."),
        ({"a": [0.1, 0.2]}, 1e-6, MANY),
    ],
)
def test_wrong_arguments_are_refused(
    differences: dict[str, list[float]], gain: float, words: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        planned(differences, gain)


def test_claims_with_unequal_deviations_have_their_own_numbers_of_seeds() -> None:
    powers = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        pilots = {"narrow": rng.normal(0, 0.5, 20), "wide": rng.normal(0, 2, 20)}
        plan = planned({claim: d.tolist() for claim, d in pilots.items()}, 1.0)
        narrow, wide = plan.numbers.seeds_by_claim.values()
        assert plan.seeds == wide > 3 * narrow
        # Student's t test is close to the sign-flip test here.
        draws = rng.normal(1, 2, (2000, wide))
        t = draws.mean(axis=1) / draws.std(axis=1, ddof=1) * math.sqrt(wide)
        powers.append(np.mean(t > stats.t.isf(0.0125, wide - 1)))
    # The mean power is near 0.8. If a pilot's deviation is too small, the power may be half of it.
    assert 0.65 < np.mean(powers) < 0.95
    equal = {claim: pilot(20) for claim in "abc"}
    assert {*planned(equal, 0.01).numbers.seeds_by_claim.values()} == {planned(equal, 0.01).seeds}
