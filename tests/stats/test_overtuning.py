"""Estimates of values on new data, checked by simulations with known true values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from error_rates import MORE_WORLDS, WORLDS, World, found_in

from adnn_optuna.stats.overtuning import Means, Metric, on_new_seeds, random_splits


def check(world: World, repetitions: int, coverage: tuple[float, float]) -> None:
    rows = []
    for seed in range(repetitions):
        result, reported, truth = found_in(world, seed, 100)
        value, low, high = result.new_data
        rows.append((value - truth, low <= truth <= high, reported - truth))
    errors, covered, _ = np.array(rows, float).T
    noise = errors.std() / repetitions**0.5
    assert abs(errors.mean()) <= 0.008 + 2 * noise, (world, errors.mean(), noise)
    assert coverage[0] <= covered.mean() <= coverage[1], (world, covered.mean())


@pytest.mark.parametrize("world", WORLDS, ids=str)
def test_the_value_on_new_data_is_unbiased_and_its_ci_covers_it(world: World) -> None:
    check(world, 60, (0.82, 1.0))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("world", WORLDS + MORE_WORLDS, ids=str)
def test_the_ci_covers_the_true_value_in_many_worlds(world: World) -> None:
    check(world, 200, (0.85, 0.995))


def test_the_reported_value_is_biased_by_3_points_in_one_world() -> None:
    worlds = [found_in(World(200, 200, 0.0), seed, 100) for seed in range(20)]
    assert np.mean([reported - truth for _, reported, truth in worlds]) > 0.03


def test_equal_scores_of_all_trials_give_their_mean_without_noise() -> None:
    scores = np.random.default_rng(0).random((300, 1)).repeat(5, axis=1)
    measure = Means(scores, None, are_right=False)
    new_data = random_splits(measure, maximize=True).new_data
    assert new_data.value == pytest.approx(measure.values[0], abs=1e-9)


def test_losses_are_treated_as_negative_scores() -> None:
    scores, *_ = World(200, 30, 0.02, is_loss=True).draw(np.random.default_rng(0))
    low = random_splits(Means(scores, None, are_right=False), maximize=False)
    high = random_splits(Means(-scores, None, are_right=False), maximize=True)
    np.testing.assert_allclose(low.new_data, [-high.new_data[i] for i in (0, 2, 1)], rtol=1e-6)
    np.testing.assert_array_equal(low.selected, high.selected)


def test_repeated_examples_of_a_group_count_once() -> None:
    scores, *_ = World(200, 30, 0.02).draw(np.random.default_rng(0))
    repeated = np.repeat(scores, 5, axis=0).astype(float)
    once = random_splits(Means(scores.astype(float), None, are_right=True), maximize=True)
    grouped = Means(repeated, np.repeat(np.arange(200), 5), are_right=True)
    np.testing.assert_allclose(random_splits(grouped, maximize=True).new_data, once.new_data)
    single = random_splits(Means(repeated, None, are_right=True), maximize=True).new_data
    assert single.high - single.low < 0.6 * (once.new_data.high - once.new_data.low)


def test_one_trial_has_its_own_mean_and_nine_examples_are_too_few() -> None:
    scores = np.random.default_rng(0).random((300, 1))
    result = random_splits(Means(scores, None, are_right=False), maximize=True)
    assert result.new_data.value == pytest.approx(scores.mean())
    half = 1.96 * np.sqrt(scores.var(ddof=1) / 300)
    assert result.new_data.high - result.new_data.value == pytest.approx(half, rel=0.1)
    nothing = random_splits(Means(scores[:9], None, are_right=False), maximize=True)
    assert np.isnan(nothing.new_data).all()


def test_a_metric_is_split_as_a_mean_is() -> None:
    scores, *_ = World(150, 20, 0.02).draw(np.random.default_rng(1))
    labels = np.random.default_rng(2).integers(0, 2, 150)
    predictions = np.where(scores, labels[:, None], 1 - labels[:, None])
    ticks: list[None] = []
    metric = Metric(
        *(lambda y, predicted: float((y == predicted).mean()), labels, predictions),
        groups=None,
    )
    mean = Means(scores.astype(float), None, are_right=False)
    of_mean = random_splits(mean, maximize=True)
    of_metric = random_splits(metric, maximize=True, after_split=lambda: ticks.append(None))
    assert of_metric.new_data.value == pytest.approx(of_mean.new_data.value, abs=0.01)
    assert len(ticks) == Metric.n_splits


def test_a_metric_of_rare_examples_is_unbiased_if_nothing_was_selected() -> None:
    labels = (np.arange(60) < 6).astype(int)
    predicted = np.where(np.random.default_rng(0).random(60) < 0.1, 1 - labels, labels)

    def f1(y: np.ndarray, predicted: np.ndarray) -> float:
        return float(2 * (y & predicted).sum() / max(y.sum() + predicted.sum(), 1))

    metric = Metric(f1, labels, np.stack([predicted, predicted], axis=1), groups=None)
    # Over thirds with two positives each, the mean F1 would be 0.02 lower.
    assert random_splits(metric, maximize=True).new_data.value == pytest.approx(metric.values[0])


def new_seeds_world(seed: int, n: int = 300, n_trials: int = 50) -> tuple[Any, float]:
    """Return the estimated and the true value of a configuration on new examples and seeds."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n, 1))
    of_trials = rng.standard_normal((n, n_trials))
    of_seeds = rng.standard_normal((n, n_trials))
    # The effect of a seed is the same on new examples.
    shifts = 0.05 * rng.standard_normal(n_trials)
    latent = 1.0 + 0.6 * common + 0.6 * of_trials
    scores = latent + 0.5 * of_seeds + shifts > 0
    measure = Means(scores.astype(float), None, are_right=True)
    measure.n_splits = 100
    result = random_splits(measure, maximize=True)
    best = int(measure.values.argmax())
    runs = [
        latent[:, best] + 0.5 * rng.standard_normal(n) + 0.05 * rng.standard_normal() > 0
        for _ in range(10)
    ]
    optimism = float(measure.values[best]) - result.new_data.value
    estimate = on_new_seeds(np.array(runs), scores.astype(float), result, optimism)
    fresh = (
        1.0 + np.sqrt(0.72) * rng.standard_normal(200_000) + 0.5025 * rng.standard_normal(200_000)
    )
    return estimate, float((fresh > 0).mean())


def test_a_rechecked_value_holds_for_new_examples() -> None:
    estimates = [new_seeds_world(seed) for seed in range(60)]
    errors = np.array([estimate.value - truth for estimate, truth in estimates])
    covered = np.mean([estimate.low <= truth <= estimate.high for estimate, truth in estimates])
    assert abs(errors.mean()) <= 0.008 + 2 * errors.std() / 60**0.5
    assert covered >= 0.85
