"""What all samplers of this package share: each trial is proposed by its index."""

from __future__ import annotations

import abc
import inspect
import threading
import time
import warnings
import weakref
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from optuna.samplers import BaseSampler
from optuna.study._optimize import _run_trial
from optuna.trial import TrialState

from adnn_optuna._attributes import FAILED, INTERRUPTED, PROPOSAL
from adnn_optuna.samplers._history import AllIndices, History, IndexFilter
from adnn_optuna.samplers._ledger import Ledger
from adnn_optuna.samplers._liveness import is_alive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial


class ParameterSource(Protocol):
    """The parameters that a sampler proposes for one trial."""

    def value(self, name: str, distribution: BaseDistribution) -> Any:
        """Return the value of one parameter."""


# To be given an index takes a few milliseconds.
_SECONDS_BETWEEN_ATTEMPTS = 0.002

Memory = TypeVar("Memory")


class IndexedSampler(BaseSampler, abc.ABC, Generic[Memory]):
    """Base class of samplers whose proposals follow from their index and the study's trials.

    A parameter's value does not depend on which other parameters are asked for, nor in which
    order. So there is no difference between relative and independent sampling, and search
    spaces that change from trial to trial need no special care.

    Args:
        key: Trials with the same key are counted together.
        batch_size: The number of trials that are proposed before any of them is finished.
    """

    def __init__(self, key: str, batch_size: int) -> None:
        self._ledger = Ledger(key, batch_size, self._new_filter, self._memory)
        # By storage, as each numbers its trials anew.
        self._sources: weakref.WeakKeyDictionary[BaseStorage, dict[int, ParameterSource]] = (
            weakref.WeakKeyDictionary()
        )
        self._memories: weakref.WeakKeyDictionary[History, Memory] = weakref.WeakKeyDictionary()
        self._has_warned_of_constraints = False
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_lock"], state["_memories"], state["_sources"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._memories = weakref.WeakKeyDictionary()
        self._sources = weakref.WeakKeyDictionary()
        self._lock = threading.RLock()

    def __str__(self) -> str:
        return repr(self)

    def _new_filter(self) -> IndexFilter:
        """Return which indices are to be used, for a study of which nothing is known yet."""
        return AllIndices()

    @abc.abstractmethod
    def _remember(self, study: Study, history: History) -> Memory:
        """Return what is to be kept in memory of a study, only to save time."""

    @abc.abstractmethod
    def _propose(
        self, memory: Memory, history: History, index: int | None, number: int
    ) -> ParameterSource:
        """Decide on the parameters of a trial.

        Args:
            memory: What is kept in memory of the study.
            history: The study's trials as this sampler sees them.
            index: The index of the trial, :obj:`None` if it is none of this sampler's: a trial
                that was enqueued, but with some of its parameters only.
            number: The number of the trial, which must not matter if it has an index.
        """

    def _source(
        self, study: Study, trial: FrozenTrial, history: History, index: int | None
    ) -> ParameterSource:
        source = self._propose(self._memory(study, history), history, index, trial.number)
        self._sources_in(study)[trial._trial_id] = source
        return source

    def _memory(self, study: Study, history: History) -> Memory:
        if history not in self._memories:
            self._memories[history] = self._remember(study, history)
        return self._memories[history]

    def _sources_in(self, study: Study) -> dict[int, ParameterSource]:
        return self._sources.setdefault(study._storage, {})

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """Return an empty search space, as parameters need not be sampled together."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample all parameters of a search space, to the same values as one by one."""
        self._raise_error_if_multi_objective(study)
        return {
            name: self.sample_independent(study, trial, name, distribution)
            for name, distribution in search_space.items()
        }

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Sample one parameter."""
        self._raise_error_if_multi_objective(study)
        with self._lock:
            source = self._sources_in(study).get(trial._trial_id)
            if source is None:
                # The trial began in another process, or with another sampler.
                history = self._ledger.history(study)
                source = self._source(study, trial, history, history.index_of(trial))
            return source.value(param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Give the trial its index and decide on its parameters."""
        if study._is_multi_objective():
            return  # Sampling raises: then the trial fails, instead of being left RUNNING.
        is_first_attempt = True
        while not self._has_begun(study, trial, is_first_attempt=is_first_attempt):
            # Without the lock, as whom this trial waits for may be another thread.
            is_first_attempt = False
            time.sleep(_SECONDS_BETWEEN_ATTEMPTS)

    def _has_begun(self, study: Study, trial: FrozenTrial, *, is_first_attempt: bool) -> bool:
        with self._lock:
            claimed = self._ledger.claim(study, trial, is_first_attempt=is_first_attempt)
            if claimed is None:
                return False
            history, index = claimed
            if history.is_constrained and not self._has_warned_of_constraints:
                self._has_warned_of_constraints = True
                warnings.warn(
                    f"{self.__class__.__name__} ignores constraints: it may propose parameters "
                    "that violate them, and learns from trials that did.",
                    stacklevel=3,
                )
            self._source(study, trial, history, index)
            return True

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,  # noqa: ARG002
    ) -> None:
        """Note that a failed trial failed by itself: its worker lives, and nobody stopped it."""
        with self._lock:
            self._sources_in(study).pop(trial._trial_id, None)
        if (
            state != TrialState.FAIL
            or PROPOSAL not in trial.system_attrs
            or trial.system_attrs.get(INTERRUPTED)
            # Who finds the trial of a dead worker may end it by `Study.tell`.
            or not is_alive(study, trial)
        ):
            return
        note = INTERRUPTED if _is_objective_interrupted() else FAILED
        study._storage.set_trial_system_attr(trial._trial_id, note, value=True)

    def reseed_rng(self) -> None:
        """Do nothing, as each draw has its own random numbers.

        Optuna calls this in each thread of ``n_jobs``, so that they do not draw the same.
        """


def _is_objective_interrupted() -> bool:
    """Return whether the trial that is being ended was stopped by Ctrl-C.

    To its samplers, Optuna only says that the trial failed. What the objective raised is a
    variable of the function that runs trials.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code is _run_trial.__code__:
            return isinstance(frame.f_locals.get("func_err"), KeyboardInterrupt)
        frame = frame.f_back
    return False
