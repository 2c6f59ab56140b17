"""The loop behind `search` and `compare`: ask several studies, train one stack, tell."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import itertools
import math
import time
from typing import TYPE_CHECKING

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import GridSampler
from optuna.study._tell import _tell_with_warning
from optuna.trial import TrialState

from adnn_optuna._attributes import STOP_REASON
from adnn_optuna.callbacks import MaxGainCallback, MaxTimeCallback, MaxTrialCallback, is_done
from adnn_optuna.engine._database import StorageError, begins_trial
from adnn_optuna.engine._trial_stack import mark_interrupted, train_trials
from adnn_optuna.engine.workers import (
    Heartbeats,
    bury,
    create_own_trial,
    end_own_trials,
    end_unfinished,
    sigterm_as_interrupt,
    take_from_queue,
)
from adnn_optuna.networks.training import TOO_LITTLE_MEMORY, is_out_of_memory
from adnn_optuna.samplers import DeltaStepSampler, IndexedSampler, LivenessCheck
from adnn_optuna.samplers._trial_cursor import TrialCursor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from optuna.trial import FrozenTrial

    from adnn_optuna.engine._trial_stack import Outcome
    from adnn_optuna.engine.objective import InitOffsetObjective

_logger = optuna.logging.get_logger("optuna.adnn_optuna")

# How long to wait before looking again whether others have done the rest, in seconds.
_SECONDS_BETWEEN_LOOKS = 0.1

# More trials than other workers may begin at one moment.
_MANY_OTHERS = 64

# The studies of which this process could not end its trials. As it lives on, nobody takes these
# trials for dead.
_left_running: set[str] = set()

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
        # The callbacks check the values; NumPy's numbers, which JSON cannot hold, become Python's.
        self._callbacks  # noqa: B018
        for name, kind in (("max_time", float), ("max_trial", int), ("max_gain", float)):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, kind(value))

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

    def check(
        self, study: optuna.Study, trials: list[FrozenTrial] | None = None
    ) -> tuple[str | None, float]:
        """Return the name of the limit that a study has reached, if any, and the trials left.

        Args:
            study:
                The study.
            trials:
                All of its trials by number, if they have just been read.
        """
        gain, count, seconds = self._callbacks
        left = math.inf if count is None else count.remaining(study, trials)
        if gain is not None and gain.reached(study, trials):
            return gain.reason, left
        if count is not None and left == 0:
            return count.reason, left
        if seconds is not None and seconds.reached(study, trials):
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
        has_ended:
            Whether it has reached a limit.
    """

    study: optuna.Study
    objective: InitOffsetObjective
    limits: Limits
    width: int
    has_ended: bool = dataclasses.field(default=False, init=False)
    _cursor: TrialCursor = dataclasses.field(default_factory=TrialCursor, init=False)
    _n_done: int = dataclasses.field(default=0, init=False)
    _has_begun: bool = dataclasses.field(default=False, init=False)

    def ask(self) -> list[optuna.Trial]:
        """Ask for the next trials.

        There are none if the study has ended, the reason for which is stored then, and none for
        now if other workers run all that are left: if one of them dies, its trial is to be done.
        """
        trials = self._look()
        running, waiting = self._unfinished()
        if bury(self.study, running):
            trials = self._look()
            running, waiting = self._unfinished()
        reason, left = self.limits.check(self.study, trials)
        # Of a trial of which nobody can know whether it runs, nothing is expected.
        is_alive = LivenessCheck(self.study, if_unknown=False)
        n_running = sum(map(is_alive, running))
        n_left = left - n_running
        n_proposals = self._n_proposals()
        if reason is None and n_proposals + len(waiting) == n_running == 0:
            reason = EXHAUSTED
        if reason is not None:
            self.stop(reason)
            self.has_ended = True
            return []
        return self._begin(len(trials), n_left, n_proposals, waiting)

    def _look(self) -> list[FrozenTrial]:
        """Read what is new in the study, once for all that is to be decided now."""
        trials = self.study._storage.get_all_trials(self.study._study_id, deepcopy=False)
        self._n_done += sum(map(is_done, self._cursor.advance(trials)))
        return trials

    def _unfinished(self) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
        unfinished = self._cursor.unfinished.values()
        return (
            [trial for trial in unfinished if trial.state == TrialState.RUNNING],
            [trial for trial in unfinished if trial.state == TrialState.WAITING],
        )

    @property
    def _width(self) -> int:
        # Up to the end of a batch: the proposals of the next one learn from this one, also where
        # it was begun before the study was killed.
        return 1 if self.width == 1 else self.width - self._n_done % self.width

    def _n_proposals(self) -> float:
        """Return how many trials the sampler has to propose, as far as that matters now."""
        sampler = self.study.sampler
        if isinstance(sampler, DeltaStepSampler):
            # Other workers may begin trials before this one does.
            return sampler.n_free_steps(self.study, at_most=2 * self.width + _MANY_OTHERS)
        return 0 if self.study._stop_flag else math.inf

    def _begin(
        self, n_known: int, n_left: float, n_proposals: float, waiting: list[FrozenTrial]
    ) -> list[optuna.Trial]:
        """Begin trials, the given number at the most, though other workers do the same.

        Trials are numbered by the storage, in one transaction each: where the next number is not
        the next one that was known, others have begun trials since, and theirs come first.
        """
        begun: list[optuna.Trial] = []
        queue = iter(waiting)
        # Other samplers may read the parameters that a trial has so far.
        writes_at_once = isinstance(self.study.sampler, IndexedSampler)
        while len(begun) < min(self._width, n_left + len(begun)):
            # Another worker, which sees no sign of life of this one, may end the trial.
            with contextlib.suppress(UpdateFinishedTrialError):
                with begins_trial(self.study._storage, writes_at_once=writes_at_once):
                    trial_id = take_from_queue(self.study, queue)
                    if trial_id is not None:
                        n_left -= 1
                    # What was enqueued is told before anything is proposed: a GridSampler cannot
                    # be told of it when all but one of its own trials are under way.
                    elif waiting or n_proposals <= 0:
                        break
                    else:
                        trial_id = create_own_trial(self.study)
                        number = self.study._storage.get_trial(trial_id).number
                        n_new, n_known = number + 1 - n_known, number + 1
                        n_left -= n_new
                        n_proposals -= n_new
                        if n_left < 0 or n_proposals < 0:
                            end_unfinished(self.study, trial_id)
                            break
                    trial = self._started(trial_id)
                begun.append(trial)
        if begun and not self._has_begun:
            self._has_begun = True
            # That of an earlier run: if this one is killed, nothing has ended it.
            self.stop(None)
        return begun

    def _started(self, trial_id: int) -> optuna.Trial:
        self.study._thread_local.cached_all_trials = None
        trial = optuna.Trial(self.study, trial_id)
        for name, distribution in self.objective.distributions.items():
            trial._suggest(name, distribution)
        return trial

    def tell(self, trials: Sequence[optuna.Trial], outcomes: Sequence[Outcome]) -> None:
        """Tell what came of trials; those after the one that gained enough count for nothing."""
        for trial, outcome in zip(trials, outcomes, strict=True):
            state, value = outcome.state, outcome.value
            try:
                if self.limits.is_gain_reached(self.study):
                    mark_interrupted(trial)
                    state, value = TrialState.PRUNED, None
                else:
                    outcome.note(trial)
                self._tell_one(trial, state, value)
            except UpdateFinishedTrialError:
                _logger.warning(
                    "Trial %d was ended by another worker, which saw no sign of life of this one; "
                    "its result is dropped and the trial is done again.",
                    trial.number,
                )

    def _tell_one(self, trial: optuna.Trial, state: TrialState, value: float | None) -> None:
        sampler, storage = self.study.sampler, self.study._storage
        if isinstance(sampler, IndexedSampler) and state == TrialState.COMPLETE:
            assert value is not None
            # `Study.tell` would read the whole trial twice; our samplers need to know only that
            # it has ended.
            sampler.after_trial(self.study, trial._cached_frozen_trial, state, [value])
            storage.set_trial_state_values(trial._trial_id, state, [value])
        else:
            # As in `Study.optimize`, where samplers may stop the study.
            self.study._thread_local.in_optimize_loop = True
            try:
                _tell_with_warning(self.study, trial, value, state)
            finally:
                self.study._thread_local.in_optimize_loop = False

    @property
    def n_done(self) -> int:
        """The number of trials that were run to an end."""
        self._look()
        return self._n_done

    def stop(self, reason: str | None) -> None:
        """Store why the study ended, :obj:`None` while it is under way."""
        if self.study.user_attrs.get(STOP_REASON) != reason:
            self.study.set_user_attr(STOP_REASON, reason)


def done_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that were run to an end, whatever came of them, by number."""
    return [trial for trial in study.get_trials(deepcopy=False) if is_done(trial)]


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
        KeyboardInterrupt: If the user interrupts or the process is terminated; the trials under
            way end as failed and will be done again when the studies are resumed.
        MemoryError: If there is too little memory for even one training.
    """
    with (
        _tidied(lanes),
        Heartbeats(lane.study._storage for lane in lanes) as heartbeats,
        sigterm_as_interrupt(),
    ):
        for lane in lanes:
            lane.study._stop_flag = _is_exhausted(lane.study)
        while True:
            running = [lane for lane in lanes if not lane.has_ended]
            asked = [(lane, trials) for lane in running if (trials := lane.ask())]
            if not asked:
                if all(lane.has_ended for lane in running):
                    return
                time.sleep(_SECONDS_BETWEEN_LOOKS)
                continue
            jobs = [(lane.objective, trial) for lane, trials in asked for trial in trials]
            for _, trial in jobs:
                heartbeats.begin(trial)
            # Counted from now, as the trials' own time runs since they were asked for.
            deadline = time.monotonic() + min(
                lane.limits.seconds_left(lane.study) for lane, _ in asked
            )
            outcomes, stack_size = _train(jobs, stack_size, deadline)
            remaining = iter(outcomes)
            for lane, trials in asked:
                of_lane = list(itertools.islice(remaining, len(trials)))
                lane.tell(trials, of_lane)
                for trial in trials:
                    heartbeats.end(trial)
                if after_tell is not None:
                    after_tell(lane, trials, of_lane)


def _is_exhausted(study: optuna.Study) -> bool:
    """Return whether the sampler stopped its study in some run: it would only repeat trials."""
    if study.user_attrs.get(STOP_REASON) != EXHAUSTED:
        return False
    # A grid may have more points now.
    return not isinstance(study.sampler, GridSampler) or study.sampler.is_exhausted(study)


@contextlib.contextmanager
def _tidied(lanes: Sequence[Lane]) -> Iterator[None]:
    """End the trials that an error leaves unfinished; where the storage failed, the next time."""
    names = {lane.study.study_name for lane in lanes}
    for lane in lanes:
        if lane.study.study_name in _left_running:
            end_own_trials(lane.study)
    _left_running.difference_update(names)
    try:
        yield
    except BaseException as error:
        _left_running.update(names)
        # It was waited for long enough.
        if isinstance(error, StorageError):
            raise
        for lane in lanes:
            end_own_trials(lane.study)
            if isinstance(error, KeyboardInterrupt) and lane.limits.check(lane.study)[0] is None:
                lane.stop(INTERRUPTED_BY_USER)
        _left_running.difference_update(names)
        raise


def _train(
    jobs: Sequence[tuple[InitOffsetObjective, optuna.Trial]], stack_size: int, deadline: float
) -> tuple[list[Outcome], int]:
    """Train trials, fewer at once where memory runs out, and return how many at once."""
    outcomes: list[Outcome] = []
    while len(outcomes) < len(jobs):
        stack = jobs[len(outcomes) : len(outcomes) + stack_size]
        try:
            outcomes += train_trials(stack, deadline=deadline)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if len(stack) == 1:
                raise MemoryError(TOO_LITTLE_MEMORY) from error
            stack_size = len(stack) // 2
            _logger.warning(
                "There is too little memory to train %d networks at once; going on with %d.",
                len(stack),
                stack_size,
            )
        else:
            continue
        # The error and with it the memory is held by a cycle: its traceback's frames hold the
        # futures, and these hold it.
        gc.collect()
    return outcomes, stack_size
