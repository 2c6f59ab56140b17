"""Run evaluations, for example of a trial on a new seed.

Each evaluation is a trial of a study that has only evaluations. Any worker may run it, but it runs
only once. The values of finished evaluations may determine which further evaluations are needed.
"""

import contextlib
import copy
import dataclasses
import functools
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent import futures
from typing import Any, ClassVar

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.exceptions import TrialPruned
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from adnn_optuna._attributes import (
    EVALUATED,
    PLANNED,
    SCORES,
    VIOLATED,
    Json,
    Params,
    Planned,
    planned_numbers,
    planned_of,
    read_study,
)
from adnn_optuna._checks import WrongParametersError, WrongValueError, logger, shown
from adnn_optuna._differences import config_differences, in_words
from adnn_optuna.callbacks import checked_limits
from adnn_optuna.engine.code_fingerprint import UserFunction, check_code
from adnn_optuna.engine.example_scores import collecting, log_scores, scores_as_attributes
from adnn_optuna.engine.loop import Loop
from adnn_optuna.engine.objectives import Caught, Outcome, Searched, as_value, catching
from adnn_optuna.engine.signals import interruptible, progress_bar
from adnn_optuna.engine.storages import AnyStorage, check_study_name, open_declared, open_storage
from adnn_optuna.samplers._evaluations import (
    Evaluation,
    EvaluationSampler,
    evaluation_of,
    made_evaluations,
)
from adnn_optuna.samplers._trials import beginning, is_feasible

MAX_NUMBER = 2**31 - 1
SEEDS = 10
"""The default number of new seeds that confirm the best trial of a search."""
NO_STORED_TRIAL = -1
"""An id that no stored trial has, as in :func:`optuna.trial.create_trial`."""


NeededOf = Callable[[Mapping[Evaluation, float]], Sequence[Evaluation]]
"""A function that returns the needed evaluations, given the values of finished evaluations.

It returns all evaluations that are known to be needed, including the finished ones. The value of a
failed evaluation is NaN.
"""


def plan_seeds(study: optuna.Study, number: int, count: int) -> Planned:
    """Plan how many new seeds confirm a trial, and store the plan before any evaluation.

    If a later call raises the number, the CI is sequential from then on. A smaller number has no
    effect.
    """
    before = planned_of(study.user_attrs, number)
    if before is not None and count <= before["seeds"]:
        return before
    planned: Planned = {"seeds": count, "is_raised": before is not None, "rank": 0}
    if before is not None:
        planned["rank"] = before["rank"]
        logger.warning(
            "%d new seeds were planned in study %r. With more, it is sequential from now on, with "
            "wider CIs.",
            before["seeds"],
            study.study_name,
        )
    name = f"{PLANNED}/{number}/{count}"
    study.set_user_attr(name, planned)
    if before is None:
        # Another worker may have planned another trial at the same moment. The worker that writes
        # later sees both plans, so it counts both of them.
        planned["rank"] = len(planned_numbers(study.user_attrs))
        study.set_user_attr(name, planned)
    return planned


def open_evaluations(
    storage: AnyStorage | None,
    name: str,
    evaluated: Any,
    *,
    direction: StudyDirection = StudyDirection.MAXIMIZE,
    functions: Mapping[str, UserFunction] = {},
    reuse: bool = False,
    settings: Mapping[str, Any] = {},
) -> optuna.Study:
    """Create or load a study of evaluations. ``evaluated`` is their subject, as JSON.

    ``functions`` are the user's functions that evaluate the subject, see :func:`check_code`.
    ``settings`` become user attributes of the study. They say how to read its evaluations.
    """
    check_study_name(name)
    opened = open_storage(storage)
    study = open_declared(opened, name, direction, EVALUATED, evaluated)
    stored_subject = read_study(study)[0].get(EVALUATED)
    differences = config_differences(stored_subject, evaluated, "evaluations")
    if differences:
        raise WrongValueError(
            f"Study {name!r} must hold the same evaluations; got others "
            f"({in_words(differences)}). Pass another study_name."
        )
    check_code([study], functions, reuse=reuse)
    for attribute, setting in settings.items():
        if study.user_attrs.get(attribute) != setting:
            study.set_user_attr(attribute, setting)
    return study


def make_evaluations(
    needed_of: NeededOf,
    study: optuna.Study,
    names: Sequence[str],
    evaluate: Callable[..., float | Outcome],
    *,
    show_progress_bar: bool = False,
    n_at_most: int = 0,
    stop: threading.Event | None = None,
    n_jobs: int = 1,
    max_time: float | None = None,
    executor: futures.Executor | None = None,
    catch: Caught = (),
) -> None:
    """Run evaluations until all evaluations that ``needed_of`` returns are finished.

    No evaluation runs twice. A new call resumes, and several processes may work together.
    ``names`` says what an evaluation's numbers mean. If up to ``n_at_most`` evaluations may be
    needed, the progress bar shows this number. Ctrl-C sets ``stop``, which asks running
    evaluations to end. If evaluations would ignore ``stop``, it is :obj:`None`. After ``max_time``
    seconds over all runs, no evaluation begins, and running evaluations may end with "timeout". An
    ``executor`` gets a job for each evaluation. If an evaluation raises an error in ``catch``,
    other evaluations continue.
    """
    check_is_reached(study._storage, executor)
    bar = progress_bar(show=show_progress_bar, unit="evaluation", desc=study.study_name)

    def missing_in(trials: Iterable[FrozenTrial]) -> Sequence[Evaluation]:
        made = made_evaluations(trials, names)
        needed = needed_of(made)
        missing = [evaluation for evaluation in needed if evaluation not in made]
        bar.total = len(needed)
        if missing:
            bar.total = max(len(needed), n_at_most)
        bar.update(len(needed) - len(missing) - bar.n)
        return missing

    def missing_now() -> Sequence[Evaluation]:
        if stop is not None and stop.is_set():
            raise KeyboardInterrupt
        return missing_in(study.get_trials(deepcopy=False))

    # If evaluations ignore the event, Ctrl-C raises KeyboardInterrupt within them.
    on_ctrl_c = contextlib.nullcontext() if stop is None else interruptible(stop)
    with bar, on_ctrl_c:
        if executor is not None:
            settings = {
                "names": tuple(names),
                "evaluate": evaluate,
                "max_time": max_time,
                "catch": catch,
            }
            make = functools.partial(_make_one, study._storage, study.study_name, settings)
            _make_elsewhere(executor, make, missing_now)
            return
        study.sampler = EvaluationSampler(names, missing_in)
        objective = _EvaluationObjective(evaluate, tuple(names), catch)
        limits = checked_limits(max_time=max_time)
        Loop(study, objective, limits, stop or threading.Event(), n_threads=n_jobs).run()


def _make_elsewhere(
    executor: futures.Executor,
    make: Callable[[Evaluation], None],
    missing_now: Callable[[], Sequence[Evaluation]],
) -> None:
    """Make evaluations in the workers of an executor until each missing evaluation was tried.

    If an evaluation was tried and is still missing, the time limit ended it.
    """
    tried = set[Evaluation]()
    while True:
        untried = [evaluation for evaluation in missing_now() if evaluation not in tried]
        if not untried:
            return
        tried.update(untried)
        jobs = [executor.submit(make, evaluation) for evaluation in untried]
        run_jobs(jobs, lambda _: missing_now())


def _make_one(
    storage: BaseStorage, name: str, settings: dict[str, Any], evaluation: Evaluation
) -> None:
    """Run an evaluation in any process, unless another worker runs it or time is over."""
    study = optuna.load_study(study_name=name, storage=open_storage(storage))
    make_evaluations(lambda _: [evaluation], study, **settings)


def check_is_reached(storage: BaseStorage, executor: object) -> None:
    """Raise an error if an executor's workers cannot reach an opened storage."""
    if executor is not None and isinstance(storage, InMemoryStorage):
        raise WrongValueError(
            "storage must be a database, because an executor's workers cannot reach the memory of "
            "this process; got a storage in memory. Pass the URL of a database."
        )


def run_jobs(jobs: Sequence[futures.Future[Any]], after_job: Callable[[Any], object]) -> None:
    """Wait for jobs. After a failure or an interrupt, no further job begins."""
    try:
        for job in futures.as_completed(jobs):
            after_job(job.result())
    finally:
        for job in jobs:
            job.cancel()


@dataclasses.dataclass(frozen=True)
class _EvaluationObjective:
    """The objective of a study of evaluations. A trial's parameters are the evaluation."""

    evaluate: Callable[..., float | Outcome]
    names: tuple[str, ...]
    catch: Caught
    baseline_params: ClassVar[Mapping[str, Any]] = {}

    @property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        """The distributions of an evaluation's numbers."""
        return dict.fromkeys(self.names, IntDistribution(0, MAX_NUMBER))

    def suggest(self, trial: optuna.Trial) -> None:
        """Do nothing, because the sampler knows all numbers when it creates a trial."""

    def train(self, trials: Sequence[optuna.Trial], **_: object) -> list[Outcome]:
        """Run evaluations one after another. Limits are ignored."""
        return [self._outcome_of(evaluation_of(trial, self.names)) for trial in trials]

    def _outcome_of(self, evaluation: Evaluation) -> Outcome:
        named = zip(self.names, evaluation, strict=True)
        numbers = ", ".join(f"{name} {n}" for name, n in named)
        returned: float | Outcome = math.nan
        try:
            with catching(self.catch, f"The evaluation of {numbers}"):
                returned = self.evaluate(*evaluation)
        except TrialPruned:
            return Outcome("pruned")
        outcome = returned
        if not isinstance(outcome, Outcome):
            outcome = Outcome("complete", as_value(returned))
        if outcome.value is None or math.isfinite(outcome.value):
            return outcome
        # An evaluation with an infinite value or NaN counts as finished, so it is not repeated.
        return dataclasses.replace(outcome, status="pruned", value=None)


@dataclasses.dataclass(frozen=True)
class TrialEvaluation:
    """A function that evaluates a trial on a new seed. Any process can call it."""

    objective: Searched[Any]
    trials: Mapping[int, FrozenTrial]
    study: optuna.Study  # This is a separate object, because the function may stop it.

    def __call__(self, trial_number: int, seed: int) -> Outcome:
        """Evaluate a trial on a new seed."""
        trial = _TrialOnNewSeed(self.trials[trial_number], self.study)
        with collecting(trial) as logged:
            value = self.objective.evaluate(trial, seed)
            is_of_examples = np.ndim(value) > 0 and not isinstance(value, tuple)
            if is_of_examples:
                value = log_scores(trial, value)
        attrs: Json = {} if is_feasible(trial) else {VIOLATED: True}
        if logged:
            attrs |= scores_as_attributes(SCORES, logged[-1].scores)
        return Outcome("complete", as_value(value), system_attrs=attrs)


class _TrialOnNewSeed(FrozenTrial):
    """A copy of a trial. A function evaluates it like a trial that its study has just created.

    It has no constraints yet.
    """

    def __init__(self, trial: FrozenTrial, study: optuna.Study) -> None:
        vars(self).update(copy.deepcopy(vars(trial)))
        attrs = trial.system_attrs
        names = [name for name in attrs if name.partition(":")[0] != "constraints"]
        self._system_attrs = {name: attrs[name] for name in names}
        self._params = _Params(study.study_name, trial.params)
        self.study = study
        study._thread_local.in_optimize_loop = True

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if self._trial_id == NO_STORED_TRIAL and name in self.params:
            return self.params[name]  # The value may be outside the space.
        try:
            return super()._suggest(name, distribution)
        except ValueError:
            used = f"{shown(name)} of {shown(distribution)}"
            raise WrongParametersError.of(self.study.study_name, self.params, used) from None


class _Params(dict[str, Any]):
    """The parameters of a trial. If a function reads a missing parameter, the error names it."""

    def __init__(self, study_name: str, params: Params) -> None:
        super().__init__(params)
        self._study_name = study_name

    def __missing__(self, name: str) -> Any:
        raise WrongParametersError.of(self._study_name, self, shown(name))


def beginning_of(trials: Sequence[FrozenTrial]) -> dict[str, str]:
    """Return a text that differs between a study and a deleted study of the same name."""
    return {"study that began": beginning(trials[0])}
