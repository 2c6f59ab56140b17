"""Adaptive simulated annealing as an Optuna sampler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.study import StudyDirection
from optuna.trial import TrialState

from adnn_optuna.samplers._asa import AdaptiveSimulatedAnnealing, Options
from adnn_optuna.samplers._checks import check_integer
from adnn_optuna.samplers._indexed_sampler import IndexedSampler, ParameterSource
from adnn_optuna.samplers._random_numbers import check_seed, draw_key, stored_seed
from adnn_optuna.samplers._replay import Replay
from adnn_optuna.samplers._unit_interval import from_unit, n_choices, to_unit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from adnn_optuna.samplers._ledger import History


class AdaptiveSimulatedAnnealingSampler(IndexedSampler["Replay[_Chain]"]):
    """Sampler using Ingber's adaptive simulated annealing (ASA).

    Args:
        seed: Seed of the random numbers.
        n_trials: The number of trials that the cooling is made for.
        x0: The first trial's parameters.
        batch_size: The number of trials proposed before any of them is finished.
    """

    def __init__(
        self,
        seed: int | None = None,
        n_trials: int | None = None,
        x0: Mapping[str, Any] | None = None,
        batch_size: int = 1,
    ) -> None:
        check_seed(seed)
        if n_trials is not None:
            check_integer("n_trials", n_trials, low=1)
        check_integer("batch_size", batch_size, low=1)
        super().__init__("annealing", batch_size)
        self._seed = seed
        self._x0 = dict(x0 or {})
        self._options = Options(n_trials=n_trials, initial_temperature=0.1 if x0 else 1.0)

    def _remember(self, study: Study, history: History) -> Replay[_Chain]:
        sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
        annealing = AdaptiveSimulatedAnnealing(stored_seed(study, self._seed), self._options)
        return Replay(history, _Chain(annealing, sign))

    def _propose(
        self, memory: Replay[_Chain], history: History, index: int | None, number: int
    ) -> ParameterSource:
        key = draw_key(index, number)
        if index is None:
            index = history.unfinished_index()
        return _Point(memory.state_before(index), index, key, self._x0)


class _Chain:
    """An annealing that is told trials, and each coordinate's parameter."""

    def __init__(self, annealing: AdaptiveSimulatedAnnealing, sign: int) -> None:
        self.annealing = annealing
        self.distributions: dict[str, BaseDistribution] = {}
        self._sign = sign

    def copy(self) -> Self:
        other = type(self)(self.annealing.copy(), self._sign)
        other.distributions = self.distributions.copy()
        return other

    def tell(self, index: int | None, trial: FrozenTrial | None) -> None:
        if trial is None or trial.state != TrialState.COMPLETE:
            # The value of a pruned trial is one of an unfinished training.
            return
        assert trial.value is not None
        x = np.full(len(self.distributions), np.nan)
        for name, distribution in trial.distributions.items():
            if distribution.single():
                continue
            if name not in self.distributions:
                self.distributions[name] = distribution
                self.annealing.add_coordinate(name, n_choices(distribution))
                x = np.append(x, np.nan)
            # The scale of a coordinate is that of the first trial, even if the range changes.
            column = list(self.distributions).index(name)
            x[column] = to_unit(trial.params[name], self.distributions[name])
        self.annealing.tell(index, x, self._sign * trial.value)


class _Point:
    """A point of the annealing as parameters."""

    def __init__(self, chain: _Chain, index: int, key: int, x0: Mapping[str, Any]) -> None:
        self._annealing = chain.annealing
        self._distributions = chain.distributions
        self._columns = {name: column for column, name in enumerate(chain.distributions)}
        self._index = index
        self._key = key
        self._x0 = x0
        self._n_dims = self._annealing.n_dims if chain.distributions else max(len(x0), 1)
        self._units = self._annealing.ask(index, key)

    def value(self, name: str, distribution: BaseDistribution) -> Any:
        if self._key == 0 and name in self._x0:
            value = self._x0[name]
            if distribution._contains(distribution.to_internal_repr(value)):
                return distribution.to_external_repr(distribution.to_internal_repr(value))
            return from_unit(min(max(to_unit(value, distribution), 0.0), 1.0), distribution)

        column = self._columns.get(name)
        center = None
        if column is not None:
            known = self._distributions[name]
            if known == distribution:
                return from_unit(float(self._units[column]), distribution)
            # The range has changed since.
            x = float(self._annealing.x[column])
            if not np.isnan(x):
                center = to_unit(from_unit(x, known), distribution)
        elif name in self._x0:
            center = to_unit(self._x0[name], distribution)
        unit = self._annealing.draw(
            name,
            n_choices(distribution),
            center,
            index=self._index,
            key=self._key,
            n_dims=self._n_dims,
        )
        return from_unit(unit, distribution)
