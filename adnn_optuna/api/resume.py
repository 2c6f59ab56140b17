"""Continue any stored study of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Unpack

import optuna
from optuna.pruners import BasePruner

from adnn_optuna._attributes import (
    COMPARISON,
    RESAMPLED,
    SEARCH,
    Arguments,
    Declaration,
    Json,
    as_sizes,
)
from adnn_optuna._checks import FilePath, WrongValueError, shown
from adnn_optuna.api._calls import Call, Running, as_searched, checked_call, verb
from adnn_optuna.api.compare import compare
from adnn_optuna.api.search import run_search
from adnn_optuna.api.stored import records_of_comparison
from adnn_optuna.callbacks import LimitValues
from adnn_optuna.engine.arms import SamplerSpec, check_sampler
from adnn_optuna.engine.kinds import COMPARISON_KIND, kind_of
from adnn_optuna.engine.loop import last_limits
from adnn_optuna.engine.objectives import Ending, Searched
from adnn_optuna.engine.storages import (
    AnyStorage,
    check_no_evaluations,
    load_study,
    open_storage,
)
from adnn_optuna.engine.studies import StudySpec


class ResumeKeywords(Running, LimitValues, total=False):
    """The keywords that :func:`resume` shares with other functions of the API."""


@verb(ResumeKeywords)
def resume(
    storage: AnyStorage,
    study_name: str,
    *,
    objective: Searched[Any] | Callable[..., float] | None = None,
    sampler: SamplerSpec | None = None,
    pruner: BasePruner | None = None,
    data_dir: FilePath | None = None,
    test: bool = True,
    confirm: int | Literal["auto"] = "auto",
    reuse: bool = False,
    **keywords: Unpack[ResumeKeywords],
) -> Any:
    """Continue a stored search, comparison, recheck or variance, with its stored settings.

    A limit that you pass replaces the stored limit, and applies to all calls together. A
    comparison of samplers treats limits as :func:`~adnn_optuna.compare` does. To continue a
    comparison of models, call :func:`~adnn_optuna.compare_models` again.

    Args:
        storage: A database URL, the path of an SQLite file, or an Optuna storage.
        study_name: The name of the study, the comparison, or the recheck (such as
            ``mine/recheck``).
        objective: The objective, if the study cannot rebuild it. You must pass it for all
            functions, and for objectives with arrays as data or with your own classes in their
            models.
        sampler: The sampler, if adnn has no name for it. To continue a comparison of such
            samplers, call :func:`~adnn_optuna.compare` again.
        pruner: The pruner, if the search or the comparison was started with a pruner.
        data_dir: The folder in which to look for the dataset first.
        test: Whether to evaluate the test set at the end, as in :func:`~adnn_optuna.search`.
        confirm: The number of new seeds that evaluate the result. The default is the number that
            the search of a function stores, and for networks as in :func:`~adnn_optuna.search`.
        reuse: Whether stored trials count although the function's code changed. See
            :func:`~adnn_optuna.recheck`.
        **keywords: Options of the evaluations, and new limits.

    Returns:
        The result. It has the same class as the result of the first call.

    Raises:
        TypeError: If an argument has a wrong type.
        FileNotFoundError: If the SQLite file of ``storage`` does not exist.
        ValueError: If the study does not exist. If its objective or sampler cannot be rebuilt and
            you pass none. If the study has another objective or sampler than you pass.
    """
    call = checked_call(keywords)
    new_limits: Any = {name: value for name, value in call.limits.items() if value is not None}
    opened = open_storage(storage, must_exist=True)
    study = load_study(opened, study_name)
    kind = kind_of(study.user_attrs)
    running = {name: getattr(call, name) for name in Running.__annotations__}
    of_search: dict[str, object] = {"sampler": sampler}
    if not test:
        of_search["test"] = test
    if confirm != "auto":
        of_search["confirm"] = confirm
    if kind is COMPARISON_KIND:
        _check_omitted(f"the comparison {study_name!r}", of_search)
        arguments = _arguments(study, objective, data_dir) | new_limits | running
        return compare(
            **arguments, pruner=pruner, reuse=reuse, storage=opened, study_name=study_name
        )
    if kind.read:
        other_limits = {**new_limits, "max_time": None}
        _check_omitted(
            f"the evaluations {study_name!r}", of_search | {"pruner": pruner} | other_limits
        )
        if not kind.resume:
            raise kind.refusal(f"Study {study_name!r}")
        resumed = kind.load("resume")
        return resumed(study, objective, data_dir, max_time=call.max_time, reuse=reuse, **running)
    check_no_evaluations(study)
    searched, settings = _stored_objective(study, objective, data_dir, call)
    names = searched.arms.samplers
    if sampler is None:
        sampler = _stored_sampler(study, names)
    check_sampler("sampler", sampler, names)
    all_limits: LimitValues = {**last_limits(study), **new_limits}
    if confirm == "auto":
        confirm = settings.get("confirm", "auto")
    ending = Ending(
        test, confirm, max_time=all_limits["max_time"], show_progress_bar=call.show_progress_bar
    )
    batch_size = settings.get("batch_size", "auto")
    spec = StudySpec(searched, study_name, sampler, all_limits, batch_size, pruner, ending)
    return run_search(spec, opened, reuse=reuse)


def _check_omitted(study: str, of_search: Mapping[str, object]) -> None:
    """Raise an error for arguments that are only for searches."""
    for name, value in of_search.items():
        if value is not None:
            raise WrongValueError(
                f"{name} must be omitted for {study}; got {shown(value)}. It is for searches only."
            )


def _stored_objective(
    study: optuna.Study,
    objective: Any,
    data_dir: FilePath | None,
    call: Call,
) -> tuple[Searched[Any], Json]:
    """Return the objective of a stored search, and the settings of the search."""
    settings: Json = study.user_attrs.get(SEARCH, {})
    if objective is None:
        objective = kind_of(study.user_attrs).rebuilt(study, data_dir)
    # The first call has already checked the function for splits.
    searched = as_searched(
        objective, call, is_random=False, n_jobs=call.n_jobs, executor=call.executor
    )
    if not searched.functions:
        return searched, settings
    if "seed" not in settings:
        raise WrongValueError(
            f"Study {study.study_name!r} must be a search of a function; got a study that "
            "adnn_optuna.search did not begin. Continue it by study.optimize."
        )
    n_jobs = call.n_jobs or settings["n_jobs"]
    searched = searched.replace(
        direction=study.direction,
        seed=settings["seed"],
        replicate=settings["replicate"],
        n_jobs=n_jobs,
        resampled=as_sizes(study.user_attrs.get(RESAMPLED)) or False,
    )
    return searched, settings


def _stored_sampler(study: optuna.Study, names: list[str]) -> str:
    sampler: str | None = study.user_attrs.get(SEARCH, {}).get("sampler")
    if sampler in names:
        return sampler
    raise WrongValueError(
        f"Study {study.study_name!r} must store its sampler by a name; got {sampler or 'none'}. "
        "Pass sampler to adnn_optuna.resume: an Optuna sampler or one of "
        f"{', '.join(names)}."
    )


def _arguments(head: optuna.Study, objective: Any, data_dir: FilePath | None) -> dict[str, Any]:
    """Return the arguments of a comparison, as its declaration stores them."""
    declaration: Declaration = head.user_attrs[COMPARISON]
    arms = declaration["arms"]
    name = f"Comparison {head.study_name!r}"
    records = [run for of_arm in records_of_comparison(head).values() for run in of_arm.values()]
    if not records:
        raise WrongValueError(f"{name} has no runs yet. Call compare again.")
    named = records[0].arms
    if unknown := [label for label, arm in arms.items() if arm["name"] not in named]:
        raise WrongValueError(
            f"{name} does not store {', '.join(unknown)}. Call compare again with the same "
            "arguments."
        )
    arguments: Any = declaration["arguments"]
    stored_arguments = {
        key: arguments[key] for key in Arguments.__annotations__ if key in arguments
    }
    stored_arguments |= stored_arguments.pop("limits", {})
    if objective is None:
        first = next((record for record in records if record.is_as_passed), records[0])
        objective = kind_of(first.attrs).rebuilt(first.study, data_dir, name)
    searched = as_searched(objective, Call(), is_random=False)
    if searched.functions:
        # The first call has already checked the function for splits.
        stored_arguments["resampled"] = stored_arguments["resampled"] or False
        stored_arguments["direction"] = head.direction
    else:
        del stored_arguments["confirm"]
    controls = []
    samplers = {}
    for label, arm in arms.items():
        if arm["is_control"]:
            controls.append(arm["name"])
        else:
            samplers[label] = arm["name"]
    return {
        **stored_arguments,
        "seeds": declaration["seeds"],
        "objective": objective,
        "samplers": samplers,
        "controls": controls,
    }
