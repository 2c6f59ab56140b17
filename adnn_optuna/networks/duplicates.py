"""Samples that are equal or in one group."""

from collections.abc import Iterator, Mapping

import numpy as np

from adnn_optuna.networks._arrays import Array, Indices

# The text for each kind of duplicates. A key names the split of the counted samples first.
DUPLICATES = {
    "val-train": "{} validation samples with the inputs of a training sample",
    "test-train": "{} test samples with the inputs of a training sample",
    "test-val": "{} test samples with the inputs of a validation sample",
    "test-test": "{} test samples that repeat another one, inputs and label",
}


def count_duplicates(x: Mapping[str, Array], y_test: Array) -> dict[str, int]:
    """Return the numbers of samples that occur in two splits, or twice in the test split.

    ``x`` are the inputs of ``"train"``, ``"val"`` and ``"test"``.
    """
    rows = {split: [*_hashes(of_split)] for split, of_split in x.items()}
    tested = zip(rows["test"], _hashes(y_test), strict=True)
    samples = {*tested}
    counts = {}
    for key in DUPLICATES:
        split, _, other_split = key.partition("-")
        if split == other_split:
            n = len(y_test) - len(samples)
        else:
            rows_of_other = {*rows[other_split]}
            n = sum(row in rows_of_other for row in rows[split])
        if n:
            counts[key] = n
    return counts


def in_words(counts: Mapping[str, int]) -> str:
    """Return the counts of :func:`count_duplicates` as part of a sentence, which may be empty."""
    phrases = [text.format(counts[key]) for key, text in DUPLICATES.items() if key in counts]
    return ", ".join(phrases)


def groups_of(*columns: Array) -> Indices:
    """Return the group number of each row, from 0. Equal rows are in one group."""
    numbers: dict[tuple[int, ...], int] = {}
    rows = zip(*map(_hashes, columns), strict=True)
    groups = [numbers.setdefault(row, len(numbers)) for row in rows]
    return np.array(groups, np.intp)


def merged(one: Indices, other: Indices) -> Indices:
    """Return the group of each row after merging two groupings.

    Rows that have the same number in ``one`` or in ``other`` are in the same group.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = int(one.max()) + 1
    ends = one, n + other
    size = n + int(other.max()) + 1
    links = coo_array((np.ones(len(one)), ends), shape=(size, size))
    _, component = connected_components(links, directed=False)
    _, groups = np.unique(component[one], return_inverse=True)
    return groups


def _hashes(rows: Array) -> Iterator[int]:
    zero = np.zeros((), rows.dtype)
    for row in rows:
        # -0.0 and 0.0 are equal, but their bytes differ. Adding 0 makes the bytes equal.
        unsigned = row + zero
        yield hash(unsigned.tobytes())
