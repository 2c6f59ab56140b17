"""The controls of a comparison that are no search of ours: what the same compute buys otherwise.

One is the unmoved network, trained for as many epochs as all trials of a search together; others
are objectives of users' own. The rest (learning rates, constant offsets) are ordinary searches.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from adnn_optuna import _attributes as stored
from adnn_optuna._checks import WrongValueError
from adnn_optuna.engine.evaluations import with_seed
from adnn_optuna.engine.searchers import KeyedSampler
from adnn_optuna.engine.storages import patiently
from adnn_optuna.engine.studies import Limits, Plan
from adnn_optuna.networks.training import is_finite

if TYPE_CHECKING:
    from adnn_optuna.networks.offsets import EpochsSpace

Control = str | Callable[..., float]
"""A name, or a user's own Optuna objective of a trial, or of a trial and the seed."""


def train_longer(plan: Plan, study: optuna.Study, stop: threading.Event) -> None:
    """Train the unmoved network once, for the epochs of all trials, as a study of one trial.

    Its value is that of the best epoch, its parameter the number of that epoch, and what it
    reports is the value after each. If it is killed or interrupted, it begins anew.
    """
    done = (TrialState.COMPLETE, TrialState.FAIL)
    if not patiently(study.get_trials, deepcopy=False, states=done):
        trial, is_cut_off = _longer_training(plan, study, stop)
        if trial is not None:
            patiently(study.add_trial, trial)
        if is_cut_off:
            patiently(study.set_user_attr, stored.STOP_REASON, "max_time")
    if stored.STOP_REASON not in patiently(lambda: study.user_attrs):
        patiently(study.set_user_attr, stored.STOP_REASON, "max_trial")


def _longer_training(
    plan: Plan, study: optuna.Study, stop: threading.Event
) -> tuple[FrozenTrial | None, bool]:
    """Return what came of a training, and whether the limit of time cut it off."""
    objective, space = plan.objective, cast("EpochsSpace", plan.objective.space)
    start, began = objective.start({"epochs": space.longest}), time.monotonic()
    deadline = began + (plan.limits.max_time or math.inf)
    [run] = objective.trainer.train([start], stop=stop, deadline=deadline)
    if stop.is_set():
        raise KeyboardInterrupt
    is_cut_off = run.status == "timeout"
    if not run.history:
        return None, is_cut_off
    values = [objective.value(metrics) for metrics in run.history]
    patiently(objective.set_baseline, study, run.history[: space.epochs][-1])
    known = [i for i, metrics in enumerate(run.history) if is_finite(metrics)]
    # The first of equals.
    best = max(known, key=lambda i: objective.improvement(values[i], 0.0), default=None)
    seconds = time.monotonic() - began
    trial = create_trial(
        state=TrialState.FAIL if best is None else TrialState.COMPLETE,
        value=None if best is None else values[best],
        params={"epochs": len(values) if best is None else best + 1},
        distributions=objective.distributions,
        user_attrs={
            stored.ELAPSED: seconds,
            stored.TRIAL_METRICS: run.history[-1 if best is None else best],
        },
        intermediate_values={i: values[i] for i in known},
    )
    if trial.datetime_complete is not None:
        trial.datetime_start = trial.datetime_complete - timedelta(seconds=seconds)
    return trial, is_cut_off


@dataclasses.dataclass(frozen=True)
class OwnControl:
    """A user's own Optuna objective as a control, searched by TPE: one study of a comparison.

    Args:
        objective: A function of a trial, or of a trial and the seed. It returns the selection
            metric and stores the accuracy on the test set as the trial's user attribute
            ``test_accuracy``, of which only the best trial's is looked at.
        name: The name of the study.
        direction: Its direction.
        seed: The seed of the unit and of TPE.
        max_trial: The number of its trials, those that fail included.
        max_time: The seconds that they may take, if there is a limit.
    """

    objective: Callable[..., float]
    name: str
    direction: StudyDirection
    seed: int
    max_trial: int
    max_time: float | None

    def open(self, storage: BaseStorage) -> optuna.Study:
        """Create or load the study."""
        study: optuna.Study = patiently(
            optuna.create_study,
            storage=storage,
            study_name=self.name,
            direction=self.direction,
            sampler=KeyedSampler(self.seed),
            load_if_exists=True,
        )
        settings = {"sampler": stored.OBJECTIVE, "n_trials": self.max_trial, "batch_size": 1}
        if stored.SEARCH not in study.user_attrs:
            patiently(study.set_user_attr, stored.SEARCH, settings)
        return study

    def run(self, study: optuna.Study, stop: threading.Event) -> None:
        """Run the study until it has reached a limit or ``stop`` is set."""
        function, _ = with_seed(self.objective)

        def end(study: optuna.Study, _: FrozenTrial) -> None:
            if stop.is_set():
                study.stop()

        def train(trial: optuna.Trial) -> float:
            value = function(trial, self.seed)
            if math.isfinite(value) and "test_accuracy" not in trial.user_attrs:
                raise WrongValueError(
                    f"The objective of the control {self.name!r} does not say how good its trials "
                    "are on the test set: let it call trial.set_user_attr('test_accuracy', …)."
                )
            return value

        # Those that failed count, too: their compute is spent.
        done = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        n_left = self.max_trial - len(patiently(study.get_trials, deepcopy=False, states=done))
        limits = Limits(max_time=self.max_time).callbacks
        if n_left > 0 and not any(limit.reached(study) for limit in limits):
            study.optimize(train, n_left, callbacks=[end, *limits])
        if stop.is_set():
            raise KeyboardInterrupt
        n_done = len(patiently(study.get_trials, deepcopy=False, states=done))
        reason = "max_trial" if n_done >= self.max_trial else "max_time"
        patiently(study.set_user_attr, stored.STOP_REASON, reason)
