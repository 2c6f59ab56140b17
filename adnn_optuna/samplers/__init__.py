"""Optuna samplers whose state is the study."""

from adnn_optuna.samplers._annealing import AdaptiveSimulatedAnnealingSampler
from adnn_optuna.samplers._delta_step import DeltaStepSampler
from adnn_optuna.samplers._ledger import FAILED, INTERRUPTED
from adnn_optuna.samplers._liveness import PROPOSAL, is_alive
from adnn_optuna.samplers._random_restart import RandomRestartSampler

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "PROPOSAL",
    "AdaptiveSimulatedAnnealingSampler",
    "DeltaStepSampler",
    "RandomRestartSampler",
    "is_alive",
]
