"""Searches: one call that runs, stores, resumes and sums up a study of init offsets."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Literal

import optuna
from optuna.pruners import NopPruner
from optuna.storages import InMemoryStorage
from tqdm.auto import tqdm

from adnn_optuna.architectures import model_from_config
from adnn_optuna.callbacks import BASELINE
from adnn_optuna.dashboard import show_search
from adnn_optuna.data import dataset_from_config
from adnn_optuna.differences import in_words, model_differences
from adnn_optuna.engine import Lane, Limits, run_lanes
from adnn_optuna.models import Training
from adnn_optuna.objective import BASELINE_METRICS, CONFIG, TRIAL_METRICS, InitOffsetObjective
from adnn_optuna.offsets import space_from_config
from adnn_optuna.results import SEARCH, TEST, SearchResult, best_trial, result_of
from adnn_optuna.searchers import (
    SEARCHERS,
    Searcher,
    build_sampler,
    check_searcher,
    default_stack_size,
    objective_for,
    searcher_label,
    starts_at_baseline,
)
from adnn_optuna.storages import open_storage, storage_url

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from adnn_optuna.objective import Outcome

_logger = optuna.logging.get_logger("optuna.adnn_optuna")

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

    @property
    def limits(self) -> Limits:
        """What the study may take."""
        return Limits(self.max_time, self.max_trial, self.max_gain)


def search(
    objective: InitOffsetObjective,
    sampler: Searcher = "annealing",
    *,
    storage: str | BaseStorage | None = None,
    study_name: str | None = None,
    max_time: float | None = None,
    max_trial: int | None = None,
    max_gain: float | None = None,
    stack_size: int | Literal["auto"] = "auto",
    pruner: BasePruner | None = None,
    show_progress_bar: bool = False,
) -> SearchResult:
    """Search for the init offsets that train to the best network, within limits.

    The study is an ordinary Optuna study. One that exists already is continued: the limits hold
    for all runs together, and a search that was interrupted or killed ends with the same trials
    as one that was not.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn

            objective = adnn.InitOffsetObjective(adnn.MLP(), adnn.load_dataset("digits"))
            result = adnn.search(objective, "annealing", max_trial=30)
            print(result)

    Args:
        objective:
            What is searched.
        sampler:
            ``"greedy"`` (the paper's Algorithm 1), ``"greedy_improving"``, ``"annealing"``,
            ``"random_restart"`` (new random initialisations instead of offsets: the control), an
            Optuna sampler, or a factory ``(seed, n_trials) -> sampler``.
        storage:
            A database URL such as ``"sqlite:///adnn.db"``, an Optuna storage, or :obj:`None` to
            keep the study in memory.
        study_name:
            The name of the study; a new one if :obj:`None`.
        max_time:
            The seconds that the study's trials may take. A training under way is cut off after
            the epoch in which they are over.
        max_trial:
            The number of trials.
        max_gain:
            The gain over the baseline, in units of the metric, that is enough.
        stack_size:
            How many trials are asked for and trained at once. ``"auto"``: 8 for ``"greedy"`` and
            ``"random_restart"`` (fewer for networks of more than 5 million weights), and 1 for
            all that learn from each trial.
        pruner:
            An Optuna pruner; no trial is pruned if :obj:`None`.
        show_progress_bar:
            Whether to show a progress bar, instead of a log line for each trial.

    Returns:
        What the search came to.

    Raises:
        ValueError: If an argument is wrong, or the study that exists is of another objective or
            searcher.
        KeyboardInterrupt: If the user interrupts; all that was computed is stored.
    """
    check_searcher(sampler)
    limits = Limits(max_time, max_trial, max_gain)
    if stack_size == "auto":
        stack_size = default_stack_size(sampler, objective)
    check_stack_size(stack_size)
    if study_name is not None:
        check_study_name(study_name)
    if limits == Limits() and sampler not in ("greedy", "greedy_improving"):
        raise ValueError("The search would never end: give max_time, max_trial or max_gain.")
    settings = SearchSettings(
        searcher_label(sampler), max_trial, stack_size, max_time, max_trial, max_gain
    )
    objective = objective_for(sampler, objective)
    plan = Plan(objective, study_name, sampler, settings)
    [lane] = open_lanes([plan], open_storage(storage), pruner)
    return _run(lane, show_progress_bar=show_progress_bar)


def resume(
    storage: str | BaseStorage,
    study_name: str,
    *,
    max_time: float | None = None,
    max_trial: int | None = None,
    max_gain: float | None = None,
    objective: InitOffsetObjective | None = None,
    sampler: Searcher | None = None,
    pruner: BasePruner | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    show_progress_bar: bool = False,
) -> SearchResult:
    """Continue a stored search; the study knows its model, data, training, searcher and limits.

    Args:
        storage:
            Where the study is: a database URL or an Optuna storage.
        study_name:
            Its name.
        max_time:
            A new limit for the whole study, in seconds; the stored one if :obj:`None`.
        max_trial:
            The same for the number of trials.
        max_gain:
            The same for the gain.
        objective:
            The objective, where it cannot be rebuilt: data from arrays, models with own classes.
        sampler:
            The searcher, where it is not one of ours by name.
        pruner:
            The pruner, if the study had one.
        data_dir:
            Where the dataset is, see :func:`~adnn_optuna.load_dataset`.
        show_progress_bar:
            Whether to show a progress bar.

    Returns:
        What the search came to, all runs together.

    Raises:
        ValueError: If there is no such study, it cannot be rebuilt without help, or the objective
            that is given is not the study's.
    """
    opened = open_storage(storage, must_exist=True)
    study = load_study(opened, study_name)
    stored = study.user_attrs.get(SEARCH)
    if objective is None:
        objective = objective_from_study(study, data_dir)
    if stored is None and sampler is None:
        raise ValueError(
            f"The study {study_name!r} was not begun by search, so it does not know its searcher: "
            f"give sampler, one of {', '.join(SEARCHERS)} or an Optuna sampler."
        )
    if sampler is not None:
        check_searcher(sampler)
        objective = objective_for(sampler, objective)
    if stored is None:
        assert sampler is not None
        settings = SearchSettings(
            searcher_label(sampler),
            max_trial,
            default_stack_size(sampler, objective),
            max_time,
            max_trial,
            max_gain,
        )
    else:
        settings = SearchSettings(**stored)
        settings = dataclasses.replace(
            settings,
            max_time=settings.max_time if max_time is None else max_time,
            max_trial=settings.max_trial if max_trial is None else max_trial,
            max_gain=settings.max_gain if max_gain is None else max_gain,
        )
        if sampler is None:
            if settings.sampler not in SEARCHERS:
                raise ValueError(
                    f"The study {study_name!r} was searched by {settings.sampler}, which is not "
                    "stored: give it again as sampler."
                )
            sampler = settings.sampler
    settings.limits  # noqa: B018 - checks them
    [lane] = open_lanes([Plan(objective, study_name, sampler, settings)], opened, pruner)
    return _run(lane, show_progress_bar=show_progress_bar)


def check_stack_size(stack_size: object) -> None:
    """Refuse a stack size that is not a positive whole number."""
    if isinstance(stack_size, bool) or not isinstance(stack_size, int) or stack_size < 1:
        raise ValueError(
            f"stack_size must be a whole number of at least 1, but it is {stack_size!r}."
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
    differences = model_differences(config["model"], objective.config["model"])
    if differences:
        raise ValueError(
            f"The model of the study {study.study_name!r} cannot be rebuilt from its "
            f"configuration ({in_words(differences)}); pass the objective again."
        )
    return objective


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


def _run(lane: Lane, *, show_progress_bar: bool) -> SearchResult:
    progress = _Progress(lane, show=show_progress_bar)
    try:
        run_lanes([lane], lane.width, progress.update)
    except KeyboardInterrupt:
        _logger.info(resume_hint(lane.study))
        raise
    finally:
        progress.close()
    conclude([lane], lane.width)
    result = result_of(lane.study, lane.objective)
    show_search(result)
    return result


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


class _Progress:
    """A progress bar, or log lines as :meth:`optuna.Study.optimize` writes them."""

    def __init__(self, lane: Lane, *, show: bool) -> None:
        self._objective = lane.objective
        done = lane.n_done
        total = None if lane.limits.max_trial is None else max(lane.limits.max_trial, done)
        self._bar = tqdm(
            total=total, initial=done, unit="trial", disable=not show, desc=lane.study.study_name
        )
        self._show = show
        self._best = math.nan
        self._baseline = math.nan

    def update(
        self, lane: Lane, trials: Sequence[optuna.Trial], outcomes: Sequence[Outcome]
    ) -> None:
        for trial, outcome in zip(trials, outcomes, strict=True):
            if outcome.value is None:
                continue
            if not self._objective.improvement(outcome.value, self._best) <= 0:
                self._best = outcome.value
            if not self._show:
                _logger.info(
                    "Trial %d finished with value: %s and parameters: %s. Best of this run: %s.",
                    trial.number,
                    outcome.value,
                    trial.params,
                    self._best,
                )
        self._bar.update(len(trials))
        if math.isnan(self._baseline):
            self._baseline = lane.study.user_attrs.get(BASELINE, math.nan)
        gain = self._objective.improvement(self._best, self._baseline)
        self._bar.set_postfix_str(f"best {self._best:.4f}, gain {gain:+.4f}")

    def close(self) -> None:
        self._bar.close()


def conclude(lanes: Sequence[Lane], stack_size: int) -> None:
    """Evaluate baseline and winner of each study on the test set, once, and store the accuracy.

    Both are trained again for it; that the selection metric comes out the same is checked.
    """
    todo = []
    for lane in lanes:
        best = best_trial(lane.study)
        stored = lane.study.user_attrs.get(TEST)
        if best is not None and (stored is None or stored["trial"] != best.number):
            todo.append((lane, best))
    # Two networks for each study, trained in stacks of the size that is compiled already.
    per_stack = max(stack_size // 2, 1)
    for begin in range(0, len(todo), per_stack):
        part = todo[begin : begin + per_stack]
        starts = [
            start
            for lane, best in part
            for start in (lane.objective.baseline_start, lane.objective.start(best.params))
        ]
        trainer = part[0][0].objective.trainer
        dataset = part[0][0].objective.dataset
        unique = list(dict.fromkeys(starts))
        runs = trainer.train(unique, evaluate_each_epoch=False, keep_weights=True)
        weights = [run.weights for run in runs]
        accuracies = trainer.evaluate(
            [w for w in weights if w is not None], dataset.x_test, dataset.y_test
        )
        accuracy = dict(zip(unique, accuracies, strict=True))
        metrics = dict(zip(unique, [run.history[-1] for run in runs], strict=True))
        for j, (lane, best) in enumerate(part):
            baseline_start, best_start = starts[2 * j : 2 * j + 2]
            lane.study.set_user_attr(
                TEST,
                {
                    "trial": best.number,
                    "baseline": accuracy[baseline_start],
                    "best": accuracy[best_start],
                },
            )
            _check_replay(lane.study, best, metrics[best_start], metrics[baseline_start])


def _check_replay(
    study: optuna.Study,
    best: FrozenTrial,
    of_best: dict[str, float],
    of_baseline: dict[str, float],
) -> None:
    stored = best.user_attrs.get(TRIAL_METRICS), study.user_attrs.get(BASELINE_METRICS)
    if stored != (of_best, of_baseline):
        _logger.warning(
            "Trained again for the test, baseline or best trial of study %r came out differently: "
            "the study's trials were trained on another machine, or with other versions or "
            "threads.",
            study.study_name,
        )
