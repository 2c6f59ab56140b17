"""Guesses of the final values of pruned trials, from the values that trials reported."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Self

import numpy as np

from adnn_optuna.samplers._local_model import PointPool

Reports = Mapping[int, float]
"""The values that a trial reported, by step. Lower values are better."""


@dataclasses.dataclass(frozen=True)
class ReportPool(PointPool):
    """Points of trials that reported values.

    A point's value is the final value, or NaN for a pruned trial.

    In a full pool, a new point replaces the first old pruned point, because NaN counts as the
    worst value.
    """

    # The reports of all points that were ever in the pool, by the point's number.
    reports: tuple[Reports, ...] = ()

    def with_reports(self, x: np.ndarray, value: float, reports: Reports) -> Self:
        """Return the pool with one more point."""
        pool = self.with_point(x, value)
        return dataclasses.replace(pool, reports=(*self.reports, reports))

    def guesses(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the pruned points whose final values can be guessed, and the guesses.

        A guess has the rank among final values that the trial's last report has among all reports
        at that step. Later steps come first, because their guesses are used at earlier steps.
        """
        values = self.values.copy()
        is_pruned = np.isnan(values)
        if is_pruned.all() or not is_pruned.any():
            return self.points[:0], values[:0]
        reports = [self.reports[number] for number in self.numbers]
        last_steps = {max(reports[row]) for row in np.flatnonzero(is_pruned)}
        for step in sorted(last_steps, reverse=True):
            rows = np.array([row for row, of_trial in enumerate(reports) if step in of_trial])
            values_at_step = np.array([reports[row][step] for row in rows])
            is_open = np.isnan(values[rows])
            ranks = _ranks(np.where(np.isnan(values_at_step), math.inf, values_at_step))
            values[rows[is_open]] = _fitting_values(
                ranks[is_open], ranks[~is_open], values[rows[~is_open]]
            )
        has_guess = is_pruned & ~np.isnan(values)
        return self.points[has_guess], values[has_guess]


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks of values. Equal values get their mean rank."""
    ordered = np.sort(values)
    first, last = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return (first + last) / 2


def _fitting_values(
    ranks: np.ndarray, known_ranks: np.ndarray, known_values: np.ndarray
) -> np.ndarray:
    """Return the values at ``ranks``, interpolated between known ranks.

    All are NaN if fewer than two different ranks are known.

    Beyond the last known rank, values increase with the average slope from the first to the last
    known rank.
    """
    if len(np.unique(known_ranks)) < 2:
        return np.full(len(ranks), math.nan)
    scale = np.abs(known_values).max() or 1.0  # Differences of large values overflow.
    known_ranks = np.sort(known_ranks)
    known_values = np.sort(known_values / scale)
    slope = (known_values[-1] - known_values[0]) / (known_ranks[-1] - known_ranks[0])
    rises = slope * np.maximum(ranks - known_ranks[-1], 0.0)
    with np.errstate(over="ignore"):
        fitting = scale * (np.interp(ranks, known_ranks, known_values) + rises)
    return np.minimum(fitting, np.finfo(float).max)
