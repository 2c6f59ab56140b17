"""How long the trials of a study took, by clocks that nobody sets."""

import bisect
import math
import secrets
import threading
import time
from datetime import datetime

from optuna.study import Study
from optuna.trial import FrozenTrial

from adnn_optuna._attributes import ELAPSED, WORKED, Worked
from adnn_optuna.samplers._trials import check_attributes


class WorkingTime:
    """The time of the longest row of trials that followed each other in a study, in seconds.

    At the end of a trial it is the largest that was seen when that began, plus the trial's own. A
    trial may bear it; nobody can write to one that has ended, so the workers of others store it in
    the study. Only where nobody did, the dates of the trials tell, by the clocks of their workers.
    """

    def __init__(self) -> None:
        self._borne = 0.0
        # When trials ended, by their dates, and the working time then. Both rise.
        self._ends = [-math.inf]
        self._seconds = [0.0]
        self._name = f"{WORKED}/{secrets.token_hex(4)}"
        # When the last trial of each thread ended, by a clock that nobody sets and by its date,
        # and the working time then.
        self._turns: dict[int, tuple[float, datetime, float]] = {}

    def elapsed(self, study: Study) -> float:
        """Return the time until the last trial ended."""
        worked = [one["elapsed"] for one in _worked(study).values()]
        return max(*worked, self._borne) if worked else self._seconds[-1]

    def add(self, trial: FrozenTrial) -> None:
        """Take in a trial that has ended."""
        if trial.datetime_start is None or trial.datetime_complete is None:
            return
        start, end = trial.datetime_start, trial.datetime_complete.timestamp()
        elapsed = trial.user_attrs.get(ELAPSED)
        if elapsed is None:
            # The clock may have been set back.
            elapsed = self._before(start) + max(end - start.timestamp(), 0.0)
        else:
            self._borne = max(self._borne, elapsed)
        first = bisect.bisect_left(self._ends, end)
        if self._seconds[first - 1] < elapsed:
            last = max(first, bisect.bisect_right(self._seconds, elapsed))
            self._ends[first:last], self._seconds[first:last] = [end], [elapsed]

    def _before(self, start: datetime) -> float:
        return self._seconds[bisect.bisect_right(self._ends, start.timestamp()) - 1]

    def store(self, study: Study, trial: FrozenTrial, since: float, n_trials: int) -> None:
        """Store the time in a study, where a trial of this thread has just ended.

        Args:
            study: The study.
            trial: The trial.
            since: When this thread may have begun to work, by :func:`time.monotonic`.
            n_trials: How many trials there are.
        """
        now, thread, worked = time.monotonic(), threading.get_ident(), _worked(study)
        start, end = trial.datetime_start, trial.datetime_complete
        if start is None or end is None:
            return
        since, last_end, seen = self._turns.get(thread, (since, None, None))
        # What of the time since then was idle is told by the dates: both are of one clock.
        passed = now - since
        before = passed - (end - start).total_seconds()
        idle = before if last_end is None else (start - last_end).total_seconds()
        if not 0 <= idle <= passed:  # Somebody set that clock meanwhile.
            idle = before
        seconds = passed - min(max(idle, 0.0), passed)
        if seen is None:
            others = [_seen(trial, seconds, one) for one in worked.values()]
            seen = max(*others, self._borne) if others else max(self._before(start), self._borne)
        known = worked[self._name]["elapsed"] if self._name in worked else 0.0
        mine: Worked = {"elapsed": max(seen + seconds, known), "n_trials": n_trials}
        study.set_user_attr(self._name, mine)
        known = max(mine["elapsed"], self._borne, *(one["elapsed"] for one in worked.values()))
        self._turns[thread] = now, end, known


def _seen(trial: FrozenTrial, seconds: float, worked: Worked) -> float:
    """Return what a worker's time was when the first trial of a thread began, ``seconds`` ago.

    A trial that got its number after another one had ended began after that. Beside one that got
    it before, the worker may have worked for all of that time.
    """
    is_enqueued = "fixed_params" in trial.system_attrs  # It had its number long before.
    is_after = is_enqueued or trial.number >= worked["n_trials"]
    return worked["elapsed"] - (0.0 if is_after else seconds)


def _worked(study: Study) -> dict[str, Worked]:
    """Return what the workers of a study stored, by their names."""
    attrs = study._storage.get_study_user_attrs(study._study_id)
    check_attributes(study, attrs)
    return {name: one for name, one in attrs.items() if name.startswith(f"{WORKED}/")}
