"""The studies of a comparison: a head of its name, and one for each arm and seed."""

from __future__ import annotations

import itertools

import optuna
from optuna.storages import BaseStorage

from adnn_optuna._attributes import COMPARISON, Declaration
from adnn_optuna._checks import WrongValueError
from adnn_optuna.engine.records import SearchRecord, record_of
from adnn_optuna.engine.storages import patiently
from adnn_optuna.engine.studies import load_study


def declaration_of(storage: BaseStorage, name: str) -> Declaration | None:
    """Return what a stored comparison is declared to be; :obj:`None` if there is none.

    Raises:
        ValueError: If a study of this name is something else.
    """
    if name not in patiently(optuna.get_all_study_names, storage):
        return None
    declaration: Declaration = load_head(storage, name).user_attrs[COMPARISON]
    return declaration


def is_comparison(study: optuna.Study) -> bool:
    """Return whether a study is the head of a comparison."""
    return COMPARISON in study.user_attrs


def load_head(storage: BaseStorage, name: str) -> optuna.Study:
    """Return the head of a stored comparison, or refuse its name."""
    head = load_study(storage, name)
    if not is_comparison(head):
        raise WrongValueError(
            f"The study {name!r} is no comparison; give a comparison another study_name."
        )
    return head


def study_name_of(comparison: str, label: str, seed: int) -> str:
    """Return the name of the study of an arm and a seed."""
    return f"{comparison}/{label}/{seed=}"


def records_of_comparison(head: optuna.Study) -> dict[str, dict[int, SearchRecord]]:
    """Return what the stored studies of a comparison came to, by arm and seed."""
    declaration: Declaration = head.user_attrs[COMPARISON]
    storage = head._storage
    known = set(patiently(optuna.get_all_study_names, storage))
    arms: dict[str, dict[int, SearchRecord]] = {}
    for label, seed in itertools.product(declaration["arms"], declaration["seeds"]):
        name = study_name_of(head.study_name, label, seed)
        if name in known:
            study = patiently(optuna.load_study, study_name=name, storage=storage)
            arms.setdefault(label, {})[seed] = patiently(record_of, study)
    return arms
