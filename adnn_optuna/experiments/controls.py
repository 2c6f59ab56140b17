"""The arms of comparisons of networks: samplers and controls.

Controls use the same compute in other ways. Each entry of :data:`ARMS` has all facts about its
arm.
"""

import dataclasses
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, cast

import numpy as np
import optuna
from optuna import samplers
from optuna.distributions import BaseDistribution

from adnn_optuna._attributes import LEARNING_RATE, RANDOM_RESTART, Json, Params, Proposal, Trained
from adnn_optuna._checks import WrongValueError
from adnn_optuna._seeds import member_seeds
from adnn_optuna.engine.arms import SAMPLERS, Arm, keyed
from adnn_optuna.engine.objectives import Outcome
from adnn_optuna.experiments.network_objective import NetworkObjective
from adnn_optuna.networks.offsets import RESTARTS, SHARED, ControlSpace, OffsetSpace, Start
from adnn_optuna.networks.predictors import Average
from adnn_optuna.networks.training import TrainingRun, is_finite
from adnn_optuna.samplers._indices import Indices, ParameterSource
from adnn_optuna.samplers._random_restart import RandomRestartSampler


class OneTrialObjective(NetworkObjective):
    """An objective whose study has a single trial.

    The training determines the trial's only parameter.
    """

    @classmethod
    def in_space(cls, objective: NetworkObjective, space: ControlSpace) -> Self:
        """Return an objective of this class that is like ``objective``, but in a new space."""
        objective.trainer  # noqa: B018 - refuses a function of the trial.
        return cls(**{**objective.arguments, "space": space})

    def suggest(self, trial: Any) -> Self:  # noqa: ARG002
        """Suggest nothing, because a suggested parameter could not be changed later."""
        return self

    def store_found(self, trial: optuna.Trial, value: int) -> None:
        """Store the value of the parameter that training determined."""
        [(name, distribution)] = self.distributions.items()
        storage = trial.study._storage
        storage.set_trial_param(trial._trial_id, name, float(value), distribution)


class LongerObjective(OneTrialObjective):
    """Trains the baseline network once, for the epochs of all trials.

    The trial's value is the value of its best epoch, and its parameter is this epoch's number.
    When an epoch is better than all earlier epochs, the trial reports its value.
    """

    def _outcomes(
        self, trials: Sequence[optuna.Trial], limits: dict[str, Any], **_: object
    ) -> list[Outcome]:
        """Train for all epochs, or until a limit. After Ctrl-C, a resumed search starts again."""
        [trial] = trials
        assert isinstance(self.space, ControlSpace)
        n_of_baseline = int(self.space.unmoved)
        start = self.start({"epochs": self.space.high})
        [run] = self.trainer.train([start], **limits, evaluate_each_epoch=True)
        if run.status == "stopped" or not run.history:
            return [Outcome(run.status)]
        # If a run was cut off before the baseline's last epoch, there is no baseline network.
        if run.status != "timeout" or len(run.history) >= n_of_baseline:
            self.set_baseline(trial.study, run.history[:n_of_baseline][-1])
        trained: Trained = {"seconds": run.seconds, "epochs": run.epochs}
        values = [self.value(metrics) for metrics in run.history]
        if math.isnan(values[0]):
            return [Outcome("diverged", None, run.metrics, trained)]
        best = 0  # Of equal epochs, the first one is the best.
        for epoch, value in enumerate(values):
            if epoch == 0 or self.improvement(value, values[best]) > 0:
                best = epoch
                trial.report(value, epoch)
        self.store_found(trial, best + 1)
        return [Outcome("complete", values[best], run.history[best], trained)]


class EnsembleObjective(OneTrialObjective):
    """Trains the baseline network and further networks from new seeds, and averages them.

    The trial's value is the value of the averaged predictions, and its parameter is the number of
    trained networks. After each network, the trial reports the average's value. The average omits
    diverged networks.
    """

    def starts(self, params: Json) -> list[Start]:
        """Return the start of each network."""
        seeds = member_seeds(self.seed, int(params.get("members", 1)))
        return [dataclasses.replace(self.baseline_start, seed=seed) for seed in seeds]

    def _outcomes(
        self, trials: Sequence[optuna.Trial], limits: dict[str, Any], **_: object
    ) -> list[Outcome]:
        """Train all networks, or until a limit. After Ctrl-C, a resumed search starts again."""
        [trial] = trials
        assert isinstance(self.space, ControlSpace)
        trained: Trained = {"seconds": 0.0, "epochs": 0}
        ended = []
        splits = {"train"}
        if len(self.dataset.x_val):
            splits = {self.metric.partition("_")[0], "val"}
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
                average.add(run.weights)
                trial.report(average.metrics[self.metric], average.n)
        if run.status == "stopped" or not average.n:
            status = run.status
            if status == "complete":
                status = "diverged"
            return [Outcome(status, trained=trained)]
        # The networks are kept for the test-set evaluation.
        _TRAINED_LAST[self] = len(ended), ended[0], average
        self.store_found(trial, len(ended))
        metrics = average.metrics
        return [Outcome("complete", metrics[self.metric], metrics, trained)]

    def take_tested(self, params: Params) -> tuple[TrainingRun, Average] | None:
        """Return the baseline network and the average, if the last training made them.

        They are returned only once, because they take much memory.
        """
        n_networks, baseline, average = _TRAINED_LAST.pop(self, (0, None, None))
        if baseline is None or average is None or n_networks != params["members"]:
            return None
        return baseline, average


# For each objective, the last trial's number of networks, baseline network and average.
_TRAINED_LAST = weakref.WeakKeyDictionary[EnsembleObjective, tuple[int, TrainingRun, Average]]()


class OneTrialSampler(RandomRestartSampler):
    """Proposes a single trial, whose training determines its parameter."""

    last_index: float = 0.0
    _proposes_before = False


class GridOffsetSampler(RandomRestartSampler):
    """Proposes the values of the shared offset on a grid over its range, and then random values.

    If the baseline network is enqueued, it replaces the grid's value that is nearest to 0.
    """

    def __init__(self, seed: int, n_trials: int, *, is_baseline_enqueued: bool) -> None:
        super().__init__(seed=seed)
        self._n_trials = n_trials
        self._is_baseline_enqueued = is_baseline_enqueued

    def _propose(
        self, study: optuna.Study, indices: Indices, proposal: Proposal
    ) -> ParameterSource:
        index = proposal["index"]
        at_random = super()._propose(study, indices, proposal)

        def value(name: str, distribution: Any) -> Any:
            if name != SHARED or index is None:
                return at_random(name, distribution)
            # The grid has at least one value on each side of the baseline network.
            values = np.linspace(distribution.low, distribution.high, max(self._n_trials, 3))
            if self._is_baseline_enqueued:
                values = np.delete(values, np.abs(values).argmin())
            if index < len(values):
                return float(values[index])
            return at_random(name, distribution)

        return value


# TPE begins to learn after the baseline network and one random rate. With Optuna's default of ten
# trials, short searches would only be random. The number is fixed, so a continued search equals an
# uninterrupted search.
_tpe_of_control = keyed(samplers.TPESampler, n_startup_trials=2)


def _of_learning_rates(objective: NetworkObjective, _: int | None) -> NetworkObjective:
    rate = objective.fixed_learning_rate
    if rate is None:
        raise WrongValueError(
            "The control 'learning_rate' needs an optimizer with a fixed learning rate; got one "
            "without. Set a number as learning rate, or omit this control."
        )
    space = ControlSpace("learning_rate", rate, rate / 100, rate * 100)
    return objective.replace(space=space)


def _of_all_epochs(objective: NetworkObjective, n: int | None) -> NetworkObjective:
    epochs = objective.trainer.training.epochs
    space = ControlSpace("epochs", epochs, 1, epochs * (n or 1))
    return LongerObjective.in_space(objective, space)


@dataclasses.dataclass(frozen=True)
class NetworkArm(Arm):
    """An arm that may search something else than offsets."""

    # A function of the compared objective and the number of trials. It returns the arm's
    # objective.
    objective: Callable[[NetworkObjective, int | None], NetworkObjective] = lambda o, _: o


def _of_shared_offset(objective: NetworkObjective, _: int | None) -> NetworkObjective:
    space = cast("OffsetSpace", objective.space)
    return objective.replace(space=dataclasses.replace(space, scope="shared"))


def _grid(
    seed: int, known: Mapping[str, BaseDistribution], n_trials: int | None
) -> GridOffsetSampler:
    # If parameters are known, the baseline network has been enqueued.
    return GridOffsetSampler(seed, n_trials or 1, is_baseline_enqueued=bool(known))


def _of_members(objective: NetworkObjective, n: int | None) -> NetworkObjective:
    return EnsembleObjective.in_space(objective, ControlSpace("members", 1, 1, n or 1))


_OF_NETWORKS = (
    NetworkArm(
        RANDOM_RESTART,
        lambda seed, *_: RandomRestartSampler(seed=seed),
        help="new random weights instead of offsets, which show selection bias",
        starts_at_baseline=True,
        objective=lambda objective, _: objective.replace(space=RESTARTS),
        ignores_values=True,
        copied_settings="",
    ),
    NetworkArm(
        "longer",
        lambda *_: OneTrialSampler(),
        help="one training for the epochs of all trials, its best epoch",
        starts_at_baseline=True,
        objective=_of_all_epochs,
        is_control=True,
        ends_by_itself=True,
        spent="one longer training run",
        copied_settings="",
    ),
    NetworkArm(
        LEARNING_RATE,
        _tpe_of_control,
        help="TPE over four decades around the given rate, no offsets",
        objective=_of_learning_rates,
        is_control=True,
        spent="a search of the learning rate",
        copied_settings="learning rate",
    ),
    NetworkArm(
        "constant",
        _grid,
        help="one offset for all layers, on a grid",
        objective=_of_shared_offset,
        is_control=True,
        spent="one offset for all layers",
        claims_pair=True,
    ),
    NetworkArm(
        "ensemble",
        lambda *_: OneTrialSampler(),
        help="as many networks without offsets, averaged",
        starts_at_baseline=True,
        objective=_of_members,
        is_control=True,
        ends_by_itself=True,
        spent="an average of networks",
        later="prediction costs {n} times as much",
        copied_settings="",
    ),
)

ARMS: dict[str, Arm] = {**SAMPLERS, **{arm.name: arm for arm in _OF_NETWORKS}}
"""All arms of comparisons of networks, by name."""
