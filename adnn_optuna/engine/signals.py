"""Signals from the user, heartbeats for other workers, and progress bars."""

import contextlib
import signal
import sys
import threading
import warnings
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from optuna.exceptions import ExperimentalWarning
from tqdm.auto import tqdm

from adnn_optuna._checks import printable

if TYPE_CHECKING:
    _Tqdm = tqdm[Any]
else:  # At run time, tqdm takes no type argument.
    _Tqdm = tqdm

_warnings_lock = threading.Lock()


@contextlib.contextmanager
def heartbeats(storage: Any, interval: int | None, trials: Collection[int]) -> Iterator[None]:
    """Record heartbeats of trials every ``interval`` seconds, or none if it is None."""
    if interval is None:
        yield
        return
    is_over = threading.Event()

    def beat() -> None:
        while not is_over.wait(interval):
            for trial_id in list(trials):
                # The loop handles errors of the storage, so this thread ignores them.
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
    """Suppress Optuna's warning that only `Study.optimize` records heartbeats.

    The loop records them, too.
    """
    # All threads share the warning filters, so two threads would restore each other's filters.
    with _warnings_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Heartbeat of storage", category=UserWarning)
        warnings.filterwarnings("ignore", category=ExperimentalWarning)
        yield


@contextlib.contextmanager
def interruptible(stop: threading.Event | None = None) -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set. Clusters end jobs with SIGTERM.

    If the user has a handler for a signal, it is not replaced. A second signal raises
    KeyboardInterrupt at once. A public function does all its work within this block. Outside the
    block, a signal raises KeyboardInterrupt at any point. Python drops the exception if it is
    destroying an object at this moment.
    """
    stop = stop or threading.Event()

    def interrupt(_: int, __: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        # The command line also sets default_int_handler for SIGTERM.
        defaults = (signal.default_int_handler, signal.SIG_DFL)
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) in defaults:
                before[number] = signal.signal(number, interrupt)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    # This check is last, because signals may set the event until the handlers are restored.
    if stop.is_set():
        raise KeyboardInterrupt


class Bar(_Tqdm):
    """A progress bar without tqdm's thread that monitors all bars."""

    monitor_interval = 0

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute.

        A new ``total`` also appears in notebooks, unlike with tqdm itself.
        """
        super().__setattr__(name, value)
        container = None
        if name == "total" and value:
            container = getattr(self, "container", None)
        if container is not None:
            bar = container.children[1]
            bar.max = value
            bar.bar_style = ""
            bar.layout.width = None


class _HiddenBar(Bar):
    """A progress bar that is not shown."""


_HiddenBar.set_lock(threading.RLock())  # Hidden bars never wait for visible bars.


def progress_bar(total: int | None = None, *, show: bool, **options: Any) -> Bar:
    """Return a progress bar, shown only with ``show`` on a terminal or in a notebook."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    # tqdm detects notebooks in the same way, without importing IPython.
    shell: Any = None
    if "IPython" in sys.modules:
        shell = sys.modules["IPython"].get_ipython()
    is_notebook = shell is not None and "IPKernelApp" in shell.config
    if not show or not (is_terminal or is_notebook):
        return _HiddenBar(disable=True)
    # An interrupt while a bar is drawn leaves its lock locked, so bars do not share a lock.
    Bar.set_lock(threading.RLock())
    options["desc"] = printable(options.get("desc") or "")
    return Bar(total=total, **options)
