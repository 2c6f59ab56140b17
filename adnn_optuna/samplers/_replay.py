"""Replaying a study's history, anew only where it changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from adnn_optuna.samplers._history import History


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
    It is kept before each index without a result, and where the replay has come to. So a replay
    costs no more than the trials since the first index that has got its result meanwhile, however
    long the study is, and even if some trial never ends.

    Args:
        history: The history to replay.
        initial_state: The state before all trials.
    """

    def __init__(self, history: History, initial_state: State) -> None:
        self._history = history
        self._initial_state = initial_state
        # How many indices a state was told of, and the state: those before an index that had no
        # result, in order, and last the one that was told most.
        self._kept: list[tuple[int, State]] = []

    def state_before(self, index: int) -> State:
        """Return the state that a proposal with an index is to be made from.

        That is, after the results of all earlier batches that are known, and after the trials
        of others that finished before the index's own batch began. The earlier indices of that
        batch are told as not known yet, even if they are.
        """
        stop = self._history.batch_start(index)
        self._drop_outdated()
        if not self._kept:
            self._kept = [(0, self._initial_state.copy())]
        if self._kept[-1][0] <= stop:
            self._go_on(stop)
            state = self._kept[-1][1].copy()
        else:
            # The worker that held this index died long ago, the others went on.
            kept = [(n_told, state) for n_told, state in self._kept if n_told <= stop]
            n_told, state = kept[-1] if kept else (0, self._initial_state)
            state = state.copy()
            for earlier in range(n_told, stop):
                self._tell(state, earlier)

        self._tell_others(state, stop)
        for pending in range(stop, index):
            state.tell(pending, None)
        return state

    def _go_on(self, stop: int) -> None:
        n_told, state = self._kept.pop()
        for index in range(n_told, stop):
            if index not in self._history.results:
                self._kept.append((index, state.copy()))
            self._tell(state, index)
        self._kept.append((stop, state))

    def _drop_outdated(self) -> None:
        """Drop the states that were told something else than the history says now."""
        history = self._history
        changed_index, history.changed_index = history.changed_index, None
        for position, (n_told, _) in enumerate(self._kept):
            if changed_index is not None and n_told > changed_index:
                del self._kept[position:]
                break
            if n_told in history.results:
                # The states after this one did not know that result.
                del self._kept[position + 1 :]
                break

    def _tell(self, state: State, index: int) -> None:
        if index == self._history.batch_start(index):
            self._tell_others(state, index)
        state.tell(index, self._history.results.get(index))

    def _tell_others(self, state: State, index: int) -> None:
        for trial in self._history.others_before(index):
            state.tell(None, trial)
