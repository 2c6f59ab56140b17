"""What a search shows while it runs: a progress bar, or a line for each trial."""

import math

import optuna

from adnn_optuna._checks import logger
from adnn_optuna._units import unit_of
from adnn_optuna.callbacks import LimitValues, callbacks_of
from adnn_optuna.engine.objectives import Outcome
from adnn_optuna.engine.records import read_record
from adnn_optuna.engine.signals import Bar
from adnn_optuna.samplers._tally import Tally


class SearchProgress:
    """The bar of a search: trial, best value, gain, and the time to the next limit."""

    def __init__(
        self, bar: Bar, study: optuna.Study, first_step: str, limits: LimitValues
    ) -> None:
        self._bar, self._study, self._limits = bar, study, callbacks_of(limits)
        self._max_trial = limits["max_trial"]
        self._best, self._of_best, before = -1, "", Tally(study)
        before.update(study)
        self.update(before)
        if first_step:
            bar.set_description_str(f"{self._text}; {first_step}")

    def update(self, tally: Tally, *_: object) -> None:
        """Show the trials that were told."""
        n_done = tally.n_done
        best = tally.best
        if best is not None and best.number != self._best:
            # All trials are read only for a new best one, so that a trial's time stays flat.
            record = read_record(self._study)
            self._best = best.number
            unit = unit_of(record.metric)
            self._of_best = (
                f": best {unit.value(record.best_value)}, gain {unit.gain(record.gain)}"
            )
        text = f"trial {n_done}"
        if self._max_trial:
            text = f"trial {n_done}/{self._max_trial}"
        text += self._of_best
        remaining_seconds = [
            (limit._seconds_left(self._study, tally), limit) for limit in self._limits
        ]
        seconds, nearest = min(remaining_seconds, key=lambda of: of[0], default=(math.inf, None))
        if nearest is not None and math.isfinite(seconds):
            seconds = max(seconds, 0.0)
            text += f"; {seconds:.0f} s left of {nearest.reason} {nearest.value:g}{nearest.unit}"
        for limit in self._limits:
            if limit.ends_early:
                text += f"; until {limit.reason} {limit.value:g}{limit.unit}"
        self._text = text
        self._bar.n = n_done
        self._bar.total = self._max_trial
        self._bar.set_description_str(text)


def log_trial(tally: Tally, trial: optuna.Trial, outcome: Outcome) -> None:
    """Log a trial that was told as Optuna does."""
    best = tally.best
    if outcome.value is not None and best is not None:
        message = "Trial %d finished with value: %s and parameters: %s. Best is trial %d with %s."
        logger.info(message, trial.number, outcome.value, trial.params, best.number, best.value)
