"""Checks and conversions of the arrays that users give as data; ``where`` tells the data set."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adnn_optuna._checks import WrongValueError


def checked_pair(
    where: str, suffix: str, x: ArrayLike, y: ArrayLike, num_classes: int | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return inputs, floats in [0, 1] or uint8, and as many labels, checked but not converted."""
    pixels = _checked_pixels(where, f"x{suffix}", x)
    labels = checked_labels(where, f"y{suffix}", y, num_classes)
    if len(pixels) != len(labels):
        sizes = f"x{suffix} has {len(pixels)} samples and y{suffix} {len(labels)}"
        raise WrongValueError(f"{where}: {sizes}: each sample needs one label.")
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


def checked_labels(
    where: str, name: str, values: ArrayLike, num_classes: int | None = None
) -> NDArray[Any]:
    """Return labels as an array of integers from 0, checked but not converted."""
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
    # At the most what int32 holds.
    valid = (array >= 0) & (array < min(num_classes or np.inf, np.iinfo(np.int32).max))
    if not valid.all():
        i = int(np.argmin(valid))
        last = "num_classes - 1" if num_classes is None else num_classes - 1
        raise WrongValueError(
            f"{where}: {name}[{i}] is {array[i]}, out of the range 0 to {last}: mend the label, "
            "or give a larger num_classes."
        )
    return array


class _Memory(np.ndarray[Any, np.dtype[Any]]):
    """An array of which only this module gives out views, which cannot be written to."""


# In bytes. TensorFlow uses an array in place only if it begins at a multiple of it.
_ALIGNMENT = 64


def read_only(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """Return a copy that cannot be written to, or the array itself if it is such; scale uint8."""
    if array.dtype == dtype and writable(array) is not None:
        return array
    space = _Memory(array.size * np.dtype(dtype).itemsize + _ALIGNMENT, np.uint8)
    copy = _Memory(array.shape, dtype, buffer=space, offset=-space.ctypes.data % _ALIGNMENT)
    if array.dtype == np.uint8 and dtype is np.float32:
        np.divide(array, 255, out=copy, dtype=np.float32)
    else:
        copy[...] = array
    view = copy.view(np.ndarray)
    view.flags.writeable = False
    return view


def writable(array: NDArray[Any]) -> NDArray[Any] | None:
    """Return the memory of what :func:`read_only` returned, :obj:`None` of any other array.

    It is for those that use it in place, without writing to it: NumPy exports no other.
    """
    return array.base if isinstance(array.base, _Memory) else None
