"""Searches: one call that runs, stores, resumes and sums up a study of init offsets."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import optuna
from tqdm.auto import tqdm

from adnn_optuna._attributes import (
    BASELINE,
    BASELINE_METRICS,
    SEARCH,
    STOP_REASON,
    TEST,
    TRIAL_METRICS,
    SearchSettings,
)
from adnn_optuna._checks import WrongValueError, as_positive_int
from adnn_optuna.accountability.contract import Contract
from adnn_optuna.accountability.contract_file import read_contract
from adnn_optuna.engine.loop import Loop
from adnn_optuna.engine.records import SearchRecord, best_trial, record_of
from adnn_optuna.engine.searchers import (
    SEARCHERS,
    Searcher,
    check_searcher,
    default_batch_size,
    objective_for,
)
from adnn_optuna.engine.storages import open_storage, patiently
from adnn_optuna.engine.studies import (
    Limits,
    Plan,
    check_ends,
    check_objective,
    check_pruner,
    check_study_name,
    last_limits,
    load_study,
    objective_from_study,
    open_studies,
    resume_hint,
)
from adnn_optuna.engine.workers import interruptible
from adnn_optuna.evidence.dashboard import show_search
from adnn_optuna.evidence.reports import search_page
from adnn_optuna.networks.training import is_finite

if TYPE_CHECKING:
    import os
    import threading

    import keras
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage

    from adnn_optuna.engine.objective import InitOffsetObjective
    from adnn_optuna.engine.outcomes import Outcome
    from adnn_optuna.engine.studies import Job

_logger = optuna.logging.get_logger("optuna.adnn_optuna")


@dataclasses.dataclass(frozen=True)
class SearchResult(SearchRecord):
    """What a search came to: a :class:`SearchRecord` with the study's objective."""

    objective: InitOffsetObjective

    # A dataclass would not take over the base class's.
    __str__ = SearchRecord.__str__

    def model(self) -> keras.Model:
        """Return the best trial's network, trained again. An :class:`MLP`'s outputs are logits.

        Raises:
            ValueError: If no trial was completed.
        """
        if self.best is None:
            raise WrongValueError(
                f"The study {self.study.study_name!r} has no completed trial, so there is no "
                "model; resume it."
            )
        trainer, start = self.objective.trainer, self.objective.start(self.best.params)
        [run] = trainer.train([start], evaluate_each_epoch=False, keep_weights=True)
        model = trainer.architecture.build(start.seed, start.restart)
        for variable, values in zip(model.variables, run.weights or (), strict=True):
            variable.assign(values)
        return model

    def contract(self) -> Contract:
        """Return the result as a contract that anyone can check, see :func:`~adnn_optuna.verify`.

        Baseline and winner are trained again for it, six trainings in all: from their initial
        weights, and from weights that differ in the last bits, to measure the tolerance.

        Raises:
            ValueError: If no trial was completed, or a training diverges.
        """
        return Contract.from_search(self, self.objective)

    def report(
        self, path: str | os.PathLike[str], contract: str | os.PathLike[str] | None = None
    ) -> None:
        """Write a report: one HTML file with claim, evidence, figures and settings.

        It needs no server and no network, and opens from disk.

        Args:
            path:
                The file to write.
            contract:
                The file of the search's contract, to be shown in the report.

        Raises:
            FileNotFoundError: If the file's folder does not exist.
            ValueError: If the contract cannot be read, or is that of another study.
        """
        content = None if contract is None else read_contract(Path(contract))
        search_page(self, content).save(path)


def result_of(study: optuna.Study, objective: InitOffsetObjective) -> SearchResult:
    """Return what a study of an objective came to."""
    return SearchResult(**vars(record_of(study)), objective=objective)


def search(
    objective: InitOffsetObjective,
    sampler: Searcher = "annealing",
    *,
    storage: str | BaseStorage | None = None,
    study_name: str | None = None,
    max_time: float | None = None,
    max_trial: int | None = None,
    max_gain: float | None = None,
    batch_size: int | Literal["auto"] = "auto",
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
        batch_size:
            How many trials are proposed before any of them is told; they are trained side by
            side. ``"auto"``: 8 for ``"greedy"`` and ``"random_restart"`` (fewer for networks of
            more than 5 million weights), and 1 for all that learn from each trial.
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
    if isinstance(batch_size, str) and batch_size == "auto":
        batch_size = default_batch_size(sampler, objective)
    batch_size = as_positive_int("batch_size", batch_size)
    if study_name is not None:
        check_study_name(study_name)
    check_ends(sampler, limits)
    plan = Plan(objective_for(sampler, objective), study_name, sampler, limits, batch_size)
    [job] = open_studies([plan], open_storage(storage), pruner)
    return _run(job, show_progress_bar=show_progress_bar)


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
    if sampler is None:
        sampler = _stored_searcher(study)
    if objective is None:
        objective = objective_from_study(study, data_dir)
    objective = objective_for(sampler, objective)
    given = {name: value for name, value in vars(limits).items() if value is not None}
    limits = dataclasses.replace(last_limits(study), **given)
    check_ends(sampler, limits)
    # What the study stores comes first.
    batch_size = default_batch_size(sampler, objective)
    plan = Plan(objective, study_name, sampler, limits, batch_size)
    [job] = open_studies([plan], opened, pruner)
    return _run(job, show_progress_bar=show_progress_bar)


def _stored_searcher(study: optuna.Study) -> str:
    stored: SearchSettings | None = study.user_attrs.get(SEARCH)
    if stored is None:
        raise WrongValueError(
            f"The study {study.study_name!r} was not begun by search, so it does not know its "
            f"searcher: give sampler, one of {', '.join(SEARCHERS)} or an Optuna sampler."
        )
    searcher = stored["sampler"]
    if searcher not in SEARCHERS:
        raise WrongValueError(
            f"The study {study.study_name!r} was searched by {searcher}, which is not stored: "
            "give it again as sampler."
        )
    return searcher


def _run(job: Job, *, show_progress_bar: bool) -> SearchResult:
    study, max_trial = job.study, job.plan.limits.max_trial
    bar = tqdm(disable=not show_progress_bar, unit="trial", desc=study.study_name)
    try:
        with bar, interruptible() as stop:
            loop = Loop(job, stop, _Progress(job, bar).update)
            n_before = bar.initial = bar.n = loop.n_done
            bar.total = None if max_trial is None else max(max_trial, n_before)
            loop.run()
            if n_before and loop.n_done == n_before:
                _logger.info(
                    "Nothing was left to do in study %r: it had ended by %s already.",
                    study.study_name,
                    study.user_attrs.get(STOP_REASON),
                )
            conclude(job, stop)
    except KeyboardInterrupt:
        _logger.info(resume_hint(study))
        raise
    result = result_of(study, job.plan.objective)
    show_search(result)
    return result


class _Progress:
    """A progress bar, or log lines as :meth:`optuna.Study.optimize` writes them."""

    def __init__(self, job: Job, bar: tqdm[Any]) -> None:
        self._job, self._bar = job, bar
        self._best = self._baseline = math.nan

    def update(self, trial: optuna.Trial, outcome: Outcome) -> None:
        """Show a trial that was told."""
        improvement = self._job.plan.objective.improvement
        if outcome.value is not None and not improvement(outcome.value, self._best) <= 0:
            self._best = outcome.value
        if self._bar.disable and outcome.value is not None:
            _logger.info(
                "Trial %d finished with value: %s and parameters: %s. Best of this run: %s.",
                trial.number,
                outcome.value,
                trial.params,
                self._best,
            )
        elif not self._bar.disable:
            if math.isnan(self._baseline):
                self._baseline = self._job.study.user_attrs.get(BASELINE, math.nan)
            gain = improvement(self._best, self._baseline)
            self._bar.set_postfix_str(f"best {self._best:.4f}, gain {gain:+.4f}", refresh=False)
            self._bar.update()


def conclude(job: Job, stop: threading.Event) -> None:
    """Evaluate baseline and winner of a study on the test set, once, and store the accuracy.

    Both are trained again for it; that the selection metric comes out the same is checked.
    """
    study, objective = job.study, job.plan.objective
    attrs, best = patiently(lambda: study.user_attrs), patiently(best_trial, study)
    if best is None or attrs.get(TEST, {}).get("trial") == best.number:
        return
    starts = [objective.baseline_start, objective.start(best.params)]
    runs = objective.trainer.train(starts, stop=stop, evaluate_each_epoch=False, keep_weights=True)
    if stop.is_set():
        raise KeyboardInterrupt
    data = objective.dataset
    accuracies = objective.trainer.evaluate(
        [run.weights for run in runs if run.weights is not None], data.x_test, data.y_test
    )
    of_baseline, of_best = (run.history[-1] for run in runs)
    record = {
        "trial": best.number,
        "baseline": accuracies[0] if is_finite(of_baseline) else math.nan,
        "best": accuracies[1],
    }
    patiently(study.set_user_attr, TEST, record)
    stored = best.user_attrs.get(TRIAL_METRICS), attrs.get(BASELINE_METRICS)
    # As text, for the NaN of a baseline that diverged does not equal itself.
    if json.dumps(stored, sort_keys=True) != json.dumps((of_best, of_baseline), sort_keys=True):
        _logger.warning(
            "Trained again for the test, baseline or best trial of study %r came out differently: "
            "the study's trials were trained on another machine, or with other versions or "
            "threads.",
            study.study_name,
        )
