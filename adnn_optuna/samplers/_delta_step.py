"""Walks away from an origin, step by step."""

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from adnn_optuna._attributes import Proposal, StoredStep
from adnn_optuna._checks import WrongTypeError, WrongValueError, check_integer, check_number
from adnn_optuna.samplers._indexed import IndexedSampler, Indices, ParameterSource
from adnn_optuna.samplers._walk import Origin, Step, Walk, moves, n_steps_inside

_logger = logging.getLogger(__name__)


class DeltaStepSampler(IndexedSampler):
    """Sampler that walks away from an origin with small steps of all parameters together.

    The first trial is the baseline, with every parameter at the origin. Then, for each δ of
    ``deltas``, a walk of ``max_steps`` trials starts there. With ``accept="always"``, the t-th
    step of a walk sets every parameter to origin + t·δ, whatever the steps before it gained.
    With ``accept="improving"``, a step is kept only if it improved on the walk's best value so
    far; if not, the walk tries the opposite step, and if that fails too, half the step.

    It is for cheap looks along one line: are there better values near the origin? Tens of trials
    are enough, whatever the number of parameters, and with ``accept="always"`` any number of
    workers loses nothing. Don't use it where the best values of the parameters differ, as the walk
    cannot tell them apart, nor far from the origin: use
    :class:`~adnn_optuna.samplers.AdaptiveSimulatedAnnealingSampler` there. Categorical parameters
    do not move at all. When all steps are done, the study stops, as with
    :class:`~optuna.samplers.GridSampler`.

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
        A new sampler with the same arguments goes on where the study stopped. A step whose worker
        died is done again; one that failed by itself is not. Of an objective that is not ours,
        Optuna tells no cause: one that Ctrl-C interrupted in ``study.optimize`` failed by itself,
        as with :class:`~optuna.samplers.GridSampler`, and ``study.enqueue_trial(trial.params)``
        does it again. No two workers get the same step. A
        trial that is asked for when all steps are done or held by others repeats the baseline,
        with a warning. A step out of the search space is left out of the walk, and with
        ``accept="always"`` so are those after it.

    References:
        With ``accept="always"`` and the defaults it is Algorithm 1 of the paper that this package
        reproduces, see ``studies/README.md``.

    Args:
        deltas: The length of a step, for each walk, in units of the parameters; negative ones walk
            down. By default they are the paper's, for offsets of a network's initial weights.
            Elsewhere, choose them so that ``max_steps`` steps cross what is of interest.
        max_steps: The number of steps of each walk; the paper's are 50.
        accept: Which steps are kept, ``"always"`` all or ``"improving"`` those that improve. With
            noise, the latter stays where a value was good by luck.
        origin: Where the walks start: one value for all numerical parameters, or a mapping from
            the names of parameters to their values (0 for those that it lacks, and the first
            choice). Where a parameter cannot have its value, it starts at the nearest one.
    """

    def __init__(
        self,
        deltas: Sequence[float] = (0.0025, 0.003),
        max_steps: int = 50,
        accept: Literal["always", "improving"] = "always",
        origin: float | Mapping[str, Any] = 0.0,
    ) -> None:
        if isinstance(deltas, str) or not isinstance(deltas, Sequence):
            raise WrongTypeError(
                f"`deltas` must be a sequence of numbers, one for each walk, but is {deltas!r}."
            )
        if not deltas:
            raise WrongValueError(
                "`deltas` is empty, but must have the step of at least one walk."
            )
        for delta in deltas:
            check_number("deltas", delta)
        if 0 in deltas:
            raise WrongValueError(
                f"`deltas` must not contain 0, a step that leads nowhere: {deltas!r}."
            )
        check_integer("max_steps", max_steps, low=1)
        if accept not in ("always", "improving"):
            raise WrongValueError(f'`accept` must be "always" or "improving", but is {accept!r}.')
        self._origin = Origin(origin)
        self._deltas = tuple(float(delta) for delta in deltas)
        self._max_steps = int(max_steps)
        self._accept = accept
        # What an index means depends on all of these, so walks that differ are counted apart.
        identity = f"({self._deltas}, {self._max_steps}, {accept!r}, {self._origin})"
        digest = hashlib.sha256(identity.encode()).hexdigest()
        super().__init__(f"delta_step:{digest[:16]}")

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(deltas={self._deltas}, max_steps={self._max_steps}, "
            f"accept={self._accept!r}, origin={self._origin})"
        )

    def is_exhausted(self, study: Study) -> bool:
        """Return whether all steps are done, and no further trial is to be asked for."""
        with self._memory.lock:
            return next(self._look(study).unfinished_indices()) > self.last_index

    @property
    def last_index(self) -> int:
        """The index of the last step of the last walk."""
        return len(self._deltas) * self._max_steps

    def _remember(self, study: Study) -> Indices:
        if self._accept == "improving":
            return super()._remember(study)
        return _IndicesInside(self._key, self._origin, self._deltas, self._max_steps)

    def _step(self, study: Study, indices: Indices, proposal: Proposal) -> StoredStep:
        index = proposal["index"]
        if not index:
            return None, 0.0
        if index > self.last_index:
            _logger.warning(
                "All steps of `DeltaStepSampler` are done or held by other workers, so trial %d "
                "repeats the baseline.",
                proposal["owner"]["trial"],
            )
            return None, 0.0
        walk, step = divmod(index - 1, self._max_steps)
        if self._accept == "always":
            return None, (step + 1) * self._deltas[walk]
        awaited = [
            other["step"]
            for of_other, other in sorted(indices.pending().items())
            if (of_other - 1) // self._max_steps == walk and other["step"] is not None
        ]
        sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
        start = Walk(self._origin, self._deltas, self._max_steps, sign, indices.reader)
        return indices.state(proposal, lambda: start).next_step(index, awaited)

    def _propose(self, study: Study, indices: Indices, proposal: Proposal) -> ParameterSource:
        return Step(self._origin, indices.reader.trials, proposal["step"])


class _IndicesInside(Indices):
    """Indices without those whose steps lead out of the search space of all trials so far."""

    def __init__(
        self, key: str, origin: Origin, deltas: tuple[float, ...], max_steps: int
    ) -> None:
        super().__init__(key)
        self._origin = origin
        self._deltas = deltas
        self._max_steps = max_steps
        self._n_inside = [math.inf for _ in deltas]  # How many steps of each walk are inside.

    def note(self, trial: FrozenTrial) -> None:
        super().note(trial)
        if self.index_of(trial) is None:
            return
        for name, distribution in trial.distributions.items():
            if moves(distribution):
                start = self._origin.value(name, distribution)
                inside = [n_steps_inside(start, delta, distribution) for delta in self._deltas]
                self._n_inside = [*map(min, self._n_inside, inside)]

    def is_proposed(self, index: int) -> bool:
        walk, step = divmod(index - 1, self._max_steps)
        return index == 0 or walk >= len(self._deltas) or step + 1 <= self._n_inside[walk]
