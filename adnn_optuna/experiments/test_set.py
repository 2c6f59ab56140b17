"""The test-set evaluations that the studies of a storage hold."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Attributes, TestEvaluation


def test_evaluations_of(attrs: Attributes) -> list[TestEvaluation]:
    """Return the test-set evaluations that a study stores, in their order."""
    evaluations = [value for name, value in attrs.items() if name.startswith(f"{stored.TEST}/")]
    evaluations.sort(key=lambda evaluation: evaluation["looked"])
    # Workers that end together evaluate the same.
    different = {}
    for evaluation in evaluations:
        different[evaluation["trial"], evaluation["n_trials"]] = evaluation
    return [*different.values()]


def evaluations_elsewhere(
    own: optuna.Study, attrs: Attributes, others: Mapping[str, Attributes]
) -> dict[str, int]:
    """Return how often other studies evaluated the same test samples, by their names."""
    own_name = own.study_name
    rows = attrs.get(stored.TEST_ROWS)
    if not rows:
        return {}
    comparisons = [name for name, study in others.items() if stored.COMPARISON in study]
    heads = [f"{name}/" for name in comparisons]
    siblings = tuple(head for head in heads if own_name.startswith(head))
    counts = {}
    for name, attrs_of_study in others.items():
        is_own = name == own_name or name.startswith(siblings)
        if is_own or attrs_of_study.get(stored.TEST_ROWS) != rows:
            continue
        n = _n_evaluations(own._storage, name, attrs_of_study)
        if n:
            counts[name] = n
    return counts


def _n_evaluations(storage: BaseStorage, name: str, attrs: Attributes) -> int:
    """Return how often a study evaluated its test set; each value of a network is one time."""
    evaluated = attrs.get(stored.EVALUATED)
    if evaluated is None:
        return len(test_evaluations_of(attrs))
    models: Any = {}
    if isinstance(evaluated, dict):
        models = evaluated.get("models")
    functions = set()
    if isinstance(models, dict):
        for number, model in enumerate(models.values()):
            # Functions have sources of randomness; what they evaluate is not known.
            if isinstance(model, dict) and "sources" in model:
                functions.add(number)
    study_id = storage.get_study_id_from_name(name)
    trials = storage.get_all_trials(study_id, deepcopy=False, states=(TrialState.COMPLETE,))
    return sum(trial.params.get("model") not in functions for trial in trials)
