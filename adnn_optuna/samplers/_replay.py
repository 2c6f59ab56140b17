"""Replaying what a proposal saw of a study, anew only where that changed."""

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, Self, TypeVar

from optuna.trial import FrozenTrial


class ReplayState(Protocol):
    """What a sampler knows, as a function of the finished trials that it was told of."""

    def copy(self) -> Self:
        """Return a copy that can be told more without changing this one."""

    def tell(self, index: int | None, trial: FrozenTrial) -> object:
        """Take in a trial with its index, :obj:`None` for a trial of others."""


State = TypeVar("State", bound=ReplayState)


class Replay(Generic[State]):
    """Tells a state finished trials by their numbers, whatever order they finished in.

    So the state is a function of these trials alone, the same in each worker and each new process.
    It is kept before each trial that was unfinished, and where the replay has come to: it costs
    no more than the trials since the first one that has finished meanwhile, however long the study
    is, and even if some trial never ends.
    """

    def __init__(self, initial_state: State, tell: Callable[[State, FrozenTrial], object]) -> None:
        self._tell = tell
        # Of how many trials a state was told, without which of them, and the state.
        self._kept: list[tuple[int, list[int], State]] = [(0, [], initial_state)]

    def state_after(
        self, trials: Sequence[FrozenTrial], n_trials: int, unfinished: Sequence[int]
    ) -> State:
        """Return the state after the first ``n_trials`` but for some; nobody may change it."""
        kept = [entry for entry in self._kept if _is_part(entry, n_trials, unfinished)]
        n_told, left_out, state = kept[-1]
        if n_told == n_trials:
            return state
        state, missing = state.copy(), set(unfinished)
        if n_told and n_told not in missing:
            kept.pop()  # Nothing is left to come in there.
        for number in range(n_told, n_trials):
            if number not in missing:
                self._tell(state, trials[number])
                continue
            if number > n_told:
                kept.append((number, left_out, state))
                state = state.copy()
            left_out = [*left_out, number]
        kept.append((n_trials, left_out, state))
        # What was seen long ago, and is proposed again after a death, is not gone on from.
        if n_trials >= self._kept[-1][0]:
            self._kept = kept
        return state

    def restart(self) -> None:
        """Forget all but the initial state: what was told is not true any more."""
        del self._kept[1:]


def _is_part(
    entry: tuple[int, list[int], object], n_trials: int, unfinished: Sequence[int]
) -> bool:
    n_told, left_out, _ = entry
    n_left_out = len(left_out)
    return (
        n_told <= n_trials
        and left_out == list(unfinished[:n_left_out])
        and (len(unfinished) == n_left_out or unfinished[n_left_out] >= n_told)
    )
