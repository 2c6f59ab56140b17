"""Searches over init offsets of Keras networks, on Optuna.

Importing the package loads neither TensorFlow nor plotly: each name is loaded when it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adnn_optuna.accountability.audit import Audit, audit_randomness
    from adnn_optuna.accountability.contract import Contract
    from adnn_optuna.accountability.verification import Verdict, verify
    from adnn_optuna.api.compare import compare
    from adnn_optuna.api.search import SearchResult, resume, search
    from adnn_optuna.callbacks import MaxGainCallback, MaxTimeCallback, MaxTrialCallback
    from adnn_optuna.engine.objective import InitOffsetObjective
    from adnn_optuna.evidence.comparison import Comparison
    from adnn_optuna.networks.data import Dataset, load_dataset
    from adnn_optuna.networks.initializers import initializers_table
    from adnn_optuna.networks.models import MLP, PAPER_MODELS, Training
    from adnn_optuna.networks.offsets import OffsetSpace
    from adnn_optuna.samplers import (
        AdaptiveSimulatedAnnealingSampler,
        DeltaStepSampler,
        RandomRestartSampler,
    )

__version__ = "0.1.0"

_NAMES = {
    "accountability.audit": ("Audit", "audit_randomness"),
    "accountability.contract": ("Contract",),
    "accountability.verification": ("Verdict", "verify"),
    "api.compare": ("compare",),
    "api.search": ("SearchResult", "resume", "search"),
    "callbacks": ("MaxGainCallback", "MaxTimeCallback", "MaxTrialCallback"),
    "engine.objective": ("InitOffsetObjective",),
    "evidence.comparison": ("Comparison",),
    "networks.data": ("Dataset", "load_dataset"),
    "networks.initializers": ("initializers_table",),
    "networks.models": ("MLP", "PAPER_MODELS", "Training"),
    "networks.offsets": ("OffsetSpace",),
    "samplers": (
        "AdaptiveSimulatedAnnealingSampler",
        "DeltaStepSampler",
        "RandomRestartSampler",
    ),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "MLP",
    "PAPER_MODELS",
    "AdaptiveSimulatedAnnealingSampler",
    "Audit",
    "Comparison",
    "Contract",
    "Dataset",
    "DeltaStepSampler",
    "InitOffsetObjective",
    "MaxGainCallback",
    "MaxTimeCallback",
    "MaxTrialCallback",
    "OffsetSpace",
    "RandomRestartSampler",
    "SearchResult",
    "Training",
    "Verdict",
    "audit_randomness",
    "compare",
    "initializers_table",
    "load_dataset",
    "resume",
    "search",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
