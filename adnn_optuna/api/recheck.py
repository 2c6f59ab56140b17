"""Rechecks: how much of the best value of any Optuna study is luck."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from concurrent import futures
from copy import deepcopy
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from tqdm.auto import tqdm

from adnn_optuna._attributes import CONFIG, DIVERGED, OWNER, RECHECK, Rechecked
from adnn_optuna._checks import WrongTypeError, WrongValueError, as_positive_int, check_type
from adnn_optuna.callbacks import Limit, MaxTimeCallback
from adnn_optuna.engine.storages import open_storage, patiently
from adnn_optuna.evidence.luck import Evaluation, Recheck
from adnn_optuna.samplers._owners import (
    end_trial,
    fail_dead,
    is_own,
    note_owner,
    owner_of,
    ownership,
)
from adnn_optuna.samplers._trials import is_feasible

Evaluate = Callable[[FrozenTrial, int], float]

_logger = optuna.logging.get_logger("optuna.adnn_optuna")

_SECONDS_BETWEEN_LOOKS = 0.1
# For how long a trial whose worker did not note yet who it is is taken for live, in seconds.
_SECONDS_OF_BELIEF = 10.0

_LARGEST = 2**31 - 1
_DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "trial": IntDistribution(0, _LARGEST),
    "seed": IntDistribution(0, _LARGEST),
    "role": CategoricalDistribution(("choose", "confirm")),
}

# The trials, by their ids, that this process evaluates now: as it lives, nobody takes what an
# interrupted run left behind for dead.
_under_way: set[int] = set()


def recheck(
    study: optuna.Study | tuple[str | BaseStorage, str],
    evaluate: Callable[..., float] | None = None,
    *,
    top: int = 5,
    seeds: int = 4,
    confirm: int = 10,
    confirm_best: bool = False,
    storage: str | BaseStorage | None = None,
    n_jobs: int = 1,
    max_time: float | None = None,
    show_progress_bar: bool = False,
) -> Recheck:
    """Tell how much of a study's best value is luck, by evaluating its best trials again.

    The ``top`` best trials are evaluated with ``seeds`` fresh seeds, the same for all; the one
    with the best mean is evaluated with ``confirm`` further seeds, by which nothing was chosen:
    their mean is its value. If five seeds give the best trial's stored value, nothing is random,
    and no more are used.

    The evaluations are trials of the study ``<name>/recheck``; the study itself stays as it is.
    They are never made twice: the same call goes on where one ended, and any number of processes
    may work together. For another ``evaluate``, delete that study or give another storage.

    Example:

        .. code-block:: python

            import adnn_optuna as adnn
            def evaluate(trial, seed):
                depth = trial.suggest_int("depth", 2, 12)
                model = ExtraTreesClassifier(max_depth=depth, random_state=seed)
                return model.fit(x_train, y_train).score(x_val, y_val)
            study.optimize(lambda trial: evaluate(trial, seed=0), n_trials=50)
            print(adnn.recheck(study, evaluate))

    Args:
        study: Any Optuna study with one objective, or its storage and its name.
        evaluate: The objective ``(trial, seed) -> value``. ``trial`` is a copy of the stored one,
            which suggests its parameters. One that takes no seed has to be random by itself. A
            study of an :class:`~adnn_optuna.InitOffsetObjective` needs none, if it can be rebuilt.
        top: How many of the best trials are evaluated.
        seeds: With how many seeds the best of these is chosen.
        confirm: With how many further seeds the chosen one is evaluated, at least 2.
        confirm_best: Whether the study's best trial is evaluated with these, too.
        storage: Where the evaluations are stored; if :obj:`None`, where the study is.
        n_jobs: The number of threads.
        max_time: The seconds that the evaluations may take, over all runs; then no more begin.
        show_progress_bar: Whether to show a progress bar.

    Returns:
        What is known then; without all evaluations the value is NaN.

    Raises:
        ValueError: If an argument is wrong, the study has several objectives, or no trial of it
            was completed.
        KeyboardInterrupt: If the user interrupts; all finished evaluations are stored.
    """
    # As all that knows of networks, it is loaded when it is needed.
    from adnn_optuna.engine import studies

    top, seeds, n_jobs = (
        as_positive_int(name, value)
        for name, value in (("top", top), ("seeds", seeds), ("n_jobs", n_jobs))
    )
    if (confirm := as_positive_int("confirm", confirm)) < 2:
        raise WrongValueError("confirm must be at least 2, for one value has no interval.")
    limits: list[Limit] = [] if max_time is None else [MaxTimeCallback(max_time)]
    if isinstance(study, tuple) and len(study) == 2:
        study = studies.load_study(open_storage(study[0], must_exist=True), study[1])
    check_type("study", study, optuna.Study, "an Optuna study, or its storage and its name")
    completed = patiently(_completed, study)
    function, is_seeded = _seeded(study, evaluate)
    maximize = study.direction == StudyDirection.MAXIMIZE
    # The first of equals is the better one, as for Optuna.
    best = sorted(completed, key=lambda t: (-t.values[0] if maximize else t.values[0], t.number))
    report = Recheck(
        study_name=study.study_name,
        maximize=maximize,
        candidates=best[:top],
        study_values=[trial.values[0] for trial in completed],
        seeds=seeds,
        confirm=confirm,
        confirm_best=confirm_best,
        is_seeded=is_seeded,
    )
    opened = study._storage if storage is None else open_storage(storage)
    evaluations = patiently(_open, study, opened)
    with tqdm(
        unit="evaluation", desc=evaluations.study_name, disable=not show_progress_bar
    ) as bar:
        worker = _Worker(report, evaluations, function, limits, bar)
        try:
            worker.run(n_jobs)
        except KeyboardInterrupt:
            _logger.info("Interrupted. %s", worker.report().claim)
            raise
    return patiently(worker.report)


def _completed(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that have a finite value and violate no constraint."""
    named = f"The study {study.study_name!r}"
    if study._is_multi_objective():
        raise WrongValueError(
            f"{named} has {len(study.directions)} objectives, so it has no best value to recheck; "
            "give a study with one objective."
        )
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    found = [t for t in trials if math.isfinite(t.values[0]) and is_feasible(t)]
    if not found:
        raise WrongValueError(
            f"{named} has no completed trial with a finite value, so there is nothing to recheck; "
            "run it first."
        )
    return found


def _seeded(study: optuna.Study, evaluate: Callable[..., float] | None) -> tuple[Evaluate, bool]:
    """Return a function of trial and seed, and whether it makes use of the seed."""
    from adnn_optuna.engine.objective import InitOffsetObjective
    from adnn_optuna.engine.studies import objective_from_study

    if evaluate is None:
        if CONFIG not in study.user_attrs:
            raise WrongValueError(
                f"The study {study.study_name!r} is not one of an InitOffsetObjective, so it "
                "cannot be evaluated by itself: give evaluate, a function (trial, seed) -> value."
            )
        evaluate = objective_from_study(study)
    if isinstance(evaluate, InitOffsetObjective):
        objective = evaluate
        return lambda trial, seed: objective.replace(seed=seed)(trial), True
    if not callable(evaluate):
        raise WrongTypeError(
            f"evaluate must be a function (trial, seed) -> value, but it is {evaluate!r}."
        )
    function, parameters = evaluate, inspect.signature(evaluate).parameters
    if "seed" in parameters:
        return lambda trial, seed: function(trial, seed=seed), True
    needed = [p for p in parameters.values() if p.default is p.empty]
    if sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in needed) > 1:
        return function, True
    return lambda trial, _: function(trial), False


def _open(study: optuna.Study, storage: BaseStorage) -> optuna.Study:
    """Create or load the study of the evaluations."""
    from adnn_optuna.engine.studies import check_study_name

    name, first = f"{study.study_name}/recheck", study.get_trials(deepcopy=False)[0]
    check_study_name(name)
    rechecked: Rechecked = {"study": study.study_name, "began": str(first.datetime_start)}
    opened = optuna.create_study(
        storage=storage, study_name=name, direction=study.direction, load_if_exists=True
    )
    if opened.user_attrs.get(RECHECK) is None and not opened.get_trials(deepcopy=False):
        opened.set_user_attr(RECHECK, rechecked)
    if opened.user_attrs.get(RECHECK) != rechecked:
        raise WrongValueError(
            f"The study {name!r} holds something else than evaluations of this study, such as "
            "those of an earlier one with its name: delete it, or give another storage."
        )
    return opened


class _Worker:
    """Makes the evaluations of a recheck, alone or beside others in any process.

    An evaluation is a trial that is created RUNNING, with parameters that say which one it is. Of
    two workers that begin the same, the one whose trial has the higher number sees the other one,
    and gives its own up.
    """

    def __init__(
        self,
        report: Recheck,
        study: optuna.Study,
        evaluate: Evaluate,
        limits: Iterable[Limit],
        bar: tqdm[Any],
    ) -> None:
        self._report, self._study, self._evaluate = report, study, evaluate
        self._limits, self._bar = list(limits), bar
        self._candidates = {trial.number: trial for trial in report.candidates}
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._first_seen: dict[int, float] = {}

    def report(self) -> Recheck:
        """Return what is known now."""
        return self._report_of(self._study.get_trials(deepcopy=False))

    def run(self, n_jobs: int) -> None:
        """Make evaluations, also those of the dead, until none is left or time is up."""
        if n_jobs == 1:  # In the thread that Ctrl-C interrupts.
            self._work()
            return
        with futures.ThreadPoolExecutor(n_jobs, "recheck") as threads:
            try:
                for run in futures.as_completed(
                    [threads.submit(self._work) for _ in range(n_jobs)]
                ):
                    run.result()
            finally:
                self._stop.set()

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                with self._lock:
                    is_over, trial = patiently(self._begin)
                if is_over:
                    return
                if trial is None:
                    self._stop.wait(_SECONDS_BETWEEN_LOOKS)
                else:
                    self._make(trial)
        finally:
            with contextlib.suppress(Exception):
                self._study._storage.remove_session()

    def _begin(self) -> tuple[bool, FrozenTrial | None]:
        """Return whether nothing is left to begin, and an evaluation that was begun."""
        trials = self._look()
        report = self._report_of(trials)
        self._bar.total = report.n_evaluations
        self._bar.update(len(report.evaluations) - self._bar.n)
        missing = report.missing
        if not missing or any(limit.reached(self._study) for limit in self._limits):
            return True, None
        begun = {_evaluation(t) for t in trials if t.state == TrialState.RUNNING}
        free = [evaluation for evaluation in missing if evaluation not in begun]
        if not free:
            return False, None
        # Not the same as others, who begin at the same moment.
        number, seed = free[secrets.randbelow(min(len(free), len(begun) + 1))]
        role = "confirm" if seed % 2 else "choose"
        template = optuna.create_trial(
            state=TrialState.RUNNING,
            params={"trial": number, "seed": seed, "role": role},
            distributions=_DISTRIBUTIONS,
        )
        # Its number, unless others create one at this moment: the dead are told by their trials.
        template.number = len(trials)
        template.system_attrs[OWNER] = ownership(template)
        storage = self._study._storage
        trial_id = storage.create_new_trial(self._study._study_id, template)
        _under_way.add(trial_id)
        own = storage.get_trial(trial_id)
        if not is_own(own):
            note_owner(self._study, own)
        for trial in self._look():
            is_earlier = trial.state == TrialState.RUNNING and trial.number < own.number
            if _evaluation(trial) == (number, seed) and (is_earlier or _is_done(trial)):
                end_trial(self._study, own)
                _under_way.discard(trial_id)
                return False, None
        return False, own

    def _look(self) -> list[FrozenTrial]:
        """Return all trials, after those were ended that nobody runs any more."""
        while True:
            trials = self._study._storage.get_all_trials(self._study._study_id, deepcopy=False)
            abandoned = [trial for trial in trials if self._is_abandoned(trial)]
            for trial in abandoned:
                end_trial(self._study, trial)
            if not fail_dead(self._study, trials) and not abandoned:
                return trials

    def _is_abandoned(self, trial: FrozenTrial) -> bool:
        if trial.state != TrialState.RUNNING or trial._trial_id in _under_way:
            return False
        if owner_of(trial) is not None:
            return is_own(trial)
        first_seen = self._first_seen.setdefault(trial.number, time.monotonic())
        return time.monotonic() - first_seen > _SECONDS_OF_BELIEF

    def _make(self, trial: FrozenTrial) -> None:
        try:
            value = self._value(trial)
            patiently(self._tell, trial, value)
        except BaseException:
            self._stop.set()
            with contextlib.suppress(Exception):
                end_trial(self._study, trial)
            raise
        finally:
            _under_way.discard(trial._trial_id)

    def _value(self, trial: FrozenTrial) -> float:
        """Return what an evaluation comes to, NaN if to no value."""
        number, seed = _evaluation(trial)
        try:
            value: Any = self._evaluate(deepcopy(self._candidates[number]), seed)
        except TrialPruned:
            return math.nan
        try:
            return float(value)
        except (TypeError, ValueError):
            raise WrongTypeError(
                f"evaluate must return a number, but for trial {number} it returned {value!r}."
            ) from None

    def _tell(self, trial: FrozenTrial, value: float) -> None:
        storage, trial_id = self._study._storage, trial._trial_id
        # One that somebody took for dead is made again.
        with contextlib.suppress(UpdateFinishedTrialError):
            if math.isfinite(value):
                storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [value])
            else:
                storage.set_trial_user_attr(trial_id, DIVERGED, value=True)
                storage.set_trial_state_values(trial_id, TrialState.FAIL)

    def _report_of(self, trials: Iterable[FrozenTrial]) -> Recheck:
        """Return what the trials tell; of two of the same evaluation, the first counts."""
        values: dict[Evaluation, float] = {}
        for trial in trials:
            if _is_done(trial) and (evaluation := _evaluation(trial))[0] in self._candidates:
                values.setdefault(evaluation, math.nan if trial.value is None else trial.value)
        return dataclasses.replace(self._report, evaluations=values)


def _evaluation(trial: FrozenTrial) -> Evaluation:
    return cast("int", trial.params["trial"]), cast("int", trial.params["seed"])


def _is_done(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE or bool(trial.user_attrs.get(DIVERGED))
