"""Draw the rows of a data set for each split."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from adnn_optuna._checks import WrongValueError, as_integer, is_integer
from adnn_optuna.networks._arrays import Array, Indices, plain

DEFAULT_FRACTION = 0.2


def split_size(name: str, size: float | None, n: int, *, is_given: bool) -> int:
    """Return the number of samples that are drawn for a split, of n samples.

    If the user passed the split's arrays, it is 0.
    """
    if is_given:
        if size is not None:
            raise WrongValueError(f"Pass either {name} or the arrays, not both.")
        return 0
    if size is None:
        size = DEFAULT_FRACTION
    if is_integer(size) and 0 <= size < n:
        return int(size)
    if isinstance(size, float) and 0 <= size < 1:
        # A fraction above 0 requests a split, so at least one sample is drawn.
        if size > 0:
            return max(round(size * n), 1)
        return 0
    raise WrongValueError(
        f"{name} must be a number of samples (an int from 0 to {n - 1}) or a fraction (a float of "
        f"0 or more and below 1); got {size!r}."
    )


def drawn_rows(
    y: Array, sizes: Sequence[int], seed: int, group: Indices | None
) -> dict[str, Indices]:
    """Return each split's rows in ascending order.

    ``sizes`` are the numbers of samples in the test split and in the validation split.
    """
    n = len(y)
    if sum(sizes) >= n:
        raise WrongValueError(
            f"Of {n} samples, {sizes[1]} for validation and {sizes[0]} for the test leave none "
            "for training. Pass smaller sizes."
        )
    seed = as_integer("seed", seed, 0, math.inf)
    if group is not None:
        test, val, train = _grouped_rows(group, sizes, seed)
    else:
        order = stratified_order(y, seed)
        ends = np.cumsum(sizes)
        parts = np.split(order, ends)
        test, val, train = [np.sort(part) for part in parts]
    return {"test": test, "val": val, "train": train}


def stratified_order(y: Array, seed: int) -> Indices:
    """Return a random order of rows in which each label is evenly distributed."""
    if y.dtype.kind == "f":
        y = np.zeros(len(y))  # The splits of a regression are not stratified.
    # After an upgrade of NumPy, a study must draw the same splits. NumPy keeps the raw words of a
    # bit generator in all versions, but may change Generator.permutation.
    words = np.random.Philox(seed).random_raw(len(y))
    shuffled = np.argsort(words, kind="stable")
    _, label, counts = np.unique(y[shuffled], return_inverse=True, return_counts=True)
    # The position of each sample among all samples with its label, from 0 (first) to 1 (last).
    rank = np.empty(len(y), dtype=np.intp)
    first = np.cumsum(counts) - counts
    by_label = np.argsort(label, kind="stable")
    rank[by_label] = np.arange(len(y)) - np.repeat(first, counts)
    place = (rank + 0.5) / counts[label]
    order = np.argsort(place, kind="stable")
    return shuffled[order]


def checked_groups(values: Any, n: int) -> Indices:
    """Return the group number of each of n samples. Groups are numbered from 0 by sorted name."""
    groups = plain("groups", values)
    lacks_some = groups.dtype.kind == "f" and np.isnan(groups).any()
    if groups.shape != (n,) or lacks_some:
        raise WrongValueError(
            f"groups must name one for each of {n} samples; got the shape {groups.shape}. Replace "
            "missing values."
        )
    return np.unique(groups, return_inverse=True)[1]


def _grouped_rows(group: Indices, sizes: Sequence[int], seed: int) -> list[Indices]:
    """Return the rows for test, validation and training. Each group is in one split.

    Groups come in random order. A group goes to the test split if the split then has at most its
    size. Otherwise, it goes to the validation split by the same rule, or else to training. If all
    groups are too large for a split, the split gets the smallest group.
    """
    counts = np.bincount(group)
    words = np.random.Philox(seed).random_raw(len(counts))
    remaining = np.argsort(words, kind="stable").tolist()
    n_splits = 1 + sum(size > 0 for size in sizes)
    if len(remaining) < n_splits:
        raise WrongValueError(
            f"{len(remaining)} groups are too few for {n_splits} splits. Pass finer groups."
        )
    rows = []
    for size in sizes:
        n_splits -= size > 0
        chosen: set[int] = set()
        room = size
        for name in remaining:
            # Each later split needs at least one group.
            if counts[name] <= room and len(remaining) - len(chosen) > n_splits:
                chosen.add(name)
                room -= counts[name]
        if size and not chosen:
            chosen = {min(remaining, key=counts.__getitem__)}
        remaining = [name for name in remaining if name not in chosen]
        is_chosen = np.isin(group, [*chosen])
        rows.append(np.flatnonzero(is_chosen))
    is_trained = np.isin(group, remaining)
    return [*rows, np.flatnonzero(is_trained)]
