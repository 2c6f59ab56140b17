"""Ingber's adaptive simulated annealing (ASA) on the unit cube, minimising, with ask and tell.

In Ingber's notation, with D parameters, of which the i-th was generated k_i times:

1.  generating density    g(y) = 1 / (2 (|y| + T_i) ln(1 + 1/T_i)), -1 <= y <= 1
2.  its sampling          y = sgn(u - 1/2) T_i [(1 + 1/T_i)^|2u - 1| - 1], u uniform on [0, 1)
3.  temperatures          T_i = T_0i exp(-c_i k_i^(Q_i/D))
4.  their rate            c_i = m exp(-n Q_i/D), m = -ln(Temperature_Ratio_Scale),
                          n = ln(Temperature_Anneal_Scale)
5.  acceptance            h = exp(-(f_new - f) / T_c)
6.  cost temperature      T_c = T_c0 exp(-c_c k_c^(Q/D)), k_c counting acceptances

See L. Ingber, *Very fast simulated re-annealing*, Mathematical and Computer Modelling 12 (1989)
967-973, and *Adaptive simulated annealing (ASA): Lessons learned*, Control and Cybernetics 25
(1996) 33-54, https://arxiv.org/abs/cs/0001018. The comments cite the equations by these numbers.
"""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np

from adnn_optuna.samplers._random_numbers import ACCEPT, GENERATE, uniforms

# Below this, (1 + 1/T)^|2u - 1| - 1 in (2) is all rounding.
_MIN_TEMPERATURE = 1e-12


def generating_cdf(y: float, temperature: float) -> float:
    """Return the probability of a move up to ``y``, the integral of (1)."""
    # 1/2 + sgn(y)/2 ln(1 + |y|/T) / ln(1 + 1/T)
    ratio = math.log1p(abs(y) / temperature) / math.log1p(1 / temperature)
    return 0.5 + 0.5 * math.copysign(ratio, y)


def generating_quantile(u: float, temperature: float) -> float:
    """Return the move that is exceeded with probability ``1 - u`` (2)."""
    y = temperature * math.expm1(abs(2 * u - 1) * math.log1p(1 / temperature))
    return math.copysign(y, u - 0.5)


def generate(x: float, u: float, temperature: float) -> float:
    """Move a coordinate within [0, 1].

    Ingber redraws a coordinate that leaves the range. That is to draw from the part of the
    distribution that lies within it, for which one random number is enough.
    """
    lower = generating_cdf(-x, temperature)
    upper = generating_cdf(1 - x, temperature)
    y = generating_quantile(lower + u * (upper - lower), temperature)
    return min(max(x + y, 0.0), 1.0)


def generate_choice(x: float, u: float, temperature: float, n_choices: int) -> float:
    """Move a categorical coordinate, of which each choice has 1/n_choices of [0, 1].

    The choice changes as often as a numerical coordinate would move by more than half of such
    an interval; all other choices are then equally likely, as categories have no order.
    """
    p_stay = 2 * generating_cdf(0.5 / n_choices, temperature) - 1
    if u < p_stay:
        return x
    choice = int(x * n_choices)
    shift = 1 + int((u - p_stay) / (1 - p_stay) * (n_choices - 1))
    return ((choice + min(shift, n_choices - 1)) % n_choices + 0.5) / n_choices


@dataclasses.dataclass(frozen=True)
class Options:
    """What defines an annealing but for its seed.

    Attributes:
        n_trials: The number of points the schedule is made for, :obj:`None` if unknown.
        initial_temperature: T_0.
        temperature_ratio_scale: T / T_0 after ``temperature_anneal_scale`` points, by
            default n_trials^-3.
        temperature_anneal_scale: By default ``n_trials``.
        quench: Q.
        cost_temperature_scale: T_c0 in units of the standard deviation of the first values.
    """

    n_trials: int | None = None
    initial_temperature: float = 1.0
    temperature_ratio_scale: float | None = None
    temperature_anneal_scale: float | None = None
    quench: float = 1.0
    cost_temperature_scale: float = 0.1

    def decay(self, k: int, n_dims: int, n_generated: int) -> float:
        """Return T / T_0 after ``k`` steps (3, 4).

        Args:
            k: The annealing time, in generated or accepted points.
            n_dims: D.
            n_generated: The number of points generated so far: a budget that is outgrown grows.
        """
        n_trials = max(self.n_trials or _UNKNOWN_N_TRIALS, n_generated)
        anneal_scale = self.temperature_anneal_scale or n_trials
        m = 3 * math.log(n_trials)
        if self.temperature_ratio_scale is not None:
            m = -math.log(self.temperature_ratio_scale)
        # (k / Temperature_Anneal_Scale)^(Q/D) is k^(Q/D) exp(-n Q/D).
        return math.exp(-m * (k / anneal_scale) ** (self.quench / n_dims))


_UNKNOWN_N_TRIALS = 100
_N_COST_SAMPLES = 5


class AdaptiveSimulatedAnnealing:
    """The state of an annealing, as told so far.

    Points are arrays of one number in [0, 1] for each coordinate, NaN where unknown. Coordinates
    can be added at any time.

    Args:
        seed: The seed of all random numbers.
        options: The annealing's options.
    """

    def __init__(self, seed: int, options: Options) -> None:
        self._seed = seed
        self._options = options
        self._n_choices: dict[str, int] = {}
        self._cost_samples: list[float] = []
        self.x = np.empty(0)
        self.f: float | None = None
        self.n_accepted = 0

    def copy(self) -> AdaptiveSimulatedAnnealing:
        """Return a copy that can be told more without changing this one."""
        other = copy.copy(self)
        other._n_choices = self._n_choices.copy()
        other._cost_samples = self._cost_samples.copy()
        return other

    def add_coordinate(self, name: str, n_choices: int = 0) -> None:
        """Add a coordinate, numerical or with a number of choices."""
        self._n_choices[name] = n_choices
        self.x = np.append(self.x, np.nan)

    def temperature(self, index: int, n_dims: int) -> float:
        """Return the temperature at which a point is generated (3)."""
        decay = self._options.decay(index, n_dims, index)
        return max(self._options.initial_temperature * decay, _MIN_TEMPERATURE)

    def cost_temperature(self, index: int) -> float:
        """Return the temperature at which a point is accepted (6)."""
        if len(self._cost_samples) < 2:
            return 0.0
        decay = self._options.decay(self.n_accepted, self.n_dims, index)
        return self._options.cost_temperature_scale * float(np.std(self._cost_samples)) * decay

    @property
    def n_dims(self) -> int:
        """The number of coordinates of the current point, D."""
        return max(int(np.count_nonzero(~np.isnan(self.x))), 1)

    def draw(
        self, index: int, key: int, name: str, n_choices: int, x: float | None, n_dims: int
    ) -> float:
        """Draw one coordinate, about ``x`` or from everywhere."""
        u = float(uniforms(self._seed, key, GENERATE, name, 1)[0])
        if x is None or math.isnan(x):
            return u
        temperature = self.temperature(index, n_dims)
        if n_choices:
            return generate_choice(x, u, temperature, n_choices)
        return generate(min(max(x, 0.0), 1.0), u, temperature)

    def ask(self, index: int, key: int) -> np.ndarray:
        """Generate the point with an index around the current point."""
        n_dims = self.n_dims
        return np.array(
            [
                self.draw(index, key, name, n_choices, x, n_dims)
                for (name, n_choices), x in zip(self._n_choices.items(), self.x, strict=True)
            ]
        )

    def tell(self, index: int | None, x: np.ndarray, f: float) -> bool:
        """Take in a point's value and return whether it became the current point.

        Args:
            index: The point's index, :obj:`None` if it was not asked for. Such a point is
                adopted if it is better than the current one.
            x: The point.
            f: Its value, NaN if it has none.
        """
        if math.isnan(f):
            return False
        if math.isfinite(f) and len(self._cost_samples) < _N_COST_SAMPLES:
            self._cost_samples.append(f)
        if self.f is not None and not f <= self.f:
            cost_temperature = self.cost_temperature(index or 0)
            if index is None or cost_temperature == 0:
                return False
            u = float(uniforms(self._seed, index, ACCEPT, "", 1)[0])
            if not u < math.exp(-(f - self.f) / cost_temperature):  # (5)
                return False
        # Coordinates that this point lacks, in a search space that changes, keep their value.
        self.x = np.where(np.isnan(x), self.x, x)
        self.f = f
        self.n_accepted += index is not None
        return True
