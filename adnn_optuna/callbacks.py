"""Optuna callbacks that end a study at a limit of time, trials or gain.

A :class:`Tally` computes a limit only from the study's trials, so all runs and workers count.
"""

import abc
import bisect
import contextlib
import math
import threading
from typing import Annotated, Any, ClassVar, TypedDict, Unpack, cast

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna import _checks
from adnn_optuna._attributes import BASELINE, ENDED, OUTCOME, STOP_REASON, check, outcome_of
from adnn_optuna._checks import WrongValueError
from adnn_optuna.samplers._indexed import IndexedSampler
from adnn_optuna.samplers._owners import heartbeat_interval, owner_of
from adnn_optuna.samplers._replicates import replicate_of
from adnn_optuna.samplers._trials import (
    PerStudy,
    TrialReader,
    check_one_objective,
    cost_sign,
    is_done,
    may_be_best,
)


class Tally:
    """Sums over a study's finished trials, which limits use after each trial.

    The sums are the number of trials, the best values so far, and the working time. An update
    reads only trials that finished after the last update, so its time does not grow with the
    study.
    """

    def __init__(self, study: Study) -> None:
        self.lock: contextlib.AbstractContextManager[bool] = threading.RLock()
        self._sign = cost_sign(study.direction)
        self.heartbeat_interval: int | None = heartbeat_interval(study)
        self.reader: TrialReader = TrialReader()
        self._clear()

    def _clear(self) -> None:
        self.n_done: int = 0
        # The best value after each trial that is not a replicate, signed so that lower is better.
        self.bests: list[float] = []
        # The first trial with the best value, and the first trial with a value.
        self.best: FrozenTrial | None = None
        self.first: FrozenTrial | None = None
        self._just_ended: set[int] = set()  # The ids of the trials that the last update added.
        self._baseline: Any = None  # The study's baseline.
        self._has_asked = False  # Whether the storage was already asked for the baseline.
        # The dates on which trials ended, and the working times until then. Both increase.
        self._ends = [-math.inf]
        self._seconds = [0.0]

    @property
    def elapsed(self) -> float:
        """The working time in seconds: the duration of the longest chain of consecutive trials.

        At a trial's end, the working time is its value at the trial's start plus the trial's
        duration. Trials of adnn store it. For other trials, it is computed from Optuna's dates.
        """
        return self._seconds[-1]

    def update(self, study: Study) -> None:
        """Add the trials that have finished since the last update."""
        news = self.reader.read(study)
        if self.reader.was_reset:
            self._clear()
        if isinstance(study.sampler, IndexedSampler) and self.reader.has_listed(study):
            study.sampler.read_from(study, self.reader)
        finished = [trial for trial in news if trial.state.is_finished()]
        self._just_ended = {trial._trial_id for trial in finished}
        # A trial's duration is added to the working time of trials that ended before it began. So
        # trials are added in the order of their ends.
        for trial in sorted(finished, key=lambda t: str(t.datetime_complete)):
            if not self._may_have_died(trial):
                self._add_time(trial)
            if not is_done(trial):
                continue
            self.n_done += 1
            if replicate_of(trial) is not None:  # A replicate cannot be the best trial.
                continue
            # As for Optuna's `study.best_value`, an infeasible trial has no value.
            if may_be_best(trial):
                self.best = min(self.best or trial, trial, key=self._rank)
                self.first = min(self.first or trial, trial, key=lambda t: t.number)
            self.bests.append(math.inf if self.best is None else self._rank(self.best)[0])

    def update_after(self, study: Study, trial: FrozenTrial) -> None:
        """Update after a trial has ended, once for all callbacks."""
        if trial._trial_id not in self._just_ended:
            self.update(study)

    def baseline_of(self, study: Study, *, again: bool = False) -> Any:
        """Return the study's baseline, or :obj:`None` if none is stored.

        A stored baseline never changes.

        An objective of this package stores the baseline before its first trial ends.
        """
        if self._baseline is None and (again or not self._has_asked):
            self._has_asked = True
            attrs = study._storage.get_study_user_attrs(study._study_id)
            check(study.study_name, attrs)
            self._baseline = attrs.get(BASELINE)
        return self._baseline

    def _rank(self, trial: FrozenTrial) -> tuple[float, int]:
        return self._sign * trial.values[0], trial.number

    def _may_have_died(self, trial: FrozenTrial) -> bool:
        """Return whether a trial may have ended because its worker died."""
        is_watched = self.heartbeat_interval is not None or owner_of(trial) is not None
        ended_by_itself = trial.system_attrs.get(ENDED) or OUTCOME in trial.user_attrs
        return trial.state == TrialState.FAIL and is_watched and not ended_by_itself

    def _add_time(self, trial: FrozenTrial) -> None:
        if trial.datetime_start is None or trial.datetime_complete is None:
            return
        start = trial.datetime_start.timestamp()
        end = trial.datetime_complete.timestamp()
        before = self._seconds[bisect.bisect_right(self._ends, start) - 1]
        elapsed = outcome_of(trial.user_attrs).get("elapsed")
        if elapsed is None:  # If a clock was set back, a trial may seem to end before it began.
            elapsed = before + max(end - start, 0.0)
        first = bisect.bisect_left(self._ends, end)
        if self._seconds[first - 1] < elapsed:
            last = max(first, bisect.bisect_right(self._seconds, elapsed))
            self._ends[first:last] = [end]
            self._seconds[first:last] = [elapsed]


_TALLIES = PerStudy(Tally)


def _tally_of(study: Study, trial: FrozenTrial | None = None) -> Tally:
    """Return the current tally of a study, whose last trial may be known."""
    check_one_objective(study)
    with _TALLIES.lock:
        tally = _TALLIES[study]
    with tally.lock:
        if trial is None:
            tally.update(study)
        else:
            tally.update_after(study, trial)
    return tally


def working_time(study: Study) -> float:
    """Return the working time of a study's trials in seconds, see :class:`MaxTimeCallback`."""
    return _tally_of(study).elapsed


class Limit(abc.ABC):
    """A limit of a study."""

    name: ClassVar[str]
    """The name of the argument, of the commands' option, and of the stored reason."""
    kind: ClassVar[type[float]] = float
    unit: ClassVar[str] = ""
    help: ClassVar[str]
    ends_early: ClassVar[bool] = False
    """Whether the limit may end a search before it has used the planned compute."""

    def __init__(self, value: float) -> None:
        if self.kind is int:
            _checks.check_integer(self.name, value, low=1)
        else:
            _checks.check_positive(self.name, value)
        self.value: float = self.kind(value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}={self.value})"

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        """End the study if it has reached the limit, and store the reason."""
        if self._is_reached(study, _tally_of(study, trial)):
            study.set_user_attr(STOP_REASON, self.name)
            study.stop()

    def reached(self, study: Study) -> bool:
        """Return whether the study, which has one objective, has reached the limit.

        Optuna calls callbacks only after a trial. To run no trial in a study that has already
        reached its limit, call this method before :meth:`~optuna.study.Study.optimize`.
        """
        return self._is_reached(study, _tally_of(study))

    def used(self, study: Study) -> float:
        """Return how much of the limit the study has used, in seconds, trials or gain."""
        return self._used(study, _tally_of(study))

    def _seconds_left(self, study: Study, tally: Tally) -> float:
        """Return the expected seconds until the study reaches the limit; infinite if unknown."""
        used = 0.0 if self.ends_early else self._used(study, tally)
        if used:
            return (self.value - used) * tally.elapsed / used
        return math.inf

    @abc.abstractmethod
    def _used(self, study: Study, tally: Tally) -> float: ...

    def _is_reached(self, study: Study, tally: Tally) -> bool:
        return self._used(study, tally) >= self.value


class MaxTimeCallback(Limit):
    """End a study when its trials have taken a given time.

    The limit counts all trials that have ended, in any process and in earlier runs. If trials ran
    in parallel, the time is the duration of the longest chain of consecutive trials. Idle time and
    trials of dead workers do not count. A trial that is running at the limit is completed first.

    For objectives of other packages, a trial's time is the difference of its dates in Optuna. If
    workers' clocks differ, trials may then seem to have run in parallel.

    Example: ``study.optimize(objective, callbacks=[MaxTimeCallback(600)])``

    Args:
        max_time: The time in seconds.
    """

    name = "max_time"
    unit = " s"
    help = "Seconds that all trials may take; a training run under way is then cut off."

    def __init__(self, max_time: float) -> None:
        super().__init__(max_time)

    def _seconds_left(self, study: Study, tally: Tally) -> float:  # noqa: ARG002
        return self.value - tally.elapsed

    def _used(self, study: Study, tally: Tally) -> float:  # noqa: ARG002
        return tally.elapsed


class MaxTrialCallback(Limit):
    """End a study when a given number of trials is done.

    Completed and pruned trials count, including trials of ``study.add_trial``. A failed trial
    counts if the training of an :class:`~adnn_optuna.InitOffsetObjective` diverged. In
    :func:`~adnn_optuna.search`, it also counts if the objective returned NaN or raised an error
    that was caught. In ``study.optimize``, such a trial does not count. So pass ``n_trials``, too;
    otherwise, the study never ends if all trials fail.

    Interrupted trials and trials of dead workers never count, because they are repeated. Unlike
    :class:`optuna.study.MaxTrialsCallback`, this limit can be checked before the first trial, with
    :meth:`reached`.

    Example: ``study.optimize(objective, n_trials=100, callbacks=[MaxTrialCallback(50)])``

    Args:
        max_trial: The number of trials.
    """

    name = "max_trial"
    kind: ClassVar[type[float]] = int
    help = "The number of trials, over all runs and workers."

    def __init__(self, max_trial: int) -> None:
        super().__init__(max_trial)

    def _used(self, study: Study, tally: Tally) -> float:  # noqa: ARG002
        return tally.n_done


class MaxGainCallback(Limit):
    """End a study when its best value is a given gain better than the baseline.

    If the study maximizes, the gain is the best value minus the baseline. If it minimizes, the
    gain is the baseline minus the best value. Rounding errors do not matter: 0.3 - 0.1 reaches the
    limit 0.2. Trials that violate a constraint are ignored. Without a finite baseline, there is no
    gain.

    Example: ``study.optimize(objective, callbacks=[MaxGainCallback(0.25, baseline=0.5)])``

    Args:
        max_gain: The gain, in units of the objective.
        baseline: The value over which the gain is measured. The default is the baseline network's
            stored value: the user attribute ``adnn:baseline`` of the best trial or, without it, of
            the study. Without this attribute, the default is the value of the first completed
            trial that violates no constraint.
    """

    name = "max_gain"
    help = "The sufficient gain over the baseline, in units of the metric (0.02 is 2 points)."
    ends_early = True

    def __init__(self, max_gain: float, baseline: float | None = None) -> None:
        if baseline is not None:
            _checks.check_number("baseline", baseline)
        super().__init__(max_gain)
        self._baseline = baseline

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, baseline={self._baseline})"

    def _used(self, study: Study, tally: Tally) -> float:
        best = math.nan
        if tally.best is not None:
            best = tally.best.values[0]
        gain = best - self._baseline_of(study, tally)
        if study.direction == StudyDirection.MINIMIZE:
            return -gain
        return gain

    def _is_reached(self, study: Study, tally: Tally) -> bool:
        if not self._seems_reached(study, tally):
            return False
        # Another worker may have stored a baseline in the meantime.
        if self._baseline is None and tally.baseline_of(study, again=True) is not None:
            return self._seems_reached(study, tally)
        return True

    def _seems_reached(self, study: Study, tally: Tally) -> bool:
        baseline = self._baseline_of(study, tally)
        gain = self._used(study, tally)
        if tally.best is None or not math.isfinite(baseline):
            return False
        rounding = math.ulp(tally.best.values[0]) + math.ulp(baseline)
        return gain >= self.value or self.value - gain <= rounding < self.value

    def _baseline_of(self, study: Study, tally: Tally) -> float:
        baseline: Any = self._baseline
        if baseline is None and tally.best is not None:
            baseline = tally.best.user_attrs.get(BASELINE)
            if baseline is None:
                baseline = tally.baseline_of(study)
        if baseline is None:
            baseline = math.nan
            if tally.first is not None:
                baseline = tally.first.value
        return float(baseline)


class MaxStaleCallback(Limit):
    """End a study when a given number of trials in a row did not improve its best value.

    The same trials count as in :class:`MaxTrialCallback`, over all runs and workers, in the order
    of their ends.

    Example: ``study.optimize(objective, callbacks=[MaxStaleCallback(30)])``

    Args:
        max_stale: The number of trials without an improvement.
        min_improvement: An improvement counts only if it is larger than this number, in units of
            the objective.
    """

    name = "max_stale"
    kind: ClassVar[type[float]] = int
    help = "The number of trials in a row that may fail to improve on the best value."
    ends_early = True

    def __init__(self, max_stale: int, min_improvement: float = 0.0) -> None:
        _checks.check_number("min_improvement", min_improvement)
        if min_improvement < 0:
            raise WrongValueError(
                f"min_improvement must be at least 0; got {min_improvement!r}. Pass 0 if every "
                "improvement counts."
            )
        super().__init__(max_stale)
        self._min_improvement = min_improvement

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, min_improvement={self._min_improvement})"

    def _used(self, study: Study, tally: Tally) -> float:  # noqa: ARG002
        """Return the number of trials since the last improvement."""
        bests = tally.bests
        if not bests:
            return 0
        # The values are sorted, so this finds the first value that equals the last.
        enough = bests[-1] + self._min_improvement
        last_improvement = bisect.bisect_left(bests, -enough, key=lambda best: -best)
        return len(bests) - 1 - last_improvement


LIMITS: tuple[type[Limit], ...] = (
    MaxTimeCallback,
    MaxTrialCallback,
    MaxGainCallback,
    MaxStaleCallback,
)
"""All limits. If a study reaches several limits at once, the last one in this list is the
stored reason.
"""


class OtherLimits(TypedDict, total=False):
    """The limits other than ``max_trial``. :obj:`None` means no limit."""

    max_time: Annotated[float | None, MaxTimeCallback.help]
    max_gain: Annotated[float | None, MaxGainCallback.help]
    max_stale: Annotated[int | None, MaxStaleCallback.help]


class LimitValues(OtherLimits, total=False):
    """All limits of a study, over all its runs and workers. :obj:`None` means no limit."""

    max_trial: Annotated[int | None, MaxTrialCallback.help]


def checked_limits(**given: Unpack[LimitValues]) -> LimitValues:
    """Return the value of each limit as JSON. Raise an error for a wrong value."""
    makers: Any = {limit.name: limit for limit in LIMITS}
    values: dict[str, Any] = {**dict.fromkeys(makers), **given}
    for name, value in values.items():
        if value is not None:
            values[name] = makers[name](value).value
    return cast("LimitValues", values)


def callbacks_of(limits: LimitValues) -> list[Limit]:
    """Return the callbacks of the limits, in the order of their checks: the last limit first."""
    values: Any = limits
    makers: Any = LIMITS[::-1]
    return [make(values[make.name]) for make in makers if values.get(make.name) is not None]
