"""Resuming a stored search or comparison."""

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
from adnn_optuna.api.compare import compare
from adnn_optuna.api.comparisons import is_of_function, records_of_comparison
from adnn_optuna.api.function_search import resumed_function
from adnn_optuna.api.search import SearchResult, check_confirm, run_search
from adnn_optuna.callbacks import LimitValues, checked_limits, shows_limits
from adnn_optuna.engine import studies
from adnn_optuna.engine.arms import CONTROLS, SAMPLERS, SamplerSpec, check_sampler
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.loop import last_limits
from adnn_optuna.engine.objectives import Catch
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.engine.studies import is_comparison
from adnn_optuna.networks.offsets import OffsetSpace
from adnn_optuna.results.comparison import Comparison
from adnn_optuna.results.function_search import FunctionSearch


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
    reuse: bool = False,
    show_progress_bar: bool = False,
    **limits: Unpack[LimitValues],
) -> SearchResult | FunctionSearch | Comparison:
    """Continue a stored search or comparison, which knows its model, data, training and limits.

    A limit that you pass replaces the stored one and applies to all runs together. The limits of a
    comparison are as in :func:`~adnn_optuna.compare`.

    Args:
        storage: A database URL or an Optuna storage.
        study_name: The name of the study, or of the comparison.
        objective: The objective, if it cannot be rebuilt: arrays, models with classes of your own,
            and any function.
        sampler: The sampler, if it has no name of ours. To continue a comparison of such samplers,
            call compare again.
        pruner: The pruner, if the study, or the comparison of a function, had one.
        catch: Errors that end their own trial, as in search; no study stores them.
        data_dir: The folder to look in for the dataset first.
        test: Whether to evaluate the test set at the end, as in :func:`~adnn_optuna.search`.
        confirm: The number of new seeds that confirm the best trial, as in a search.
        reuse: Whether stored trials of a function count although it changed since, as in
            :func:`~adnn_optuna.recheck`.
        show_progress_bar: Whether to show a progress bar.
        **limits: New limits, each by the name of its callback's argument.

    Raises:
        TypeError: If an argument has a wrong type.
        FileNotFoundError: If the SQLite file of ``storage`` does not exist.
        ValueError: If the study does not exist, cannot be rebuilt without help, or has another
            objective or sampler than you pass.
    """
    checked = checked_limits(**limits)
    given: Any = {name: value for name, value in checked.items() if value is not None}
    opened = open_storage(storage, must_exist=True)
    study = studies.load_study(opened, study_name)
    if not is_comparison(study):
        all_limits: LimitValues = {**last_limits(study), **given}
        if callable(objective) and not isinstance(objective, InitOffsetObjective):
            return resumed_function(
                study,
                objective,
                sampler,
                all_limits,
                confirm=confirm,
                reuse=reuse,
                pruner=pruner,
                catch=catch,
                show_progress_bar=show_progress_bar,
            )
        check_confirm(confirm)
        sampler = _stored_sampler(study) if sampler is None else sampler
        check_sampler(sampler)
        if objective is None:
            objective = studies.objective_from_study(study, data_dir)
        objective = studies.check_objective(objective).replace(catch=catch)
        plan = studies.StudySpec(objective, study_name, sampler, all_limits, pruner=pruner)
        return run_search(
            plan, opened, test=test, confirm=confirm, show_progress_bar=show_progress_bar
        )
    arguments = {**_arguments(study, objective, data_dir), **given}
    if is_of_function(study):
        arguments["pruner"] = pruner
    if sampler or not test or confirm != "auto" or (pruner and "pruner" not in arguments):
        raise WrongValueError(
            f"{study_name!r} must be a search if sampler, pruner, test or confirm is set; got a "
            "comparison. Omit them."
        )
    return compare(
        **arguments,
        reuse=reuse,
        storage=opened,
        study_name=study_name,
        catch=catch,
        show_progress_bar=show_progress_bar,
    )


def _stored_sampler(study: optuna.Study) -> str:
    sampler: str | None = study.user_attrs.get(stored.SEARCH, {}).get("sampler")
    if sampler in SAMPLERS:
        return sampler
    raise WrongValueError(
        f"Study {study.study_name!r} does not store its sampler"
        f"{'' if sampler is None else f' {sampler}'}. Pass sampler to adnn_optuna.resume: an "
        f"Optuna sampler or one of {', '.join(SAMPLERS)}."
    )


def _arguments(
    head: optuna.Study,
    objective: InitOffsetObjective | Callable[..., float] | None,
    data_dir: str | os.PathLike[str] | None,
) -> dict[str, Any]:
    """Return the arguments of a comparison, as its head stores them."""
    declaration: Declaration = head.user_attrs[stored.COMPARISON]
    arms, name = declaration["arms"], f"Comparison {head.study_name!r}"
    if unknown := [label for label, arm in arms.items() if arm not in (*SAMPLERS, *CONTROLS)]:
        raise WrongValueError(
            f"{name} does not store {', '.join(unknown)}. Call compare again with the same "
            "arguments."
        )
    given: Any = declaration["arguments"]
    known = {name: given[name] for name in Arguments.__annotations__ if name in given}
    known |= known.pop("limits", {})
    known["seeds"] = declaration["seeds"]
    if is_of_function(head):
        if objective is None:
            raise WrongValueError(
                f"{name} does not store its function. Pass it as objective, or call compare again."
            )
        known["resampled"] = known["resampled"] or False  # The comparison has asked before.
        return {**known, "objective": objective, "samplers": arms, "direction": head.direction}
    if objective is None:
        arms_by_seed = records_of_comparison(head).values()
        records = [r for arm in arms_by_seed for r in arm.values() if stored.CONFIG in r.attrs]
        # First the records with the space that was passed: other arms have other spaces.
        records.sort(key=lambda r: r.attrs[stored.CONFIG]["space"]["type"] != OffsetSpace.__name__)
        if not records:
            raise WrongValueError(f"{name} has no runs yet. Call compare again.")
        objective = studies.objective_from_study(records[0].study, data_dir)
    return {
        **known,
        "objective": objective,
        "samplers": {label: arm for label, arm in arms.items() if arm in SAMPLERS},
        "controls": [arm for arm in arms.values() if arm in CONTROLS],
    }
