"""What luck is worth: the best of n random initialisations, and how long a search takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.trial import FrozenTrial

    from adnn_optuna.engine.records import SearchRecord


def expected_best_of_n(values: Sequence[float]) -> np.ndarray:
    """Return the mean of the best of n of the values, for each n up to all of them.

    It is the exact mean over all subsets: the i-th smallest of N values is the largest of n in
    C(i - 1, n - 1) of C(N, n) subsets.

    Args:
        values:
            The values, higher ones better.

    Returns:
        An array of shape (N,), from the mean of the values to their maximum.
    """
    ascending = np.sort(np.asarray(values, dtype=np.float64))
    size = len(ascending)
    i, n = np.arange(1, size + 1), np.arange(1, size + 1)[:, None]
    with np.errstate(invalid="ignore"):
        weights = np.exp(_log_choose(i - 1, n - 1) - _log_choose(size, n))
    return np.asarray(np.where(i >= n, weights, 0.0) @ ascending)


def gain_of_best_of_n(record: SearchRecord) -> np.ndarray:
    """Return the expected gain of the best of n restarts of a study over one, for each n."""
    sign = record.improvement(1.0, 0.0)
    best = expected_best_of_n([sign * value for value in record.values])
    return np.asarray(best - best[:1])


def _log_choose(n: np.ndarray | int, k: np.ndarray) -> np.ndarray:
    return np.asarray(gammaln(np.add(n, 1)) - gammaln(k + 1) - gammaln(np.maximum(n - k, 0) + 1))


def seconds_until_done(runs: Sequence[Sequence[FrozenTrial]]) -> list[list[float]]:
    """Return the seconds that each run took until each of its trials was done.

    Trials that were under way at the same time, as those of one stack are, share that time
    equally, whichever run they belong to. Time in which nothing ran counts for nobody.

    Args:
        runs:
            The finished trials of each run.

    Returns:
        For each run the seconds from its begin until each trial's end, in the order given.
    """
    spans = [
        np.array(
            [
                (trial.datetime_start.timestamp(), trial.datetime_complete.timestamp())
                if trial.datetime_start and trial.datetime_complete
                else (0.0, 0.0)
                for trial in run
            ]
        ).reshape(-1, 2)
        for run in runs
    ]
    begins, ends = np.sort(np.concatenate([np.empty((0, 2)), *spans]), axis=0).T
    times = np.unique([begins, ends])
    # How many trials were under way between each time and the next.
    under_way = np.searchsorted(begins, times, "right") - np.searchsorted(ends, times, "right")
    shares = np.diff(times) / np.maximum(under_way[:-1], 1) * (under_way[:-1] > 0)
    clock = np.concatenate([[0.0], np.cumsum(shares)])
    seconds = []
    for span in spans:
        begun, done = np.interp(span, times, clock).T if len(span) else (np.empty(0), np.empty(0))
        seconds.append((_sum_since(begun, done) - _sum_since(done, done)).tolist())
    return seconds


def _sum_since(events: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return, for each time, the sum of the times since all events before it."""
    ascending = np.sort(events)
    sums = np.concatenate([[0.0], np.cumsum(ascending)])
    before = np.searchsorted(ascending, times)
    return np.asarray(before * times - sums[before])
