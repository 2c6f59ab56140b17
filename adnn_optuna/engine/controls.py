"""Controls that are one trial each, whose one parameter is found by its training."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, Self

import optuna

from adnn_optuna._attributes import Trained
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.objectives import Outcome
from adnn_optuna.engine.storages import with_retry
from adnn_optuna.networks.network import derived_seed
from adnn_optuna.networks.offsets import ControlSpace, Start
from adnn_optuna.networks.predictors import Average
from adnn_optuna.networks.training import TrainingRun, is_finite

_KEY = 0xE  # Apart from what else is keyed on a seed and a number.


class OneTrialObjective(InitOffsetObjective):
    """The objective of a single trial, whose one parameter is found by its training."""

    @classmethod
    def _in_space(cls, objective: InitOffsetObjective, space: ControlSpace) -> Self:
        parts = {part.name: getattr(objective, part.name) for part in dataclasses.fields(cls)}
        return cls(**{**parts, "space": space})

    def suggest(self, trial: Any) -> Self:  # noqa: ARG002
        """Suggest nothing: no storage lets a parameter be changed."""
        return self

    def store_found(self, trial: optuna.Trial, value: int) -> None:
        """Store the parameter that was found."""
        [(name, distribution)] = self.distributions.items()
        arguments = trial._trial_id, name, float(value), distribution
        with_retry(trial.study._storage.set_trial_param, *arguments)


class LongerObjective(OneTrialObjective):
    """Trains the baseline network once; the value of a trial is that of its best epoch.

    Its parameter is the number of that epoch. What it reports are the values of the epochs that
    were the best so far.
    """

    @classmethod
    def of_search(cls, objective: InitOffsetObjective, n_trials: int) -> Self:
        """Return the longer training for the epochs of ``n_trials`` trials of an objective."""
        epochs = objective.trainer.training.epochs
        return cls._in_space(objective, ControlSpace("epochs", epochs, 1, epochs * n_trials))

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
            with_retry(self.set_baseline, trial.study, run.history[:n_of_baseline][-1])
        trained: Trained = {"seconds": run.seconds, "epochs": run.epochs}
        values = [self.value(metrics) for metrics in run.history]
        if math.isnan(values[0]):
            return [Outcome("diverged", None, run.metrics, trained)]
        best = 0  # The first of equals.
        for epoch, value in enumerate(values):
            if epoch == 0 or self.improvement(value, values[best]) > 0:
                best = epoch
                with_retry(trial.report, value, epoch)
        self.store_found(trial, best + 1)
        return [Outcome("complete", values[best], run.history[best], trained)]


def seeds_of_members(seed: int, n: int) -> list[int]:
    """Return the seeds of ``n`` networks, of initialisation and order: one and what follows."""
    return [seed, *(derived_seed(seed, number, _KEY) for number in range(n - 1))]


class EnsembleObjective(OneTrialObjective):
    """Trains the baseline network and others of new seeds; a trial's value is their average's.

    Its parameter is the number of networks that were trained. What it reports are the values of
    the average of the first one, the first two and so on. One that diverged is left out.
    """

    @functools.cached_property
    def _last(self) -> list[tuple[tuple[int, int], TrainingRun, Average]]:
        """The last one that was trained, for the test-set evaluation that follows."""
        return []

    @classmethod
    def of_search(cls, objective: InitOffsetObjective, n_trials: int) -> Self:
        """Return the ensemble of as many networks as an objective has trials."""
        objective.trainer  # noqa: B018 - refuses a function of the trial, which has none.
        return cls._in_space(objective, ControlSpace("members", 1, 1, n_trials))

    def starts(self, params: dict[str, Any]) -> list[Start]:
        """Return what its networks are trained from."""
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
                with_retry(self.set_baseline, trial.study, run.metrics)
            if is_finite(run.metrics):
                average.add(run.weights or [])
                with_retry(trial.report, average.metrics[self.metric], average.n)
        if run.status == "stopped" or not average.n:
            is_over = run.status in ("complete", "diverged")
            return [Outcome("diverged" if is_over else run.status, trained=trained)]
        self._last[:] = [((self.seed, len(ended)), ended[0], average)]
        self.store_found(trial, len(ended))
        metrics = average.metrics
        return [Outcome("complete", metrics[self.metric], metrics, trained)]

    def take_tested(self, params: dict[str, Any]) -> tuple[TrainingRun, Average] | None:
        """Return the baseline network and the average, once, if they were trained last."""
        if not self._last:
            return None
        trained, baseline, average = self._last.pop()  # It is large.
        return (baseline, average) if trained == (self.seed, params["members"]) else None
