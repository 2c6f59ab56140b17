"""The annealing as published by Ingber, checked against his formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adnn_optuna.samplers._asa import Options
from adnn_optuna.samplers._ingber import PublishedAnnealing


def make_annealing(n_dims: int) -> PublishedAnnealing:
    annealing = PublishedAnnealing(0, Options())
    for i in range(n_dims):
        annealing.add_coordinate(f"x{i}")
    return annealing


def test_the_schedule_is_that_of_the_published_code() -> None:
    annealing = make_annealing(4)
    c = -math.log(1e-5) * math.exp(-math.log(100) / 4)
    for k in (1, 10, 100, 1000):
        expected = math.exp(-c * k ** (1 / 4))
        assert annealing.temperatures(k, 4, np.zeros(4)) == pytest.approx(expected)
    assert annealing.temperatures(100, 4, np.zeros(4)) == pytest.approx(1e-5)


def test_reannealing_happens_when_the_published_code_does_it() -> None:
    """Re-annealing follows after 100 accepted points, and after 10,000 generated points."""
    points = np.random.default_rng(0).random((130, 2))
    values = (points - 0.5) ** 2 @ [100, 10]
    order = np.argsort(-values)  # Values decrease, so all points are accepted.
    for indices, due in ((range(130), [99]), ([*range(50), 9_999, 10_000, 10_001], [10_000])):
        annealing, reannealed = make_annealing(2), []
        for index, row in zip(indices, order, strict=False):
            before = annealing.temperatures(50, 2)
            annealing.tell(index, points[row], values[row])
            if not np.array_equal(annealing.temperatures(50, 2), before):
                reannealed.append(index)
        assert reannealed == due


@pytest.mark.parametrize("offset", [10.0, 1000.0, -1000.0])
def test_the_cost_temperature_after_reannealing_is_that_of_the_published_code(
    offset: float,
) -> None:
    points = np.random.default_rng(0).random((100, 2))
    values = -np.sort(-((points - 0.5) ** 2 @ [100, 10])) + offset
    annealing = make_annealing(2)
    for index in range(100):
        annealing.tell(index, points[index], values[index])
    c = -math.log(1e-5) / math.sqrt(100)
    start = np.mean(np.abs(values[:5]))
    T_c = start * math.exp(-c * math.sqrt(100))  # noqa: N806
    bound = min(start, abs(values[-1]))  # This is equation (9); the last value is the best.
    k_c = math.ceil((math.log(bound / T_c) / c) ** 2)  # This is equation (8).
    assert annealing.k_c == k_c
    assert annealing.cost_temperature(100) == pytest.approx(bound * math.exp(-c * math.sqrt(k_c)))
