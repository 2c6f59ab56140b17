"""What a training is measured by."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from adnn_optuna._attributes import Metrics

Metric = Literal["val_accuracy", "train_accuracy", "val_loss", "train_loss"]
METRICS: tuple[Metric, ...] = get_args(Metric)


def is_finite(metrics: Metrics) -> bool:
    """Return whether a training has not diverged: even then it has accuracies."""
    return all(math.isfinite(value) for value in metrics.values())
