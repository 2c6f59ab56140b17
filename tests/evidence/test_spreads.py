"""How far a value varies, and from what: simulations of known truth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adnn_optuna.evidence.variance import ALL, Variance, spread_of

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCES = ("initialisation", "order", "split")


def measured(
    f: Callable[..., float], n: int = 20, name: str = "study", value_name: str = "value"
) -> Variance:
    """Return the variance of a function of one seed for each source."""
    arguments = (name, value_name, SOURCES, n, None, True)
    wanted = Variance({}, *arguments).missing
    return Variance({e: f(*e) for e in wanted}, *arguments)


def draw(seed: int, source: int) -> float:
    return float(np.random.default_rng([seed, source]).standard_normal())


def test_parts_of_known_sources_are_in_their_intervals() -> None:
    # Of a² + b² + (ab)², with a of variance 4, b of 1 and ab of 1.
    truth = {"initialisation": math.sqrt(5), "order": math.sqrt(2), "split": 0.5}
    truth[ALL] = math.sqrt(6.25)
    inside, shares, means = [], [], []
    for i in range(80):

        def f(a: int, b: int, c: int) -> float:
            x, y, z = draw(a, 0), draw(b, 1), draw(c, 2)
            return 2 * x + y + x * y + z / 2

        table = measured(f, name=f"{i}").to_dataframe()
        inside.append([table["low"][s] <= sd <= table["high"][s] for s, sd in truth.items()])
        share = (table["low"] * 0 + [sd**2 / 6.25 for sd in truth.values()]).clip(upper=1)
        shares.append((table["share_low"] <= share) & (share <= table["share_high"]))
        means.append(table["sd"] ** 2)
    assert np.min(np.mean(inside, axis=0)) >= 0.82  # Of products, which are not normal.
    assert np.min(np.mean(shares, axis=0)) >= 0.9
    assert np.mean(means, axis=0) == pytest.approx([sd**2 for sd in truth.values()], rel=0.2)


@pytest.mark.parametrize("differences", [True, False])
def test_interval_of_a_standard_deviation_covers_it(differences: bool) -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(1000):
        values = rng.standard_normal(20)
        if differences:
            values -= rng.standard_normal(20)
        spread = spread_of(values, are_differences=differences)
        covered.append(spread.low <= 1 <= spread.high)
    assert 0.93 <= np.mean(covered) <= 0.96


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=30),
    st.floats(0.001, 1000),
    st.booleans(),
)
def test_spread_scales_with_the_values_and_is_in_its_interval(
    values: list[float], scale: float, differences: bool
) -> None:
    array = np.array(values)
    spread, scaled = (spread_of(a, are_differences=differences) for a in (array, scale * array))
    assert spread.low <= spread.sd * (1 + 1e-9)
    assert spread.high >= spread.sd * (1 - 1e-9)
    if spread.sd > 1e-3:
        assert scaled == pytest.approx(tuple(scale * x for x in spread), rel=1e-6)


def test_two_runs_differ_by_more_than_said_in_a_twentieth_of_cases() -> None:
    rng = np.random.default_rng(1)
    limits = [
        measured(lambda a, b, c: draw(a, 0), n=10, name=f"{i}").least_difference
        for i in range(200)
    ]
    pairs = np.abs(np.subtract(*rng.standard_normal((2, 200, 50))))
    assert 0.03 < np.mean(pairs > np.array(limits)[:, np.newaxis]) < 0.07


def test_seed_in_use_is_none_of_the_runs_and_its_luck_is_told() -> None:
    arguments = ("study", "val_accuracy", SOURCES, 10, 3)
    wanted = Variance({}, *arguments, maximize=True).missing
    evaluations = {e: 0.9 + 0.01 * draw(sum(e) % 1000, 0) for e in wanted}
    evaluations[wanted[0]] = 0.95
    found = Variance(evaluations, *arguments, maximize=True)
    assert len(found.values) == 10
    assert 0.95 not in found.values
    assert found.own_luck == pytest.approx((0.95 - found.values.mean()) / found.values.std(ddof=1))
    assert "Seed 3, the one in use, came to 95.00 %: lucky by" in found.claim
    unlucky = Variance(evaluations, *arguments, maximize=False)
    assert unlucky.own_luck == -found.own_luck
    assert "unlucky" in unlucky.claim


def test_says_what_is_not_known_nothing_varies_or_is_lost() -> None:
    assert "not known yet, with 0 of 80 runs" in str(
        Variance({}, "s", "v", SOURCES, 20, None, True)
    )
    assert "nothing that was redrawn changes it" in measured(lambda *_: 0.5).claim
    lost = measured(lambda a, *_: math.nan if a % 4 else draw(a, 0), n=30)
    assert len(lost.values) < 30
    assert "came to no value" in str(lost)
