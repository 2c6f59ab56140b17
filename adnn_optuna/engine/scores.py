"""What networks come to on each test example: as text in attributes, and how much it says."""

import base64
import contextlib
import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adnn_optuna._attributes import malformed
from adnn_optuna._checks import Fault

# Some databases hold no more than 65,535 characters in an attribute.
_LONGEST = 60_000


def as_attributes(name: str, *arrays: np.ndarray) -> dict[str, str]:
    """Return arrays, as an ``.npz`` file holds them, as attributes ``name/0`` and so on."""
    file = io.BytesIO()
    np.savez_compressed(file, *arrays)
    text = base64.b64encode(file.getvalue()).decode()
    begins = range(0, len(text), _LONGEST)
    return {f"{name}/{i}": text[at : at + _LONGEST] for i, at in enumerate(begins)}


def from_attributes(
    attrs: Mapping[str, Any],
    name: str,
    of: str,
    shapes: Sequence[tuple[int, ...]] | None = None,
) -> list[np.ndarray]:
    """Return the arrays that were stored so in what ``of`` names, such as a study.

    They have these shapes; if :obj:`None`, it is a single one of one dimension.

    Raises:
        ValueError: If no such arrays are stored there.
    """
    names = (f"{name}/{i}" for i in itertools.count())
    texts = [attrs[part] for part in itertools.takewhile(attrs.__contains__, names)]
    arrays: list[np.ndarray] = []
    # Of texts of others, zipfile and NumPy raise anything.
    with contextlib.suppress(Exception), np.load(_file_of(texts)) as file:
        arrays = [*file.values()]
    are_numbers = all(array.dtype.kind in "biuf" for array in arrays)
    found = [array.shape for array in arrays]
    is_as_wanted = [*map(len, found)] == [1] if shapes is None else found == [*shapes]
    if not (are_numbers and is_as_wanted):
        raise malformed(name, of, Fault("an .npz file of its arrays as base64", "another text"))
    return arrays


def _file_of(texts: Iterable[str]) -> io.BytesIO:
    return io.BytesIO(base64.b64decode("".join(texts)))


def effective_number(groups: NDArray[np.intp]) -> float:
    """Return as how many samples of their own those of groups count: (Σ n)² / Σ n² of their sizes.

    It is exact where samples of a group are equal (Kish 1965, Survey Sampling), else too small.
    """
    sizes = np.bincount(groups).astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def variance_of_mean(values: NDArray[np.floating], groups: NDArray[np.intp]) -> float:
    """Return the variance of the mean of samples' values, of which those of a group are alike.

    It is that of the groups' sums about their share of the mean, times G / (G - 1) for G groups,
    so the usual one where each sample is on its own; NaN of a single group.
    """
    residuals = np.bincount(groups, values - values.mean())
    n = len(residuals)
    return float((residuals**2).sum() / len(values) ** 2 * n / (n - 1)) if n > 1 else np.nan
