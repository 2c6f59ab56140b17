"""A study's number of trials, best values and working time, for limits and progress bars."""

import bisect
import contextlib
import math
import threading
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._attributes import BASELINE, ENDED, OUTCOME, check, outcome_of
from adnn_optuna.samplers._indexed import IndexedSampler
from adnn_optuna.samplers._owners import heartbeat_interval, owner_of
from adnn_optuna.samplers._replicates import replicate_of
from adnn_optuna.samplers._trials import TrialReader, is_done, may_be_best, sign_of


class Tally:
    """The sums over a study's finished trials, which limits use after each trial.

    They are the number of trials, the best values so far, and the working time. An update reads
    only trials that finished since the last one, so its time does not grow with the study.
    """

    def __init__(self, study: Study) -> None:
        self.lock: contextlib.AbstractContextManager[bool] = threading.RLock()
        self._sign = sign_of(study.direction)
        self.heartbeat_interval: int | None = heartbeat_interval(study)
        self.reader: TrialReader = TrialReader()
        self._clear()

    def _clear(self) -> None:
        self.n_done: int = 0
        # The best value after each trial that is no replicate, signed so that lower is better.
        self.bests: list[float] = []
        # The first trial with the best value, and the first trial with a value.
        self.best: FrozenTrial | None = None
        self.first: FrozenTrial | None = None
        self._just_ended: set[int] = set()  # The ids of the trials that the last update added.
        self._baseline: Any = None  # The study's baseline.
        self._has_asked = False  # Whether the storage was asked for the baseline.
        # The dates at which trials ended, and the working times until then, both in rising order.
        self._ends = [-math.inf]
        self._seconds = [0.0]

    @property
    def elapsed(self) -> float:
        """The working time: the duration of the longest chain of consecutive trials, in seconds.

        At the end of a trial, it is the working time when the trial began, plus the trial's
        duration. Trials of adnn store this sum. For other trials, it is computed from Optuna's
        dates.
        """
        return self._seconds[-1]

    def update(self, study: Study) -> None:
        """Add the trials that have finished since the last update."""
        news = self.reader.read(study)
        if self.reader.was_reset:
            self._clear()
        if isinstance(study.sampler, IndexedSampler) and self.reader.has_listed(study):
            study.sampler.take(study, self.reader)
        finished = [trial for trial in news if trial.state.is_finished()]
        self._just_ended = {trial._trial_id for trial in finished}
        # A trial's time is added to the working time of the trials that ended before it began. So
        # the trials are added in the order in which they ended.
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
        """Return the study's baseline, :obj:`None` if none is stored. It never changes later.

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
        """Return whether a trial may have ended because its worker was missing, not by itself."""
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
