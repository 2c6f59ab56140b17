"""What a study stores of each run of its search: when it began, and why it ended."""

import os
from datetime import UTC, datetime
from typing import Any

import optuna

from adnn_optuna._attributes import RUNS, STOP_REASON, RunRecord, SearchSettings
from adnn_optuna.callbacks import LimitValues
from adnn_optuna.engine.studies import last_limits


class StoredRun:
    """One run; nothing is stored before there is something to do."""

    def __init__(self, study: optuna.Study, limits: LimitValues, settings: SearchSettings) -> None:
        self._study, self._limits, self._settings = study, limits, settings
        self._began = datetime.now(UTC).isoformat()
        self._n_trials_before: int | None = None

    def begin(self, n_done: int) -> None:
        """Store that it began, once.

        If it is killed, nothing has ended it: not what ended an earlier run either.
        """
        if self._n_trials_before is None:
            self._store(n_done, None, None)
            self._n_trials_before = n_done

    def end(self, reason: str, n_done: int) -> None:
        """Store why it ended; one that had nothing to do changes nothing."""
        if self._n_trials_before is not None:
            self._store(self._n_trials_before, reason, n_done)
            return
        # Unless its limits are those of a run that died before it could say so.
        is_open = self._study.user_attrs.get(STOP_REASON) is None
        if is_open and last_limits(self._study) == self._limits:
            self._study.set_user_attr(STOP_REASON, reason)

    def interrupt(self, limit: str | None, n_done: int) -> None:
        """Store that the user ended it, unless a limit had or there was nothing to do."""
        if self._n_trials_before is not None:
            self.end(limit or "interrupted", n_done)

    def _store(self, n_trials_before: int, reason: str | None, n_trials: int | None) -> None:
        limits: Any = self._limits
        record: RunRecord = {
            "began": self._began,
            "sampler": self._settings["sampler"],
            "limits": limits,
            "n_trials_before": n_trials_before,
            "stop_reason": reason,
            "n_trials": n_trials,
        }
        self._study.set_user_attr(f"{RUNS}/{self._began}-{os.getpid()}", record)
        self._study.set_user_attr(STOP_REASON, reason)
