"""Decide on a worker's next step from a snapshot. A snapshot is one read of the study.

The loop executes these steps. A worker begins the number of trials that :func:`before` returns.
Other workers may begin trials at the same moment, so the worker reads the study again. Then it
gives back surplus trials, which :func:`after` returns.
"""

import copy
import dataclasses
import math
import time
from collections.abc import Collection, Hashable
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._attributes import OWNER, PROPOSAL
from adnn_optuna.callbacks import Limit, Tally
from adnn_optuna.engine import signals
from adnn_optuna.engine.storages import repeats_retry
from adnn_optuna.samplers import _owners
from adnn_optuna.samplers._evaluations import EvaluationSampler
from adnn_optuna.samplers._indexed import IndexedSampler
from adnn_optuna.samplers._replicates import ReplicateSampler

Places = IndexedSampler | EvaluationSampler | ReplicateSampler
"""The samplers that give their proposals places, and know each proposal before its trial
exists.
"""

SECONDS_OF_BELIEF = 10.0
"""If this host cannot tell whether a trial's worker is alive, the trial counts as live for
these seconds.
"""


@dataclasses.dataclass(frozen=True)
class Unfinished:
    """A trial that has no result yet."""

    trial_id: int
    number: int  # All workers order trials by number.
    # A database reads states before attributes, so a trial that seems to wait may have begun.
    is_waiting: bool = False
    is_open: bool = False  # This worker runs the trial.
    is_ours: bool = False  # This run began the trial. If the trial is not open, it must be ended.
    is_alive: bool | None = None  # Whether the worker's process is alive, or None if unknown.
    is_owned: bool = False  # A known worker runs the trial, or is about to run it.
    seconds_known: float = 0.0  # The time since this worker first saw the trial.
    place: Hashable = None  # The trial's index, evaluation or replicate, if known.
    is_given: bool = True  # The trial has parameters. If not, its place may not be chosen yet.
    # The number of earlier proposals without a result, only for this worker's trials.
    n_unfinished_before: int | None = None
    is_taken: bool = False  # Another trial has the result of this place, or had the place first.
    repeats_retry: bool = False  # This trial and an earlier trial retry the same trial.


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The facts on which decisions depend, see :meth:`Observer.snapshot`."""

    unfinished: tuple[Unfinished, ...] = ()  # Ordered by number.
    n_done: int = 0  # The number of results. The study ends when it reaches max_trial.
    max_trial: float = math.inf
    # The number of proposals without a finished or live trial.
    n_free: float = math.inf
    # The number of proposals without a result, or infinity if unknown.
    n_wanted: float = math.inf
    last_place: float = math.inf  # The last index that has a proposal.
    batch_size: int = 1  # The number of trials that run at once.
    # Whether a new trial begins when another trial ends. If not, trials run in rounds.
    is_refilled: bool = False
    has_heartbeats: bool = False  # The storage ends trials whose workers send no heartbeats.
    limit: str | None = None  # The limit that has been reached, if any.

    @property
    def waiting(self) -> list[Unfinished]:
        """The trials that are enqueued."""
        return [trial for trial in self.unfinished if trial.is_waiting]

    @property
    def live(self) -> list[Unfinished]:
        """The running trials that should still have a result."""
        running = (trial for trial in self.unfinished if not trial.is_waiting)
        return [trial for trial in running if self._lives(trial)]

    @property
    def abandoned(self) -> list[Unfinished]:
        """The running trials that no worker runs, so they must be ended."""
        running_elsewhere = (t for t in self.unfinished if not (t.is_waiting or t.is_open))
        return [trial for trial in running_elsewhere if trial.is_ours or trial.is_alive is False]

    def _lives(self, trial: Unfinished) -> bool:
        if trial.is_alive is not None:
            return trial.is_alive
        # If the worker's heartbeats stop, the storage ends the trial.
        is_watched = self.has_heartbeats and trial.is_owned
        return is_watched or trial.seconds_known < SECONDS_OF_BELIEF


@dataclasses.dataclass(frozen=True)
class Begin:
    """Begin this many trials."""

    count: int


@dataclasses.dataclass(frozen=True)
class Wait:
    """Read the study again later, because other workers run the remaining trials.

    If one of these workers dies, its trial must be repeated.
    """


@dataclasses.dataclass(frozen=True)
class End:
    """Begin no further trials, because of ``reason``."""

    reason: str


@dataclasses.dataclass(frozen=True)
class GiveBack:
    """End these trials without a result."""

    ids: tuple[int, ...]


def before(snapshot: Snapshot) -> Begin | Wait | End:
    """Return whether to begin trials, to wait for other workers, or to end."""
    if snapshot.limit is not None:
        return End(snapshot.limit)
    n_live = len(snapshot.live)
    n_waiting = len(snapshot.waiting)
    if not snapshot.n_wanted or not (n_live or n_waiting or snapshot.n_free):
        return End("exhausted")
    n_left = snapshot.max_trial - snapshot.n_done
    # Enqueued trials must end before the sampler proposes trials, because a GridSampler cannot
    # take account of an enqueued trial while its own trials are running.
    n_possible = n_waiting or snapshot.n_free
    if snapshot.is_refilled:
        n_open = sum(trial.is_open for trial in snapshot.unfinished)
        count = min(snapshot.batch_size - n_open, n_possible, n_left - n_live)
    else:
        # Begin trials up to the end of the batch, even if a killed run began this batch. The next
        # batch's proposals depend on the results of this batch. Workers do not split a batch.
        room = snapshot.batch_size - snapshot.n_done % snapshot.batch_size
        count = min(room, n_possible, n_left)
        if n_live + count > n_left:
            return Wait()
    if count > 0:
        return Begin(int(count))
    return Wait()


def after(snapshot: Snapshot, begun: frozenset[int]) -> GiveBack:
    """Return the surplus trials in ``begun``, which this worker must give back.

    All workers order trials in the same way, so they never give back all trials.
    """
    begun_trials = (trial for trial in snapshot.unfinished if trial.trial_id in begun)
    # A trial that another worker has begun, or is about to begin, may seem to wait.
    claimed = [t for t in snapshot.waiting if t.is_owned and t.is_alive is not False]
    live = snapshot.live + claimed
    return GiveBack(tuple(t.trial_id for t in begun_trials if _is_surplus(snapshot, t, live)))


def _is_surplus(snapshot: Snapshot, trial: Unfinished, live: list[Unfinished]) -> bool:
    # Several workers may have detected a dead worker, and may all retry its trial.
    if trial.repeats_retry or trial.is_taken or _shares_place(trial, live):
        return True
    if trial.n_unfinished_before is not None and trial.place > snapshot.last_place:  # type: ignore[operator]
        return True
    return snapshot.n_done + _n_ahead(trial, live) >= snapshot.max_trial


def _shares_place(trial: Unfinished, live: list[Unfinished]) -> bool:
    """Return whether another live trial has the trial's place.

    Two workers both give way if each worker sees the other trial. The later trial's worker may
    have read the study before the other worker wrote.
    """
    other_places = (other.place for other in live if other.trial_id != trial.trial_id)
    return trial.place is not None and trial.place in other_places


def _n_ahead(trial: Unfinished, live: list[Unfinished]) -> int:
    """Return the number of live trials that have priority over a trial."""
    given_trials_have_places = all(other.place is not None for other in live if other.is_given)
    if trial.n_unfinished_before is not None and given_trials_have_places:
        # Smaller indices without a result have priority. An index that a trial gave back still
        # needs a result.
        return trial.n_unfinished_before
    return sum(other.number < trial.number for other in live)


class Observer:
    """Reads a study for a worker. ``batch_size`` is the number of trials of a round."""

    def __init__(self, study: optuna.Study, limits: list[Limit], batch_size: int) -> None:
        self._study = study
        self._limits = limits
        self._batch_size = batch_size
        sampler = study.sampler
        self.places: Places | None = sampler if isinstance(sampler, Places) else None
        of_trials = [limit.value for limit in limits if limit.name == "max_trial"]
        self._max_trial = min(of_trials, default=math.inf)
        self.tally: Tally = Tally(study)
        self._first_seen: dict[int, float] = {}
        self._asked_for_stale = -math.inf

    def snapshot(
        self,
        open_ids: Collection[int],
        begun: Collection[int],
        *,
        n_threads: int | None,
    ) -> Snapshot:
        """Return a snapshot of the study, with more facts about the trials in ``begun``.

        The order of the steps matters. First, the storage ends trials of workers without
        heartbeats, except if a worker is alive on this host. So these trials are read as ended.
        Second, all trials are read once. Free indices and results follow from this one list. A
        worker that begins a trial later gets another number, or finds this worker's trials. Third,
        the observer checks whether the trials' processes are alive. If a process told its trial
        after the list was read and then ended, the storage refuses to end the trial.
        """
        tally = self.tally
        study = self._study
        interval = tally.heartbeat_interval
        now = time.monotonic()
        if interval is not None and now - self._asked_for_stale >= interval:
            self._asked_for_stale = now
            tally.update(study)
            self._vouch()
            with signals.without_warnings():
                optuna.storages.fail_stale_trials(study)
        tally.update(study)
        reached = (limit.name for limit in self._limits if limit._is_reached(study, tally))
        free: float = 0 if study._stop_flag else math.inf
        n_wanted = math.inf
        last_place = math.inf
        if self.places is not None:
            last_place = self.places.last_index
            if last_place < math.inf:
                free = self.places.n_free(study, self._batch_size, tally.reader)
            n_wanted = self.places.n_wanted
        batch_size = self._batch_size
        if n_threads is not None:
            batch_size = n_threads
        return Snapshot(
            unfinished=tuple(
                self._unfinished(trial, open_ids, begun)
                for trial in tally.reader.unfinished.values()
            ),
            n_done=tally.n_done,
            max_trial=self._max_trial,
            n_free=free,
            n_wanted=n_wanted,
            last_place=last_place,
            batch_size=batch_size,
            is_refilled=n_threads is not None,
            has_heartbeats=interval is not None,
            limit=next(reached, None),
        )

    def _vouch(self) -> None:
        """Record heartbeats for trials of other live processes on this host.

        Otherwise, Optuna would end their trials while these processes cannot reach the database.
        """
        storage: Any = self._study._storage
        for trial in self.tally.reader.unfinished.values():
            created = _as_created(trial)
            owner = _owners.owner_of(created)
            if owner is not None and owner["run"] and _owners.is_alive(created):
                storage.record_heartbeat(trial._trial_id)

    def _unfinished(
        self, trial: FrozenTrial, open_ids: Collection[int], begun: Collection[int]
    ) -> Unfinished:
        is_new = trial._trial_id in begun
        place = None
        is_taken = False
        n_before = None
        if self.places is not None:
            place = self.places.place_of(trial)
            if place is not None and is_new:
                is_taken, n_before = self.places.check_place(self._study, trial, self.tally.reader)
        now = time.monotonic()
        created = _as_created(trial)
        attrs = trial.system_attrs
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
            # If `created` is a copy, the worker has not stored the trial's real number yet.
            is_given=bool(trial.params and created is trial) or "fixed_params" in attrs,
            n_unfinished_before=n_before,
            is_taken=is_taken,
            repeats_retry=is_new and repeats_retry(trial, self.tally.reader.trials.values()),
        )


def _as_created(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial with the number that its worker had predicted for the trial.

    The real number is larger if other workers created trials at the same moment.
    """
    attrs = trial.system_attrs
    # A retry by Optuna itself keeps the owner of the retried trial.
    if _owners.owner_of(trial) is not None or "failed_trial" in attrs:
        return trial
    owner = attrs.get(OWNER) or attrs.get(PROPOSAL, {}).get("owner")
    if owner is None:
        return trial
    created = copy.copy(trial)
    created.number = owner["trial"]
    return created
