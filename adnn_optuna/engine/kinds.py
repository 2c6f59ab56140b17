"""The kinds of studies, and the modules that define them. A module is loaded when it is used."""

import dataclasses
from typing import Any, Generic, TypeVar

import optuna

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Attributes
from adnn_optuna._checks import FilePath, WrongValueError, load

R_co = TypeVar("R_co", covariant=True)
"""The type of a search's result."""


@dataclasses.dataclass(frozen=True)
class Kind(Generic[R_co]):
    """A kind of study. Most fields are paths, such as ``module.Class``, within this package."""

    record: str = "engine.records.SearchRecord"  # The class of a study's record.
    # The class of a study's result. Its arguments are the record and the objective, if it is
    # known.
    result: str = "results.study.StudyResult"
    # Returns a comparison's notes on its runs.
    notes_on_runs: str = "results.study.notes_on_runs"
    objective: str = ""  # Rebuilds the objective from a study and a data folder.
    variance: str = ""  # The class that redraws the randomness of the objective.
    read: str = ""  # Reads the result of evaluations or of a comparison from their study.
    resume: str = ""  # Continues evaluations for :func:`adnn_optuna.resume`.
    fix: str = ""  # A text that says why the objective cannot be rebuilt, and what to do.

    def load(self, part: str) -> Any:
        """Return the class or function at the path in the field ``part``."""
        return loaded(getattr(self, part))

    def rebuilt(self, study: optuna.Study, data_dir: FilePath | None, called: str = "") -> Any:
        """Return the objective of a stored study. The dataset is read from ``data_dir``.

        ``called`` is the study's name in errors.
        """
        if not self.objective:
            raise self.refusal(called or f"Study {study.study_name!r}")
        return self.load("objective")(study, data_dir)

    def refusal(self, called: str) -> WrongValueError:
        """Return the error that says why a study cannot be continued, and the fix."""
        return WrongValueError(f"{called} {self.fix}")


def loaded(path: str) -> Any:
    """Return the object at a path of this package, such as ``engine.records.SearchRecord``."""
    module, _, name = path.rpartition(".")
    return getattr(load(f"adnn_optuna.{module}"), name)


NETWORK_KIND: Kind[Any] = Kind(
    record="experiments.records.NetworkRecord",
    result="experiments.search.SearchResult",
    notes_on_runs="experiments.search.notes_on_runs",
    objective="experiments.init_offset_objective.objective_from_study",
    variance="experiments.models.RedrawnObjective",
)
TRAINED_MODELS = "experiments.models.TrainedModels"
"""The class of compared models that are Keras models."""
EVALUATIONS_ELSEWHERE = "experiments.records.evaluations_elsewhere"
"""The function that counts earlier test-set evaluations of the same samples in other studies."""
FUNCTION_KIND: Kind[Any] = Kind(
    record="engine.records.FunctionRecord",
    result="results.function_search.FunctionSearch",
    notes_on_runs="results.function_search.notes_on_runs",
    fix="does not store its function. To continue it, pass the function to resume, or run "
    "adnn resume MODULE:FUNCTION. To recheck it, call recheck, or adnn recheck, with "
    "evaluate=FUNCTION, a function (trial, seed).",
)
OTHER_KIND: Kind[Any] = Kind(
    fix="does not store its objective. To continue it, use study.optimize. To recheck it, call "
    "recheck, or adnn recheck, with evaluate=FUNCTION, a function (trial, "
    "seed).",
)
RECHECK_KIND: Kind[Any] = Kind(
    read="api.recheck.stored_recheck", resume="api.recheck.resumed_recheck"
)
MODELS_KIND: Kind[Any] = Kind(
    read="api.compare_models.stored_models",
    fix="does not store its models. To continue it, call compare_models, or adnn compare-models, "
    "again with the same models, storage and study_name.",
)
VARIANCE_KIND: Kind[Any] = Kind(
    objective=NETWORK_KIND.objective,
    read="api.variance.stored_variance",
    resume="api.variance.resumed_variance",
)
LOOP_KIND: Kind[Any] = Kind(
    read="api.keep.stored_loop",
    fix="does not store its versions. To continue it, call keep, or adnn keep, with the next one.",
)
COMPARISON_KIND: Kind[Any] = Kind(read="api.stored.stored_comparison")

# A comparison of models declares a comparison, too, so its own declaration comes first.
_BY_DECLARATION = {
    stored.RECHECK: RECHECK_KIND,
    stored.MODELS: MODELS_KIND,
    stored.VARIANCE: VARIANCE_KIND,
    stored.LOOP: LOOP_KIND,
    stored.COMPARISON: COMPARISON_KIND,
    stored.CONFIG: NETWORK_KIND,
    stored.SEARCH: FUNCTION_KIND,
}


def kind_of(attrs: Attributes) -> Kind[Any]:
    """Return the kind of study that user attributes declare."""
    for name, kind in _BY_DECLARATION.items():
        if name in attrs:
            return kind
    return OTHER_KIND
