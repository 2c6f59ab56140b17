"""What networks come to alone and averaged, as numbers."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

import numpy as np

from adnn_optuna.engine.evaluations import Evaluation, Findings
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.network import Head
from adnn_optuna.results.confirmation import UNKNOWN, Estimate, difference_from_usual
from adnn_optuna.results.confirmation_runs import OwnScores


@dataclasses.dataclass
class EnsembleFacts(Findings):
    """What networks come to together, see :class:`~adnn_optuna.Ensemble`.

    ``predicted`` are probabilities, of a regression numbers, of shape (n, outputs); a network that
    diverged has none, and is left out.
    """

    seeds: tuple[int, ...]
    head: Head = dataclasses.field(repr=False)
    dataset: Dataset = dataclasses.field(repr=False)
    predicted: Mapping[int, np.ndarray] = dataclasses.field(repr=False)

    def __post_init__(self) -> None:
        self.n_evaluations: int = len(self.seeds)
        wanted: list[Evaluation] = [(seed,) for seed in self.seeds]
        self.missing: list[Evaluation] = [e for e in wanted if e not in self.evaluations]
        self.n_diverged: int = sum(math.isnan(self.evaluations.get(e, 0.0)) for e in wanted)
        self._predictions = [self.predicted[s] for s in self.seeds if s in self.predicted]
        self.n_members: int = len(self._predictions)

    @property
    def score_name(self) -> str:
        """What the scores are: ``"test_accuracy"``, of a regression ``"test_r2"``."""
        return f"test_{self.head.score}"

    def _scores(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """Return the score of the average of predictions on each test example."""
        mean = np.mean(predictions, axis=0)
        return self.head.of_predictions.scores(mean, self.dataset.y_test)

    @functools.cached_property
    def _member_scores(self) -> np.ndarray:
        return np.stack([self._scores([of_member]) for of_member in self._predictions])

    @functools.cached_property
    def members(self) -> tuple[float, ...]:
        """The test score of each network, in the order of the seeds."""
        if not self.n_members:
            return ()
        return tuple(self._member_scores.mean(axis=1, dtype=np.float64).tolist())

    @property
    def mean(self) -> float:
        """The mean test score of the networks; NaN without any."""
        return fmean(self.members) if self.members else math.nan

    @property
    def sd(self) -> float:
        """The standard deviation of their test scores; NaN of less than two."""
        return stdev(self.members) if len(self.members) > 1 else math.nan

    @functools.cached_property
    def score(self) -> float:
        """The test score of their average; NaN without any."""
        return float(self._scores(self._predictions).mean()) if self.members else math.nan

    @functools.cached_property
    def gain(self) -> Estimate:
        """By how much the average is better than the mean network; NaN of less than two."""
        if self.n_members < 2:
            return UNKNOWN
        own = OwnScores(self._scores(self._predictions), self.dataset.test_groups, None)
        return difference_from_usual(own, self._member_scores)

    @functools.cached_property
    def disagreement(self) -> float:
        """How far two of the networks differ, in the mean of all pairs; NaN of less than two.

        It is the share of the test examples that they give different classes. In a regression it
        is the mean squared difference of what they predict, in units of the targets' variance.
        """
        if self.n_members < 2:
            return math.nan
        pairs = itertools.combinations(self._predictions, 2)
        if self.head.num_classes is not None:
            class_of = self.head.of_predictions.predicted
            return fmean(float((class_of(a) != class_of(b)).mean()) for a, b in pairs)
        variances = self.dataset.y_test.reshape(len(self.dataset.y_test), -1).var(axis=0)
        return fmean(float((np.square(a - b) / variances).mean()) for a, b in pairs)

    @functools.cached_property
    def scores_by_number(self) -> list[float]:
        """The mean test score of averages of 1, 2, … networks that follow each other in a ring."""
        n, twice = self.n_members, self._predictions * 2
        return [
            fmean(float(self._scores(twice[i : i + k]).mean()) for i in range(n))
            for k in range(1, n)
        ] + [self.score] * (n > 0)
