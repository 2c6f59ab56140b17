"""Progress bars, where somebody sees them."""

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from adnn_optuna._units import printable

if TYPE_CHECKING:
    _Tqdm = tqdm[Any]
else:  # Where programs run, it has no such argument.
    _Tqdm = tqdm


class Bar(_Tqdm):
    """A bar of ours, without a thread that looks at all bars."""

    monitor_interval = 0

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; what a notebook shows does not follow a new ``total`` by itself."""
        super().__setattr__(name, value)
        shown = getattr(self, "container", None) if name == "total" and value else None
        if shown is not None:
            bar = shown.children[1]
            bar.max, bar.bar_style, bar.layout.width = value, "", None


def progress_bar(
    total: int | None = None, *, show: bool, **options: Any
) -> contextlib.AbstractContextManager[Bar | None]:
    """Return a bar if it is to be shown, on terminals and in notebooks; else None on entry."""
    is_seen = sys.stderr is not None and sys.stderr.isatty()
    if not show or not (is_seen or _is_notebook()):
        return contextlib.nullcontext()
    # An interrupt while it is drawn leaves its lock locked, which else is that of all bars.
    Bar.set_lock(threading.RLock())
    options["desc"] = printable(options.get("desc") or "")
    return Bar(total=total, **options)


def _is_notebook() -> bool:
    """Return whether this is a notebook's kernel; as tqdm does, without importing it."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and "IPKernelApp" in shell.config
