"""Networks alone and averaged: their test scores and the gain of averaging."""

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

import numpy as np

from adnn_optuna._units import UNKNOWN, Estimate, Unit, score_in_words, unit_of
from adnn_optuna.networks.data import Dataset
from adnn_optuna.networks.network import Head
from adnn_optuna.render.document import Document, Figure, Line, Series, Verdict
from adnn_optuna.render.printed import Printed
from adnn_optuna.results.differences import test_set_note
from adnn_optuna.results.findings import NEXT_STEP, made_so_far
from adnn_optuna.samplers._evaluations import Evaluation
from adnn_optuna.stats.example_scores import difference_from_mean, gain_of_average

_COMPARE = (
    "compare with one longer training run: adnn.compare(..., controls=('ensemble', 'longer'))"
)


@dataclass(frozen=True)
class EnsembleScores(Printed):
    """The test scores of networks alone and averaged, see :class:`~adnn_optuna.Ensemble`.

    ``predicted`` are probabilities, or the numbers of a regression, of shape (n, outputs). A
    network that diverged has none and is omitted.
    """

    evaluations: Mapping[Evaluation, float] = field(repr=False)
    study_name: str
    seeds: tuple[int, ...]
    head: Head = field(repr=False)
    dataset: Dataset = field(repr=False)
    predicted: Mapping[int, np.ndarray] = field(repr=False)
    n_test_evaluations_elsewhere: int = field(default=0, repr=False, kw_only=True)
    reused: str = field(default="", repr=False, compare=False, kw_only=True)

    @property
    def used(self) -> Mapping[Evaluation, float]:
        """The values that count."""
        return self.evaluations

    @property
    def n_evaluations(self) -> int:
        """How many networks there are in all."""
        return len(self.seeds)

    @property
    def missing(self) -> list[Evaluation]:
        """The networks to train next; empty at the end."""
        return [(seed,) for seed in self.seeds if (seed,) not in self.evaluations]

    @property
    def n_diverged(self) -> int:
        """How many training runs diverged."""
        return sum(math.isnan(self.evaluations.get((seed,), 0.0)) for seed in self.seeds)

    @property
    def _trained(self) -> list[int]:
        return [seed for seed in self.seeds if seed in self.predicted]

    @property
    def n_members(self) -> int:
        """How many networks are averaged."""
        return len(self._trained)

    @functools.cached_property
    def _predictions(self) -> list[np.ndarray]:
        return [self.predicted[seed] for seed in self._trained]

    @property
    def score_name(self) -> str:
        """The name of the scores: ``"test_accuracy"``, or ``"test_r2"`` of a regression."""
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
        """How much better the average is than the mean network; NaN of less than two."""
        if self.n_members < 2:
            return UNKNOWN
        total, n_others = np.sum(self._predictions, axis=0), self.n_members - 1
        without = [self._scores([(total - of_one) / n_others]) for of_one in self._predictions]
        estimate = gain_of_average if self.head.num_classes is None else difference_from_mean
        return estimate(
            self._scores(self._predictions),
            self._member_scores,
            groups=self.dataset.test_groups,
            without=np.stack(without),
        )

    @functools.cached_property
    def disagreement(self) -> float:
        """How far two of the networks differ, as the mean over all pairs; NaN of less than two.

        For classes, it is the share of test examples to which two networks assign different
        classes. For a regression, it is the mean squared difference of their predictions, in units
        of the targets' variance.
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

    def document(self) -> Document:
        """Return everything that the result says."""
        is_known = self.n_members > 1
        return Document(
            title=f"Ensemble of {self.n_evaluations} networks",
            verdict=self._verdict(),
            conclusion=self._conclusion(),
            scope=f"{len(self.dataset.y_test)} test {self.dataset.unit}",
            estimates=self._estimates() if is_known else [],
            figures=[self._figure()],
            notes=self._notes() if is_known else [],
            next_step=NEXT_STEP if self.missing else _COMPARE,
            fields=self._fields(),
        )

    def _verdict(self) -> Verdict:
        if math.isnan(self.gain.value):
            return "not known"
        if self.gain.high < 0:
            return "worse"
        return "better" if self.gain.low > 0 else "not shown"

    def _conclusion(self) -> str:
        so_far = f"{made_so_far(self, 'training runs')}."
        if self.n_members < 2:
            return f"The score of an average is not known yet: {so_far}"
        relation = {"better": "better than", "worse": "worse than"}.get(
            self._verdict(), "not shown to be better than"
        )
        said = f"The average of {self.n_members} networks is {relation} the mean single network."
        return f"{said} More networks follow: {so_far}" if self.missing else said

    @property
    def _unit(self) -> Unit:
        return unit_of(self.score_name)

    def _estimates(self) -> list[Line]:
        unit = self._unit
        low, high, sd = map(unit.bare.value, (min(self.members), max(self.members), self.sd))
        name = score_in_words(self.score_name)
        spread = f"sd {sd}, {low} to {high}"
        return [
            Line("gain", self.gain, unit, is_difference=True, remark="average over mean network"),
            Line("average", Estimate(self.score), unit, remark=name),
            Line("mean network", Estimate(self.mean), unit, remark=spread),
            self._disagreement_line(),
        ]

    def _disagreement_line(self) -> Line:
        estimate = Estimate(self.disagreement)
        if self.head.num_classes is None:
            return Line("disagreement", estimate, Unit(1, 3, "", ""), remark="target variances")
        examples = f"of {len(self.dataset.y_test)} test {self.dataset.unit}"
        return Line("disagreement", estimate, Unit(100, 1, "%", " pp"), remark=examples)

    def _notes(self) -> list[str]:
        notes = [
            "The CI is for other test examples and other networks trained alike."
            if math.isfinite(self.gain.low)
            else "No CI of the gain yet: three networks are needed.",
            "No network was selected.",
            self._disagreement_note(),
            f"Predicting costs {self.n_members} times as much as with one network.",
        ]
        if self.n_diverged:
            notes.append(
                f"{self.n_diverged} of {self.n_evaluations} training runs diverged and are "
                "omitted."
            )
        return [*notes, test_set_note(self.n_test_evaluations_elsewhere), self.reused]

    def _disagreement_note(self) -> str:
        if self.head.num_classes is None:
            return "Disagreement: mean squared difference of two networks, in target variances."
        return "Disagreement: share of test examples with different classes by two networks."

    def _figure(self) -> Figure:
        """Return the test score of averages against the number of networks."""
        unit = self._unit
        alone = [unit.scale * score for score in self.members]
        averages = [unit.scale * score for score in self.scores_by_number]
        hover = [
            f"seed {seed}: {unit.value(score)}"
            for seed, score in zip(self._trained, self.members, strict=True)
        ]
        return Figure(
            "ensemble",
            "Test score against the number of averaged networks",
            "Number of networks",
            unit.heading(score_in_words(self.score_name)),
            [
                Series("one network", [1] * len(alone), alone, "points", hover=hover, color=None),
                Series("average", [*range(1, len(averages) + 1)], averages),
            ],
            caption="Line: mean score of averages of n networks. Points: single networks.",
            if_empty="No network was trained.",
        )

    def _fields(self) -> dict[str, Any]:
        return self._attributes(
            "study_name seeds score_name members mean sd score gain disagreement n_diverged"
        )
