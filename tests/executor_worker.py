"""Functions for executors, importable in any process."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna


def _noise(*seeds: int) -> float:
    return zlib.crc32(repr(seeds).encode()) / 2**32


def noisy(trial: optuna.Trial | optuna.trial.FrozenTrial, seed: int) -> float:
    """Return a value that depends on the seed."""
    return trial.suggest_float("x", 0, 1) + _noise(seed)


def one_seed(seed: int) -> float:
    """Return a value from one source of randomness."""
    return _noise(seed)


def sources(noise: int, order: int) -> float:
    """Return a value from two sources of randomness."""
    return _noise(noise) + _noise(order) / 2
