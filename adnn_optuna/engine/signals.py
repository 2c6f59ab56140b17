"""Living with other workers of the same study: signs of life, and signals."""

import contextlib
import signal
import threading
import warnings
from collections.abc import Collection, Iterator
from typing import Any

from optuna.exceptions import ExperimentalWarning

_warnings_lock = threading.Lock()


@contextlib.contextmanager
def heartbeats(storage: Any, interval: int | None, trials: Collection[int]) -> Iterator[None]:
    """Show every ``interval`` seconds, if any, that this process runs trials, by their ids."""
    if interval is None:
        yield
        return
    is_over = threading.Event()

    def beat() -> None:
        while not is_over.wait(interval):
            for trial_id in list(trials):
                # A storage that is away is the loop's matter, and this thread outlives it.
                with contextlib.suppress(Exception):
                    storage.record_heartbeat(trial_id)

    thread = threading.Thread(target=beat, name="heartbeats", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(timeout=1.0)


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Keep Optuna from warning of heartbeats, which are used as `Study.optimize` does."""
    # Filters are the process's: two threads would restore each other's.
    with _warnings_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Heartbeat of storage", category=UserWarning)
        warnings.filterwarnings("ignore", category=ExperimentalWarning)
        yield


@contextlib.contextmanager
def interruptible(stop: threading.Event | None = None) -> Iterator[threading.Event]:
    """Yield what Ctrl-C sets, and SIGTERM, with which clusters end their jobs.

    A signal that the user handles is left alone. The second one is not waited for any longer. All
    that a verb does stands within: an exception that a signal raises anywhere is lost where it
    meets the end of an object, of which Python drops all exceptions.
    """
    stop = stop or threading.Event()

    def interrupt(_: int, __: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        # The command line has the first handler for SIGTERM, too.
        defaults = (signal.default_int_handler, signal.SIG_DFL)
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) in defaults:
                before[number] = signal.signal(number, interrupt)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    # Only now none can come unseen.
    if stop.is_set():
        raise KeyboardInterrupt
