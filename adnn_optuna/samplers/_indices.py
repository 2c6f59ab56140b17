"""Which index each of a sampler's trials has: its results, and those under way."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from adnn_optuna._attributes import FAILED, INTERRUPTED, PROPOSAL, Proposal
from adnn_optuna.samplers._owners import fail_dead, ownership
from adnn_optuna.samplers._replay import Replay, State
from adnn_optuna.samplers._trials import TrialReader, constraints_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from adnn_optuna.samplers._replay import ReplayState


ParameterSource = Callable[[str, "BaseDistribution"], Any]
"""What a sampler proposes for one trial: the value of a parameter by its name and distribution."""


class Indices:
    """The indices of one sampler's trials in one study, as of the last look.

    Attributes:
        results: The finished trial of each index.
        sources: The parameters of the trials that this process runs, by their ids.
        begun: The trial that each thread began last in :meth:`~optuna.study.Study.optimize`.
        is_constrained: Whether some trial has constraints.

    Args:
        key: Trials with the same key are of the same sampler.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._replay: Replay[Any] | None = None
        self.reader = TrialReader()
        self.results: dict[int, FrozenTrial] = {}
        self.sources: dict[int, ParameterSource] = {}
        self.begun: dict[int, FrozenTrial] = {}
        self.is_constrained = False
        # The first index above all results, and those below it that have none.
        self._end = 0
        self._holes: set[int] = set()
        # The numbers of the trials that an index was ever given to, as far as it has no result.
        self._holders: dict[int, list[int]] = {}

    def read(self, study: Study) -> None:
        """Look at the study, and end the trials of the dead."""
        news = self.reader.read(study)
        while fail_dead(study, self.reader.unfinished.values()):
            news += self.reader.read(study)
        for trial in news:
            self.note(trial)

    def index_of(self, trial: FrozenTrial) -> int | None:
        """Return the index of a trial of this sampler, :obj:`None` for others.

        What a trial of another number wrote, and this one was copied from, is not its own.
        """
        proposal = self.proposal_of(trial)
        return None if proposal is None else proposal["index"]

    def proposal_of(self, trial: FrozenTrial) -> Proposal | None:
        """Return what a trial of this sampler says of itself."""
        proposal: Proposal | None = trial.system_attrs.get(PROPOSAL)
        if proposal is None or proposal["sampler"] != self._key:
            return None
        return proposal if proposal["owner"]["trial"] == trial.number else None

    def note(self, trial: FrozenTrial) -> None:
        """Take in a trial that is new or may have changed."""
        index = self.index_of(trial)
        if constraints_of(trial):
            self.is_constrained = True
        if index is None:
            return
        known = self.results.get(index)
        if not _is_result(trial):
            if known is None:
                holders = self._holders.setdefault(index, [])
                if trial.number not in holders:
                    holders.append(trial.number)
            return
        if known is not None:
            # A worker that was suspended, taken for dead and woke up did the same: the lower
            # number counts.
            if trial.number < known.number:
                self.results[index] = trial
                if self._replay is not None:
                    self._replay.restart()
            return
        self.results[index] = trial
        self._holders.pop(index, None)
        self._holes.discard(index)
        if index >= self._end:
            self._holes.update(range(self._end, index))
            self._end = index + 1

    def pending(self, own_number: int | None = None) -> dict[int, FrozenTrial]:
        """Return the trials under way that have an index, by that, but for one of them."""
        return {
            index: trial
            for number, trial in self.reader.unfinished.items()
            if number != own_number
            and trial.state == TrialState.RUNNING
            and (index := self.index_of(trial)) is not None
        }

    def unfinished_indices(self) -> Iterator[int]:
        """Yield the indices without a result, from the smallest one on."""
        return itertools.chain(sorted(self._holes), itertools.count(self._end))

    def is_taken(self, index: int, own_number: int) -> bool:
        """Return whether another trial has an index."""
        return index in self.results or index in self.pending(own_number)

    def n_choosing(self, own_number: int) -> int:
        """Return how many other trials may be about to take an index."""
        return sum(
            number != own_number
            and trial.state == TrialState.RUNNING
            and self.index_of(trial) is None
            for number, trial in self.reader.unfinished.items()
        )

    def proposal(self, trial: FrozenTrial, index: int | None) -> Proposal:
        """Return what is to be written to a trial; what an index saw first, it sees again."""
        for number in sorted(self._holders.get(index, ())) if index is not None else ():
            first = self.proposal_of(self.reader.trials[number])
            if first is not None and first["index"] == index and number != trial.number:
                return {**first, "owner": ownership(trial)}
        unfinished = sorted(self.reader.unfinished)
        n_trials = self.reader.n_trials
        # Those at the end, as in a long queue, need no list.
        while unfinished and unfinished[-1] == n_trials - 1:
            n_trials = unfinished.pop()
        return {
            "sampler": self._key,
            "index": index,
            "owner": ownership(trial),
            "n_trials": n_trials,
            "unfinished": unfinished,
            "n_pending": len(self.pending(trial.number)),
            "step": None,
        }

    def state(self, proposal: Proposal, initial_state: Callable[[], State]) -> State:
        """Return a state that was told the trials that a proposal saw.

        Args:
            proposal: The proposal.
            initial_state: Returns the state before all trials.
        """
        if self._replay is None:
            self._replay = Replay(initial_state(), self.tell)
        state: State = self._replay.state_after(
            self.reader.trials, proposal["n_trials"], proposal["unfinished"]
        )
        return state

    def tell(self, state: ReplayState, trial: FrozenTrial) -> None:
        """Tell a state a trial, if that counts."""
        index = self.counted_index(trial)
        is_of_others = self.index_of(trial) is None and trial.state == TrialState.COMPLETE
        if index is not None or (is_of_others and not trial.system_attrs.get(INTERRUPTED)):
            state.tell(index, trial)

    def counted_index(self, trial: FrozenTrial) -> int | None:
        """Return the index of which a trial is the result, :obj:`None` if it is none."""
        index = self.index_of(trial)
        if index is None or not _is_result(trial):
            return None
        return index if self.results[index].number == trial.number else None


def _is_result(trial: FrozenTrial) -> bool:
    """Return whether a trial with an index was run to its end, whatever came of it."""
    if not trial.state.is_finished() or trial.system_attrs.get(INTERRUPTED):
        return False
    return trial.state != TrialState.FAIL or FAILED in trial.system_attrs
