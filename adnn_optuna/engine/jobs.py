"""The runs of a comparison: each one job, of threads of this process or of a user's executor.

Beside searches there are two controls, what the same compute buys otherwise: the unmoved network,
trained for as many epochs as all trials of a search together, and objectives of users' own. The
other controls (learning rates, constant offsets) are ordinary searches.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import TrialPruned
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Metrics
from adnn_optuna._checks import WrongValueError, check_type
from adnn_optuna.engine.evaluations import with_seed
from adnn_optuna.engine.loop import Loop
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.outcomes import Outcome
from adnn_optuna.engine.records import record_of
from adnn_optuna.engine.retraining import conclude
from adnn_optuna.engine.storages import open_storage, patiently
from adnn_optuna.engine.studies import Plan, open_studies
from adnn_optuna.engine.workers import interruptible
from adnn_optuna.networks.offsets import EpochsSpace
from adnn_optuna.networks.training import n_cores

if TYPE_CHECKING:
    from tqdm.auto import tqdm

Control = str | Callable[..., float]
"""A name, or a user's own Optuna objective of a trial, or of a trial and the seed."""


def check_executor(executor: object, storage: object) -> None:
    """Refuse what runs no jobs, or in copies of this process, or cannot reach the storage."""
    wanted = "a concurrent.futures.Executor or None"
    check_type("executor", executor, futures.Executor | None, wanted)
    if isinstance(executor, futures.ProcessPoolExecutor):
        context = getattr(executor, "_mp_context", None)
        if context is not None and context.get_start_method() == "fork":
            raise WrongValueError(
                "executor forks this process, and in a copy TensorFlow waits for ever: give "
                "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))."
            )
    if executor is not None and (storage is None or isinstance(storage, InMemoryStorage)):
        raise WrongValueError(
            "storage is in the memory of this process, where no worker of the executor can reach "
            "it; give the URL of a database."
        )


def run_jobs(
    jobs: Sequence[Plan],
    opened: Sequence[optuna.Study],
    *,
    stop: threading.Event,
    bar: tqdm[Any] | None,
    executor: futures.Executor | None,
    storage: str | BaseStorage | None,
) -> None:
    """Run some jobs; where one failed or was interrupted, so are the others."""
    lock = threading.Lock()

    def count(n_trials: int) -> None:
        if bar is not None:
            with lock:
                bar.update(n_trials)

    if executor is None:
        with futures.ThreadPoolExecutor(n_cores(), "run") as threads:
            runs = zip(jobs, opened, strict=True)
            _finish([threads.submit(_run_one, stop, count, *run) for run in runs], stop)
    else:
        elsewhere = [executor.submit(_run_elsewhere, job, storage) for job in jobs]
        _finish(elsewhere, stop, count)
    if stop.is_set():
        raise KeyboardInterrupt


def _finish(
    runs: Sequence[futures.Future[int]],
    stop: threading.Event,
    update: Callable[[int], object] = lambda _: None,
) -> None:
    """Wait for all runs; where one failed or was interrupted, so are the others."""
    try:
        for run in futures.as_completed(runs):
            update(run.result())
    finally:
        if not all(run.done() for run in runs):
            stop.set()
        for run in runs:
            run.cancel()


def _run_elsewhere(job: Plan, storage: str | BaseStorage | None) -> int:
    """Run a study in a worker of an executor."""
    [study] = open_studies([job], open_storage(storage))
    with interruptible() as stop:
        return _run_one(stop, lambda _: None, job, study)


def _run_one(
    stop: threading.Event, update: Callable[[int], object], job: Plan, study: optuna.Study
) -> int:
    """Run a study and return how many trials its budget was."""
    if job.searcher == stored.LONGER:
        _train_longer(job, study, stop)
        n_done = job.limits["max_trial"] or 0
        update(n_done)
    else:
        loop = Loop(job, study, stop, lambda _, __: update(1))
        update(loop.n_done)
        loop.run()
        n_done = loop.n_done
    if job.searcher != stored.OBJECTIVE:  # Which says itself what its winner reaches.
        conclude(patiently(record_of, study), job.objective, stop)
    return n_done


def _train_longer(plan: Plan, study: optuna.Study, stop: threading.Event) -> None:
    """Train the unmoved network once, for the epochs of all trials, as a study of one trial.

    Its value is that of the best epoch, its parameter the number of that epoch, and what it
    reports is the value after each. If it is killed or interrupted, it begins anew.
    """
    objective, space = plan.objective, cast(EpochsSpace, plan.objective.space)
    done, reason = (TrialState.COMPLETE, TrialState.FAIL), "max_trial"
    if not patiently(study.get_trials, deepcopy=False, states=done):
        start, began = objective.start({"epochs": space.longest}), time.monotonic()
        deadline = began + (plan.limits["max_time"] or math.inf)
        [run] = objective.trainer.train([start], stop=stop, deadline=deadline)
        if stop.is_set():
            raise KeyboardInterrupt
        if run.history:
            patiently(objective.set_baseline, study, run.history[: space.epochs][-1])
            trial = _best_epoch(objective, run.history, time.monotonic() - began)
            patiently(study.add_trial, trial)
        reason = "max_time" if run.status == "timeout" else reason
    if stored.STOP_REASON not in patiently(lambda: study.user_attrs):
        patiently(study.set_user_attr, stored.STOP_REASON, reason)


def _best_epoch(
    objective: InitOffsetObjective, history: Sequence[Metrics], seconds: float
) -> FrozenTrial:
    """Return a training as a trial, with the value of its best epoch, the first of equals."""
    values = [objective.value(metrics) for metrics in history]
    known = [i for i, value in enumerate(values) if not math.isnan(value)]
    best = max(known, key=lambda i: objective.improvement(values[i], 0.0), default=None)
    trial = create_trial(
        state=TrialState.FAIL if best is None else TrialState.COMPLETE,
        value=None if best is None else values[best],
        params={"epochs": len(values) if best is None else best + 1},
        distributions=objective.distributions,
        user_attrs={
            stored.ELAPSED: seconds,
            stored.TRIAL_METRICS: history[-1 if best is None else best],
        },
        intermediate_values={i: values[i] for i in known},
    )
    if trial.datetime_complete is not None:
        trial.datetime_start = trial.datetime_complete - timedelta(seconds=seconds)
    return trial


@dataclasses.dataclass(frozen=True)
class OwnObjective:
    """A user's own Optuna objective in the place of ours, for the control ``"objective"``.

    Args:
        function: A function of a trial, or of a trial and the seed. It returns the selection
            metric and stores the accuracy on the test set as the trial's user attribute
            ``test_accuracy``, of which only the best trial's is looked at.
        direction: Its direction.
        seed: The seed of the unit and of TPE.
    """

    function: Callable[..., float]
    direction: StudyDirection
    seed: int
    distributions: ClassVar[dict[str, BaseDistribution]] = {}  # The function suggests by itself.

    def suggest(self, trial: optuna.Trial) -> None:
        """The function does, as it runs."""

    def attach(self, study: optuna.Study) -> None:
        """Nothing is known of the function that a study could store."""

    def train(self, trials: Sequence[optuna.Trial], **_: object) -> list[Outcome]:
        """Run one trial to its end, whatever the limits."""
        [trial] = trials
        try:
            value = with_seed(self.function)[0](trial, self.seed)
        except TrialPruned:
            return [Outcome(TrialState.PRUNED)]
        if not math.isfinite(value):
            return [Outcome(TrialState.FAIL)]
        if "test_accuracy" not in trial.user_attrs:
            name = trial.study.study_name
            raise WrongValueError(
                f"The objective of the control {name!r} does not say how good its trials are on "
                "the test set: let it call trial.set_user_attr('test_accuracy', …)."
            )
        return [Outcome(TrialState.COMPLETE, value)]
