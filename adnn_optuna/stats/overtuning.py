"""How much a configuration that validation examples selected is worth on new examples.

It is the bootstrap of Tsamardinos, Greasidou and Borboudakis (2018), Machine Learning
107:1895-1922: examples are resampled (groups together), and the best trial on each resample is
evaluated on the examples left out.

A resample of n examples selects as n / 2 examples would, because its means have twice the variance
of all examples' means. A resample of n / 2 examples has three times their variance. The line
through both estimates is read at the variance of all examples; without that, the estimate would be
too pessimistic by up to 1.5 pp in simulations.
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from adnn_optuna._units import UNKNOWN, Estimate
from adnn_optuna.stats.paired_differences import share_interval
from adnn_optuna.stats.proportions import Z

FEWEST_GROUPS = 10  # Of fewer examples or groups, a resample may leave out none.
_IN_MEMORY = 2**22  # The counts of so many examples are in memory at a time.
_NUMBERS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
# A value on the 1 / e of the examples that a resample leaves out varies by (e - 1) / n, given all
# examples, if that on all examples varies by 1 / n.
_LEFT_OUT = math.e - 1
# The variance is a sum of approximations. In simulations, the CI covers 85 to 98% without this
# factor: fewer if trials differ, more if they do not.
_WIDENED = 1.2


class Resampling(NamedTuple):
    """Findings of resamples of T trials.

    Attributes:
        new_data: The expected value of the selected trial on new examples, with its 95% CI.
        selected: The share of the resamples that select each trial, of shape (T,).
        left_out: The mean value of each trial on the examples that the resamples which select it
            leave out, of shape (T,); NaN without any.
        curve: The expected value on new examples by the number of trials, if only the first ones
            had been made.
        of_selection: The variance of the values on all examples of the trials that the resamples
            select.
    """

    new_data: Estimate
    selected: np.ndarray
    left_out: np.ndarray
    curve: dict[int, float]
    of_selection: float


class Means:
    """The scores of n examples by T trials, whose means are the trials' values.

    Args:
        scores: The scores, of shape (n, T).
        groups: The numbers of the groups of the examples, from 0; :obj:`None` if they are single.
        are_right: Whether each score says whether a prediction is right.
    """

    n_resamples = 500

    def __init__(self, scores: np.ndarray, groups: np.ndarray | None, *, are_right: bool) -> None:
        groups = np.arange(len(scores)) if groups is None else groups
        self.sizes: np.ndarray = np.bincount(groups).astype(np.float32)
        self._sums = np.zeros((len(self.sizes), scores.shape[1]), np.float32)
        np.add.at(self._sums, groups, scores)
        self._of_trials = np.ascontiguousarray(self._sums.T)
        self.values: np.ndarray = scores.mean(axis=0, dtype=np.float64)
        self.are_right = are_right

    @property
    def residuals(self) -> np.ndarray:
        """The part of each group in the first trial's value, beyond that of its size."""
        beyond = self._sums[:, 0] - self.values[0] * self.sizes
        return np.asarray(beyond / self.sizes.sum())

    def inside(self, counts: np.ndarray) -> np.ndarray:
        """Return the values on so many of each group: (resamples, T) of (resamples, groups)."""
        return np.asarray((counts @ self._sums) / (counts @ self.sizes)[:, None])

    def outside(self, left_out: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Return the value of each resample's trial on the groups that are left out."""
        sums = np.einsum("bg,bg->b", left_out, self._of_trials[chosen])
        return np.asarray(sums / (left_out @ self.sizes))

    def by_group(self, left_out: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Return the sum of the scores of each group over the resamples that leave it out."""
        return np.asarray(np.einsum("bg,bg->g", left_out, self._of_trials[chosen]))


class Metric:
    """Any metric of labels and predictions: ``function(labels, predictions)`` is a value.

    Args:
        function: The metric; on resamples, it may raise :exc:`ValueError` or return NaN.
        labels: The labels of the examples, of shape (n,).
        predictions: The predictions of T trials, of shape (n, T).
        groups: As for :class:`Means`.
        after_resample: Called after each resample.
    """

    n_resamples = 60
    are_right = False

    def __init__(
        self,
        function: Callable[[np.ndarray, np.ndarray], float],
        labels: np.ndarray,
        predictions: np.ndarray,
        groups: np.ndarray | None,
        after_resample: Callable[[], object],
    ) -> None:
        self._function, self._labels, self._predictions = function, labels, predictions
        self._groups = np.arange(len(labels)) if groups is None else groups
        self._after_resample = after_resample
        self.sizes: np.ndarray = np.bincount(self._groups)
        trials = range(predictions.shape[1])
        self.values: np.ndarray = self._values(np.ones(len(self.sizes), int), trials)

    def _values(self, counts: np.ndarray, trials: Iterable[int]) -> np.ndarray:
        rows = np.repeat(np.arange(len(self._labels)), counts.astype(int)[self._groups])
        values = []
        for trial in trials:
            value = math.nan
            with contextlib.suppress(ValueError):  # Such as an AUC of a single class.
                value = float(self._function(self._labels[rows], self._predictions[rows, trial]))
            values.append(value)
        return np.array(values)

    def inside(self, counts: np.ndarray) -> np.ndarray:
        """See :meth:`Means.inside`."""
        found = []
        for of_resample in counts:
            found.append(self._values(of_resample, range(self._predictions.shape[1])))
            self._after_resample()
        return np.array(found)

    def outside(self, left_out: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """See :meth:`Means.outside`."""
        pairs = zip(left_out, chosen, strict=True)
        return np.concatenate([self._values(of_resample, [trial]) for of_resample, trial in pairs])


class _Resampled(NamedTuple):
    """Which trial each resample selects, and its values outside, by the number of trials.

    Which groups are left out shifts the values of all trials. These are without the shift of the
    trial that is best on all examples, whose mean over resamples is 0.
    """

    chosen: np.ndarray
    outside: dict[int, np.ndarray]
    shifts: np.ndarray
    residuals: np.ndarray


def resampling(measure: Means | Metric, *, maximize: bool, seed: int = 0) -> Resampling:
    """Return the findings of resamples of a study's trials, in the order in which they were made.

    Args:
        measure: How the trials are evaluated.
        maximize: Whether higher values are better.
        seed: The seed of the resamples.
    """
    n_trials = len(measure.values)
    if len(measure.sizes) < FEWEST_GROUPS:
        nothing = np.full(n_trials, math.nan)
        return Resampling(UNKNOWN, nothing, nothing, {}, math.nan)
    rng = np.random.default_rng(seed)
    all_of, half = (_resampled(measure, share, rng, maximize=maximize) for share in (1.0, 0.5))
    curve = {
        number: 2 * float(np.nanmean(outside)) - float(np.nanmean(half.outside[number]))
        for number, outside in all_of.outside.items()
    }
    outside = all_of.outside[n_trials]
    of_selection = float(measure.values[all_of.chosen].var())
    variance = float(np.nanvar(outside + all_of.shifts)) / _LEFT_OUT
    if isinstance(measure, Means):
        residuals = 2 * all_of.residuals - half.residuals
        variance = _sum_of_squares(residuals) + of_selection
    counts = np.bincount(all_of.chosen, minlength=n_trials)
    sums = np.bincount(all_of.chosen, outside, minlength=n_trials)
    left_out = np.divide(sums, counts, out=np.full(n_trials, math.nan), where=counts > 0)
    new_data = _estimate(curve[n_trials], _WIDENED * variance, measure)
    return Resampling(new_data, counts / len(outside), left_out, curve, of_selection)


def on_new_seeds(
    runs: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray | None,
    found: Resampling,
    optimism: float,
) -> Estimate:
    """Return the value of a selected configuration on new examples and new seeds.

    The effect of selection is partly the configuration's, which new seeds keep, and partly that
    of the seed. The configuration's part is the share of the covariance over examples of two runs
    in their variance, both without the mean scores of all trials.

    Args:
        runs: The scores of the configuration with K new seeds, (K, n); :obj:`bool` if right.
        scores: The scores of all trials, of shape (n, T).
        groups: As for :class:`Means`.
        found: The findings of the resamples.
        optimism: By how much the study's best value is higher than on new data.
    """
    k = len(runs)
    beyond = runs - scores.mean(axis=1)
    of_one, of_mean = float(beyond.var(axis=1).mean()), float(beyond.mean(axis=0).var())
    share = (k * of_mean / of_one - 1) / (k - 1) if of_one > 0 else 0.0
    share = min(max(share, 0.0), 1.0)
    means = Means(runs.mean(axis=0)[:, None], groups, are_right=runs.dtype == bool)
    variance = _sum_of_squares(means.residuals) + float(runs.mean(axis=1).var(ddof=1)) / k
    variance += share**2 * found.of_selection
    return _estimate(float(means.values[0]) - share * optimism, _WIDENED * variance, means)


def _sum_of_squares(residuals: np.ndarray) -> float:
    """Return the variance of the sum of the independent parts of a mean."""
    return float(np.square(residuals).sum()) * len(residuals) / (len(residuals) - 1)


def _resampled(
    measure: Means | Metric, share: float, rng: np.random.Generator, *, maximize: bool
) -> _Resampled:
    """Draw resamples that have a share of the number of the groups."""
    n_groups, n_trials = len(measure.sizes), len(measure.values)
    numbers = [number for number in _NUMBERS if number < n_trials] + [n_trials]
    best = int(np.nanargmax(measure.values if maximize else -measure.values))
    chosen: list[np.ndarray] = []
    shifts: list[np.ndarray] = []
    outside: dict[int, list[np.ndarray]] = {number: [] for number in numbers}
    sums, times = np.zeros(n_groups), np.zeros(n_groups)
    for counts in _counts(measure.n_resamples, n_groups, math.ceil(share * n_groups), rng):
        left_out = (counts == 0).astype(np.float32)
        inside = measure.inside(counts)
        inside = np.nan_to_num(inside if maximize else -inside, nan=-math.inf)
        same = np.full(len(counts), best)
        shifts.append(measure.outside(left_out, same) - measure.values[best])
        for number in numbers:
            of_first = inside[:, :number].argmax(axis=1)
            outside[number].append(measure.outside(left_out, of_first) - shifts[-1])
        chosen.append(inside.argmax(axis=1))
        if isinstance(measure, Means):
            sums += measure.by_group(left_out, chosen[-1])
            times += left_out.sum(axis=0)
    residuals = np.zeros(n_groups)
    if times.any():
        means = np.divide(sums, times, out=np.zeros(n_groups), where=times > 0)
        mean = means.sum() / measure.sizes[times > 0].sum()
        residuals = np.where(times > 0, means - mean * measure.sizes, 0.0) / measure.sizes.sum()
    joined = {number: np.concatenate(values) for number, values in outside.items()}
    return _Resampled(np.concatenate(chosen), joined, np.concatenate(shifts), residuals)


def _counts(
    n_resamples: int, n_groups: int, n_drawn: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield how often resamples hold each group, some resamples at a time."""
    at_once = max(_IN_MEMORY // n_groups, 1)
    for first in range(0, n_resamples, at_once):
        n = min(at_once, n_resamples - first)
        drawn = rng.integers(n_groups, size=(n, n_drawn))
        places = (drawn + n_groups * np.arange(n)[:, None]).ravel()
        counts = np.bincount(places, minlength=n * n_groups).reshape(n, n_groups)
        yield counts.astype(np.float32)


def _estimate(value: float, variance: float, measure: Means | Metric) -> Estimate:
    """Return an estimate with its CI, of a share of examples by as many as have this variance."""
    if not measure.are_right:
        half = Z * math.sqrt(variance)
        return Estimate(value, value - half, value + half)
    share = min(max(value, 0.0), 1.0)
    effective = share * (1 - share) / variance if variance > 0 else 0.0
    return Estimate(share, *share_interval(share, effective or len(measure.sizes)))
