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

import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from optuna.storages import InMemoryStorage
from optuna.storages._cached_storage import _CachedStorage

from adnn_optuna._attributes import INTERRUPTED, PROPOSAL
from adnn_optuna.samplers._history import History, IndexFilter, Proposal
from adnn_optuna.samplers._liveness import LivenessCheck, current_owner, is_on_one_host
from adnn_optuna.samplers._trial_rows import set_trial_system_attr

if TYPE_CHECKING:
    from collections.abc import Callable

    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from adnn_optuna.samplers._trial_cursor import TrialsByNumber

# How many seconds to wait for another worker to decide: on a slow disk, a transaction takes one.
_PATIENCE = 10.0

# By how many seconds the clocks of different hosts may differ.
_CLOCK_SKEW = 60.0

# In memory, all workers are threads of this process: a lock is cheaper than to look twice.
_in_memory_lock = threading.RLock()


class Ledger:
    """Hands out indices to the trials of a sampler.

    Args:
        sampler_key: Trials with the same key are of the same sampler.
        batch_size: The number of trials that are proposed before any of them is finished.
        new_filter: Returns a filter of indices for a study that it knows nothing of yet.
        prepare: Called before a trial gets its index, while the workers of later trials wait:
            what it stores in the study is stored by one of them only.
    """

    def __init__(
        self,
        sampler_key: str,
        batch_size: int,
        new_filter: Callable[[], IndexFilter],
        prepare: Callable[[Study, History], object],
    ) -> None:
        self._sampler_key = sampler_key
        self._batch_size = batch_size
        self._new_filter = new_filter
        self._prepare = prepare
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
        if isinstance(study._storage, InMemoryStorage):
            with _in_memory_lock:
                history = self._history_when_asked(study, trial)
                return history, self._take_index(study, trial, history)

        # No two workers may get the same index. So they take turns in the order of their trials'
        # numbers, which the storage hands out: whoever sees a trial with a smaller number that
        # has not decided yet waits. That is rare and takes milliseconds, and those who see no
        # such trial need not look at the study a second time.
        history = (
            self._history_when_asked(study, trial) if is_first_attempt else self.history(study)
        )
        clock_skew = 0.0 if is_on_one_host(study._storage) else _CLOCK_SKEW
        if history.has_undecided(trial, LivenessCheck(study), _PATIENCE, clock_skew):
            return None
        index = self._take_index(study, trial, history)

        # Someone may have lost patience with this trial, or this one with another.
        assert trial.datetime_start is not None
        seconds = time.time() - trial.datetime_start.timestamp()
        if index is not None and not 0 <= seconds < _PATIENCE / 2:
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

    def _take_index(self, study: Study, trial: FrozenTrial, history: History) -> int | None:
        self._prepare(study, history)
        if "fixed_params" in trial.system_attrs or trial.params:
            self._write(study, trial, self._sampler_key, None)
            return None
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
        set_trial_system_attr(study._storage, trial._trial_id, PROPOSAL, value)
        self.latest_history(study).note_written(trial, value)
