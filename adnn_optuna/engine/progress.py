"""Progress bars, where somebody sees them."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import optuna

from adnn_optuna._units import unit_of
from adnn_optuna.callbacks import MaxTimeCallback
from adnn_optuna.engine.records import record_of
from adnn_optuna.engine.storages import patiently

if TYPE_CHECKING:
    from tqdm.auto import tqdm

    from adnn_optuna.engine.studies import Plan


def progress_bar(
    total: int | None = None, *, show: bool, **options: Any
) -> contextlib.AbstractContextManager[tqdm[Any] | None]:
    """Return a bar if it is to be shown, on terminals and in notebooks; else :obj:`None` on entry.

    The ``total`` is how much there is to do, where that is known; ``options`` are those of tqdm.
    """
    is_seen = sys.stderr is not None and sys.stderr.isatty()
    if not show or not (is_seen or _is_notebook()):
        return contextlib.nullcontext()
    # Imported, it warns in notebooks that lack what it draws with.
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[type-arg]
        # Nor a thread that looks at all bars.
        monitor_interval = 0

    # An interrupt while it is drawn leaves its lock locked, which else is that of all bars.
    Bar.set_lock(threading.RLock())
    return Bar(total=total, **options)


def _is_notebook() -> bool:
    """Return whether this is a notebook's kernel; as tqdm does, without importing it."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and "IPKernelApp" in shell.config


class SearchProgress:
    """What a bar shows of a search: trial, best, gain, and how long it is until which limit."""

    def __init__(self, bar: tqdm[Any], study: optuna.Study, plan: Plan) -> None:
        self._bar, self._study, self._limits = bar, study, plan.limits
        self._clock, self._of = MaxTimeCallback(1.0), ""
        self.update()
        if plan.objective.is_of_trial:
            return
        self._of = f" of {plan.objective.training.epochs}"
        if not plan.objective.trainer.is_compiled:
            bar.set_description_str(f"{self._text}; compiling")

    def update(self, *_: object) -> None:
        """Show the trials that were told."""
        record = patiently(record_of, self._study)
        self._n_done, self._best = len(record.done_trials), ""
        self._elapsed, self._told = self._clock.elapsed(self._study), time.monotonic()
        if record.best is not None:
            unit = unit_of(record.metric)
            best, gain = unit.value(record.best_value), unit.gain(record.gain)
            self._best = f": best {best}, gain {gain}"
        self._bar.n, self._bar.total = self._n_done, self._limits.max_trial
        self._bar.set_description_str(self._text)

    def show_epochs(self, epochs: float) -> None:
        """Show how far a training is; any thread may call it."""
        self._bar.set_description_str(f"{self._text}; epoch {epochs:.1f}{self._of}")

    @property
    def _text(self) -> str:
        max_trial, left = self._limits.max_trial, {}
        if self._limits.max_time:
            elapsed = self._elapsed + time.monotonic() - self._told
            left[f"max_time {self._limits.max_time:g} s"] = self._limits.max_time - elapsed
        if max_trial and self._n_done:
            seconds = (max_trial - self._n_done) * self._elapsed / self._n_done
            left[f"max_trial {max_trial}"] = seconds
        limit = min(left, key=lambda name: left[name], default=None)
        text = f"trial {self._n_done}{f'/{max_trial}' if max_trial else ''}{self._best}"
        if limit is not None:
            text += f"; {max(left[limit], 0.0):.0f} s left of {limit}"
        if self._limits.max_gain:
            text += f"; until max_gain {self._limits.max_gain:g}"
        return text
