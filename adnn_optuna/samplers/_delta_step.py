"""Walks away from an origin, step by step."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from optuna.study import StudyDirection

from adnn_optuna._checks import WrongTypeError, WrongValueError, check_integer, check_number
from adnn_optuna.samplers._indexed import IndexedSampler, Indices, ParameterSource
from adnn_optuna.samplers._walk import Origin, Step, StepsInside, Walk, step_on_ray

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from optuna.study import Study
    from optuna.trial import FrozenTrial, TrialState

    from adnn_optuna._attributes import Proposal

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class WalkStep:
    """Which step of which walk the trial with a number is.

    Args:
        number:
            The trial's number.
        delta:
            The length of the walk's steps, :obj:`None` for the baseline, where all walks start.
        step:
            The how manieth step it is, from 1 on; 0 for the baseline.
    """

    number: int
    delta: float | None
    step: int


class DeltaStepSampler(IndexedSampler):
    """Sampler that walks away from an origin with small steps of all parameters together.

    The first trial is the baseline, with every parameter at the origin. Then, for each δ of
    ``deltas``, a walk of ``max_steps`` trials starts there. With ``accept="always"``, the t-th
    step of a walk sets every parameter to origin + t·δ, whatever the steps before it gained.
    With ``accept="improving"``, a step is kept only if it improved on the walk's best value so
    far; if not, the walk tries the opposite step, and if that fails too, half the step.

    It is for cheap looks along one line: are there better values near the origin? Each trial is a
    step of its own, whatever the number of parameters, so tens of trials are enough, and with
    ``accept="always"`` any number of workers loses nothing. Don't use it where the best values of
    the parameters differ, as the walk cannot tell the parameters apart, nor far from the origin:
    use :class:`~adnn_optuna.samplers.AdaptiveSimulatedAnnealingSampler` there. Categorical
    parameters do not move at all.

    When all steps are done, the study stops, as with :class:`~optuna.samplers.GridSampler`.

    Example:

        .. testcode::

            import optuna
            from adnn_optuna.samplers import DeltaStepSampler


            def objective(trial):
                x = trial.suggest_float("x", -1, 1)
                y = trial.suggest_float("y", -1, 1)
                return (x - 0.3) ** 2 + (y - 0.2) ** 2


            sampler = DeltaStepSampler(deltas=(0.05, 0.1), max_steps=5)
            study = optuna.create_study(sampler=sampler)
            study.optimize(objective)
            assert len(study.trials) == 11

    Note:
        The walk is kept in the study and not in the sampler: a new sampler with the same
        ``deltas``, ``max_steps``, ``accept`` and ``origin`` goes on where the study stopped. A
        step whose worker died is done again; one that failed by itself is not.

    Note:
        No two workers get the same step. When the steps that are left are all held by other
        workers, the study stops for those who find nothing to do. A trial that is asked for even
        so repeats a step, with a warning.

    Note:
        A step out of the search space is left out of the walk, and with ``accept="always"`` so
        are those after it. Parameters whose distribution does not contain the origin start at
        the nearest value it contains. Categorical parameters stay at their origin, by default
        the first choice.

    References:
        With ``accept="always"`` and the defaults it is Algorithm 1 of the paper that this package
        reproduces, see ``studies/README.md``.

    Args:
        deltas:
            The length of a step, for each walk, in units of the parameters; negative ones walk
            down. By default they are the paper's, 0.0025 and 0.003, for offsets of the initial
            weights of a network. Elsewhere, choose them so that ``max_steps`` steps cross the part
            of the search space that is of interest.
        max_steps:
            The number of steps of each walk, 50 by default, as in the paper.
        accept:
            Which steps are kept, ``"always"`` all or ``"improving"`` those that improve. By
            default all are, so that no trial depends on the values of others. With noise,
            ``"improving"`` stays where a value was good by luck.
        origin:
            Where the walks start: one value for all numerical parameters, or a mapping from the
            names of parameters to their values (0 for those that it lacks). The default, 0, is the
            unmoved network of a search over offsets.
    """

    def __init__(
        self,
        deltas: Sequence[float] = (0.0025, 0.003),
        max_steps: int = 50,
        accept: Literal["always", "improving"] = "always",
        origin: float | Mapping[str, Any] = 0.0,
    ) -> None:
        _check_deltas(deltas)
        check_integer("max_steps", max_steps, low=1)
        if not isinstance(accept, str) or accept not in ("always", "improving"):
            raise WrongValueError(f'`accept` must be "always" or "improving", but is {accept!r}.')
        self._origin = Origin(origin)
        self._deltas = tuple(float(delta) for delta in deltas)
        self._max_steps = int(max_steps)
        self._accept = accept
        # What an index means depends on all of these, so walks that differ are counted apart.
        identity = f"({self._deltas}, {self._max_steps}, {accept!r}, {self._origin.identity})"
        digest = hashlib.sha256(identity.encode()).hexdigest()
        super().__init__(f"delta_step:{digest[:16]}")

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(deltas={self._deltas}, max_steps={self._max_steps}, "
            f"accept={self._accept!r}, origin={self._origin})"
        )

    def steps(self, study: Study) -> list[WalkStep]:
        """Return which step each finished trial is, in the order of the walks.

        Args:
            study: A study that was searched by a sampler with the same arguments.
        """
        with self._lock:
            results = self._look(study).results
        steps = []
        for index in sorted(results):
            if index > self._last_index:  # It was asked for in vain.
                break
            walk, step = divmod(index - 1, self._max_steps) if index else (None, -1)
            delta = None if walk is None else self._deltas[walk]
            steps.append(WalkStep(results[index].number, delta, step + 1))
        return steps

    def is_exhausted(self, study: Study) -> bool:
        """Return whether all steps are done.

        Args:
            study: The study, which is to be asked for no further trial if so.
        """
        with self._lock:
            return next(self._look(study).unfinished_indices()) > self._last_index

    def n_free_steps(self, study: Study, at_most: int = 1) -> int:
        """Return how many steps there are that are neither done nor held by a live trial.

        Args:
            study: The study, which those who ask for several trials at once ask for no more.
            at_most: The number that is enough to know of.
        """
        with self._lock:
            free = self._free_indices(self._look(study), None)
            return sum(index <= self._last_index for index in itertools.islice(free, at_most))

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Stop the study if there is no further step to do."""
        super().after_trial(study, trial, state, values)
        if not study._is_multi_objective() and self._is_next_step_missing(study):
            # Those who ask and tell stop by themselves, and `study.stop` raises for them.
            with contextlib.suppress(RuntimeError):
                study.stop()

    def _is_next_step_missing(self, study: Study) -> bool:
        with self._lock:
            indices = self._memory[study]
            # Other workers may have done the rest, or left something to do, since the last look.
            if len(indices.reader.unfinished) > 1 or not self._has_free_step(indices):
                indices = self._look(study)
            return not self._has_free_step(indices)

    def _has_free_step(self, indices: Indices) -> bool:
        # The trial that is being told is not finished yet, so its own step is not free.
        return next(self._free_indices(indices, None)) <= self._last_index

    @property
    def _last_index(self) -> int:
        return len(self._deltas) * self._max_steps

    def _remember(self, study: Study) -> Indices:
        if self._accept == "improving":
            return super()._remember(study)
        return _IndicesInside(self._key, StepsInside(self._origin, self._deltas, self._max_steps))

    def _step(
        self,
        study: Study,
        indices: Indices,
        proposal: Proposal,
        number: int,
    ) -> tuple[int | None, float] | None:
        index = proposal["index"]
        if self._accept == "always" or not index or index > self._last_index:
            return None
        walk = indices.state(proposal, lambda: self._start(study))
        of_walk = (index - 1) // self._max_steps
        pending = [
            found["step"]
            for other, trial in sorted(indices.pending(number).items())
            if (other - 1) // self._max_steps == of_walk
            and (found := indices.proposal_of(trial)) is not None
            and found["step"] is not None
        ]
        return walk.next_step(index, pending)

    def _start(self, study: Study) -> Walk:
        sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
        return Walk(self._origin, self._deltas, self._max_steps, sign)

    def _propose(
        self,
        study: Study,  # noqa: ARG002
        indices: Indices,
        proposal: Proposal,
        number: int,
    ) -> ParameterSource:
        index, step = proposal["index"] or 0, proposal["step"]
        if index > self._last_index:
            index = next(indices.unfinished_indices())
            held = indices.pending(number).get(index)
            held_proposal = None if held is None else indices.proposal_of(held)
            if held_proposal is None or index > self._last_index:
                index = 0
            else:
                step = held_proposal["step"]
            _logger.warning(
                "All steps of `DeltaStepSampler` are done or held by other workers, so trial %d "
                "repeats %s.",
                number,
                f"step {index}" if index else "the baseline",
            )
        if self._accept == "always" or not index or step is None:
            return step_on_ray(self._origin, self._deltas, self._max_steps, index)
        start, length = step
        return Step(self._origin, length, None if start is None else indices.reader.trials[start])


class _IndicesInside(Indices):
    """Indices of which those whose steps lead out of the search space are left out."""

    def __init__(self, key: str, inside: StepsInside) -> None:
        super().__init__(key)
        self._inside = inside

    def note(self, trial: FrozenTrial) -> None:
        super().note(trial)
        index = self.index_of(trial)
        if index is not None:
            self._inside.note(trial, index)

    def unfinished_indices(self) -> Iterator[int]:
        return filter(self._inside.has, super().unfinished_indices())


def _check_deltas(deltas: Any) -> None:
    if isinstance(deltas, str | bytes | bytearray) or not isinstance(deltas, Sequence):
        raise WrongTypeError(
            f"`deltas` must be a sequence of numbers, one for each walk, but is {deltas!r}."
        )
    if not deltas:
        raise WrongValueError("`deltas` is empty, but must have the step of at least one walk.")
    for delta in deltas:
        check_number("deltas", delta)
        if delta == 0:
            raise WrongValueError(
                f"`deltas` must not contain 0, a step that leads nowhere: {deltas!r}."
            )
