"""Reader of the IDX files in which MNIST and its likes are published."""

from __future__ import annotations

import gzip
import math
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_UNSIGNED_BYTES = 0x08


def read_idx(path: Path, ndim: int) -> NDArray[np.uint8]:
    """Reads one IDX file of unsigned bytes.

    Args:
        path: The file; gzip-compressed if its name ends in ``.gz``.
        ndim: Number of dimensions that the file must have: 3 for images, 1 for labels.

    Returns:
        The array, uint8, in the shape that the file's header gives.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is corrupt, truncated, too long, or not of this kind.
    """
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(
                f"{path} is no sound gzip file ({error}): fetch or copy it again."
            ) from error

    magic = bytes([0, 0, _UNSIGNED_BYTES, ndim])
    if content[:4] != magic:
        raise ValueError(
            f"{path} starts with the bytes {content[:4].hex()!r} where an IDX file of bytes in "
            f"{ndim} dimensions has {magic.hex()!r}: check that it is the right file."
        )
    n_header = 4 + 4 * ndim
    if len(content) < n_header:
        raise ValueError(f"{path} is truncated within its header: fetch or copy it again.")
    shape = tuple(int(size) for size in np.frombuffer(content, dtype=">u4", count=ndim, offset=4))
    # In Python's integers: a corrupt header may announce more bytes than 64 bits can count.
    n_announced, n_found = math.prod(shape), len(content) - n_header
    if n_announced != n_found:
        raise ValueError(
            f"{path} holds {n_found} bytes of data where its header announces {n_announced} "
            f"(shape {shape}): it is truncated or corrupt, fetch or copy it again."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=n_header).reshape(shape)
