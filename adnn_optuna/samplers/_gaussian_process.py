"""A Gaussian process that models the objective as in [1], fitted to the trials so far.

References:
    [1] C. E. Rasmussen and C. K. I. Williams. Gaussian processes for machine learning. MIT Press,
    2006.

    [2] S. Ament et al. Unexpected improvements to expected improvement for Bayesian optimization.
    NeurIPS 2023.

    [3] F. Hutter, H. H. Hoos and K. Leyton-Brown. Parallel algorithm configuration. LION 6, 2012.
"""

import math
import operator

import numpy as np

from adnn_optuna.samplers._minimizer import minimize

_MIN_NOISE = 1e-6
_GUESS_NOISE = 0.1  # For guesses, the noise is at least this share of the variance.
_NOISY = 0.03  # A smaller share of noise is ignored, because it may be a misfit of the kernel.
# The two starts of the fit, as logarithms of the inverse squared lengths and of the noise. Short
# lengths and noise can explain the same values, so one start is not enough.
_STARTS = (0.0, math.log(0.1)), (3.0, math.log(0.001))
# If there are more points, the parameters are fitted to this number of points, to save time.
_N_FITTED = 50
_N_FIRST_STEPS, _N_STEPS = 8, 20
_N_ROWS = 128  # This many rows fit into the cache of a processor.
_N_TRIANGLE_ROWS = 25
_N_PRODUCTS = 2**18  # For larger products, OpenBLAS uses several threads.
_MAX_LOG = 20.0
# The prior density of the logarithms has its maximum at a length of 1, a variance of 1 and a small
# noise.
_LENGTH_RATE, _NOISE_SHAPE, _NOISE_RATE = 0.1, 0.1, 30.0


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a product of matrices. Its parts are so small that each part uses one thread.

    On a busy machine, several threads wait for each other, which is a hundred times slower.
    """
    n_rows = max(_N_PRODUCTS // b.size, 1)
    blocks = [a[i : i + n_rows] @ b for i in range(0, len(a), n_rows)]
    return np.concatenate(blocks)


def _or_one(scales: np.ndarray) -> np.ndarray:
    """Return the scales, with each 0 replaced by 1."""
    return np.where(scales > 0, scales, 1.0)


class GaussianProcess:
    """A Gaussian process with a Matern 5/2 kernel of points in [0, 1].

    Each coordinate has its own length. Values are minimised, and guesses count as noisy. Each
    column of values is a quantity. All quantities have the same lengths and noise. The distance of
    two different choices of a categorical coordinate is 1. A rough fit has one start.
    """

    def __init__(
        self,
        points: np.ndarray,
        values: np.ndarray,
        n_choices: np.ndarray,
        is_guess: np.ndarray | None = None,
        *,
        is_rough: bool = False,
    ) -> None:
        from scipy.linalg import lapack  # This import takes as long as importing Optuna.

        self._n_choices = n_choices
        values = values.reshape(len(points), -1)
        values = values / _or_one(np.abs(values).max(axis=0))  # Squares of large values overflow.
        means = values.mean(axis=0)
        scales = _or_one(values.std(axis=0))
        self._y = (values - means) / scales
        self.zero = -means / scales
        min_noises = np.full(len(points), _MIN_NOISE)
        if is_guess is not None:
            min_noises[is_guess] = _GUESS_NOISE
        theta = self._fitted(points, min_noises, is_rough=is_rough)
        self.parameters = np.exp(np.clip(theta, -_MAX_LOG, _MAX_LOG))
        self._inverse_squares, (self._variance, noise) = np.split(self.parameters, [-2])
        self.is_noisy = bool(noise > _NOISY)
        self._points = self._embedded(points)
        covariance = self._covariance(self._points)
        covariance[np.diag_indices(len(points))] += noise + min_noises
        factor, _ = lapack.dpotrf(covariance)
        self._weights, _ = lapack.dpotrs(factor, self._y)
        self._root, _ = lapack.dtrtri(factor)  # The root of the inverse covariance.

    def _fitted(self, points: np.ndarray, min_noises: np.ndarray, *, is_rough: bool) -> np.ndarray:
        """Return the logarithms of the most probable parameters.

        After a few steps, only the better start continues.
        """
        part = np.linspace(0, len(points) - 1, min(len(points), _N_FITTED)).astype(int)
        loss = _Loss(self._squares(points[part]), self._y[part], min_noises[part])
        fits = []
        for log_inverse_square, log_noise in _STARTS[: 1 if is_rough else None]:
            start = np.full(points.shape[1] + 2, log_inverse_square)
            start[-2:] = 0.0, log_noise
            fits.append(minimize(loss, start, _N_FIRST_STEPS))
        best = min(fits, key=operator.attrgetter("value"))
        return minimize(loss, best.x, _N_STEPS, best.inverse_hessian).x

    def predict(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict each quantity, in units of the mean and scale of its known values.

        The standard deviations are the same for all quantities.
        """
        embedded = self._embedded(points)
        n_known = len(self._points)
        columns = np.hstack([self._root, self._weights])
        means = np.empty((len(points), self._y.shape[1]))
        variances = np.empty(len(points))
        for start in range(0, len(points), _N_ROWS):
            rows = slice(start, start + _N_ROWS)
            products = _product(self._covariance(embedded[rows]), columns)
            explained = products[:, :n_known]
            means[rows] = products[:, n_known:]
            variances[rows] = self._variance - np.einsum("ij,ij->i", explained, explained)
        return means, np.sqrt(np.maximum(variances, 1e-12))

    def log_probability_below_zero(self, points: np.ndarray) -> np.ndarray:
        """Return the logarithm of the probability that all quantities are below 0, by point."""
        from scipy.special import log_ndtr  # Only constraints need `log_ndtr`.

        means, deviations = self.predict(points)
        z = (self.zero - means) / deviations[:, None]
        return log_ndtr(z).sum(axis=1)

    def merits(self, points: np.ndarray, width: float | None = None) -> np.ndarray:
        """Return the merits of points, the logarithms of expected improvements [2].

        With a ``width``, a merit is a confidence bound at this many standard deviations. Workers
        with different widths choose different points [3].
        """
        from scipy.special import erfcx, ndtr

        columns, deviations = self.predict(points)
        [means] = columns.T
        if width is not None:
            return width * deviations - means
        z = (self._y.min() - means) / deviations
        low = np.minimum(z, -1.0)
        tail_factor = 1 + low * math.sqrt(math.pi / 2) * erfcx(-low / math.sqrt(2))
        of_low = np.log(np.maximum(tail_factor, 1e-17)) - 0.5 * (low * low + math.log(2 * math.pi))
        high = np.maximum(z, -1.0)
        of_high = np.log(np.exp(-0.5 * high * high) / math.sqrt(2 * math.pi) + high * ndtr(high))
        return np.where(z < -1, of_low, of_high) + np.log(deviations)

    def _squares(self, points: np.ndarray) -> np.ndarray:
        """Return the squared distances along each coordinate, for all pairs of points."""
        first, second = np.triu_indices(len(points), 1)
        squares = (points[first] - points[second]) ** 2
        is_choice = self._n_choices > 0
        squares[:, is_choice] = squares[:, is_choice] > 0
        return np.asfortranarray(squares)

    def _embedded(self, points: np.ndarray) -> np.ndarray:
        """Return points in units of the lengths, with a coordinate for each choice.

        One product of matrices then gives all distances. If a point lacks a categorical
        coordinate, it has the same distance from each choice.
        """
        columns = []
        roots = np.sqrt(5 * self._inverse_squares)
        for coordinate, root, n in zip(points.T, roots, self._n_choices, strict=True):
            if n == 0:
                columns.append(root * coordinate[:, None])
            else:
                units = np.unique([*(np.arange(n) + 0.5) / n, 0.5])
                columns.append(root * math.sqrt(0.5) * (coordinate[:, None] == units))
        return np.hstack(columns)

    def _covariance(self, embedded: np.ndarray) -> np.ndarray:
        """Return the covariances of embedded points with the points of the fit."""
        squares = _product(embedded, -2 * self._points.T)
        squares += (embedded * embedded).sum(axis=1)[:, None]
        squares += (self._points * self._points).sum(axis=1)
        r = np.sqrt(np.maximum(squares, 0.0, out=squares), out=squares)
        covariance = (r / 3 + 1) * r + 1
        covariance *= self._variance * np.exp(-r)
        return covariance


class _Loss:
    """The negative logarithm of the posterior density of a process's parameters, with gradient.

    The parameters are the logarithms of the inverse squared lengths, the variance and the noise.
    Each column of ``y`` is a quantity. The loss of several quantities is the sum of their losses.
    """

    def __init__(self, squares: np.ndarray, y: np.ndarray, min_noises: np.ndarray) -> None:
        self._squares = squares
        self._y = y
        self._min_noises = min_noises
        self._first, self._second = np.triu_indices(len(y), 1)
        self._pairs = self._first + len(y) * self._second

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        from scipy.linalg import lapack

        theta = np.clip(theta, -_MAX_LOG, _MAX_LOG)
        parameters = np.exp(theta)
        inverse_squares = parameters[:-2]
        variance, noise = parameters[-2:]
        y = self._y
        n, n_quantities = y.shape
        r = np.sqrt(np.einsum("ij,j", self._squares, 5 * inverse_squares))
        decay = variance * np.exp(-r)
        covariances = decay * (1 + r + r * r / 3)
        matrix = np.zeros(n * n)
        matrix[self._pairs] = covariances  # The upper triangle, column by column.
        matrix[:: n + 1] = variance + noise + self._min_noises
        factor, failure = lapack.dpotrf(matrix.reshape(n, n, order="F"))
        if failure:
            return 1e10, np.zeros(len(theta))
        weights, _ = lapack.dpotrs(factor, y)
        root, _ = lapack.dtrtri(factor)
        loss = 0.5 * (y * weights).sum() + n_quantities * np.log(factor.diagonal()).sum()
        # The derivative of minus the loss with respect to each covariance; on the diagonal, half
        # of it.
        inverse = np.empty((n, n))
        for start in range(0, n, _N_TRIANGLE_ROWS):  # The lower triangle, row by row.
            columns = slice(start, start + _N_TRIANGLE_ROWS)
            inverse[start:, columns] = root[start:, start:] @ root[columns, start:].T
        of_pairs = (weights[self._first] * weights[self._second]).sum(axis=1)
        of_pairs -= n_quantities * inverse.ravel()[self._pairs]
        of_diagonal = 0.5 * ((weights * weights).sum() - n_quantities * inverse.trace())
        slope = np.empty(len(theta))
        slope[:-2] = inverse_squares * np.einsum(
            "i,ij", of_pairs * (-5 / 6) * (1 + r) * decay, self._squares
        )
        slope[-2] = of_pairs @ covariances + variance * of_diagonal
        slope[-1] = noise * of_diagonal

        loss += _LENGTH_RATE * (inverse_squares + 1 / inverse_squares).sum()
        loss += variance - theta[-2] + _NOISE_RATE * noise - _NOISE_SHAPE * theta[-1]
        slope[:-2] += _LENGTH_RATE * (1 / inverse_squares - inverse_squares)
        slope[-2:] += 1 - variance, _NOISE_SHAPE - _NOISE_RATE * noise
        return float(loss), -slope
