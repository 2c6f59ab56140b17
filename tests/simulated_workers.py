"""Workers on a study in memory. Tests suspend or kill them at each call of the storage.

Each worker is a thread that looks like a process to the samplers. Only one worker runs at a time,
and clocks differ by up to two hours. Before each call of the storage, the test decides which
worker runs next and which worker is killed. A killed worker executes nothing more.
"""

from __future__ import annotations

import functools
import os
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import InMemoryStorage

from adnn_optuna.samplers import _owners

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from optuna.samplers import BaseSampler

MAIN = 1000


class KilledError(BaseException):
    """Ends the thread of a killed worker after the test."""


class Worker(threading.Thread):
    """A worker that runs only when the test lets it."""

    def __init__(self, work: Callable[[], None], clock_skew: timedelta) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.clock_skew = clock_skew
        self._may_go_on = threading.Semaphore(0)
        self._has_paused = threading.Semaphore(0)
        self._error: BaseException | None = None
        self.next_call = ""
        self.is_killed = False
        self.has_ended = False
        self.start()

    def run(self) -> None:
        try:
            self._may_go_on.acquire()
            self._work()
        except KilledError:
            pass
        except BaseException as error:  # noqa: BLE001
            self._error = error
        self.has_ended = True
        self._has_paused.release()

    def pause(self, next_call: str) -> None:
        self.next_call = next_call
        if not self.is_killed:
            self._has_paused.release()
            self._may_go_on.acquire()
        if self.is_killed:
            raise KilledError

    def go_on(self) -> None:
        self._may_go_on.release()
        self._has_paused.acquire()
        if self._error is not None:
            raise self._error


class SwitchingStorage(InMemoryStorage):
    """A storage in memory that suspends the calling worker before each call."""

    def __init__(self) -> None:
        super().__init__()
        self.n_calls: dict[str, int] = {}


def _switching(name: str) -> Callable[..., Any]:
    original = getattr(InMemoryStorage, name)

    @functools.wraps(original)
    def call(self: SwitchingStorage, *args: Any, **kwargs: Any) -> Any:
        thread = threading.current_thread()
        if isinstance(thread, Worker):
            self.n_calls[name] = self.n_calls.get(name, 0) + 1
            thread.pause(name)
        result = original(self, *args, **kwargs)
        if isinstance(thread, Worker) and name == "create_new_trial":
            trial = self._get_trial(result)
            if trial.datetime_start is not None:
                trial.datetime_start += thread.clock_skew
                self._set_trial(result, trial)
        return result

    return call


for _name in (
    "create_new_trial",
    "get_all_trials",
    "get_trial_id_from_study_id_trial_number",
    "set_trial_param",
    "set_trial_state_values",
    "set_trial_system_attr",
):
    setattr(SwitchingStorage, _name, _switching(_name))


class Workers:
    """Workers on one study, each with its own sampler object.

    Args:
        monkeypatch: Replaces process ids and start times, so that threads look like processes.
        make_sampler: Returns the sampler of a new worker.
        work: The function that each worker calls with its study.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        make_sampler: Callable[[], BaseSampler],
        work: Callable[[optuna.Study], None],
        **options: Any,
    ) -> None:
        self.storage = SwitchingStorage()
        self.study = optuna.create_study(
            storage=self.storage, study_name="study", sampler=make_sampler(), **options
        )
        self._make_sampler = make_sampler
        self._work = work
        self.alive: dict[int, Worker] = {}
        self._killed: list[Worker] = []
        self._current = MAIN
        self._n_started = 0
        monkeypatch.setattr(os, "getpid", lambda: self._current)
        monkeypatch.setattr(_owners, "_own_start_time", lambda pid: f"start of {pid}")
        monkeypatch.setattr(
            _owners,
            "_start_time",
            lambda pid: f"start of {pid}" if pid in self.alive or pid == MAIN else None,
        )

    def start(self) -> int:
        """Start one more worker and return its process id."""
        self._n_started += 1
        study = optuna.load_study(
            study_name="study", storage=self.storage, sampler=self._make_sampler()
        )
        process_id = MAIN + self._n_started
        self.alive[process_id] = Worker(
            lambda: self._work(study), timedelta(minutes=30 * (self._n_started % 5 - 2))
        )
        return process_id

    def go_on(self, process_id: int) -> None:
        """Let a worker run up to its next call of the storage."""
        self._current = process_id
        worker = self.alive[process_id]
        try:
            worker.go_on()
        finally:
            self._current = MAIN
        if worker.has_ended:
            del self.alive[process_id]

    def go_on_to(self, process_id: int, call: str) -> None:
        """Let a worker run until it is about to make the given call of the storage."""
        worker = self.alive[process_id]
        self.go_on(process_id)
        while worker.next_call != call:
            self.go_on(process_id)

    def kill(self, process_id: int) -> None:
        """Stop a worker at its present storage call for good."""
        self._killed.append(self.alive.pop(process_id))

    def close(self) -> None:
        """End the threads of all workers, killed or not."""
        for worker in [*self._killed, *self.alive.values()]:
            worker.is_killed = True
            worker.go_on()
            worker.join()
