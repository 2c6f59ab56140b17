"""Checks and conversions of the arrays that users give as data; ``where`` tells the data set."""

import itertools
from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adnn_optuna._checks import WrongValueError

# Of labels and the like, in a message.
_NAMED = 5


def plain(where: str, name: str, values: Any) -> NDArray[Any]:
    """Return what pandas, TensorFlow or lists hold as an array of numbers or strings."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "OTUS":
            return array
        objects = np.asarray(values, dtype=object)
    except (TypeError, ValueError) as error:
        raise WrongValueError(f"{where}: {name} is no array ({error}).") from None
    # NumPy makes "1" of a 1, and "nan" of what is missing, where others are strings.
    for kind, dtype in ((str, np.str_), (bytes, np.bytes_), (Real | np.bool_, None)):
        if objects.size and all(isinstance(value, kind) for value in objects.flat):
            found = np.array(objects.tolist(), dtype)
            return np.char.decode(found, "utf-8", "backslashreplace") if kind is bytes else found
    kinds = sorted({type(value).__name__ for value in objects.flat})
    raise WrongValueError(
        f"{where}: {name} has the dtype {array.dtype} and holds {', '.join(kinds) or 'nothing'}: "
        "give numbers alone or strings alone, and replace what is missing."
    )


def checked_inputs(
    where: str, name: str, values: Any, dtype: type[np.floating[Any]]
) -> NDArray[Any]:
    """Return inputs that are finite as ``dtype``, checked but not converted."""
    array = plain(where, name, values)
    if array.dtype.kind not in "biuf":
        raise WrongValueError(
            f"{where}: {name} has the dtype {array.dtype}: give numbers, or a pandas DataFrame, "
            "whose columns of strings become one column of 0 and 1 for each category."
        )
    if not 2 <= array.ndim <= 4 or 0 in array.shape[1:]:
        raise WrongValueError(
            f"{where}: {name} has the shape {array.shape}, but must have (n, features), "
            "(n, height, width) or (n, height, width, channels)."
        )
    _check_finite(where, name, array, dtype)
    return array


def _check_finite(
    where: str, name: str, array: NDArray[Any], dtype: type[np.floating[Any]]
) -> None:
    if array.dtype.kind != "f":
        return
    with np.errstate(over="ignore"):
        is_finite = np.isfinite(array.astype(dtype, copy=False))
    if not is_finite.all():
        i = np.unravel_index(np.argmin(is_finite), array.shape)
        raise WrongValueError(
            f"{where}: {name}[{', '.join(map(str, i))}] is {array[i]}, but must be finite as "
            f"{dtype.__name__}: replace what is missing, leave it out, or rescale."
        )


def checked_targets(where: str, name: str, values: Any) -> NDArray[Any]:
    """Return the targets of a regression, of shape (n,) or (n, k), checked but not converted."""
    array = plain(where, name, values)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2) or 0 in array.shape[1:]:
        raise WrongValueError(
            f"{where}: {name} has the dtype {array.dtype} and the shape {array.shape}, but the "
            "targets of a regression are numbers of shape (n,) or (n, targets)."
        )
    _check_finite(where, name, array, np.float32)
    return array


def check_lengths(where: str, suffix: str, x: NDArray[Any], y: NDArray[Any]) -> None:
    """Raise unless there is a label for each sample."""
    if len(x) != len(y):
        sizes = f"x{suffix} has {len(x)} samples and y{suffix} {len(y)}"
        raise WrongValueError(f"{where}: {sizes}: each sample needs one label.")


def checked_weights(where: str, name: str, values: Any, n: int) -> NDArray[Any]:
    """Return the weights of n samples, checked but not converted."""
    array = plain(where, name, values)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.shape != (n,) or array.dtype.kind not in "biuf":
        raise WrongValueError(
            f"{where}: {name} has the dtype {array.dtype} and the shape {array.shape}, but must "
            f"hold a number for each of {n} samples."
        )
    _check_finite(where, name, array, np.float32)
    if (array < 0).any():
        i = int(np.argmin(array))
        raise WrongValueError(
            f"{where}: {name}[{i}] is {array[i]}, but weights must be at least 0."
        )
    return array


def named(values: Iterable[Any]) -> str:
    """Return some values in words, the first few alone where they are many."""
    said = [repr(value) for value in itertools.islice(values, _NAMED + 1)]
    return ", ".join([*said[:_NAMED], "…"] if len(said) > _NAMED else said)


class _Memory(np.ndarray[Any, np.dtype[Any]]):
    """An array of which only this module gives out views, which cannot be written to."""


# In bytes. TensorFlow uses an array in place only if it begins at a multiple of it.
_ALIGNMENT = 64


def read_only(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """Return a copy that cannot be written to, or the array itself if it is such."""
    if array.dtype == dtype and writable(array) is not None:
        return array
    space = _Memory(array.size * np.dtype(dtype).itemsize + _ALIGNMENT, np.uint8)
    copy = _Memory(array.shape, dtype, buffer=space, offset=-space.ctypes.data % _ALIGNMENT)
    copy[...] = array
    view = copy.view(np.ndarray)
    view.flags.writeable = False
    return view


def writable(array: NDArray[Any]) -> NDArray[Any] | None:
    """Return the memory of what :func:`read_only` returned, :obj:`None` of any other array.

    It is for those that use it in place, without writing to it: NumPy exports no other.
    """
    return array.base if isinstance(array.base, _Memory) else None
