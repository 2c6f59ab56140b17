"""The loop behind `search` and `compare`: ask several studies, train one stack, tell."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import time
from typing import TYPE_CHECKING, Any

from optuna.samplers import GridSampler
from optuna.trial import TrialState

from adnn_optuna.callbacks import (
    DIVERGED,
    STOP_REASON,
    MaxGainCallback,
    MaxTimeCallback,
    MaxTrialCallback,
)
from adnn_optuna.objective import mark_interrupted, train_trials
from adnn_optuna.samplers import (
    INTERRUPTED,
    PROPOSAL,
    DeltaStepSampler,
    IndexedSampler,
    LivenessCheck,
    current_owner,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import optuna
    from optuna.trial import FrozenTrial

    from adnn_optuna.objective import InitOffsetObjective, Outcome

# Reasons for a study to end, beside those of the callbacks.
EXHAUSTED = "exhausted"
INTERRUPTED_BY_USER = "interrupted"


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a study may take, over all of its runs and workers; :obj:`None` is no limit.

    Args:
        max_time:
            Seconds.
        max_trial:
            Trials.
        max_gain:
            Gain over the baseline, in units of the metric.

    Raises:
        TypeError: If a limit is not a number.
        ValueError: If a limit is not positive and finite.
    """

    max_time: float | None = None
    max_trial: int | None = None
    max_gain: float | None = None

    def __post_init__(self) -> None:
        # The callbacks check the values.
        self._callbacks  # noqa: B018

    @functools.cached_property
    def _callbacks(
        self,
    ) -> tuple[MaxGainCallback | None, MaxTrialCallback | None, MaxTimeCallback | None]:
        # Where several limits are reached at once, the first of these is the reason.
        return (
            None if self.max_gain is None else MaxGainCallback(self.max_gain),
            None if self.max_trial is None else MaxTrialCallback(self.max_trial),
            None if self.max_time is None else MaxTimeCallback(self.max_time),
        )

    def check(self, study: optuna.Study) -> tuple[str | None, float]:
        """Return the name of the limit that a study has reached, if any, and the trials left."""
        gain, trials, seconds = self._callbacks
        left = math.inf if trials is None else trials.remaining(study)
        if gain is not None and gain.reached(study):
            return gain.reason, left
        if trials is not None and left == 0:
            return trials.reason, left
        if seconds is not None and seconds.reached(study):
            return seconds.reason, left
        return None, left

    def is_gain_reached(self, study: optuna.Study) -> bool:
        """Return whether a study has gained enough."""
        gain, _, _ = self._callbacks
        return gain is not None and gain.reached(study)

    def seconds_left(self, study: optuna.Study) -> float:
        """Return how many seconds a study may still take."""
        _, _, seconds = self._callbacks
        return math.inf if seconds is None else seconds.remaining(study)


@dataclasses.dataclass
class Lane:
    """A study that is under way.

    Args:
        study:
            The study, with its sampler.
        objective:
            Its objective.
        limits:
            What it may take.
        width:
            How many trials it is asked for at once.
    """

    study: optuna.Study
    objective: InitOffsetObjective
    limits: Limits
    width: int

    def ask(self) -> list[optuna.Trial]:
        """Ask for the next trials; none, with the reason stored, if the study is at its end."""
        reason, left = self.limits.check(self.study)
        if reason is None and not self._has_more():
            reason = EXHAUSTED
        if reason is not None:
            self.stop(reason)
            return []
        trials: list[optuna.Trial] = []
        # Up to the end of a batch: the proposals of the next one learn from this one, also where
        # it was begun before the study was killed.
        width = 1 if self.width == 1 else self.width - self.n_done % self.width
        for _ in range(int(min(width, left))):
            if trials and not self._has_more():
                break
            trials.append(self._ask_one())
        return trials

    @property
    def n_done(self) -> int:
        """The number of trials that were run to an end."""
        return len(done_trials(self.study))

    def _has_more(self) -> bool:
        sampler = self.study.sampler
        if isinstance(sampler, DeltaStepSampler):
            return sampler.has_free_step(self.study)
        return not (isinstance(sampler, GridSampler) and sampler.is_exhausted(self.study))

    def _ask_one(self) -> optuna.Trial:
        trial = self.study.ask(self.objective.distributions)
        if not isinstance(self.study.sampler, IndexedSampler):
            # Our own samplers say who runs a trial, so that a dead worker's trials can be told
            # from a live one's. For the others it is said here.
            storage = self.study._storage
            if PROPOSAL not in storage.get_trial(trial._trial_id).system_attrs:
                owner: Any = {"sampler": "", "index": None, "owner": [*current_owner()]}
                storage.set_trial_system_attr(trial._trial_id, PROPOSAL, owner)
        return trial

    def tell(self, trials: Sequence[optuna.Trial], outcomes: Sequence[Outcome]) -> None:
        """Tell what came of trials; those after the one that gained enough count for nothing."""
        for trial, outcome in zip(trials, outcomes, strict=True):
            if self.limits.is_gain_reached(self.study):
                mark_interrupted(trial)
                self.study.tell(trial, state=TrialState.PRUNED)
                continue
            self.study.tell(trial, outcome.value, outcome.state)

    def stop(self, reason: str) -> None:
        """Store why the study ended."""
        if self.study.user_attrs.get(STOP_REASON) != reason:
            self.study.set_user_attr(STOP_REASON, reason)


def done_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that were run to an end, whatever came of them, by number."""
    is_done = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    return [
        trial
        for trial in study.get_trials(deepcopy=False, states=is_done)
        if not trial.system_attrs.get(INTERRUPTED)
        and (trial.state != TrialState.FAIL or trial.user_attrs.get(DIVERGED))
    ]


def fail_dead_trials(study: optuna.Study) -> None:
    """End the trials that processes which died left RUNNING; they will be done again."""
    is_alive = LivenessCheck(study)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not is_alive(trial):
            study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)


def run_lanes(
    lanes: Sequence[Lane],
    stack_size: int,
    after_tell: Callable[[Lane, Sequence[optuna.Trial], Sequence[Outcome]], None] | None = None,
) -> None:
    """Run studies in lockstep until each has reached a limit.

    In each round every study is asked, all trials are trained, ``stack_size`` at once, and told.
    So a stack holds one trial of each of many studies, or many trials of one.

    Args:
        lanes:
            The studies; their objectives share a trainer.
        stack_size:
            How many trials are trained at once, at the most.
        after_tell:
            Called after trials of a study were told.

    Raises:
        KeyboardInterrupt: If the user interrupts; the trials under way end as failed and will be
            done again when the studies are resumed.
    """
    for lane in lanes:
        fail_dead_trials(lane.study)
    try:
        asked = [(lane, trials) for lane in lanes if (trials := lane.ask())]
        while asked:
            # Counted from now, as the trials' own time runs since they were asked for.
            deadline = time.monotonic() + min(
                lane.limits.seconds_left(lane.study) for lane, _ in asked
            )
            jobs = [(lane.objective, trial) for lane, trials in asked for trial in trials]
            outcomes: list[Outcome] = []
            for begin in range(0, len(jobs), stack_size):
                outcomes += train_trials(jobs[begin : begin + stack_size], deadline=deadline)
            remaining = iter(outcomes)
            for lane, trials in asked:
                of_lane = list(itertools.islice(remaining, len(trials)))
                lane.tell(trials, of_lane)
                if after_tell is not None:
                    after_tell(lane, trials, of_lane)
            asked = [(lane, trials) for lane, _ in asked if (trials := lane.ask())]
    except BaseException as error:
        for lane in lanes:
            _abandon_own_trials(lane.study)
            if isinstance(error, KeyboardInterrupt) and lane.limits.check(lane.study)[0] is None:
                lane.stop(INTERRUPTED_BY_USER)
        raise


def _abandon_own_trials(study: optuna.Study) -> None:
    """End the trials that this process has begun and not told; they will be done again."""
    own = [*current_owner()]
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.system_attrs.get(PROPOSAL, {}).get("owner") == own:
            storage = study._storage
            storage.set_trial_system_attr(trial._trial_id, INTERRUPTED, value=True)
            storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
