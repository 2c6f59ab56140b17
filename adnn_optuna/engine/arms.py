"""The arms of comparisons, by name: samplers, and controls that spend the same compute otherwise.

All that is to be known of an arm is its entry in :data:`ARMS`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

from optuna import samplers
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler

from adnn_optuna import _attributes as stored
from adnn_optuna._checks import WrongTypeError, WrongValueError, check_installed
from adnn_optuna.engine.controls import EnsembleObjective, LongerObjective
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.networks.offsets import RESTARTS, SHARED, ControlSpace, OffsetSpace
from adnn_optuna.samplers import (
    AdaptiveSimulatedAnnealingSampler,
    DeltaStepSampler,
    KeyedSampler,
    RandomRestartSampler,
)
from adnn_optuna.samplers._controls import GridOffsetSampler, OneTrialSampler
from adnn_optuna.samplers._keyed import COUNTING, KeyedIndexSampler

SamplerSpec = str | BaseSampler | Callable[[int, int | None], BaseSampler]
"""A name, a sampler, or a factory ``(seed, n_trials) -> sampler``."""
ArmSpec = SamplerSpec | tuple[SamplerSpec, float]
"""A sampler, in comparisons of functions also with the share of its trials that are replicates."""

_SamplerOf = Callable[[int, Mapping[str, BaseDistribution], int | None], BaseSampler]

# Samplers that have proposed all that they can at some time.
_ENUMERATING = (DeltaStepSampler, samplers.GridSampler, samplers.BruteForceSampler)


@dataclasses.dataclass(frozen=True)
class Arm:
    """A sampler or a control.

    Args:
        name: How studies and the command line call it.
        sampler: What proposes its trials, of the objective's seed and parameters and the number
            of trials that its schedule may be made for.
        help: What it does, in a few words.
        objective: What it searches, of the objective that is compared and the number of trials.
        is_control: Whether it is no search.
        ends_by_itself: Whether it has proposed all that it can at some time.
        starts_at_baseline: Whether its first proposal is the baseline network.
        is_batched: Whether what it proposes does not depend on what came of the others.
        spent: On what a control spends the compute of a search, as a part of a sentence.
        later: What its best network costs after the search, if it consists of ``n`` networks.
        replicates: What of its best trial can be used with other seeds; empty if nothing.
        rival: What a sampler must also beat, as it takes no search; empty for other arms.
        reports_by: What its one trial reports a value for; empty if a trial is one training run.
        replicate: Which share of its trials are replicates.
    """

    name: str
    sampler: _SamplerOf
    help: str = ""
    objective: Callable[[InitOffsetObjective, int | None], InitOffsetObjective] = lambda o, _: o
    is_control: bool = False
    ends_by_itself: bool = False
    starts_at_baseline: bool = True
    is_batched: bool = False
    spent: str = ""
    later: str = ""
    replicates: str = "offsets"
    rival: str = ""
    reports_by: Literal["", "epoch", "network"] = ""
    replicate: float = 0.0


def _keyed(kind: Callable[..., BaseSampler], package: str | None = None) -> _SamplerOf:
    """Return what makes one of Optuna's samplers, which may need a package of its own."""

    def sampler(seed: int, _: Mapping[str, BaseDistribution], n_trials: int | None) -> BaseSampler:
        if package is not None:
            check_installed(package, f"Optuna's {kind.__name__}")
        return KeyedIndexSampler(KeyedSampler(lambda seed, _: kind(seed=seed), seed, n_trials))

    return sampler


# The baseline network and one random rate: with Optuna's ten, short searches would only be random.
# As many for any number of trials, so that one that goes on is as one that never stopped.
_tpe_of_control = _keyed(functools.partial(samplers.TPESampler, n_startup_trials=2))


def _of_learning_rates(objective: InitOffsetObjective, _: int | None) -> InitOffsetObjective:
    if (rate := objective.fixed_learning_rate) is None:
        raise WrongValueError(
            "The control 'learning_rate' needs one rate to search around, but the optimizer has "
            "none: give it a number, or leave out this control."
        )
    return objective.replace(space=ControlSpace("learning_rate", rate, rate / 100, rate * 100))


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
        Arm(
            stored.ANNEALING,
            lambda seed, known, n: AdaptiveSimulatedAnnealingSampler(
                seed=seed, n_trials=n, x0=dict.fromkeys(known, 0.0)
            ),
            help="simulated annealing",
        ),
        Arm(
            stored.RANDOM_RESTART,
            lambda seed, *_: RandomRestartSampler(seed=seed),
            help="new random weights instead of offsets, which show selection bias",
            objective=lambda objective, _: objective.replace(space=RESTARTS),
            is_batched=True,
            replicates="",
        ),
        Arm(
            stored.RANDOM,
            _keyed(samplers.RandomSampler),
            help="offsets at random",
            starts_at_baseline=False,
            is_batched=True,
        ),
        Arm(
            "qmc",
            # It counts its trials in the study, under one seed.
            lambda seed, *_: samplers.QMCSampler(seed=seed, scramble=True),
            help="quasi-random offsets, a Sobol sequence",
            starts_at_baseline=False,
            is_batched=True,
        ),
        Arm(
            "tpe",
            _keyed(samplers.TPESampler),
            help="tree-structured Parzen estimators",
            starts_at_baseline=False,
        ),
        Arm(
            "cmaes",
            _keyed(samplers.CmaEsSampler, "cmaes"),
            help="CMA-ES, which needs the package cmaes",
            starts_at_baseline=False,
        ),
        Arm(
            "gp",
            _keyed(samplers.GPSampler, "torch"),
            help="Gaussian processes, which need the package torch",
            starts_at_baseline=False,
        ),
        Arm(
            stored.LONGER,
            lambda *_: OneTrialSampler(),
            help="one training for the epochs of all trials, its best epoch",
            objective=lambda objective, n: LongerObjective.of_search(objective, n or 1),
            is_control=True,
            ends_by_itself=True,
            spent="one longer training run",
            replicates="",
            reports_by="epoch",
        ),
        Arm(
            stored.LEARNING_RATE,
            _tpe_of_control,
            help="TPE over four decades around the given rate, nothing moved",
            objective=_of_learning_rates,
            is_control=True,
            starts_at_baseline=False,
            spent="the learning rate",
            replicates="learning rate",
        ),
        Arm(
            stored.CONSTANT,
            # Of a function of the trial, nobody knows the parameters before.
            lambda seed, known, n: GridOffsetSampler(
                SHARED, seed, n or 1, is_baseline_enqueued=bool(known)
            ),
            help="one offset for all layers, on a grid",
            objective=lambda objective, _: objective.replace(
                space=dataclasses.replace(cast("OffsetSpace", objective.space), scope="shared")
            ),
            is_control=True,
            starts_at_baseline=False,
            spent="one offset for all layers",
            rival="one offset for all layers (no search)",
        ),
        Arm(
            stored.ENSEMBLE,
            lambda *_: OneTrialSampler(),
            help="as many networks, nothing moved, averaged",
            objective=lambda objective, n: EnsembleObjective.of_search(objective, n or 1),
            is_control=True,
            ends_by_itself=True,
            spent="networks that are averaged",
            later="prediction costs {n} times as much",
            replicates="",
            reports_by="network",
        ),
        Arm(stored.OBJECTIVE, _tpe_of_control, is_control=True, replicates=""),
    )
}
SAMPLERS: tuple[str, ...] = tuple(name for name, arm in ARMS.items() if not arm.is_control)
# Those that have a name for users.
CONTROLS: tuple[str, ...] = tuple(n for n, arm in ARMS.items() if arm.is_control and arm.help)


def may_replicate(name: str) -> bool:
    """Return whether the best trial of an arm or a sampler, by its name, may replicate."""
    return name not in ARMS or bool(ARMS[name].replicates)


def arm_of(sampler: ArmSpec) -> Arm:
    """Return the arm that a name, a sampler or a factory stands for, maybe with replicates."""
    if isinstance(sampler, tuple):
        of_sampler, share = arm_of(sampler[0]), sampler[1]
        name = f"{of_sampler.name} with {100 * share:g}% replicates"
        return dataclasses.replace(of_sampler, name=name, replicate=share)
    if isinstance(sampler, str):
        return ARMS[sampler]
    if isinstance(sampler, BaseSampler):
        return Arm(
            type(sampler).__name__,
            lambda *_: sampler,
            ends_by_itself=isinstance(sampler, _ENUMERATING),
            starts_at_baseline=False,
        )
    # Not to be taken for an arm of ours that has the same name.
    name = f"{getattr(sampler, '__qualname__', type(sampler).__qualname__)}()"

    def keyed(seed: int, _: Mapping[str, BaseDistribution], n_trials: int | None) -> BaseSampler:
        made: Any = sampler(seed, n_trials)
        if not isinstance(made, BaseSampler):
            raise WrongTypeError(
                f"The factory {name} must return an Optuna sampler, but it returned {made!r}."
            )
        is_counting = isinstance(made, COUNTING)
        return made if is_counting else KeyedIndexSampler(KeyedSampler(sampler, seed, n_trials))

    return Arm(name, keyed, starts_at_baseline=False)


def check_sampler(sampler: Any) -> None:
    """Refuse what is neither a sampler's name nor a sampler nor a factory of one."""
    if isinstance(sampler, str) and sampler not in SAMPLERS:
        raise WrongValueError(
            f"sampler must be the name of one; got {sampler!r}. Pass an Optuna sampler, or one of "
            f"{', '.join(SAMPLERS)}."
        )
    if isinstance(sampler, str | BaseSampler):
        return
    is_factory = callable(sampler) and not isinstance(sampler, type)
    if is_factory:
        try:
            inspect.signature(sampler).bind(0, None)
        except TypeError:
            is_factory = False
    if not is_factory:
        raise WrongTypeError(
            "sampler must be a name, an Optuna sampler or a function, which must take (seed, "
            f"n_trials) and return one, but it is {sampler!r:.100}."
        )
