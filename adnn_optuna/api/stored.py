"""Read the stored results of searches and comparisons.

A comparison has a study for each run, and a study that stores its declaration, called the head.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

import optuna
from optuna.storages import BaseStorage

from adnn_optuna._attributes import COMPARISON, CONFIG, EVALUATED, Declaration
from adnn_optuna._checks import WrongValueError, logger
from adnn_optuna._differences import config_differences
from adnn_optuna.callbacks import LimitValues
from adnn_optuna.engine.kinds import kind_of
from adnn_optuna.engine.records import SearchRecord, attributes_in, read_record
from adnn_optuna.engine.storages import (
    AnyStorage,
    check_no_evaluations,
    is_comparison,
    is_undeclared,
    load_search,
    load_study,
    open_storage,
)
from adnn_optuna.render.printed import Printed
from adnn_optuna.results.comparison import Comparison
from adnn_optuna.results.study import StudyResult, result_of
from adnn_optuna.stats.paired_differences import MARGIN


def load_result(storage: AnyStorage, study_name: str) -> Printed:
    """Return the result of any stored study of this package, without new evaluations.

    Raises:
        ValueError: If the study does not exist, or stores too little for a result.
    """
    study = load_study(open_storage(storage, must_exist=True), study_name)
    kind = kind_of(study.user_attrs)
    if kind.read:
        return kind.load("read")(study)
    check_no_evaluations(study)
    return result_of(read_record(study))


def load_comparison(storage: AnyStorage, study_name: str) -> Comparison:
    """Return a stored comparison up to the first seed with an unfinished run.

    Raises:
        ValueError: If the comparison does not exist, or a run of its first seed is unfinished.
    """
    return stored_comparison(load_head(open_storage(storage, must_exist=True), study_name))


def stored_comparison(head: optuna.Study) -> Comparison:
    """Return the comparison that a study declares, as :func:`load_comparison` does."""
    arms = records_of_comparison(head)
    declaration: Declaration = head.user_attrs[COMPARISON]
    seeds_declared = declaration["seeds"]
    ended = [
        {seed for seed, run in records_by_seed.items() if run.is_over}
        for records_by_seed in arms.values()
    ]
    ended_in_all = set.intersection(*ended)
    seeds = tuple(itertools.takewhile(ended_in_all.__contains__, seeds_declared))
    if not seeds:
        n_over = sum(map(len, ended))
        n_runs = len(arms) * len(seeds_declared)
        raise WrongValueError(
            f"All runs of the first seed ({seeds_declared[0]}) of comparison "
            f"{head.study_name!r} must have ended; got {n_over} of {n_runs} ended runs, but not "
            "all of this seed. Continue with resume or compare."
        )
    results: dict[str, list[StudyResult]] = {}
    for label, records_by_seed in arms.items():
        results[label] = [result_of(records_by_seed[seed]) for seed in seeds]
    margin = declaration["arguments"].get("margin", MARGIN)
    return Comparison(results, seeds, margin, declaration, like_comparisons(head))


def head_if_declared(storage: BaseStorage, name: str) -> optuna.Study | None:
    """Return the study that declares a comparison, or :obj:`None` if there is none yet."""
    if name not in optuna.get_all_study_names(storage):
        return None
    if is_undeclared(load_search(storage, name)):
        return None
    return load_head(storage, name)


def load_head(storage: BaseStorage, name: str) -> optuna.Study:
    """Return the study that declares a comparison. Raise an error for any other study."""
    head = load_search(storage, name)
    if not is_comparison(head):
        raise WrongValueError(
            f"Study {name!r} must be a comparison of samplers; got another kind. Pass the name of "
            "one; to make one, pass a new name to compare."
        )
    return head


def like_comparisons(head: optuna.Study) -> tuple[str, ...]:
    """Return the names of other comparisons in the storage that have the same objective."""
    attrs = attributes_in(head._storage)

    def objective_of(name: str) -> Any:
        """Return what all runs of a comparison share: the objective, or the data of models."""
        declaration: Declaration = attrs[name][COMPARISON]
        for label, seed in itertools.product(declaration["arms"], declaration["seeds"]):
            run = attrs.get(run_name(name, label, seed), {})
            if CONFIG in run:
                config = run[CONFIG]
                return {key: config[key] for key in config if key not in ("seed", "space")}
        evaluated = attrs[name].get(EVALUATED)
        if isinstance(evaluated, dict):
            return evaluated.get("dataset")
        return None

    objective = objective_of(head.study_name)
    if not objective:
        return ()
    names = []
    for name in attrs:
        if COMPARISON in attrs[name] and name != head.study_name:
            other_objective = objective_of(name)
            if other_objective and not config_differences(objective, other_objective):
                names.append(name)
    return tuple(names)


def run_name(comparison: str, label: str, seed: int) -> str:
    """Return the name of the study that stores the run of an arm and a seed."""
    return f"{comparison}/{label}/{seed=}"


def limits_of_runs(
    head: optuna.Study, limits: LimitValues, labels: Iterable[str], seeds: Sequence[int]
) -> LimitValues:
    """Return the limits of a stored comparison, which are the same for all its runs.

    A lower limit than the stored limit raises an error, because some runs may have ended at the
    stored limit. If all runs have ended, the stored limits are returned, and no trial is added.
    """
    arms = records_of_comparison(head)
    n_trials = limits["max_trial"] or 0
    runs = [run for records_by_seed in arms.values() for run in records_by_seed.values()]
    ended = [run for run in runs if run.is_over or len(run.done_trials) >= n_trials]
    by_name: Any = {**limits}
    highest = {}
    for name, limit in by_name.items():
        stored_limits = [run.budget.get(name, limit) for run in ended]
        highest[name] = max([limit, *stored_limits], key=lambda n: math.inf if n is None else n)
    raised = [name for name, limit in by_name.items() if highest[name] != limit]
    if not raised:
        return limits
    in_words = ", ".join(f"{name}={highest[name]}" for name in raised)
    passed = ", ".join(f"{name}={by_name[name]}" for name in raised)
    for label, seed in itertools.product(labels, seeds):
        compared_run = arms.get(label, {}).get(seed)
        if not (compared_run and compared_run.is_over and compared_run.budget == highest):
            raise WrongValueError(
                f"Limits must be at least those of the stored runs, {in_words}; got {passed}. "
                f"Pass {in_words}, or another study_name."
            )
    logger.warning(
        "The runs of %r ended before, with %s. They are reported.", head.study_name, in_words
    )
    return cast("LimitValues", highest)


def records_of_comparison(head: optuna.Study) -> dict[str, dict[int, SearchRecord]]:
    """Return the records of a comparison's stored studies, by arm and seed."""
    declaration: Declaration = head.user_attrs[COMPARISON]
    storage = head._storage
    stored_names = set(optuna.get_all_study_names(storage))
    arms: dict[str, dict[int, SearchRecord]] = {label: {} for label in declaration["arms"]}
    attrs_of_studies = attributes_in(storage)
    for label, seed in itertools.product(declaration["arms"], declaration["seeds"]):
        name = run_name(head.study_name, label, seed)
        if name in stored_names:
            study = optuna.load_study(study_name=name, storage=storage)
            arms[label][seed] = read_record(study, others=attrs_of_studies)
    return arms
