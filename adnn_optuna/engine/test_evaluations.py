"""The test-set evaluations that the studies of a storage hold."""

from collections.abc import Mapping
from typing import Any

from optuna.storages import BaseStorage

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import TestEvaluation


def test_evaluations_of(attrs: Mapping[str, Any]) -> list[TestEvaluation]:
    """Return the test-set evaluations that a study stores, in their order."""
    found = [value for name, value in attrs.items() if name.startswith(f"{stored.TEST}/")]
    found.sort(key=lambda one: one["looked"])
    # Workers that end together evaluate the same.
    return [*{(one["trial"], one["n_trials"]): one for one in found}.values()]


def attributes_in(storage: BaseStorage) -> dict[str, dict[str, Any]]:
    """Return the user attributes of all studies of a storage, by name, if they are sound."""
    studies = storage.get_all_studies()
    return {s.study_name: s.user_attrs for s in studies if stored.are_sound(s.user_attrs)}


def _fingerprint(attrs: Mapping[str, Any]) -> Any:
    return attrs.get(stored.CONFIG, {}).get("dataset", {}).get("fingerprint")


def evaluations_elsewhere(
    own: str, attrs: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]
) -> dict[str, int]:
    """Return how often other studies evaluated the same test set, by their names."""
    if not (data := _fingerprint(attrs)):
        return {}
    heads = (f"{name}/" for name, of in others.items() if stored.COMPARISON in of)
    siblings = tuple(head for head in heads if own.startswith(head))
    return {
        name: len(evaluations)
        for name, of in others.items()
        if _fingerprint(of) == data and name != own and not name.startswith(siblings)
        if (evaluations := test_evaluations_of(of))
    }
