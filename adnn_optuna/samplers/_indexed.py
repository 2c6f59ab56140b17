"""Samplers whose state is the study: each of their trials is proposed by its index.

The trial number does not tell the how manieth proposal of its sampler a trial is: some trials are
enqueued, killed, retried, or proposed by another sampler. So each proposal gets an *index* 0, 1,
2, …, and everything else (the step of a walk, the random numbers of a draw) follows from the index
and from what the proposal saw of the study.

Write, look, choose again: a trial that begins reads all trials, takes the smallest index that no
result and no live trial has, writes it, and reads all trials once more. If another one has come by
that index meanwhile, it takes it back and chooses again, now at random among as many free indices
as there are trials that may be choosing as well. Whoever wrote later sees the other one. So no two
live workers keep one index, on any storage, without lock, wait or clock. (Both give way where both
see each other: the one with the higher number may have looked before the other one wrote.)

An index whose worker died is free again, and its next trial sees what the first one saw: a study
that was killed and resumed ends up with the same proposals as one that never stopped. (So who sees
one that came and died meanwhile gives way as well, and the first one is the first that kept it.)
"""

import abc
import bisect
import contextlib
import copy
import itertools
import math
import secrets
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._attributes import ENDED, PROPOSAL, Proposal, StoredStep, check_trial
from adnn_optuna.samplers._owners import (
    begin_turn,
    end_trial,
    end_turn,
    is_alive,
    is_own,
    is_watched,
    ownership,
)
from adnn_optuna.samplers._trials import PerStudy, TrialReader, constraints_of

ParameterSource = Callable[[str, "BaseDistribution"], Any]
"""What a sampler proposes for one trial: the value of a parameter by its name and distribution."""


class Replayed(Protocol):
    """What a sampler knows of the finished trials; telling a `copy.copy` leaves it as it is."""

    def tell(self, index: int | None, trial: FrozenTrial) -> object:
        """Take in a trial with its index, :obj:`None` for a trial of others."""


State = TypeVar("State", bound=Replayed)


class Indices:
    """The indices of one sampler's trials in one study, as of the last look."""

    def __init__(self, key: str) -> None:
        self._key = key
        self.reader = TrialReader()
        self.is_constrained = False
        self.results: dict[int, FrozenTrial] = {}  # The trial that was run to its end, by index.
        self._n_done = 0  # All indices below have one.
        self.sources: dict[int, ParameterSource] = {}  # By the ids of this process's trials.
        # States that were told all trials with ids below the first entry, except the second.
        self._states: list[tuple[int, list[int], Any]] = []
        # The ids of the trials that an index was ever given to.
        self._holders: dict[int | None, set[int]] = {}

    def read(self, study: Study) -> None:
        """Look at the study, and end the trials of the dead."""
        news = self.reader.read(study)
        # One that holds no index may have to be enqueued again, by who watches.
        while dead := [
            trial
            for trial in self.running()
            if self.index_of(trial) is not None or not is_watched(study)
            if is_alive(trial) is False
        ]:
            for trial in dead:
                end_trial(study, trial)
            news += self.reader.read(study)
        for trial in news:
            self.note(trial)

    def index_of(self, trial: FrozenTrial) -> int | None:
        """Return the index of a trial of this sampler, :obj:`None` for others."""
        proposal = self.proposal_of(trial)
        return None if proposal is None else proposal["index"]

    def proposal_of(self, trial: FrozenTrial) -> Proposal | None:
        """Return what a trial of this sampler says of itself, not what it was copied from."""
        proposal: Proposal | None = trial.system_attrs.get(PROPOSAL)
        if proposal is None or proposal["sampler"] != self._key:
            return None
        return proposal if proposal["owner"]["trial"] == trial.number else None

    def note(self, trial: FrozenTrial) -> None:
        """Take in a trial that is new or may have changed."""
        index, ended = self.index_of(trial), trial.system_attrs.get(ENDED)
        self.is_constrained |= bool(constraints_of(trial))
        if index is None:
            return
        self._holders.setdefault(index, set()).add(trial._trial_id)
        has_died = trial.state == TrialState.FAIL and ended is None
        if not trial.state.is_finished() or has_died or ended == "interrupted":
            return
        known = self.results.setdefault(index, trial)
        # A worker that was taken for dead and woke up did the same: the older trial counts.
        if trial._trial_id < known._trial_id:
            self.results[index] = trial
            self._states.clear()

    def running(self) -> list[FrozenTrial]:
        """Return the trials under way, also those of other samplers."""
        return [t for t in self.reader.unfinished.values() if t.state == TrialState.RUNNING]

    def pending(self) -> dict[int, Proposal]:
        """Return what the trials under way that have an index say of themselves, by that.

        Databases read a trial's state first: one that seems to be waiting may have begun since.
        """
        proposals = map(self.proposal_of, self.reader.unfinished.values())
        return {p["index"]: p for p in proposals if p and p["index"] is not None}

    def unfinished_indices(self) -> Iterator[int]:
        """Yield the indices without a result, from the smallest one on."""
        while self._n_done in self.results:
            self._n_done += 1
        left = (i for i in itertools.count(self._n_done) if i not in self.results)
        return filter(self.is_proposed, left)

    def is_proposed(self, index: int) -> bool:
        """Return whether an index is worth a trial."""
        return True

    def free_indices(self, at_most: int) -> list[int]:
        """Return the first of them that no live trial has."""
        held = self.pending()
        free = (index for index in self.unfinished_indices() if index not in held)
        return [*itertools.islice(free, at_most)]

    def holders(self, index: int | None, own_id: int) -> list[int]:
        """Return the ids of the other trials, also of the dead, that have an index.

        Those with parameters come first: one without any may not have kept the index.
        """
        trials, others = self.reader.trials, self._holders.get(index, set()) - {own_id}
        holders = (i for i in others if i in trials and self.index_of(trials[i]) == index)
        return sorted(holders, key=lambda trial_id: (not trials[trial_id].params, trial_id))

    def proposal(self, trial: FrozenTrial, index: int | None) -> Proposal:
        """Return what is to be written to a trial; what an index saw first, it sees again."""
        trial_id, owner = trial._trial_id, ownership(trial)
        for holder in self.holders(index, trial_id)[:1]:
            first: Proposal = self.reader.trials[holder].system_attrs[PROPOSAL]
            # The ids that a copied trial names are those of another study.
            if first["trial_id"] == holder:
                return {**first, "owner": owner, "trial_id": trial_id}
        ids, unfinished = self.reader.ids, self.reader.unfinished
        n_seen = len(ids)
        # Unfinished trials at the end, as in a long queue, need no list.
        while n_seen and ids[n_seen - 1] in unfinished:
            n_seen -= 1
        before = ids[n_seen - 1] + 1 if n_seen else 0
        return {
            "sampler": self._key,
            "index": index,
            "owner": owner,
            "trial_id": trial_id,
            "before": before,
            "unfinished": sorted(i for i in unfinished if i < before),
            "n_pending": len(self.pending()),
            "step": None,
        }

    def state(self, proposal: Proposal, start: Callable[[], State]) -> State:
        """Return a state that was told the trials that a proposal saw; nobody may change it.

        It is told them by their ids, so it is the same in each worker. It is kept before each
        trial that was unfinished, and where the replay has come to: it costs no more than the
        trials since the first one that has finished meanwhile, even if some trial never ends.
        Trials that were deleted since are not told.
        """
        ids, trials, before = self.reader.ids, self.reader.trials, proposal["before"]
        unfinished = [trial_id for trial_id in proposal["unfinished"] if trial_id in trials]
        state: State
        while True:
            told, left_out, state = self._states.pop() if self._states else (0, [], start())
            if told <= before and left_out == [u for u in unfinished if u < told]:
                break
        missing, state = set(unfinished), copy.copy(state)
        for trial_id in ids[bisect.bisect_left(ids, told) : bisect.bisect_left(ids, before)]:
            if trial_id in missing:
                self._states.append((trial_id, left_out, copy.copy(state)))
                left_out = [*left_out, trial_id]
            else:
                self.tell(state, trials[trial_id])
        self._states.append((before, left_out, state))
        return state

    def tell(self, state: Replayed, trial: FrozenTrial) -> None:
        """Tell a state a trial, if that counts: the result of an index, or a value of others."""
        index = self.index_of(trial)
        if index is None:
            is_interrupted = trial.system_attrs.get(ENDED) == "interrupted"
            counts = trial.state == TrialState.COMPLETE and not is_interrupted
        else:
            result = self.results.get(index)
            counts = result is not None and result._trial_id == trial._trial_id
        if counts:
            state.tell(index, trial)


class IndexedSampler(BaseSampler, abc.ABC):
    """Base class of samplers whose proposals follow from their index and the study's trials.

    A parameter's value does not depend on which others are asked for, nor in which order.

    Args:
        key: Trials with the same key are counted together.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._memory = PerStudy(self._remember)
        self._has_warned_of_constraints = False

    def __str__(self) -> str:
        return repr(self)

    def _remember(self, study: Study) -> Indices:
        return Indices(self._key)

    def _look(self, study: Study) -> Indices:
        """Read what is new in a study."""
        indices = self._memory[study]
        indices.read(study)
        if indices.reader.was_reset:
            self._memory.forget()
            return self._look(study)
        return indices

    @property
    def last_index(self) -> float:
        """The last index that it has a proposal for; behind it, the study stops."""
        return math.inf

    def n_free(self, study: Study, at_most: int = 1) -> int:
        """Return how many proposals are neither done nor held by a live trial, or ``at_most``."""
        with self._memory.lock:
            free = self._look(study).free_indices(at_most)
            return sum(index <= self.last_index for index in free)

    def n_before(self, study: Study, index: int) -> int:
        """Return how many proposals before one were not done when a trial last began."""
        with self._memory.lock:
            indices = self._memory[study]
            if not indices.reader.trials:  # It was used for another study meanwhile.
                indices = self._look(study)
            return len([*itertools.takewhile(index.__gt__, indices.unfinished_indices())])

    def _step(self, study: Study, indices: Indices, proposal: Proposal) -> StoredStep | None:
        """Return what is to be stored with a new proposal, beside what it saw."""
        return None

    @abc.abstractmethod
    def _propose(self, study: Study, indices: Indices, proposal: Proposal) -> ParameterSource:
        """Decide on the parameters of a trial from its index and from what it saw.

        It may have no index: then it was enqueued, but with some of its parameters only.
        """

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
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
        with self._memory.lock:
            indices = self._memory[study]
            if trial._trial_id not in indices.sources:
                # The trial began in another process, or with another sampler.
                indices = self._look(study)
                now = indices.reader.trials.get(trial._trial_id, trial)
                proposal = indices.proposal_of(now) or indices.proposal(trial, None)
                indices.sources[trial._trial_id] = self._propose(study, indices, proposal)
            return indices.sources[trial._trial_id](param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Give the trial its index and decide on its parameters."""
        if study._is_multi_objective():
            return  # Sampling raises: then the trial fails, instead of being left RUNNING.
        with self._memory.lock:
            begin_turn(study)
            try:
                proposal = self._claim(study, trial)
            except ValueError:  # Optuna would leave the trial RUNNING.
                end_trial(study, trial)
                raise
            indices = self._memory[study]
            if indices.is_constrained and not self._has_warned_of_constraints:
                self._has_warned_of_constraints = True
                warnings.warn(
                    f"{self.__class__.__name__} ignores constraints: it may propose parameters "
                    "that violate them, and learns from trials that did.",
                    stacklevel=2,
                )
            indices.sources[trial._trial_id] = self._propose(study, indices, proposal)

    def _claim(self, study: Study, trial: FrozenTrial) -> Proposal:
        """Write, look, choose again."""

        def write(name: str, value: Any) -> None:
            study._storage.set_trial_system_attr(trial._trial_id, name, value)

        check_trial(trial, study)
        attrs = trial.system_attrs
        is_fixed = "fixed_params" in attrs or bool(trial.params)
        copied = attrs.get(PROPOSAL) or {}
        is_retry = copied.get("sampler") == self._key
        wanted: int | None = copied["index"] if is_retry else None
        gave_way = False
        while True:
            indices = self._look(study)
            if own := indices.proposal_of(trial):  # It began before, in another process.
                own = {**own, "owner": ownership(trial)}
                write(PROPOSAL, own)
                return own
            index: int | None
            if is_fixed or is_retry:
                # A retry keeps its index if that is free.
                is_taken = wanted in indices.results or wanted in indices.pending()
                index = None if is_taken or gave_way else wanted
            else:
                choosing = [t for t in indices.running() if indices.index_of(t) is None]
                n_others = sum(other._trial_id != trial._trial_id for other in choosing)
                # The user's own random numbers are left alone.
                index = secrets.choice(indices.free_indices(1 + n_others if gave_way else 1))
            holders = indices.holders(index, trial._trial_id)
            proposal = indices.proposal(trial, index)
            if proposal["step"] is None and index is not None:
                proposal["step"] = self._step(study, indices, proposal)
            write(PROPOSAL, proposal)
            if index is None or self._look(study).holders(index, trial._trial_id) == holders:
                break
            write(PROPOSAL, {**proposal, "index": None})
            gave_way = True
        # A retry of what was done again meanwhile counts for nothing. Others may inherit the note.
        ended = "interrupted" if wanted is not None and index is None else None
        if attrs.get(ENDED) != ended:
            write(ENDED, ended)
        return proposal

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Note that a failed trial failed by itself, and stop the study if nothing is left to do.

        Its worker lives then, and nobody stopped it.
        """
        with self._memory.lock:
            self._memory[study].sources.pop(trial._trial_id, None)
        attrs = trial.system_attrs
        # Who finds the trial of a dead worker may end it by `Study.tell`.
        failed_here = state == TrialState.FAIL and is_alive(trial)
        if failed_here and PROPOSAL in attrs and not attrs.get(ENDED):
            study._storage.set_trial_system_attr(trial._trial_id, ENDED, "error")
        # The trial that is being told is not finished yet, so its own index is not free.
        if self.last_index < math.inf and is_own(trial) and not self.n_free(study):
            # Those who ask and tell stop by themselves, and `study.stop` raises for them.
            with contextlib.suppress(RuntimeError):
                study.stop()
        end_turn(study)
