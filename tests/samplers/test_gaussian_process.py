"""The Gaussian process, compared with scikit-learn and SciPy, and its predictions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from adnn_optuna.samplers._gaussian_process import GaussianProcess, _Loss
from adnn_optuna.samplers._minimizer import minimize
from adnn_optuna.samplers._moves import N_SEARCH_UNIFORMS, search


def test_the_gradient_of_the_loss_is_right() -> None:
    rng = np.random.default_rng(0)
    squares = rng.random((45, 3))
    loss = _Loss(squares, rng.standard_normal((10, 2)), rng.random(10))
    for theta in rng.standard_normal((5, 5)):
        error = optimize.check_grad(lambda t: loss(t)[0], lambda t: loss(t)[1], theta)
        assert error < 1e-4 * np.linalg.norm(loss(theta)[1])


def test_the_minimizer_agrees_with_scipy() -> None:
    start = np.array([-1.2, 1.0, 0.8])
    expected = optimize.minimize(optimize.rosen, start, jac=optimize.rosen_der, method="BFGS")

    def rosen(x: np.ndarray) -> tuple[float, np.ndarray]:
        return float(optimize.rosen(x)), np.asarray(optimize.rosen_der(x))

    first = minimize(rosen, start, 10)
    last = minimize(rosen, first.x, 100, first.inverse_hessian)
    assert last.value == pytest.approx(expected.fun, abs=1e-4)
    assert first.value > last.value + 0.01
    assert last.x == pytest.approx(expected.x, abs=0.02)


def test_many_points_are_fitted_as_well_as_by_scipy() -> None:
    rng = np.random.default_rng(0)
    points = rng.random((100, 3))
    values = np.sin(6 * points[:, 0]) + points[:, 1] ** 2 + 0.1 * rng.standard_normal(100)
    process = GaussianProcess(points, values, np.zeros(3))
    pairs = np.triu_indices(100, 1)
    loss = _Loss((points[pairs[0]] - points[pairs[1]]) ** 2, process._y, np.full(100, 1e-6))
    fit = optimize.minimize(loss, [0.0] * 4 + [-2.3], jac=True, method="BFGS")
    assert loss(np.log(process.parameters))[0] == pytest.approx(fit.fun, abs=1.0)
    rough = GaussianProcess(points, values, np.zeros(3), is_rough=True)
    assert rough.parameters[0] > 4 * rough.parameters[1] > rough.parameters[2]


def test_predictions_are_the_posterior_of_a_matern_kernel() -> None:
    kernels = pytest.importorskip("sklearn.gaussian_process.kernels")
    rng = np.random.default_rng(0)
    points, candidates = rng.random((30, 2)), rng.random((20, 2))
    values = 50 + 7 * (np.sin(4 * points[:, 0]) + 0.1 * rng.standard_normal(30))
    process = GaussianProcess(points, values, np.zeros(2))
    *inverse_squares, variance, noise = process.parameters
    kernel = kernels.ConstantKernel(variance) * kernels.Matern(
        np.array(inverse_squares) ** -0.5, nu=2.5
    )
    covariance = kernel(points) + (noise + 1e-6) * np.eye(30)
    to_known = kernel(candidates, points)
    solved = np.linalg.solve(covariance, to_known.T)
    columns, deviations = process.predict(candidates)
    [means] = columns.T
    y = (values - values.mean()) / values.std()
    assert means == pytest.approx(to_known @ np.linalg.solve(covariance, y))
    assert process.zero == pytest.approx(-values.mean() / values.std())
    variances = variance - (to_known * solved.T).sum(axis=1)
    assert deviations == pytest.approx(np.sqrt(variances), rel=1e-4)


def test_noise_is_distinguished_from_signal() -> None:
    rng = np.random.default_rng(0)
    points, candidates = rng.random((60, 2)), 0.2 + 0.6 * rng.random((50, 2))
    for noise in (0.0, 0.3):
        values = np.sin(3 * points[:, 0]) + points[:, 1] ** 2 + noise * rng.standard_normal(60)
        process = GaussianProcess(points, values, np.zeros(2))
        assert process.is_noisy == (noise > 0)
        truth = np.sin(3 * candidates[:, 0]) + candidates[:, 1] ** 2
        assert np.corrcoef(process.predict(candidates)[0][:, 0], truth)[0, 1] > 0.9


def test_choices_have_no_order() -> None:
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.random(40), (rng.integers(3, size=40) + 0.5) / 3])
    values = points[:, 0] + np.array([0.0, 5.0, -5.0])[(points[:, 1] * 3).astype(int)]
    candidates = np.column_stack([np.full(3, 0.5), (np.arange(3) + 0.5) / 3])
    means, _ = GaussianProcess(points, values, np.array([0, 3])).predict(candidates)
    predicted = values.mean() + values.std() * means[:, 0]
    assert predicted == pytest.approx([0.5, 5.5, -4.5], abs=0.3)


def test_merits_are_expected_improvements() -> None:
    rng = np.random.default_rng(0)
    points, candidates = rng.random((12, 2)), rng.random((8, 2))
    values = rng.random(12)
    process = GaussianProcess(points, values, np.zeros(2))
    columns, deviations = process.predict(candidates)
    [means] = columns.T
    z = ((values.min() - values.mean()) / values.std() - means) / deviations
    expected = deviations * (z * stats.norm.cdf(z) + stats.norm.pdf(z))
    assert np.exp(process.merits(candidates)) == pytest.approx(expected)
    assert np.all(np.isfinite(process.merits(points)))
    # With a width, merits are ordered as the confidence bounds are.
    order = np.argsort(process.merits(candidates, 2.0))
    assert np.array_equal(order, np.argsort(2.0 * deviations - means))


@pytest.mark.parametrize("values", [np.ones(6), 1e300 * np.arange(6.0), 1e-300 * np.arange(6.0)])
def test_values_of_any_size_give_finite_merits(values: np.ndarray) -> None:
    points = np.random.default_rng(0).random((6, 2))
    for at in (points, np.full((6, 2), 0.5)):
        process = GaussianProcess(at, values, np.zeros(2))
        assert np.all(np.isfinite(process.merits(points)))


def test_a_search_finds_the_best_point() -> None:
    rng = np.random.default_rng(0)
    best, n_choices = np.array([0.31, 0.72, 0.5]), np.array([0, 0, 3])

    def merits(points: np.ndarray) -> np.ndarray:
        return np.asarray(-((points - best) ** 2).sum(axis=1))

    us = rng.random((N_SEARCH_UNIFORMS, 3))
    start = rng.random((64, 3))
    start[:, 2] = (rng.integers(3, size=64) + 0.5) / 3
    result = search(start, lambda points: points, merits, us, n_choices)
    assert merits(result[None])[0] > -1e-3
    assert result[2] == 0.5
