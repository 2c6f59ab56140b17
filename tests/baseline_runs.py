"""Training runs of baseline networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adnn_optuna.networks.offsets import Start

if TYPE_CHECKING:
    from adnn_optuna.networks.training import Trainer, TrainingRun


def train_baseline(trainer: Trainer, seed: int = 0, **options: Any) -> TrainingRun:
    """Train the baseline network of a seed, and keep its weights."""
    offsets = (0.0,) * len(trainer.architecture.variables)
    [run] = trainer.train([Start(seed, 0, offsets)], keep_weights=True, **options)
    return run
