"""The control of one longer training: all epochs of a search, spent on the unmoved network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self, cast

import optuna
from optuna.trial import TrialState

from adnn_optuna._attributes import Trained
from adnn_optuna.engine.objective import InitOffsetObjective
from adnn_optuna.engine.outcomes import Outcome
from adnn_optuna.engine.storages import patiently
from adnn_optuna.networks.offsets import ControlSpace


class LongerObjective(InitOffsetObjective):
    """Trains the unmoved network once; the value of a trial is that of its best epoch.

    Its parameter is the number of that epoch, which the training finds. What it reports are the
    values of the epochs that were the best so far.
    """

    @classmethod
    def of_search(cls, objective: InitOffsetObjective, n_trials: int) -> Self:
        """Return the longer training for the epochs of ``n_trials`` trials of an objective."""
        epochs = objective.training.epochs
        space = ControlSpace("epochs", epochs, 1, epochs * n_trials)
        return cls(**{**objective.settings, "space": space})

    def suggest(self, trial: Any) -> Self:  # noqa: ARG002
        """The training finds the parameter."""
        return self

    def train(self, trials: Sequence[optuna.Trial], **limits: Any) -> list[Outcome]:
        """Train for all epochs, or until a limit; a training that is stopped begins anew."""
        [trial] = trials
        space = cast("ControlSpace", self.space)
        [run] = self.trainer.train([self.start({space.parameter: space.high})], **limits)
        if run.status == "stopped" or not run.history:
            is_stopped = run.status == "stopped"
            return [Outcome(TrialState.PRUNED, is_cut_off=not is_stopped, is_stopped=is_stopped)]
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
            return [Outcome(TrialState.FAIL, None, run.metrics, trained)]
        distribution = self.distributions[space.parameter]
        storage, parameter = trial.study._storage, (space.parameter, float(best + 1))
        patiently(storage.set_trial_param, trial._trial_id, *parameter, distribution)
        return [Outcome(TrialState.COMPLETE, value, run.history[best], trained)]
