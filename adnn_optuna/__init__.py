"""Searches over init offsets of Keras networks, on Optuna.

Importing the package loads neither TensorFlow nor plotly: each name is loaded when it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adnn_optuna.callbacks import MaxGainCallback, MaxTimeCallback, MaxTrialCallback
    from adnn_optuna.data import Dataset, load_dataset
    from adnn_optuna.models import MLP, PAPER_MODELS, Training
    from adnn_optuna.objective import InitOffsetObjective
    from adnn_optuna.offsets import OffsetSpace
    from adnn_optuna.samplers import (
        AdaptiveSimulatedAnnealingSampler,
        DeltaStepSampler,
        RandomRestartSampler,
    )
    from adnn_optuna.study import SearchResult, resume, search

__version__ = "0.1.0"

_MODULES = {
    "MLP": "models",
    "PAPER_MODELS": "models",
    "AdaptiveSimulatedAnnealingSampler": "samplers",
    "Dataset": "data",
    "DeltaStepSampler": "samplers",
    "InitOffsetObjective": "objective",
    "MaxGainCallback": "callbacks",
    "MaxTimeCallback": "callbacks",
    "MaxTrialCallback": "callbacks",
    "OffsetSpace": "offsets",
    "RandomRestartSampler": "samplers",
    "SearchResult": "study",
    "Training": "models",
    "load_dataset": "data",
    "resume": "study",
    "search": "study",
}

__all__ = [
    "MLP",
    "PAPER_MODELS",
    "AdaptiveSimulatedAnnealingSampler",
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
    "load_dataset",
    "resume",
    "search",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
