"""The indices of a sampler's trials in a study, and the trials that each proposal saw."""

import bisect
import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._attributes import ENDED, PROPOSAL, Proposal
from adnn_optuna.samplers._owners import end_trial, is_alive, is_watched, ownership
from adnn_optuna.samplers._trials import TrialReader

ParameterSource = Callable[[str, "BaseDistribution"], Any]
"""A sampler's proposal for one trial: a function of a parameter's name and distribution."""


class Replayed(Protocol):
    """What a sampler knows from finished trials. A copy learns without changing the original."""

    def tell(self, index: int | None, trial: FrozenTrial) -> object:
        """Learn from a trial. For a trial of another sampler, the index is :obj:`None`."""


State = TypeVar("State", bound=Replayed)


def proposal_of(trial: FrozenTrial, key: str) -> Proposal | None:
    """Return a trial's own proposal record, not a record that a retry copied."""
    proposal: Proposal | None = trial.system_attrs.get(PROPOSAL)
    if proposal is None or proposal["sampler"] != key:
        return None
    if proposal["owner"]["trial"] == trial.number:
        return proposal
    return None


class Indices:
    """The indices of one sampler's trials in one study, at the last read."""

    def __init__(self, key: str) -> None:
        self._key = key
        self.reader = TrialReader()
        self.results: dict[int, FrozenTrial] = {}  # The trial that ran to its end, by index.
        self._n_done = 0  # All smaller indices have a result.
        self.sources: dict[int, ParameterSource] = {}  # By trial id.
        # Tuples (end, omitted, state). The state has learned from all trials with ids below `end`,
        # except the ids in `omitted`.
        self._states: list[tuple[int, list[int], Any]] = []
        # For each index, the ids of all trials that ever had it.
        self._holders: dict[int | None, set[int]] = {}

    def read(self, study: Study, reader: TrialReader | None = None) -> None:
        """Update from the trials in ``reader``.

        Without a reader, read the study and end trials of dead workers.
        """
        news = self.reader.read(study, reader)
        while reader is None:
            dead = [trial for trial in self.running() if self._has_died(study, trial)]
            if not dead:
                break
            for trial in dead:
                end_trial(study, trial)
            news += self.reader.read(study)
        for trial in news:
            self.add(trial)

    def _has_died(self, study: Study, trial: FrozenTrial) -> bool:
        # If a trial without an index dies, Optuna may enqueue it again, so it is not ended here.
        is_to_end = self.index_of(trial) is not None or not is_watched(study)
        return is_to_end and is_alive(trial) is False

    def index_of(self, trial: FrozenTrial) -> int | None:
        """Return the trial's index, or :obj:`None` if another sampler proposed the trial."""
        proposal = self.proposal_of(trial)
        return None if proposal is None else proposal["index"]

    def proposal_of(self, trial: FrozenTrial) -> Proposal | None:
        """Return a trial's proposal record, or :obj:`None` for a trial of another sampler."""
        return proposal_of(trial, self._key)

    def add(self, trial: FrozenTrial) -> None:
        """Update from a trial that is new or may have changed."""
        index = self.index_of(trial)
        ended = trial.system_attrs.get(ENDED)
        if index is None:
            return
        self._holders.setdefault(index, set()).add(trial._trial_id)
        has_died = trial.state == TrialState.FAIL and ended is None
        if not trial.state.is_finished() or has_died or ended == "interrupted":
            return
        counted = self.results.setdefault(index, trial)
        # A worker that was declared dead may wake up and finish the same index. Then the older
        # trial counts.
        if trial._trial_id < counted._trial_id:
            self.results[index] = trial
            self._states.clear()

    def running(self) -> list[FrozenTrial]:
        """Return the running trials of all samplers."""
        return [t for t in self.reader.unfinished.values() if t.state == TrialState.RUNNING]

    def pending(self) -> dict[int, Proposal]:
        """Return the proposal records of unfinished trials, by their indices.

        A database reads states before attributes, so a trial that was read as waiting may have
        begun.
        """
        proposals = map(self.proposal_of, self.reader.unfinished.values())
        return {p["index"]: p for p in proposals if p and p["index"] is not None}

    def unfinished_indices(self) -> Iterator[int]:
        """Yield the indices without a result, the smallest first."""
        while self._n_done in self.results:
            self._n_done += 1
        unfinished = (i for i in itertools.count(self._n_done) if i not in self.results)
        return filter(self.is_proposed, unfinished)

    def is_proposed(self, index: int) -> bool:
        """Return whether this index is to be proposed. Subclasses omit some indices."""
        return True

    def free_indices(self, at_most: int) -> list[int]:
        """Return the smallest indices that no live trial has."""
        held = self.pending()
        free = (index for index in self.unfinished_indices() if index not in held)
        return [*itertools.islice(free, at_most)]

    def holders(self, index: int | None, own_id: int) -> list[int]:
        """Return the ids of all other trials that have an index, including dead trials.

        Trials with parameters come first, because a trial without parameters may not have kept the
        index.
        """
        trials = self.reader.trials
        other_ids = self._holders.get(index, set()) - {own_id}
        holders = (i for i in other_ids if i in trials and self.index_of(trials[i]) == index)
        return sorted(holders, key=lambda trial_id: (not trials[trial_id].params, trial_id))

    def first_holder(self, index: int | None, trial: FrozenTrial) -> FrozenTrial:
        """Return the first of the other trials that have an index, or the trial itself."""
        holders = self.holders(index, trial._trial_id)
        return self.reader.trials[holders[0]] if holders else trial

    def proposal(self, trial: FrozenTrial, index: int | None) -> Proposal:
        """Return the proposal record that a trial is to store.

        If the index was used before, the record names the same earlier trials as the index's first
        record. If the trial was enqueued again after its worker died, the record names those of
        its first record.
        """
        first: Proposal
        if holders := self.holders(index, trial._trial_id):
            first = self.reader.trials[holders[0]].system_attrs[PROPOSAL]
            return {**first, "owner": ownership(trial)}
        retried = trial.system_attrs.get("failed_trial")
        if index is None and retried is not None:
            first = self._first_of(retried) or self._new_proposal(trial, index)
            return {**first, "owner": ownership(trial), "retries": retried}
        return self._new_proposal(trial, index)

    def _first_of(self, number: int) -> Proposal | None:
        """Return the first record without an index that trials with this number have."""
        trials = (trial for trial in self.reader.trials.values() if trial.number == number)
        proposals = filter(None, map(self.proposal_of, trials))
        return next((record for record in proposals if record["index"] is None), None)

    def _new_proposal(self, trial: FrozenTrial, index: int | None) -> Proposal:
        ids = self.reader.ids
        unfinished = self.reader.unfinished
        n_seen = len(ids)
        # Unfinished trials after the last finished trial need not be listed.
        while n_seen and ids[n_seen - 1] in unfinished:
            n_seen -= 1
        before = ids[n_seen - 1] + 1 if n_seen else 0
        return {
            "sampler": self._key,
            "index": index,
            "owner": ownership(trial),
            "before": before,
            "unfinished": sorted(i for i in unfinished if i < before),
            "n_pending": len(self.pending()),
            "step": None,
        }

    def state(self, proposal: Proposal, start: Callable[[], State]) -> State:
        """Return a state that knows the trials that a proposal saw. Callers must not change it.

        A state learns from trials in the order of their ids, so it is the same in each worker. A
        copy is kept before each unfinished trial and after the last trial. So learning restarts
        only at the first newly finished trial, even if an earlier trial never ends. Deleted trials
        are omitted.
        """
        ids = self.reader.ids
        trials = self.reader.trials
        before = proposal["before"]
        unfinished = [trial_id for trial_id in proposal["unfinished"] if trial_id in trials]
        state: State
        while True:
            end, omitted, state = self._states.pop() if self._states else (0, [], start())
            if end <= before and omitted == [u for u in unfinished if u < end]:
                break
        missing = set(unfinished)
        state = copy.copy(state)
        for trial_id in ids[bisect.bisect_left(ids, end) : bisect.bisect_left(ids, before)]:
            if trial_id in missing:
                self._states.append((trial_id, omitted, copy.copy(state)))
                omitted = [*omitted, trial_id]
            else:
                self.tell(state, trials[trial_id])
        self._states.append((before, omitted, state))
        return state

    def tell(self, state: Replayed, trial: FrozenTrial) -> None:
        """Let a state learn from the result of an index, or from another sampler's trial."""
        index = self.index_of(trial)
        if index is None:
            is_interrupted = trial.system_attrs.get(ENDED) == "interrupted"
            has_result = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
            counts = has_result and not is_interrupted
        else:
            result = self.results.get(index)
            counts = result is not None and result._trial_id == trial._trial_id
        if counts:
            state.tell(index, trial)
