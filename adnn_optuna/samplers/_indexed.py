"""Samplers that keep their state in the study and propose each trial by its index.

The number of a trial does not count the proposals of its sampler, because some trials are
enqueued, killed, retried, or proposed by another sampler. So each proposal gets an *index* 0, 1,
2, …. The step of a walk, the random numbers of a draw and all else follow from two things: the
index, and the trials that the proposal saw.

A trial holds its index if it ran to its end or is live. A new trial reads all trials, chooses the
smallest index that no trial holds, writes this index, and reads all trials again. If another trial
took the same index between the two reads, the new trial gives way: it withdraws its index and
chooses again. Its next choice is random among several free indices, as many as trials may be
choosing at this moment. If two trials have the same index, the trial that wrote later always sees
the earlier trial. So no two live workers keep the same index, on any storage, without a lock, a
wait or a clock. If both trials see each other, both give way, because the trial with the higher
number may have read before the other trial wrote.

If a worker dies, its index is free again. The next trial with this index uses the same earlier
trials as the dead worker's trial. So a study that was killed and resumed has the same proposals as
a study that never stopped. A worker also gives way to a trial that took the index between the two
reads and then died. The proposal must depend on the first trial that kept the index.
"""

import abc
import contextlib
import math
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from adnn_optuna._attributes import ENDED, PROPOSAL, Proposal, StoredStep, check_trial
from adnn_optuna.samplers._indices import Indices, ParameterSource, proposal_of
from adnn_optuna.samplers._owners import (
    begin_turn,
    end_trial,
    end_turn,
    is_alive,
    is_own,
    ownership,
)
from adnn_optuna.samplers._trials import PerStudy, TrialReader


class IndexedSampler(BaseSampler, abc.ABC):
    """Base class of samplers whose proposals depend on their index and the study's trials.

    A parameter's value does not depend on other parameters, or on their order.

    Args:
        key: Trials with the same key share one sequence of indices.
    """

    n_wanted: float = math.inf  # There is a proposal for any number of trials.
    _proposes_before = True  # Whether proposals are possible before a trial is created.

    def __init__(self, key: str) -> None:
        self._key = key
        self._memory = PerStudy(self._remember)

    def __str__(self) -> str:
        return repr(self)

    def _remember(self, study: Study) -> Indices:
        return Indices(self._key)

    def _read(self, study: Study, reader: TrialReader | None = None) -> Indices:
        """Read new trials of a study, or copy them from a reader that has just read them."""
        indices = self._memory[study]
        indices.read(study, reader)
        if indices.reader.was_reset:
            self._memory.forget(study)
            return self._read(study, reader)
        return indices

    def read_from(self, study: Study, reader: TrialReader) -> None:
        """Use the trials that a callback has just read, so that no second read is needed."""
        with self._memory.lock:
            self._read(study, reader)

    @property
    def last_index(self) -> float:
        """The last index that has a proposal. After this index, the study stops."""
        return math.inf

    def n_free(self, study: Study, at_most: int = 1, reader: TrialReader | None = None) -> int:
        """Return the number of free proposals, counted up to ``at_most``.

        A proposal is free if no finished or live trial has it.
        """
        with self._memory.lock:
            free = self._read(study, reader).free_indices(at_most)
            return sum(index <= self.last_index for index in free)

    def check_place(
        self, study: Study, trial: FrozenTrial, reader: TrialReader
    ) -> tuple[bool, int | None]:
        """Return whether another trial has this index's result, or had the index first.

        Also return the number of smaller indices that have no result.
        """
        with self._memory.lock:
            indices = self._read(study, reader)
            if (proposal := indices.proposal_of(trial)) is None or proposal["index"] is None:
                return False, None
            index = proposal["index"]
            n_before = 0
            for unfinished_index in indices.unfinished_indices():
                if unfinished_index >= index:
                    break
                n_before += 1
            first: Proposal = indices.first_holder(index, trial).system_attrs[PROPOSAL]
            is_first = {**proposal, "owner": None} == {**first, "owner": None}
            return index in indices.results or not is_first, n_before

    def place_of(self, trial: FrozenTrial) -> int | None:
        """Return the trial's index, or :obj:`None` if another sampler proposed the trial."""
        proposal = proposal_of(trial, self._key)
        return None if proposal is None else proposal["index"]

    def template(
        self,
        study: Study,
        reader: TrialReader,
        distributions: Mapping[str, BaseDistribution],
        n_rivals: int = 0,
    ) -> FrozenTrial:
        """Return the next trial, to be created RUNNING with its index and parameters.

        The trials in ``reader`` were just read, and no trial belongs to a dead worker. The index
        is random among the first ``n_rivals`` + 1 free indices. The caller creates the trial, and
        then reads the study again, unless no other worker can have chosen meanwhile.
        """
        with self._memory.lock:
            indices = self._read(study, reader)
            template = create_trial(state=TrialState.RUNNING)
            template.number = reader.next_number
            free = indices.free_indices(1 + n_rivals)
            remaining = [index for index in free if index <= self.last_index]
            # This draw does not change the user's random numbers.
            proposal = indices.proposal(template, secrets.choice(remaining or free))
            if proposal["step"] is None:
                proposal["step"] = self._step(study, indices, proposal)
            template.system_attrs[PROPOSAL] = proposal
            if indices.reader.ids and self._proposes_before:
                source = self._propose(study, indices, proposal)
                template.params = {
                    k: source(k, distribution) for k, distribution in distributions.items()
                }
                template.distributions = dict(distributions)
            return template

    def _step(self, study: Study, indices: Indices, proposal: Proposal) -> StoredStep | None:
        """Return the step that a new proposal stores, or :obj:`None` without steps."""
        return None

    @abc.abstractmethod
    def _propose(self, study: Study, indices: Indices, proposal: Proposal) -> ParameterSource:
        """Choose the parameters of a trial from its index and the trials that it saw.

        If a trial was enqueued with only some of its parameters, it has no index.
        """

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return an empty search space, because parameters need not be sampled together."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample all parameters. Sampling each parameter alone gives the same values."""
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
                # Another process or another sampler began the trial.
                indices = self._read(study)
                now = indices.reader.trials.get(trial._trial_id, trial)
                proposal = indices.proposal_of(now) or indices.proposal(trial, None)
                indices.sources[trial._trial_id] = self._propose(study, indices, proposal)
            return indices.sources[trial._trial_id](param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Give the trial its index and decide on its parameters."""
        if study._is_multi_objective():
            return  # Sampling later raises the error, so that Optuna marks the trial as failed.
        with self._memory.lock:
            begin_turn(study)
            stored_proposal = proposal_of(trial, self._key)
            if stored_proposal is not None and stored_proposal["owner"] == ownership(trial):
                return  # The trial was created with its index, and maybe with its parameters.
            try:
                proposal = self._claim(study, trial)
            # If `before_trial` raises an error, Optuna leaves the trial RUNNING.
            except ValueError:
                end_trial(study, trial)
                raise
            indices = self._memory[study]
            indices.sources[trial._trial_id] = self._propose(study, indices, proposal)

    def _claim(self, study: Study, trial: FrozenTrial) -> Proposal:
        """Return the proposal that the trial keeps.

        The trial writes a proposal and reads all trials again. If it must give way to another
        trial with the same index, it chooses again.
        """

        def write(name: str, value: Any) -> None:
            study._storage.set_trial_system_attr(trial._trial_id, name, value)

        check_trial(trial, study)
        attrs = trial.system_attrs
        copied = attrs.get(PROPOSAL) or {}
        is_retry = copied.get("sampler") == self._key
        copied_index: int | None = copied["index"] if is_retry else None
        is_fixed = "fixed_params" in attrs or bool(trial.params)
        indices = self._memory[study]
        has_read_all = not (attrs or is_fixed) and indices.reader.is_all_before(trial)
        if not has_read_all:
            indices = self._read(study)
        if proposal_before := indices.proposal_of(trial):
            # Another process began the trial earlier.
            proposal_before = {**proposal_before, "owner": ownership(trial)}
            write(PROPOSAL, proposal_before)
            return proposal_before
        gave_way = False
        while True:
            index = copied_index
            if not (is_fixed or is_retry):
                index = _free_index(indices, trial, gave_way=gave_way)
            elif gave_way or index in indices.results or index in indices.pending():
                index = None  # A retry keeps its index only if the index is free.
            holders = indices.holders(index, trial._trial_id)
            proposal = indices.proposal(trial, index)
            if proposal["step"] is None and index is not None:
                proposal["step"] = self._step(study, indices, proposal)
            write(PROPOSAL, proposal)
            if index is None:
                break
            indices = self._read(study)
            # A waiting trial may be older than other trials, but must see their indices.
            if not has_read_all or indices.reader.ids[-1:] == [trial._trial_id]:
                if indices.holders(index, trial._trial_id) == holders:
                    break
                write(PROPOSAL, {**proposal, "index": None})
                gave_way = True
            has_read_all = False
            indices = self._read(study)
        # A retry that lost its index to another trial counts as interrupted. Any other mark is
        # removed, because it is a copy from an earlier trial.
        ended = "interrupted" if copied_index is not None and index is None else None
        if attrs.get(ENDED) != ended:
            write(ENDED, ended)
        return proposal

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Mark a trial that failed here, and stop the study if no proposal is left.

        Optuna calls this method only in a live worker.
        """
        with self._memory.lock:
            indices = self._memory[study]
            indices.sources.pop(trial._trial_id, None)
            # If this is the only unfinished trial and another index is free, the study continues.
            is_alone = indices.reader.unfinished.keys() == {trial._trial_id}
            goes_on = is_alone and min(indices.free_indices(1)) <= self.last_index
        attrs = trial.system_attrs
        # `Study.tell` also ends trials of dead workers. These did not fail here.
        failed_here = state == TrialState.FAIL and is_alive(trial)
        if failed_here and PROPOSAL in attrs and not attrs.get(ENDED):
            study._storage.set_trial_system_attr(trial._trial_id, ENDED, "error")
        # This trial is not finished yet, so its own index is not free.
        if not goes_on and is_own(trial) and not self.n_free(study):
            # With ask and tell, `study.stop` raises an error, because the user decides when to
            # stop.
            with contextlib.suppress(RuntimeError):
                study.stop()
        end_turn(study)


def _free_index(indices: Indices, trial: FrozenTrial, *, gave_way: bool) -> int:
    """Return the first free index.

    After giving way, choose at random among the first free indices. Their number is the number of
    trials that may be choosing now.
    """
    n_rivals = 0
    if gave_way:
        choosing = [other for other in indices.running() if indices.index_of(other) is None]
        n_rivals = sum(other._trial_id != trial._trial_id for other in choosing)
    # This draw does not change the user's random numbers.
    return secrets.choice(indices.free_indices(1 + n_rivals))
