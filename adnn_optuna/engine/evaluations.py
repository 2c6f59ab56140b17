"""Evaluations that findings ask for: each is a trial of a study that one worker makes once."""

import contextlib
import dataclasses
import functools
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent import futures
from typing import Any, ClassVar

import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.exceptions import TrialPruned
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from adnn_optuna._attributes import (
    EVALUATED,
    PLANNED,
    TEST_ROWS,
    Planned,
    planned_numbers,
    planned_of,
    read_study,
)
from adnn_optuna._checks import WrongValueError, logger
from adnn_optuna._differences import config_differences, in_words
from adnn_optuna.callbacks import checked_limits
from adnn_optuna.engine.loop import Loop
from adnn_optuna.engine.objectives import Caught, Outcome, catching, number
from adnn_optuna.engine.signals import interruptible, progress_bar
from adnn_optuna.engine.storages import AnyStorage, check_study_name, open_declared, open_storage
from adnn_optuna.samplers._evaluations import (
    Evaluation,
    EvaluationSampler,
    evaluation_of,
    made_evaluations,
)
from adnn_optuna.samplers._trials import check_direction

MAX_NUMBER = 2**31 - 1


def plan_seeds(study: optuna.Study, number: int, count: int) -> Planned:
    """Return how many new seeds confirm a trial; it is stored before the first is evaluated.

    A larger number later makes the CI sequential for good; a smaller one changes nothing.
    """
    before = planned_of(study.user_attrs, number)
    if before is not None and count <= before["seeds"]:
        return before
    planned: Planned = {"seeds": count, "sequential": before is not None, "rank": 0}
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
        # Another worker may have planned another trial at the same moment: whoever wrote later
        # counts both.
        planned["rank"] = len(planned_numbers(study.user_attrs))
        study.set_user_attr(name, planned)
    return planned


def open_evaluations(
    storage: AnyStorage | None,
    name: str,
    evaluated: Any,
    *,
    direction: StudyDirection = StudyDirection.MAXIMIZE,
    test_rows: str | None = None,
) -> optuna.Study:
    """Create or load the study of evaluations; ``evaluated`` describes their subject, in JSON.

    ``test_rows`` is the fingerprint of the test samples, if evaluations are on these.
    """
    check_study_name(name)
    opened = open_storage(storage)
    study = open_declared(opened, name, direction, EVALUATED, evaluated)
    stored_subject = {"evaluated": read_study(study)[0].get(EVALUATED)}
    differences = config_differences(stored_subject, {"evaluated": evaluated})
    if differences:
        raise WrongValueError(
            f"The study {name!r} is a search or a comparison, or holds evaluations of something "
            f"else ({in_words(differences)}); delete it, or give another name or storage."
        )
    if test_rows is not None:
        study.set_user_attr(TEST_ROWS, test_rows)
    return study


def store_settings(study: optuna.Study, name: str, settings: Any) -> None:
    """Store how evaluations are read, by an attribute's name, unless that is stored already."""
    if study.user_attrs.get(name) != settings:
        study.set_user_attr(name, settings)


def make_evaluations(
    missing_of: Callable[[Mapping[Evaluation, float]], Sequence[Evaluation]],
    study: optuna.Study,
    names: Sequence[str],
    evaluate: Callable[..., float | Outcome],
    *,
    stop: threading.Event | None = None,
    n_jobs: int = 1,
    max_time: float | None = None,
    executor: futures.Executor | None = None,
    catch: Caught = (),
) -> None:
    """Make evaluations until none is missing.

    None is made twice: a new call resumes, and processes may work together. ``names`` are the
    meanings of its numbers. ``stop`` is set when running evaluations should end, :obj:`None` if
    they ignore it. After ``max_time`` seconds over all runs, no evaluation begins, and running
    ones may end with "timeout". An ``executor`` gets a job for each evaluation. An error in
    ``catch`` ends only this evaluation.
    """

    def missing_in(trials: Iterable[FrozenTrial]) -> Sequence[Evaluation]:
        return missing_of(made_evaluations(trials, names))

    # An evaluation that heeds no event is interrupted wherever it is.
    with contextlib.nullcontext() if stop is None else interruptible(stop):
        check_is_reached(study._storage, executor)
        if executor is not None:
            settings = {
                "names": tuple(names),
                "evaluate": evaluate,
                "max_time": max_time,
                "catch": catch,
            }
            make = functools.partial(_make_one, study._storage, study.study_name, settings)

            def after_job(_: object) -> None:
                if stop is not None and stop.is_set():
                    raise KeyboardInterrupt
                missing_in(study.get_trials(deepcopy=False))

            tried = set[Evaluation]()
            while True:
                # What was tried and is missing had no time left.
                missing = missing_in(study.get_trials(deepcopy=False))
                untried = [evaluation for evaluation in missing if evaluation not in tried]
                if not untried:
                    return
                tried.update(untried)
                jobs = [executor.submit(make, evaluation) for evaluation in untried]
                run_jobs(jobs, after_job)
        study.sampler = EvaluationSampler(names, missing_in)
        objective = _EvaluationObjective(evaluate, study.direction, tuple(names), catch)
        limits = checked_limits(max_time=max_time)
        Loop(study, objective, limits, stop or threading.Event(), n_threads=n_jobs).run()


def make_needed(
    needed: Sequence[Evaluation],
    study: optuna.Study,
    names: Sequence[str],
    evaluate: Callable[..., float | Outcome],
    *,
    show_progress_bar: bool,
    **options: Any,
) -> None:
    """Make the missing ones of some evaluations, see :func:`make_evaluations`."""
    n_needed = len(needed)
    name = study.study_name
    with progress_bar(n_needed, show=show_progress_bar, unit="evaluation", desc=name) as bar:

        def missing_of(values: Mapping[Evaluation, float]) -> list[Evaluation]:
            missing = [evaluation for evaluation in needed if evaluation not in values]
            n_made = n_needed - len(missing)
            bar.update(n_made - bar.n)
            return missing

        make_evaluations(missing_of, study, names, evaluate, **options)


def _make_one(
    storage: BaseStorage, name: str, settings: dict[str, Any], evaluation: Evaluation
) -> None:
    """Make an evaluation, in any process, unless another worker makes it or time is up."""
    study = optuna.load_study(study_name=name, storage=open_storage(storage))

    def missing_of(made: Mapping[Evaluation, float]) -> list[Evaluation]:
        if evaluation in made:
            return []
        return [evaluation]

    make_evaluations(missing_of, study, **settings)


def check_is_reached(storage: BaseStorage, executor: object) -> None:
    """Refuse an opened storage that the workers of an executor cannot reach."""
    if executor is not None and isinstance(storage, InMemoryStorage):
        raise WrongValueError(
            "storage is in the memory of this process, where no worker of the executor can reach "
            "it; give the URL of a database."
        )


def run_jobs(jobs: Sequence[futures.Future[Any]], after_job: Callable[[Any], object]) -> None:
    """Wait for jobs; if one fails or the user interrupts, no further job begins."""
    try:
        for job in futures.as_completed(jobs):
            after_job(job.result())
    finally:
        for job in jobs:
            job.cancel()


@dataclasses.dataclass(frozen=True)
class _EvaluationObjective:
    """Evaluations as trials, whose parameters tell which evaluation each is."""

    evaluate: Callable[..., float | Outcome]
    direction: StudyDirection
    names: tuple[str, ...]
    catch: Caught
    seed: int = 0
    baseline_params: ClassVar[Mapping[str, Any]] = {}

    @property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        """The numbers of an evaluation."""
        return dict.fromkeys(self.names, IntDistribution(0, MAX_NUMBER))

    def attach(self, study: optuna.Study) -> None:
        """Refuse a study of another direction."""
        check_direction(study, self.direction)

    def suggest(self, trial: optuna.Trial) -> None:
        """Do nothing: the sampler knows all numbers when it creates a trial."""

    def train(self, trials: Sequence[optuna.Trial], **_: object) -> list[Outcome]:
        """Make evaluations one after the other, without limits."""
        return [self._made(evaluation_of(trial, self.names)) for trial in trials]

    def _made(self, evaluation: Evaluation) -> Outcome:
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
            outcome = Outcome("complete", number(returned))
        if outcome.value is None or math.isfinite(outcome.value):
            return outcome
        return dataclasses.replace(outcome, status="pruned", value=None)  # It is not made again.
