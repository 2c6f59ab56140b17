"""The one loop behind `search` and `compare`: ask for a round of trials, train them, tell them.

Trials are asked for in one thread and told in the order in which they were asked for, so that no
proposal depends on how fast a training is. A round reaches to the end of a batch at the most.
"""

import contextlib
import copy
import math
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._attributes import OWNER, PROPOSAL, RUNS, SEARCH, STOP_REASON, SearchSettings
from adnn_optuna._checks import logger
from adnn_optuna.callbacks import Tally, callbacks_of
from adnn_optuna.engine import signals
from adnn_optuna.engine.outcomes import Outcome, mark
from adnn_optuna.engine.storages import StorageError, enqueue_again, has_retry, patiently
from adnn_optuna.engine.studies import Plan, last_limits, was_exhausted
from adnn_optuna.samplers import IndexedSampler, _owners

# How long to wait before looking again whether others have done the rest, in seconds.
_SECONDS_BETWEEN_LOOKS = 0.1
# For how long a trial of which nobody here can tell who runs it is taken for live, in seconds.
_SECONDS_OF_BELIEF = 10.0


class Loop:
    """Runs one study, opened by its plan, until it has reached a limit or ``stop`` is set.

    Other workers may do so, too. ``after_tell`` is called after each trial that was told; for
    ``meanwhile`` see :meth:`Trainer.train`.
    """

    def __init__(
        self,
        plan: Plan,
        study: optuna.Study,
        stop: threading.Event,
        after_tell: Callable[[optuna.Trial, Outcome], object] = lambda _, __: None,
        meanwhile: Callable[[float], object] | None = None,
    ) -> None:
        self._study, self._objective, self._limits = study, plan.objective, plan.limits
        self._storage: Any = study._storage
        self._callbacks = callbacks_of(plan.limits)
        self._max_trial = plan.limits["max_trial"] or math.inf
        self._stop, self._after_tell, self._meanwhile = stop, after_tell, meanwhile
        self._settings: SearchSettings = patiently(lambda: study.user_attrs[SEARCH])
        self._tally = Tally(study)
        self._open: dict[int, optuna.Trial] = {}  # Under way here, by their ids.
        self._has_failed = False  # Asking for a trial, which may have begun.
        self._first_seen: dict[int, float] = {}
        self._began = datetime.now(UTC).isoformat()
        # Known once there was something to do.
        self._n_trials_before: int | None = None

    @property
    def n_done(self) -> int:
        """The number of trials that were run to an end."""
        patiently(self._look)
        return self._tally.n_done

    def run(self) -> None:
        """Run the study; where that is interrupted, the trials under way end as failed."""
        self._study._stop_flag = patiently(was_exhausted, self._study)
        try:
            lives = signals.heartbeats(self._storage, self._tally.heartbeat_interval, self._open)
            with _owners.run_of_trials(self._study), lives:
                while (reason := self._round()) is None:
                    pass
            patiently(self._end, reason)
        except BaseException as error:
            # One that does not answer was waited for long enough.
            if not isinstance(error, StorageError):
                with contextlib.suppress(Exception):
                    self._tidy(is_interrupt=isinstance(error, KeyboardInterrupt))
            raise

    def _round(self) -> str | None:
        """Run some trials, if there are any to be run; return why the study has ended, if so."""
        if self._stop.is_set():
            raise KeyboardInterrupt
        reason, count = patiently(self._next)
        # Before the trials, so that their own time reaches the limit when the training does.
        began = time.monotonic() - self._tally.elapsed
        if count and (trials := self._ask(count)):
            deadline = began + (self._limits["max_time"] or math.inf)
            limits: Any = {"stop": self._stop, "deadline": deadline, "meanwhile": self._meanwhile}
            self._study._thread_local.in_optimize_loop = True  # As any of these may stop it.
            try:
                self._tell(trials, self._objective.train(trials, **limits), began)
            finally:
                self._study._thread_local.in_optimize_loop = False
        elif reason is None and not count:
            # Others run all that is left, or a part of a batch that is not to be split. If one of
            # them dies, its trial is to be done.
            # Not by waiting for ``stop``, which a signal could not set meanwhile in this thread.
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        return reason

    def _next(self) -> tuple[str | None, int]:
        """Return why the study has ended, if so, and else how many trials may begin now."""
        if self._tally.heartbeat_interval:
            with signals.without_warnings():
                optuna.storages.fail_stale_trials(self._study)
        n_free = self._n_proposals()  # First: what others begin meanwhile is seen to be live.
        self._look()
        if reason := self._limit():
            return reason, 0
        n_done, n_live = self._tally.n_done, len(self._live())
        n_waiting = len(self._in_state(TrialState.WAITING))
        if not (n_live or n_waiting or n_free):
            return "exhausted", 0
        # Up to the end of a batch: the proposals of the next one learn from this one, also where
        # it was begun before the study was killed. What was enqueued is told before anything is
        # proposed: a GridSampler cannot be told of it when all but one of its own are under way.
        batch_size = self._settings["batch_size"]
        n_left = self._max_trial - n_done
        count = min(batch_size - n_done % batch_size, n_waiting or n_free, n_left)
        if not count or n_live + count > n_left:
            return None, 0
        if self._n_trials_before is None:
            # If this run is killed, nothing has ended it: not what ended an earlier one either.
            self._store_run(n_done, None)
            self._n_trials_before = n_done
        return None, int(count)

    def _limit(self) -> str | None:
        """Return which limit is reached; of several, the first of these."""
        reached = (c for c in self._callbacks if c._is_reached(self._study, self._tally))
        return next((callback.reason for callback in reached), None)

    def _n_proposals(self) -> float:
        """Return how many trials the sampler has to propose, as far as that matters now."""
        sampler = self._study.sampler
        if isinstance(sampler, IndexedSampler) and sampler.last_index < math.inf:
            return sampler.n_free(self._study, at_most=self._settings["batch_size"])
        return 0 if self._study._stop_flag else math.inf

    def _look(self, *, is_interrupt: bool = False) -> None:
        """Read what is new in the study, and end the trials of the dead."""
        self._tally.update(self._study)
        others = [t for t in self._in_state(TrialState.RUNNING) if t._trial_id not in self._open]
        # One of our own that is not open was begun in vain, as the storage failed meanwhile.
        abandoned = [t for t in others if _has_died(t) or _owners.is_own(t)]
        for trial in abandoned:
            self._fail(trial, is_interrupt=is_interrupt)
        if abandoned:
            self._look(is_interrupt=is_interrupt)

    def _fail(self, trial: FrozenTrial | optuna.Trial, *, is_interrupt: bool = False) -> None:
        """End a trial that is to be done again."""
        # First, or what was enqueued were lost where this worker dies in between. As it is now:
        # what was read while its worker lived may be in parts of before.
        with contextlib.suppress(KeyError):  # It was deleted.
            now = self._storage.get_trial(trial._trial_id)
            enqueue_again(self._study, now, is_interrupt=is_interrupt)
            _owners.end_trial(self._study, trial)

    def _in_state(self, state: TrialState) -> list[FrozenTrial]:
        """Return the trials that wait, or run, as of the last look."""
        return [t for t in self._tally.reader.unfinished.values() if t.state == state]

    def _live(self) -> list[FrozenTrial]:
        """Return the trials of which a result is expected."""
        return [*filter(self._lives, self._in_state(TrialState.RUNNING))]

    def _lives(self, trial: FrozenTrial) -> bool:
        if (alive := _owners.is_alive(trial)) is not None:
            return alive
        if self._tally.heartbeat_interval and _owners.owner_of(trial) is not None:
            return True  # Whose heart does not beat is told FAIL.
        now = time.monotonic()
        return now - self._first_seen.setdefault(trial._trial_id, now) < _SECONDS_OF_BELIEF

    def _ask(self, count: int) -> list[optuna.Trial]:
        """Begin trials, but for those that are too many, as other workers do the same."""
        for _ in range(count):
            # Another worker, which sees no sign of life of this one, may end the trial.
            with contextlib.suppress(UpdateFinishedTrialError):
                trial = patiently(self._ask_one)
                self._open[trial._trial_id] = trial
        patiently(self._look)
        # Databases read a state first: one that others began, or are about to, may seem to wait.
        claimed = filter(_owners.owner_of, self._in_state(TrialState.WAITING))
        live = self._live() + [t for t in claimed if _owners.is_alive(t) is not False]
        for trial_id, trial in list(self._open.items()):
            if self._is_surplus(trial, live):
                patiently(self._give_back, trial)
                del self._open[trial_id]
        return list(self._open.values())

    def _ask_one(self) -> optuna.Trial:
        if self._has_failed:  # What was begun in vain holds what is to be proposed.
            self._look()
        self._has_failed = True
        self._study._thread_local.cached_all_trials = None  # Samplers are to see what is new.
        trial = optuna.Trial(self._study, self._begin())
        if self._tally.heartbeat_interval:
            self._storage.record_heartbeat(trial._trial_id)
        if not isinstance(self._study.sampler, IndexedSampler):
            self._storage.set_trial_system_attr(trial._trial_id, OWNER, _owners.ownership(trial))
        self._objective.suggest(trial)
        self._has_failed = False
        return trial

    def _begin(self) -> int:
        """Begin the first waiting trial, or a new one; return its id.

        As `Study.ask` does, but who begins it is told before: where a worker dies in between,
        nothing else tells that the trial is nobody's.
        """
        study_id, states = self._study._study_id, (TrialState.WAITING,)
        # As of now, so that none begins before an earlier one that another worker created.
        for trial in self._storage.get_all_trials(study_id, deepcopy=False, states=states):
            trial_id, claim = trial._trial_id, _owners.claim_of(trial)
            # It may have been deleted, which caches do not show.
            with contextlib.suppress(UpdateFinishedTrialError, KeyError):
                self._storage.set_trial_system_attr(trial_id, claim, _owners.ownership(trial))
                if self._storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                    return cast("int", trial_id)
                self._storage.set_trial_system_attr(trial_id, claim, None)  # Another was first.
        new = optuna.create_trial(state=TrialState.RUNNING)
        new.number = self._storage.get_n_trials(study_id)  # Unless others create one now.
        new.system_attrs[OWNER] = _owners.ownership(new)
        return cast("int", self._storage.create_new_trial(study_id, new))

    def _is_surplus(self, trial: optuna.Trial, live: list[FrozenTrial]) -> bool:
        """Return whether those that come first leave no room: all workers go by one order."""
        if self._is_retried_twice(trial):
            return True
        sampler, index = self._study.sampler, self._index_of(trial)
        n_before = sum(t._trial_id < trial._trial_id for t in live)
        if isinstance(sampler, IndexedSampler) and index is not None:
            if index > sampler.last_index:  # Others took the last proposal.
                return True
            given = [t for t in live if t.params or "fixed_params" in t.system_attrs]
            if all(self._index_of(t) is not None for t in given):
                # By index, or one that gave way would be missing in the end.
                n_before = sampler.n_before(self._study, index)
        return self._tally.n_done + n_before >= self._max_trial

    def _is_retried_twice(self, trial: optuna.Trial) -> bool:
        """Return whether a retry is one too many: several workers may have found one dead."""
        history = self._known(trial).system_attrs.get("retry_history")
        if not history:
            return False
        # That of a trial that was copied from another study may lie behind it.
        between = (
            other
            for other in self._tally.reader.trials.values()
            if history[-1] < other.number and other._trial_id < trial._trial_id
        )
        return has_retry(between, history)

    def _known(self, trial: optuna.Trial | FrozenTrial) -> FrozenTrial:
        """Return a trial as of the last look."""
        trials = self._tally.reader.trials
        return trials.get(trial._trial_id) or self._storage.get_trial(trial._trial_id)

    def _index_of(self, trial: optuna.Trial | FrozenTrial) -> int | None:
        proposal: Any = self._known(trial).system_attrs.get(PROPOSAL) or {}
        # A sampler inside of the study's writes its own.
        is_of_study = proposal.get("sampler") == getattr(self._study.sampler, "_key", None)
        return cast("int | None", proposal.get("index") if is_of_study else None)

    def _give_back(self, trial: optuna.Trial) -> None:
        """End a trial that is one too many; it counts nowhere."""
        with contextlib.suppress(UpdateFinishedTrialError, KeyError):
            mark(trial, "interrupted")
            self._fail(trial, is_interrupt=not self._is_retried_twice(trial))

    def _tell(self, trials: list[optuna.Trial], outcomes: list[Outcome], began: float) -> None:
        """Tell what came of trials; those after the one that gained enough count for nothing."""
        early = [callback for callback in self._callbacks if callback.ends_early]
        for trial, outcome in zip(trials, outcomes, strict=True):
            if outcome.status == "stopped":
                continue
            if any(patiently(callback.reached, self._study) for callback in early):
                outcome = Outcome("timeout")  # noqa: PLW2901
            patiently(self._tell_one, trial, outcome, time.monotonic() - began)
            del self._open[trial._trial_id]
            self._after_tell(trial, outcome)

    def _tell_one(self, trial: optuna.Trial, outcome: Outcome, elapsed: float) -> None:
        try:
            outcome.store(trial, elapsed)
            if outcome.status == "timeout":  # It is done again where the study goes on.
                now = self._storage.get_trial(trial._trial_id)
                enqueue_again(self._study, now, is_interrupt=True)
            self._study.tell(trial, outcome.value, outcome.state, skip_if_finished=True)
        except UpdateFinishedTrialError:
            # Or a server was restarted, to which it had been told.
            said = "Trial %d had been ended, as by a worker that saw no sign of life of this one."
            logger.warning(said, trial.number)
        except KeyError:
            logger.warning("Trial %d was deleted while it ran.", trial.number)

    def _end(self, reason: str) -> None:
        """Store why the run ended; one that had nothing to do changes nothing."""
        is_open = self._study.user_attrs.get(STOP_REASON) is None
        if self._n_trials_before is not None:
            self._store_run(self._n_trials_before, reason)
        # Unless its limits are those of a run that died before it could say so.
        elif is_open and last_limits(self._study) == self._limits:
            self._study.set_user_attr(STOP_REASON, reason)

    def _store_run(self, n_trials_before: int, reason: str | None) -> None:
        """Store what the run came to; :obj:`None` is the reason of one that is under way."""
        record: dict[str, Any] = {
            "began": self._began,
            "sampler": self._settings["sampler"],
            "limits": self._limits,
            "n_trials_before": n_trials_before,
            "stop_reason": reason,
            "n_trials": None if reason is None else self._tally.n_done,
        }
        self._study.set_user_attr(f"{RUNS}/{self._began}-{os.getpid()}", record)
        self._study.set_user_attr(STOP_REASON, reason)

    def _tidy(self, *, is_interrupt: bool) -> None:
        """End the trials that are under way, and say that the user interrupted the run."""
        self._open.clear()  # So they are nobody's.
        self._look(is_interrupt=is_interrupt)
        if is_interrupt and self._n_trials_before is not None:
            self._end(self._limit() or "interrupted")


def _has_died(trial: FrozenTrial) -> bool:
    """Return whether who ran a trial, or created it under another number than it got, is dead."""
    created, attrs = copy.copy(trial), trial.system_attrs
    # Optuna's own retries bear the owner of what they retry.
    if _owners.owner_of(trial) is None and OWNER in attrs and "failed_trial" not in attrs:
        created.number = attrs[OWNER]["trial"]
    return _owners.is_alive(created) is False
