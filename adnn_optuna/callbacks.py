"""Optuna callbacks that end a study at a limit of time, trials or gain.

The limits hold for the study and not for a call of :meth:`~optuna.study.Study.optimize`: they are
computed from the study's trials alone, and so add up over resumed runs and over all workers.
"""

from __future__ import annotations

import abc
import bisect
import math
import threading
import weakref
from datetime import datetime
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from optuna.storages._heartbeat import is_heartbeat_enabled
from optuna.study import StudyDirection
from optuna.trial import TrialState

from adnn_optuna._attributes import BASELINE, DIVERGED, FAILED, INTERRUPTED, STOP_REASON
from adnn_optuna._checks import check_integer, check_number, check_positive
from adnn_optuna.samplers._liveness import LivenessCheck, owner_of
from adnn_optuna.samplers._trial_cursor import TrialCursor

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial


def is_done(trial: FrozenTrial) -> bool:
    """Return whether a trial was run to its end, whatever came of it, and so counts."""
    if not trial.state.is_finished() or trial.system_attrs.get(INTERRUPTED):
        return False
    return trial.state != TrialState.FAIL or bool(trial.user_attrs.get(DIVERGED))


class _Tally(abc.ABC):
    """What the finished trials of a study add up to."""

    def __init__(self) -> None:
        self.cursor = TrialCursor()

    @abc.abstractmethod
    def add(self, study: Study, trial: FrozenTrial) -> None:
        """Take in a finished trial."""


_TallyT = TypeVar("_TallyT", bound=_Tally)


class _Limit(abc.ABC, Generic[_TallyT]):
    """A limit of a study. It remembers what it added up so far, only to save time."""

    reason: ClassVar[str]
    _tally_type: type[_TallyT]

    def __init__(self) -> None:
        self._tallies: weakref.WeakKeyDictionary[BaseStorage, dict[int, _TallyT]] = (
            weakref.WeakKeyDictionary()
        )
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_tallies"], state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._tallies = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def __call__(self, study: Study, trial: FrozenTrial) -> None:  # noqa: ARG002
        """End the study if it has reached the limit, and store why."""
        if self.reached(study):
            study.set_user_attr(STOP_REASON, self.reason)
            study.stop()

    def reached(self, study: Study, trials: list[FrozenTrial] | None = None) -> bool:
        """Return whether the study has reached the limit.

        Optuna calls callbacks after each trial only. To run no trial at all in a study that
        is at its limit already, ask before calling :meth:`~optuna.study.Study.optimize`.

        Args:
            study: A study with one objective.
            trials: All of its trials by number, if they have just been read.
        """
        if study._is_multi_objective():
            raise ValueError(
                f"`{type(self).__name__}` limits studies with one objective, but this study has "
                f"{len(study.directions)}."
            )
        with self._lock:
            return self._is_reached(study, self._updated_tally(study, trials))

    @abc.abstractmethod
    def _is_reached(self, study: Study, tally: _TallyT) -> bool: ...

    def _updated_tally(self, study: Study, trials: list[FrozenTrial] | None = None) -> _TallyT:
        if trials is None:
            trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
        tallies = self._tallies.setdefault(study._storage, {})
        tally = tallies.get(study._study_id)
        if tally is None or not tally.cursor.is_in(trials):
            tally = tallies[study._study_id] = self._tally_type()
        for trial in tally.cursor.advance(trials):
            if trial.state.is_finished():
                tally.add(study, trial)
        return tally


class _WorkingTime(_Tally):
    """The time in which at least one trial ran, as intervals that do not overlap."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self._starts: list[float] = []
        self._ends: list[float] = []

    def add(self, study: Study, trial: FrozenTrial) -> None:
        # That a worker died was noticed at some later time, when nothing may have run. When it
        # died, nobody knows: at most one trial's time is lost for each death.
        if trial.state != TrialState.FAIL or self._has_ended_by_itself(study, trial):
            self.add_interval(trial)

    def add_interval(self, trial: FrozenTrial) -> None:
        """Take in when a trial ran. It makes no difference if that is known already."""
        if trial.datetime_start is None or trial.datetime_complete is None:
            return
        start, end = trial.datetime_start.timestamp(), trial.datetime_complete.timestamp()
        if end <= start:  # The clock was set back.
            return
        first = bisect.bisect_left(self._ends, start)
        last = bisect.bisect_right(self._starts, end)
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
            self.seconds -= math.fsum(self._ends[first:last]) - math.fsum(self._starts[first:last])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]
        self.seconds += end - start

    @staticmethod
    def _has_ended_by_itself(study: Study, trial: FrozenTrial) -> bool:
        attrs = trial.system_attrs
        if owner_of(trial) is not None:
            return (
                FAILED in attrs
                or bool(attrs.get(INTERRUPTED))
                or bool(trial.user_attrs.get(DIVERGED))
            )
        return not is_heartbeat_enabled(study._storage)

    def seconds_with_running(self, start: float, now: float) -> float:
        """Return the time together with the interval from ``start`` to now."""
        seconds = self.seconds + max(now - start, 0.0)
        for i in range(len(self._ends) - 1, -1, -1):
            if self._ends[i] <= start:
                break
            overlap = min(self._ends[i], now) - max(self._starts[i], start)
            seconds -= max(overlap, 0.0)
        return seconds


class MaxTimeCallback(_Limit[_WorkingTime]):
    """End a study once its trials took a given time.

    What counts is the time in which at least one trial ran, in this or any other process, now or
    in an earlier run. Time in which nothing ran does not count, nor does the trial of a worker
    that died. The trial that runs when the limit is reached is completed first.

    On a storage with heartbeats, a failed trial of a sampler that is none of this package looks
    like that of a worker that died. So it counts in the process that ran it only.

    Example:

        .. testcode::

            import optuna
            from adnn_optuna.callbacks import MaxTimeCallback


            def objective(trial):
                return trial.suggest_float("x", -1, 1) ** 2


            study = optuna.create_study()
            study.optimize(objective, callbacks=[MaxTimeCallback(0.1)])
            assert study.user_attrs["adnn:stop_reason"] == "max_time"

    Args:
        max_time: The time in seconds.
    """

    reason = "max_time"
    _tally_type = _WorkingTime

    def __init__(self, max_time: float) -> None:
        check_positive("max_time", max_time)
        super().__init__()
        self._max_time = max_time

    def __repr__(self) -> str:
        return f"{type(self).__name__}(max_time={self._max_time})"

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        """End the study if it has reached the limit, and store why."""
        if trial.state == TrialState.FAIL:
            # Optuna calls with trials of this process, which lives: it failed by itself. Another
            # thread may have seen it before, and left it out. To count it twice changes nothing.
            with self._lock:
                self._updated_tally(study).add_interval(trial)
        super().__call__(study, trial)

    def elapsed(self, study: Study, trials: list[FrozenTrial] | None = None) -> float:
        """Return the seconds that the study's trials (read now, if not given) took so far."""
        with self._lock:
            return self._elapsed(study, self._updated_tally(study, trials))

    def remaining(self, study: Study, trials: list[FrozenTrial] | None = None) -> float:
        """Return the seconds that are left, 0 if none are."""
        return max(self._max_time - self.elapsed(study, trials), 0.0)

    def _is_reached(self, study: Study, tally: _WorkingTime) -> bool:
        return self._elapsed(study, tally) >= self._max_time

    def _elapsed(self, study: Study, tally: _WorkingTime) -> float:
        # A trial of which nobody knows whether it runs counts when it has ended.
        is_alive = LivenessCheck(study, if_unknown=False)
        starts = [
            trial.datetime_start.timestamp()
            for trial in tally.cursor.unfinished.values()
            if trial.datetime_start is not None and is_alive(trial)
        ]
        if not starts:
            return tally.seconds
        # All that run now end now: together they are one interval.
        return tally.seconds_with_running(min(starts), datetime.now().timestamp())  # noqa: DTZ005


class _TrialCount(_Tally):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def add(self, study: Study, trial: FrozenTrial) -> None:  # noqa: ARG002
        self.count += is_done(trial)


class MaxTrialCallback(_Limit[_TrialCount]):
    """End a study once a given number of trials is done.

    Completed and pruned trials count, and failed ones whose training diverged. Those that were
    interrupted, or whose worker died, do not: they are done again.

    :class:`optuna.study.MaxTrialsCallback` counts completed trials only, unless it is given other
    states, and then also those that were cut off. This one also tells before the first trial
    whether there is anything to do.

    Example:

        .. testcode::

            import optuna
            from adnn_optuna.callbacks import MaxTrialCallback


            def objective(trial):
                return trial.suggest_float("x", -1, 1) ** 2


            study = optuna.create_study()
            limit = MaxTrialCallback(10)
            study.optimize(objective, n_trials=6, callbacks=[limit])
            study.optimize(objective, n_trials=6, callbacks=[limit])
            assert len(study.trials) == 10
            assert limit.reached(study)

    Args:
        max_trial: The number of trials.
    """

    reason = "max_trial"
    _tally_type = _TrialCount

    def __init__(self, max_trial: int) -> None:
        check_integer("max_trial", max_trial, low=1)
        super().__init__()
        self._max_trial = int(max_trial)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(max_trial={self._max_trial})"

    def remaining(self, study: Study, trials: list[FrozenTrial] | None = None) -> int:
        """Return the number of trials that are left, 0 if none are."""
        with self._lock:
            return max(self._max_trial - self._updated_tally(study, trials).count, 0)

    def _is_reached(self, study: Study, tally: _TrialCount) -> bool:  # noqa: ARG002
        return tally.count >= self._max_trial


class _Best(_Tally):
    def __init__(self) -> None:
        super().__init__()
        self.value: float | None = None
        self.first: FrozenTrial | None = None

    def add(self, study: Study, trial: FrozenTrial) -> None:
        if trial.state != TrialState.COMPLETE or trial.system_attrs.get(INTERRUPTED):
            return
        # As for Optuna's `study.best_value`, an infeasible trial has no value.
        if not all(violation <= 0 for violation in trial.constraints.values()):
            return
        assert trial.value is not None
        better = max if study.direction == StudyDirection.MAXIMIZE else min
        self.value = trial.value if self.value is None else better(self.value, trial.value)
        if self.first is None or trial.number < self.first.number:
            self.first = trial


class MaxGainCallback(_Limit[_Best]):
    """End a study once its best value is a given gain better than the baseline.

    The gain is best value minus baseline if the study maximizes, and baseline minus best value
    if it minimizes. A gain that falls short by rounding alone, as 0.3 - 0.1 does of 0.2, has
    reached the limit. Trials that violate a constraint are ignored, and there is no gain on a
    baseline that is not finite.

    Example:

        .. testcode::

            import optuna
            from adnn_optuna.callbacks import MaxGainCallback


            def objective(trial):
                return trial.suggest_float("x", 0, 1)


            study = optuna.create_study(direction="maximize")
            study.optimize(objective, callbacks=[MaxGainCallback(0.25, baseline=0.5)])
            assert study.best_value >= 0.75
            assert all(trial.value < 0.75 for trial in study.trials[:-1])

    Args:
        max_gain:
            The gain, in units of the objective.
        baseline:
            The value to gain on. If :obj:`None`, it is what the study has stored as the user
            attribute ``adnn:baseline``, and without that the value of the first completed trial
            that violates no constraint.
    """

    reason = "max_gain"
    _tally_type = _Best

    def __init__(self, max_gain: float, baseline: float | None = None) -> None:
        check_positive("max_gain", max_gain)
        if baseline is not None:
            check_number("baseline", baseline)
        super().__init__()
        self._max_gain = max_gain
        self._baseline = baseline

    def __repr__(self) -> str:
        return f"{type(self).__name__}(max_gain={self._max_gain}, baseline={self._baseline})"

    def _is_reached(self, study: Study, tally: _Best) -> bool:
        if tally.value is None or tally.first is None:
            return False
        baseline = self._baseline
        if baseline is None:
            baseline = study._storage.get_study_user_attrs(study._study_id).get(BASELINE)
            if isinstance(baseline, bool) or not isinstance(baseline, Real | None):
                raise TypeError(
                    f"The user attribute {BASELINE!r} of the study must be a number, but is "
                    f"{baseline!r}."
                )
        if baseline is None:
            baseline = tally.first.value
        assert baseline is not None
        if not math.isfinite(baseline):
            return False
        gain = tally.value - baseline
        if study.direction == StudyDirection.MINIMIZE:
            gain = -gain
        rounding = math.ulp(tally.value) + math.ulp(baseline)
        return gain >= self._max_gain or self._max_gain - gain <= rounding < self._max_gain
