"""The one loop behind `search` and `compare`: ask for a round of trials, train them, tell them.

Trials are asked for in one thread and told in the order in which they were asked for, so that no
proposal depends on how fast a training is. A round reaches to the end of a batch at the most.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import GridSampler
from optuna.trial import TrialState

from adnn_optuna._attributes import PROPOSAL, RUNS, STOP_REASON, RunRecord
from adnn_optuna.callbacks import MaxGainCallback, MaxTimeCallback, is_done
from adnn_optuna.engine.outcomes import Outcome, mark_interrupted, train_trials
from adnn_optuna.engine.records import runs_of
from adnn_optuna.engine.storages import StorageError, enqueue_again, patiently
from adnn_optuna.engine.workers import (
    begin_heartbeat,
    fail_stale,
    heartbeat_interval,
    heartbeats,
    without_warnings,
)
from adnn_optuna.samplers import DeltaStepSampler, IndexedSampler
from adnn_optuna.samplers._owners import (
    end_trial,
    fail_dead,
    is_alive,
    is_own,
    note_owner,
    owner_of,
)
from adnn_optuna.samplers._trials import TrialReader

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from optuna.trial import FrozenTrial

    from adnn_optuna.engine.studies import Job

_logger = optuna.logging.get_logger("optuna.adnn_optuna")

# How long to wait before looking again whether others have done the rest, in seconds.
_SECONDS_BETWEEN_LOOKS = 0.1

# For how long a trial of which nobody here can tell who runs it is taken for live, in seconds.
_SECONDS_OF_BELIEF = 10.0

# Reasons for a study to end, beside those of the callbacks.
EXHAUSTED = "exhausted"
INTERRUPTED_BY_USER = "interrupted"

# The loops under way in this process, and the studies in which it may have left trials running:
# as it lives on, nobody takes those for dead.
_loops: set[Loop] = set()
_left_running: set[str] = set()


class Loop:
    """Runs one study until it has reached a limit, beside any other workers of it.

    Args:
        job:
            The study.
        stop:
            What ends the run when it is set.
        after_tell:
            Called after each trial that was told.
    """

    def __init__(
        self,
        job: Job,
        stop: threading.Event,
        after_tell: Callable[[optuna.Trial, Outcome], object] = lambda _, __: None,
    ) -> None:
        self._study, self._settings = job.study, job.settings
        self._objective, self._limits = job.plan.objective, job.plan.limits
        self._stop = stop
        self._after_tell = after_tell
        self._reader = TrialReader()
        self._n_done = 0
        self._first_seen: dict[int, float] = {}
        self._open: dict[int, optuna.Trial] = {}
        self._run_name = ""
        self._record: RunRecord | None = None
        max_time, max_gain = self._limits.max_time, self._limits.max_gain
        # Without a limit it only tells the working time.
        self._time = MaxTimeCallback(1.0 if max_time is None else max_time)
        self._gain = None if max_gain is None else MaxGainCallback(max_gain)

    @property
    def n_done(self) -> int:
        """The number of trials that were run to an end."""
        patiently(self._look)
        return self._n_done

    def run(self) -> None:
        """Run the study.

        Raises:
            KeyboardInterrupt: If ``stop`` is set; the trials under way end as failed and will be
                done again when the study is resumed.
            MemoryError: If there is too little memory for even one training.
            StorageError: If the storage fails, or does not answer for minutes.
        """
        storage = self._study._storage
        self._study._stop_flag = _was_stopped(self._study)
        _loops.add(self)
        try:
            with heartbeats(storage, self._open):
                while (reason := self._round()) is None:
                    pass
            patiently(self._end, reason)
        except BaseException as error:
            _left_running.add(self._study.study_name)
            # One that does not answer was waited for long enough.
            if not isinstance(error, StorageError):
                with contextlib.suppress(Exception):
                    self._tidy(is_interrupt=isinstance(error, KeyboardInterrupt))
            raise
        finally:
            _loops.discard(self)
            with contextlib.suppress(Exception):
                storage.remove_session()

    def _round(self) -> str | None:
        """Run some trials, if there are any to be run; return why the study has ended, if so."""
        if self._stop.is_set():
            raise KeyboardInterrupt
        patiently(fail_stale, self._study)
        patiently(self._look)
        n_live = len(self._live())
        n_waiting = len(self._in_state(TrialState.WAITING))
        n_free = patiently(self._n_proposals)
        reason = self._limit()
        if reason is None and not (n_live or n_waiting or n_free):
            reason = EXHAUSTED
        if reason is not None:
            return reason
        # Up to the end of a batch: the proposals of the next one learn from this one, also where
        # it was begun before the study was killed.
        batch_size = self._settings["batch_size"]
        n_begun: float = batch_size - self._n_done % batch_size
        # What was enqueued is told before anything is proposed: a GridSampler cannot be told of
        # it when all but one of its own trials are under way.
        n_begun = min(n_begun, n_waiting or n_free, self._max_trial - self._n_done)
        if not n_begun or self._n_done + n_live + n_begun > self._max_trial:
            # Others run all that is left, or a part of a batch that is not to be split. If one of
            # them dies, its trial is to be done.
            self._stop.wait(_SECONDS_BETWEEN_LOOKS)
            return None
        patiently(self._begin)
        elapsed = patiently(self._time.elapsed, self._study)
        # Before the trials, so that their own time reaches the limit when the training does.
        began = time.monotonic() - elapsed
        if trials := self._ask(int(n_begun)):
            max_time = self._limits.max_time
            deadline = math.inf if max_time is None else began + max_time
            outcomes = train_trials(self._objective, trials, stop=self._stop, deadline=deadline)
            self._tell(trials, outcomes, began)
        return None

    def _look(self) -> None:
        """Read what is new in the study, and end the trials of the dead."""
        study, is_current = self._study, False
        while not is_current:
            news = self._reader.read(study)
            if self._reader.was_reset:
                self._n_done = 0
            self._n_done += sum(map(is_done, news))
            running = self._in_state(TrialState.RUNNING)
            is_current = not (self._end_left_running(running) or self._bury(running))

    def _in_state(self, state: TrialState) -> list[FrozenTrial]:
        return [trial for trial in self._reader.unfinished.values() if trial.state == state]

    def _end_left_running(self, running: Sequence[FrozenTrial]) -> bool:
        """End the trials that this process began and could not end when it should have."""
        name = self._study.study_name
        if name not in _left_running:
            return False
        held = {i for loop in _loops if loop._study.study_name == name for i in loop._open}
        left = [t for t in running if is_own(t) and t._trial_id not in held]
        for trial in left:
            end_trial(self._study, trial)
        _left_running.discard(name)
        return bool(left)

    def _bury(self, running: Sequence[FrozenTrial]) -> bool:
        """End the trials of dead workers, and see to it that each is done again."""
        for trial in running:
            # The others are proposed again.
            if is_alive(trial) is False and _index_of(trial) is None:
                with contextlib.suppress(UpdateFinishedTrialError):
                    # Only one of all workers succeeds in this.
                    self._study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                    enqueue_again(self._study, trial)
        return fail_dead(self._study, running)

    def _live(self) -> list[FrozenTrial]:
        """Return the trials of which a result is expected."""
        return [*filter(self._lives, self._in_state(TrialState.RUNNING))]

    def _lives(self, trial: FrozenTrial) -> bool:
        alive = is_alive(trial)
        if alive is not None:
            return alive
        if owner_of(trial) is not None and heartbeat_interval(self._study._storage) is not None:
            return True  # Whose heart does not beat is told FAIL.
        first_seen = self._first_seen.setdefault(trial.number, time.monotonic())
        return time.monotonic() - first_seen < _SECONDS_OF_BELIEF

    def _limit(self) -> str | None:
        """Return which limit is reached; of several, the first of these."""
        if self._gain is not None and patiently(self._gain.reached, self._study):
            return self._gain.reason
        if self._n_done >= self._max_trial:
            return "max_trial"
        if self._limits.max_time is not None and patiently(self._time.reached, self._study):
            return self._time.reason
        return None

    @property
    def _max_trial(self) -> float:
        return math.inf if self._limits.max_trial is None else self._limits.max_trial

    def _n_proposals(self) -> float:
        """Return how many trials the sampler has to propose, as far as that matters now."""
        sampler = self._study.sampler
        if isinstance(sampler, DeltaStepSampler):
            return sampler.n_free_steps(self._study, at_most=self._settings["batch_size"])
        return 0 if self._study._stop_flag else math.inf

    def _ask(self, count: int) -> list[optuna.Trial]:
        """Begin trials, but for those that are too many, as other workers do the same."""
        for _ in range(count):
            # Another worker, which sees no sign of life of this one, may end the trial.
            with contextlib.suppress(UpdateFinishedTrialError):
                trial = patiently(self._ask_one)
                self._open[trial._trial_id] = trial
                if not isinstance(self._study.sampler, IndexedSampler):
                    frozen = patiently(self._study._storage.get_trial, trial._trial_id)
                    patiently(note_owner, self._study, frozen)
                patiently(begin_heartbeat, trial)
        patiently(self._look)
        # Trials are numbered by the storage: those of a lower number come first.
        live = [trial.number for trial in self._live()]
        for trial_id, trial in list(self._open.items()):
            n_before = sum(number < trial.number for number in live)
            if self._n_done + n_before >= self._max_trial or self._is_repetition(trial):
                patiently(self._give_back, trial)
                del self._open[trial_id]
        return list(self._open.values())

    def _ask_one(self) -> optuna.Trial:
        if self._study.study_name in _left_running:
            # The one that was begun in vain holds what is to be proposed.
            self._look()
        try:
            with without_warnings(self._study._storage):
                return self._study.ask(self._objective.distributions)
        except BaseException:
            # It may have begun.
            _left_running.add(self._study.study_name)
            raise

    def _is_repetition(self, trial: optuna.Trial) -> bool:
        """Return whether other workers took the last steps of a walk while this one asked."""
        sampler, index = self._study.sampler, _index_of(self._reader.trials[trial.number])
        if index is None or not isinstance(sampler, DeltaStepSampler):
            return False
        return index > sampler._last_index

    def _give_back(self, trial: optuna.Trial) -> None:
        """End a trial that is one too many; it counts nowhere."""
        storage = self._study._storage
        with contextlib.suppress(UpdateFinishedTrialError):
            mark_interrupted(trial)
            storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            enqueue_again(self._study, self._reader.trials[trial.number])

    def _tell(
        self, trials: Sequence[optuna.Trial], outcomes: Sequence[Outcome], began: float
    ) -> None:
        """Tell what came of trials; those after the one that gained enough count for nothing."""
        for trial, outcome in zip(trials, outcomes, strict=True):
            if outcome.is_stopped:
                continue
            if self._gain is not None and patiently(self._gain.reached, self._study):
                outcome = Outcome(TrialState.PRUNED, is_cut_off=True)  # noqa: PLW2901
            try:
                patiently(self._tell_one, trial, outcome, time.monotonic() - began)
            except (UpdateFinishedTrialError, ValueError):
                ended = patiently(self._study._storage.get_trial, trial._trial_id)
                if not ended.state.is_finished():
                    raise
                # A server that was restarted may have told it, and not said so.
                if ended.state != outcome.state:
                    _logger.warning(
                        "Trial %d was ended by another worker, which saw no sign of life of this "
                        "one; its result is dropped and the trial is done again.",
                        trial.number,
                    )
            del self._open[trial._trial_id]
            self._after_tell(trial, outcome)

    def _tell_one(self, trial: optuna.Trial, outcome: Outcome, elapsed: float) -> None:
        study = self._study
        outcome.store(trial, elapsed)
        # As in `Study.optimize`, where other samplers may stop the study.
        study._thread_local.in_optimize_loop = not isinstance(study.sampler, IndexedSampler)
        try:
            study.tell(trial, outcome.value, outcome.state)
        finally:
            study._thread_local.in_optimize_loop = False

    def _begin(self) -> None:
        """Note that there is something to do in this run, once."""
        if self._record is None:
            began = datetime.now(UTC).isoformat()
            self._run_name = f"{RUNS}/{began}-{os.getpid()}"
            self._record = {
                "began": began,
                "sampler": self._settings["sampler"],
                "max_time": self._limits.max_time,
                "max_trial": self._limits.max_trial,
                "max_gain": self._limits.max_gain,
                "n_trials_before": self._n_done,
                "stop_reason": None,
                "n_trials": None,
            }
            self._study.set_user_attr(self._run_name, self._record)
            # That of an earlier run: if this one is killed, nothing has ended it.
            self._store_reason(None)

    def _end(self, reason: str) -> None:
        """Store why the run ended; one that had nothing to do changes nothing."""
        if self._record is not None:
            self._record |= {"stop_reason": reason, "n_trials": self._n_done}
            self._study.set_user_attr(self._run_name, self._record)
        elif self._study.user_attrs.get(STOP_REASON) is not None or not self._is_like_last_run():
            return
        self._store_reason(reason)

    def _is_like_last_run(self) -> bool:
        """Return whether the limits are those of a run that may have died before it ended."""
        runs, limits = runs_of(self._study), vars(self._limits)
        return bool(runs) and limits.items() <= runs[-1].items()

    def _store_reason(self, reason: str | None) -> None:
        if self._study.user_attrs.get(STOP_REASON) != reason:
            self._study.set_user_attr(STOP_REASON, reason)

    def _tidy(self, *, is_interrupt: bool) -> None:
        """End the trials that are under way, and say that the user interrupted the run."""
        for trial in self._open.values():
            with contextlib.suppress(UpdateFinishedTrialError):
                self._study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        self._open.clear()
        self._look()
        if is_interrupt and self._record is not None:
            self._end(self._limit() or INTERRUPTED_BY_USER)


def _index_of(trial: FrozenTrial) -> int | None:
    """Return which proposal of a sampler of ours a trial is, if it is one."""
    index: int | None = (trial.system_attrs.get(PROPOSAL) or {}).get("index")
    return index


def _was_stopped(study: optuna.Study) -> bool:
    """Return whether the sampler stopped its study in some run: it would only repeat trials."""
    if study.user_attrs.get(STOP_REASON) != EXHAUSTED:
        return False
    # A grid may have more points now.
    return not isinstance(study.sampler, GridSampler) or study.sampler.is_exhausted(study)
