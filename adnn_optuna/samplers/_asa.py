"""Ingber's adaptive simulated annealing (ASA) on the unit cube, minimising, with ask and tell.

The equations are in Ingber's notation. There are D parameters, and k_i is the number of times that
parameter i was generated:

1.  generating density    g(y) = 1 / (2 (|y| + T_i) ln(1 + 1/T_i)), -1 <= y <= 1
2.  its sampling          y = sgn(u - 1/2) T_i [(1 + 1/T_i)^|2u - 1| - 1], u uniform on [0, 1)
3.  temperatures          T_i = T_0i exp(-c_i k_i^(Q_i/D))
4. their rate c_i = m exp(-n Q_i/D), m = -ln(Temperature_Ratio_Scale), n =
                          ln(Temperature_Anneal_Scale)
5.  acceptance            h = exp(-(f_new - f) / T_c)
6.  cost temperature      T_c = T_c0 exp(-c_c k_c^(Q/D)), k_c counting acceptances
7.  re-annealing          T'_i = T_i s_max / s_i, s_i the sensitivity of f to x_i at the best point
8.  its annealing time    k_i = (ln(T_0i / T'_i) / c_i)^(D/Q_i), or 1 where T'_i >= T_0i

The comments cite the equations by these numbers. The docstring of
``AdaptiveSimulatedAnnealingSampler`` has the references, and the changes to Ingber's algorithm.
"""

import copy
import dataclasses
import functools
import math
import statistics
from collections.abc import Sequence

import numpy as np

from adnn_optuna.samplers._branches import Branches, best_known, draw_branch
from adnn_optuna.samplers._constraints import ConstraintPool, Feasibility, violation_of
from adnn_optuna.samplers._gaussian_process import GaussianProcess
from adnn_optuna.samplers._local_model import PointPool, sensitivities
from adnn_optuna.samplers._mixed import (
    N_LATEST,
    is_told,
    is_untried,
    model_near,
    nearest,
    process_near,
    rounded,
    without_nan,
)
from adnn_optuna.samplers._moves import N_SEARCH_UNIFORMS, move, search
from adnn_optuna.samplers._random_numbers import (
    ACCEPT,
    BRANCH,
    FIRST,
    GENERATE,
    REFINE,
    SEARCH,
    uniforms,
)
from adnn_optuna.samplers._reports import ReportPool, Reports
from adnn_optuna.samplers._unit_interval import Levels

# The largest Q/D. With this exponent, temperatures hardly change in the first three quarters of
# the budget. With larger exponents, powers of annealing times overflow.
MAX_EXPONENT = 20.0
_UNKNOWN_N_TRIALS = 100  # The budget of the schedule if `n_trials` is unknown.
# With more than 8 dimensions, the exponent Q/D would freeze the walk after its first points. So
# the exponent is Q/4.
_MAX_COOLING_DIMS = 8
_MANY_COOL_AS = 4
_MIN_TEMPERATURE = 1e-12  # Below this temperature, rounding errors dominate in (2).
_N_COST_SAMPLES = 5  # Number_Cost_Samples
_N_EARLY = 40  # With fewer points, the Gaussian process chooses each new point.
_N_FEW_POINTS = 60  # With more points, looking ahead for several workers has no advantage.
_LAST_PART = 0.8  # After this part of the budget, the model chooses all points.
_N_MOVES = 16  # Of this many moves, the first move to a new point is used.
_N_FIRST = 8  # The number of first points, which are spread over the whole space.
_REANNEALING_PERIOD = 10
_MAX_SENSITIVITY_RATIO = 1e4
_pstdev = functools.lru_cache(statistics.pstdev)  # The exact sums are slow, so they are cached.


@dataclasses.dataclass(frozen=True)
class Options:
    """The arguments of the sampler that define an annealing, except the seed."""

    n_trials: int | None = None  # N
    initial_temperature: float = 1.0  # T_0
    quench: float = 1.0  # Q
    n_candidates: int = 256
    has_reannealing: bool = False

    def budget(self, n_generated: int) -> float:
        """Return the budget N, or the number of generated points if this is larger."""
        return float(max(self.n_trials or _UNKNOWN_N_TRIALS, n_generated, 2))


class AdaptiveSimulatedAnnealing:
    """The state of an annealing, which follows from the points that it was told.

    Points are arrays with a number in [0, 1] for each coordinate, or NaN for an unknown
    coordinate. Attributes are replaced and never changed in place, so `copy.copy` makes an
    independent copy.
    """

    def __init__(self, seed: int, options: Options) -> None:
        self._seed = seed
        self._options = options
        self._names: tuple[str, ...] = ()
        self._n_choices = np.empty(0, dtype=np.int64)
        self._levels: tuple[Levels, ...] = ()
        self._cost_samples: tuple[float, ...] = ()
        self._pool = PointPool()
        self._constrained = ConstraintPool()
        self._reported = ReportPool()
        self._k_offsets = np.empty(0)  # The annealing times k_i minus the point's index.
        self._best_x = np.empty(0)
        self._best_f = math.inf
        self.x = np.empty(0)
        self.f: float | None = None
        self._violation = 0.0  # The violation at the current point.
        self.k_c = 0

    def add_coordinate(self, name: str, n_choices: int = 0, levels: Levels = None) -> None:
        """Add a coordinate. If ``n_choices`` is above 0, it is categorical, else numerical."""
        self._names += (name,)
        self._levels += (levels,)
        self._n_choices = np.append(self._n_choices, n_choices)
        # Points without the coordinate do not cool it.
        self._k_offsets = np.append(
            self._k_offsets,
            -float(max(len(self._pool), len(self._constrained), len(self._reported))),
        )
        self._pool = self._pool.with_coordinate()
        self._constrained = self._constrained.with_coordinate()
        self._reported = self._reported.with_coordinate()
        self.x = np.append(self.x, np.nan)
        self._best_x = np.append(self._best_x, np.nan)

    def rescale(self, name: str, start: float, end: float, levels: Levels) -> None:
        """Change a coordinate's scale, so that the old 0 and 1 are at ``start`` and ``end``."""
        i = self._names.index(name)
        self._levels = (*self._levels[:i], levels, *self._levels[i + 1 :])

        def on_new_scale(points: np.ndarray) -> np.ndarray:
            points = points.copy()
            points[..., i] = start + points[..., i] * (end - start)
            return np.where(np.isnan(points), np.nan, rounded(points, self._levels))

        self.x = on_new_scale(self.x)
        self._best_x = on_new_scale(self._best_x)
        self._pool = self._pool.with_points(on_new_scale(self._pool.points))
        self._constrained = self._constrained.with_points(on_new_scale(self._constrained.points))
        self._reported = self._reported.with_points(on_new_scale(self._reported.points))

    @property
    def _is_finite(self) -> np.ndarray:
        """Whether every coordinate has finitely many values."""
        pairs = zip(self._n_choices, self._levels, strict=True)
        return np.array([n > 0 or levels is not None for n, levels in pairs], dtype=bool)

    def rate(self, n_dims: int, n_generated: int) -> tuple[float, float]:
        """Return the rate c and the exponent Q/D (4)."""
        budget = self._options.budget(n_generated)
        if n_dims > _MAX_COOLING_DIMS:
            n_dims = _MANY_COOL_AS
        exponent = min(self._options.quench / n_dims, MAX_EXPONENT)
        # With this c, T is T_0 N^-3 after N points.
        return 3 * math.log(budget) * budget**-exponent, exponent

    @property
    def n_dims(self) -> int:
        """The number of coordinates of the current point, D."""
        return max(int(np.count_nonzero(~np.isnan(self.x))), 1)

    def temperatures(
        self, index: int, n_dims: int | None = None, k_offsets: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the temperatures at which the point with this index is generated (3)."""
        if n_dims is None:
            n_dims = self.n_dims
        if k_offsets is None:
            k_offsets = self._k_offsets
        c, exponent = self.rate(n_dims, index)
        decay = np.exp(-c * np.maximum(index + k_offsets, 0.0) ** exponent)
        return np.maximum(self._options.initial_temperature * decay, _MIN_TEMPERATURE)

    def cost_temperature(self, index: int) -> float:
        """Return the temperature at which the point with this index is accepted (6)."""
        if len(self._cost_samples) < 2:
            return 0.0
        c, exponent = self.rate(self.n_dims, index)
        return self._initial_cost_temperature * math.exp(-c * self.k_c**exponent)

    @property
    def _initial_cost_temperature(self) -> float:
        # `statistics` computes exactly. In floats, sums and squares of large values overflow.
        return float(0.1 * _pstdev(self._cost_samples))

    def draw(
        self, name: str, n_choices: int, x: float, *, index: int, key: int, n_dims: int
    ) -> float:
        """Draw an unknown coordinate near ``x``, or from its whole range if ``x`` is NaN."""
        u = uniforms(self._seed, key, GENERATE, name, 1)
        if math.isnan(x):
            u = self._in_stratum(index, name, u)
        center = np.clip([x], 0.0, 1.0)
        T = self.temperatures(index, n_dims, np.zeros(1))
        return float(move(center, u, T, np.array([n_choices]))[0])

    def ask(self, index: int, key: int, n_pending: int = 0) -> np.ndarray:
        """Generate a point. Values of some earlier points may be missing."""
        if not self._names:
            return np.empty(0)
        n_known = max(len(self._pool), len(self._constrained))
        if max(index, n_known) < _N_FIRST and self._options.initial_temperature == 1:
            return self._first(index, key)
        informed = copy.copy(self)
        informed._pool = self._pool.with_guesses(*self._reported.guesses())
        return informed._ask(index, key, n_pending)

    def _ask(self, index: int, key: int, n_pending: int) -> np.ndarray:
        """Generate a point from measured and guessed values."""
        branches = Branches.of(self._pool.points, self._n_choices)
        if self._is_finite.any() or not branches.is_single:
            return self._ask_mixed(index, key, n_pending, branches)
        x = np.clip(self.x, 0.0, 1.0)
        T = self.temperatures(index)
        size = self._options.n_candidates
        if self._is_on_plateau:
            x[:] = np.nan
        feasibility = self._feasibility
        if len(self._constrained) and not self._is_known:
            moves = self._generate(x, T, key, size)
            return moves[feasibility.is_likely(moves)][0]
        # With few points, values that other workers have not told yet matter. The model then looks
        # ahead, and chooses three of every four points.
        looks_ahead = n_pending > 0 and len(self._pool) < _N_FEW_POINTS
        if self._is_modelled(index, looks_ahead=looks_ahead):
            # Two of these three points are two moves away, as if the value after the first move
            # were known. The model is then not smoothed. Otherwise, the points without values
            # would all depend on one smoothing.
            is_double = looks_ahead and index % 4 > 0
            model = model_near(
                x, self._pool, self._n_choices, self._n_latest(index), is_exact=is_double
            )
            if model is not None:
                moves = self._generate(x, T, key, size)
                moves = moves[feasibility.is_likely(moves)]
                best = moves[np.argmin(model.predict(moves))]
                if is_double:
                    moves = np.vstack([best, self._generate(best, T, key, size, REFINE)])
                    moves = moves[feasibility.is_likely(moves)]
                    best = moves[np.argmin(model.predict(moves))]
                return best
        elif self._is_known and len(self._constrained):
            process = process_near(x, self._pool, self._n_choices)
            near = self._generate(x, T, key, size)
            return self._search(process, branches, near, key, n_pending=n_pending)
        return self._generate(x, T, key, 1)[0]

    def _ask_mixed(self, index: int, key: int, n_pending: int, branches: Branches) -> np.ndarray:
        """Generate a point in a space with finitely many values or conditional coordinates.

        If coordinates are conditional, the branch of the point is drawn first.
        """
        points = self._pool.points
        values = self._pool.values
        x = np.clip(self.x, 0.0, 1.0)
        T = self.temperatures(index)
        has = np.ones(len(x), dtype=bool)
        rows = np.empty(0)
        if not branches.is_single:
            # The best branches become more probable during the search.
            exponent = 1 + 2 * len(values) / self._options.budget(len(values))
            u = float(uniforms(self._seed, key, BRANCH, "", 1)[0])
            values_of_draw = self._pool.without_outliers().values
            has, rows = draw_branch(points, values_of_draw, u, exponent)
            T = self.temperatures(index, int(has.sum()))
            x = best_known(np.vstack([points[rows], points[np.argsort(values)]]))
        # A branch with enough points has its own Gaussian process. All other branches share one
        # process.
        is_alone = len(rows) > has.sum() + 1
        is_early = self._is_known and len(values) < _N_EARLY
        if not branches.is_single:
            # Every fourth point is a move, because a move may try choices that no Gaussian process
            # knows.
            is_early = is_alone and len(rows) < _N_EARLY and index % 4 != 1
        if is_early or self._is_modelled(index, looks_ahead=False):
            # With constraints, the pool has only feasible points, so values are not limited.
            pool = self._pool if len(self._constrained) else self._pool.without_outliers()
            process = process_near(x, pool, self._n_choices, rows if is_alone else None)
            near = self._generate(x, T, key, self._options.n_candidates)
            within = x if is_alone else None
            return self._search(process, branches, near, key, n_pending=n_pending, within=within)
        is_start = len(values) < _N_FIRST and self._options.initial_temperature == 1
        is_anywhere = is_start or self._is_on_plateau
        if is_anywhere:
            x[:] = np.nan
        candidates = rounded(self._generate(x, T, key, _N_MOVES), self._levels)
        if not (branches.is_single or is_anywhere):
            is_there = branches.presence(candidates)
            untried = is_untried(candidates, points, self._n_choices, self._is_finite)
            stays = ~(untried & is_there).any(axis=1)
            candidates[stays] = branches.led_to(candidates[stays], x)
        filled = np.where(branches.presence(candidates), candidates, 0.5)
        is_left = ~is_told(filled, without_nan(points), self._is_finite)
        if is_left.any():
            candidates, filled = candidates[is_left], filled[is_left]
        return candidates[self._feasibility.is_likely(filled)][0]

    def _search(
        self,
        process: GaussianProcess,
        branches: Branches,
        near: np.ndarray,
        key: int,
        *,
        n_pending: int,
        within: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the point with the best merit, in the whole space or in the branch ``within``."""
        u = float(uniforms(self._seed, key, SEARCH, "", 1)[0])
        width = -math.log(1 - u) if n_pending else None
        known_points = without_nan(self._pool.points)
        feasibility = self._feasibility

        def placed(points: np.ndarray) -> np.ndarray:
            points = rounded(points, self._levels)
            if within is None:
                return points
            return branches.led_to(points, within)

        def merits(points: np.ndarray) -> np.ndarray:
            filled = np.where(branches.presence(points), points, 0.5)
            point_merits = process.merits(filled, width) + feasibility.log_probability(filled)
            if not process.is_noisy:  # Without noise, no point is evaluated twice.
                point_merits[is_told(filled, known_points, self._is_finite)] = -np.inf
            return point_merits

        far = move(
            np.full(len(self._names), np.nan),
            self._uniforms(key, REFINE, 2 * len(near)),
            np.ones(len(self._names)),
            self._n_choices,
        )
        us = self._uniforms(key, SEARCH, N_SEARCH_UNIFORMS)
        return search(np.vstack([near, far]), placed, merits, us, self._n_choices)

    @property
    def _feasibility(self) -> Feasibility:
        return Feasibility(self._constrained, self.x, self._n_choices)

    @property
    def _is_on_plateau(self) -> bool:
        """Whether at least half of the values equal the first value and no value is better."""
        is_known = len(self._pool) > 2
        return is_known and np.median(self._pool.values) == self._best_f == self._cost_samples[0]

    def _is_modelled(self, index: int, *, looks_ahead: bool) -> bool:
        """Return whether the model chooses the point."""
        is_due = index % 2 == 0 or self._n_latest(index) > 0
        return self._is_known and (is_due or (looks_ahead and index % 4 == 1))

    @property
    def _is_known(self) -> bool:
        """Whether models are allowed, and there are enough points to fit their linear part."""
        return self._options.n_candidates > 1 and len(self._pool) >= len(self._names) + 2

    def _n_latest(self, index: int) -> int:
        """Return the number of latest points to which models are fitted, besides the nearest."""
        n_trials = self._options.n_trials or 0
        if _LAST_PART * n_trials <= index < n_trials:
            return N_LATEST
        return 0

    def _generate(
        self, x: np.ndarray, T: np.ndarray, key: int, size: int, purpose: int = GENERATE
    ) -> np.ndarray:
        return move(x, self._uniforms(key, purpose, size), T, self._n_choices)

    def _in_stratum(self, index: int, name: str, u: np.ndarray) -> np.ndarray:
        """Scale numbers to the eighth of [0, 1) that this first point uses."""
        order = np.argsort(uniforms(self._seed, 0, FIRST, name, _N_FIRST))
        return (order[index % _N_FIRST] + u) / _N_FIRST

    def _first(self, index: int, key: int) -> np.ndarray:
        """Return one of the first points. Together, the first points are a Latin hypercube."""
        us = self._uniforms(key, GENERATE, 1)
        columns = zip(self._names, us.T, strict=True)
        points = [self._in_stratum(index, name, u) for name, u in columns]
        return rounded(np.concatenate(points), self._levels)

    def _uniforms(self, key: int, purpose: int, size: int) -> np.ndarray:
        us = [uniforms(self._seed, key, purpose, name, size) for name in self._names]
        return np.stack(us, axis=-1)

    def tell(
        self,
        index: int | None,
        x: np.ndarray,
        f: float,
        constraints: Sequence[float] = (),
        reports: Reports | None = None,
    ) -> bool:
        """Store a point's value, which may be NaN; return whether the point is accepted.

        A point of another sampler has no index, and is accepted if it is better. If a trial was
        pruned, its final value is guessed from its reports.
        """
        violation = violation_of(constraints)
        if reports and violation <= 0 and not math.isinf(f):
            self._reported = self._reported.with_reports(x, f, reports)
        if not math.isinf(f):
            self._k_offsets = self._k_offsets - np.isnan(x)
        if math.isnan(f):
            return False
        if constraints and all(map(math.isfinite, constraints)):
            self._constrained = self._constrained.with_constraints(x, constraints)
        if math.isfinite(f) and violation <= 0:
            self._pool = self._pool.with_point(x, f)
            if len(self._cost_samples) < _N_COST_SAMPLES:
                self._cost_samples += (f,)
        if violation <= 0 and f < self._best_f:
            self._best_x = np.where(np.isnan(x), self._best_x, x)
            self._best_f = f
        is_accepted = self._is_accepted(index, f, violation)
        if is_accepted:
            # If this point lacks a coordinate, the current point keeps the coordinate's value.
            self.x = np.where(np.isnan(x), self.x, x)
            self.f = f
            self._violation = violation
            self.k_c += index is not None
        if self._options.has_reannealing and index is not None:
            self._reanneal_if_due(index)
        return is_accepted

    def _is_accepted(self, index: int | None, f: float, violation: float) -> bool:
        if self.f is not None and violation != self._violation:
            return violation < self._violation  # Deb's rules for constraints.
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
        # Re-annealing helps if parameters are badly scaled. Otherwise it harms, unless it is
        # damped. So the square root damps it, and the ratios are scaled to a geometric mean of 1.
        ratios = np.sqrt(ratios)
        ratios /= np.exp(np.log(ratios).mean())
        T = self.temperatures(index, self.n_dims, np.zeros(len(columns)))
        self._reanneal(index, columns, T[columns] * ratios)

    def _sensitivity_ratios(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return which coordinates can be re-annealed, and their ratios s_max / s_i if known."""
        columns = (self._n_choices == 0) & ~np.isnan(self._best_x)
        size = 4 * int(columns.sum()) + 6
        if len(self._pool) < size:
            return columns, None
        best = without_nan(self._best_x)
        points = without_nan(self._pool.points)
        rows = nearest(points, best, self._n_choices, size)
        s = sensitivities(points[rows][:, columns], self._pool.values[rows], best[columns])
        if s is None or s.max() == 0:
            return columns, None
        return columns, s.max() / np.maximum(s, s.max() / _MAX_SENSITIVITY_RATIO)

    def _reanneal(self, index: int, columns: np.ndarray, T: np.ndarray) -> None:
        """Set the temperatures of coordinates to ``T`` by changing their annealing times (8)."""
        c, exponent = self.rate(self.n_dims, index)
        cooling = np.log(self._options.initial_temperature / T)
        with np.errstate(over="ignore"):  # With a tiny exponent, the time is infinite.
            k = np.where(cooling > 0, (np.maximum(cooling, 0.0) / c) ** (1 / exponent), 1.0)  # (8)
        self._k_offsets = self._k_offsets.copy()
        self._k_offsets[columns] = k - index
