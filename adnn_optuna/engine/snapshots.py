"""Gathering what the loop decides by: one read of a study, in one place and one order."""

import copy
import math
import time
from collections.abc import Collection
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._attributes import OWNER, PROPOSAL
from adnn_optuna.callbacks import Limit, Tally
from adnn_optuna.engine import signals
from adnn_optuna.engine.decisions import Snapshot, Unfinished
from adnn_optuna.engine.storages import has_retry
from adnn_optuna.samplers import _owners
from adnn_optuna.samplers._evaluations import EvaluationSampler
from adnn_optuna.samplers._indexed import IndexedSampler
from adnn_optuna.samplers._replicates import ReplicateSampler


class Observer:
    """Looks at one study for one worker.

    ``is_refilled`` and ``batch_size`` are as in :class:`Snapshot`.
    """

    def __init__(self, study: optuna.Study, limits: list[Limit], batch_size: int) -> None:
        self._study, self._limits, self._batch_size = study, limits, batch_size
        sampler: Any = study.sampler
        # Those that count their proposals and tell each before its trial is created.
        counts = isinstance(sampler, IndexedSampler | EvaluationSampler | ReplicateSampler)
        self.places: IndexedSampler | EvaluationSampler | ReplicateSampler | None = (
            sampler if counts else None
        )
        of_trials = [limit.value for limit in limits if limit.reason == "max_trial"]
        self._max_trial = min(of_trials, default=math.inf)
        self.tally: Tally = Tally(study)
        self._first_seen: dict[int, float] = {}
        self._asked_for_stale = -math.inf

    def look(
        self,
        open_ids: Collection[int],
        begun: Collection[int] = (),
        *,
        n_threads: int | None = None,
    ) -> Snapshot:
        """Return what the decisions depend on; more is told of the trials that have just begun.

        The order matters. First, the storage ends the trials of workers that show no sign of
        life, so that they are read as ended. Then all trials are read, once, and what is free and
        what has a result follows from that one list: whoever begins a trial later gets another
        number, or finds ours. Last, the processes of the trials' owners are looked up. One that
        ended in between may have told its trial, which the storage notices when that is ended.
        """
        tally, study = self.tally, self._study
        interval, now = tally.heartbeat_interval, time.monotonic()
        if interval is not None and now - self._asked_for_stale >= interval:
            self._asked_for_stale = now
            with signals.without_warnings():
                optuna.storages.fail_stale_trials(study)
        tally.update(study)
        reached = (limit.reason for limit in self._limits if limit._is_reached(study, tally))
        free = self._free()
        return Snapshot(
            unfinished=tuple(
                self._unfinished(trial, open_ids, begun)
                for trial in tally.reader.unfinished.values()
            ),
            n_done=tally.n_done,
            max_trial=self._max_trial,
            n_free=free,
            n_wanted=math.inf if self.places is None else self.places.n_wanted,
            last_place=math.inf if self.places is None else self.places.last_index,
            batch_size=self._batch_size if n_threads is None else n_threads,
            is_refilled=n_threads is not None,
            has_heartbeats=interval is not None,
            limit=next(reached, None),
        )

    def _free(self) -> float:
        """Return how many proposals are left, as far as that matters now."""
        if self.places is not None and self.places.last_index < math.inf:
            return self.places.n_free(self._study, self._batch_size, self.tally.reader)
        return 0 if self._study._stop_flag else math.inf

    def _unfinished(
        self, trial: FrozenTrial, open_ids: Collection[int], begun: Collection[int]
    ) -> Unfinished:
        places, is_new = self.places, trial._trial_id in begun
        place = None if places is None else places.place_of(trial)
        is_taken, n_before = False, None
        if places is not None and place is not None and is_new:
            is_taken, n_before = places.look_again(self._study, trial, self.tally.reader)
        now, created, attrs = time.monotonic(), _as_created(trial), trial.system_attrs
        return Unfinished(
            trial_id=trial._trial_id,
            number=trial.number,
            is_waiting=trial.state == TrialState.WAITING,
            is_open=trial._trial_id in open_ids,
            is_ours=_owners.is_own(created),
            is_alive=_owners.is_alive(created),
            is_owned=_owners.owner_of(created) is not None,
            seconds_known=now - self._first_seen.setdefault(trial._trial_id, now),
            place=place,
            # Its worker has yet to say by which number it took its place.
            is_given=bool(trial.params and created is trial) or "fixed_params" in attrs,
            n_before=n_before,
            is_taken=is_taken,
            repeats_retry=is_new and self._repeats_retry(trial),
        )

    def _repeats_retry(self, trial: FrozenTrial) -> bool:
        history = trial.system_attrs.get("retry_history")
        if not history:
            return False
        # That of a trial that was copied from another study may lie behind it.
        between = (
            other
            for other in self.tally.reader.trials.values()
            if history[-1] < other.number and other._trial_id < trial._trial_id
        )
        return has_retry(between, history)


def _as_created(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial with the number that its worker expected; others may have been faster."""
    attrs = trial.system_attrs
    # Optuna's own retries have the owner of the trial that they retry.
    if _owners.owner_of(trial) is not None or "failed_trial" in attrs:
        return trial
    owner = attrs.get(OWNER) or attrs.get(PROPOSAL, {}).get("owner")
    if owner is None:
        return trial
    created = copy.copy(trial)
    created.number = owner["trial"]
    return created
