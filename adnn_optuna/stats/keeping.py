"""The rule that keeps or rejects a change, by comparing it with the best version so far.

All runs have new seeds. After r runs, a candidate's mean gain over the best version must exceed c
(1 + 1 / (2 r)) standard deviations of a run. If it does not, the candidate is given up. A
candidate is kept if it passes this check after its last allowed run. Most useless changes end
after one run.

The standard deviation is pooled over the runs of the baseline and of kept candidates. Candidates
that were given up do not count. Those with several runs looked promising at first, so the spread
of their runs is a third too large.

The function :func:`threshold` chooses c so that a useless candidate is kept with probability
``level``. This assumes noise that is normal and equal in all candidates. The threshold allows for
the errors of the best mean and of the standard deviation. ``studies/keep.py`` simulates other
noise.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

FEWEST_RUNS = 3  # A baseline needs this many successful runs for its standard deviation.
_N_SIMULATED = 100_000  # With this number, the actual level is within 6% of a level of 0.01.
_EQUAL = 1e-12  # Smaller gains, relative to the values, are rounding errors.


class Standard(NamedTuple):
    """The numbers with which a candidate is compared. For several candidates, they are arrays."""

    mean: Any  # The mean of the best version so far.
    worst: Any  # The worst run of the best version so far.
    sd: Any
    threshold: Any


@functools.cache
def threshold(level: float, max_runs: int, n_best: int, degrees: int) -> float:
    """Return the threshold c, in standard deviations, if the best version has ``n_best`` runs.

    The standard deviation has ``degrees`` degrees of freedom.
    """
    rng = np.random.default_rng(0)
    runs = np.arange(1, max_runs + 1)
    means = np.cumsum(rng.standard_normal((_N_SIMULATED, max_runs)), axis=1) / runs
    best = rng.standard_normal((_N_SIMULATED, 1)) / np.sqrt(n_best)
    lowest = ((means - best) / _more_at_first(runs)).min(axis=1)
    sds = np.sqrt(rng.chisquare(degrees, _N_SIMULATED) / degrees)
    # With a threshold below 0, a candidate without a gain would be kept.
    return max(float(np.quantile(lowest / sds, 1 - level)), 0.0)


def judged(
    values: np.ndarray, n_made: np.ndarray, standard: Standard
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which candidates are kept, which are given up, and after how many runs.

    Args:
        values: The values of the runs along the last axis, whose length is the maximum number of
            runs. Higher values are better. A failed run has the value NaN.
        n_made: The number of runs that were made.
        standard: The numbers with which each candidate is compared.

    If two or more runs failed and outnumber the successful ones, the candidate is given up. After
    the last run, each failed run counts as the worst run of the candidate and the best version.
    """
    runs = np.arange(1, values.shape[-1] + 1)
    is_made = runs <= n_made[..., np.newaxis]
    has_value = is_made & ~np.isnan(values)
    n_values = np.cumsum(has_value, axis=-1)
    n_failed = np.cumsum(is_made, axis=-1) - n_values
    by_run = Standard(*(np.asarray(part)[..., np.newaxis] for part in standard))
    mean = by_run.mean
    needed = needed_gain(by_run, runs)

    sums = np.cumsum(np.where(has_value, values, 0), axis=-1)
    gains = sums / np.maximum(n_values, 1) - mean
    gains_too_little = (n_values > 0) & (gains <= needed)
    fails_too_often = (n_failed >= 2) & (n_failed > n_values)
    ends = gains_too_little | fails_too_often

    # After the last run, each failed run has the value of the worst run.
    own_worst = np.where(has_value, values, np.inf).min(axis=-1, keepdims=True)
    counted = np.where(has_value, values, np.minimum(own_worst, by_run.worst))
    last_gain = counted.mean(axis=-1) - mean[..., 0]
    has_no_value = n_values[..., -1] == 0
    ends[..., -1] |= (last_gain <= needed[..., -1]) | has_no_value

    ends &= is_made
    is_given_up = ends.any(axis=-1)
    is_kept = is_made.all(axis=-1) & ~is_given_up
    n_runs = np.where(is_given_up, ends.argmax(axis=-1) + 1, n_made)
    return is_kept, is_given_up, n_runs


def needed_gain(standard: Standard, runs: Any) -> Any:
    """Return the mean gain that a candidate must exceed after each number of runs."""
    noise = standard.threshold * standard.sd * _more_at_first(runs)
    return np.maximum(noise, _EQUAL * np.abs(standard.mean))


def pooled(groups: Iterable[Sequence[float]]) -> tuple[float, int]:
    """Return the standard deviation within groups of values, and its degrees of freedom."""
    squares = 0.0
    degrees = 0
    for group in groups:
        values = np.asarray(group, dtype=float)
        values = values[~np.isnan(values)]
        if len(values) > 1:
            squares += float(((values - values.mean()) ** 2).sum())
            degrees += len(values) - 1
    return float(np.sqrt(squares / max(degrees, 1))), degrees


def _more_at_first(runs: Any) -> Any:
    """Return the factor of the threshold, which is larger for few runs.

    So useless candidates end early.
    """
    return 1 + 0.5 / runs
