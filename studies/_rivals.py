"""Optimizers of other packages as samplers: SMAC, ConfOpt, and CatCMA with margin.

Each optimizer has the defaults of its package, unless its class says otherwise. Users must declare
the search space, so each optimizer knows the space before the first trial. OptunaHub publishes
such samplers, too, but loads them from the network.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
import random
import tempfile
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from _case import Case
    from optuna.trial import FrozenTrial, TrialState

_N_DRAWS = 100  # Enough random trials to find all parameters and conditions of a problem.


@dataclasses.dataclass(frozen=True)
class Axis:
    """A parameter as these packages know it: each value is a position on a continuous axis.

    Args:
        distribution: The parameter in Optuna.
        kind: Whether a position is the index of a choice, an integer or a real number.
        low: The lowest position.
        high: The highest position.
        log: Whether the axis is logarithmic.
    """

    distribution: Any
    kind: Literal["choice", "integer", "real"]
    low: float
    high: float
    log: bool = False

    @classmethod
    def of(cls, distribution: Any) -> Axis:
        """Return the axis of a parameter."""
        if isinstance(distribution, CategoricalDistribution):
            return cls(distribution, "choice", 0, len(distribution.choices) - 1)
        low, high, step = distribution.low, distribution.high, distribution.step
        if step is None:
            return cls(distribution, "real", low, high, distribution.log)
        if distribution.log:
            return cls(distribution, "integer", low, high, log=True)
        return cls(distribution, "integer", 0, round((high - low) / step))

    @property
    def values(self) -> range:
        """All positions, if their number is finite."""
        return range(int(self.low), int(self.high) + 1)

    def value(self, place: float) -> Any:
        """Return the parameter's value at a position."""
        if self.kind == "choice":
            return self.distribution.choices[int(place)]
        if self.kind == "real":
            return float(place)
        return int(place) if self.log else self.distribution.low + self.distribution.step * place

    def place(self, value: Any) -> float:
        """Return the position of a value."""
        if self.kind == "integer" and not self.log:
            return round((value - self.distribution.low) / self.distribution.step)
        place: float = self.distribution.to_internal_repr(value)
        return place if self.kind == "real" else int(place)


Places = dict[str, float]
# Another parameter, and those of its positions for which a parameter exists.
Condition = tuple[str, list[float]]


@dataclasses.dataclass(frozen=True)
class Space:
    """The parameters of a problem, and which of them exist only under a condition."""

    axes: Mapping[str, Axis]
    conditions: Mapping[str, Condition]

    @classmethod
    def of(cls, case: Case) -> Space:
        """Return the space of a case. Random trials, which no sampler sees, find it."""
        study = optuna.create_study(sampler=RandomSampler(seed=0))
        study.optimize(
            lambda trial: case.objective(trial, 0), _N_DRAWS if case.is_conditional else 1
        )
        trials = study.get_trials(deepcopy=False)
        axes = {
            name: Axis.of(distribution)
            for trial in trials
            for name, distribution in trial.distributions.items()
        }
        places = [{name: axes[name].place(v) for name, v in t.params.items()} for t in trials]
        always = set(axes).intersection(*places)
        finite = [name for name in axes if name in always and axes[name].kind != "real"]
        parents = sorted(finite, key=lambda name: len(axes[name].values))
        others = [name for name in axes if name not in always]
        return cls(axes, {name: _condition_of(name, places, parents) for name in others})


def _condition_of(name: str, places: Sequence[Places], parents: Sequence[str]) -> Condition:
    """Return the first parent parameter that decides whether a parameter exists, and how."""
    for parent in parents:
        found = {of[parent] for of in places if name in of}
        if found.isdisjoint(of[parent] for of in places if name not in of):
            return parent, sorted(found)
    raise ValueError(f"{name} must depend on one parameter; it depends on several.")


class Rival(BaseSampler, abc.ABC):
    """A sampler that proposes points from another package's optimizer.

    Args:
        case: The case for which the sampler runs. No other sampler proposes trials in its study.
    """

    def __init__(self, case: Case) -> None:
        self._space = Space.of(case)
        self._seed, self._n_trials, self._start = case.seed, case.trials, case.start
        self._asked: Places = {}

    @abc.abstractmethod
    def ask(self) -> Places:
        """Return the positions to evaluate next."""

    @abc.abstractmethod
    def tell(self, places: Places, value: float) -> None:
        """Learn a value. For an enqueued trial, the positions differ from the asked positions."""

    def infer_relative_search_space(self, *_: Any) -> dict[str, BaseDistribution]:
        """Return the distributions of all parameters."""
        return {name: axis.distribution for name, axis in self._space.axes.items()}

    def sample_relative(self, *_: Any) -> dict[str, Any]:
        """Return the next trial's parameters, without those that do not exist in the trial."""
        self._asked = self.ask()
        return {name: self._space.axes[name].value(place) for name, place in self._asked.items()}

    def sample_independent(self, _: Any, __: Any, param_name: str, ___: Any) -> Any:
        """Refuse a parameter that the optimizer did not know."""
        raise RuntimeError(f"{type(self).__name__} proposed no value for {param_name}.")

    def after_trial(
        self,
        study: optuna.Study,  # noqa: ARG002
        trial: FrozenTrial,
        state: TrialState,  # noqa: ARG002
        values: Sequence[float] | None,
    ) -> None:
        """Tell the optimizer a trial's value."""
        if values is None:  # The trial failed, and its error will be raised.
            return
        places = {name: self._space.axes[name].place(v) for name, v in trial.params.items()}
        self.tell(places, values[0])


class SMACSampler(Rival):
    """SMAC 3 with random forests, in its facade for hyperparameters, which supports conditions.

    This facade is for spaces with categories and conditions; SMAC's black-box facade is for few
    real numbers. With `deterministic`, SMAC does not repeat configurations. Repetitions would use
    up trials, and the recommendation does not use them: it is the best reported value.
    """

    @functools.cached_property
    def _facade(self) -> Any:
        import ConfigSpace
        from smac import HyperparameterOptimizationFacade, Scenario

        space = ConfigSpace.ConfigurationSpace(seed=self._seed)
        for name, axis in self._space.axes.items():
            if axis.kind == "choice":
                space.add(ConfigSpace.CategoricalHyperparameter(name, [*axis.values]))
            elif axis.kind == "integer":
                ends = int(axis.low), int(axis.high)
                space.add(ConfigSpace.UniformIntegerHyperparameter(name, *ends, log=axis.log))
            else:
                ends = axis.low, axis.high
                space.add(ConfigSpace.UniformFloatHyperparameter(name, *ends, log=axis.log))
        for name, (parent, places) in self._space.conditions.items():
            space.add(ConfigSpace.InCondition(space[name], space[parent], places))
        with tempfile.TemporaryDirectory() as folder:  # SMAC writes its settings to a folder.
            scenario = Scenario(
                space,
                deterministic=True,
                n_trials=self._n_trials,
                seed=self._seed,
                output_directory=folder,
            )
            return HyperparameterOptimizationFacade(scenario, logging_level=False, overwrite=True)

    def ask(self) -> Places:
        """Return the next configuration."""
        self._info = self._facade.ask()
        return dict(self._info.config)

    def tell(self, places: Places, value: float) -> None:
        """Learn a value."""
        from ConfigSpace import Configuration
        from smac.runhistory import TrialInfo, TrialValue

        if places != self._asked:
            space = self._facade.scenario.configspace
            self._info = TrialInfo(Configuration(space, values=places), seed=0)
        self._facade.tell(self._info, TrialValue(cost=value), save=False)


class ConfOptSampler(Rival):
    """ConfOpt 2 with its default settings; it does not support conditions.

    ConfOpt has no ask and tell, so this class repeats the steps of ``ConformalTuner.tune``.
    """

    n_random = 15  # The default of ConfOpt.

    @functools.cached_property
    def _tuner(self) -> Any:
        from confopt.tuning import ConformalTuner
        from confopt.wrapping import CategoricalRange, FloatRange, IntRange

        space: dict[str, Any] = {}
        for name, axis in self._space.axes.items():
            if axis.kind == "choice":
                space[name] = CategoricalRange(choices=[*axis.values])
            else:
                kind = IntRange if axis.kind == "integer" else FloatRange
                space[name] = kind(min_value=axis.low, max_value=axis.high, log_scale=axis.log)
        tuner = ConformalTuner(lambda configuration: math.nan, space)  # noqa: ARG005 - ConfOpt needs it.
        tuner.initialize_tuning_resources()
        return tuner

    @functools.cached_property
    def _proposer(self) -> Any:
        from confopt.selection.acquisition import QuantileConformalSearcher
        from confopt.selection.sampling.thompson_samplers import ThompsonSampler

        return QuantileConformalSearcher(
            quantile_estimator_architecture="qgbm",
            sampler=ThompsonSampler(
                n_quantiles=4, adapter="DtACI", enable_optimistic_sampling=False
            ),
            calibration_split_strategy="adaptive",
            n_calibration_folds=5,
            n_pre_conformal_trials=32,
        )

    def ask(self) -> Places:
        """Return the next configuration."""
        known = self._tuner.config_manager
        n_told = len(known.searched_configs)
        # ConfOpt draws from global random generators.
        random.seed(1000 * self._seed + n_told)
        np.random.seed(1000 * self._seed + n_told)  # noqa: NPY002
        candidates = known.get_searchable_configurations()
        if n_told < self.n_random:
            return dict(candidates[np.random.choice(len(candidates))])  # noqa: NPY002
        told = known.tabularize_configs(known.searched_configs)
        values = np.array(known.searched_performances)
        self._tuner.retrain_searcher(self._proposer, told, values, 0)
        places = known.tabularize_configs(candidates)
        return dict(self._tuner.select_next_configuration(self._proposer, candidates, places))

    def tell(self, places: Places, value: float) -> None:
        """Learn a value."""
        known = self._tuner.config_manager
        if len(known.searched_configs) >= self.n_random:
            self._proposer.update(X=known.tabularize_configs([places]).flatten(), y_true=value)
        known.mark_as_searched(places, value)


class CatCMAwMSampler(Rival):
    """CatCMA with margin from the package cmaes; it does not support conditions.

    As its documentation advises, an integer of two values is a category. An enqueued first trial
    becomes its first mean, because it cannot learn points that it did not propose.
    """

    def _part(self, axis: Axis) -> Literal["x", "z", "c"]:
        """Return whether a parameter is continuous, discrete or a category."""
        if axis.kind == "real":
            return "x"
        return "c" if axis.kind == "choice" or len(axis.values) == 2 else "z"

    @functools.cached_property
    def _optimizer(self) -> Any:
        from cmaes import CatCMAwM

        spaces: dict[str, list[Any]] = {"x": [], "z": [], "c": []}
        for axis in self._space.axes.values():
            part = self._part(axis)
            if part == "c":
                spaces[part].append(len(axis.values))
            else:
                places = (axis.low, axis.high) if part == "x" else axis.values
                spaces[part].append(np.log(places) if axis.log else np.array(places, float))
        self._told: list[tuple[Any, float]] = []
        return CatCMAwM(
            **{f"{part}_space": space or None for part, space in spaces.items()},
            mean=None if self._start is None else np.array([*self._start.values()]),
            seed=self._seed,
        )

    def ask(self) -> Places:
        """Return the next solution."""
        self._solution = self._optimizer.ask()
        parts = {
            part: iter(() if (of := getattr(self._solution, part)) is None else of)
            for part in "xzc"
        }
        places = {}
        for name, axis in self._space.axes.items():
            part = self._part(axis)
            found = next(parts[part])
            if part == "c":
                found = axis.low + np.argmax(found)
            elif axis.log:
                found = math.exp(found)
            places[name] = float(np.clip(found, axis.low, axis.high))
            if axis.kind != "real":
                places[name] = round(places[name])
        return places

    def tell(self, places: Places, value: float) -> None:
        """Learn the values of a generation once the generation is complete."""
        if places != self._asked:
            return
        self._told.append((self._solution, value))
        if len(self._told) == self._optimizer.population_size:
            self._optimizer.tell(self._told)
            self._told = []
