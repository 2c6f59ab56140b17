"""Optuna samplers whose state is the study."""

from adnn_optuna.samplers._annealing import AdaptiveSimulatedAnnealingSampler
from adnn_optuna.samplers._delta_step import DeltaStepSampler
from adnn_optuna.samplers._indexed import IndexedSampler
from adnn_optuna.samplers._keyed import KeyedSampler
from adnn_optuna.samplers._random_restart import RandomRestartSampler

__all__ = [
    "AdaptiveSimulatedAnnealingSampler",
    "DeltaStepSampler",
    "IndexedSampler",
    "KeyedSampler",
    "RandomRestartSampler",
]
