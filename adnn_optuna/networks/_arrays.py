"""Checks and conversions of the arrays that users give as data; ``where`` tells the data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adnn_optuna._checks import WrongValueError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def checked_pair(
    where: str, x_name: str, x: ArrayLike, y_name: str, y: ArrayLike
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return inputs, floats in [0, 1] or uint8, and as many labels, checked but not converted."""
    pixels, labels = _checked_pixels(where, x_name, x), checked_labels(where, y_name, y)
    if len(pixels) != len(labels):
        raise WrongValueError(
            f"{where}: {x_name} has {len(pixels)} samples and {y_name} {len(labels)}: each sample "
            "needs one label."
        )
    return pixels, labels


def _checked_pixels(where: str, name: str, values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise WrongValueError(
            f"{where}: {name} has the dtype {array.dtype}: give floats in [0, 1] or uint8 pixels."
        )
    if not 2 <= array.ndim <= 4 or 0 in array.shape[1:]:
        raise WrongValueError(
            f"{where}: {name} has the shape {array.shape}, but must have (n, features), "
            "(n, height, width) or (n, height, width, channels)."
        )
    if array.dtype == np.uint8 or array.size == 0:
        return array
    # Rounded as the pixels will be, since scalers make 1 + 2e-16 of 1; too large becomes infinite.
    with np.errstate(over="ignore"):
        low, high = np.float32(array.min()), np.float32(array.max())
        # In this form NaN fails too.
        if not (low >= 0 and high <= 1):
            pixels = array.astype(np.float32)
            i = np.unravel_index(np.argmin((pixels >= 0) & (pixels <= 1)), array.shape)
            raise WrongValueError(
                f"{where}: {name}[{', '.join(map(str, i))}] is {array[i]}, but pixels must lie in "
                "[0, 1]: replace missing values and rescale, or give uint8 pixels."
            )
    return array


def checked_labels(where: str, name: str, values: ArrayLike) -> NDArray[Any]:
    """Return labels as an array of non-negative integers, checked but not converted."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise WrongValueError(
            f"{where}: {name} has the shape {array.shape}, but must have (n,): one label for each "
            "sample (of one-hot vectors, take the argmax)."
        )
    if array.dtype.kind not in "iu":
        raise WrongValueError(
            f"{where}: {name} has the dtype {array.dtype}, but labels must be integers from 0."
        )
    valid = (array >= 0) & (array < np.iinfo(np.int32).max)
    if not valid.all():
        i = int(np.argmin(valid))
        raise WrongValueError(
            f"{where}: {name}[{i}] is {array[i]}, but labels are numbered from 0 to "
            "num_classes - 1: number them so."
        )
    return array


class _Memory(np.ndarray[Any, np.dtype[np.uint8]]):
    """Bytes that only this module gives out, as arrays that cannot be written to."""


# In bytes. TensorFlow uses an array in place only if it begins at a multiple of it.
_ALIGNMENT = 64


def read_only(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """Return a copy of the dtype that cannot be written to, or the array itself if it is such.

    As float32, uint8 pixels are divided by 255. TensorFlow can use the copy in place, see
    :func:`writable_view`.
    """
    if array.dtype == dtype and writable_view(array) is not None:
        return array
    memory = _Memory(array.size * np.dtype(dtype).itemsize + _ALIGNMENT, np.uint8)
    offset = -memory.ctypes.data % _ALIGNMENT
    copy: NDArray[Any] = np.ndarray(array.shape, dtype, buffer=memory, offset=offset)
    if array.dtype == np.uint8 and dtype is np.float32:
        np.divide(array, 255, out=copy, dtype=np.float32)
    else:
        copy[...] = array
    copy.flags.writeable = False
    return copy


def writable_view(array: NDArray[Any]) -> NDArray[Any] | None:
    """Return a view of what :func:`read_only` returned, :obj:`None` of any other array.

    It is for others that use the memory in place, as NumPy exports only what can be written to.
    It must not be written to.
    """
    memory, flags = array.base, array.flags
    if not isinstance(memory, _Memory) or flags.writeable or not flags.c_contiguous:
        return None
    if array.ctypes.data % _ALIGNMENT:  # A slice.
        return None
    offset = array.ctypes.data - memory.ctypes.data
    return np.ndarray(array.shape, array.dtype, buffer=memory, offset=offset)
