"""Progress bars, where somebody sees them."""

import contextlib
import math
import sys
import threading
from typing import TYPE_CHECKING, Any

import optuna
from tqdm.auto import tqdm

from adnn_optuna._units import printable, unit_of
from adnn_optuna.callbacks import LimitValues, callbacks_of
from adnn_optuna.engine.init_offset_objective import InitOffsetObjective
from adnn_optuna.engine.records import read_record
from adnn_optuna.engine.storages import with_retry

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


class SearchProgress:
    """What a bar shows of a search: trial, best, gain, and how long it is until which limit."""

    def __init__(
        self, bar: Bar, study: optuna.Study, objective: InitOffsetObjective, limits: LimitValues
    ) -> None:
        self._bar, self._study, self._limits = bar, study, callbacks_of(limits)
        self._max_trial, self._of = limits["max_trial"], ""
        self.update()
        if objective.is_of_trial:
            return
        self._of = f" of {objective.training.epochs}"
        if not objective.trainer.is_compiled:
            bar.set_description_str(f"{self._text}; compiling")

    def update(self, *_: object) -> None:
        """Show the trials that were told."""
        record = with_retry(read_record, self._study)
        n_done = len(record.done_trials)
        text = f"trial {n_done}/{self._max_trial}" if self._max_trial else f"trial {n_done}"
        if record.best is not None:
            unit = unit_of(record.metric)
            text += f": best {unit.value(record.best_value)}, gain {unit.gain(record.gain)}"
        left = [(limit.seconds_left(self._study), limit) for limit in self._limits]
        seconds, nearest = min(left, key=lambda of: of[0], default=(math.inf, None))
        if nearest is not None and math.isfinite(seconds):
            seconds = max(seconds, 0.0)
            text += f"; {seconds:.0f} s left of {nearest.reason} {nearest.value:g}{nearest.unit}"
        for limit in self._limits:
            if limit.ends_early:
                text += f"; until {limit.reason} {limit.value:g}{limit.unit}"
        self._text, self._bar.n, self._bar.total = text, n_done, self._max_trial
        self._bar.set_description_str(text)

    def show_epochs(self, epochs: float) -> None:
        """Show how far a training is; any thread may call it."""
        self._bar.set_description_str(f"{self._text}; epoch {epochs:.1f}{self._of}")
