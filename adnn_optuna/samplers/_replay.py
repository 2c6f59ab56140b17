"""Replaying a study's history, anew only where it changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from adnn_optuna.samplers._ledger import History


class ReplayState(Protocol):
    """What a sampler knows, as a function of the trials it was told of."""

    def copy(self) -> Self:
        """Return a copy that can be told more without changing this one."""

    def tell(self, index: int | None, trial: FrozenTrial | None) -> object:
        """Take in a trial.

        Args:
            index: Its index, :obj:`None` for a trial of others.
            trial: The finished trial, :obj:`None` if the trial with this index is not known
                yet.
        """


State = TypeVar("State", bound=ReplayState)


class Replay(Generic[State]):
    """Replays a history in the order of the indices, whatever order the trials finished in.

    So the state is a function of the trials alone, the same in each worker and each new process.
    It is kept up to the first index without a result, which makes a replay cost no more than the
    new trials, however long the study is.

    Args:
        history: The history to replay.
        initial_state: The state before all trials.
    """

    def __init__(self, history: History, initial_state: State) -> None:
        self._history = history
        self._initial_state = initial_state
        self._state = initial_state.copy()
        self._n_told = 0

    def state_before(self, index: int) -> State:
        """Return the state that a proposal with an index is to be made from.

        That is, after the results of all earlier batches that are known, and after the trials
        of others that finished before the index's own batch began. The earlier indices of that
        batch are told as not known yet, even if they are.
        """
        history = self._history
        stop = history.batch_start(index)
        changed_index, history.changed_index = history.changed_index, None
        if changed_index is not None and changed_index < self._n_told:
            self._state, self._n_told = self._initial_state.copy(), 0

        if stop < self._n_told:
            # The worker that held this index died long ago, the others went on.
            state, n_told = self._initial_state.copy(), 0
        else:
            while self._n_told < stop and self._n_told in history.results:
                self._tell(self._state, self._n_told)
                self._n_told += 1
            state, n_told = self._state.copy(), self._n_told

        for earlier in range(n_told, stop):
            self._tell(state, earlier)
        self._tell_others(state, stop)
        for pending in range(stop, index):
            state.tell(pending, None)
        return state

    def _tell(self, state: State, index: int) -> None:
        if index == self._history.batch_start(index):
            self._tell_others(state, index)
        state.tell(index, self._history.results.get(index))

    def _tell_others(self, state: State, index: int) -> None:
        for trial in self._history.others_before(index):
            state.tell(None, trial)
