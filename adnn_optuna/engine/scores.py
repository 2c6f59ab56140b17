"""Arrays, such as scores of single test examples, as text in attributes."""

import base64
import contextlib
import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from adnn_optuna._attributes import malformed
from adnn_optuna._checks import Fault

# Some databases hold no more than 65,535 characters in an attribute.
_LONGEST = 55_000


def as_attributes(name: str, *arrays: np.ndarray) -> dict[str, str]:
    """Return arrays, as an ``.npz`` file holds them, as attributes ``name/0`` and so on."""
    file = io.BytesIO()
    np.savez_compressed(file, *arrays)
    text = base64.b64encode(file.getvalue()).decode()
    begins = range(0, len(text), _LONGEST)
    return {f"{name}/{i}": text[at : at + _LONGEST] for i, at in enumerate(begins)}


def scores_as_attributes(name: str, scores: np.ndarray) -> dict[str, str]:
    """Return scores of test examples as attributes: right or wrong answers, or in float32."""
    return as_attributes(name, scores if scores.dtype == bool else scores.astype(np.float32))


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
