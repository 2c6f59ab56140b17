"""Studies that are to be searched: what each of them is, and how it is created or found."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import optuna
from optuna.pruners import BasePruner, NopPruner

from adnn_optuna._attributes import SEARCH
from adnn_optuna.engine.loop import Lane, Limits
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.searchers import (
    Searcher,
    build_sampler,
    ends_by_itself,
    searcher_label,
    starts_at_baseline,
)
from adnn_optuna.engine.storages import storage_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage

# The width of Optuna's database column.
_MAX_NAME_LENGTH = 512


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """How a study is searched, as the study stores it.

    Args:
        sampler:
            The searcher's name, or the class of another Optuna sampler.
        n_trials:
            The number of trials that the searcher's schedule was made for. It stays as it was
            when ``max_trial`` is raised later: another schedule would be another search.
        stack_size:
            How many trials are asked for at once.
        max_time:
            See :func:`search`.
        max_trial:
            See :func:`search`.
        max_gain:
            See :func:`search`.
    """

    sampler: str
    n_trials: int | None
    stack_size: int
    max_time: float | None
    max_trial: int | None
    max_gain: float | None

    @classmethod
    def of(cls, searcher: Searcher, limits: Limits, stack_size: int) -> SearchSettings:
        """Return the settings of a new search."""
        return cls(
            searcher_label(searcher),
            limits.max_trial,
            stack_size,
            limits.max_time,
            limits.max_trial,
            limits.max_gain,
        )

    @property
    def limits(self) -> Limits:
        """What the study may take."""
        return Limits(self.max_time, self.max_trial, self.max_gain)


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
        return optuna.load_study(study_name=study_name, storage=storage)
    except KeyError:
        names = [repr(name) for name in optuna.get_all_study_names(storage)]
        shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
        raise ValueError(
            f"There is no study {study_name!r} in {storage_url(storage) or 'the storage'}; "
            + (f"it has {shown}." if names else "it has none.")
        ) from None


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
        settings:
            How it is searched, if it does not store that already: of stored settings only the
            limits are replaced.
    """

    objective: InitOffsetObjective
    name: str | None
    searcher: Searcher
    settings: SearchSettings


def open_lanes(
    plans: Sequence[Plan], storage: BaseStorage, pruner: BasePruner | None = None
) -> list[Lane]:
    """Create or load a study for each plan, ready to run; none if one of them is refused.

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
    existing = set(optuna.get_all_study_names(storage))
    # Whatever may be refused comes before the first study is created.
    checked = [
        _checked(plan, load_study(storage, plan.name) if plan.name in existing else None)
        for plan in plans
    ]
    lanes = []
    for plan, (found, settings, sampler) in zip(plans, checked, strict=True):
        study = found
        if study is None:
            study = optuna.create_study(
                storage=storage,
                study_name=plan.name,
                direction=plan.objective.direction,
                # Another worker may have created it a moment ago.
                load_if_exists=True,
            )
            plan.objective.attach(study)
        study.pruner = NopPruner() if pruner is None else pruner
        study.sampler = sampler
        if study.user_attrs.get(SEARCH) != dataclasses.asdict(settings):
            study.set_user_attr(SEARCH, dataclasses.asdict(settings))
        if not study.get_trials(deepcopy=False) and not starts_at_baseline(plan.searcher, sampler):
            study.enqueue_trial(dict.fromkeys(plan.objective.distributions, 0.0))
        lanes.append(Lane(study, plan.objective, settings.limits, settings.stack_size))
    return lanes


def _checked(
    plan: Plan, study: optuna.Study | None
) -> tuple[optuna.Study | None, SearchSettings, BaseSampler]:
    """Return the study that exists, the settings to search it with, and its sampler."""
    settings = plan.settings
    stored = None if study is None else study.user_attrs.get(SEARCH)
    if stored is not None:
        if stored["sampler"] != settings.sampler:
            raise ValueError(
                f"The study {plan.name!r} was searched by {stored['sampler']}, not by "
                f"{settings.sampler}; use another study name."
            )
        settings = dataclasses.replace(
            SearchSettings(**stored),
            max_time=settings.max_time,
            max_trial=settings.max_trial,
            max_gain=settings.max_gain,
        )
    sampler = build_sampler(
        plan.searcher,
        seed=plan.objective.seed,
        parameters=plan.objective.distributions,
        n_trials=settings.n_trials,
        stack_size=settings.stack_size,
    )
    if study is not None:
        plan.objective.attach(study)
    return study, settings, sampler
