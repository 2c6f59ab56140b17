"""Checks for seeds and rows that are splits or folds of one data set, unless the user says so."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from adnn_optuna._attributes import Resampled
from adnn_optuna._checks import WrongValueError, is_integer, shown
from adnn_optuna.engine.code_fingerprint import UserFunction
from adnn_optuna.engine.redrawn_splits import redrawn_split

ResampledArgument = Sequence[int] | Literal[False] | None
"""The numbers of training and test examples of a split, or False if values are not of splits."""


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
            "both. Plan the number of rows: read after each row, equal arms seem to differ in 14% "
            "of comparisons."
        )
    if resampled is None:
        return None
    is_pair = isinstance(resampled, tuple | list) and len(resampled) == 2
    if not (is_pair and all(is_integer(size) and size > 0 for size in resampled)):
        raise WrongValueError(
            "resampled must be (n_train, n_test), two numbers of examples; got "
            f"{shown(resampled)}. Pass two such as (800, 200)."
        )
    n_train, n_test = map(int, resampled)
    return n_train, n_test


def check_splits(
    functions: Mapping[str, UserFunction],
    seeds: Mapping[str, Sequence[str]],
    resampled: ResampledArgument,
    *,
    folds: bool,
    sequential: bool,
) -> Resampled | None:
    """Return the sizes of splits. Raise an error for redrawn splits of unknown sizes.

    The keys of ``functions`` and ``seeds`` are the names that the user knows, such as
    ``models['a']``. For each function, ``seeds`` are the names of the parameters that are
    seeds.
    """
    names = [name for of_function in seeds.values() for name in of_function]
    sizes = checked_resampling(
        f"The seeds of {', '.join(functions)}",
        names,
        resampled,
        folds=folds,
        sequential=sequential,
    )
    if resampled is None and not folds:
        for name, function in functions.items():
            if call := redrawn_split(function, seeds[name]):
                raise WrongValueError(
                    f"{name} must not redraw the split of one data set, unless you say so; got "
                    f"{call}. Pass resampled=(n_train, n_test), the sizes of a split, or "
                    "resampled=False if each seed has data of its own."
                )
    return sizes
