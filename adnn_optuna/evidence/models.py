"""Comparisons of models: tables, verdicts and sentences, from their test accuracies by seed."""

from __future__ import annotations

import dataclasses
import math
import operator
import textwrap
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from scipy import stats

from adnn_optuna._units import Unit, unit_of
from adnn_optuna.evidence.evaluated import Evaluated
from adnn_optuna.evidence.paired_differences import (
    PairedDifference,
    differences_table,
    paired_differences,
    undecided,
)
from adnn_optuna.evidence.sequential import ALPHA
from adnn_optuna.reporting import claims, tables

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from adnn_optuna.engine.evaluations import Evaluation


@dataclasses.dataclass(repr=False)
class ModelComparison(Evaluated):
    """What models come to on the test set, each with the same seeds.

    Printed, it is the table of means and, below it, the verdict on each two models. All claims
    together are wrong in at most 5 % of all comparisons.

    Args:
        evaluations: The test accuracies that are known, by the number of the model and the seed.
        study_name: The study of the trainings.
        labels: The models.
        seeds: The seeds, in their declared order.
        looks_again: Whether seeds are added only until all is decided; the intervals pay for it.
        equivalence: The difference of test accuracies up to which two models are equivalent.
        sources: What a seed draws afresh, in words.
        draws_test_set: Whether that is the test set, too.
        n_train: The number of training examples.
        n_test: The number of test examples.
        score: What the accuracies are: those of a regression are R².

    Attributes:
        accuracies: The test accuracies of each model, up to the first seed that is not done.
        paired_differences: The statistics from which all tables and sentences come.
        missing: The evaluations to be made next; none at the end.
        n_evaluations: How many there are at the most.
    """

    kind = "models"
    made = "trainings"

    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    looks_again: bool
    equivalence: float
    sources: tuple[str, ...]
    draws_test_set: bool
    n_train: int
    n_test: int
    score: str = "test accuracy"

    def __post_init__(self) -> None:
        of_seeds = [[(i, seed) for i in range(len(self.labels))] for seed in self.seeds]
        is_done = [all(e in self.evaluations for e in of_seed) for of_seed in of_seeds]
        n_done = [*is_done, False].index(False)
        self.accuracies: dict[str, list[float]] = {
            label: [self.evaluations[i, seed] for seed in self.seeds[:n_done]]
            for i, label in enumerate(self.labels)
        }
        self.paired_differences: list[PairedDifference] = paired_differences(
            self.accuracies, equivalence=self.equivalence, looks_again=self.looks_again
        )
        left = of_seeds[n_done:]
        if self.looks_again:
            is_decided = all(row.verdict != "undecided" for row in self.paired_differences)
            left = [] if is_decided else left[:1]
            self.seeds = self.seeds[:n_done] if is_decided else self.seeds
        elif left:
            reason = f"{len(left)} of {len(self.seeds)} planned seeds are missing"
            self.paired_differences = undecided(self.paired_differences, reason)
        self.n_evaluations: int = len(self.seeds) * len(self.labels)
        self.missing: list[Evaluation] = [
            e for of_seed in left for e in of_seed if e not in self.evaluations
        ]

    @property
    def unit(self) -> Unit:
        """How the accuracies are shown."""
        return unit_of(self.score)

    @property
    def intervals(self) -> str:
        """What the intervals promise, in words."""
        n_claims = {"models": len(self.paired_differences)}
        return claims.interval_in_words(n_claims, looks_again=self.looks_again)

    def new_data_interval(self, difference: PairedDifference) -> tuple[float, float]:
        """Return the interval of a difference for new data of this kind.

        It is Student's t with the correction of Nadeau and Bengio (2003), Machine Learning
        52:239-281, for training sets that overlap. It holds for a planned number of seeds.

        Returns:
            Its ends at the level of the other intervals; NaN where the test set is always the
            same, or one looks again, or there are less than two seeds.
        """
        n = difference.n_pairs
        if not self.draws_test_set or self.looks_again or n < 2:
            return math.nan, math.nan
        arm, other = (self.accuracies[a][:n] for a in (difference.arm, difference.other))
        sd = stdev(map(operator.sub, arm, other))
        quantile = float(stats.t.isf(ALPHA / (2 * len(self.paired_differences)), n - 1))
        half = quantile * sd * math.sqrt(1 / n + self.n_test / self.n_train)
        return difference.mean - half, difference.mean + half

    def table(self) -> pd.DataFrame:
        """Return one row for each model.

        Returns:
            A data frame with the index ``model`` and the columns ``seeds``, ``test_accuracy`` (the
            mean, as a fraction) and ``test_accuracy_std``.
        """
        import pandas as pd

        seeds = pd.DataFrame(self.accuracies, dtype=float).rename_axis(columns="model")
        columns = {"test_accuracy": seeds.mean(), "test_accuracy_std": seeds.std()}
        return pd.DataFrame({"seeds": seeds.count(), **columns})

    def differences(self) -> pd.DataFrame:
        """Return one row for each two models: by how much the first is better on the test.

        Returns:
            A data frame with the index ``model``, ``other`` and the columns of
            :meth:`Comparison.differences`, and ``new_data_low`` and ``new_data_high``, see
            :meth:`new_data_interval`.
        """
        table = differences_table(self.paired_differences, "model")
        ends = [self.new_data_interval(row) for row in self.paired_differences]
        table[["new_data_low", "new_data_high"]] = ends
        return table

    @property
    def claim(self) -> str:
        """Which model is the best, and whether it is better than each other, in a sentence."""
        if not any(self.accuracies.values()):
            return f"Nothing is known of the models yet, {self._so_far()}"
        means = {label: fmean(values) for label, values in self.accuracies.items()}
        best = max(means, key=lambda label: means[label])
        said = []
        for row in self.paired_differences:
            if best not in {row.arm, row.other}:
                continue
            shown = row if row.arm == best else row.turned()
            words = {
                "better": f"better than {shown.other}",
                "worse": f"worse than {shown.other}",
                "equivalent": f"equivalent to {shown.other}",
                "undecided": f"not shown to differ from {shown.other}",
            }[str(shown.verdict)]
            evidence = claims.with_interval(shown, self.unit)
            said.append(f"{words} ({self.unit.gain(shown.mean)}, {evidence})")
        n_seeds = len(self.accuracies[best])
        return (
            f"{best} has the best mean {self.score}, {self.unit.value(means[best])} over "
            f"{n_seeds} seed{'s' * (n_seeds > 1)}; it is {', '.join(said)}."
        )

    @property
    def caveat(self) -> str:
        """What to think of the claim."""
        drawn, again = claims.listed(self.sources), ""
        if self.looks_again:
            again = " Seeds were added until all was decided, for which the intervals pay."
        return (
            f"Each seed draws {drawn} afresh, the same for all models.{again} All is said of this "
            "data set, and assumes that differences are symmetric about their centre. Whoever "
            "picks a model by this test has used it: what it gives is no longer that of untouched "
            "data."
        )

    def rows(self) -> list[tuple[str, str]]:
        """Return each model with its mean test accuracy, as text."""
        return [
            (str(label), tables.mean_and_std(row, "test_accuracy", self.unit))
            for label, row in self.table().iterrows()
        ]

    def _facts(self) -> dict[str, object]:
        return {
            "name": self.study_name,
            "models": self.labels,
            "seeds": len(self.accuracies[self.labels[0]]),
            "verdicts": [row.verdict for row in self.paired_differences],
        }

    def __str__(self) -> str:
        if not any(self.accuracies.values()):
            return self.claim
        n_seeds = len(next(iter(self.accuracies.values())))
        body = [(tables.shortened(label, 40), mean) for label, mean in self.rows()]
        size = f"{self.n_test} test examples"
        if self.score == "test accuracy":
            size = f"one of {size}: {100 / self.n_test:.2g} pp"
        lines = [
            *tables.aligned([("model", self.unit.heading(self.score))], body),
            f"{tables.what_is_shown(n_seeds)}; {size}",
            "",
        ]
        rows = self.paired_differences
        lines += tables.verdict_lines(rows, self.score, self.equivalence, self.intervals)
        for row in rows:
            low, high = self.new_data_interval(row)
            if math.isfinite(low):
                said = f"{tables.pair(row)} {self.unit.interval(low, high)}"
                lines.append(f"for new data of this kind: {said}")
        return "\n".join([*lines, "", *textwrap.wrap(f"{self.claim} {self.caveat}", 98)])

    def plot(self) -> go.Figure:
        """Plot the test accuracies, with a line for each seed."""
        from adnn_optuna.plots._comparison import plot_by_seed

        return plot_by_seed(self.accuracies, self.score)
