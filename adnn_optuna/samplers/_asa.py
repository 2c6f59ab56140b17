"""Ingber's adaptive simulated annealing (ASA) on the unit cube, minimising, with ask and tell.

In Ingber's notation, with D parameters, of which the i-th was generated k_i times:

1.  generating density    g(y) = 1 / (2 (|y| + T_i) ln(1 + 1/T_i)), -1 <= y <= 1
2.  its sampling          y = sgn(u - 1/2) T_i [(1 + 1/T_i)^|2u - 1| - 1], u uniform on [0, 1)
3.  temperatures          T_i = T_0i exp(-c_i k_i^(Q_i/D))
4.  their rate            c_i = m exp(-n Q_i/D), m = -ln(Temperature_Ratio_Scale),
                          n = ln(Temperature_Anneal_Scale)
5.  acceptance            h = exp(-(f_new - f) / T_c)
6.  cost temperature      T_c = T_c0 exp(-c_c k_c^(Q/D)), k_c counting acceptances
7.  re-annealing          T'_i = T_i s_max / s_i, s_i the sensitivity of f to x_i at the best point
8.  its annealing time    k_i = (ln(T_0i / T'_i) / c_i)^(D/Q_i), or 1 where T'_i >= T_0i
9.  its cost temperature  T_c0 = min(T_c0, max(|f|, |f_best|, |f - f_best|)), T_c no higher

The comments cite the equations by these numbers. References and deviations are those that
``AdaptiveSimulatedAnnealingSampler`` names.
"""

import dataclasses
import math

import numpy as np

from adnn_optuna.samplers._local_model import INTERPOLATION, LocalModel, PointPool, sensitivities
from adnn_optuna.samplers._random_numbers import ACCEPT, GENERATE, REFINE, uniforms

_MIN_TEMPERATURE = 1e-12  # Below this, (2) is all rounding.
# The largest Q/D. With it nothing cools before three quarters of the budget, and beyond it the
# powers of annealing times overflow.
_MAX_EXPONENT = 20.0
_UNKNOWN_N_TRIALS = 100  # The budget that the schedule is made for if it is unknown.
_N_COST_SAMPLES = 5  # Number_Cost_Samples
_N_MODEL_POINTS = 40  # The model is fitted to so many of the points, those nearest to the current.
_N_FEW_POINTS = 60  # With so many, the rule for several workers is no better than that for one.
_LAST_PART = 0.8  # After this part of the budget, all points are chosen by the model.
_REANNEALING_PERIOD = 10
_MAX_SENSITIVITY_RATIO = 1e4
_ACCEPTED_MODULUS = 100  # Acceptance_Frequency_Modulus
_GENERATED_MODULUS = 10_000  # Generated_Frequency_Modulus


def generating_cdf(y: np.ndarray, temperature: np.ndarray) -> np.ndarray:
    """Return the probability of a move up to ``y``, the integral of (1)."""
    # 1/2 + sgn(y)/2 ln(1 + |y|/T) / ln(1 + 1/T)
    ratio = np.log1p(np.abs(y) / temperature) / np.log1p(1 / temperature)
    return np.asarray(0.5 + 0.5 * np.copysign(ratio, y))


def generating_quantile(u: np.ndarray, temperature: np.ndarray) -> np.ndarray:
    """Return the move that is exceeded with probability ``1 - u`` (2)."""
    y = temperature * np.expm1(np.abs(2 * u - 1) * np.log1p(1 / temperature))
    return np.asarray(np.copysign(y, u - 0.5))


def generate(x: np.ndarray, u: np.ndarray, temperature: np.ndarray) -> np.ndarray:
    """Move coordinates by the part of (1) within [0, 1]: Ingber redraws one that leaves it."""
    lower = generating_cdf(-x, temperature)
    upper = generating_cdf(1 - x, temperature)
    y = generating_quantile(lower + u * (upper - lower), temperature)
    return np.asarray(np.clip(x + y, 0.0, 1.0))


def generate_choice(
    x: np.ndarray, u: np.ndarray, temperature: np.ndarray, n_choices: np.ndarray
) -> np.ndarray:
    """Move categorical coordinates, of which each choice has 1/n_choices of [0, 1].

    The choice changes as often as a numerical coordinate would move by more than half of such
    an interval; all other choices are then equally likely, as categories have no order.
    """
    p_stay = 2 * generating_cdf(0.5 / n_choices, temperature) - 1
    shift = 1 + np.floor((u - p_stay) / (1 - p_stay) * (n_choices - 1))
    moved = (np.floor(x * n_choices) + np.minimum(shift, n_choices - 1)) % n_choices
    return np.where(u < p_stay, x, (moved + 0.5) / n_choices)


def move(
    x: np.ndarray, u: np.ndarray, temperature: np.ndarray, n_choices: np.ndarray
) -> np.ndarray:
    """Move coordinates of both kinds, or from anywhere in those that are unknown."""
    moved = generate(x, u, temperature)
    columns = n_choices > 0
    if columns.any():
        moved[..., columns] = generate_choice(
            x[columns], u[..., columns], temperature[columns], n_choices[columns]
        )
    return np.where(np.isnan(x), u, moved)


@dataclasses.dataclass(frozen=True)
class Options:
    """What defines an annealing but for its seed: the arguments of the sampler."""

    n_trials: int | None = None  # N
    initial_temperature: float = 1.0  # T_0
    quench: float = 1.0  # Q
    n_candidates: int = 256
    has_reannealing: bool = False
    is_published: bool = False  # As in Ingber's code, ASA 30.53.

    def rate(self, n_dims: int, n_generated: int) -> tuple[float, float]:
        """Return c and Q/D (4); a budget that the generated points outgrow grows."""
        exponent = min(self.quench / n_dims, _MAX_EXPONENT)
        if self.is_published:
            m, anneal_scale = -math.log(1e-5), 100.0
        else:
            anneal_scale = float(max(self.n_trials or _UNKNOWN_N_TRIALS, n_generated, 2))
            m = 3 * math.log(anneal_scale)  # T is T_0 N^-3 after N points.
        return m * anneal_scale**-exponent, exponent


class AdaptiveSimulatedAnnealing:
    """The state of an annealing, as told so far.

    Points are arrays of one number in [0, 1] for each coordinate, NaN where unknown. Coordinates
    can be added at any time. What it holds is replaced and never changed: `copy.copy` is enough.
    """

    def __init__(self, seed: int, options: Options) -> None:
        self._seed = seed
        self._options = options
        self._names: tuple[str, ...] = ()
        self._n_choices = np.empty(0, dtype=np.int64)
        self._levels: tuple[tuple[np.ndarray, np.ndarray] | None, ...] = ()
        self._cost_samples: tuple[float, ...] = ()
        self._pool = PointPool()
        self._k_offsets = np.empty(0)  # The annealing times k_i, less the index of the point.
        self._best_x = np.empty(0)
        self._best_f = math.inf
        self._max_initial_cost_temperature = math.inf
        self._n_accepted_since = 0
        self.x = np.empty(0)
        self.f: float | None = None
        self.k_c = 0

    def add_coordinate(
        self, name: str, n_choices: int = 0, levels: tuple[np.ndarray, np.ndarray] | None = None
    ) -> None:
        """Add a coordinate: numerical, perhaps with levels and bounds between them, or choices."""
        self._names += (name,)
        self._levels += (levels,)
        self._n_choices = np.append(self._n_choices, n_choices)
        self._k_offsets = np.append(self._k_offsets, 0.0)
        self._pool = self._pool.with_coordinate()
        self.x = np.append(self.x, np.nan)
        self._best_x = np.append(self._best_x, np.nan)

    @property
    def n_dims(self) -> int:
        """The number of coordinates of the current point, D."""
        return max(int(np.count_nonzero(~np.isnan(self.x))), 1)

    def temperatures(
        self, index: int, n_dims: int | None = None, k_offsets: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the temperatures at which a point with an index is generated (3)."""
        n_dims = self.n_dims if n_dims is None else n_dims
        k_offsets = self._k_offsets if k_offsets is None else k_offsets
        c, exponent = self._options.rate(n_dims, index)
        decay = np.exp(-c * np.maximum(index + k_offsets, 0.0) ** exponent)
        return np.asarray(np.maximum(self._options.initial_temperature * decay, _MIN_TEMPERATURE))

    def cost_temperature(self, index: int) -> float:
        """Return the temperature at which a point is accepted (6)."""
        if len(self._cost_samples) < 2:
            return 0.0
        c, exponent = self._options.rate(self.n_dims, index)
        return self._initial_cost_temperature * math.exp(-c * self.k_c**exponent)

    @property
    def _initial_cost_temperature(self) -> float:
        size = max(map(abs, self._cost_samples)) or 1.0  # Squares of large values overflow.
        samples = [sample / size for sample in self._cost_samples]
        if self._options.is_published:
            mean = size * math.fsum(map(abs, samples)) / len(samples)
            return min(mean, self._max_initial_cost_temperature)
        mean = math.fsum(samples) / len(samples)
        variance = math.fsum((sample - mean) ** 2 for sample in samples) / len(samples)
        return 0.1 * size * math.sqrt(variance)

    def draw(
        self, name: str, n_choices: int, x: float, *, index: int, key: int, n_dims: int
    ) -> float:
        """Draw a coordinate that the state does not know, about ``x``, from everywhere if NaN."""
        u = uniforms(self._seed, key, GENERATE, name, 1)
        center = np.clip(np.array([x]), 0.0, 1.0)
        temperature = self.temperatures(index, n_dims, np.zeros(1))
        return float(move(center, u, temperature, np.array([n_choices]))[0])

    def ask(self, index: int, key: int, n_pending: int = 0) -> np.ndarray:
        """Generate a point while the values of some are awaited.

        The index is how far the annealing has come, the key what the random numbers depend on.
        """
        if not self._names:
            return np.empty(0)
        x = np.clip(self.x, 0.0, 1.0)
        if len(self._pool) > 2 and (self._pool.values == self._pool.values[0]).all():
            x[:] = np.nan  # On a plateau no place is better than any other.
        # Values are awaited that would have told much: then the model chooses three of four.
        looks_ahead = n_pending > 0 and len(self._pool) < _N_FEW_POINTS
        if self._is_modelled(index, looks_ahead=looks_ahead):
            points, values = self._pool.nearest(np.where(np.isnan(x), 0.5, x), _N_MODEL_POINTS)
            model = LocalModel(points, self._n_choices)
            size = self._options.n_candidates
            if looks_ahead and index % 4:
                # Two moves, the second from where the first one led, as if one had been told
                # meanwhile; and by the values as they are, so that not all points that are
                # awaited follow from the same smoothing.
                if model.fit(values, [INTERPOLATION]):
                    x = self._most_promising(model, self._generate(x, index, key, size))
                    refined = self._generate(x, index, key, size, REFINE)
                    return self._most_promising(model, np.vstack([x, refined]))
            elif model.fit(values):
                return self._most_promising(model, self._generate(x, index, key, size))
        return np.asarray(self._generate(x, index, key, 1)[0])

    def _most_promising(self, model: LocalModel, candidates: np.ndarray) -> np.ndarray:
        """Return the best candidate, rounded to values that its parameters can have.

        Where these are finitely many, and there is no noise, points that were told are left out.
        """
        candidates = candidates.copy()
        for column, of_column in enumerate(self._levels):
            if of_column is not None:
                units, between = of_column
                rounded = units[np.searchsorted(between, candidates[:, column])]
                candidates[:, column] = rounded
        pairs = zip(self._n_choices, self._levels, strict=True)
        is_finite = np.array([n > 0 or of is not None for n, of in pairs])
        points = self._pool.points
        if is_finite.all() and not model.is_noisy:
            told = (candidates[:, None] == points).all(axis=-1).any(axis=-1)
            candidates = candidates[~told] if not told.all() else candidates
        # Of a parameter that never had another value, the model knows nothing, and little of a
        # choice that was told once, perhaps with unlucky other parameters.
        is_new = np.zeros(len(candidates), dtype=bool)
        for i in np.flatnonzero(is_finite):
            told = points[:, i]
            if self._n_choices[i]:
                is_new |= (candidates[:, i, None] == told).sum(axis=1) < 2
            elif (told == told[0]).all():
                is_new |= candidates[:, i] != told[0]
        candidates = candidates[is_new] if is_new.any() else candidates
        return np.asarray(candidates[np.argmin(model.predict(candidates))])

    def _is_modelled(self, index: int, *, looks_ahead: bool) -> bool:
        """Return whether the point is chosen by the model."""
        n_trials = self._options.n_trials or 0
        is_due = index % 2 == 0 or _LAST_PART * n_trials <= index < n_trials
        # The model must see more points than its linear part has coefficients.
        is_known = len(self._pool) >= len(self._names) + 2
        has_model = self._options.n_candidates > 1 and not self._options.is_published
        return has_model and is_known and (is_due or (looks_ahead and index % 4 == 1))

    def _generate(
        self, x: np.ndarray, index: int, key: int, size: int, purpose: int = GENERATE
    ) -> np.ndarray:
        us = [uniforms(self._seed, key, purpose, name, size) for name in self._names]
        return move(x, np.stack(us, axis=-1), self.temperatures(index), self._n_choices)

    def tell(self, index: int | None, x: np.ndarray, f: float) -> bool:
        """Take in a point's value, NaN if it has none, and return whether it is accepted.

        A point that was not asked for has no index; it is accepted if it is better.
        """
        if math.isnan(f):
            return False
        if math.isfinite(f):
            self._pool = self._pool.with_point(x, f)
            if len(self._cost_samples) < _N_COST_SAMPLES:
                self._cost_samples += (f,)
        if f < self._best_f:
            self._best_x, self._best_f = np.where(np.isnan(x), self._best_x, x), f
        is_accepted = self._is_accepted(index, f)
        if is_accepted:
            # Coordinates that this point lacks, in a search space that changes, keep their value.
            self.x = np.where(np.isnan(x), self.x, x)
            self.f = f
            self.k_c += index is not None
            self._n_accepted_since += 1
        if index is not None:
            self._reanneal_if_due(index)
        return is_accepted

    def _is_accepted(self, index: int | None, f: float) -> bool:
        if self.f is None or f <= self.f:
            return True
        if index is None or (T_c := self.cost_temperature(index)) == 0:
            return False
        u = float(uniforms(self._seed, index, ACCEPT, "", 1)[0])
        return u < math.exp(-(f - self.f) / T_c)  # (5)

    def _reanneal_if_due(self, index: int) -> None:
        if self._options.is_published:
            is_due = self._n_accepted_since >= _ACCEPTED_MODULUS or (
                index > 0 and index % _GENERATED_MODULUS == 0
            )
        else:
            is_due = self._options.has_reannealing and (index + 1) % _REANNEALING_PERIOD == 0
        if is_due:
            self._n_accepted_since = 0
            self._reanneal(index)
            if self._options.is_published:
                self._reanneal_cost(index)

    def _reanneal(self, index: int) -> None:
        columns = (self._n_choices == 0) & ~np.isnan(self._best_x)
        size = 4 * int(columns.sum()) + 6
        if len(self._pool) < size:
            return
        best = np.where(np.isnan(self._best_x), 0.5, self._best_x)
        points, values = self._pool.nearest(best, size)
        s = sensitivities(points[:, columns], values, best[columns])
        if s is None or s.max() == 0:
            return
        ratios = s.max() / np.maximum(s, s.max() / _MAX_SENSITIVITY_RATIO)
        if not self._options.is_published:
            # Damped, and without cooling or heating all of them: it pays where parameters are
            # badly scaled, and would cost too much where they are not.
            ratios = np.sqrt(ratios)
            ratios /= np.exp(np.log(ratios).mean())
        c, exponent = self._options.rate(self.n_dims, index)
        k_offsets = self._k_offsets if self._options.is_published else np.zeros(len(columns))
        T = self.temperatures(index, self.n_dims, k_offsets)[columns] * ratios  # (7)
        cooling = np.log(self._options.initial_temperature / T)
        with np.errstate(over="ignore"):  # With a tiny exponent, it takes forever.
            k = np.where(cooling > 0, (np.maximum(cooling, 0.0) / c) ** (1 / exponent), 1.0)  # (8)
        self._k_offsets = self._k_offsets.copy()
        self._k_offsets[columns] = k - index

    def _reanneal_cost(self, index: int) -> None:
        assert self.f is not None
        T_c = self.cost_temperature(index)
        bound = max(abs(self.f), abs(self._best_f), abs(self.f - self._best_f))
        self._max_initial_cost_temperature = min(self._initial_cost_temperature, bound)  # (9)
        cooling = math.log(self._max_initial_cost_temperature / T_c) if T_c > 0 else 0.0
        if 0 < cooling < math.inf:
            c, exponent = self._options.rate(self.n_dims, index)
            self.k_c = math.ceil((cooling / c) ** (1 / exponent))
