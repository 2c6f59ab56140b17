"""Walks away from an origin, step by step."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from optuna.study import StudyDirection

from adnn_optuna._checks import check_integer, check_number
from adnn_optuna.samplers._indexed_sampler import IndexedSampler, ParameterSource
from adnn_optuna.samplers._liveness import LivenessCheck
from adnn_optuna.samplers._replay import Replay
from adnn_optuna.samplers._walk import Origin, StepsInside, Walk, step_on_ray

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optuna.study import Study
    from optuna.trial import FrozenTrial, TrialState

    from adnn_optuna.samplers._history import History, IndexFilter

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class WalkStep:
    """Which step of which walk a trial is.

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


class DeltaStepSampler(IndexedSampler[Replay[Walk]]):
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
        batch_size:
            The number of trials that are asked for before any of them is told, 1 by default. Steps
            of the same batch know nothing of each other's values; with ``"improving"``, the best
            improving one is kept. With ``"always"`` it makes no difference.
    """

    def __init__(
        self,
        deltas: Sequence[float] = (0.0025, 0.003),
        max_steps: int = 50,
        accept: Literal["always", "improving"] = "always",
        origin: float | Mapping[str, Any] = 0.0,
        batch_size: int = 1,
    ) -> None:
        _check_deltas(deltas)
        check_integer("max_steps", max_steps, low=1)
        if not isinstance(accept, str) or accept not in ("always", "improving"):
            raise ValueError(f'`accept` must be "always" or "improving", but is {accept!r}.')
        check_integer("batch_size", batch_size, low=1)
        self._origin = Origin(origin)
        self._deltas = tuple(float(delta) for delta in deltas)
        self._max_steps = int(max_steps)
        self._accept = accept
        self._batch_size = int(batch_size)
        # What an index means depends on all of these, so walks that differ are counted apart.
        identity = f"({self._deltas}, {self._max_steps}, {accept!r}, {self._origin.identity})"
        digest = hashlib.sha256(identity.encode()).hexdigest()
        super().__init__(f"delta_step:{digest[:16]}", self._batch_size)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(deltas={self._deltas}, max_steps={self._max_steps}, "
            f"accept={self._accept!r}, origin={self._origin}, batch_size={self._batch_size})"
        )

    def steps(self, study: Study) -> list[WalkStep]:
        """Return which step each finished trial is, in the order of the walks.

        Args:
            study: A study that was searched by a sampler with the same arguments.
        """
        with self._lock:
            results = self._ledger.history(study).results
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
            return self._ledger.history(study).unfinished_index() > self._last_index

    def n_free_steps(self, study: Study, at_most: int = 1) -> int:
        """Return how many steps there are that are neither done nor held by a live trial.

        Args:
            study: The study, which those who ask for several trials at once ask for no more.
            at_most: The number that is enough to know of.
        """
        with self._lock:
            history = self._ledger.history(study)
            held = history.held_indices(LivenessCheck(study))
            index = history.free_index(held)
            for n_free in range(at_most):
                if index > self._last_index:
                    return n_free
                index = history.free_index(held, index + 1)
            return at_most

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Stop the study if there is no further step to do."""
        super().after_trial(study, trial, state, values)
        # Those who ask and tell stop by themselves, and `study.stop` raises for them.
        if study._thread_local.in_optimize_loop and not study._is_multi_objective():
            with self._lock:
                if self._is_next_step_missing(study, trial):
                    study.stop()

    @property
    def _last_index(self) -> int:
        return len(self._deltas) * self._max_steps

    def _is_next_step_missing(self, study: Study, trial: FrozenTrial) -> bool:
        history = self._ledger.latest_history(study)
        own = {history.index_of(trial) or 0}
        held = own | history.held_indices(LivenessCheck(study))
        if history.n_unfinished > 1 or history.free_index(held) > self._last_index:
            # Other workers may have done the rest, or left something to do, meanwhile.
            history = self._ledger.history(study)
            held = own | history.held_indices(LivenessCheck(study))
        return history.free_index(held) > self._last_index

    def _new_filter(self) -> IndexFilter:
        if self._accept == "improving":
            return super()._new_filter()
        return StepsInside(self._origin, self._deltas, self._max_steps)

    def _remember(self, study: Study, history: History) -> Replay[Walk]:
        sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
        return Replay(
            history, Walk(self._origin, self._deltas, self._max_steps, self._batch_size, sign)
        )

    def _propose(
        self,
        memory: Replay[Walk],
        history: History,
        index: int | None,
        number: int,
    ) -> ParameterSource:
        if index is not None and index > self._last_index:
            index = history.unfinished_index()
            if index > self._last_index:
                index = 0
            _logger.warning(
                "All steps of `DeltaStepSampler` are done or held by other workers, so trial %d "
                "repeats %s.",
                number,
                f"step {index}" if index else "the baseline",
            )
        if index and self._accept == "improving":
            return memory.state_before(index).step(index)
        return step_on_ray(self._origin, self._deltas, self._max_steps, index or 0)


def _check_deltas(deltas: Any) -> None:
    if isinstance(deltas, str | bytes | bytearray) or not isinstance(deltas, Sequence):
        raise TypeError(
            f"`deltas` must be a sequence of numbers, one for each walk, but is {deltas!r}."
        )
    if not deltas:
        raise ValueError("`deltas` is empty, but must have the step of at least one walk.")
    for delta in deltas:
        check_number("deltas", delta)
        if delta == 0:
            raise ValueError(
                f"`deltas` must not contain 0, a step that leads nowhere: {deltas!r}."
            )
