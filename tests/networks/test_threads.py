"""The threads that train end when they are idle, and not before."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from adnn_optuna.networks import _threads
from adnn_optuna.networks._threads import TrainingThreads

if TYPE_CHECKING:
    import pytest

EXIT = """
from adnn_optuna.networks._threads import THREADS
print(THREADS.begin_use(2).submit(len, "four").result())
THREADS.end_use()
"""


def wait_until_ended(before: set[threading.Thread]) -> None:
    while set(threading.enumerate()) - before:
        time.sleep(0.01)


def test_threads_end_when_nobody_has_used_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_threads, "_SECONDS_IDLE", 0.05)
    before, threads = set(threading.enumerate()), TrainingThreads()
    for _ in range(3):
        used = {threads.begin_use(2).submit(threading.current_thread).result() for _ in range(9)}
        assert not used & before
        for _ in range(9):
            threads.end_use()
        wait_until_ended(before)


def test_threads_that_are_used_do_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_threads, "_SECONDS_IDLE", 0.01)
    before, threads = set(threading.enumerate()), TrainingThreads()
    pool = threads.begin_use(1)
    first = pool.submit(threading.current_thread).result()
    threads.begin_use(1)
    threads.end_use()  # Another user is left.
    pool.submit(time.sleep, 0.2).result()
    assert pool.submit(threading.current_thread).result() is first
    assert threads.begin_use(1) is pool
    threads.end_use()
    threads.end_use()
    wait_until_ended(before)


def test_idle_threads_do_not_keep_a_program_from_ending() -> None:
    command = [sys.executable, "-c", EXIT]
    assert subprocess.check_output(command, text=True, timeout=50) == "4\n"
