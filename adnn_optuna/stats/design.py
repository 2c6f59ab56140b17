"""The plan of paired values, and the verdicts on their differences under this plan.

Comparisons and rechecks share these rules: which pairs count, which claims cannot be decided yet,
and how wide a CI is.
"""

import dataclasses
import math
import operator
from collections.abc import Mapping, Sequence
from statistics import fmean, variance
from typing import Literal

from adnn_optuna._attributes import Resampled
from adnn_optuna.stats.paired_differences import (
    Ends,
    PairedDifference,
    inconclusive,
    paired_differences,
    student_ends,
)

Claim = tuple[str, str]
"""A claim: the labels of two arms, of which the first is claimed to be better."""

Validity = Literal["fixed", "few", "sequential", "added", "unpaired", "new data"]
"""When the CIs of differences are valid, which depends on how the seeds were planned."""


@dataclasses.dataclass(frozen=True)
class PairedDesign:
    """The plan of paired values, which decides the CIs and verdicts of their differences.

    Attributes:
        names: The name of each pair, such as ``"seed 3"``.
        n_planned: How many pairs were planned.
        n_missing: How many of the planned pairs are missing.
        margin: The difference up to which two arms are equivalent, if any.
        sequential: Whether values are read after each pair.
        after_fixed: Whether a sequential design follows a fixed design whose result was seen. CIs
            are then at 99%.
        resampled: The numbers of training and test examples, if pairs are splits of one data set.
    """

    names: Sequence[str] = dataclasses.field(repr=False)
    n_planned: int
    n_missing: int = 0
    margin: float | None = None
    sequential: bool = False
    after_fixed: bool = False
    resampled: Resampled | None = None

    @property
    def validity(self) -> Validity:
        """The kind of the CIs under this plan, if they are not for new data."""
        if self.after_fixed:
            return "added"
        if self.sequential:
            return "sequential"
        return "fixed"

    def differences(
        self,
        values: Mapping[str, Sequence[float]],
        claims: Sequence[Claim] | None = None,
        *,
        n_claims: int = 0,
        n_examples: int = 0,
    ) -> list[PairedDifference]:
        """Return the differences on these data, see :func:`paired_differences`.

        In a fixed design, they are inconclusive as long as planned pairs are missing.
        """
        rows = paired_differences(
            values,
            margin=self.margin,
            claims=claims,
            n_claims=n_claims,
            sequential=self.sequential,
            after_fixed=self.after_fixed,
            names=self.names,
            n_examples=n_examples,
        )
        if self.sequential or not self.n_missing:
            return rows
        missing = f"the values of {self.n_missing} of {self.n_planned} planned seeds are missing"
        return inconclusive(rows, f"no CI yet: {missing}")

    def for_new_data(
        self,
        rows: list[PairedDifference],
        values: Mapping[str, Sequence[float]],
        *,
        n_claims: int,
        most: float = math.inf,
        splits: Mapping[str, Sequence[Sequence[float]]] | None = None,
    ) -> list[PairedDifference]:
        """Return differences of overlapping splits, with verdicts that are valid for new data.

        The CI is Student's t with the correction of Nadeau and Bengio (2003), Machine Learning
        52:239-281, for the planned number of rows. It is NaN if a value is missing. If each row is
        a mean over several splits, ``splits`` are the values of the single splits. More splits per
        row reduce the variance of rows, but not the part that all splits of a data set have in
        common. If values are not of splits, or a claim has no CI yet, ``rows`` are returned
        unchanged. In a sequential design all claims are inconclusive.
        """
        if self.resampled is None:
            return rows
        if self.sequential:
            rule = "verdicts for new data need a planned number of seeds"
            return inconclusive(rows, f"no CI: {rule}, but this design is sequential")
        if any(row.verdict and math.isnan(row.low) for row in rows):
            return rows
        n_train, n_test = self.resampled
        judged = []
        for row in rows:
            if row.verdict is None:
                judged.append(row)
                continue
            n = row.n_pairs
            ends = Ends()
            if n == self.n_planned:
                of_rows = variance(map(operator.sub, values[row.arm], values[row.other]))
                of_splits = of_rows
                if splits is not None:
                    of_splits = _split_variance(splits[row.arm], splits[row.other])
                error = math.sqrt(of_rows / n + of_splits * n_test / n_train)
                ends = student_ends(row.mean, error, n - 1, n_claims).within(most)
            judged.append(dataclasses.replace(row.with_ends(ends), assumption=""))
        return judged


def _split_variance(arm: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    """Return the variance of two arms' difference between splits of a row, averaged over rows."""
    rows = zip(arm, other, strict=True)
    return fmean(variance(map(operator.sub, *of_row)) for of_row in rows)
