"""What is searched, and how its trials end."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState

from adnn_optuna import _attributes as stored
from adnn_optuna._attributes import Ended, Metrics, Trained


class Objective(Protocol):
    """What is searched: anything whose trials the loop can ask for, train and tell."""

    @property
    def direction(self) -> StudyDirection:
        """The direction of its study."""

    @property
    def seed(self) -> int:
        """What its sampler's random numbers are keyed on."""

    @property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        """The parameters of every trial, as far as they are known before."""

    @property
    def unmoved(self) -> Mapping[str, Any]:
        """The parameters of the trial that a search begins with; empty where any may be."""

    def attach(self, study: optuna.Study) -> None:
        """Store in a study what is searched, or refuse one of something else."""

    def suggest(self, trial: optuna.Trial) -> object:
        """Let a trial suggest its parameters, in the thread that asks."""

    def train(
        self,
        trials: Sequence[optuna.Trial],
        *,
        stop: threading.Event,
        deadline: float,
        meanwhile: Callable[[float], object] | None,
    ) -> list[Outcome]:
        """Return how each trial of a round ends; see :meth:`Trainer.train` for the limits."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a trial ends: FAIL is that its training diverged.

    If a limit cut it off, it is PRUNED. If the user stopped it, it is not told, but done again.
    """

    state: TrialState
    value: float | None = None
    metrics: Metrics | None = None
    trained: Trained | None = None
    is_cut_off: bool = False
    is_stopped: bool = False

    def store(self, trial: optuna.Trial, elapsed: float) -> None:
        """Store in a trial, before it is told, what is to be known beside state and value."""
        trial.set_user_attr(stored.ELAPSED, elapsed)
        if self.trained is not None:
            trial.set_user_attr(stored.TRAINED, self.trained)
        if self.metrics is not None:
            trial.set_user_attr(stored.TRIAL_METRICS, self.metrics)
        if self.is_cut_off:
            mark(trial, "interrupted")
        if self.state == TrialState.FAIL:
            mark(trial, "diverged")


def mark(trial: optuna.Trial, ended: Ended) -> None:
    """Note why a trial comes to no value, before it is told."""
    trial.study._storage.set_trial_system_attr(trial._trial_id, stored.ENDED, ended)
