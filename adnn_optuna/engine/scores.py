"""What networks come to on each test example, as text that any storage holds in its attributes."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

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
    """Return n values of this kind as they were stored.

    Args:
        attrs: The attributes.
        name: What their names begin with.
        n: How many values there are.
        kind: :class:`numpy.bool_`, :class:`numpy.int32` or :class:`numpy.float32`.
    """
    names = (f"{name}/{i}" for i in itertools.count())
    texts = [attrs[part] for part in itertools.takewhile(attrs.__contains__, names)]
    data = base64.b64decode("".join(texts))
    if kind is np.bool_:
        return np.unpackbits(np.frombuffer(data, np.uint8), count=n).astype(bool)
    return np.frombuffer(data, np.dtype(kind).newbyteorder("<"), n)
