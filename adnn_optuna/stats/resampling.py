"""Splits and folds of one data set, whose rows overlap and are not independent."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from adnn_optuna._attributes import Resampled
from adnn_optuna._checks import WrongValueError, as_integer, shown

ResampledArgument = Sequence[int] | Literal[False] | None
"""The numbers of training and test examples of a split. False if values are not of splits."""


def is_of_splits(name: str) -> bool:
    """Return whether the name of rows, such as ``"fold"``, suggests splits of one data set."""
    words = {word.removesuffix("s") for word in re.split(r"[\W\d_]+", name.lower()) if word}
    is_split = any(word.endswith(("split", "fold")) for word in words)  # For example "kfold".
    return is_split or "cv" in words or words == {"data"}


def checked_resampling(
    what: str, names: Iterable[object], resampled: Any, *, folds: bool, sequential: bool
) -> Resampled | None:
    """Return the sizes of splits. Raise an error if undeclared rows may overlap."""
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
        raise WrongValueError(
            f"resampled must be two sizes, n_train and n_test; got {shown(resampled)}."
        )
    return as_integer("n_train", resampled[0]), as_integer("n_test", resampled[1])


def variance_factor(n: int, resampled: Resampled | None) -> float:
    """Return the variance of a mean of n values, divided by the variance of a single value.

    For splits of one data set, the factor is that of Nadeau and Bengio (2003).
    """
    n_train, n_test = resampled or (1, 0)
    return 1 / n + n_test / n_train
