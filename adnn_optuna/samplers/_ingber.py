"""The published annealing of Ingber, with the defaults of his code, ASA 30.53.

The comments cite the equations of ``_asa.py`` by number, and one more equation:

9.  cost temperature after re-annealing
    T_c0 = min(T_c0, max(|f|, |f_best|, |f - f_best|)), T_c no higher
"""

import dataclasses
import math
import statistics
from collections.abc import Sequence

import numpy as np

from adnn_optuna.samplers._asa import MAX_EXPONENT, AdaptiveSimulatedAnnealing, Options
from adnn_optuna.samplers._reports import Reports
from adnn_optuna.samplers._unit_interval import Levels

_ACCEPTED_MODULUS = 100  # Acceptance_Frequency_Modulus
_GENERATED_MODULUS = 10_000  # Generated_Frequency_Modulus


class PublishedAnnealing(AdaptiveSimulatedAnnealing):
    """The published annealing, except that sensitivities are estimated from the points so far."""

    def __init__(self, seed: int, options: Options) -> None:
        super().__init__(seed, dataclasses.replace(options, has_reannealing=False))
        self._max_initial_cost_temperature = math.inf
        self._n_accepted_since = 0

    def add_coordinate(self, name: str, n_choices: int = 0, levels: Levels = None) -> None:
        """Add a coordinate with the temperature that it would have had from the start."""
        k_offsets = self._k_offsets
        super().add_coordinate(name, n_choices, levels)
        self._k_offsets = np.append(k_offsets, 0.0)

    def rate(self, n_dims: int, n_generated: int) -> tuple[float, float]:
        """Return the rate c and the exponent Q/D (4). The temperature is 1e-5 after 100 points."""
        exponent = min(self._options.quench / n_dims, MAX_EXPONENT)
        return -math.log(1e-5) * 100.0**-exponent, exponent

    @property
    def _initial_cost_temperature(self) -> float:
        mean_size = statistics.mean(map(abs, self._cost_samples))
        return min(mean_size, self._max_initial_cost_temperature)

    def ask(self, index: int, key: int, n_pending: int = 0) -> np.ndarray:
        """Generate a point by a single move."""
        if not len(self.x):
            return self.x
        x = np.clip(self.x, 0.0, 1.0)
        return self._generate(x, self.temperatures(index), key, 1)[0]

    def tell(
        self,
        index: int | None,
        x: np.ndarray,
        f: float,
        constraints: Sequence[float] = (),
        reports: Reports | None = None,
    ) -> bool:
        """Store a point's value (NaN if it has none), and return whether the point is accepted."""
        k_offsets = self._k_offsets
        is_accepted = super().tell(index, x, f, constraints, reports)
        self._k_offsets = k_offsets  # A coordinate also cools in trials without it.
        self._n_accepted_since += is_accepted
        if index is None or math.isnan(f):
            return is_accepted
        is_often = index > 0 and index % _GENERATED_MODULUS == 0
        if is_often or self._n_accepted_since >= _ACCEPTED_MODULUS:
            self._n_accepted_since = 0
            columns, ratios = self._sensitivity_ratios()
            if ratios is not None:
                self._reanneal(index, columns, self.temperatures(index)[columns] * ratios)
            self._reanneal_cost(index)
        return is_accepted

    def _reanneal_cost(self, index: int) -> None:
        assert self.f is not None
        T_c = self.cost_temperature(index)
        bound = max(abs(self.f), abs(self._best_f), abs(self.f - self._best_f))
        self._max_initial_cost_temperature = min(self._initial_cost_temperature, bound)  # (9)
        cooling = math.log(self._max_initial_cost_temperature / T_c) if T_c > 0 else 0.0
        if 0 < cooling < math.inf:
            c, exponent = self.rate(self.n_dims, index)
            self.k_c = math.ceil((cooling / c) ** (1 / exponent))
