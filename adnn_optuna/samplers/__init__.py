"""Optuna samplers whose state is the study."""

from adnn_optuna._attributes import FAILED, INTERRUPTED, OWNER, PROPOSAL
from adnn_optuna.samplers._annealing import AdaptiveSimulatedAnnealingSampler
from adnn_optuna.samplers._delta_step import DeltaStepSampler
from adnn_optuna.samplers._indexed_sampler import IndexedSampler
from adnn_optuna.samplers._liveness import (
    LivenessCheck,
    current_owner,
    is_alive,
    is_on_one_host,
    owner_of,
)
from adnn_optuna.samplers._random_restart import RandomRestartSampler

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "OWNER",
    "PROPOSAL",
    "AdaptiveSimulatedAnnealingSampler",
    "DeltaStepSampler",
    "IndexedSampler",
    "LivenessCheck",
    "RandomRestartSampler",
    "current_owner",
    "is_alive",
    "is_on_one_host",
    "owner_of",
]
