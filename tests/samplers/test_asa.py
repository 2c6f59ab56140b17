"""The core of the annealing, checked against Ingber's formulas and against random search."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
from optuna.distributions import IntDistribution
from scipy import integrate, interpolate, stats

from adnn_optuna.samplers._asa import AdaptiveSimulatedAnnealing, Options
from adnn_optuna.samplers._ingber import PublishedAnnealing
from adnn_optuna.samplers._local_model import LocalModel, PointPool, sensitivities
from adnn_optuna.samplers._mixed import nearest
from adnn_optuna.samplers._moves import (
    generate,
    generate_choice,
    generating_cdf,
    generating_quantile,
)
from adnn_optuna.samplers._random_numbers import ACCEPT, GENERATE, uniforms
from adnn_optuna.samplers._unit_interval import levels

TEMPERATURES = [1.0, 0.1, 1e-3, 1e-7]


def make_annealing(
    n_dims: int, seed: int = 0, *, is_published: bool = False, **options: object
) -> AdaptiveSimulatedAnnealing:
    make = PublishedAnnealing if is_published else AdaptiveSimulatedAnnealing
    annealing = make(seed, Options(**options))  # type: ignore[arg-type]
    for i in range(n_dims):
        annealing.add_coordinate(f"x{i}")
    return annealing


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_generating_distribution_is_the_integral_of_the_density(temperature: float) -> None:
    def density(y: float) -> float:
        return 1 / (2 * (abs(y) + temperature) * math.log(1 + 1 / temperature))

    for y in (-1.0, -0.3, -temperature, 0.0, temperature, 0.01, 0.5, 1.0):
        edges = sorted({-1.0, *(e for e in (-temperature, 0.0, temperature, -0.01) if e < y), y})
        total = sum(
            integrate.quad(density, a, b, limit=200)[0] for a, b in itertools.pairwise(edges)
        )
        assert generating_cdf(np.array(y), np.array(temperature)) == pytest.approx(total, abs=1e-7)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_generating_quantile_is_ingbers_formula(temperature: float) -> None:
    for u in (0.0, 0.2, 0.4999, 0.5, 0.77, 1.0):
        sign = math.copysign(1, u - 0.5)
        y = sign * temperature * ((1 + 1 / temperature) ** abs(2 * u - 1) - 1)
        result = generating_quantile(np.array(u), np.array(temperature))
        assert result == pytest.approx(y, rel=1e-9, abs=1e-15)
        assert generating_cdf(result, np.array(temperature)) == pytest.approx(u, abs=1e-9)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("x", [0.0, 0.03, 0.5, 1.0])
def test_generate_is_distributed_as_redrawing_until_inside(x: float, temperature: float) -> None:
    rng = np.random.default_rng(0)
    redrawn = x + generating_quantile(rng.random(40_000), np.array(temperature))
    redrawn = redrawn[(redrawn >= 0) & (redrawn <= 1)]
    direct = generate(np.array(x), rng.random(20_000), np.array(temperature))
    assert direct.min() >= 0
    assert direct.max() <= 1
    assert stats.ks_2samp(redrawn, direct).pvalue > 1e-3


def test_generate_stays_inside_in_spite_of_rounding() -> None:
    x = np.linspace(0, 1, 1000)
    for temperature in TEMPERATURES:
        for u in (0.0, np.nextafter(1, 0)):
            ends = generate(x, np.full(1000, u), np.full(1000, temperature))
            assert np.all((ends >= 0) & (ends <= 1))
            assert ends == pytest.approx(np.full(1000, round(u)), abs=1e-6)


def test_choices_change_less_often_at_lower_temperatures() -> None:
    u = np.linspace(0, 1, 100_001)[:-1]
    x, n = np.array((2 + 0.5) / 5), np.array(5)
    changes = []
    for temperature in TEMPERATURES:
        choices = np.floor(5 * generate_choice(x, u, np.array(temperature), n)).astype(int)
        counts = np.bincount(choices, minlength=5)
        other_counts = np.delete(counts, 2)
        assert np.ptp(other_counts) <= 2  # All other choices are equally likely.
        changes.append(other_counts.sum() / len(u))
        moves = generating_quantile(u, np.array(temperature))
        assert changes[-1] == pytest.approx(np.mean(np.abs(moves) > 0.1), abs=1e-3)
    assert changes == sorted(changes, reverse=True)
    assert changes[-1] > 0.1


@pytest.mark.parametrize(("n_dims", "n_trials"), [(1, 10), (2, 50), (8, 200)])
@pytest.mark.parametrize("quench", [1.0, 2.0])
def test_the_schedule_ends_with_the_budget(n_dims: int, n_trials: int, quench: float) -> None:
    annealing = make_annealing(n_dims, n_trials=n_trials, quench=quench, initial_temperature=0.5)
    offsets = np.zeros(n_dims)
    assert annealing.temperatures(0, n_dims, offsets) == pytest.approx(0.5)
    end = annealing.temperatures(n_trials, n_dims, offsets)
    assert end == pytest.approx(0.5 * n_trials**-3)
    half = math.log(float(annealing.temperatures(n_trials // 2, n_dims, offsets)[0]) / 0.5)
    assert half == pytest.approx(-3 * math.log(n_trials) * 0.5 ** (quench / n_dims))
    assert annealing.temperatures(10 * n_trials, n_dims, offsets)[0] < end[0]


def test_more_than_eight_dimensions_cool_as_four_do() -> None:
    annealing = make_annealing(0, n_trials=50)
    assert annealing.rate(8, 0)[1] == 1 / 8
    assert annealing.rate(9, 0) == annealing.rate(40, 0) == annealing.rate(4, 0)
    assert make_annealing(0, is_published=True).rate(9, 0)[1] == 1 / 9


def test_a_quench_above_20_per_parameter_counts_as_20() -> None:
    rates = [
        make_annealing(0, n_trials=50, quench=quench).rate(2, 0) for quench in (38.0, 40.0, 42.0)
    ]
    assert rates[0] != rates[1] == rates[2]
    assert rates[1][1] == 20


def test_the_budget_grows_with_the_number_of_trials() -> None:
    assert [Options(n_trials=50).budget(n) for n in (0, 49, 51, 1000)] == [50, 50, 51, 1000]
    assert [Options().budget(n) for n in (0, 99, 101)] == [100, 100, 101]
    assert Options(n_trials=1).budget(0) == 2  # The logarithm of a budget of 1 is 0.


@pytest.mark.parametrize("is_published", [True, False])
def test_the_cost_temperature_starts_at_the_scale_of_the_first_values(is_published: bool) -> None:
    annealing = make_annealing(2, n_trials=50, is_published=is_published)
    values = [5.0, 3.0, -4.0, -1.0, 7.0, 1000.0]
    for index, f in enumerate(values):
        annealing.tell(index, np.array([0.1, 0.2]), f)
    start = np.mean(np.abs(values[:5])) if is_published else 0.1 * np.std(values[:5])
    c, exponent = annealing.rate(2, 50)
    expected = start * math.exp(-c * annealing.k_c**exponent)
    assert annealing.cost_temperature(50) == pytest.approx(expected)


def test_worse_points_are_accepted_by_the_metropolis_rule() -> None:
    n_accepted, n_expected = 0, 0.0
    for seed in range(400):
        annealing = make_annealing(1, seed, n_trials=20)
        for index, f in enumerate([3.0, 2.0, 1.0]):
            annealing.tell(index, np.array([0.5]), f)
        n_expected += math.exp(-0.005 / annealing.cost_temperature(3))
        annealing.tell(3, np.array([0.7]), 1.005)
        n_accepted += annealing.f == 1.005
    assert 100 < n_expected < 380
    assert n_accepted == pytest.approx(n_expected, abs=40)


def test_points_without_an_index_are_adopted_only_if_better() -> None:
    annealing = make_annealing(1)
    annealing.tell(0, np.array([0.5]), 1.0)
    annealing.tell(None, np.array([0.6]), 1.0 + 1e-9)
    assert annealing.x == [0.5]
    annealing.tell(None, np.array([0.6]), 0.9)
    assert annealing.x == [0.6]
    annealing.tell(1, np.array([0.7]), math.nan)
    assert annealing.x == [0.6]


def test_coordinates_that_a_point_lacks_keep_their_value() -> None:
    annealing = make_annealing(2)
    annealing.tell(0, np.array([0.5, 0.25]), 1.0)
    annealing.tell(1, np.array([0.6, np.nan]), 0.0)
    assert list(annealing.x) == [0.6, 0.25]
    annealing.add_coordinate("new")
    assert annealing.n_dims == 2
    assert np.all(np.isfinite(annealing.ask(2, 2)))


@pytest.mark.parametrize("is_published", [True, False])
def test_a_coordinate_cools_with_the_points_that_have_it(is_published: bool) -> None:
    annealing = make_annealing(1, is_published=is_published)
    for index in range(5):
        annealing.tell(index, np.array([0.5]), 1.0)
    annealing.add_coordinate("new")
    annealing.tell(5, np.array([0.5, 0.5]), 1.0)
    annealing.tell(6, np.array([0.5, np.nan]), 1.0)
    always, late = annealing.temperatures(7)
    expected = [
        annealing.temperatures(k, 2, np.zeros(1))[0] for k in (7, 7 if is_published else 1)
    ]
    assert [always, late] == expected


def test_a_coordinate_is_rescaled_as_its_range_grows() -> None:
    annealing = make_annealing(1)
    annealing.add_coordinate("n", levels=levels(IntDistribution(0, 3)))
    annealing.tell(0, np.array([0.5, np.nan]), 1.0)
    unknown = copy.copy(annealing)
    unknown.rescale("n", 0.0, 0.5, levels(IntDistribution(0, 7)))
    assert np.array_equal(unknown.x, [0.5, np.nan], equal_nan=True)
    # The second coordinate is the integer 1 of 0 to 3.
    annealing.tell(1, np.array([0.5, 0.375]), 0.0)
    annealing.rescale("n", 0.0, 0.5, levels(IntDistribution(0, 7)))
    assert annealing.x.tolist() == [0.5, 0.1875]


def test_infinite_and_huge_values_cause_no_overflow() -> None:
    annealing = make_annealing(2, n_trials=20, has_reannealing=True)
    values = [math.inf, 1e308, -1e308, math.inf, 1e308, 0.0, 1.0, -math.inf, 1.0, math.inf] * 3
    for index, f in enumerate(values):
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            x = annealing.ask(index, index)
            assert np.all((x >= 0) & (x <= 1))
            annealing.tell(index, x, f)
    assert annealing.f == -math.inf


def test_a_copy_is_independent() -> None:
    annealing = make_annealing(2, n_trials=30, has_reannealing=True)
    for index in range(25):
        x = annealing.ask(index, index)
        annealing.tell(index, x, float(x @ x))
    before = annealing.ask(25, 25)
    copied = copy.copy(annealing)
    copied.add_coordinate("new")
    for index in range(25, 45):
        copied.tell(index, np.array([0.1, 0.1, 0.5]), -float(index))
    assert np.array_equal(annealing.ask(25, 25), before)
    assert copied.ask(45, 45).shape == (3,)


def test_reannealing_reduces_moves_of_sensitive_coordinates() -> None:
    points = np.random.default_rng(1).random((130, 3))
    values = (points - 0.5) ** 2 @ [100, 10, 0.1]
    for is_published in (True, False):
        annealing = make_annealing(
            3, n_trials=200, has_reannealing=True, is_published=is_published
        )
        # Values decrease from point to point, so all points are accepted.
        for index, row in enumerate(np.argsort(-values)):
            annealing.tell(index, points[row], values[row])
        reannealed = annealing.temperatures(130, 3, annealing._k_offsets)
        assert reannealed[0] < reannealed[1] < reannealed[2]
    plain = annealing.temperatures(129, 3, np.zeros(3))
    reannealed = annealing.temperatures(129, 3, annealing._k_offsets)
    assert np.log(reannealed).mean() == pytest.approx(np.log(plain).mean())


def test_sensitivities_are_curvatures() -> None:
    rng = np.random.default_rng(0)
    best = np.array([0.4, 0.6])
    points = best + 0.01 * rng.standard_normal((60, 2))
    values = 3 * (points[:, 0] - 0.4) ** 2 + 300 * (points[:, 1] - 0.6) ** 2
    s = sensitivities(points, values, best)
    assert 5 < s[1] / s[0] < 200  # The fit is clipped and regularised, so the ratio is inexact.
    # The expected values are a least-squares fit of the same parabola, with values clipped at
    # their 90% quantile.
    size = np.sqrt(np.mean((points - best) ** 2, axis=0))
    z = (points - best) / size
    features = np.hstack([z, z**2])
    ridge = math.sqrt(1e-3 * np.sum(features**2) / 4) * np.eye(4)
    rises = np.minimum(values, np.quantile(values, 0.9)) - values.min()
    rows, right = np.vstack([features, ridge]), np.append(rises / values.max(), np.zeros(4))
    curvatures = np.linalg.lstsq(rows, right, rcond=None)[0][2:]
    assert s == pytest.approx(np.maximum(curvatures, 0) / size**2)
    assert sensitivities(points, 1e300 * values, best) == pytest.approx(s)
    assert sensitivities(points, np.ones(60), best) is None
    assert sensitivities(points * [0, 1] + [0.4, 0], values, best) is None


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_model_is_that_of_scipy(noise: float) -> None:
    rng = np.random.default_rng(0)
    points, candidates = rng.random((30, 3)), rng.random((20, 3))
    values = 50 * (np.sin(4 * points[:, 0]) + points[:, 1] + noise * rng.standard_normal(30))
    model = LocalModel(points)
    assert model.fit(values)
    # Distances are scaled by the points' mean distance from the center, and values by their
    # deviation.
    center = points.mean(axis=0)
    unit = np.sqrt(((points - center) ** 2).sum(axis=1).mean())
    z, y = (points - center) / unit, (values - values.mean()) / values.std()
    options = {"kernel": "cubic", "degree": 1, "smoothing": 1.0 if noise else 1e-6}
    expected = interpolate.RBFInterpolator(z, y, **options)((candidates - center) / unit)
    assert model.predict(candidates) == pytest.approx(expected, abs=1e-5)
    assert model.fit(values, is_exact=True)
    assert np.corrcoef(model.predict(points), values)[0, 1] > 0.99999


def test_the_model_of_degenerate_points_is_refused_or_finite() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(12)
    on_a_line = np.column_stack([rng.random(12), np.full(12, 0.25)])
    for points in (np.full((12, 2), 0.25), on_a_line, np.round(rng.random((12, 2)))):
        model = LocalModel(points)
        assert not model.fit(values) or np.all(np.isfinite(model.predict(rng.random((5, 2)))))


def test_the_pool_keeps_the_best_and_the_latest_points() -> None:
    pool = PointPool(capacity=20).with_coordinate()
    values = np.random.default_rng(0).permutation(100).astype(float)
    kept_values: list[float] = []
    for number, value in enumerate(values):
        pool = pool.with_point(np.array([value]), value)
        if len(kept_values) == 20:
            # The worst value is dropped, except if it is in the latest quarter of the pool.
            kept_values.remove(
                max(old for old in kept_values if old not in values[number - 5 : number])
            )
        kept_values.append(value)
        assert pool.numbers.max() == number
        assert sorted(pool.values) == sorted(kept_values)
        assert pool.points[:, 0].tolist() == pool.values.tolist()
        for count in (0, 1, 3):
            latest = pool.values[pool.is_latest(count)]
            assert set(latest) == set(values[max(number + 1 - count, 0) : number + 1])
    rows = nearest(pool.points, np.array([3.2]), np.zeros(1), 3)
    assert sorted(pool.values[rows]) == [2.0, 3.0, 4.0]


def test_uniform_numbers_depend_on_their_key_and_are_independent() -> None:
    numbers = uniforms(1, 2, GENERATE, "x", 20_000)
    assert stats.kstest(numbers, "uniform").pvalue > 1e-3
    assert np.array_equal(uniforms(1, 2, GENERATE, "x", 5), numbers[:5])
    other_keys = [(2, 2, GENERATE, "x"), (1, 3, GENERATE, "x"), (1, 2, ACCEPT, "x")]
    for key in [*other_keys, (1, 2, GENERATE, "y")]:
        correlation = np.corrcoef(numbers, uniforms(*key, 20_000))[0, 1]
        assert abs(correlation) < 0.03
    # This number is the same on every machine and with every version of NumPy.
    assert uniforms(0, 0, GENERATE, "x", 1)[0] == 0.8431788811032568


def regret(seed: int, function: str, n_candidates: int) -> tuple[float, float]:
    """Return the best values of the annealing and of random search."""
    n_dims, n_trials = 4, 60
    rng = np.random.default_rng(seed)
    optimum = rng.uniform(0.2, 0.8, n_dims)

    def f(x: np.ndarray) -> float:
        z = 8 * (x - optimum)
        if function == "rastrigin":
            return float(np.sum(z**2 - 10 * np.cos(2 * math.pi * z) + 10))
        return float(np.sum(z**2))

    annealing = make_annealing(n_dims, seed, n_trials=n_trials, n_candidates=n_candidates)
    best = math.inf
    for index in range(n_trials):
        x = annealing.ask(index, index)
        annealing.tell(index, x, f(x))
        best = min(best, f(x))
    return best, min(f(x) for x in rng.random((n_trials, n_dims)))


@pytest.mark.parametrize("function", ["sphere", "rastrigin"])
@pytest.mark.parametrize("n_candidates", [1, 64])
def test_annealing_beats_random_search(function: str, n_candidates: int) -> None:
    annealed, random = zip(*[regret(s, function, n_candidates) for s in range(20)], strict=True)
    test = stats.wilcoxon(np.log(annealed), np.log(random), alternative="less")
    assert test.pvalue < 0.01


def test_the_model_improves_values_tenfold() -> None:
    with_model = [regret(seed, "sphere", 64)[0] for seed in range(10)]
    without = [regret(seed, "sphere", 1)[0] for seed in range(10)]
    assert np.median(with_model) < 0.1 * np.median(without)


def test_batches_of_four_points_are_at_most_three_times_worse() -> None:
    def sphere(seed: int, batch_size: int) -> float:
        optimum = np.random.default_rng(seed).uniform(0.2, 0.8, 8)
        annealing = make_annealing(8, seed, n_trials=48)
        best = math.inf
        for start in range(0, 48, batch_size):
            state = copy.copy(annealing)
            batch = range(start, start + batch_size)
            points = [state.ask(index, index, index - start) for index in batch]
            for index, x in zip(batch, points, strict=True):
                value = float(np.sum((x - optimum) ** 2))
                annealing.tell(index, x, value)
                best = min(best, value)
        return math.log(best)

    # If every point of a batch were chosen like a single point, the values would be 13 times
    # worse.
    losses = [sphere(seed, 4) - sphere(seed, 1) for seed in range(20)]
    assert math.exp(np.mean(losses)) < 3
