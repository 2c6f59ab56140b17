"""Pilot differences of comparisons, and the plans computed from them."""

from __future__ import annotations

import numpy as np

from adnn_optuna._units import ACCURACY
from adnn_optuna.results.plan import Plan
from adnn_optuna.stats.power import required_seeds


def pilot(n_pairs: int, sd: float = 0.01) -> list[float]:
    """Return one difference per pair, with exactly the given standard deviation."""
    noise = np.random.default_rng(n_pairs).standard_normal(n_pairs)
    return (sd * (noise - noise.mean()) / noise.std(ddof=1)).tolist()


def planned(
    differences: dict[str, list[float]], gain: float, *, after_fixed: bool = False
) -> Plan:
    """Return the plan that follows from these pilot differences for a gain, at half an hour a
    seed.
    """
    required = required_seeds(differences, gain, after_fixed=after_fixed)
    return Plan(required, 9, 1800, ACCURACY, 30)
