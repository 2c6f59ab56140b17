"""Claims on splits and folds of one data set, whose rows overlap and are not independent."""

import dataclasses
import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, variance
from typing import Any, Literal

import scipy

from adnn_optuna._checks import WrongValueError, as_integer
from adnn_optuna.stats.paired_differences import Ends, PairedDifference, inconclusive
from adnn_optuna.stats.sequential import ALPHA

Resampled = tuple[int, int]
"""The numbers of training and test examples of each split."""

ResampledArgument = Sequence[int] | Literal[False] | None
"""These numbers; False if rows or seeds are no splits of one data set."""


def is_of_splits(name: str) -> bool:
    """Return whether rows or seeds of a name may be splits or folds of one data set."""
    words = {word.removesuffix("s") for word in re.split(r"[\W\d_]+", name.lower()) if word}
    is_split = any(word.endswith(("split", "fold")) for word in words)  # Such as kfold.
    return is_split or "cv" in words or words == {"data"}


def checked_resampling(
    what: str, names: Iterable[object], resampled: Any, *, folds: bool, sequential: bool
) -> Resampled | None:
    """Return how many examples splits have; refuse rows that may overlap if nothing is said."""
    if resampled is False:
        resampled = None
    elif resampled is None and not folds:
        for name in map(str, names):
            if is_of_splits(name):
                raise WrongValueError(
                    f"{what} must be of independent seeds; got {name!r}, whose rows may share "
                    "data. Pass resampled=(n_train, n_test), folds=True for a single k-fold "
                    "cross-validation, or resampled=False if the rows are independent data sets."
                )
    if resampled is not None and folds:
        raise WrongValueError(
            "folds must be omitted if resampled is set; got both. Pass folds=True for a single "
            "k-fold cross-validation only."
        )
    if sequential and (folds or resampled is not None):
        raise WrongValueError(
            f"{'folds' if folds else 'resampled'} must be omitted in a sequential design; got "
            "both. Plan the number of rows: read after each row, equal arms seem to differ in 14 "
            "to 16% of comparisons."
        )
    if resampled is None:
        return None
    if not (isinstance(resampled, tuple | list) and len(resampled) == 2):
        raise WrongValueError(f"resampled must be (n_train, n_test); got {resampled!r:.100}.")
    return as_integer("n_train", resampled[0]), as_integer("n_test", resampled[1])


def variance_factor(n: int, resampled: Resampled | None) -> float:
    """Return the variance of a mean, in variances of a value, by Nadeau and Bengio (2003)."""
    n_train, n_test = resampled or (1, 0)
    return 1 / n + n_test / n_train


def for_new_data(
    rows: list[PairedDifference],
    values: Mapping[str, Sequence[float]],
    resampled: Resampled | None,
    *,
    n_planned: int,
    n_claims: int,
    sequential: bool = False,
    most: float = math.inf,
    splits: Mapping[str, Sequence[Sequence[float]]] | None = None,
) -> list[PairedDifference]:
    """Return differences of overlapping splits with verdicts on new data of this kind.

    It is Student's t with the correction of Nadeau and Bengio (2003), Machine Learning 52:239-281,
    at the planned number of rows; NaN if a value is missing. ``splits`` are the values of single
    splits, if each row is a mean over several: further ones reduce the variance of rows, but not
    the part that all splits of a data set have in common. Rows that are no splits, or have no CI
    yet, are returned as they are. A sequential design, to which seeds were added after some were
    seen, has no claims.
    """
    if resampled is None:
        return rows
    if sequential:
        rule = "verdicts for new data need a planned number of seeds"
        return inconclusive(rows, f"no CI: {rule}, but this design is sequential")
    if any(row.verdict and math.isnan(row.low) for row in rows):
        return rows
    judged = []
    for row in rows:
        if row.verdict is None:
            judged.append(row)
            continue
        n, ends = row.n_pairs, Ends()
        if n == n_planned:
            of_rows = variance(map(operator.sub, values[row.arm], values[row.other]))
            of_splits = of_rows
            if splits is not None:
                of_splits = _split_variance(splits[row.arm], splits[row.other])
            n_train, n_test = resampled
            error = math.sqrt(of_rows / n + of_splits * n_test / n_train)
            half, of_bound = (
                error * -float(scipy.special.stdtrit(n - 1, ALPHA / (sides * n_claims)))
                for sides in (2, 1)
            )
            ends = Ends(
                low=max(row.mean - half, -most),
                high=min(row.mean + half, most),
                at_least=max(row.mean - of_bound, -most),
                at_most=min(row.mean + of_bound, most),
            )
        judged.append(dataclasses.replace(row.with_ends(ends), assumption=""))
    return judged


def _split_variance(arm: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    """Return the variance of the difference of two arms on a split, by the splits of each row."""
    rows = zip(arm, other, strict=True)
    return fmean(variance(map(operator.sub, *of_row)) for of_row in rows)
