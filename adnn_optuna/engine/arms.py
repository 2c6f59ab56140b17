"""The samplers by name, with the facts about them that searches and comparisons need.

Everything about one sampler is in its entry in :data:`SAMPLERS`.
"""

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from optuna import samplers
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

import adnn_optuna.samplers
from adnn_optuna._attributes import ANNEALING, GREEDY, GREEDY_IMPROVING, RANDOM
from adnn_optuna._checks import WrongTypeError, check_choice, check_installed, shown
from adnn_optuna.samplers._keyed import COUNTING, KeyedIndexSampler, KeyedSampler

SamplerSpec = str | BaseSampler | Callable[[int, int | None], BaseSampler]
"""A name, a sampler, or a factory ``(seed, n_trials) -> sampler``."""
ArmSpec = SamplerSpec | tuple[SamplerSpec, float]
"""A sampler. In a comparison for a function, it may be a pair: a sampler, and the share of
trials that are replicates.
"""

_SamplerOf = Callable[[int, Mapping[str, BaseDistribution], int | None], BaseSampler]


@dataclasses.dataclass(frozen=True)
class Arm:
    """A sampler or a control of a comparison. A control uses the same compute in another way."""

    name: str  # Studies and the command line use this name.
    # Returns the sampler for a seed, the known parameters, and the number of trials if it is
    # known.
    sampler: _SamplerOf
    help: str = ""  # The arm's description in a few words.
    is_control: bool = False  # The arm uses compute without a search.
    ends_by_itself: bool = False  # The sampler runs out of proposals.
    starts_at_baseline: bool = False  # The first trial is the baseline network.
    ignores_values: bool = False  # Proposals do not depend on values.
    # The control's use of compute, as the subject of a sentence, such as "one longer training
    # run".
    spent: str = ""
    later: str = ""  # The cost of using the control's best result. {n} is its number of networks.
    # The settings that runs on new seeds copy from the best trial, or an empty tuple.
    copied_settings: str = "offsets"
    claims_pair: bool = False  # A sentence compares the best sampler with this control.
    n_startup: int = 0  # The number of random trials before the sampler learns from results.
    replicate_share: float = 0.0  # The share of the arm's trials that are replicates.


def keyed(
    kind: Callable[..., BaseSampler], package: str | None = None, **settings: Any
) -> _SamplerOf:
    """Return a factory of one of Optuna's samplers.

    ``package`` is the package that the sampler needs.
    """
    factory = functools.partial(_of_seed, kind=kind, **settings)

    def sampler(seed: int, _: Mapping[str, BaseDistribution], n_trials: int | None) -> BaseSampler:
        if package is not None:
            check_installed(package, f"Optuna's {kind.__name__}")
        return KeyedIndexSampler(KeyedSampler(factory, seed, n_trials))

    return sampler


def _of_seed(
    seed: int, _: int | None, kind: Callable[..., BaseSampler], **settings: Any
) -> BaseSampler:
    return kind(seed=seed, **settings)


def _annealing(
    seed: int, known: Mapping[str, BaseDistribution], n_trials: int | None
) -> BaseSampler:
    x0 = dict.fromkeys(known, 0.0)
    # This import is here, because most processes never use this sampler.
    return adnn_optuna.samplers.AdaptiveSimulatedAnnealingSampler(
        seed=seed, n_trials=n_trials, x0=x0
    )


SAMPLERS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm(
            GREEDY,
            lambda *_: adnn_optuna.samplers.DeltaStepSampler(),
            help="the paper's walk",
            starts_at_baseline=True,
            ends_by_itself=True,
            ignores_values=True,
        ),
        Arm(
            GREEDY_IMPROVING,
            lambda *_: adnn_optuna.samplers.DeltaStepSampler(accept="improving"),
            help="keeps only steps that improve",
            starts_at_baseline=True,
            ends_by_itself=True,
        ),
        Arm(
            ANNEALING,
            _annealing,
            help="simulated annealing",
            starts_at_baseline=True,
        ),
        Arm(
            RANDOM,
            keyed(samplers.RandomSampler),
            help="offsets at random",
            ignores_values=True,
        ),
        Arm(
            "qmc",
            # QMCSampler counts its trials in the study, so all trials have one seed.
            lambda seed, *_: samplers.QMCSampler(seed=seed, scramble=True),
            help="quasi-random offsets, a Sobol sequence",
            ignores_values=True,
        ),
        Arm(
            "tpe",
            keyed(samplers.TPESampler),
            help="tree-structured Parzen estimators",
            n_startup=10,
        ),
        Arm(
            "cmaes",
            # With categories, Optuna would warn in each trial.
            keyed(samplers.CmaEsSampler, "cmaes", warn_independent_sampling=False),
            help="CMA-ES with categories at random, which needs the package cmaes",
        ),
        Arm(
            "gp",
            keyed(samplers.GPSampler, "torch"),
            help="Gaussian processes, which need the package torch",
            n_startup=10,
        ),
    )
}
"""The samplers of any objective, by name."""


class Arms(NamedTuple):
    """The samplers and controls with which an objective can be compared."""

    named: Mapping[str, Arm]  # All samplers and controls that have a name.
    defaults: tuple[str, ...]  # The samplers that are compared if the user chooses none.
    reference: str  # This arm is always compared, because its gain shows selection bias.
    default_controls: tuple[str, ...] = ()  # The controls that accompany long searches by default.
    # By default, arms with a difference up to this margin are equivalent.
    margin: float | None = None
    pruner: BasePruner | None = None  # The default pruner of each run.

    @property
    def samplers(self) -> list[str]:
        """The names of the samplers."""
        return [name for name, arm in self.named.items() if not arm.is_control]

    @property
    def controls(self) -> list[str]:
        """The names of the controls."""
        return [name for name, arm in self.named.items() if arm.is_control]


def arm_of(sampler: ArmSpec, named: Mapping[str, Arm] = SAMPLERS) -> Arm:
    """Return the arm for a sampler's name, object or factory, or for a pair with a share."""
    if isinstance(sampler, tuple):
        of_sampler = arm_of(sampler[0], named)
        share = sampler[1]
        name = f"{of_sampler.name} with {100 * share:g}% replicates"
        return dataclasses.replace(of_sampler, name=name, replicate_share=share)
    if isinstance(sampler, str):
        return named[sampler]
    if isinstance(sampler, BaseSampler):
        # These samplers run out of proposals.
        enumerating = (samplers.GridSampler, samplers.BruteForceSampler)
        is_walk = isinstance(sampler, adnn_optuna.samplers.DeltaStepSampler)
        return Arm(
            type(sampler).__name__,
            lambda *_: sampler,
            ends_by_itself=is_walk or isinstance(sampler, enumerating),
        )
    # The parentheses distinguish a factory from a built-in arm of the same name.
    function_name = getattr(sampler, "__qualname__", type(sampler).__qualname__)
    name = f"{function_name}()"

    def new_sampler_of(
        seed: int, _: Mapping[str, BaseDistribution], n_trials: int | None
    ) -> BaseSampler:
        new_sampler: Any = sampler(seed, n_trials)
        if not isinstance(new_sampler, BaseSampler):
            raise WrongTypeError(
                f"The factory {name} must return an Optuna sampler; got {new_sampler!r}."
            )
        if isinstance(new_sampler, COUNTING):
            return new_sampler
        return KeyedIndexSampler(KeyedSampler(sampler, seed, n_trials))

    return Arm(name, new_sampler_of)


def check_sampler(name: str, sampler: Any, names: Collection[str]) -> None:
    """Raise an error unless a value is a sampler, a sampler's name or a factory."""
    if isinstance(sampler, str):
        check_choice(name, sampler, names)
    if isinstance(sampler, str | BaseSampler):
        return
    if callable(sampler) and not isinstance(sampler, type):
        with contextlib.suppress(TypeError):
            inspect.signature(sampler).bind(0, None)
            return
    raise WrongTypeError(
        f"{name} must be a name, an Optuna sampler or a function, which must take (seed, "
        f"n_trials) and return one; got {shown(sampler)}. Pass, for example, "
        "optuna.samplers.TPESampler()."
    )
