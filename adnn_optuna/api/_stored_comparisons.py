"""Comparisons as they are stored: a head that says what is compared, and a study for each run."""

import itertools
from typing import Any

import optuna
from optuna.storages import BaseStorage

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Declaration
from adnn_optuna._checks import WrongValueError
from adnn_optuna._differences import config_differences
from adnn_optuna.engine.records import SearchRecord, attributes_in, read_record
from adnn_optuna.engine.storages import is_undeclared, with_retry
from adnn_optuna.engine.studies import is_comparison, load_study


def declaration_of(storage: BaseStorage, name: str) -> Declaration | None:
    """Return what a stored comparison is declared to be; :obj:`None` if it is not declared."""
    if name not in with_retry(optuna.get_all_study_names, storage):
        return None
    if with_retry(is_undeclared, load_study(storage, name)):
        return None
    declaration: Declaration = load_head(storage, name).user_attrs[stored.COMPARISON]
    return declaration


def is_of_function(head: optuna.Study) -> bool:
    """Return whether a comparison is of any Optuna objective, and not of networks."""
    declaration: Declaration = head.user_attrs[stored.COMPARISON]
    return "confirm" in declaration["arguments"]


def load_head(storage: BaseStorage, name: str) -> optuna.Study:
    """Return the head of a stored comparison, or refuse its name."""
    head = load_study(storage, name)
    if not is_comparison(head):
        raise WrongValueError(
            f"The study {name!r} is no comparison; give the name of one, or a new one."
        )
    return head


def like_comparisons(head: optuna.Study) -> tuple[str, ...]:
    """Return the names of the other comparisons of the same objective in a storage."""
    attrs = with_retry(attributes_in, head._storage)

    def objective_of(name: str) -> Any:
        """Return what all runs of a comparison have in common; of models, their data."""
        declaration: Declaration = attrs[name][stored.COMPARISON]
        for label, seed in itertools.product(declaration["arms"], declaration["seeds"]):
            if config := attrs.get(study_name_of(name, label, seed), {}).get(stored.CONFIG):
                return {key: of for key, of in config.items() if key not in ("seed", "space")}
        return attrs[name].get(stored.EVALUATED, {}).get("dataset")

    if not (own := objective_of(head.study_name)):
        return ()
    heads = (name for name in attrs if stored.COMPARISON in attrs[name])
    others = {name: objective_of(name) for name in heads if name != head.study_name}
    return tuple(name for name, of in others.items() if of and not config_differences(own, of))


def study_name_of(comparison: str, label: str, seed: int) -> str:
    """Return the name of the study of an arm and a seed."""
    return f"{comparison}/{label}/{seed=}"


def records_of_comparison(head: optuna.Study) -> dict[str, dict[int, SearchRecord]]:
    """Return what the stored studies of a comparison came to, by arm and seed."""
    declaration: Declaration = head.user_attrs[stored.COMPARISON]
    storage = head._storage
    known = set(with_retry(optuna.get_all_study_names, storage))
    arms: dict[str, dict[int, SearchRecord]] = {label: {} for label in declaration["arms"]}
    others = with_retry(attributes_in, storage)
    for label, seed in itertools.product(declaration["arms"], declaration["seeds"]):
        name = study_name_of(head.study_name, label, seed)
        if name in known:
            study = with_retry(optuna.load_study, study_name=name, storage=storage)
            arms[label][seed] = with_retry(read_record, study, others=others)
    return arms
