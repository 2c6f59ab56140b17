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

The comments cite the equations by these numbers. References and deviations are those that
``AdaptiveSimulatedAnnealingSampler`` names.
"""

import dataclasses
import functools
import math
import statistics

import numpy as np

from adnn_optuna.samplers._local_model import PointPool, sensitivities
from adnn_optuna.samplers._mixed import (
    N_NEAR,
    Conditions,
    best_known,
    draw_branch,
    is_told,
    is_untried,
    model_near,
    model_of,
    most_promising,
    nearest,
    rounded,
    without_nan,
)
from adnn_optuna.samplers._random_numbers import ACCEPT, BRANCH, GENERATE, REFINE, uniforms
from adnn_optuna.samplers._unit_interval import Levels

_MIN_TEMPERATURE = 1e-12  # Below this, (2) is all rounding.
# The largest Q/D. With it nothing cools before three quarters of the budget, and beyond it the
# powers of annealing times overflow.
MAX_EXPONENT = 20.0
_UNKNOWN_N_TRIALS = 100  # The budget that the schedule is made for if it is unknown.
_N_COST_SAMPLES = 5  # Number_Cost_Samples
_N_MODEL_POINTS = 40  # The model is fitted to so many of the points, those nearest to the current.
_N_FEW_POINTS = 60  # With so many, the rule for several workers is no better than that for one.
_N_LATEST = 5  # Then so many of the latest are among the model's points, wherever they are.
_LAST_PART = 0.8  # After this part of the budget, all points are chosen by the model.
_N_UNMODELLED = 16  # Of so many moves, the first that leads to a new point is taken.
_N_FIRST = 5  # So many come from everywhere where there are categories or integers.
# With more dimensions, an exponent of Q/D would freeze the walk after its first points: it cools
# as with 4.
_MAX_COOLING_DIMS = 8
_MANY_COOL_AS = 4
_REANNEALING_PERIOD = 10
_MAX_SENSITIVITY_RATIO = 1e4
# The same samples are asked for again by each point, and exact sums take most of a replay's time.
_pstdev = functools.lru_cache(statistics.pstdev)


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
    """The definition of an annealing except its seed: the arguments of the sampler."""

    n_trials: int | None = None  # N
    initial_temperature: float = 1.0  # T_0
    quench: float = 1.0  # Q
    n_candidates: int = 256
    has_reannealing: bool = False

    def budget(self, n_generated: int) -> float:
        """Return N, which grows with the generated points where these outgrow it."""
        return float(max(self.n_trials or _UNKNOWN_N_TRIALS, n_generated, 2))


class AdaptiveSimulatedAnnealing:
    """The state of an annealing, as told so far.

    Points are arrays of one number in [0, 1] for each coordinate, NaN where unknown. What it holds
    is replaced and never changed: `copy.copy` is enough.
    """

    def __init__(self, seed: int, options: Options) -> None:
        self._seed = seed
        self._options = options
        self._names: tuple[str, ...] = ()
        self._n_choices = np.empty(0, dtype=np.int64)
        self._levels: tuple[Levels, ...] = ()
        self._cost_samples: tuple[float, ...] = ()
        self._pool = PointPool()
        self._k_offsets = np.empty(0)  # The annealing times k_i, less the index of the point.
        self._best_x = np.empty(0)
        self._best_f = math.inf
        self.x = np.empty(0)
        self.f: float | None = None
        self.k_c = 0

    def add_coordinate(self, name: str, n_choices: int = 0, levels: Levels = None) -> None:
        """Add a coordinate: numerical, perhaps with levels and bounds between them, or choices."""
        self._names += (name,)
        self._levels += (levels,)
        self._n_choices = np.append(self._n_choices, n_choices)
        # Points so far had no such coordinate, and did not count for it.
        self._k_offsets = np.append(self._k_offsets, -float(len(self._pool)))
        self._pool = self._pool.with_coordinate()
        self.x = np.append(self.x, np.nan)
        self._best_x = np.append(self._best_x, np.nan)

    def rescale(self, name: str, start: float, end: float, levels: Levels) -> None:
        """Give a coordinate another scale, on which 0 and 1 of the old one are these places."""
        i = self._names.index(name)
        self._levels = (*self._levels[:i], levels, *self._levels[i + 1 :])

        def on_new_scale(points: np.ndarray) -> np.ndarray:
            points = points.copy()
            points[..., i] = start + points[..., i] * (end - start)
            return np.where(np.isnan(points), np.nan, rounded(points, self._levels))

        self.x, self._best_x = on_new_scale(self.x), on_new_scale(self._best_x)
        self._pool = dataclasses.replace(self._pool, points=on_new_scale(self._pool.points))

    @property
    def _is_finite(self) -> np.ndarray:
        """Which coordinates have finitely many values."""
        pairs = zip(self._n_choices, self._levels, strict=True)
        return np.array([n > 0 or levels is not None for n, levels in pairs], dtype=bool)

    def rate(self, n_dims: int, n_generated: int) -> tuple[float, float]:
        """Return c and Q/D (4)."""
        budget = self._options.budget(n_generated)
        n_cooling = n_dims if n_dims <= _MAX_COOLING_DIMS else _MANY_COOL_AS
        exponent = min(self._options.quench / n_cooling, MAX_EXPONENT)
        # T is T_0 N^-3 after N points.
        return 3 * math.log(budget) * budget**-exponent, exponent

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
        c, exponent = self.rate(n_dims, index)
        decay = np.exp(-c * np.maximum(index + k_offsets, 0.0) ** exponent)
        return np.asarray(np.maximum(self._options.initial_temperature * decay, _MIN_TEMPERATURE))

    def cost_temperature(self, index: int) -> float:
        """Return the temperature at which a point is accepted (6)."""
        if len(self._cost_samples) < 2:
            return 0.0
        c, exponent = self.rate(self.n_dims, index)
        return self._initial_cost_temperature * math.exp(-c * self.k_c**exponent)

    @property
    def _initial_cost_temperature(self) -> float:
        # Sums and squares of large floats overflow, but not those of `statistics`.
        return float(0.1 * _pstdev(self._cost_samples))

    def draw(
        self, name: str, n_choices: int, x: float, *, index: int, key: int, n_dims: int
    ) -> float:
        """Draw a coordinate that the state does not know, about ``x``, from everywhere if NaN."""
        u = uniforms(self._seed, key, GENERATE, name, 1)
        center, T = np.clip([x], 0.0, 1.0), self.temperatures(index, n_dims, np.zeros(1))
        return float(move(center, u, T, np.array([n_choices]))[0])

    def ask(self, index: int, key: int, n_pending: int = 0) -> np.ndarray:
        """Generate a point while the values of some are awaited."""
        if not self._names:
            return np.empty(0)
        if self._is_finite.any():
            return self._ask_mixed(index, key)
        x, T = np.clip(self.x, 0.0, 1.0), self.temperatures(index)
        if self._is_on_plateau:
            x[:] = np.nan
        # Values are awaited that would have told much: then the model chooses three of four.
        looks_ahead = n_pending > 0 and len(self._pool) < _N_FEW_POINTS
        if self._is_modelled(index, looks_ahead=looks_ahead):
            # Two moves, the second from where the first one led, as if one had been told; and by
            # the values as they are: not all that is awaited follows from the same smoothing.
            is_double = looks_ahead and index % 4 > 0
            size, n_latest = max(_N_MODEL_POINTS, 4 * self.n_dims), self._n_latest(index)
            model = model_near(
                x, self._pool, self._n_choices, size, n_latest=n_latest, is_exact=is_double
            )
            if model is not None:
                candidates = self._generate(x, T, key, self._options.n_candidates)
                if is_double:
                    x = candidates[most_promising(model, candidates)]
                    refined = self._generate(x, T, key, len(candidates), REFINE)
                    candidates = np.vstack([x, refined])
                return np.asarray(candidates[most_promising(model, candidates)])
        return np.asarray(self._generate(x, T, key, 1)[0])

    def _ask_mixed(self, index: int, key: int) -> np.ndarray:
        """Generate a point where coordinates have finitely many values, in a branch that is drawn.

        But where this is the best one, and no model of it alone predicts its values better than
        that of all does, the model of all chooses from anywhere.
        """
        points, values = self._pool.points, self._pool.values
        conditions = Conditions.of(points, self._is_finite)
        x, T, branch, model = np.clip(self.x, 0.0, 1.0), self.temperatures(index), None, None
        is_modelled = self._is_modelled(index, looks_ahead=False)
        if conditions.children:
            # All branches are alike at first, and the best ones are drawn ever more often.
            exponent = 1 + 2 * len(values) / self._options.budget(len(values))
            u = float(uniforms(self._seed, key, BRANCH, "", 1)[0])
            branch = draw_branch(points, values, u, exponent)
            T = self.temperatures(index, int(branch.has.sum()))
            if is_modelled:
                model = model_of(branch, points, values, self._n_choices)
                if model is None and branch.is_best:
                    branch = None
        if branch is not None:
            x = best_known(np.vstack([points[branch.rows], points[np.argsort(values)]]))
        is_start = len(values) < _N_FIRST and self._options.initial_temperature == 1
        if is_start or self._is_on_plateau:
            x[:] = np.nan
        if is_modelled and model is None:
            n_latest = self._n_latest(index)
            model = model_near(x, self._pool, self._n_choices, N_NEAR, n_latest=n_latest)

        size = self._options.n_candidates if model is not None else _N_UNMODELLED
        candidates = rounded(self._generate(x, T, key, size), self._levels)
        has = conditions.presence(candidates)
        untried = is_untried(candidates, points, self._n_choices, self._is_finite)
        is_new = (untried & has).any(axis=1)
        if branch is not None:
            leaves = (has != branch.has).any(axis=1) & ~is_new
            candidates[leaves] = conditions.led_to(candidates[leaves], x)
            has = conditions.presence(candidates)
        filled = np.where(has, candidates, 0.5)
        is_left = np.ones(size, dtype=bool)
        if model is None or not model.is_noisy:  # Then nothing is told twice.
            is_left = ~is_told(filled, without_nan(points), self._is_finite)
        if model is None:
            return np.asarray(candidates[np.argmax(is_left)])
        for wanted in (is_left & is_new, is_left, np.ones(size, dtype=bool)):
            if wanted.any():
                break
        row = most_promising(model, filled[wanted], explores=index // 2 % 2 == 1)
        return np.asarray(candidates[wanted][row])

    @property
    def _is_on_plateau(self) -> bool:
        """Whether most values are the first one and none is better: no place is known to be."""
        is_known = len(self._pool) > 2
        return is_known and np.median(self._pool.values) == self._best_f == self._cost_samples[0]

    def _is_modelled(self, index: int, *, looks_ahead: bool) -> bool:
        """Return whether the point is chosen by the model."""
        is_due = index % 2 == 0 or self._n_latest(index) > 0
        # The model must see more points than its linear part has coefficients.
        is_known = len(self._pool) >= len(self._names) + 2
        has_model = self._options.n_candidates > 1
        return has_model and is_known and (is_due or (looks_ahead and index % 4 == 1))

    def _n_latest(self, index: int) -> int:
        """Return how many of the latest points, all the model's, it is to learn from anyway."""
        n_trials = self._options.n_trials or 0
        return _N_LATEST if _LAST_PART * n_trials <= index < n_trials else 0

    def _generate(
        self, x: np.ndarray, T: np.ndarray, key: int, size: int, purpose: int = GENERATE
    ) -> np.ndarray:
        us = [uniforms(self._seed, key, purpose, name, size) for name in self._names]
        return move(x, np.stack(us, axis=-1), T, self._n_choices)

    def tell(self, index: int | None, x: np.ndarray, f: float) -> bool:
        """Take in a point's value, NaN if it has none, and return whether it is accepted.

        A point that was not asked for has no index; it is accepted if it is better.
        """
        if math.isnan(f):
            return False
        if math.isfinite(f):
            self._pool = self._pool.with_point(x, f)
            self._k_offsets = self._k_offsets - np.isnan(x)
            if len(self._cost_samples) < _N_COST_SAMPLES:
                self._cost_samples += (f,)
        if f < self._best_f:
            self._best_x, self._best_f = np.where(np.isnan(x), self._best_x, x), f
        is_accepted = self._is_accepted(index, f)
        if is_accepted:
            # Coordinates that this point lacks, in a search space that changes, keep their value.
            self.x, self.f = np.where(np.isnan(x), self.x, x), f
            self.k_c += index is not None
        if self._options.has_reannealing and index is not None:
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
        if (index + 1) % _REANNEALING_PERIOD:
            return
        columns, ratios = self._sensitivity_ratios()
        if ratios is None:
            return
        # Damped, and without cooling or heating all of them: it pays where parameters are badly
        # scaled, and would cost too much where they are not.
        ratios = np.sqrt(ratios)
        ratios /= np.exp(np.log(ratios).mean())
        T = self.temperatures(index, self.n_dims, np.zeros(len(columns)))
        self._reanneal(index, columns, T[columns] * ratios)

    def _sensitivity_ratios(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return which coordinates can be re-annealed, and their s_max / s_i, if that is known."""
        columns = (self._n_choices == 0) & ~np.isnan(self._best_x)
        size = 4 * int(columns.sum()) + 6
        if len(self._pool) < size:
            return columns, None
        best, points = without_nan(self._best_x), without_nan(self._pool.points)
        rows = nearest(points, best, self._n_choices, size)
        s = sensitivities(points[rows][:, columns], self._pool.values[rows], best[columns])
        if s is None or s.max() == 0:
            return columns, None
        return columns, s.max() / np.maximum(s, s.max() / _MAX_SENSITIVITY_RATIO)

    def _reanneal(self, index: int, columns: np.ndarray, T: np.ndarray) -> None:
        """Give coordinates other temperatures (7)."""
        c, exponent = self.rate(self.n_dims, index)
        cooling = np.log(self._options.initial_temperature / T)
        with np.errstate(over="ignore"):  # With a tiny exponent, it takes forever.
            k = np.where(cooling > 0, (np.maximum(cooling, 0.0) / c) ** (1 / exponent), 1.0)  # (8)
        self._k_offsets = self._k_offsets.copy()
        self._k_offsets[columns] = k - index
