"""Confirmations on new seeds, checked against simulations whose true values are known."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats
from stored_studies import confirmation

from adnn_optuna._units import Estimate
from adnn_optuna.experiments.confirmation import Confirmation, confirmation_of
from adnn_optuna.experiments.records import BASELINE_ARM, BEST_ARM, FIRST_ARM

_SPREAD = 0.25  # The standard deviation of the networks' abilities.


class World(NamedTuple):
    """A confirmation and the true values that its intervals should contain."""

    facts: Confirmation
    test_score: float
    vs_baselines: float
    replication: float


def world(rng: np.random.Generator, *, n: int = 359, gain: float = 0.0, k: int = 10) -> World:
    """Return the best of 30 networks by validation, tested on images of unequal difficulty.

    ``gain`` is the amount by which offsets increase each network's ability.
    """
    abilities = rng.normal(2.5, _SPREAD, 30 + 2 * k)
    abilities[:30] += gain
    abilities[30 + k :] += gain
    best = int(np.argmax(abilities[:30] + rng.normal(0, 0.15, 30)))
    chosen = abilities[[best, *range(30, 30 + 2 * k)], np.newaxis]
    is_right = chosen - rng.normal(0, 2, n) + rng.normal(0, 1, (len(chosen), n)) > 0
    scores = {BASELINE_ARM: is_right[1 : 1 + k], BEST_ARM: is_right[1 + k :]}
    facts = confirmation_of(confirmation(is_right[0], scores))
    holds, usual, moved = (
        float(stats.norm.cdf(ability / math.sqrt(1 + 2**2 + spread**2)))
        for ability, spread in ((abilities[best], 0), (2.5, _SPREAD), (2.5 + gain, _SPREAD))
    )
    return World(facts, holds, holds - usual, moved - usual)


def covered(worlds: list[World]) -> dict[str, float]:
    """Return the share of worlds in which each interval contains the true value."""
    shares = {}
    for name in ("test_score", "vs_baselines", "replication"):
        pairs = [(getattr(w.facts, name), getattr(w, name)) for w in worlds]
        shares[name] = float(np.mean([e.low <= truth <= e.high for e, truth in pairs]))
    return shares


@pytest.mark.parametrize("gain", [0.0, 0.3])
def test_intervals_contain_the_true_value_of_a_lucky_best_network(gain: float) -> None:
    rng = np.random.default_rng(3)
    worlds = [world(rng, gain=gain) for _ in range(400)]
    # Each interval may miss in 5% of worlds; the standard error of a share is 1.1%.
    assert all(share > 0.925 for share in covered(worlds).values())
    if not gain:
        above = [w.facts.replication.low > 0 for w in worlds]
        assert np.mean(above) < 0.025 + 2 * 0.0078
        # The best network by validation is better than the mean network; the interval may show
        # this.
        assert np.mean([w.facts.vs_baselines.low > 0 for w in worlds]) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "gain", "k"), [(359, 0.0, 6), (359, 0.3, 10), (2000, 0.0, 10), (2000, 0.3, 20)]
)
def test_intervals_contain_the_true_value_in_many_worlds(n: int, gain: float, k: int) -> None:
    rng = np.random.default_rng(4)
    worlds = [world(rng, n=n, gain=gain, k=k) for _ in range(4000)]
    assert all(share > 0.935 for share in covered(worlds).values())


class TestConfirmation:
    def test_of_a_search_without_offsets_gains_exactly_nothing(self) -> None:
        own_scores, unmoved = np.arange(10) < 9, np.arange(10) < np.full((6, 1), 8)
        facts = confirmation_of(confirmation(own_scores, {BASELINE_ARM: unmoved}))
        assert (facts.replication, facts.gains) == (Estimate(0, 0, 0), ())
        assert facts.baselines == (0.8,) * 6

    def test_hyperparameters_have_a_gain_of_their_own(self) -> None:
        right = {BASELINE_ARM: 8, BEST_ARM: 9, FIRST_ARM: 5}
        scores = {arm: np.arange(10) < np.full((6, 1), n) for arm, n in right.items()}
        facts = confirmation_of(confirmation(np.arange(10) < 9, scores))
        assert facts.gains == pytest.approx((0.1,) * 6)
        # All gains are equal, so the interval uses the deviation that one of ten examples causes.
        half = 0.1 * 2.5706 / math.sqrt(6)
        assert facts.replication == pytest.approx((0.1, 0.1 - half, 0.1 + half), abs=1e-5)
        assert facts.hyperparameters == pytest.approx((0.3, 0.3 - half, 0.3 + half), abs=1e-5)
