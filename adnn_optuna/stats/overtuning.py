"""An estimate of a selected configuration's value on new examples, from validation examples.

The examples are split at random many times, without dividing groups. In each split, two thirds of
the examples select the best trial, and the last third evaluates it. Tsamardinos, Greasidou and
Borboudakis (2018), Machine Learning 107:1895-1922, use bootstrap resamples instead. The mean of a
resample varies around the mean of all examples as much as that mean varies around the true value.
The mean of two thirds has only half of this variance. So two thirds select nearly the same trial
as all examples, and the estimate is less pessimistic.

On average, a trial's value on the left-out thirds should equal its value on all examples. A
difference is an error of the random splits, so it is subtracted (a control variate: Owen 2013,
Monte Carlo theory, methods and examples, section 8.9).
"""

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from adnn_optuna._units import UNKNOWN, Estimate
from adnn_optuna.stats.example_scores import score_estimate
from adnn_optuna.stats.intervals import Z
from adnn_optuna.stats.paired_differences import share_interval

FEWEST_GROUPS = 10  # With fewer examples or groups, a third of them is too small.
_SELECTING = 2 / 3
_MOST_PARTS = 200  # Each part of the examples is omitted once.


class RandomSplits(NamedTuple):
    """The results of random splits of examples, for T trials."""

    new_data: Estimate  # The expected value of the selected trial on new examples.
    variance: float  # The variance of the expected value.
    selected: np.ndarray  # For each trial, the share of splits that select it.
    # Each trial's mean value in the splits that select it, or NaN if no split selects it.
    left_out: np.ndarray


class Means:
    """Scores of shape (n examples, T trials). A trial's value is the mean of its scores.

    ``groups`` are the numbers of the examples' groups, from 0. ``are_right`` says whether scores
    are right or wrong answers.
    """

    n_splits = 500

    def __init__(self, scores: np.ndarray, groups: np.ndarray | None, *, are_right: bool) -> None:
        if groups is None:
            groups = np.arange(len(scores))
        self._sizes = np.bincount(groups)
        self._sums = np.stack([np.bincount(groups, of_trial) for of_trial in scores.T])
        self.n_groups: int = len(self._sizes)
        self.values: np.ndarray = self._sums.sum(axis=1) / len(scores)
        self.are_right: bool = are_right
        self.n_rare: int | None = None
        self.least: float = 0.0 if scores.min() >= 0 else -math.inf
        self.most: float = math.inf
        if are_right:
            self.n_rare = self.n_groups
            self.most = 1.0

    def on(self, is_in: np.ndarray, trials: slice | Sequence[int]) -> np.ndarray:
        """Return the values of trials on the groups that a mask of shape (groups,) selects."""
        return (self._sums[trials] @ is_in) / (self._sizes @ is_in)

    def influences(self, trial: int) -> np.ndarray:
        """Return each group's influence on a trial's value.

        The sum of their squares is the value's variance.
        """
        deviations = self._sums[trial] - self._sizes * self.values[trial]
        return deviations / self._sizes.sum()


class Metric:
    """Any metric: ``function(labels, predictions)``, for predictions of shape (n, T).

    On a part of the examples, it may raise :exc:`ValueError` or return NaN. All values are between
    ``least`` and ``most``.
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
        self._function = function
        self._labels = labels
        self._predictions = predictions
        self._groups = np.arange(len(labels)) if groups is None else groups
        self.n_groups: int = int(self._groups.max()) + 1
        self.values: np.ndarray = self.on(np.ones(self.n_groups), slice(None))
        self.least: float
        self.most: float
        self.least, self.most = self._possible()
        self.n_rare: int | None = None
        if (self.least, self.most) == (0.0, 1.0):
            counts = np.unique(labels, return_counts=True)[1]
            self.n_rare = int(counts.sum() - counts.max())

    def _possible(self) -> tuple[float, float]:
        """Return the range of possible values, from perfect and from opposite predictions."""
        classes, places = np.unique(self._labels, return_inverse=True)
        opposite = classes[::-1][places]
        best = self._value_of(self._labels)
        worst = self._value_of(opposite)
        if best == 1 and worst >= 0:  # For example, AUC, F1 and accuracy.
            return 0.0, 1.0
        if best == 0 < worst:  # For example, the mean squared error.
            return 0.0, math.inf
        return -math.inf, best if worst < best else math.inf

    def _value_of(self, predictions: np.ndarray) -> float:
        """Return the rounded value of predictions, or NaN if the metric does not accept them."""
        value = math.nan
        with contextlib.suppress(Exception), np.errstate(all="ignore"):
            value = float(self._function(self._labels, predictions.astype(np.float32)))
        return round(value, 6) + 0.0

    def on(self, is_in: np.ndarray, trials: slice | Sequence[int]) -> np.ndarray:
        """See :meth:`Means.on`."""
        rows = np.flatnonzero(is_in[self._groups])
        of_trials = self._predictions[rows].T[trials]
        values = np.full(len(of_trials), math.nan)
        for i, predicted in enumerate(of_trials):
            with contextlib.suppress(ValueError):  # For example, an AUC needs two classes.
                values[i] = self._function(self._labels[rows], predicted)
        return values

    def influences(self, trial: int) -> np.ndarray:
        """See :meth:`Means.influences`. A jackknife over at most 200 parts computes them."""
        parts = np.arange(self.n_groups) % _MOST_PARTS
        n_parts = int(parts.max()) + 1
        without = [self.on((parts != part).astype(float), [trial])[0] for part in range(n_parts)]
        finite_values = np.array([value for value in without if math.isfinite(value)])
        return (finite_values.mean() - finite_values) * math.sqrt((n_parts - 1) / n_parts)


def random_splits(
    measure: Means | Metric,
    *,
    maximize: bool,
    after_split: Callable[[], object] = lambda: None,
) -> RandomSplits:
    """Split the examples at random many times, and return the findings."""
    n_groups = measure.n_groups
    n_trials = len(measure.values)
    if n_groups < FEWEST_GROUPS:
        nothing = np.full(n_trials, math.nan)
        return RandomSplits(UNKNOWN, math.nan, nothing, nothing)
    rng = np.random.default_rng(0)
    n_selecting = round(_SELECTING * n_groups)
    selected = np.empty(measure.n_splits, int)
    on_left_out = np.empty((measure.n_splits, n_trials))
    for split in range(measure.n_splits):
        selects = (rng.permutation(n_groups) < n_selecting).astype(float)
        of_selecting = measure.on(selects, slice(None))
        if not maximize:
            of_selecting = -of_selecting
        selected[split] = np.nan_to_num(of_selecting, nan=-math.inf).argmax()
        on_left_out[split] = measure.on(1 - selects, slice(None))
        after_split()
    # For few examples, metrics are biased, such as the F1 of two positives. The bias is
    # subtracted.
    gaps = on_left_out - measure.values
    on_left_out -= np.nansum(gaps, axis=0) / np.maximum(np.isfinite(gaps).sum(axis=0), 1)
    selected_values = on_left_out[np.arange(measure.n_splits), selected]
    best = int(np.nanargmax(measure.values if maximize else -measure.values))
    # m examples select, and the other k examples evaluate. Given all n = m + k examples, the
    # variance of the mean of k is m / k times the variance of the mean of all n.
    variance_of_splits = float(np.nanvar(selected_values, ddof=1))
    variance = variance_of_splits * (n_groups - n_selecting) / n_selecting
    has_value = np.isfinite(selected_values)
    counts = np.bincount(selected[has_value], minlength=n_trials)
    sums = np.bincount(selected[has_value], selected_values[has_value], n_trials)
    unknown = np.full(n_trials, math.nan)
    left_out = np.divide(sums, counts, out=unknown, where=counts > 0)
    shares = np.bincount(selected, minlength=n_trials) / measure.n_splits
    new_data = _estimate(float(np.nanmean(selected_values)), variance, measure, best)
    return RandomSplits(new_data, variance, shares, left_out)


def on_new_seeds(
    runs: np.ndarray, scores: np.ndarray, splits: RandomSplits, optimism: float
) -> Estimate:
    """Return the value of a selected configuration on new examples and new seeds.

    The best value is too good for two reasons: its configuration and its seed were both selected.
    On new seeds, only the configuration's share of this excess remains. To estimate the share, the
    mean scores of all trials are subtracted from the runs' scores. The share is the covariance of
    two runs over examples, divided by their variance.

    ``runs`` are the configuration's scores with K new seeds, of shape (K, n). ``scores`` are the
    scores of all trials, of shape (n, T). ``optimism`` is the study's best value minus the value
    on new data.
    """
    k = len(runs)
    beyond = runs - scores.mean(axis=1)
    variance_of_run = float(beyond.var(axis=1).mean())
    variance_of_mean = float(beyond.mean(axis=0).var())
    share = 0.0
    if variance_of_run > 0:
        share = (k * variance_of_mean / variance_of_run - 1) / (k - 1)
        share = min(max(share, 0.0), 1.0)
    mean_scores = runs.mean(axis=0)[:, None]
    measure = Means(mean_scores, None, are_right=runs.dtype == bool)
    variance_of_seeds = float(runs.mean(axis=1).var(ddof=1)) / k
    value = float(measure.values[0]) - share * optimism
    return _estimate(value, splits.variance + variance_of_seeds, measure, 0)


def _estimate(value: float, variance: float, measure: Means | Metric, trial: int) -> Estimate:
    """Return an estimate with its CI. If no example changes the value, the ends are NaN.

    The CI contains two CIs. The first follows from ``variance``. If the value is a share, the
    first CI assumes the number of examples that gives this variance. The second follows by
    :func:`score_estimate` from the examples' influences on a trial's value, because a few examples
    may cause most of the variance. For right and wrong answers, there is only the first CI.
    """
    value = min(max(value, measure.least), measure.most)
    half = Z * math.sqrt(variance)
    low = value - half
    high = value + half
    if measure.n_rare is not None:
        effective = value * (1 - value) / variance if variance > 0 else 0.0
        low, high = share_interval(value, effective or measure.n_rare)
    if not measure.are_right:
        influences = measure.influences(trial)
        scores = value + len(influences) * influences
        of_examples = score_estimate(scores, n_rare=measure.n_rare)
        low, high = min(low, of_examples.low), max(high, of_examples.high)
    if low == high:
        return Estimate(value)
    return Estimate(value, max(low, measure.least), min(high, measure.most))
