"""Measure the time of a sampler's proposals."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler

if TYPE_CHECKING:
    from collections.abc import Callable


class Stopwatch:
    """Measures the processor's seconds in the calls of a sampler."""

    # The methods that a study calls. `template` exists in samplers that propose before a trial
    # begins.
    _CALLS = (
        "before_trial",
        "infer_relative_search_space",
        "sample_relative",
        "sample_independent",
        "after_trial",
        "template",
    )

    def __init__(self) -> None:
        self.seconds, self._is_running = 0.0, False

    def __deepcopy__(self, _: Any) -> Stopwatch:
        """Return this object itself, because `compare` copies the samplers."""
        return self

    def watched(self, sampler: Any) -> Any:
        """Return a sampler with measured calls, or a factory of such samplers."""
        if not isinstance(sampler, BaseSampler):
            return lambda seed, n: self.watched(self._measured(sampler, seed, n))
        for name in self._CALLS:
            if hasattr(sampler, name):
                call = functools.partial(self._measured, getattr(sampler, name))
                setattr(sampler, name, call)
        return sampler

    def _measured(self, call: Callable[..., Any], *args: Any) -> Any:
        if self._is_running:  # A measured method calls another measured method.
            return call(*args)
        began, self._is_running = time.process_time(), True
        try:
            return call(*args)
        finally:
            self.seconds += time.process_time() - began
            self._is_running = False
