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


# What a tf.data.Dataset calls the number of its elements if it repeats for ever.
_INFINITE = -1


def read_pipeline(where: str, suffix: str, pipeline: Any, *others: Any) -> tuple[Any, Any, Any]:
    """Return inputs, labels and weights, if any, of a ``tf.data.Dataset``, reading it once.

    ``others`` are labels and weights that were given beside it, which must be None. What is no
    such pipeline comes back with them as it is.
    """
    if not hasattr(pipeline, "element_spec") or not hasattr(pipeline, "cardinality"):
        return pipeline, *others
    said = f"{where}: x{suffix} is a tf.data.Dataset"
    if any(other is not None for other in others):
        raise WrongValueError(f"{said}, which holds labels and weights itself: omit the others.")
    if int(pipeline.cardinality()) == _INFINITE:
        raise WrongValueError(f"{said} without end: leave out repeat(), or take some elements.")
    elements = list(pipeline.as_numpy_iterator())
    if not elements:
        raise WrongValueError(f"{said} without elements: check its files and filters.")
    if not isinstance(elements[0], tuple) or len(elements[0]) not in {2, 3}:
        raise WrongValueError(f"{said}, but its elements are not (x, y) or (x, y, weight).")
    if isinstance(elements[0][0], dict | tuple):
        raise WrongValueError(
            f"{said}, whose elements have several inputs: stack them to one array by map, or give "
            "a pandas DataFrame."
        )
    try:
        parts = [[np.asarray(part) for part in column] for column in zip(*elements, strict=True)]
        x, y = parts[0][0], parts[1][0]
        is_batched = x.ndim > 1 and y.ndim > 0 and len(x) == len(y)
        # An image may be as high as there are classes: then its label is one-hot.
        if is_batched and y.ndim == 1 and y.dtype.kind in "biuf":
            is_batched = any(np.sort(y)[-2:].tolist() != [0, 1] for y in parts[1])
        arrays = [(np.concatenate if is_batched else np.stack)(part) for part in parts]
    except ValueError as error:
        raise WrongValueError(f"{said}, whose elements do not fit together ({error}).") from None
    return arrays[0], arrays[1], arrays[2] if len(arrays) > 2 else None


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
