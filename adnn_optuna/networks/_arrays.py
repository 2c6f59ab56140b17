"""Arrays, labels and weights that users give as data: checked and converted.

``where`` tells the data set.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from adnn_optuna._checks import WrongTypeError, WrongValueError, check_type, is_integer

if TYPE_CHECKING:
    import tensorflow as tf

# Of labels and the like, in a message.
_NAMED = 5
# How many rows are looked at for distinct values, and which share of these float32 must keep.
_COMPARED, _LEAST_KEPT = 10_000, 0.9


def named(values: Iterable[Any]) -> str:
    """Return some values in words, the first few alone where they are many."""
    said = [repr(value) for value in itertools.islice(values, _NAMED + 1)]
    return ", ".join([*said[:_NAMED], "…"] if len(said) > _NAMED else said)


def check_are_arrays(where: str, **given: Any) -> None:
    """Refuse what is no array, table or list: a sparse matrix, a tf.data.Dataset, a generator."""
    for name, values in given.items():
        if values is None or hasattr(values, "__array__") or isinstance(values, list | tuple):
            continue
        how = "Pass all its batches as arrays, x and y, each joined by np.concatenate"
        if hasattr(values, "toarray"):
            how = f"Pass {name}.toarray()"
        kind = type(values).__name__
        raise WrongTypeError(f"{where}: {name} must be an array or a table; got {kind}. {how}.")


def plain(where: str, name: str, values: Any) -> NDArray[Any]:
    """Return what pandas, TensorFlow or lists hold as an array of numbers or strings."""
    if np.ma.is_masked(values):
        values = np.ma.filled(values.astype(object), np.nan)  # Not what stands beneath the mask.
    array = np.asarray(values)
    if array.dtype.kind not in "OTUS":
        return array
    # NumPy makes "1" of a 1, and "nan" of what is missing, where others are strings.
    objects = np.asarray(values, dtype=object)
    for kind, dtype in ((str, np.str_), (Real, None)):
        if all(isinstance(value, kind) for value in objects.flat):
            return np.array(objects.tolist(), dtype)
    kinds = sorted({type(value).__name__ for value in objects.flat})
    raise WrongValueError(
        f"{where}: {name} has the dtype {array.dtype} and holds {', '.join(kinds)}: give numbers "
        "alone or strings alone, and replace what is missing."
    )


def _check_finite(where: str, name: str, array: NDArray[Any], *, may_lack: bool = False) -> None:
    if array.dtype.kind != "f":
        return
    with np.errstate(over="ignore"):
        is_finite = np.isfinite(array.astype(np.float32, copy=False))
    if may_lack:
        is_finite |= np.isnan(array)
    if not is_finite.all():
        i = np.unravel_index(np.argmin(is_finite), array.shape)
        raise WrongValueError(
            f"{where}: {name}[{', '.join(map(str, i))}] is {array[i]}, but must be finite as "
            "float32: replace what is missing, leave it out, or rescale."
        )


def checked_inputs(where: str, name: str, values: Any, *, may_lack: bool = False) -> NDArray[Any]:
    """Return inputs that are finite, or NaN if some may lack, not converted."""
    array = plain(where, name, values)
    if array.dtype.kind not in "biuf":
        raise WrongValueError(
            f"{where}: {name} has the dtype {array.dtype}: give numbers, or a pandas DataFrame, "
            "whose columns of strings become one column of 0 and 1 for each category; of texts "
            "what an adapted keras.layers.TextVectorization makes of them, before the model."
        )
    if not 2 <= array.ndim <= 4 or 0 in array.shape[1:]:
        raise WrongValueError(
            f"{where}: {name} has the shape {array.shape}, but must have (n, features), "
            "(n, height, width) or (n, height, width, channels)."
        )
    _check_finite(where, name, array, may_lack=may_lack)
    return array


def common_dtype(where: str, inputs: Mapping[str, NDArray[Any]]) -> np.dtype[Any]:
    """Return the dtype in which the inputs of all splits are kept: theirs, of floats float32."""
    dtypes = {x.dtype for x in inputs.values() if len(x)}
    if len(dtypes) > 1 and np.dtype(np.uint8) in dtypes:
        raise WrongValueError(
            f"{where}: inputs of all splits must have one dtype; got "
            f"{', '.join(sorted(map(str, dtypes)))}. Pass pixels of all splits as uint8."
        )
    dtype = np.result_type(*dtypes) if dtypes else np.dtype(np.float32)
    return np.dtype(np.float32) if dtype.kind == "f" else dtype


def merged_feature(x: NDArray[Any]) -> int | None:
    """Return the first feature that loses more than 10% of its distinct values in float32.

    Continuous measurements may lose a few, which does not matter.
    """
    columns = x.reshape(-1, x.shape[-1])[:_COMPARED].T
    for i, column in enumerate(columns if x.dtype.kind == "f" and x.dtype.itemsize > 4 else ()):
        before, after = (len(np.unique(c)) for c in (column, column.astype(np.float32)))
        if after < _LEAST_KEPT * before:
            return i
    return None


def read_targets(where: str, suffix: str, x: Any, y: Any, task: str) -> NDArray[Any]:
    """Return the labels or targets of samples as the user has them."""
    name = f"y{suffix}"
    array = plain(where, name, y)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    read = _read_labels if task == "classification" else _read_numbers
    array = read(where, name, array)
    n = np.shape(x)[0] if np.ndim(x) else 0
    if n != len(array):
        sizes = f"x{suffix} has {n} samples and {name} {len(array)}"
        raise WrongValueError(f"{where}: {sizes}: each sample needs one label.")
    return array


def _read_labels(where: str, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return labels as users have them as strings, truth values or integers of shape (n,)."""
    if array.ndim == 2 and array.dtype.kind in "biuf":
        is_one_hot = ((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all()
        array = array.argmax(axis=1) if is_one_hot else array
    if array.dtype.kind == "f" and np.isfinite(array).all() and (array % 1 == 0).all():
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "biuU":
        raise WrongValueError(
            f"{where}: {name} has the dtype {array.dtype} and the shape {array.shape}, but labels "
            "are strings, truth values or integers of shape (n,), or one-hot rows: replace what "
            'is missing, or, for numbers or several labels, give task="regression".'
        )
    return array


def _read_numbers(where: str, name: str, array: NDArray[Any]) -> NDArray[np.float64]:
    """Return the targets of a regression, of shape (n,) or (n, k)."""
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2) or 0 in array.shape[1:]:
        raise WrongValueError(
            f"{where}: {name} has the dtype {array.dtype} and the shape {array.shape}, but the "
            "targets of a regression are numbers of shape (n,) or (n, targets)."
        )
    _check_finite(where, name, array)
    return array.astype(np.float64)


def checked_number(where: str, n: Any) -> int:
    """Return a number of classes as Python's integer."""
    if not is_integer(n) or n < 2:
        raise WrongValueError(f"{where}: num_classes is {n!r}, not an integer from 2.")
    return int(n)


def checked_positive(where: str, positive: Any, labels: Sequence[Any]) -> Any:
    """Return the label of the positive one of two classes, None if none is.

    A command line and a contract have labels as text.
    """
    if positive is None:
        return labels[1] if tuple(labels) == (0, 1) else None
    found = [label for label in labels if label == positive or str(label) == str(positive)]
    if len(labels) != 2 or not found:
        raise WrongValueError(
            f"{where}: positive must be the label of one of two classes; got {positive!r:.100}. "
            f"The labels are {named(labels) or 'numbers'}."
        )
    return found[0]


def encoded(
    where: str, labels: Mapping[str, NDArray[Any]], num_classes: int | None
) -> tuple[dict[str, NDArray[Any]], Sequence[Any]]:
    """Return labels, by "" those to draw splits of, as 0, 1, … and the user's of each class.

    These are a range where they stay as they are.
    """
    found = np.unique(labels[""]).tolist()
    classes: Sequence[Any] = tuple(found)
    if num_classes is not None:
        classes = range(checked_number(where, num_classes))
    elif labels[""].dtype.kind in "iu" and found == [*range(len(found))]:
        classes = range(len(found))
    return {s: encoded_labels(where, f"y{s}", y, classes) for s, y in labels.items()}, classes


def encoded_labels(
    where: str, name: str, labels: NDArray[Any], classes: Sequence[Any]
) -> NDArray[np.int64]:
    """Return the index in ``classes`` of each label that :func:`read_targets` returned."""
    index = {label: i for i, label in enumerate(classes)}
    indices = np.array([index.get(label, -1) for label in labels.tolist()], dtype=np.int64)
    if (indices < 0).any():
        i = int(np.argmin(indices))
        raise WrongValueError(
            f"{where}: {name}[{i}] is {labels[i].item()!r}, but the labels to learn are "
            f"{named(classes)}: mend such labels, or leave their samples out."
        )
    return indices


def check_trained(where: str, y: NDArray[Any], classes: Sequence[Any]) -> None:
    """Raise unless the training part has each class."""
    if len(untrained := np.setdiff1d(np.arange(len(classes)), y)):
        raise WrongValueError(
            f"{where}: the training part has no sample of {named(classes[i] for i in untrained)}: "
            "add samples, leave these labels out, or draw with another seed."
        )


def checked_weights(where: str, name: str, values: Any, n: int) -> NDArray[Any]:
    """Return the weights of n samples or classes, not converted."""
    array = plain(where, name, values)
    is_right = array.shape == (n,) and array.dtype.kind in "biuf"
    if not is_right or not np.isfinite(array).all() or (array < 0).any():
        raise WrongValueError(
            f"{where}: {name}, of the dtype {array.dtype} and the shape {array.shape}, must hold "
            f"a finite number of at least 0 for each of {n}: mend or replace others."
        )
    return array


def weights(
    where: str,
    y: NDArray[Any],
    train: NDArray[np.intp],
    classes: Sequence[Any],
    *,
    class_weight: Any,
    sample_weight: Any,
) -> NDArray[np.float64] | None:
    """Return the weights of the rows to train on, None where all are 1."""
    weight = np.ones(len(y))
    if sample_weight is not None:
        weight *= checked_weights(where, "sample_weight", sample_weight, len(y))
    if isinstance(class_weight, str) and class_weight == "balanced":
        # As in scikit-learn, n samples of C classes have n / (C · samples of the class).
        counts = np.bincount(y[train], minlength=len(classes))
        weight *= (len(train) / (np.count_nonzero(counts) * np.maximum(counts, 1)))[y]
    elif class_weight is not None:
        check_type("class_weight", class_weight, Mapping, '"balanced" or weights by labels')
        if unknown := set(class_weight) - set(classes):
            said = f"class_weight names {named(unknown)}, but the labels are {named(classes)}"
            raise WrongValueError(f"{where}: {said}.")
        of_classes = [class_weight.get(label, 1.0) for label in classes]
        weight *= checked_weights(where, "class_weight", of_classes, len(classes))[y]
    return None if (weight[train] == 1).all() else weight[train]


class _Memory(np.ndarray[Any, np.dtype[Any]]):
    """An array of which only this module gives out views, which cannot be written to."""


# In bytes. TensorFlow uses an array in place only if it begins at a multiple of it.
_ALIGNMENT = 64


def read_only(array: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Return a copy that cannot be written to, or the array itself if it is such."""
    is_kept = array.dtype == dtype and isinstance(array.base, _Memory)
    return array if is_kept else collected([array], array.shape, dtype)


def collected(
    parts: Iterable[NDArray[Any]], shape: tuple[int, ...], dtype: DTypeLike
) -> NDArray[Any]:
    """Return the rows of some arrays as one that cannot be written to."""
    space = _Memory(math.prod(shape) * np.dtype(dtype).itemsize + _ALIGNMENT, np.uint8)
    whole = _Memory(shape, dtype, buffer=space, offset=-space.ctypes.data % _ALIGNMENT)
    begin = 0
    for part in parts:
        whole[begin : begin + len(part)] = part
        begin += len(part)
    view = whole.view(np.ndarray)
    view.flags.writeable = False
    return view


def as_tensor(array: NDArray[Any]) -> "tf.Tensor":
    """Return what :func:`read_only` returned as a tensor on the same memory, else as a copy."""
    import tensorflow as tf

    # TensorFlow does not write to it, but NumPy exports no memory that cannot be written to.
    if isinstance(array.base, _Memory) and array.size:
        return tf.experimental.dlpack.from_dlpack(array.base.__dlpack__())
    with tf.device("CPU"):
        return tf.convert_to_tensor(array)
