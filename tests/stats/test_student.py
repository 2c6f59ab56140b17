"""Student's t interval of few values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from adnn_optuna.stats.student import student_half_width


def test_half_width_is_that_of_student() -> None:
    values = np.random.default_rng(0).normal(0.01, 0.02, 20)
    low, high = stats.t.interval(0.95, 19, values.mean(), values.std(ddof=1) / math.sqrt(20))
    assert student_half_width([*values], 1e-4, 0.95) == pytest.approx((high - low) / 2)
    # Equal values have the resolution of one image as half width.
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
