"""What networks come to on each test example: as text in attributes, and how much it says."""

import base64
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Some databases hold no more than 65,535 characters in an attribute.
_LONGEST = 60_000


def as_attributes(name: str, values: np.ndarray) -> dict[str, str]:
    """Return values of shape (n,) as attributes ``name/0``, ``name/1`` and so on.

    Of :obj:`bool` each is a bit, of whole numbers an int32, of all others a float32.
    """
    if values.dtype == bool:
        data = np.packbits(values).tobytes()
    else:
        kind = "<i4" if np.issubdtype(values.dtype, np.integer) else "<f4"
        data = values.astype(kind).tobytes()
    text = base64.b64encode(data).decode()
    begins = range(0, len(text), _LONGEST)
    return {f"{name}/{i}": text[at : at + _LONGEST] for i, at in enumerate(begins)}


def from_attributes(
    attrs: Mapping[str, Any], name: str, n: int, kind: type[np.generic]
) -> np.ndarray:
    """Return n values as they were stored, of the kind bool, int32 or float32."""
    names = (f"{name}/{i}" for i in itertools.count())
    texts = [attrs[part] for part in itertools.takewhile(attrs.__contains__, names)]
    data = base64.b64decode("".join(texts))
    if kind is np.bool_:
        return np.unpackbits(np.frombuffer(data, np.uint8), count=n).astype(bool)
    return np.frombuffer(data, np.dtype(kind).newbyteorder("<"), n)


def effective_number(groups: NDArray[np.intp]) -> float:
    """Return as how many samples of their own those of groups count: (Σ n)² / Σ n² of their sizes.

    That is the number of groups where all are as large, and exact where samples of a group are
    equal (Kish 1965, Survey Sampling); where they are alike but little it is too small.
    """
    sizes = np.bincount(groups).astype(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def variance_of_mean(values: NDArray[np.floating], groups: NDArray[np.intp]) -> float:
    """Return the variance of the mean of samples' values, of which those of a group are alike.

    It is that of the groups' sums about their share of the mean, times G / (G - 1) for G groups,
    so the usual one where each sample is on its own; NaN of a single group. Both arrays have the
    shape (n,), and groups are numbered from 0.
    """
    residuals = np.bincount(groups, values - values.mean())
    n = len(residuals)
    return float((residuals**2).sum() / len(values) ** 2 * n / (n - 1)) if n > 1 else np.nan
