"""Rechecks: how much of the best value of any Optuna study is luck."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import secrets
import threading
from collections.abc import Callable
from concurrent import futures
from copy import deepcopy
from typing import Any, cast

import optuna
from optuna.distributions import IntDistribution
from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from tqdm.auto import tqdm

from adnn_optuna._attributes import OWNER, RECHECK
from adnn_optuna._checks import WrongTypeError, WrongValueError, as_positive_int, check_type
from adnn_optuna.callbacks import Limit, MaxTimeCallback, is_done
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.storages import open_storage, patiently
from adnn_optuna.engine.studies import check_study_name, load_study, objective_from_study
from adnn_optuna.evidence.luck import Evaluation, Recheck
from adnn_optuna.samplers._owners import end_trial, is_alive, is_own, owner_of, ownership
from adnn_optuna.samplers._trials import is_feasible

Evaluate = Callable[[FrozenTrial, int], float]

_logger = optuna.logging.get_logger("optuna.adnn_optuna")

_SECONDS_BETWEEN_LOOKS = 0.1
_NUMBERS = IntDistribution(0, 2**31 - 1)

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
    top, seeds, n_jobs = (
        as_positive_int(name, value)
        for name, value in (("top", top), ("seeds", seeds), ("n_jobs", n_jobs))
    )
    if (confirm := as_positive_int("confirm", confirm)) < 2:
        raise WrongValueError("confirm must be at least 2, for one value has no interval.")
    limit = None if max_time is None else MaxTimeCallback(max_time)
    if isinstance(study, tuple) and len(study) == 2:
        study = load_study(open_storage(study[0], must_exist=True), study[1])
    check_type("study", study, optuna.Study, "an Optuna study, or its storage and its name")
    completed = patiently(_completed, study)
    function, is_seeded = _seeded(study, evaluate)
    report = Recheck(
        study_name=study.study_name,
        maximize=study.direction == StudyDirection.MAXIMIZE,
        candidates=completed[:top],
        study_values=[trial.values[0] for trial in completed],
        seeds=seeds,
        confirm=confirm,
        confirm_best=confirm_best,
        is_seeded=is_seeded,
    )
    opened = patiently(_open, study, study._storage if storage is None else open_storage(storage))
    bar = tqdm(unit="evaluation", desc=opened.study_name, disable=not show_progress_bar)
    worker = _Worker(report, opened, function, limit, bar)
    try:
        with bar:
            worker.run(n_jobs)
    except KeyboardInterrupt:
        _logger.info("Interrupted. %s", worker.report().claim)
        raise
    return patiently(worker.report)


def _completed(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that have a finite value and violate no constraint, the best first."""
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
    maximize = study.direction == StudyDirection.MAXIMIZE
    # The first of equals is the better one, as for Optuna.
    return sorted(found, key=lambda trial: trial.values[0], reverse=maximize)


def _seeded(study: optuna.Study, evaluate: Callable[..., float] | None) -> tuple[Evaluate, bool]:
    """Return a function of trial and seed, and whether it makes use of the seed."""
    if evaluate is None or isinstance(evaluate, InitOffsetObjective):
        objective = evaluate or objective_from_study(study)
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
    name = f"{study.study_name}/recheck"
    check_study_name(name)
    opened = optuna.create_study(
        storage=storage, study_name=name, direction=study.direction, load_if_exists=True
    )
    began = str(study.get_trials(deepcopy=False)[0].datetime_start)
    if RECHECK not in opened.user_attrs and not opened.get_trials(deepcopy=False):
        opened.set_user_attr(RECHECK, began)
    if opened.user_attrs.get(RECHECK) != began:
        raise WrongValueError(
            f"The study {name!r} holds something else than evaluations of this study, such as "
            "those of an earlier one with its name: delete it, or give another storage."
        )
    return opened


@dataclasses.dataclass
class _Worker:
    """Makes the evaluations of a recheck, alone or beside others in any process.

    An evaluation is a trial that is created RUNNING, with parameters that say which one it is, and
    with its owner. Of two workers that begin the same, the one whose trial has the higher number
    sees the other one, and gives its own up.
    """

    empty: Recheck
    study: optuna.Study
    evaluate: Evaluate
    limit: Limit | None
    bar: tqdm[Any]

    def __post_init__(self) -> None:
        self._candidates = {trial.number: trial for trial in self.empty.candidates}
        self._stop, self._lock = threading.Event(), threading.Lock()

    def report(self) -> Recheck:
        """Return what is known now; of two trials of the same evaluation, the first counts."""
        values: dict[Evaluation, float] = {}
        for trial in self._read():
            if is_done(trial) and (evaluation := _evaluation(trial))[0] in self._candidates:
                values.setdefault(evaluation, math.nan if trial.value is None else trial.value)
        return dataclasses.replace(self.empty, evaluations=values)

    def run(self, n_jobs: int) -> None:
        """Make evaluations, also those of the dead, until none is left or time is up."""
        with futures.ThreadPoolExecutor(n_jobs, "recheck") as threads:
            others = [threads.submit(self._work) for _ in range(n_jobs - 1)]
            try:
                self._work()  # In the thread that Ctrl-C interrupts.
                for other in others:
                    other.result()
            finally:
                self._stop.set()

    def _work(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                trial = patiently(self._begin)
            if trial is None:
                self._stop.wait(_SECONDS_BETWEEN_LOOKS)
            else:
                self._make(trial)

    def _read(self) -> list[FrozenTrial]:
        return self.study._storage.get_all_trials(self.study._study_id, deepcopy=False)

    def _begin(self) -> FrozenTrial | None:
        """Begin an evaluation, if there is one to begin now; stop where none is left."""
        for trial in filter(_is_abandoned, self._read()):
            end_trial(self.study, trial)
        trials, report = self._read(), self.report()
        self.bar.total = report.n_evaluations
        self.bar.update(len(report.evaluations) - self.bar.n)
        if not report.missing or (self.limit is not None and self.limit.reached(self.study)):
            self._stop.set()
            return None
        begun = {_evaluation(t) for t in trials if t.state == TrialState.RUNNING}
        free = [evaluation for evaluation in report.missing if evaluation not in begun]
        if not free:
            return None
        # Not the same as others, who begin at the same moment.
        evaluation = free[secrets.randbelow(min(len(free), len(begun) + 1))]
        template = optuna.create_trial(
            state=TrialState.RUNNING,
            params=dict(zip(("trial", "seed"), evaluation, strict=True)),
            distributions={"trial": _NUMBERS, "seed": _NUMBERS},
        )
        # Who owns a trial is told by its number, which it gets unless others create one now.
        template.number = n_trials = len(trials)
        template.system_attrs[OWNER] = ownership(template)
        storage, study_id = self.study._storage, self.study._study_id
        template._trial_id = storage.create_new_trial(study_id, template)
        same = (trial for trial in self._read() if _evaluation(trial) == evaluation)
        first = next((t for t in same if t.state == TrialState.RUNNING or is_done(t)), None)
        if first is None or (first._trial_id, first.number) != (template._trial_id, n_trials):
            end_trial(self.study, template)
            return None
        _under_way.add(first._trial_id)
        return first

    def _make(self, trial: FrozenTrial) -> None:
        try:
            value = self._value(*_evaluation(trial))
            values = [value] if math.isfinite(value) else None
            state = TrialState.COMPLETE if values else TrialState.PRUNED
            # One that somebody took for dead is made again.
            with contextlib.suppress(UpdateFinishedTrialError):
                tell = self.study._storage.set_trial_state_values
                patiently(tell, trial._trial_id, state, values)
        except BaseException:
            self._stop.set()
            with contextlib.suppress(Exception):
                end_trial(self.study, trial)
            raise
        finally:
            _under_way.discard(trial._trial_id)

    def _value(self, number: int, seed: int) -> float:
        """Return what an evaluation comes to, NaN if to no value."""
        try:
            value: Any = self.evaluate(deepcopy(self._candidates[number]), seed)
        except TrialPruned:
            return math.nan
        try:
            return float(value)
        except (TypeError, ValueError):
            raise WrongTypeError(
                f"evaluate must return a number, but for trial {number} it returned {value!r}."
            ) from None


def _evaluation(trial: FrozenTrial) -> Evaluation:
    return cast("int", trial.params["trial"]), cast("int", trial.params["seed"])


def _is_abandoned(trial: FrozenTrial) -> bool:
    """Return whether nobody runs a trial any more; whose number is not its owner's is given up."""
    is_open = trial.state == TrialState.RUNNING and trial._trial_id not in _under_way
    return is_open and (owner_of(trial) is None or is_own(trial) or is_alive(trial) is False)
