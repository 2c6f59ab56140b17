"""Going on with what was stored: a search, or a comparison of several."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal, Unpack

import optuna
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Arguments, Declaration
from adnn_optuna._checks import WrongValueError
from adnn_optuna.api._calls import interrupted_where_called
from adnn_optuna.api._stored_comparisons import is_of_function, records_of_comparison
from adnn_optuna.api.compare import compare
from adnn_optuna.api.comparisons import Comparison
from adnn_optuna.api.search import SearchResult, check_confirm, run_search
from adnn_optuna.callbacks import LimitValues, checked_limits, shows_limits
from adnn_optuna.engine import studies
from adnn_optuna.engine.arms import CONTROLS, SAMPLERS, SamplerSpec, check_sampler
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.objectives import Catch
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.engine.studies import is_comparison
from adnn_optuna.networks.offsets import OffsetSpace


@interrupted_where_called
@shows_limits
def resume(
    storage: str | BaseStorage,
    study_name: str,
    *,
    objective: InitOffsetObjective | Callable[..., float] | None = None,
    sampler: SamplerSpec | None = None,
    pruner: BasePruner | None = None,
    catch: Catch = (),
    data_dir: str | os.PathLike[str] | None = None,
    test: bool = True,
    confirm: int | Literal["auto"] = "auto",
    show_progress_bar: bool = False,
    **limits: Unpack[LimitValues],
) -> SearchResult | Comparison:
    """Continue a stored search or comparison, which knows its model, data, training and limits.

    A limit that is given replaces the stored one, and holds for all runs together; those of a
    comparison are as in :func:`~adnn_optuna.compare`.

    Args:
        storage: Where it is: a database URL or an Optuna storage.
        study_name: Its name; of a comparison, what the names of its studies begin with.
        objective: The objective, where it cannot be rebuilt: arrays, models with own classes, and
            any function.
        sampler: The searcher, where it is not one of ours by name; a comparison of such is gone on
            with by compare.
        pruner: The pruner, if the study, or the comparison of a function, had one.
        catch: Errors that end their own trial, which no study stores; as in search.
        data_dir: Folder to look in for the dataset first.
        test: Whether to look at the test set at the end, as in :func:`~adnn_optuna.search`.
        confirm: With how many fresh seeds the winner of a search is confirmed, as there.
        show_progress_bar: Whether to show a progress bar.
        **limits: New limits, each by the name of its callback's argument.

    Returns:
        What the search or the comparison came to, all runs together.

    Raises:
        ValueError: If there is no such study, it cannot be rebuilt without help, or it is one of
            another objective or searcher than those that are given.
    """
    check_confirm(confirm)
    checked = checked_limits(**limits)
    given: Any = {name: value for name, value in checked.items() if value is not None}
    opened = open_storage(storage, must_exist=True)
    study = studies.load_study(opened, study_name)
    if not is_comparison(study):
        sampler = _stored_searcher(study) if sampler is None else sampler
        check_sampler(sampler)
        if objective is None:
            objective = studies.objective_from_study(study, data_dir)
        objective = studies.check_objective(objective).catching(catch)
        all_limits: LimitValues = {**studies.last_limits(study), **given}
        plan = studies.StudySpec(objective, study_name, sampler, all_limits, pruner=pruner)
        ending: Any = {"test": test, "confirm": confirm}
        return run_search(plan, opened, **ending, show_progress_bar=show_progress_bar)
    arguments = {**_arguments(study, objective, data_dir), **given}
    if is_of_function(study):
        arguments["pruner"] = pruner
    if sampler or not test or confirm != "auto" or (pruner and "pruner" not in arguments):
        raise WrongValueError(
            f"{study_name!r} is a comparison: leave out sampler, pruner, test and confirm, which "
            "are those of a search."
        )
    where: Any = {"storage": opened, "study_name": study_name, "catch": catch}
    return compare(**arguments, **where, show_progress_bar=show_progress_bar)


def _stored_searcher(study: optuna.Study) -> str:
    searcher: str | None = study.user_attrs.get(stored.SEARCH, {}).get("sampler")
    if searcher in SAMPLERS:
        return searcher
    said = f"was searched by {searcher}, which is not stored: give it to adnn_optuna.resume"
    if searcher is None:
        said = "was not begun by search, so it does not know its searcher: give adnn_optuna.resume"
        said += f" one of {', '.join(SAMPLERS)} or an Optuna sampler as sampler"
    raise WrongValueError(f"The study {study.study_name!r} {said}.")


def _arguments(
    head: optuna.Study,
    objective: InitOffsetObjective | Callable[..., float] | None,
    data_dir: str | os.PathLike[str] | None,
) -> dict[str, Any]:
    """Return what a comparison was called with, as its head tells."""
    declaration: Declaration = head.user_attrs[stored.COMPARISON]
    arms, name = declaration["arms"], f"The comparison {head.study_name!r}"
    if unknown := [label for label, arm in arms.items() if arm not in (*SAMPLERS, *CONTROLS)]:
        raise WrongValueError(
            f"{name} does not store {', '.join(unknown)}: go on with it by compare, with the same "
            "arguments."
        )
    given: Any = declaration["arguments"]
    known = {name: given[name] for name in Arguments.__annotations__ if name in given}
    known["seeds"] = declaration["seeds"]
    if is_of_function(head):
        if objective is None:
            raise WrongValueError(
                f"{name} is of a function, which is not stored: go on with it by compare, or give "
                "it as objective."
            )
        return {**known, "objective": objective, "samplers": arms, "direction": head.direction}
    if objective is None:
        of_arms = records_of_comparison(head).values()
        records = [r for of_arm in of_arms for r in of_arm.values() if stored.CONFIG in r.attrs]
        # First those of the space that was given: the other arms have other ones.
        records.sort(key=lambda r: r.attrs[stored.CONFIG]["space"]["type"] != OffsetSpace.__name__)
        if not records:
            raise WrongValueError(f"{name} has no runs, so go on with it by compare.")
        objective = studies.objective_from_study(records[0].study, data_dir)
    return {
        **known,
        "objective": objective,
        "samplers": {label: arm for label, arm in arms.items() if arm in SAMPLERS},
        "controls": {label: arm for label, arm in arms.items() if arm in CONTROLS},
    }
