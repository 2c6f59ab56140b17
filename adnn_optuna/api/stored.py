"""Stored results: of searches, and of comparisons with a head and a study for each run."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

import optuna
from optuna.storages import BaseStorage

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Declaration
from adnn_optuna._checks import WrongValueError, logger
from adnn_optuna._differences import config_differences
from adnn_optuna.callbacks import LimitValues
from adnn_optuna.engine.kinds import kind_of
from adnn_optuna.engine.records import SearchRecord, attributes_in, read_record
from adnn_optuna.engine.storages import is_undeclared, open_storage
from adnn_optuna.engine.studies import (
    check_no_evaluations,
    is_comparison,
    load_search,
    load_study,
)
from adnn_optuna.render.printed import Printed
from adnn_optuna.results.comparison import Comparison
from adnn_optuna.results.study import StudyResult, result_of
from adnn_optuna.stats.paired_differences import MARGIN


def load_result(storage: str | BaseStorage, study_name: str) -> Printed:
    """Return the result of any stored study of ours; nothing is evaluated.

    Raises:
        ValueError: If there is no such study, or it is too early for a result.
    """
    opened = open_storage(storage, must_exist=True)
    study = load_study(opened, study_name)
    kind = kind_of(study.user_attrs)
    if kind.read:
        evaluated: Printed = kind.load("read")(study)
        return evaluated
    check_no_evaluations(study)
    if is_comparison(study):
        return load_comparison(opened, study_name)
    return result_of(read_record(study))


def load_comparison(storage: str | BaseStorage, study_name: str) -> Comparison:
    """Return a stored comparison, over the first seeds whose runs have all ended.

    Raises:
        ValueError: If there are no such studies, or the runs of the first seed have not all ended.
    """
    head = load_head(open_storage(storage, must_exist=True), study_name)
    arms = records_of_comparison(head)
    declaration: Declaration = head.user_attrs[stored.COMPARISON]
    declared = declaration["seeds"]
    is_done = [
        all(s in of_arm and of_arm[s].is_over for of_arm in arms.values()) for s in declared
    ]
    seeds = tuple(declared[: [*is_done, False].index(False)])
    if not seeds:
        n_over = sum(run.is_over for of_arm in arms.values() for run in of_arm.values())
        raise WrongValueError(
            f"All runs of the first seed ({declared[0]}) of comparison {study_name!r} must have "
            f"ended; got {n_over} of {len(arms) * len(declared)} ended runs, but not all of this "
            "seed. Continue with resume or compare."
        )
    results: dict[str, list[StudyResult]] = {label: [] for label in arms}
    for label, seed in itertools.product(arms, seeds):
        results[label].append(result_of(arms[label][seed]))
    margin = declaration["arguments"].get("margin", MARGIN)
    return Comparison(results, seeds, margin, declaration, like_comparisons(head))


def declaration_of(storage: BaseStorage, name: str) -> Declaration | None:
    """Return the declaration of a stored comparison; :obj:`None` if there is none."""
    if name not in optuna.get_all_study_names(storage):
        return None
    if is_undeclared(load_search(storage, name)):
        return None
    declaration: Declaration = load_head(storage, name).user_attrs[stored.COMPARISON]
    return declaration


def load_head(storage: BaseStorage, name: str) -> optuna.Study:
    """Return the head of a stored comparison, or refuse its name."""
    head = load_search(storage, name)
    if not is_comparison(head):
        raise WrongValueError(
            f"Study {name!r} must be a comparison; got another one. Pass the name of a "
            "comparison, or a new name."
        )
    return head


def like_comparisons(head: optuna.Study) -> tuple[str, ...]:
    """Return the names of the other comparisons of the same objective in a storage."""
    attrs = attributes_in(head._storage)

    def objective_of(name: str) -> Any:
        """Return the configuration that all runs of a comparison share; of models, their data."""
        declaration: Declaration = attrs[name][stored.COMPARISON]
        for label, seed in itertools.product(declaration["arms"], declaration["seeds"]):
            if config := attrs.get(study_name_of(name, label, seed), {}).get(stored.CONFIG):
                return {
                    key: setting for key, setting in config.items() if key not in ("seed", "space")
                }
        evaluated = attrs[name].get(stored.EVALUATED)
        if isinstance(evaluated, dict):
            return evaluated.get("dataset")
        return None

    if not (own_objective := objective_of(head.study_name)):
        return ()
    heads = (name for name in attrs if stored.COMPARISON in attrs[name])
    other_objectives = {name: objective_of(name) for name in heads if name != head.study_name}
    return tuple(
        name
        for name, other_objective in other_objectives.items()
        if other_objective and not config_differences(own_objective, other_objective)
    )


def study_name_of(comparison: str, label: str, seed: int) -> str:
    """Return the name of the study of an arm and a seed."""
    return f"{comparison}/{label}/{seed=}"


def limits_of_runs(
    head: optuna.Study, limits: LimitValues, labels: Iterable[str], seeds: Sequence[int]
) -> LimitValues:
    """Return the limits of all runs of a stored comparison, which are equal.

    Runs that have ended by higher limits cannot have lower ones: others beside them are refused.
    If all have ended, their limits are returned, and the comparison only reports them.
    """
    arms = records_of_comparison(head)
    ended = [
        run
        for of_arm in arms.values()
        for run in of_arm.values()
        if run.is_over or len(run.done_trials) >= (limits["max_trial"] or 0)
    ]
    by_name: dict[str, Any] = {**limits}
    highest = {
        name: max([limit, *(run.budget.get(name, limit) for run in ended)], key=_limit_as_number)
        for name, limit in by_name.items()
    }
    raised = [name for name, limit in by_name.items() if highest[name] != limit]
    if not raised:
        return limits
    in_words = ", ".join(f"{name}={highest[name]}" for name in raised)
    runs = [arms.get(label, {}).get(seed) for label in labels for seed in seeds]
    if not all(run and run.is_over and run.budget == highest for run in runs):
        raise WrongValueError(
            f"Limits must be at least those of the stored runs, {in_words}; got "
            f"{', '.join(f'{name}={by_name[name]}' for name in raised)}. Pass {in_words}, or "
            "another study_name."
        )
    logger.warning(
        "The runs of %r ended before, with %s. They are reported.", head.study_name, in_words
    )
    return cast("LimitValues", highest)


def _limit_as_number(limit: float | None) -> float:
    return math.inf if limit is None else limit


def records_of_comparison(head: optuna.Study) -> dict[str, dict[int, SearchRecord]]:
    """Return the records of a comparison's stored studies, by arm and seed."""
    declaration: Declaration = head.user_attrs[stored.COMPARISON]
    storage = head._storage
    stored_names = set(optuna.get_all_study_names(storage))
    arms: dict[str, dict[int, SearchRecord]] = {label: {} for label in declaration["arms"]}
    attrs_of_studies = attributes_in(storage)
    for label, seed in itertools.product(declaration["arms"], declaration["seeds"]):
        name = study_name_of(head.study_name, label, seed)
        if name in stored_names:
            study = optuna.load_study(study_name=name, storage=storage)
            arms[label][seed] = read_record(study, others=attrs_of_studies)
    return arms
