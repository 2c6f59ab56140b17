"""Searches over init offsets of Keras networks, on Optuna.

Importing the package loads neither TensorFlow nor plotly: each name is loaded when it is used.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adnn_optuna.callbacks import MaxGainCallback, MaxTimeCallback, MaxTrialCallback
    from adnn_optuna.compare import compare
    from adnn_optuna.comparison import Comparison
    from adnn_optuna.contract import Contract
    from adnn_optuna.data import Dataset, load_dataset
    from adnn_optuna.initializers import initializers_table
    from adnn_optuna.models import MLP, PAPER_MODELS, Training
    from adnn_optuna.objective import InitOffsetObjective
    from adnn_optuna.offsets import OffsetSpace
    from adnn_optuna.randomness import Audit, audit_randomness
    from adnn_optuna.results import SearchResult
    from adnn_optuna.samplers import (
        AdaptiveSimulatedAnnealingSampler,
        DeltaStepSampler,
        RandomRestartSampler,
    )
    from adnn_optuna.study import resume, search
    from adnn_optuna.verification import Verdict, verify

__version__ = "0.1.0"

_MODULES = {
    "MLP": "models",
    "PAPER_MODELS": "models",
    "AdaptiveSimulatedAnnealingSampler": "samplers",
    "Audit": "randomness",
    "Comparison": "comparison",
    "Contract": "contract",
    "Dataset": "data",
    "DeltaStepSampler": "samplers",
    "InitOffsetObjective": "objective",
    "MaxGainCallback": "callbacks",
    "MaxTimeCallback": "callbacks",
    "MaxTrialCallback": "callbacks",
    "OffsetSpace": "offsets",
    "RandomRestartSampler": "samplers",
    "SearchResult": "results",
    "Training": "models",
    "Verdict": "verification",
    "audit_randomness": "randomness",
    "compare": "compare",
    "initializers_table": "initializers",
    "load_dataset": "data",
    "resume": "study",
    "search": "study",
    "verify": "verification",
}

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


class _Package(types.ModuleType):
    """Keeps ``compare`` the function: importing its module would bind the name to the module."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _MODULES and isinstance(value, types.ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
