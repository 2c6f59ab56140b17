"""How many seeds: whether a plan keeps what it promises, and what it tells its reader."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adnn_optuna.engine.units import ACCURACY
from adnn_optuna.evidence.paired_differences import fewest_pairs, planned_interval
from adnn_optuna.evidence.power import SeedPlan, plan_seeds
from adnn_optuna.evidence.sequential import e_process


def pilot(n_pairs: int, sd: float = 0.01) -> list[float]:
    """Return differences with exactly this standard deviation."""
    noise = np.random.default_rng(n_pairs).standard_normal(n_pairs)
    return (sd * (noise - noise.mean()) / noise.std(ddof=1)).tolist()


def planned(differences: dict[str, list[float]], gain: float) -> SeedPlan:
    return plan_seeds([*differences.values()], gain=gain, seconds_per_seed=1800, unit=ACCURACY)


def power_of(n_seeds: int, effect: float, n_runs: int, seed: int) -> float:
    """Return how often planned comparisons find an effect, in standard deviations."""
    drawn = np.random.default_rng(seed).normal(effect, 1, (n_runs, n_seeds))
    return float(np.mean([planned_interval(d, 1)[0] > 0 for d in drawn]))


@pytest.mark.parametrize("n_pilot", [5, 10])
def test_plans_from_pilots_keep_their_promise_in_the_mean(n_pilot: int) -> None:
    rng, effect = np.random.default_rng(n_pilot), 1.4
    seeds = [
        planned({"claim": rng.normal(0, 1, n_pilot).tolist()}, effect).seeds for _ in range(12)
    ]
    # The whole distribution of plans: 12 of them, each tried often enough.
    found = [power_of(min(n, 16), effect, 60, seed) for seed, n in enumerate(seeds)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.1)


# Larger effects need so few seeds that one more is several points of power.
@pytest.mark.slow
@pytest.mark.parametrize(("n_pilot", "effect"), [(5, 0.8), (10, 0.6)])
def test_plans_keep_their_promise_within_5_points(n_pilot: int, effect: float) -> None:
    rng = np.random.default_rng(0)
    pilots = rng.normal(0, 1, (150, n_pilot)).tolist()
    seeds = [planned({"claim": differences}, effect).seeds for differences in pilots]
    found = [power_of(n, effect, 10, seed) for seed, n in enumerate(seeds)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize(("effect", "n_seeds"), [(3.0, 6), (1.6, 6), (1.2, 8), (1.0, 11)])
def test_of_a_known_spread_the_number_is_the_smallest_that_suffices(
    effect: float, n_seeds: int
) -> None:
    plan = planned({"claim": pilot(2000)}, 0.01 * effect)
    assert plan.seeds == pytest.approx(n_seeds, abs=1)
    assert power_of(plan.seeds, effect, 1500, 0) >= 0.77
    if plan.seeds > fewest_pairs(1):
        assert power_of(plan.seeds - 1, effect, 1500, 0) <= 0.83


def test_looking_again_takes_longer() -> None:
    plan = planned({"claim": pilot(40)}, 0.005)
    assert (plan.seeds, plan.seeds_looking_again) == (
        pytest.approx(36, abs=2),
        pytest.approx(60, abs=4),
    )
    assert plan.seeds_looking_again is not None
    e_values = e_process(np.random.default_rng(5).normal(0.5, 1, (1000, plan.seeds_looking_again)))
    assert np.mean(e_values.max(axis=1) >= 20) == pytest.approx(0.8, abs=0.06)
    assert plan.hours == plan.seeds / 2
    assert plan.hours_looking_again == (plan.seeds_looking_again - 40) / 2


def test_fewer_pilot_pairs_ask_for_more_seeds_and_say_so() -> None:
    few, many = (planned({"claim": pilot(n)}, 0.01) for n in (5, 50))
    assert few.seeds > many.seeds
    assert few.seeds_low < many.seeds_low <= many.seeds_high < few.seeds_high
    text = str(few)
    assert "5 pilot seeds" in text
    assert f"{few.seeds_low} to {few.seeds_high} planned seeds" in text
    assert f"planned, fresh seeds: {few.seeds} seeds" in text
    assert f"{few.seeds_looking_again} seeds in all" in text


def test_the_claim_that_varies_most_decides_and_all_share_the_error_rate() -> None:
    one = planned({"a": pilot(10, 0.01)}, 0.01)
    both = planned({"a": pilot(10, 0.01), "b": pilot(10, 0.003)}, 0.01)
    assert both.sd == pytest.approx(0.01)
    assert both.n_claims == 2
    assert both.seeds > one.seeds
    assert planned({"a": pilot(9), "b": pilot(9), "c": pilot(9)}, 9.0).seeds == fewest_pairs(3)


def test_a_gain_far_below_the_spread_is_not_found_by_looking_again() -> None:
    plan = planned({"claim": pilot(10)}, 0.0003)
    assert plan.seeds_looking_again is plan.hours_looking_again is None
    assert "far more seeds" in str(plan)


def test_the_figure_shows_both_ways() -> None:
    plan = planned({"claim": pilot(6)}, 0.01)
    figure = plan.plot()
    assert [trace.name for trace in figure.data] == ["planned", "looking again"]
    assert dict(zip(figure.data[0].x, figure.data[0].y, strict=True))[plan.seeds] >= 80
    assert list(plan.power.values()) == sorted(plan.power.values())


@pytest.mark.parametrize(
    ("differences", "gain", "words"),
    [
        ({"a": [0.1]}, 0.01, "at least two pilot seeds"),
        ({"a": [0.1, 0.2], "b": []}, 0.01, "at least two pilot seeds"),
        ({"a": [0.1, 0.1 + 1e-15]}, 0.01, "same difference"),
        ({"a": [0.1, 0.2]}, 0.0, "gain"),
        ({"a": [0.1, 0.2]}, math.nan, "gain"),
        ({"a": [0.1, 0.2]}, 1e-6, "larger one"),
    ],
)
def test_what_is_wrong_is_refused(
    differences: dict[str, list[float]], gain: float, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        planned(differences, gain)
