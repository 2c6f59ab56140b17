"""What a sampler whose state is the study sees of it: its own trials by index, and others'."""

from __future__ import annotations

import bisect
import time
from typing import TYPE_CHECKING, Protocol, TypedDict

from optuna.trial import TrialState

from adnn_optuna._attributes import FAILED, INTERRUPTED, PROPOSAL
from adnn_optuna.samplers._liveness import LivenessCheck
from adnn_optuna.samplers._trial_cursor import TrialCursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.trial import FrozenTrial

    from adnn_optuna.samplers._trial_cursor import TrialsByNumber


class Proposal(TypedDict):
    """The value of the system attribute ``adnn:proposal``."""

    sampler: str
    index: int | None
    owner: Sequence[str | int]


class IndexFilter(Protocol):
    """Which indices of a study a sampler uses."""

    def note(self, trial: FrozenTrial, index: int) -> None:
        """Take in a trial of the sampler, as far as it has come."""

    def skip_ahead(self, index: int) -> int:
        """Return the first index from this one on that is to be used at all."""


class AllIndices:
    """Uses all of them."""

    def note(self, trial: FrozenTrial, index: int) -> None:
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
                self._filter.note(trial, index)
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
        self, trial: FrozenTrial, is_alive: LivenessCheck, patience: float, clock_skew: float
    ) -> bool:
        """Return whether a trial with a smaller number may be about to take an index.

        It may also be one of another sampler, or of a worker that died before it could note
        that it is the owner. So no trial is waited for longer than it takes to decide, and all
        of them at the same time.

        Args:
            trial: The trial that is to begin.
            is_alive: Whether a trial's worker lives.
            patience: How many seconds it may take to decide.
            clock_skew: By how many seconds the clocks of the workers may differ.
        """
        now = time.monotonic()
        undecided = [
            other
            for number, other in self._cursor.unfinished.items()
            if number < trial.number
            and other.state == TrialState.RUNNING
            and not self._has_decided(other)
            and _seconds_between(other, trial) < patience + clock_skew
        ]
        awaited = [
            other
            for other in undecided
            if now - self._first_seen.setdefault(other.number, now) < patience
        ]
        return any(map(is_alive, awaited))

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
        own = self._cursor.unfinished.get(trial.number)
        if own is None:  # Another worker has ended it: who writes to it next is told so.
            return False
        index = self.index_of(own)
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
                # With or without a time zone, as whoever added the trial has written it.
                and start.datetime_start.timestamp() < trial.datetime_complete.timestamp()
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
    return other.datetime_start.timestamp() - trial.datetime_start.timestamp()
