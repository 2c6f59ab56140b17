"""Which trials of a study are a sampler's own, and in which order they count.

A sampler whose state is the study needs to know, for each trial, the how manieth of its own
proposals it is. The trial number does not tell: trials are enqueued by the user, killed, retried,
or proposed by another sampler. So each proposal gets an *index* 0, 1, 2, …, and everything else
(the step of a walk, the random numbers of a draw) follows from the index.

The next index is the smallest one that is not taken. It is taken by a trial that ran to its end,
whatever came of it, and by one that a live worker holds. It is free again once its worker died
or was interrupted, and so a study that was killed and resumed ends up with the same proposals
as one that never stopped.
"""

from __future__ import annotations

import bisect
import threading
import time
import weakref
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from optuna.storages import InMemoryStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import TrialState

from adnn_optuna.samplers._liveness import (
    PROPOSAL,
    LivenessCheck,
    current_owner,
    is_on_one_host,
)
from adnn_optuna.samplers._trial_cursor import TrialCursor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from adnn_optuna.samplers._trial_cursor import TrialsByNumber

# System attribute of a trial that does not count, whatever the state it ended in: one that was cut
# off (by Ctrl-C, by a time limit) and hence says nothing about its parameters, or that repeated
# another one. Its index is free again.
INTERRUPTED = "adnn:interrupted"

# System attribute of a trial that failed by itself. Without it, a failed trial's worker died.
FAILED = "adnn:failed"

# How many seconds to wait for another worker to decide: on a slow disk, a transaction takes one.
_PATIENCE = 10.0

# By how many seconds the clocks of different hosts may differ.
_CLOCK_SKEW = 60.0

# In memory, all workers are threads of this process: a lock is cheaper than to look twice.
_in_memory_lock = threading.RLock()


class Proposal(TypedDict):
    """The value of the system attribute ``adnn:proposal``."""

    sampler: str
    index: int | None
    owner: Sequence[str | int]


class IndexFilter(Protocol):
    """Which indices of a study a sampler uses."""

    def note(self, trial: FrozenTrial) -> None:
        """Take in a trial of the sampler, as far as it has come."""

    def skip_ahead(self, index: int) -> int:
        """Return the first index from this one on that is to be used at all."""


class AllIndices:
    """Uses all of them."""

    def note(self, trial: FrozenTrial) -> None:
        """Take in nothing."""

    def skip_ahead(self, index: int) -> int:
        """Return the index itself."""
        return index


class History:
    """A sampler's view of one study, which only ever looks at new trials.

    The proposals are in batches of ``batch_size`` indices. What a proposal may know are the
    results of all earlier batches, and those trials of others (enqueued, added, or proposed by
    another sampler) that had finished when its batch began. The latter are sorted into
    batches by number and time as stored, so that every worker, now or later, sorts them alike.

    Attributes:
        results: The finished trial of each index.
        changed_index: The smallest index before which something changed, to be set to
            :obj:`None` by whoever has looked.
        is_constrained: Whether some trial has constraints.
    """

    def __init__(self, sampler_key: str, batch_size: int, index_filter: IndexFilter) -> None:
        self._sampler_key = sampler_key
        self._batch_size = batch_size
        self._filter = index_filter
        self._cursor = TrialCursor()
        self._lowest_free_index = 0
        # For an index with a result, some later one before which all have results.
        self._known_ends: dict[int, int] = {}
        # What was written to unfinished trials here, and may not have been read back yet.
        self._written: dict[int, Proposal] = {}
        # The numbers of trials that were read as RUNNING after their workers were found dead.
        self._dead: set[int] = set()
        # When the trials that had not decided yet were first seen, by number.
        self._first_seen: dict[int, float] = {}
        self._seen_with_parameters: set[int] = set()
        # The trial with which a batch began.
        self._batch_starts: list[FrozenTrial] = []
        # The finished trials of others, by the first batch that may know them.
        self._others: dict[int, list[FrozenTrial]] = {}
        self.results: dict[int, FrozenTrial] = {}
        self.changed_index: int | None = None
        self.is_constrained = False

    @property
    def n_unfinished(self) -> int:
        """The number of trials that had not finished when last seen."""
        return len(self._cursor.unfinished)

    def is_of(self, trials: TrialsByNumber) -> bool:
        """Return whether what was seen so far is the beginning of these trials."""
        return self._cursor.is_in(trials)

    def index_of(self, trial: FrozenTrial) -> int | None:
        """Return the index of a trial of this sampler, :obj:`None` for others."""
        proposal = self._proposal_of(trial)
        if proposal is None or proposal["sampler"] != self._sampler_key:
            return None
        return proposal["index"]

    def note_written(self, trial: FrozenTrial, proposal: Proposal) -> None:
        """Take in what was written to a trial, so that it need not be read to be known."""
        self._written[trial.number] = proposal

    def _proposal_of(self, trial: FrozenTrial) -> Proposal | None:
        proposal: Proposal | None = trial.system_attrs.get(PROPOSAL)
        return self._written.get(trial.number) if proposal is None else proposal

    def update(self, trials: TrialsByNumber) -> None:
        """Take in what is new in the study's trials."""
        news = self._cursor.advance(trials)
        for number in self._written.keys() - self._cursor.unfinished.keys():
            del self._written[number]
        # First all beginnings, then what ended: a trial of others is sorted in between.
        for trial in news:
            index = self.index_of(trial)
            if index is not None:
                self._filter.note(trial)
                self.note_beginning(trial, index)
        for trial in news:
            if trial.state.is_finished():
                self._note_end(trial)
        self._lowest_free_index = self.unfinished_index(self._lowest_free_index)

    def held_indices(self, is_alive: LivenessCheck) -> set[int]:
        """Return the indices of unfinished trials that will still finish."""
        held = set()
        for trial in self._cursor.unfinished.values():
            index = self.index_of(trial)
            # A WAITING trial with an index is a retry of one whose worker died.
            if index is not None and (trial.state == TrialState.WAITING or is_alive(trial)):
                held.add(index)
        return held

    def has_news_of_death(self, is_alive: LivenessCheck) -> bool:
        """Return whether a worker was found dead only after its trial was read.

        It may have completed the trial in between. So the trials are to be read once more before
        what it held is taken to be free.
        """
        dead = {
            number
            for number, trial in self._cursor.unfinished.items()
            if trial.state == TrialState.RUNNING and not is_alive(trial)
        }
        news = dead - self._dead
        self._dead = dead
        return bool(news)

    def has_undecided(
        self, trial: FrozenTrial, is_alive: LivenessCheck, clock_skew: float
    ) -> bool:
        """Return whether a trial with a smaller number may be about to take an index.

        It may also be one of another sampler, or of a worker that died before it could note
        that it is the owner. So no trial is waited for longer than it takes to decide.

        Args:
            trial: The trial that is to begin.
            is_alive: Whether a trial's worker lives.
            clock_skew: By how many seconds the clocks of the workers may differ.
        """
        now = time.monotonic()
        return any(
            number < trial.number
            and other.state == TrialState.RUNNING
            and not self._has_decided(other)
            and _seconds_between(other, trial) < _PATIENCE + clock_skew
            and now - self._first_seen.setdefault(number, now) < _PATIENCE
            and is_alive(other)
            for number, other in self._cursor.unfinished.items()
        )

    def _has_decided(self, trial: FrozenTrial) -> bool:
        if self._proposal_of(trial) is not None:
            return True
        # A sampler decides before it is asked for parameters; so a trial that has some and still
        # no index is another sampler's. But a database may have been read in between: the
        # attributes before the trial decided, the parameters after it. So it is read once more.
        is_known = trial.number in self._seen_with_parameters
        if trial.distributions:
            self._seen_with_parameters.add(trial.number)
        return is_known

    def free_index(self, held: set[int], index: int = 0) -> int:
        """Return the smallest index from this one on that is not taken."""
        index = self.unfinished_index(index)
        while index in held:
            index = self.unfinished_index(index + 1)
        return index

    def has_rival(self, trial: FrozenTrial, is_alive: LivenessCheck) -> bool:
        """Return whether another trial has the index of this one."""
        index = self.index_of(self._cursor.unfinished[trial.number])
        return index in self.results or any(
            number != trial.number and self.index_of(other) == index and is_alive(other)
            for number, other in self._cursor.unfinished.items()
        )

    def unfinished_index(self, index: int = 0) -> int:
        """Return the smallest index from this one on that has no result yet."""
        index = self._filter.skip_ahead(max(index, self._lowest_free_index))
        while index in self.results:
            index = self._filter.skip_ahead(self._end_of_results(index))
        return index

    def _end_of_results(self, index: int) -> int:
        # Below a trial that never ends, the lowest free index stays where it is: then all results
        # above are not to be gone through each time.
        end = index
        while end in self.results:
            end = self._known_ends.get(end, end + 1)
        self._known_ends[index] = end
        return end

    def batch_start(self, index: int) -> int:
        """Return the first index of the batch of an index."""
        return index - index % self._batch_size

    def others_before(self, index: int) -> list[FrozenTrial]:
        """Return the trials of others that the batch of an index is the first one to know."""
        return self._others.get(index // self._batch_size, [])

    def note_beginning(self, trial: FrozenTrial, index: int) -> None:
        """Take in that a trial with an index began, and with it maybe a batch."""
        if trial.datetime_start is None:
            return  # A retry in the queue; the trial that it repeats began the batch.
        batch = index // self._batch_size
        # Indices are handed out in order but for those of dead workers: a batch cannot have
        # begun after a later one.
        self._batch_starts += [trial] * (batch + 1 - len(self._batch_starts))
        moved: list[FrozenTrial] = []
        for earlier in range(batch, -1, -1):
            if self._batch_starts[earlier].number < trial.number:
                break
            self._batch_starts[earlier] = trial
            if earlier in self._others:
                moved += self._others.pop(earlier)
                self._note_change(earlier * self._batch_size)
        for other in moved:
            self._place(other)

    def _note_end(self, trial: FrozenTrial) -> None:
        if trial.constraints:
            self.is_constrained = True
        if trial.system_attrs.get(INTERRUPTED):
            return
        index = self.index_of(trial)
        if index is None:
            if trial.state == TrialState.COMPLETE:
                self._place(trial)
            return
        if trial.state == TrialState.FAIL and FAILED not in trial.system_attrs:
            return
        other = self.results.get(index)
        if other is not None:
            first, second = sorted((other, trial), key=lambda of_two: of_two.number)
            if first is trial:
                self._note_change(index)
            self.results[index] = first
            # Two workers on different hosts, one of which was taken for dead, did the same. What
            # differs is a copy from another study, which is told as one of others.
            if second.params != first.params and second.state == TrialState.COMPLETE:
                self._place(second)
            return
        self.results[index] = trial

    def _place(self, trial: FrozenTrial) -> None:
        batch = len(self._batch_starts)
        while batch > 0:
            start = self._batch_starts[batch - 1]
            if start.number < trial.number or (
                trial.datetime_complete is not None
                and start.datetime_start is not None
                and start.datetime_start < trial.datetime_complete
            ):
                break
            batch -= 1
        bisect.insort(self._others.setdefault(batch, []), trial, key=lambda other: other.number)
        self._note_change(batch * self._batch_size)

    def _note_change(self, index: int) -> None:
        if self.changed_index is None or index < self.changed_index:
            self.changed_index = index


def _seconds_between(trial: FrozenTrial, other: FrozenTrial) -> float:
    assert trial.datetime_start is not None
    assert other.datetime_start is not None
    return (other.datetime_start - trial.datetime_start).total_seconds()


class Ledger:
    """Hands out indices to the trials of a sampler.

    Args:
        sampler_key: Trials with the same key are of the same sampler.
        batch_size: The number of trials that are proposed before any of them is finished.
        new_filter: Returns a filter of indices for a study that it knows nothing of yet.
    """

    def __init__(
        self, sampler_key: str, batch_size: int, new_filter: Callable[[], IndexFilter]
    ) -> None:
        self._sampler_key = sampler_key
        self._batch_size = batch_size
        self._new_filter = new_filter
        self._histories: weakref.WeakKeyDictionary[BaseStorage, dict[int, History]] = (
            weakref.WeakKeyDictionary()
        )

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_histories"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._histories = weakref.WeakKeyDictionary()

    def history(self, study: Study) -> History:
        """Return the view of a study, brought up to date."""
        # The storage is asked directly, because some pruners hide trials from samplers. See
        # https://github.com/optuna/optuna/issues/2327.
        trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
        return self._updated_history(study, trials)

    def claim(
        self, study: Study, trial: FrozenTrial, *, is_first_attempt: bool
    ) -> tuple[History, int | None] | None:
        """Give a trial that begins its index and note who runs it.

        Enqueued trials get no index, and retried ones keep theirs.

        Args:
            study: The study.
            trial: The trial.
            is_first_attempt: Whether the trial has just been asked for.

        Returns:
            The view of the study and the index, or :obj:`None` if it is another worker's turn:
            then try again after a moment.
        """
        if trial.system_attrs.get(INTERRUPTED):  # A retry inherits it.
            study._storage.set_trial_system_attr(trial._trial_id, INTERRUPTED, value=False)
        proposal: Proposal | None = trial.system_attrs.get(PROPOSAL)
        if proposal is not None:
            return self._claim_again(study, trial, proposal)
        if "fixed_params" in trial.system_attrs or trial.params:
            self._write(study, trial, self._sampler_key, None)
            return self._history_when_asked(study, trial), None
        if isinstance(study._storage, InMemoryStorage):
            with _in_memory_lock:
                history = self._history_when_asked(study, trial)
                return history, self._take_free_index(study, trial, history)

        # No two workers may get the same index. So they take turns in the order of their trials'
        # numbers, which the storage hands out: whoever sees a trial with a smaller number that
        # has not decided yet waits. That is rare and takes milliseconds, and those who see no
        # such trial need not look at the study a second time.
        history = (
            self._history_when_asked(study, trial) if is_first_attempt else self.history(study)
        )
        clock_skew = 0.0 if is_on_one_host(study._storage) else _CLOCK_SKEW
        if history.has_undecided(trial, LivenessCheck(study), clock_skew):
            return None
        index: int | None = self._take_free_index(study, trial, history)

        # Someone may have lost patience with this trial, or this one with another.
        assert trial.datetime_start is not None
        seconds = (datetime.now() - trial.datetime_start).total_seconds()  # noqa: DTZ005
        if not 0 <= seconds < _PATIENCE / 2:
            index = self._keep_if_unrivalled(study, trial, index)
        return history, index

    def _claim_again(
        self, study: Study, trial: FrozenTrial, proposal: Proposal
    ) -> tuple[History, int | None]:
        index = proposal["index"]
        self._write(study, trial, proposal["sampler"], index)
        if index is None or proposal["sampler"] != self._sampler_key:
            return self._history_when_asked(study, trial), None
        index = self._keep_if_unrivalled(study, trial, index)
        if index is None:
            # Optuna retries a trial long after its worker died: it was done again meanwhile.
            study._storage.set_trial_system_attr(trial._trial_id, INTERRUPTED, value=True)
        return self.latest_history(study), index

    def _take_free_index(self, study: Study, trial: FrozenTrial, history: History) -> int:
        is_alive = LivenessCheck(study)
        while history.has_news_of_death(is_alive):
            history = self.history(study)
        index = history.free_index(history.held_indices(is_alive))
        history.note_beginning(trial, index)
        self._write(study, trial, self._sampler_key, index)
        return index

    def _keep_if_unrivalled(
        self, study: Study, trial: FrozenTrial, index: int | None
    ) -> int | None:
        """Drop an index that another trial has, too.

        Of two workers that write the same index and then look, at least the one that wrote
        later sees the other. If both do, the index is free for the next trial.
        """
        history = self.history(study)
        if not history.has_rival(trial, LivenessCheck(study)):
            return index
        self._write(study, trial, self._sampler_key, None)
        return None

    def new_history(self) -> History:
        """Return a view of a study that has not looked at its trials yet."""
        return History(self._sampler_key, self._batch_size, self._new_filter())

    def latest_history(self, study: Study) -> History:
        """Return the view of a study as of the last look at its trials."""
        histories = self._histories.setdefault(study._storage, {})
        if study._study_id not in histories:
            histories[study._study_id] = self.new_history()
        return histories[study._study_id]

    def _history_when_asked(self, study: Study, trial: FrozenTrial) -> History:
        """Return the view of a study at the time when the trial was asked for."""
        storage = study._storage
        if isinstance(storage, InMemoryStorage | _CachedStorage):
            # `Study.ask` has just read all trials, to look for enqueued ones. To read them again
            # would take longer than all the rest that a sampler does, and to copy their list
            # would take longer and longer.
            with storage._lock:
                trials = storage._studies[study._study_id].trials
                if len(trials) == trial.number + 1:
                    return self._updated_history(study, trials)
        return self.history(study)

    def _updated_history(self, study: Study, trials: TrialsByNumber) -> History:
        history = self.latest_history(study)
        if not history.is_of(trials):  # A study was deleted and its id is in use again.
            history = self.new_history()
            self._histories[study._storage][study._study_id] = history
        history.update(trials)
        return history

    def _write(
        self, study: Study, trial: FrozenTrial, sampler_key: str, index: int | None
    ) -> None:
        value: Proposal = {"sampler": sampler_key, "index": index, "owner": [*current_owner()]}
        study._storage.set_trial_system_attr(trial._trial_id, PROPOSAL, value)  # type: ignore[arg-type]
        self.latest_history(study).note_written(trial, value)
