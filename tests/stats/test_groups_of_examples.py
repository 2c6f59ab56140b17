"""The variance of means over groups of similar samples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adnn_optuna.stats.example_scores import effective_number, variance_of_mean

RNG = np.random.default_rng(0)


def variance_of(values: np.ndarray, groups: np.ndarray) -> float:
    return variance_of_mean(values, groups, are_alike=True)[0]


def test_copies_of_samples_add_no_information() -> None:
    values, alone = RNG.normal(size=50), np.arange(50)
    expected = values.var(ddof=1) / 50
    assert variance_of(values, alone) == pytest.approx(expected)
    assert variance_of(np.tile(values, 10), np.tile(alone, 10)) == pytest.approx(expected)
    assert effective_number(np.tile(alone, 10)) == pytest.approx(50)
    # If one sample has a hundred copies, the fifty samples are worth fewer than three.
    assert effective_number(np.concatenate([alone, np.zeros(100, int)])) < 3
    assert math.isnan(variance_of(values, np.zeros(50, int)))


def test_variance_is_that_of_means_over_groups_of_different_sizes() -> None:
    groups = np.repeat(np.arange(200), RNG.integers(1, 6, 200))
    variances, means = [], []
    for _ in range(2000):
        values = RNG.normal(size=200)[groups] + RNG.normal(size=len(groups))
        variances.append(variance_of(values, groups))
        means.append(values.mean())
    assert np.mean(variances) == pytest.approx(np.var(means), rel=0.1)
