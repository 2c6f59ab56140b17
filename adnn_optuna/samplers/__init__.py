"""Optuna samplers that keep their state in the study. Each class is loaded at its first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adnn_optuna._checks import loading

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from adnn_optuna.samplers._annealing import (
        AdaptiveSimulatedAnnealingSampler as AdaptiveSimulatedAnnealingSampler,
    )
    from adnn_optuna.samplers._delta_step import DeltaStepSampler as DeltaStepSampler
    from adnn_optuna.samplers._indexed import IndexedSampler as IndexedSampler
    from adnn_optuna.samplers._keyed import KeyedSampler as KeyedSampler
    from adnn_optuna.samplers._random_restart import RandomRestartSampler as RandomRestartSampler

_MODULES = {
    "AdaptiveSimulatedAnnealingSampler": "_annealing",
    "DeltaStepSampler": "_delta_step",
    "IndexedSampler": "_indexed",
    "KeyedSampler": "_keyed",
    "RandomRestartSampler": "_random_restart",
}
__all__ = list(_MODULES)


__getattr__: Callable[[str], Any] = loading(__name__, _MODULES)
