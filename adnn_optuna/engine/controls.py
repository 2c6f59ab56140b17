"""The controls of a comparison that are no search of ours: what the same compute buys otherwise.

One is the unmoved network, trained for as many epochs as all trials of a search together; others
are objectives of users' own. The rest (learning rates, constant offsets) are ordinary searches.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import TrialPruned
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Metrics
from adnn_optuna._checks import WrongValueError
from adnn_optuna.engine.evaluations import with_seed
from adnn_optuna.engine.outcomes import Outcome
from adnn_optuna.engine.storages import patiently
from adnn_optuna.engine.studies import Plan

if TYPE_CHECKING:
    from adnn_optuna.engine.objective import InitOffsetObjective
    from adnn_optuna.networks.offsets import EpochsSpace

Control = str | Callable[..., float]
"""A name, or a user's own Optuna objective of a trial, or of a trial and the seed."""


def train_longer(plan: Plan, study: optuna.Study, stop: threading.Event) -> None:
    """Train the unmoved network once, for the epochs of all trials, as a study of one trial.

    Its value is that of the best epoch, its parameter the number of that epoch, and what it
    reports is the value after each. If it is killed or interrupted, it begins anew.
    """
    objective, space = plan.objective, cast("EpochsSpace", plan.objective.space)
    done, reason = (TrialState.COMPLETE, TrialState.FAIL), "max_trial"
    if not patiently(study.get_trials, deepcopy=False, states=done):
        start, began = objective.start({"epochs": space.longest}), time.monotonic()
        deadline = began + (plan.limits.max_time or math.inf)
        [run] = objective.trainer.train([start], stop=stop, deadline=deadline)
        if stop.is_set():
            raise KeyboardInterrupt
        if run.history:
            patiently(objective.set_baseline, study, run.history[: space.epochs][-1])
            trial = _best_epoch(objective, run.history, time.monotonic() - began)
            patiently(study.add_trial, trial)
        reason = "max_time" if run.status == "timeout" else reason
    if stored.STOP_REASON not in patiently(lambda: study.user_attrs):
        patiently(study.set_user_attr, stored.STOP_REASON, reason)


def _best_epoch(
    objective: InitOffsetObjective, history: Sequence[Metrics], seconds: float
) -> FrozenTrial:
    """Return a training as a trial, with the value of its best epoch, the first of equals."""
    values = [objective.value(metrics) for metrics in history]
    known = [i for i, value in enumerate(values) if not math.isnan(value)]
    best = max(known, key=lambda i: objective.improvement(values[i], 0.0), default=None)
    trial = create_trial(
        state=TrialState.FAIL if best is None else TrialState.COMPLETE,
        value=None if best is None else values[best],
        params={"epochs": len(values) if best is None else best + 1},
        distributions=objective.distributions,
        user_attrs={
            stored.ELAPSED: seconds,
            stored.TRIAL_METRICS: history[-1 if best is None else best],
        },
        intermediate_values={i: values[i] for i in known},
    )
    if trial.datetime_complete is not None:
        trial.datetime_start = trial.datetime_complete - timedelta(seconds=seconds)
    return trial


@dataclasses.dataclass(frozen=True)
class OwnObjective:
    """A user's own Optuna objective in the place of ours, for the control ``"objective"``.

    Args:
        function: A function of a trial, or of a trial and the seed. It returns the selection
            metric and stores the accuracy on the test set as the trial's user attribute
            ``test_accuracy``, of which only the best trial's is looked at.
        direction: Its direction.
        seed: The seed of the unit and of TPE.
    """

    function: Callable[..., float]
    direction: StudyDirection
    seed: int
    distributions: ClassVar[dict[str, BaseDistribution]] = {}  # The function suggests by itself.

    def attach(self, study: optuna.Study) -> None:
        """Nothing is known of the function that a study could store."""

    def train(self, trials: Sequence[optuna.Trial], **_: object) -> list[Outcome]:
        """Run one trial to its end, whatever the limits."""
        [trial] = trials
        try:
            value = with_seed(self.function)[0](trial, self.seed)
        except TrialPruned:
            return [Outcome(TrialState.PRUNED)]
        if not math.isfinite(value):
            return [Outcome(TrialState.FAIL)]
        if "test_accuracy" not in trial.user_attrs:
            name = trial.study.study_name
            raise WrongValueError(
                f"The objective of the control {name!r} does not say how good its trials are on "
                "the test set: let it call trial.set_user_attr('test_accuracy', …)."
            )
        return [Outcome(TrialState.COMPLETE, value)]
