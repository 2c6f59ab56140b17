"""The arms of comparisons, by name: searchers, and controls that spend the same compute otherwise.

All that is to be known of an arm is its entry in :data:`ARMS`. An Optuna sampler, or a factory of
one, stands for a searcher everywhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, cast

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import (
    BaseSampler,
    BruteForceSampler,
    CmaEsSampler,
    GPSampler,
    GridSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import Study

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Proposal, Trained
from adnn_optuna._checks import WrongTypeError, WrongValueError, check_installed
from adnn_optuna.engine.ensembles import EnsembleObjective
from adnn_optuna.engine.objective import InitOffsetObjective, OneTrialObjective
from adnn_optuna.engine.outcomes import Outcome
from adnn_optuna.engine.storages import patiently
from adnn_optuna.networks.offsets import RESTARTS, SHARED, ControlSpace, OffsetSpace
from adnn_optuna.samplers import (
    AdaptiveSimulatedAnnealingSampler,
    DeltaStepSampler,
    KeyedSampler,
    RandomRestartSampler,
)
from adnn_optuna.samplers._indexed import Indices, ParameterSource
from adnn_optuna.samplers._keyed import COUNTING, KeyedIndexSampler

Searcher = str | BaseSampler | Callable[[int, int | None], BaseSampler]
"""A name, a sampler, or a factory ``(seed, n_trials) -> sampler``."""

# Samplers that have proposed all that they can at some time.
_ENUMERATING = (DeltaStepSampler, GridSampler, BruteForceSampler)


@dataclasses.dataclass(frozen=True)
class Arm:
    """A searcher or a control.

    Args:
        name: How studies and the command line call it.
        sampler: What proposes its trials, of the objective's seed and parameters and the number
            of trials that its schedule may be made for.
        help: What it does, in a few words.
        objective: What it searches, of the objective that is compared and the number of trials.
        is_control: Whether it is no search.
        ends_by_itself: Whether it has proposed all that it can at some time.
        starts_at_baseline: Whether it begins with the unmoved network, without being told.
        is_batched: Whether what it proposes does not depend on what came of the others.
        spent: How a control spent the compute of a search, as a part of a sentence.
        later: What its winner costs ever after, where that is of ``n`` networks.
        repeats: Whether its winner can be taken along to other seeds, and may gain there, too.
    """

    name: str
    sampler: Callable[[int, Mapping[str, BaseDistribution], int | None], BaseSampler]
    help: str = ""
    objective: Callable[[InitOffsetObjective, int | None], InitOffsetObjective] = lambda o, _: o
    is_control: bool = False
    ends_by_itself: bool = False
    starts_at_baseline: bool = True
    is_batched: bool = False
    spent: str = ""
    later: str = ""
    repeats: bool = True


class LongerObjective(OneTrialObjective):
    """Trains the unmoved network once; the value of a trial is that of its best epoch.

    Its parameter is the number of that epoch, which the training finds. What it reports are the
    values of the epochs that were the best so far.
    """

    @classmethod
    def of_search(cls, objective: InitOffsetObjective, n_trials: int) -> Self:
        """Return the longer training for the epochs of ``n_trials`` trials of an objective."""
        if objective.is_of_trial:
            raise WrongValueError(
                "The control 'longer' is one training of one network, but model or training is a "
                "function of the trial: leave out this control."
            )
        epochs = objective.training.epochs
        return cls.like(objective, ControlSpace("epochs", epochs, 1, epochs * n_trials))

    def train(self, trials: Sequence[optuna.Trial], **limits: Any) -> list[Outcome]:
        """Train for all epochs, or until a limit; a training that is stopped begins anew."""
        [trial] = trials
        space = cast("ControlSpace", self.space)
        [run] = self.trainer.train([self.start({space.parameter: space.high})], **limits)
        if run.status == "stopped" or not run.history:
            return [Outcome(run.status)]
        # One that ended earlier by itself is whole, one that was cut off is none.
        if run.status != "timeout" or len(run.history) >= space.unmoved:
            patiently(self.set_baseline, trial.study, run.history[: int(space.unmoved)][-1])
        best, value = len(run.history) - 1, math.nan
        for epoch, metrics in enumerate(run.history):
            found = self.value(metrics)
            # The first of equals; any number is better than none.
            if self.improvement(found, value) > 0 or (math.isnan(value) > math.isnan(found)):
                best, value = epoch, found
                patiently(trial.report, value, epoch)
        trained: Trained = {"seconds": run.seconds, "epochs": run.epochs}
        if math.isnan(value):
            return [Outcome("diverged", None, run.metrics, trained)]
        self.store_found(trial, best + 1)
        return [Outcome("complete", value, run.history[best], trained)]


class _OneTrialSampler(RandomRestartSampler):
    """Proposes one trial, which finds its parameters by itself."""

    @property
    def last_index(self) -> float:
        return 0


class _OnGridSampler(RandomRestartSampler):
    """Proposes values all over the one offset's range, one after the other, and then any."""

    def __init__(self, seed: int, n_trials: int, *, is_told_unmoved: bool) -> None:
        super().__init__(seed=seed)
        self._n_trials, self._is_told_unmoved = n_trials, is_told_unmoved

    def _propose(self, study: Study, indices: Indices, proposal: Proposal) -> ParameterSource:
        index, at_random = proposal["index"], super()._propose(study, indices, proposal)

        def value(name: str, distribution: BaseDistribution) -> Any:
            if name != SHARED or index is None or not isinstance(distribution, FloatDistribution):
                return at_random(name, distribution)
            # At least one on each side of the unmoved network.
            values = np.linspace(distribution.low, distribution.high, max(self._n_trials, 3))
            if self._is_told_unmoved:  # It takes one's place.
                values = np.delete(values, np.abs(values).argmin())
            return float(values[index]) if index < len(values) else at_random(name, distribution)

        return value


def _keyed(
    kind: Callable[..., BaseSampler], package: str | None = None
) -> Callable[[int, Mapping[str, BaseDistribution], int | None], BaseSampler]:
    """Return what makes one of Optuna's samplers, which may need a package of its own."""

    def sampler(seed: int, _: Mapping[str, BaseDistribution], n_trials: int | None) -> BaseSampler:
        if package is not None:
            check_installed(package, f"Optuna's {kind.__name__}")
        return KeyedIndexSampler(KeyedSampler(lambda seed, _: kind(seed=seed), seed, n_trials))

    return sampler


_tpe = _keyed(TPESampler)
# The unmoved network and one random rate: with Optuna's ten, short searches are random throughout.
# As many for any number of trials, so that one that goes on is as one that never stopped.
_tpe_of_control = _keyed(functools.partial(TPESampler, n_startup_trials=2))


def _annealing(
    seed: int, parameters: Mapping[str, BaseDistribution], n_trials: int | None
) -> BaseSampler:
    x0 = dict.fromkeys(parameters, 0.0)
    return AdaptiveSimulatedAnnealingSampler(seed=seed, n_trials=n_trials, x0=x0)


def _of_learning_rates(objective: InitOffsetObjective, _: int | None) -> InitOffsetObjective:
    if (rate := objective.fixed_learning_rate) is None:
        raise WrongValueError(
            "The control 'learning_rate' needs one rate to search around, but the optimizer has "
            "none: give it a number, or leave out this control."
        )
    return objective.replace(space=ControlSpace("learning_rate", rate, rate / 100, rate * 100))


def _of_one_offset(objective: InitOffsetObjective, _: int | None) -> InitOffsetObjective:
    """Return the objective of one parameter that moves all that the searchers move."""
    assert isinstance(objective.space, OffsetSpace)
    return objective.replace(space=dataclasses.replace(objective.space, scope="shared"))


ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm(
            stored.GREEDY,
            lambda *_: DeltaStepSampler(),
            help="the paper's walk",
            ends_by_itself=True,
            is_batched=True,
        ),
        Arm(
            stored.GREEDY_IMPROVING,
            lambda *_: DeltaStepSampler(accept="improving"),
            help="keeps only steps that improve",
            ends_by_itself=True,
        ),
        Arm(stored.ANNEALING, _annealing, help="simulated annealing"),
        Arm(
            stored.RANDOM_RESTART,
            lambda seed, *_: RandomRestartSampler(seed=seed),
            help="new random weights instead of offsets, by which luck is told",
            objective=lambda objective, _: objective.replace(space=RESTARTS),
            is_batched=True,
            repeats=False,
        ),
        Arm(
            stored.RANDOM,
            _keyed(RandomSampler),
            help="offsets at random",
            starts_at_baseline=False,
            is_batched=True,
        ),
        Arm(
            "qmc",
            # It counts its trials in the study, under one seed.
            lambda seed, *_: QMCSampler(seed=seed, scramble=True),
            help="quasi-random offsets, a Sobol sequence",
            starts_at_baseline=False,
            is_batched=True,
        ),
        Arm("tpe", _tpe, help="tree-structured Parzen estimators", starts_at_baseline=False),
        Arm(
            "cmaes",
            _keyed(CmaEsSampler, "cmaes"),
            help="CMA-ES, which needs the package cmaes",
            starts_at_baseline=False,
        ),
        Arm(
            "gp",
            _keyed(GPSampler, "torch"),
            help="Gaussian processes, which need the package torch",
            starts_at_baseline=False,
        ),
        Arm(
            stored.LONGER,
            lambda *_: _OneTrialSampler(),
            help="one training for the epochs of all trials, its best epoch",
            objective=lambda objective, n: LongerObjective.of_search(objective, n or 1),
            is_control=True,
            ends_by_itself=True,
            spent="on one longer training",
            repeats=False,
        ),
        Arm(
            stored.LEARNING_RATE,
            _tpe_of_control,
            help="TPE over four decades around the given rate, nothing moved",
            objective=_of_learning_rates,
            is_control=True,
            starts_at_baseline=False,
            spent="on the learning rate",
        ),
        Arm(
            stored.CONSTANT,
            # Of a function of the trial, nobody knows the parameters before.
            lambda seed, known, n: _OnGridSampler(seed, n or 1, is_told_unmoved=bool(known)),
            help="one offset for all layers, on a grid",
            objective=_of_one_offset,
            is_control=True,
            starts_at_baseline=False,
            spent="on one offset for all layers",
        ),
        Arm(
            stored.ENSEMBLE,
            lambda *_: _OneTrialSampler(),
            help="as many networks, nothing moved, averaged",
            objective=lambda objective, n: EnsembleObjective.of_search(objective, n or 1),
            is_control=True,
            ends_by_itself=True,
            spent="on networks that are averaged",
            later="predicting costs {n} times as much",
            repeats=False,
        ),
        Arm(stored.OBJECTIVE, _tpe_of_control, is_control=True, repeats=False),
    )
}
SEARCHERS: tuple[str, ...] = tuple(name for name, arm in ARMS.items() if not arm.is_control)
# Those that have a name for users.
CONTROLS: tuple[str, ...] = tuple(n for n, arm in ARMS.items() if arm.is_control and arm.help)


def may_repeat(name: str) -> bool:
    """Return whether a winner may repeat, by the name of what searched it, such as a sampler."""
    return name not in ARMS or ARMS[name].repeats


def arm_of(searcher: Searcher) -> Arm:
    """Return the arm that a name, a sampler or a factory stands for."""
    if isinstance(searcher, str):
        return ARMS[searcher]
    if isinstance(searcher, BaseSampler):
        return Arm(
            type(searcher).__name__,
            lambda *_: searcher,
            ends_by_itself=isinstance(searcher, _ENUMERATING),
            starts_at_baseline=False,
        )
    # Not to be taken for an arm of ours that has the same name.
    name = f"{getattr(searcher, '__qualname__', type(searcher).__qualname__)}()"

    def sampler(seed: int, _: Mapping[str, BaseDistribution], n_trials: int | None) -> BaseSampler:
        made: Any = searcher(seed, n_trials)
        if not isinstance(made, BaseSampler):
            raise WrongTypeError(
                f"The factory {name} must return an Optuna sampler, but it returned {made!r}."
            )
        if isinstance(made, COUNTING):
            return made
        return KeyedIndexSampler(KeyedSampler(searcher, seed, n_trials))

    return Arm(name, sampler, starts_at_baseline=False)


def check_searcher(searcher: object) -> None:
    """Refuse what is neither a searcher's name nor a sampler nor a factory of one."""
    if isinstance(searcher, str) and searcher not in SEARCHERS:
        raise WrongValueError(
            f"sampler is {searcher!r}, but the searchers are called {', '.join(SEARCHERS)}; "
            "for any other give an Optuna sampler."
        )
    if isinstance(searcher, str | BaseSampler):
        return
    if not callable(searcher) or isinstance(searcher, type):
        raise WrongTypeError(
            "sampler must be a name, an Optuna sampler or a function (seed, n_trials) -> sampler, "
            f"but it is {searcher!r}."
        )
    # Not every function of an extension module tells what it takes.
    with contextlib.suppress(ValueError):
        try:
            inspect.signature(searcher).bind(0, None)
        except TypeError as error:
            raise WrongTypeError(
                f"The factory {arm_of(searcher).name} must take (seed, n_trials), but it does "
                f"not ({error})."
            ) from None
