"""The arms of comparisons, by name: samplers, and controls that spend the same compute otherwise.

All that is to be known of an arm is its entry in :data:`ARMS`.
"""

import contextlib
import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, cast

import optuna
from optuna import samplers
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Trained
from adnn_optuna._checks import WrongTypeError, WrongValueError, check_installed
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.objectives import Outcome
from adnn_optuna.networks.network import derived_seed
from adnn_optuna.networks.offsets import RESTARTS, SHARED, ControlSpace, OffsetSpace, Start
from adnn_optuna.networks.predictors import Average
from adnn_optuna.networks.training import TrainingRun, is_finite
from adnn_optuna.samplers import (
    AdaptiveSimulatedAnnealingSampler,
    DeltaStepSampler,
    KeyedSampler,
    RandomRestartSampler,
)
from adnn_optuna.samplers._controls import GridOffsetSampler, OneTrialSampler
from adnn_optuna.samplers._keyed import COUNTING, KeyedIndexSampler

_KEY = 0xE  # Apart from what else is keyed on a seed and a number.


class OneTrialObjective(InitOffsetObjective):
    """The objective of a single trial, whose one parameter is found by its training."""

    @classmethod
    def in_space(cls, objective: InitOffsetObjective, space: ControlSpace) -> Self:
        """Return the same as an objective, but for the space."""
        objective.trainer  # noqa: B018 - refuses a function of the trial, which has none.
        parts = {part.name: getattr(objective, part.name) for part in dataclasses.fields(cls)}
        return cls(**{**parts, "space": space})

    def suggest(self, trial: Any) -> Self:  # noqa: ARG002
        """Suggest nothing: no storage lets a parameter be changed."""
        return self

    def store_found(self, trial: optuna.Trial, value: int) -> None:
        """Store the parameter that was found."""
        [(name, distribution)] = self.distributions.items()
        arguments = trial._trial_id, name, float(value), distribution
        trial.study._storage.set_trial_param(*arguments)


class LongerObjective(OneTrialObjective):
    """Trains the baseline network once; the value of a trial is that of its best epoch.

    Its parameter is the number of that epoch. It reports the values of the epochs that
    were the best so far.
    """

    def _train(
        self, trials: Sequence[optuna.Trial], limits: dict[str, Any], **_: object
    ) -> list[Outcome]:
        """Train for all epochs, or until a limit; a stopped training run begins again."""
        [trial] = trials
        assert isinstance(self.space, ControlSpace)
        n_of_baseline = int(self.space.unmoved)
        [run] = self.trainer.train([self.start({"epochs": self.space.high})], **limits)
        if run.status == "stopped" or not run.history:
            return [Outcome(run.status)]
        # One that ended earlier by itself is whole, one that was cut off is none.
        if run.status != "timeout" or len(run.history) >= n_of_baseline:
            self.set_baseline(trial.study, run.history[:n_of_baseline][-1])
        trained: Trained = {"seconds": run.seconds, "epochs": run.epochs}
        values = [self.value(metrics) for metrics in run.history]
        if math.isnan(values[0]):
            return [Outcome("diverged", None, run.metrics, trained)]
        best = 0  # The first of equals.
        for epoch, value in enumerate(values):
            if epoch == 0 or self.improvement(value, values[best]) > 0:
                best = epoch
                trial.report(value, epoch)
        self.store_found(trial, best + 1)
        return [Outcome("complete", values[best], run.history[best], trained)]


def seeds_of_members(seed: int, n: int) -> list[int]:
    """Return the seeds of ``n`` networks, of initialization and order: one and the next."""
    return [seed, *(derived_seed(seed, number, _KEY) for number in range(n - 1))]


class EnsembleObjective(OneTrialObjective):
    """Trains the baseline network and others of new seeds; a trial's value is their average's.

    Its parameter is the number of networks that were trained. It reports the values of
    the average of the first one, the first two and so on. One that diverged is left out.
    """

    def starts(self, params: dict[str, Any]) -> list[Start]:
        """Return the starts of its networks."""
        seeds = seeds_of_members(self.seed, int(params.get("members", 1)))
        return [dataclasses.replace(self.baseline_start, seed=seed) for seed in seeds]

    def _train(
        self, trials: Sequence[optuna.Trial], limits: dict[str, Any], **_: object
    ) -> list[Outcome]:
        """Train all networks, or until a limit; a stopped one begins again with all."""
        [trial] = trials
        assert isinstance(self.space, ControlSpace)
        trained: Trained = {"seconds": 0.0, "epochs": 0}
        ended: list[TrainingRun] = []
        splits = {self.metric.partition("_")[0], "val"} if len(self.dataset.x_val) else {"train"}
        average = Average(self.trainer, sorted(splits))
        starts = self.starts({"members": self.space.high})
        for run in self.trainer.train_in_turn(starts, **limits):
            trained["seconds"] += run.seconds
            trained["epochs"] += run.epochs
            if run.status not in ("complete", "diverged"):
                break
            ended.append(run)
            if len(ended) == 1:
                self.set_baseline(trial.study, run.metrics)
            if is_finite(run.metrics):
                average.add(run.weights or [])
                trial.report(average.metrics[self.metric], average.n)
        if run.status == "stopped" or not average.n:
            is_over = run.status in ("complete", "diverged")
            return [Outcome("diverged" if is_over else run.status, trained=trained)]
        # For the test-set evaluation that follows.
        vars(self)["last"] = (self.seed, len(ended)), ended[0], average
        self.store_found(trial, len(ended))
        metrics = average.metrics
        return [Outcome("complete", metrics[self.metric], metrics, trained)]

    def take_tested(self, params: dict[str, Any]) -> tuple[TrainingRun, Average] | None:
        """Return the baseline network and the average, once, if they were trained last."""
        trained, *networks = vars(self).pop("last", [None])  # It is large.
        return (*networks,) if trained == (self.seed, params["members"]) else None


SamplerSpec = str | BaseSampler | Callable[[int, int | None], BaseSampler]
"""A name, a sampler, or a factory ``(seed, n_trials) -> sampler``."""
ArmSpec = SamplerSpec | tuple[SamplerSpec, float]
"""A sampler, in comparisons of functions also with the share of its trials that are replicates."""

_SamplerOf = Callable[[int, Mapping[str, BaseDistribution], int | None], BaseSampler]

# Samplers that have proposed all that they can at some time.
_ENUMERATING = (DeltaStepSampler, samplers.GridSampler, samplers.BruteForceSampler)


@dataclasses.dataclass(frozen=True)
class Arm:
    """A sampler or a control."""

    name: str  # As studies and the command line call it.
    # Of the objective's seed and parameters, and the number of trials for its schedule.
    sampler: _SamplerOf
    help: str = ""  # Its description in a few words.
    # What it searches, of the objective that is compared and the number of trials.
    objective: Callable[[InitOffsetObjective, int | None], InitOffsetObjective] = lambda o, _: o
    is_control: bool = False  # It is no search.
    ends_by_itself: bool = False  # It has proposed all that it can at some time.
    starts_at_baseline: bool = False  # Its first proposal is the baseline network.
    is_batched: bool = False  # Its proposals do not depend on results.
    spent: str = ""  # On what a control spends the compute, as a part of a sentence.
    later: str = ""  # What its best network costs later, if it is an average of {n} networks.
    replicates: str = "offsets"  # What of its best trial can be used with other seeds, if any.
    rival: str = ""  # What a sampler must also beat, as it takes no search.
    n_startup: int = 0  # How many trials it draws at random before it learns from any.
    replicate: float = 0.0  # Which share of its trials are replicates.


def _keyed(
    kind: Callable[..., BaseSampler], package: str | None = None, **settings: Any
) -> _SamplerOf:
    """Return what makes one of Optuna's samplers, which may need a package of its own."""
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


# The baseline network and one random rate: with Optuna's ten, short searches would only be random.
# As many for any number of trials, so that one that goes on is as one that never stopped.
_tpe_of_control = _keyed(samplers.TPESampler, n_startup_trials=2)


def _of_learning_rates(objective: InitOffsetObjective, _: int | None) -> InitOffsetObjective:
    if (rate := objective.fixed_learning_rate) is None:
        raise WrongValueError(
            "The control 'learning_rate' needs one rate to search around, but the optimizer has "
            "none: give it a number, or leave out this control."
        )
    return objective.replace(space=ControlSpace("learning_rate", rate, rate / 100, rate * 100))


def _of_all_epochs(objective: InitOffsetObjective, n: int | None) -> InitOffsetObjective:
    epochs = objective.trainer.training.epochs
    return LongerObjective.in_space(
        objective, ControlSpace("epochs", epochs, 1, epochs * (n or 1))
    )


ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm(
            stored.GREEDY,
            lambda *_: DeltaStepSampler(),
            help="the paper's walk",
            starts_at_baseline=True,
            ends_by_itself=True,
            is_batched=True,
        ),
        Arm(
            stored.GREEDY_IMPROVING,
            lambda *_: DeltaStepSampler(accept="improving"),
            help="keeps only steps that improve",
            starts_at_baseline=True,
            ends_by_itself=True,
        ),
        Arm(
            stored.ANNEALING,
            lambda seed, known, n: AdaptiveSimulatedAnnealingSampler(
                seed=seed, n_trials=n, x0=dict.fromkeys(known, 0.0)
            ),
            help="simulated annealing",
            starts_at_baseline=True,
        ),
        Arm(
            stored.RANDOM_RESTART,
            lambda seed, *_: RandomRestartSampler(seed=seed),
            help="new random weights instead of offsets, which show selection bias",
            starts_at_baseline=True,
            objective=lambda objective, _: objective.replace(space=RESTARTS),
            is_batched=True,
            replicates="",
        ),
        Arm(
            stored.RANDOM,
            _keyed(samplers.RandomSampler),
            help="offsets at random",
            is_batched=True,
        ),
        Arm(
            "qmc",
            # It counts its trials in the study, under one seed.
            lambda seed, *_: samplers.QMCSampler(seed=seed, scramble=True),
            help="quasi-random offsets, a Sobol sequence",
            is_batched=True,
        ),
        Arm(
            "tpe",
            _keyed(samplers.TPESampler),
            help="tree-structured Parzen estimators",
            n_startup=10,
        ),
        Arm(
            "cmaes",
            # Optuna would warn of a category in each trial.
            _keyed(samplers.CmaEsSampler, "cmaes", warn_independent_sampling=False),
            help="CMA-ES with categories at random, which needs the package cmaes",
        ),
        Arm(
            "gp",
            _keyed(samplers.GPSampler, "torch"),
            help="Gaussian processes, which need the package torch",
            n_startup=10,
        ),
        Arm(
            stored.LONGER,
            lambda *_: OneTrialSampler(),
            help="one training for the epochs of all trials, its best epoch",
            starts_at_baseline=True,
            objective=_of_all_epochs,
            is_control=True,
            ends_by_itself=True,
            spent="one longer training run",
            replicates="",
        ),
        Arm(
            stored.LEARNING_RATE,
            _tpe_of_control,
            help="TPE over four decades around the given rate, no offsets",
            objective=_of_learning_rates,
            is_control=True,
            spent="the learning rate",
            replicates="learning rate",
        ),
        Arm(
            stored.CONSTANT,
            # The parameters of a function of the trial are not known before.
            lambda seed, known, n: GridOffsetSampler(
                SHARED, seed, n or 1, is_baseline_enqueued=bool(known)
            ),
            help="one offset for all layers, on a grid",
            objective=lambda objective, _: objective.replace(
                space=dataclasses.replace(cast("OffsetSpace", objective.space), scope="shared")
            ),
            is_control=True,
            spent="one offset for all layers",
            rival="one offset for all layers (no search)",
        ),
        Arm(
            stored.ENSEMBLE,
            lambda *_: OneTrialSampler(),
            help="as many networks without offsets, averaged",
            starts_at_baseline=True,
            objective=lambda objective, n: EnsembleObjective.in_space(
                objective, ControlSpace("members", 1, 1, n or 1)
            ),
            is_control=True,
            ends_by_itself=True,
            spent="networks that are averaged",
            later="prediction costs {n} times as much",
            replicates="",
        ),
    )
}
SAMPLERS: tuple[str, ...] = tuple(name for name, arm in ARMS.items() if not arm.is_control)
CONTROLS: tuple[str, ...] = tuple(name for name, arm in ARMS.items() if arm.is_control)


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
        )
    # Not to be taken for an arm of ours that has the same name.
    name = f"{getattr(sampler, '__qualname__', type(sampler).__qualname__)}()"

    def keyed(seed: int, _: Mapping[str, BaseDistribution], n_trials: int | None) -> BaseSampler:
        made: Any = sampler(seed, n_trials)
        if not isinstance(made, BaseSampler):
            raise WrongTypeError(
                f"The factory {name} must return an Optuna sampler; got {made!r}."
            )
        is_counting = isinstance(made, COUNTING)
        return made if is_counting else KeyedIndexSampler(KeyedSampler(sampler, seed, n_trials))

    return Arm(name, keyed)


def check_sampler(sampler: Any) -> None:
    """Refuse a value that is no sampler, no sampler's name and no factory of one."""
    if isinstance(sampler, str) and sampler not in SAMPLERS:
        raise WrongValueError(
            f"sampler must be a sampler's name; got {sampler!r}. Pass an Optuna sampler or one of "
            f"{', '.join(SAMPLERS)}."
        )
    if isinstance(sampler, str | BaseSampler):
        return
    if callable(sampler) and not isinstance(sampler, type):
        with contextlib.suppress(TypeError):
            inspect.signature(sampler).bind(0, None)
            return
    raise WrongTypeError(
        "sampler must be a name, an Optuna sampler or a function, which must take (seed, "
        f"n_trials) and return one; got {sampler!r:.100}."
    )
