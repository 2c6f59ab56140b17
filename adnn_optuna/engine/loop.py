"""The loop that runs all evaluations: read, decide, act.

A read of the study gives a snapshot. The module `decisions` decides on the next step, and the loop
executes it. The loop asks for trials in one thread, runs them, and tells their results. If
proposals depend on values, the loop runs in rounds of one batch. It tells trials in the order in
which they began, so proposals do not depend on the duration of training runs. If proposals do not
depend on values, a trial begins as soon as another trial has ended.
"""

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable
from concurrent import futures
from contextvars import copy_context
from datetime import UTC, datetime
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import GridSampler
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._attributes import (
    OWNER,
    PROPOSAL,
    RUNS,
    SEARCH,
    STOP_REASON,
    RunRecord,
    read_study,
    runs_of,
)
from adnn_optuna._checks import logger
from adnn_optuna.callbacks import Limit, LimitValues, Tally, callbacks_of, checked_limits
from adnn_optuna.engine import signals
from adnn_optuna.engine.decisions import Begin, End, Observer, Snapshot, Wait, after, before
from adnn_optuna.engine.objectives import ObjectiveStudy, Outcome, Trainable, mark
from adnn_optuna.engine.repeating import StorageError, sharing_attributes
from adnn_optuna.engine.storages import enqueue_again
from adnn_optuna.samplers import _owners

_SECONDS_BETWEEN_READS = 0.1

AfterTell = Callable[[Tally, optuna.Trial, Outcome], object]


def last_limits(study: optuna.Study) -> LimitValues:
    """Return the limits of the study's last run that began a trial."""
    attrs, _ = read_study(study)
    runs = runs_of(attrs)
    limits: Any = runs[-1]["limits"] if runs else {}
    return checked_limits(**limits)


class Loop:
    """Runs an opened study until it reaches a limit or ``stop`` is set.

    Other workers may run the same study. If proposals do not depend on values, ``n_threads``
    trials run at once. Each thread first calls ``initializer``. ``after_tell`` is called with each
    finished trial after the next read of the study. ``ends`` are stricter limits for a loop that
    is a part of a run. If ``is_run`` is False, the loop does not store its limits or the reason of
    its end.
    """

    def __init__(
        self,
        study: optuna.Study,
        objective: Trainable,
        limits: LimitValues,
        stop: threading.Event,
        *,
        n_threads: int | None = None,
        initializer: Callable[[], None] | None = None,
        ends: list[Limit] | None = None,
        is_run: bool = True,
        after_tell: AfterTell = lambda *_: None,
    ) -> None:
        self._study: ObjectiveStudy = sharing_attributes(ObjectiveStudy, study)
        self._objective = objective
        self._limit_values = limits
        self._n_threads = n_threads
        self._initializer = initializer
        self._storage: Any = study._storage
        self._stop = stop
        self._after_tell = after_tell
        # Studies of searches store the settings of their first run. Studies of evaluations have no
        # settings.
        settings = study.user_attrs.get(SEARCH)
        self._sampler: str | None = None
        if settings and is_run:
            self._sampler = settings["sampler"]
        self._run_began = datetime.now(UTC).isoformat()
        self._has_begun = False  # Whether this run began a trial.
        self._ends = callbacks_of(limits) if ends is None else ends
        n_at_once = 1
        if settings:
            n_at_once = settings["batch_size"]
        self._observer = Observer(study, self._ends, n_at_once)
        # For the id of each running trial of this run, whether the trial was created with all
        # parameters.
        self._open: dict[int, bool] = {}
        # The running jobs in threads. For each job, the value has the job's trial, and the clock's
        # time minus the study's working time when the trial began.
        self._jobs: dict[futures.Future[list[Outcome]], tuple[optuna.Trial, float]] = {}
        self._told: list[tuple[optuna.Trial, Outcome]] = []  # Trials told since the last read.
        self._n_rivals = 0

    def run(self) -> int:
        """Run the study and return the number of finished trials.

        If the user interrupts the run, running trials end with the state FAIL.
        """
        self._study._stop_flag = self._has_ended()
        self._study.is_stopped_by_objective = False
        # This read ends trials that this thread asked for earlier and did not tell. After the run
        # has begun, they would look like its own trials.
        self._read_study()
        interval = self._observer.tally.heartbeat_interval
        lives = signals.heartbeats(self._storage, interval, self._open)
        threads = futures.ThreadPoolExecutor(self._n_threads or 1, "trials", self._initializer)
        try:
            with _owners.run_of_trials(self._study), lives, threads:
                try:
                    while (reason := self._step(threads)) is None:
                        pass
                except BaseException:
                    if self._jobs:
                        # The jobs must end, because leaving the block waits for them.
                        self._stop.set()
                    raise
            n_done = self._observer.tally.n_done
            self._end_run(reason, n_done)
        except BaseException as error:
            # A StorageError comes after minutes of waiting, so nothing more is stored after it.
            if not isinstance(error, StorageError):
                with contextlib.suppress(Exception):
                    self._tidy(is_interrupt=isinstance(error, KeyboardInterrupt))
            raise
        return n_done

    def _has_ended(self) -> bool:
        """Return whether an earlier run ended so that this run must not begin trials.

        Its sampler would only repeat trials, or the objective stopped a run with the same limits.
        """
        reason = self._study.user_attrs.get(STOP_REASON)
        if reason == "stopped":
            return last_limits(self._study) == self._limit_values
        sampler = self._study.sampler
        # The grid may have more points than in an earlier run.
        has_more = isinstance(sampler, GridSampler) and not sampler.is_exhausted(self._study)
        return reason == "exhausted" and not has_more

    def _step(self, threads: futures.ThreadPoolExecutor) -> str | None:
        """Read, decide and act. If the study has ended, return the reason."""
        if self._stop.is_set():
            raise KeyboardInterrupt
        snapshot = self._read_study()
        decision = before(snapshot)
        if isinstance(decision, End) and not self._jobs:
            if decision.reason == "exhausted" and self._study.is_stopped_by_objective:
                return "stopped"
            return decision.reason
        if isinstance(decision, Begin):
            self._run_trials(decision.count, snapshot, threads)
        if self._jobs:
            # If a thread is free, it may get a trial as soon as another worker gives up a trial.
            # So the study is read again soon.
            is_full = isinstance(decision, End) or len(self._jobs) == snapshot.batch_size
            seconds = None
            if not is_full:
                seconds = _SECONDS_BETWEEN_READS
            self._collect(seconds)
        elif isinstance(decision, Wait):
            # ``stop.wait`` is not suitable: while it waits, a signal in this thread could not set
            # ``stop``.
            time.sleep(_SECONDS_BETWEEN_READS)
        return None

    def _run_trials(
        self, count: int, snapshot: Snapshot, threads: futures.ThreadPoolExecutor
    ) -> None:
        """Begin trials, and train them in other threads or in this thread."""
        # The clock is read before the trials begin. So if training ends at the time limit, the
        # trial's stored time has reached the limit, too.
        work_began = time.monotonic() - self._observer.tally.elapsed
        if not self._has_begun:
            # A killed run cannot store why it ended. So the reason of the earlier run is removed
            # now.
            self._store_run(None, None)
            self._has_begun = True
        trials = self._begin(count, snapshot)
        if snapshot.is_refilled and snapshot.batch_size > 1:
            for trial in trials:
                job = threads.submit(copy_context().run, self._train, [trial], work_began)
                self._jobs[job] = trial, work_began
        elif trials:  # Trials run in this thread, so Ctrl-C can interrupt them.
            self._tell(trials, self._train(trials, work_began), work_began)

    def _read_study(self, begun: frozenset[int] = frozenset()) -> Snapshot:
        """Read the study, show new results, and end trials of dead workers."""
        # The first trials run in one round, so that they train the baseline only once.
        is_first = bool(self._objective.baseline_params) and not self._observer.tally.n_done
        n_threads = None if is_first else self._n_threads
        while True:
            snapshot = self._observer.snapshot(self._open, begun, n_threads=n_threads)
            while self._told:
                self._after_tell(self._observer.tally, *self._told.pop(0))
            abandoned = snapshot.abandoned
            if not abandoned:
                return snapshot
            for trial in abandoned:
                self._fail(trial.trial_id)

    def _fail(self, trial_id: int) -> None:
        """End a trial so that it is repeated."""
        # The parameters are enqueued first, so they are not lost if this worker dies before the
        # trial ends. The trial is read again, because the earlier read may be outdated.
        with contextlib.suppress(KeyError):  # If the trial was deleted, nothing is to do.
            trial = self._storage.get_trial(trial_id)
            enqueue_again(self._study, trial)
            _owners.end_trial(self._study, trial)

    def _begin(self, count: int, snapshot: Snapshot) -> list[optuna.Trial]:
        """Begin up to ``count`` trials, and give back trials that other workers began, too."""
        other_trials = [trial for trial in snapshot.unfinished if not trial.is_open]
        may_collide = bool(other_trials or self._n_rivals)
        begun = {}
        for _ in range(count):
            try:
                begun_trial = self._begin_one()
            except UpdateFinishedTrialError:
                # This worker sent no heartbeats, so another worker ended the trial.
                self._read_study()
                continue
            if begun_trial is None:  # Other workers took the last trials.
                break
            trial, is_expected = begun_trial
            begun[trial._trial_id] = trial
            if not is_expected:
                may_collide = True
                self._read_study()
        # If no other worker created a trial in the meantime, no other worker can have chosen the
        # same proposals. Workers that read later find these trials.
        self._n_rivals = 0
        if may_collide:
            snapshot = self._read_study(frozenset(begun))
            given_back = after(snapshot, frozenset(begun)).ids
            for surplus in (t for t in snapshot.unfinished if t.trial_id in given_back):
                self._give_back(begun.pop(surplus.trial_id))
                self._n_rivals = len(snapshot.live)
        return [*begun.values()]

    def _begin_one(self) -> tuple[optuna.Trial, bool] | None:
        """Begin the first waiting trial or a new trial, if possible.

        Also return whether the trial has the expected number. If so, no other worker created a
        trial in the meantime.
        """
        self._study._thread_local.cached_all_trials = None  # Samplers must see new trials.
        waited = self._take_waiting()
        is_expected = False
        trial_id = waited
        if trial_id is None:
            trial_id, is_expected = self._create()
        if trial_id is None:
            return None
        if self._observer.tally.heartbeat_interval:
            self._storage.record_heartbeat(trial_id)
        trial = optuna.Trial(self._study, trial_id)
        is_whole = waited is None and bool(trial.params)
        if not is_whole:
            self._objective.suggest(trial)
        self._open[trial_id] = is_whole
        return trial, is_expected

    def _take_waiting(self) -> int | None:
        """Begin the first waiting trial, and return its id.

        `Study.ask` does the same, but this method stores the owner before the state RUNNING. So if
        the worker dies, the stored owner shows that no worker runs the trial.
        """
        for trial in [*self._observer.tally.reader.unfinished.values()]:
            if trial.state != TrialState.WAITING or trial._trial_id in self._open:
                continue
            trial_id = trial._trial_id
            claim = _owners.claim_of(trial)
            owner = _owners.ownership(trial)
            # If the trial was deleted, Optuna's caches may still list it.
            with contextlib.suppress(UpdateFinishedTrialError, KeyError):
                self._storage.set_trial_system_attr(trial_id, claim, owner)
                if self._storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                    self._storage.set_trial_system_attr(trial_id, OWNER, owner)
                    return trial_id
                # Another worker began the trial.
                self._storage.set_trial_system_attr(trial_id, claim, None)
        return None

    def _create(self) -> tuple[int | None, bool]:
        """Create a trial with its owner and, as far as possible, its proposal.

        One transaction stores everything, so a dying worker leaves no incomplete trial. The
        owner's record has the number that the trial is expected to get. This number is wrong if
        other workers create a trial at the same moment.
        """
        reader = self._observer.tally.reader
        places = self._observer.places
        study_id = self._study._study_id
        if places is None:
            template: FrozenTrial | None = _owners.owned_template(reader.next_number)
        else:
            distributions = self._objective.distributions
            template = places.template(self._study, reader, distributions, self._n_rivals)
        if template is None:
            return None, False
        trial_id: int = self._storage.create_new_trial(study_id, template)
        # A storage knows a trial that it has just created, so no read is needed.
        id_of = self._storage.get_trial_id_from_study_id_trial_number
        with contextlib.suppress(KeyError):
            if id_of(study_id, template.number) == trial_id:
                template._trial_id = trial_id
                reader.add(template)
                return trial_id, True
        template.number = self._storage.get_trial(trial_id).number
        name = OWNER
        value = dict[str, Any](_owners.ownership(template))
        proposal = template.system_attrs.get(PROPOSAL)
        if proposal is not None:
            name = PROPOSAL
            value = {**proposal, "owner": value}
        self._storage.set_trial_system_attr(trial_id, name, value)
        return trial_id, False

    def _give_back(self, trial: optuna.Trial) -> None:
        """End a surplus trial. If its parameters were enqueued, enqueue them again."""
        with contextlib.suppress(UpdateFinishedTrialError, KeyError):
            mark(trial, "interrupted")
            self._fail(trial._trial_id)
        self._open.pop(trial._trial_id, None)

    def _train(self, trials: list[optuna.Trial], work_began: float) -> list[Outcome]:
        deadline = work_began + (self._limit_values["max_time"] or math.inf)
        return self._objective.train(trials, stop=self._stop, deadline=deadline)

    def _collect(self, seconds: float | None) -> None:
        """Wait up to ``seconds`` until a job has ended, and tell the trials of ended jobs."""
        ended, _ = futures.wait(self._jobs, seconds, futures.FIRST_COMPLETED)
        for job in ended:
            outcomes = job.result()
            trial, work_began = self._jobs.pop(job)
            self._tell([trial], outcomes, work_began)

    def _tell(
        self, trials: list[optuna.Trial], outcomes: list[Outcome], work_began: float
    ) -> None:
        """Tell results.

        If a trial reaches a limit such as max_gain, later trials of the batch do not count.
        """
        early = [limit for limit in self._ends if limit.ends_early]
        for position, (trial, outcome) in enumerate(zip(trials, outcomes, strict=True)):
            if outcome.status == "stopped":
                continue
            if position and any(limit.reached(self._study) for limit in early):
                outcome = Outcome("timeout")  # noqa: PLW2901
            self._tell_one(trial, outcome, time.monotonic() - work_began)
            if outcome.stops_study:
                self._study.stop()
            self._open.pop(trial._trial_id, None)
            self._told.append((trial, outcome))

    def _tell_one(self, trial: optuna.Trial, outcome: Outcome, elapsed: float) -> None:
        trial_id = trial._trial_id
        state = outcome.state
        value = outcome.value
        try:
            outcome.store(trial, elapsed)
            if outcome.status == "timeout":  # A resumed study repeats the trial.
                now = self._storage.get_trial(trial_id)
                enqueue_again(self._study, now)
            if self._open.get(trial_id) and state != TrialState.PRUNED:
                # The sampler stored all its attributes when the trial was created.
                values = None if value is None else [value]
                self._storage.set_trial_state_values(trial_id, state, values)
            else:
                self._study.tell(trial, value, state, skip_if_finished=True)
        except UpdateFinishedTrialError:
            message = "Trial %d had been ended, by its objective or by another worker."
            logger.warning(message, trial.number)
        except KeyError:
            logger.warning("Trial %d was deleted while it ran.", trial.number)

    def _tidy(self, *, is_interrupt: bool) -> None:
        """End the running trials, and store that the user interrupted the run."""
        for job, (trial, work_began) in self._jobs.items():
            if job.exception() is None:  # The job ended with a result.
                self._tell([trial], job.result(), work_began)
        self._open.clear()  # The next read ends all other trials of this run.
        snapshot = self._read_study()
        if is_interrupt and self._has_begun:
            self._end_run(snapshot.limit or "interrupted", snapshot.n_done)

    def _end_run(self, reason: str, n_done: int) -> None:
        """Store why the run ended, if the run began trials."""
        if self._has_begun:
            self._store_run(reason, n_done)
            return
        # An earlier run with the same limits may have died before it stored the reason, so this
        # run stores it.
        is_open = self._sampler and self._study.user_attrs.get(STOP_REASON) is None
        if is_open and last_limits(self._study) == self._limit_values:
            self._study.set_user_attr(STOP_REASON, reason)

    def _store_run(self, reason: str | None, n_done: int | None) -> None:
        if self._sampler is None:
            return
        limits: Any = self._limit_values
        run: RunRecord = {
            "began": self._run_began,
            "sampler": self._sampler,
            "limits": limits,
            "stop_reason": reason,
            "n_trials": n_done,
        }
        self._study.set_user_attr(f"{RUNS}/{self._run_began}-{os.getpid()}", run)
        self._study.set_user_attr(STOP_REASON, reason)
