"""The test-set evaluations that the studies of a storage hold."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import TestEvaluation


def test_evaluations_of(attrs: Mapping[str, Any]) -> list[TestEvaluation]:
    """Return the test-set evaluations that a study stores, in their order."""
    evaluations = [value for name, value in attrs.items() if name.startswith(f"{stored.TEST}/")]
    evaluations.sort(key=lambda one: one["looked"])
    # Workers that end together evaluate the same.
    return [
        *{
            (evaluation["trial"], evaluation["n_trials"]): evaluation for evaluation in evaluations
        }.values()
    ]


def evaluations_elsewhere(
    own: optuna.Study, attrs: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]
) -> dict[str, int]:
    """Return how often other studies evaluated the same test samples, by their names."""
    if not (rows := attrs.get(stored.TEST_ROWS)):
        return {}
    heads = (
        f"{name}/"
        for name, attrs_of_study in others.items()
        if stored.COMPARISON in attrs_of_study
    )
    siblings = tuple(head for head in heads if own.study_name.startswith(head))
    counts = {
        name: _n_evaluations(own._storage, name, attrs_of_study)
        for name, attrs_of_study in others.items()
        if attrs_of_study.get(stored.TEST_ROWS) == rows
        if name != own.study_name and not name.startswith(siblings)
    }
    return {name: n for name, n in counts.items() if n}


def _n_evaluations(storage: BaseStorage, name: str, attrs: Mapping[str, Any]) -> int:
    """Return how often a study evaluated its test set; each value of a network is one time."""
    if (evaluated := attrs.get(stored.EVALUATED)) is None:
        return len(test_evaluations_of(attrs))
    models = evaluated.get("models") if isinstance(evaluated, dict) else None
    # Functions have sources of randomness; what they evaluate is not known.
    functions = {
        number
        for number, model in enumerate(models.values() if isinstance(models, dict) else ())
        if isinstance(model, dict) and "sources" in model
    }
    study_id = storage.get_study_id_from_name(name)
    trials = storage.get_all_trials(study_id, deepcopy=False, states=(TrialState.COMPLETE,))
    return sum(trial.params.get("model") not in functions for trial in trials)
