"""Living with the user and other workers: signals, signs of life, progress bars."""

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
else:  # Where programs run, it has no such argument.
    _Tqdm = tqdm

_warnings_lock = threading.Lock()


@contextlib.contextmanager
def heartbeats(storage: Any, interval: int | None, trials: Collection[int]) -> Iterator[None]:
    """Record a heartbeat for each of these trials every ``interval`` seconds, if it is set."""
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
    """Yield an event that Ctrl-C sets, and SIGTERM, with which clusters end their jobs.

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


class Bar(_Tqdm):
    """A progress bar without a thread that watches all bars."""

    monitor_interval = 0

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; what a notebook shows does not follow a new ``total`` by itself."""
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
    """A bar that is not shown."""


_HiddenBar.set_lock(threading.RLock())  # Its own: it neither waits for others nor disturbs them.


def progress_bar(total: int | None = None, *, show: bool, **options: Any) -> Bar:
    """Return a bar; it is disabled unless it is to be shown, on a terminal or in a notebook."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    # As tqdm finds out, without importing it.
    shell: Any = None
    if "IPython" in sys.modules:
        shell = sys.modules["IPython"].get_ipython()
    is_notebook = shell is not None and "IPKernelApp" in shell.config
    if not show or not (is_terminal or is_notebook):
        return _HiddenBar(disable=True)
    # An interrupt while it is drawn leaves its lock locked, which else is that of all bars.
    Bar.set_lock(threading.RLock())
    options["desc"] = printable(options.get("desc") or "")
    return Bar(total=total, **options)
