"""Part of your best score is luck.

adnn_optuna measures how much, for any Optuna study, and searches the initial weights of
Keras networks.

Importing the package loads neither TensorFlow nor plotly. Each name is loaded at its first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adnn_optuna._checks import loading

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from adnn_optuna.api.compare import compare as compare
    from adnn_optuna.api.compare_models import compare_models as compare_models
    from adnn_optuna.api.compare_values import compare_values as compare_values
    from adnn_optuna.api.keep import keep as keep
    from adnn_optuna.api.overtuning import overtuning as overtuning
    from adnn_optuna.api.recheck import recheck as recheck
    from adnn_optuna.api.resume import resume as resume
    from adnn_optuna.api.search import search as search
    from adnn_optuna.api.variance import measure_variance as measure_variance
    from adnn_optuna.callbacks import MaxGainCallback as MaxGainCallback
    from adnn_optuna.callbacks import MaxStaleCallback as MaxStaleCallback
    from adnn_optuna.callbacks import MaxTimeCallback as MaxTimeCallback
    from adnn_optuna.callbacks import MaxTrialCallback as MaxTrialCallback
    from adnn_optuna.contracts.verify import verify as verify
    from adnn_optuna.engine.example_scores import log_scores as log_scores
    from adnn_optuna.experiments.audit import Audit as Audit
    from adnn_optuna.experiments.audit import audit_randomness as audit_randomness
    from adnn_optuna.experiments.contract import Contract as Contract
    from adnn_optuna.experiments.init_offset_objective import (
        InitOffsetObjective as InitOffsetObjective,
    )
    from adnn_optuna.experiments.search import SearchResult as SearchResult
    from adnn_optuna.experiments.verdict import Verdict as Verdict
    from adnn_optuna.networks.data import Dataset as Dataset
    from adnn_optuna.networks.loading import load_dataset as load_dataset
    from adnn_optuna.networks.models import MLP as MLP
    from adnn_optuna.networks.models import PAPER_MODELS as PAPER_MODELS
    from adnn_optuna.networks.models import Training as Training
    from adnn_optuna.networks.offsets import OffsetSpace as OffsetSpace
    from adnn_optuna.results.arm_comparison import ValueComparison as ValueComparison
    from adnn_optuna.results.change_loop import ChangeLoop as ChangeLoop
    from adnn_optuna.results.comparison import Comparison as Comparison
    from adnn_optuna.results.function_search import FunctionSearch as FunctionSearch
    from adnn_optuna.results.models import ModelComparison as ModelComparison
    from adnn_optuna.results.overtuning import Overtuning as Overtuning
    from adnn_optuna.results.plan import Plan as Plan
    from adnn_optuna.results.recheck import Recheck as Recheck
    from adnn_optuna.results.variance import Variance as Variance
    from adnn_optuna.samplers import (
        AdaptiveSimulatedAnnealingSampler as AdaptiveSimulatedAnnealingSampler,
    )
    from adnn_optuna.samplers import DeltaStepSampler as DeltaStepSampler
    from adnn_optuna.samplers import KeyedSampler as KeyedSampler
    from adnn_optuna.samplers import RandomRestartSampler as RandomRestartSampler
    from adnn_optuna.stats.selection_bias import expected_luck as expected_luck

__version__ = "0.1.0"

_NAMES = {
    "contracts.verify": "verify",
    "api.compare": "compare",
    "api.compare_models": "compare_models",
    "api.compare_values": "compare_values",
    "api.keep": "keep",
    "api.overtuning": "overtuning",
    "api.recheck": "recheck",
    "api.variance": "measure_variance",
    "api.resume": "resume",
    "api.search": "search",
    "experiments.search": "SearchResult",
    "callbacks": "MaxGainCallback MaxStaleCallback MaxTimeCallback MaxTrialCallback",
    "engine.example_scores": "log_scores",
    "experiments.init_offset_objective": "InitOffsetObjective",
    "results.change_loop": "ChangeLoop",
    "results.comparison": "Comparison",
    "results.overtuning": "Overtuning",
    "results.plan": "Plan",
    "experiments.audit": "Audit audit_randomness",
    "experiments.contract": "Contract",
    "results.recheck": "Recheck",
    "results.function_search": "FunctionSearch",
    "experiments.verdict": "Verdict",
    "results.models": "ModelComparison",
    "results.arm_comparison": "ValueComparison",
    "results.variance": "Variance",
    "networks.data": "Dataset",
    "networks.loading": "load_dataset",
    "networks.models": "MLP PAPER_MODELS Training",
    "networks.offsets": "OffsetSpace",
    "stats.selection_bias": "expected_luck",
    "samplers": "AdaptiveSimulatedAnnealingSampler DeltaStepSampler KeyedSampler "
    "RandomRestartSampler",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = list(_MODULES)


__getattr__: Callable[[str], Any] = loading(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
