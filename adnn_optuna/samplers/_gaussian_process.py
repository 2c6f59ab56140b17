"""A Gaussian process of the objective, fitted to the trials so far, as in [1].

References:
    [1] C. E. Rasmussen and C. K. I. Williams. Gaussian processes for machine learning. MIT Press,
    2006.

    [2] S. Ament et al. Unexpected improvements to expected improvement for Bayesian optimization.
    NeurIPS 2023.

    [3] F. Hutter, H. H. Hoos and K. Leyton-Brown. Parallel algorithm configuration. LION 6, 2012.
"""

import math

import numpy as np

_MIN_NOISE = 1e-6
_GUESS_NOISE = 0.1  # The least share of the variance that is noise where a value is a guess.
_NOISY = 0.03  # A larger share of the variance is noise, and not what the kernel cannot follow.
# Logarithms of the inverse squared lengths, and of the noise, that the fit begins with: what looks
# like noise may follow from short lengths.
_STARTS = (0.0, math.log(0.1)), (3.0, math.log(0.001))
_N_ROWS = 16
_MAX_LOG = 20.0
# The logarithm of the prior density has maxima at a length and a variance of 1, and at a small
# noise.
_LENGTH_RATE, _NOISE_SHAPE, _NOISE_RATE = 0.1, 0.1, 30.0


def _blocks(matrix: np.ndarray) -> list[np.ndarray]:
    """Return a few rows at a time: products of larger matrices are shared out among threads.

    These wait for each other, for a hundred times as long where others compute, too.
    """
    return [matrix[i : i + _N_ROWS] for i in range(0, len(matrix), _N_ROWS)]


class GaussianProcess:
    """The Matern kernel 5/2 with a length for each coordinate, and a noise, of points in [0, 1].

    The values are to be minimised; guesses among them count as noisy. Two choices are as far from
    each other as 0 is from 1. The best of ``n_fits`` fits, up to two, is taken.
    """

    def __init__(
        self,
        points: np.ndarray,
        values: np.ndarray,
        n_choices: np.ndarray,
        n_fits: int = 2,
        is_guess: np.ndarray | None = None,
    ) -> None:
        from scipy.linalg import lapack  # It takes as long to import as all of Optuna.
        from scipy.optimize import minimize

        self._points, self._is_choice = points, n_choices > 0
        values = values / (np.abs(values).max() or 1.0)  # Squares of large values overflow.
        scale = values.std() or 1.0
        self._y, self.zero = (values - values.mean()) / scale, -values.mean() / scale
        min_noises = np.full(len(points), _MIN_NOISE)
        if is_guess is not None:
            min_noises[is_guess] = _GUESS_NOISE
        loss = _Loss(self._squares(points), self._y, min_noises)
        fits = [
            minimize(
                loss,
                [log_inverse_square] * points.shape[1] + [0.0, log_noise],
                jac=True,
                method="BFGS",  # SciPy's L-BFGS-B waits for threads, too.
                options={"maxiter": 40, "gtol": 1e-2},
            )
            for log_inverse_square, log_noise in _STARTS[:n_fits]
        ]
        theta = min(fits, key=lambda fit: fit.fun).x
        self.parameters = np.exp(np.clip(theta, -_MAX_LOG, _MAX_LOG))
        self._inverse_squares, (self._variance, noise) = np.split(self.parameters, [-2])
        self.is_noisy = bool(noise > _NOISY)
        covariance = self._covariance(points)
        covariance[np.diag_indices(len(points))] += noise + min_noises
        factor, _ = lapack.dpotrf(covariance)
        self._weights, _ = lapack.dpotrs(factor, self._y)
        self._root, _ = lapack.dtrtri(factor)  # Of the inverse of the covariance.

    def predict(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict values, in units of those known from their mean, with standard deviations."""

        def predicted(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            covariance = self._covariance(points)
            variances = self._variance - ((covariance @ self._root) ** 2).sum(axis=1)
            return covariance @ self._weights, np.sqrt(np.maximum(variances, 1e-12))

        means, deviations = np.concatenate([*map(predicted, _blocks(points))], axis=1)
        return means, deviations

    def log_probability_below_zero(self, points: np.ndarray) -> np.ndarray:
        """Return the logarithm of the probability that the values of points are below 0."""
        from scipy.special import log_ndtr  # Only constraints need it.

        means, deviations = self.predict(points)
        return np.asarray(log_ndtr((self.zero - means) / deviations))

    def merits(self, points: np.ndarray, width: float | None = None) -> np.ndarray:
        """Return how much is expected of points: the logarithm of the expected improvement [2].

        With a ``width``, it is a confidence bound of so many standard deviations. With another one
        for each of several workers, they do not all choose the same [3].
        """
        from scipy.special import erfcx, ndtr

        means, deviations = self.predict(points)
        if width is not None:
            return np.asarray(width * deviations - means)
        z = (self._y.min() - means) / deviations
        low = np.minimum(z, -1.0)
        tail_factor = 1 + low * math.sqrt(math.pi / 2) * erfcx(-low / math.sqrt(2))
        of_low = np.log(np.maximum(tail_factor, 1e-17)) - 0.5 * (low * low + math.log(2 * math.pi))
        high = np.maximum(z, -1.0)
        of_high = np.log(np.exp(-0.5 * high * high) / math.sqrt(2 * math.pi) + high * ndtr(high))
        return np.asarray(np.where(z < -1, of_low, of_high) + np.log(deviations))

    def _squares(self, points: np.ndarray) -> np.ndarray:
        """Return the squared distances of all pairs of points along each coordinate."""
        first, second = np.triu_indices(len(points), 1)
        squares = (points[first] - points[second]) ** 2
        squares[:, self._is_choice] = squares[:, self._is_choice] > 0
        return np.asfortranarray(squares)

    def _covariance(self, points: np.ndarray) -> np.ndarray:
        """Return the covariances with the points that it is fitted to."""
        roots = np.sqrt(self._inverse_squares) * ~self._is_choice
        a, b = points * roots, self._points * roots
        squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T
        for i in np.flatnonzero(self._is_choice):
            squares += self._inverse_squares[i] * (points[:, None, i] != self._points[:, i])
        r = np.sqrt(5 * np.maximum(squares, 0.0))
        return np.asarray(self._variance * np.exp(-r) * (1 + r + r * r / 3))


class _Loss:
    """The negative logarithm of the posterior density of a process's parameters, and its slope.

    The parameters are the logarithms of the inverse squared lengths, the variance and the noise.
    """

    def __init__(self, squares: np.ndarray, y: np.ndarray, min_noises: np.ndarray) -> None:
        self._squares, self._y, self._min_noises = squares, y, min_noises
        self._pairs = np.triu_indices(len(y), 1)

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        from scipy.linalg import lapack

        theta = np.clip(theta, -_MAX_LOG, _MAX_LOG)
        *_, variance, noise = parameters = np.exp(theta)
        inverse_squares = parameters[:-2]
        r = np.sqrt(5 * np.einsum("ij,j", self._squares, inverse_squares))
        decay = variance * np.exp(-r)
        # The upper triangle, in the order of Fortran.
        matrix = np.zeros((len(self._y), len(self._y)), order="F")
        matrix[self._pairs] = decay * (1 + r + r * r / 3)
        matrix[np.diag_indices(len(matrix))] = variance + noise + self._min_noises
        factor, failure = lapack.dpotrf(matrix)
        if failure:
            return 1e10, np.zeros(len(theta))
        weights, _ = lapack.dpotrs(factor, self._y)
        root, _ = lapack.dtrtri(factor)
        inverse = np.vstack([rows @ root.T for rows in _blocks(root)])
        loss = 0.5 * (self._y @ weights) + np.log(factor.diagonal()).sum()
        # The slope of minus the loss by each covariance, halved on the diagonal.
        of_pairs = (np.outer(weights, weights) - inverse)[self._pairs]
        of_diagonal = 0.5 * (weights @ weights - inverse.trace())
        slope = np.empty(len(theta))
        slope[:-2] = inverse_squares * np.einsum(
            "i,ij", of_pairs * (-5 / 6) * (1 + r) * decay, self._squares
        )
        slope[-2] = of_pairs @ matrix[self._pairs] + variance * of_diagonal
        slope[-1] = noise * of_diagonal

        loss += _LENGTH_RATE * (inverse_squares + 1 / inverse_squares).sum()
        loss += variance - theta[-2] + _NOISE_RATE * noise - _NOISE_SHAPE * theta[-1]
        slope[:-2] += _LENGTH_RATE * (1 / inverse_squares - inverse_squares)
        slope[-2:] += 1 - variance, _NOISE_SHAPE - _NOISE_RATE * noise
        return float(loss), -slope
