"""Verdicts: how often they are wrong, what they need, and the degenerate cases."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from scipy import stats

from adnn_optuna.evidence.paired_differences import (
    EQUIVALENCE,
    MIN_PAIRS,
    PairedDifference,
    bca_interval,
    holm,
    paired_differences,
)


def simulated(rng: np.random.Generator, n_seeds: int, gain: float = 0.0) -> dict[str, list[float]]:
    """Return test accuracies on 360 samples: arms share each seed's luck, "a" may be better."""
    of_seed = rng.normal(0.9, 0.01, n_seeds)
    arms = {}
    for arm in "abc":
        accuracy = of_seed + rng.normal(0, 0.006, n_seeds) + (gain if arm == "a" else 0)
        arms[arm] = (np.round(accuracy * 360) / 360).tolist()
    return arms


def compared(values: dict[str, list[float]]) -> list[PairedDifference]:
    return paired_differences(values, equivalence=EQUIVALENCE)


def only(values: list[float], other: list[float] | None = None) -> PairedDifference:
    zeros = [0.0] * len(values)
    [difference] = compared({"arm": values, "other": zeros if other is None else other})
    return difference


class TestErrorRates:
    @pytest.mark.parametrize("n_seeds", [8, 10])
    def test_without_a_difference_at_most_5_percent_are_found_better(self, n_seeds: int) -> None:
        rng = np.random.default_rng(n_seeds)
        n_wrong = 0
        for _ in range(200):
            verdicts = {d.verdict for d in compared(simulated(rng, n_seeds))}
            n_wrong += bool(verdicts & {"better", "worse"})
        # Any of the three pairs, in any direction: Holm's correction is for all together.
        assert n_wrong <= 10

    def test_a_percentage_point_is_found_with_usual_numbers_of_seeds(self) -> None:
        rng = np.random.default_rng(0)
        found = [compared(simulated(rng, 15, gain=0.01)) for _ in range(20)]
        assert np.mean([pairs[0].verdict == "better" for pairs in found]) > 0.8

    def test_equivalence_is_rarely_claimed_at_the_edge_of_its_region(self) -> None:
        rng = np.random.default_rng(0)
        edge = [only(rng.normal(EQUIVALENCE, 0.0003, 8).tolist()).verdict for _ in range(100)]
        assert edge.count("equivalent") <= 5
        inside = [only(rng.normal(0, 0.0003, 8).tolist()).verdict for _ in range(10)]
        assert inside.count("equivalent") == 10


class TestDegenerate:
    def test_a_copy_is_equivalent(self) -> None:
        values = [0.9, 0.91, 0.88, 0.93, 0.9, 0.87, 0.9, 0.92]
        copy = only(values, values)
        assert copy.verdict == "equivalent"
        assert (copy.mean, copy.low, copy.high) == (0, 0, 0)
        assert (copy.p_value, copy.superiority) == (1, 0.5)

    @pytest.mark.parametrize("n_seeds", range(MIN_PAIRS))
    def test_few_seeds_prove_nothing(self, n_seeds: int) -> None:
        for value in (0.0, 0.5, -0.5):
            difference = only([value] * n_seeds)
            assert difference.verdict == "undecided"
            assert difference.n_pairs == n_seeds
            assert math.isnan(difference.low) == (n_seeds < 2)
            assert math.isnan(difference.mean) == (n_seeds == 0)

    def test_equal_differences_have_an_interval_of_no_width(self) -> None:
        # Their differences of floats are not equal to the last bit.
        other = np.linspace(0.1, 0.9, 10)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            difference = only((other + 0.01).tolist(), other.tolist())
        assert difference.low == difference.high == pytest.approx(0.01)
        assert difference.verdict == "better"

    def test_a_seed_without_a_value_is_left_out(self) -> None:
        difference = only([0.1, math.nan, 0.3, 0.4], [0.0, 0.0, math.nan, 0.0])
        assert difference.n_pairs == 2
        assert difference.mean == pytest.approx(0.25)

    def test_one_arm_alone_is_compared_with_nothing(self) -> None:
        assert compared({"arm": [0.1, 0.2]}) == []


def test_the_order_of_the_arms_only_turns_the_signs() -> None:
    values = simulated(np.random.default_rng(3), 10, gain=0.02)
    [forward, *_] = compared({"a": values["a"], "b": values["b"]})
    [backward, *_] = compared({"b": values["b"], "a": values["a"]})
    assert (forward.verdict, backward.verdict) == ("better", "worse")
    assert forward.mean == -backward.mean
    assert forward.p_value == backward.p_value
    assert forward.superiority == pytest.approx(1 - backward.superiority)


def test_a_difference_that_is_sure_but_too_small_is_not_better() -> None:
    rng = np.random.default_rng(0)
    difference = only(rng.normal(EQUIVALENCE, EQUIVALENCE / 5, 20).tolist())
    assert difference.p_holm < 0.001
    assert difference.verdict == "undecided"


def test_the_test_is_that_of_all_sign_flips() -> None:
    d = np.array([0.01, 0.03, -0.01, 0.02, 0.0, 0.04, 0.01, -0.02])
    flips = np.array(list(itertools.product((-1, 1), repeat=len(d))))
    expected = np.mean(np.abs(flips @ d) >= abs(d.sum()) - 1e-12)
    assert only(d.tolist()).p_value == pytest.approx(expected)


def test_the_interval_covers_the_mean() -> None:
    rng = np.random.default_rng(0)
    intervals = [bca_interval(rng.normal(1, 1, 20)) for _ in range(150)]
    covered = np.mean([low <= 1 <= high for low, high in intervals])
    # With 20 values, BCa is known to fall a little short of its 95 %.
    assert 0.88 <= covered <= 0.98


def test_holm_is_as_published() -> None:
    # Holm (1979): the smallest times 3, the next times 2, and never less than the one before.
    p_values = np.array([0.04, 0.01, np.nan, 0.03])
    np.testing.assert_allclose(holm(p_values), [0.06, 0.03, np.nan, 0.06])
    assert holm(np.array([0.9, 0.8])).max() == 1
    rng = np.random.default_rng(0)
    # At least as strict as Benjamini and Hochberg, at most as Bonferroni.
    for p in rng.uniform(0, 0.1, (20, 5)):
        assert (holm(p) >= stats.false_discovery_control(p) - 1e-12).all()
        assert (holm(p) <= np.minimum(5 * p, 1) + 1e-12).all()
