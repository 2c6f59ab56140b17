"""Searches: one call that runs, stores, resumes and sums up a study of init offsets."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any, Literal

import optuna
from optuna.storages import InMemoryStorage
from tqdm.auto import tqdm

from adnn_optuna._attributes import (
    BASELINE,
    BASELINE_METRICS,
    CONFIG,
    SEARCH,
    STOP_REASON,
    TEST,
    TRIAL_METRICS,
)
from adnn_optuna._checks import as_positive_int
from adnn_optuna.engine.loop import Limits, run_lanes
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.records import SearchResult, best_trial, result_of
from adnn_optuna.engine.searchers import (
    SEARCHERS,
    Searcher,
    check_searcher,
    default_stack_size,
    objective_for,
    searcher_label,
)
from adnn_optuna.engine.storages import open_storage, storage_url
from adnn_optuna.engine.studies import (
    Plan,
    SearchSettings,
    check_ends,
    check_objective,
    check_pruner,
    check_study_name,
    load_study,
    open_lanes,
)
from adnn_optuna.evidence.dashboard import show_search
from adnn_optuna.networks.data import dataset_from_config
from adnn_optuna.networks.differences import in_words, model_differences
from adnn_optuna.networks.models import Training
from adnn_optuna.networks.network import model_from_config
from adnn_optuna.networks.offsets import space_from_config
from adnn_optuna.networks.training import is_finite

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from adnn_optuna.engine._trial_stack import Outcome
    from adnn_optuna.engine.loop import Lane

_logger = optuna.logging.get_logger("optuna.adnn_optuna")


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
        TypeError: If an argument is of the wrong type.
        ValueError: If an argument is wrong, or the study that exists is of another objective or
            searcher.
        KeyboardInterrupt: If the user interrupts; all that was computed is stored.
    """
    check_objective(objective)
    check_searcher(sampler)
    check_pruner(pruner)
    limits = Limits(max_time, max_trial, max_gain)
    if isinstance(stack_size, str) and stack_size == "auto":
        stack_size = default_stack_size(sampler, objective)
    stack_size = as_positive_int("stack_size", stack_size)
    if study_name is not None:
        check_study_name(study_name)
    check_ends(sampler, limits)
    settings = SearchSettings.of(sampler, limits, stack_size)
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
        TypeError: If an argument is of the wrong type.
        ValueError: If there is no such study, it cannot be rebuilt without help, or the objective
            or searcher that is given is not the study's.
    """
    if objective is not None:
        check_objective(objective)
    if sampler is not None:
        check_searcher(sampler)
    check_pruner(pruner)
    limits = Limits(max_time, max_trial, max_gain)
    opened = open_storage(storage, must_exist=True)
    study = load_study(opened, study_name)
    stored = study.user_attrs.get(SEARCH)
    if sampler is None:
        sampler = _stored_searcher(study_name, stored)
    if objective is None:
        objective = objective_from_study(study, data_dir)
    objective = objective_for(sampler, objective)
    if stored is None:
        settings = SearchSettings.of(sampler, limits, default_stack_size(sampler, objective))
    else:
        given = {k: v for k, v in dataclasses.asdict(limits).items() if v is not None}
        settings = SearchSettings(**{**stored, **given, "sampler": searcher_label(sampler)})
    check_ends(sampler, settings.limits)
    [lane] = open_lanes([Plan(objective, study_name, sampler, settings)], opened, pruner)
    return _run(lane, show_progress_bar=show_progress_bar)


def _stored_searcher(study_name: str, stored: dict[str, Any] | None) -> str:
    if stored is None:
        raise ValueError(
            f"The study {study_name!r} was not begun by search, so it does not know its "
            f"searcher: give sampler, one of {', '.join(SEARCHERS)} or an Optuna sampler."
        )
    searcher: str = stored["sampler"]
    if searcher not in SEARCHERS:
        raise ValueError(
            f"The study {study_name!r} was searched by {searcher}, which is not stored: "
            "give it again as sampler."
        )
    return searcher


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


def _run(lane: Lane, *, show_progress_bar: bool) -> SearchResult:
    progress = _Progress(lane, show=show_progress_bar)
    n_before = lane.n_done
    try:
        run_lanes([lane], lane.width, progress.update)
        if n_before and lane.n_done == n_before:
            _logger.info(
                "Nothing was left to do in study %r: it had ended by %s already.",
                lane.study.study_name,
                lane.study.user_attrs[STOP_REASON],
            )
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
                    "baseline": accuracy[baseline_start]
                    if is_finite(metrics[baseline_start])
                    else math.nan,
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
    # As text, for the NaN of a baseline that diverged does not equal itself.
    if json.dumps(stored, sort_keys=True) != json.dumps((of_best, of_baseline), sort_keys=True):
        _logger.warning(
            "Trained again for the test, baseline or best trial of study %r came out differently: "
            "the study's trials were trained on another machine, or with other versions or "
            "threads.",
            study.study_name,
        )
