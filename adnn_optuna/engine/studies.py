"""Studies that are to be searched: what each of them is, and how it is created or found."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.storages import InMemoryStorage

from adnn_optuna._attributes import CONFIG, SEARCH, SearchSettings
from adnn_optuna.callbacks import MaxGainCallback, MaxTimeCallback, MaxTrialCallback
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.records import runs_of
from adnn_optuna.engine.searchers import (
    Searcher,
    build_sampler,
    ends_by_itself,
    searcher_label,
    starts_at_baseline,
)
from adnn_optuna.engine.storages import patiently, storage_url
from adnn_optuna.networks.data import dataset_from_config
from adnn_optuna.networks.differences import config_differences, in_words
from adnn_optuna.networks.models import Training
from adnn_optuna.networks.network import model_from_config
from adnn_optuna.networks.offsets import space_from_config

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage

# The width of Optuna's database column.
_MAX_NAME_LENGTH = 512


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a study may take, over all of its runs and workers; :obj:`None` is no limit.

    Args:
        max_time:
            Seconds.
        max_trial:
            Trials.
        max_gain:
            Gain over the baseline, in units of the metric.

    Raises:
        TypeError: If a limit is not a number.
        ValueError: If a limit is not positive and finite.
    """

    max_time: float | None = None
    max_trial: int | None = None
    max_gain: float | None = None

    def __post_init__(self) -> None:
        # The callbacks check the values; NumPy's numbers, which JSON cannot hold, become Python's.
        for name, callback, kind in (
            ("max_time", MaxTimeCallback, float),
            ("max_trial", MaxTrialCallback, int),
            ("max_gain", MaxGainCallback, float),
        ):
            if (value := getattr(self, name)) is not None:
                callback(value)
                object.__setattr__(self, name, kind(value))


def last_limits(study: optuna.Study) -> Limits:
    """Return the limits of the last run of a study that had something to do."""
    runs = runs_of(study)
    if not runs:
        return Limits()
    return Limits(runs[-1]["max_time"], runs[-1]["max_trial"], runs[-1]["max_gain"])


def check_objective(objective: object) -> None:
    """Refuse what is no objective of ours."""
    if not isinstance(objective, InitOffsetObjective):
        raise TypeError(
            "objective must be an InitOffsetObjective, made of a model and a dataset, but it is a "
            f"{type(objective).__name__}."
        )


def check_ends(searcher: Searcher, limits: Limits) -> None:
    """Refuse a search that would never end."""
    if limits == Limits() and not ends_by_itself(searcher):
        raise ValueError("The search would never end: give max_time, max_trial or max_gain.")


def check_pruner(pruner: object) -> None:
    """Refuse what is no pruner."""
    if pruner is not None and not isinstance(pruner, BasePruner):
        raise TypeError(
            "pruner must be an Optuna pruner, such as optuna.pruners.MedianPruner(), but it is "
            f"{pruner!r}."
        )


def check_study_name(study_name: object) -> None:
    """Refuse a name that not every storage can hold."""
    if not isinstance(study_name, str):
        raise TypeError(f"study_name must be a string, but it is {study_name!r}.")
    # Bytes from a command line that are no UTF-8 become surrogates, which no database takes.
    is_text = not any("\ud800" <= character <= "\udfff" for character in study_name)
    if not (study_name and is_text and len(study_name) <= _MAX_NAME_LENGTH):
        raise ValueError(
            f"study_name must be text of 1 to {_MAX_NAME_LENGTH} characters, but it is "
            f"{study_name[:50]!a} ({len(study_name)} characters)."
        )


def load_study(storage: BaseStorage, study_name: str) -> optuna.Study:
    """Return a stored study.

    Raises:
        ValueError: If there is none of that name; the message lists those that there are.
    """
    check_study_name(study_name)
    try:
        return patiently(optuna.load_study, study_name=study_name, storage=storage)
    except KeyError:
        names = [repr(name) for name in patiently(optuna.get_all_study_names, storage)]
        shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
        raise ValueError(
            f"There is no study {study_name!r} in {storage_url(storage) or 'the storage'}; "
            + (f"it has {shown}." if names else "it has none.")
        ) from None


def objective_from_study(
    study: optuna.Study, data_dir: str | os.PathLike[str] | None = None
) -> InitOffsetObjective:
    """Rebuild the objective that a study stores.

    Args:
        study:
            The study.
        data_dir:
            Where the dataset is, see :func:`~adnn_optuna.load_dataset`.

    Raises:
        ValueError: If the study stores none, or it cannot be rebuilt.
    """
    config: dict[str, Any] | None = study.user_attrs.get(CONFIG)
    if config is None:
        raise ValueError(
            f"The study {study.study_name!r} is not one of an InitOffsetObjective; to continue "
            "it, use study.optimize."
        )
    objective = InitOffsetObjective(
        model_from_config(config["model"]),
        dataset_from_config(config["dataset"], data_dir),
        training=Training(**config["training"]),
        space=space_from_config(config["space"]),
        metric=config["metric"],
        seed=config["seed"],
    )
    differences = config_differences(config["model"], objective.config["model"], "model")
    if differences:
        raise ValueError(
            f"The model of the study {study.study_name!r} cannot be rebuilt from its "
            f"configuration ({in_words(differences)}); pass the objective again."
        )
    return objective


def resume_hint(study: optuna.Study) -> str:
    """Return the sentence that tells how to go on with an interrupted study."""
    url = storage_url(study._storage)
    if url is None and isinstance(study._storage, InMemoryStorage):
        return (
            f"Interrupted; the study {study.study_name!r} is in memory and ends with this process."
        )
    if url is None:
        return (
            "Interrupted; all trials are kept. Go on with adnn_optuna.resume(storage, "
            f"{study.study_name!r})."
        )
    return (
        f"Interrupted; all trials are kept. Go on with adnn_optuna.resume({url!r}, "
        f"{study.study_name!r})."
    )


@dataclasses.dataclass(frozen=True)
class Plan:
    """A study that is to be searched.

    Args:
        objective:
            Its objective.
        name:
            Its name; a new one if :obj:`None`.
        searcher:
            Its searcher.
        limits:
            What it may take.
        batch_size:
            How many trials are proposed before any of them is told, where the study does not
            store that already.
    """

    objective: InitOffsetObjective
    name: str | None
    searcher: Searcher
    limits: Limits
    batch_size: int


@dataclasses.dataclass(frozen=True)
class Job:
    """A study that is ready to be searched, with its sampler, by a plan."""

    plan: Plan
    study: optuna.Study
    settings: SearchSettings


def open_studies(
    plans: Sequence[Plan], storage: BaseStorage, pruner: BasePruner | None = None
) -> list[Job]:
    """Create or load a study for each plan; none is created if one of them is refused.

    Args:
        plans:
            The studies.
        storage:
            Where they are.
        pruner:
            Their pruner.

    Raises:
        ValueError: If a study that exists is of another objective or searcher.
        TypeError: If a factory returns no sampler.
    """
    existing = set(patiently(optuna.get_all_study_names, storage))
    found = [load_study(storage, p.name) if p.name in existing else None for p in plans]
    # Whatever may be refused comes before the first study is created.
    checked = [patiently(_checked, p, study) for p, study in zip(plans, found, strict=True)]
    jobs = []
    for plan, study, (settings, sampler) in zip(plans, found, checked, strict=True):
        opened = study if study is not None else patiently(_created, plan, storage)
        opened.pruner = NopPruner() if pruner is None else pruner
        opened.sampler = sampler
        patiently(_prepare, plan, opened, settings)
        jobs.append(Job(plan, opened, settings))
    return jobs


def _checked(plan: Plan, study: optuna.Study | None) -> tuple[SearchSettings, BaseSampler]:
    """Return the settings to search a study with, if it exists, and its sampler."""
    settings: SearchSettings = {
        "sampler": searcher_label(plan.searcher),
        "n_trials": plan.limits.max_trial,
        "batch_size": plan.batch_size,
    }
    stored: SearchSettings | None = None if study is None else study.user_attrs.get(SEARCH)
    if stored is not None and stored["sampler"] != settings["sampler"]:
        raise ValueError(
            f"The study {plan.name!r} was searched by {stored['sampler']}, not by "
            f"{settings['sampler']}; use another study name."
        )
    settings = stored or settings
    sampler = build_sampler(
        plan.searcher,
        seed=plan.objective.seed,
        parameters=plan.objective.distributions,
        n_trials=settings["n_trials"],
    )
    if study is not None:
        plan.objective.attach(study)
    return settings, sampler


def _created(plan: Plan, storage: BaseStorage) -> optuna.Study:
    return optuna.create_study(
        storage=storage,
        study_name=plan.name,
        direction=plan.objective.direction,
        # Another worker may have created it a moment ago.
        load_if_exists=True,
    )


def _prepare(plan: Plan, study: optuna.Study, settings: SearchSettings) -> None:
    """Store what a new study is, and enqueue the baseline for those who would not begin there."""
    plan.objective.attach(study)
    if SEARCH not in study.user_attrs:
        study.set_user_attr(SEARCH, settings)
    is_new = not study.get_trials(deepcopy=False)
    if is_new and not starts_at_baseline(plan.searcher, study.sampler):
        study.enqueue_trial(dict.fromkeys(plan.objective.distributions, 0.0))
