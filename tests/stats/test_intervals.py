"""Intervals of differences of two accuracies on the same images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from adnn_optuna.stats.example_scores import effective_number
from adnn_optuna.stats.intervals import (
    difference_interval,
    gain_interval,
    student_half_width,
    unseen_share,
)


@pytest.mark.parametrize(
    ("won", "lost", "n_images", "low", "high"),
    # The ends are from Bonett's own functions: the paper's supplement, and statpsych 1.3.
    [(26, 4, 40, 0.3126438, 0.7349752), (4, 26, 48, -0.6251933, -0.2548067)],
)
def test_interval_is_that_of_bonett(
    won: int, lost: int, n_images: int, low: float, high: float
) -> None:
    assert difference_interval(won, lost, n_images) == pytest.approx((low, high), abs=1e-7)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_exchanged_networks_have_the_opposite_interval(won: int, lost: int, others: int) -> None:
    n_images = won + lost + others + 1
    low, high = difference_interval(won, lost, n_images)
    assert -1 <= low < high <= 1
    assert difference_interval(lost, won, n_images) == pytest.approx((-high, -low))


def test_interval_contains_the_true_value_in_95_of_100_cases() -> None:
    rng, n_images = np.random.default_rng(0), 359
    for p_won, p_lost in ((0.02, 0.02), (0.03, 0.01), (0.005, 0.002), (0.3, 0.1)):
        chances = [p_won, p_lost, 1 - p_won - p_lost]
        counts = rng.multinomial(n_images, chances, size=4000)
        ends = np.array([difference_interval(won, lost, n_images) for won, lost, _ in counts])
        holds = (ends[:, 0] <= p_won - p_lost) & (p_won - p_lost <= ends[:, 1])
        assert holds.mean() >= 0.94


def look_at(differences: np.ndarray, groups: np.ndarray) -> Any:
    """Return a test-set evaluation with the numbers of images won and lost."""
    counts = {"won": int((differences > 0).sum()), "lost": int((differences < 0).sum())}
    look = {**counts, "n_images": len(groups), "baseline": 0.5, "best": 0.5}
    return {**look, "n_groups": effective_number(groups)}


def test_interval_contains_the_true_value_if_images_are_repeated() -> None:
    rng, holds, holds_by_rows = np.random.default_rng(0), 0, 0
    for _ in range(500):
        groups = np.repeat(np.arange(300), rng.geometric(0.2, 300))
        look = look_at(rng.choice([1, -1, 0], 300, p=[0.06, 0.02, 0.92])[groups], groups)
        low, high = gain_interval(look, 0.0)
        holds += low <= 0.04 <= high
        low, high = difference_interval(look["won"], look["lost"], look["n_images"])
        holds_by_rows += low <= 0.04 <= high
    assert holds_by_rows < 0.6 * 500 < 0.94 * 500 <= holds


def test_an_effect_on_the_unseen_share_is_missed_in_5_percent() -> None:
    rng = np.random.default_rng(0)
    for n in (6, 10, 20):
        befalls = rng.random((20_000, n)) < unseen_share(n)
        assert np.mean(~befalls.any(axis=1)) == pytest.approx(0.05, abs=0.006)
    assert [round(unseen_share(n), 3) for n in (0, 1, 5, 10)] == [1.0, 0.95, 0.451, 0.259]


def test_half_width_is_that_of_student() -> None:
    values = np.random.default_rng(0).normal(0.01, 0.02, 20)
    low, high = stats.t.interval(0.95, 19, values.mean(), values.std(ddof=1) / math.sqrt(20))
    assert student_half_width([*values], 1e-4, 0.95) == pytest.approx((high - low) / 2)
    # For equal values, the half width is the resolution of one image.
    assert student_half_width([0.01] * 20, 1e-4, 0.95) == 1e-4


@pytest.mark.parametrize("n_others", [1, 8])
def test_half_width_contains_the_mean_of_other_values(n_others: int) -> None:
    generator = np.random.default_rng(n_others)
    n_held, n = 0, 1000
    for _ in range(n):
        values, other_values = generator.normal(size=8), generator.normal(size=n_others)
        half_width = student_half_width(values.tolist(), 0, 0.99, n_others)
        n_held += abs(other_values.mean() - values.mean()) <= half_width
    assert 0.98 < n_held / n < 1
