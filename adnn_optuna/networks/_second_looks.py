"""What of data that are right is worth a second look, told by warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from adnn_optuna.networks import duplicates
from adnn_optuna.networks._arrays import named

_logger = optuna.logging.get_logger("optuna.adnn_optuna")


def warn_of_samples(
    where: str,
    splits: Mapping[str, tuple[NDArray[Any], NDArray[Any]]],
    feature_names: Sequence[str] | None,
    classes: Sequence[Any] | None,
    found_twice: Mapping[str, int],
) -> None:
    """Warn of constant columns, of classes that are too small, and of duplicates.

    Args:
        where: Tells the data set.
        splits: Inputs and labels of ``"train"``, ``"val"`` and ``"test"``.
        feature_names: Those of a table.
        classes: The user's own labels; None in a regression.
        found_twice: What :func:`duplicates.counted` returned.
    """
    x, y_train = splits["train"]
    constant = np.flatnonzero(x.min(axis=0) == x.max(axis=0)) if x.ndim == 2 else ()
    if len(constant):
        columns = feature_names or range(x.shape[1])
        _logger.warning(
            "%s: %d of %d columns are constant in the training part (%s): nothing can be "
            "learned of them, so leave them out.",
            *(where, len(constant), x.shape[1], named(columns[int(i)] for i in constant)),
        )
    for split, name in (("val", "validation"), ("test", "test")):
        y = splits[split][1]
        lacking = np.setdiff1d(y_train, y) if classes is not None and len(y) else ()
        if classes is not None and len(lacking):
            _logger.warning(
                "%s: the %s split has no sample of %s: such classes are too small for all "
                "splits, so merge or leave them out, or add samples.",
                *(where, name, named(classes[i] for i in lacking)),
            )
    if found_twice:
        _logger.warning(
            "%s has %s: drop duplicates, or keep them in one split by groups.",
            *(where, duplicates.in_words(found_twice)),
        )


def warn_of_order(where: str, name: str, x: Any, columns: Mapping[str, Any]) -> None:
    """Warn of columns of pandas that have the rows of a table in another order by their index."""
    index: Any = getattr(x, "index", None)
    for column, values in columns.items():
        other: Any = getattr(values, "index", None)
        if not (hasattr(index, "equals") and hasattr(other, "equals")) or index.equals(other):
            continue
        if len(index) == len(other) and index.isin(other).all() and other.isin(index).all():
            _logger.warning(
                "%s: the index of %s has the rows of %s in another order, but rows belong "
                "together by their position: give %s.loc[%s.index] if you mean it so.",
                *(where, column, name, column, name),
            )
