"""Walks away from an origin, step by step."""

import dataclasses
import hashlib
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, Literal, Self, TypeGuard

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._attributes import PROPOSAL, Proposal, StoredStep
from adnn_optuna._checks import (
    WrongTypeError,
    WrongValueError,
    check_integer,
    check_number,
    check_parameters,
    check_type,
)
from adnn_optuna.samplers._indexed import IndexedSampler
from adnn_optuna.samplers._indices import Indices, ParameterSource
from adnn_optuna.samplers._trials import cost_sign
from adnn_optuna.samplers._unit_interval import nearest_value

_logger = logging.getLogger(__name__)
# Without this tolerance, a rounding error, such as in 0.1 + 0.2, could put a step out of bounds.
_TOLERANCE = 1e-9


class DeltaStepSampler(IndexedSampler):
    """Sampler that walks away from an origin with small steps of all parameters together.

    The first trial is the baseline, with every parameter at the origin. Then, for each δ of
    ``deltas``, a walk of ``max_steps`` trials starts at the origin. With ``accept="always"``, the
    t-th step of a walk sets every parameter to origin + t·δ, whether earlier steps gained or not.
    With ``accept="improving"``, a step is kept only if it improved the walk's best value so far.
    Otherwise, the walk tries the opposite step next. If the opposite step does not improve,
    either, the walk halves the step.

    Use it to look for better values near the origin with cheap trials along one line. Tens of
    trials are enough for any number of parameters. With ``accept="always"``, several workers waste
    no trials. Don't use it if the parameters have different best values, because a step is the
    same for all parameters. To search far from the origin, use
    :class:`~adnn_optuna.samplers.AdaptiveSimulatedAnnealingSampler`. Categorical parameters do not
    move. When all steps are done, the study stops, as with :class:`~optuna.samplers.GridSampler`.

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
        A new sampler with the same arguments continues where the study stopped. No two workers get
        the same step. If a worker dies, its step is repeated. If the objective fails, the step is
        not repeated. With your own objective, a step that Ctrl-C interrupted in ``study.optimize``
        is not repeated, because Optuna does not store the cause of a failure.

        If each step is done or running in another worker, a further trial repeats the baseline,
        with a warning. A walk omits steps outside the search space. With ``accept="always"``, it
        also omits all later steps. Constraints are ignored.

    References:
        With ``accept="always"`` and the defaults, this is Algorithm 1 of the paper in
        ``studies/paper.md``.

    Args:
        deltas: The step length of each walk, in units of the parameters. A negative step goes
            down. The defaults are the paper's step lengths for offsets of a network's initial
            weights. For other parameters, choose lengths so that ``max_steps`` steps cross the
            range.
        max_steps: The number of steps of each walk. It is 50 in the paper.
        accept: Which steps are kept: all (``"always"``) or steps that improve (``"improving"``).
            With noise, ``"improving"`` stays at a value that was good by chance.
        origin: Where the walks start: one value for all numerical parameters, or a mapping from
            names to values. Parameters that are not in the mapping start at 0, or at the first
            choice. If the origin is outside a parameter's values, the walk starts at the nearest
            value.
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
                f"deltas must be a sequence of numbers, one for each walk; got {deltas!r}."
            )
        for delta in deltas:
            check_number("deltas", delta)
        if not deltas or 0 in deltas:
            raise WrongValueError(
                f"deltas must have a step for each walk, none of which is 0: {deltas!r}."
            )
        check_integer("max_steps", max_steps, low=1)
        if accept not in ("always", "improving"):
            raise WrongValueError(f'accept must be "always" or "improving"; got {accept!r}.')
        self._origin = _Origin(origin)
        self._deltas = tuple(float(delta) for delta in deltas)
        self._max_steps = int(max_steps)
        self._accept = accept
        # With other arguments, the same index means another step. So samplers with different
        # arguments count their trials separately.
        identity = f"({self._deltas}, {self._max_steps}, {accept!r}, {self._origin})"
        digest = hashlib.sha256(identity.encode()).hexdigest()
        super().__init__(f"delta_step:{digest[:16]}")

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(deltas={self._deltas}, max_steps={self._max_steps}, "
            f"accept={self._accept!r}, origin={self._origin})"
        )

    def is_exhausted(self, study: Study) -> bool:
        """Return whether all steps are done, so that no further trial is needed."""
        with self._memory.lock:
            return next(self._read(study).unfinished_indices()) > self.last_index

    @property
    def last_index(self) -> int:
        """The index of the last step of the last walk."""
        return len(self._deltas) * self._max_steps

    def _place(self, index: int) -> tuple[int, int]:
        """Return the walk and the step of an index above 0. Walks and steps count from 0."""
        return divmod(index - 1, self._max_steps)

    def _remember(self, study: Study) -> Indices:
        if self._accept == "improving":
            return super()._remember(study)
        return _IndicesInside(self._key, self)

    def _step(self, study: Study, indices: Indices, proposal: Proposal) -> StoredStep:
        index = proposal["index"]
        if not index:
            return None, 0.0
        if index > self.last_index:
            _logger.warning(
                "All steps of DeltaStepSampler are done or held by other workers, so trial %d "
                "repeats the baseline.",
                proposal["owner"]["trial"],
            )
            return None, 0.0
        walk, step = self._place(index)
        if self._accept == "always":
            return None, (step + 1) * self._deltas[walk]
        awaited = [
            pending["step"]
            for of_other, pending in sorted(indices.pending().items())
            if self._place(of_other)[0] == walk and pending["step"] is not None
        ]
        sign = cost_sign(study.direction)
        walks = indices.state(proposal, lambda: _Told(self, sign))
        return walks.next_step(walk, awaited, indices.results)

    def _propose(self, study: Study, indices: Indices, proposal: Proposal) -> ParameterSource:
        start, length = proposal["step"] or (None, 0.0)
        trial = None if start is None else indices.results.get(start)

        def value(name: str, distribution: BaseDistribution) -> Any:
            place = self._origin.value(name, distribution, trial)
            if isinstance(distribution, CategoricalDistribution):
                return place
            return nearest_value(place + length, distribution)

        return value


class _Origin:
    """The start of the walks: one value for all numerical parameters, or a value for each name."""

    def __init__(self, values: float | Mapping[str, Any]) -> None:
        by_name = values if isinstance(values, Mapping) else {}
        default = 0.0 if isinstance(values, Mapping) else values
        check_parameters("origin", by_name)
        check_type("origin", default, Real, "a number or a mapping from names to values")
        check_number("origin", default)
        self._by_name = {name: _normal(by_name[name]) for name in sorted(by_name)}
        self._default = _normal(default)

    def __repr__(self) -> str:
        """Return a text that is the same only for equal origins."""
        return repr(self._by_name or self._default)

    def value(
        self, name: str, distribution: BaseDistribution, trial: FrozenTrial | None = None
    ) -> Any:
        """Return a parameter's value in ``trial``.

        If the trial has no value, return the value nearest to the origin.
        """
        if trial is not None and name in trial.params:
            check_distribution_compatibility(trial.distributions[name], distribution)
            return trial.params[name]
        if isinstance(distribution, CategoricalDistribution):
            choice = self._by_name.get(name, distribution.choices[0])
            return distribution.to_external_repr(distribution.to_internal_repr(choice))
        return nearest_value(self._by_name.get(name, self._default), distribution)


def _normal(value: Any) -> Any:
    """Return the same form for all equal numbers, and choices unchanged."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if is_number:
        return float(value) + 0.0  # -0.0 + 0.0 is 0.0.
    return value


def _moves(distribution: BaseDistribution) -> TypeGuard[FloatDistribution | IntDistribution]:
    """Return whether a step can change a parameter."""
    return not (isinstance(distribution, CategoricalDistribution) or distribution.single())


class _IndicesInside(Indices):
    """The indices whose steps stay inside the search space of all trials so far."""

    def __init__(self, key: str, walks: DeltaStepSampler) -> None:
        super().__init__(key)
        self._walks = walks
        # The number of steps inside, for each walk.
        self._n_inside = [math.inf for _ in walks._deltas]

    def add(self, trial: FrozenTrial) -> None:
        super().add(trial)
        if self.index_of(trial) is None:
            return
        for name, distribution in trial.distributions.items():
            if not _moves(distribution):
                continue
            start = self._walks._origin.value(name, distribution)
            for walk, delta in enumerate(self._walks._deltas):
                bound = distribution.high if delta > 0 else distribution.low
                n_inside = (bound - start) / delta + _TOLERANCE
                self._n_inside[walk] = min(self._n_inside[walk], n_inside)

    def is_proposed(self, index: int) -> bool:
        walk, step = self._walks._place(index)
        return index == 0 or walk >= len(self._n_inside) or step + 1 <= self._n_inside[walk]


@dataclasses.dataclass(frozen=True)
class _Leg:
    """The state of a walk. ``start`` is the index of its best trial, or None at the origin."""

    length: float  # The length of the next forward step.
    start: int | None = None
    best_value: float | None = None
    is_reversed: bool = False  # Whether the next step is in the opposite direction.

    @property
    def next_length(self) -> float:
        return -self.length if self.is_reversed else self.length

    def after(self, start: int | None, length: float) -> Self:
        """Return the state after a step of this length that failed, or has no value yet.

        If the step started from an earlier best point, the next step does not change.
        """
        if start != self.start:
            return self
        is_reversed = (length < 0) != (self.length < 0)
        size = math.copysign(length, self.length) / (2 if is_reversed else 1)
        turned = dataclasses.replace(self, length=size, is_reversed=not is_reversed)
        # Steps may end in any order, so the walk continues from the later one of two states.
        return max(self, turned, key=lambda leg: (-abs(leg.length), leg.is_reversed))


@dataclasses.dataclass
class _Told:
    """Walks that keep only improving steps. ``sign`` is -1 if the study is maximized."""

    walks: DeltaStepSampler
    sign: int
    # The legs by the walk's number.
    legs: Mapping[int, _Leg] = dataclasses.field(default_factory=dict)
    baseline: float = math.inf
    distributions: Mapping[str, BaseDistribution] = dataclasses.field(default_factory=dict)

    def tell(self, index: int | None, trial: FrozenTrial) -> None:
        if index is None:  # A trial of another sampler is not a step.
            return
        self.distributions = {**self.distributions, **trial.distributions}
        is_complete = trial.state == TrialState.COMPLETE
        value = self.sign * trial.values[0] if is_complete else math.inf
        if index == 0:
            self.baseline = value
            return
        walk, _ = self.walks._place(index)
        if walk >= len(self.walks._deltas):  # The trial was requested after the last step.
            return
        start, length = trial.system_attrs[PROPOSAL]["step"]
        leg = self._leg(walk)
        best_value = self.baseline if leg.best_value is None else leg.best_value
        # Continue in the direction that improved.
        leg = _Leg(length, index, value) if value < best_value else leg.after(start, length)
        self.legs = {**self.legs, walk: leg}

    def next_step(
        self, walk: int, awaited: Iterable[StoredStep], results: Mapping[int, FrozenTrial]
    ) -> StoredStep:
        """Return the next step of a walk, given the steps without a value yet."""
        leg = self._leg(walk)
        for step in awaited:
            leg = leg.after(*step)
        # Every second failure halves the step, so after 100 turns a step is 0.
        for _ in range(100):
            if self._is_inside(leg, results):
                break
            leg = leg.after(leg.start, leg.next_length)
        return leg.start, leg.next_length

    def _leg(self, walk: int) -> _Leg:
        return self.legs.get(walk, _Leg(self.walks._deltas[walk]))

    def _is_inside(self, leg: _Leg, results: Mapping[int, FrozenTrial]) -> bool:
        # Only known ranges are checked: a trial that failed early has no parameters.
        trial = None if leg.start is None else results.get(leg.start)
        length = leg.next_length
        tolerance = _TOLERANCE * abs(leg.length)
        return all(
            distribution.low - tolerance
            <= self.walks._origin.value(name, distribution, trial) + length
            <= distribution.high + tolerance
            for name, distribution in self.distributions.items()
            if _moves(distribution)
        )
