"""How much a configuration that validation examples selected is worth on new examples.

The examples are split at random again and again, groups together. Two thirds select the best
trial, and the last third evaluates it. Tsamardinos, Greasidou and Borboudakis (2018), Machine
Learning 107:1895-1922, do so with bootstrap resamples. Given all examples, the means of resamples
vary as much as the mean of all examples does; the means of two thirds, half as much. So two thirds
select more nearly as all examples do, and the estimate is less pessimistic.
"""

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from adnn_optuna._units import UNKNOWN, Estimate
from adnn_optuna.stats.paired_differences import share_interval
from adnn_optuna.stats.proportions import Z

FEWEST_GROUPS = 10  # Of fewer examples or groups, a third says nothing.
_SELECTING = 2 / 3
_NUMBERS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class RandomSplits(NamedTuple):
    """Findings of random splits of the examples of T trials."""

    new_data: Estimate  # The expected value of the selected trial on new examples.
    variance: float  # Of that value.
    selected: np.ndarray  # The share of splits that select each trial, of shape (T,).
    left_out: np.ndarray  # Its mean value on the examples that these leave out; else NaN.
    curve: dict[int, float]  # The expected value by the number of trials, of the first ones.


class Means:
    """Scores of shape (n examples, T trials), whose means are the trials' values.

    ``groups`` are the numbers of the examples' groups, from 0. ``are_right`` says whether scores
    are right or wrong answers.
    """

    n_splits = 500

    def __init__(self, scores: np.ndarray, groups: np.ndarray | None, *, are_right: bool) -> None:
        groups = np.arange(len(scores)) if groups is None else groups
        self._sizes = np.bincount(groups)
        self._sums = np.stack([np.bincount(groups, of_trial) for of_trial in scores.T])
        self.n_groups: int = len(self._sizes)
        self.values: np.ndarray = self._sums.sum(axis=1) / len(scores)
        self.are_right = are_right

    def on(self, is_in: np.ndarray, trials: slice | Sequence[int]) -> np.ndarray:
        """Return the values of trials on some groups, which a mask of shape (groups,) selects."""
        return np.asarray((self._sums[trials] @ is_in) / (self._sizes @ is_in))


class Metric:
    """Any metric: ``function(labels, predictions)``, for predictions of shape (n, T).

    On a part of the examples, it may raise :exc:`ValueError` or return NaN.
    """

    n_splits = 100
    are_right = False

    def __init__(
        self,
        function: Callable[[np.ndarray, np.ndarray], float],
        labels: np.ndarray,
        predictions: np.ndarray,
        groups: np.ndarray | None,
    ) -> None:
        self._function, self._labels, self._predictions = function, labels, predictions
        self._groups = np.arange(len(labels)) if groups is None else groups
        self.n_groups: int = int(self._groups.max()) + 1
        self.values: np.ndarray = self.on(np.ones(self.n_groups), slice(None))

    def on(self, is_in: np.ndarray, trials: slice | Sequence[int]) -> np.ndarray:
        """See :meth:`Means.on`."""
        rows = np.flatnonzero(is_in[self._groups])
        of_trials = self._predictions[rows].T[trials]
        values = np.full(len(of_trials), math.nan)
        for i, predicted in enumerate(of_trials):
            with contextlib.suppress(ValueError):  # Such as an AUC of a single class.
                values[i] = self._function(self._labels[rows], predicted)
        return values


def random_splits(
    measure: Means | Metric,
    *,
    maximize: bool,
    after_split: Callable[[], object] = lambda: None,
    seed: int = 0,
) -> RandomSplits:
    """Return the findings of random splits, of trials in the order in which they were made."""
    n_groups, n_trials = measure.n_groups, len(measure.values)
    if n_groups < FEWEST_GROUPS:
        nothing = np.full(n_trials, math.nan)
        return RandomSplits(UNKNOWN, math.nan, nothing, nothing, {})
    rng = np.random.default_rng(seed)
    numbers = [number for number in _NUMBERS if number < n_trials] + [n_trials]
    n_selecting = round(_SELECTING * n_groups)
    chosen = np.empty((measure.n_splits, len(numbers)), int)
    values = np.empty(chosen.shape)
    for split in range(measure.n_splits):
        selects = (rng.permutation(n_groups) < n_selecting).astype(float)
        of_selecting = measure.on(selects, slice(None))
        of_selecting = np.nan_to_num(of_selecting if maximize else -of_selecting, nan=-math.inf)
        chosen[split] = [of_selecting[:number].argmax() for number in numbers]
        values[split] = measure.on(1 - selects, chosen[split])
        after_split()
    means = np.nanmean(values, axis=0)
    means[0] = measure.values[0]  # Of the first trial alone: nothing was selected.
    of_all, selected = values[:, -1], np.bincount(chosen[:, -1], minlength=n_trials)
    # Given all n examples, a mean over k others than the selecting m = n - k varies m / k times as
    # much as the mean of all examples does.
    variance = float(np.nanvar(of_all, ddof=1)) * (n_groups - n_selecting) / n_selecting
    known = np.isfinite(of_all)
    counts, sums = (
        np.bincount(chosen[known, -1], weights, minlength=n_trials)
        for weights in (None, of_all[known])
    )
    left_out = np.divide(sums, counts, out=np.full(n_trials, math.nan), where=counts > 0)
    new_data = _estimate(float(means[-1]), variance, measure)
    curve = dict(zip(numbers, means.tolist(), strict=True))
    return RandomSplits(new_data, variance, selected / measure.n_splits, left_out, curve)


def on_new_seeds(
    runs: np.ndarray, scores: np.ndarray, found: RandomSplits, optimism: float
) -> Estimate:
    """Return the value of a selected configuration on new examples and new seeds.

    The effect of selection is partly the configuration's, which new seeds keep, and partly that
    of the seed. The configuration's part is the share of the covariance over examples of two runs
    in their variance, both without the mean scores of all trials.

    ``runs`` are its scores with K new seeds, of shape (K, n), and ``scores`` those of all trials,
    (n, T). The study's best value is higher than on new data by ``optimism``.
    """
    k = len(runs)
    beyond = runs - scores.mean(axis=1)
    of_one, of_mean = float(beyond.var(axis=1).mean()), float(beyond.mean(axis=0).var())
    share = (k * of_mean / of_one - 1) / (k - 1) if of_one > 0 else 0.0
    share = min(max(share, 0.0), 1.0)
    measure = Means(runs.mean(axis=0)[:, None], None, are_right=runs.dtype == bool)
    variance = found.variance + float(runs.mean(axis=1).var(ddof=1)) / k
    return _estimate(float(measure.values[0]) - share * optimism, variance, measure)


def _estimate(value: float, variance: float, measure: Means | Metric) -> Estimate:
    """Return an estimate with its CI, of a share of examples by as many as have this variance."""
    if not measure.are_right:
        half = Z * math.sqrt(variance)
        return Estimate(value, value - half, value + half)
    effective = value * (1 - value) / variance if variance > 0 else 0.0
    return Estimate(value, *share_interval(value, effective or measure.n_groups))
