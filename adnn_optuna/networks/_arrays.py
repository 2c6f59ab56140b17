"""Arrays, labels and weights that users give as data: checked and converted.

``where`` tells the data set.
"""

import contextlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adnn_optuna._checks import WrongTypeError, WrongValueError, is_integer

if TYPE_CHECKING:
    import tensorflow as tf

# Of labels and the like, in a message.
_NAMED = 5

# How far float32 may round targets, as a part of their range.
_MOST_ROUNDING = 0.05

_Float = type[np.floating[Any]]


def plain(where: str, name: str, values: Any) -> NDArray[Any]:
    """Return what pandas, TensorFlow or lists hold as an array of numbers or strings."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        values = np.ma.filled(values.astype(object), np.nan)  # Not what stands beneath the mask.
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "OTUS":
            return array
        objects = np.asarray(values, dtype=object)
    except (TypeError, ValueError) as error:
        raise WrongValueError(f"{where}: {name} is no array ({error}): pad samples.") from None
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


def _column(where: str, name: str, values: Any) -> NDArray[Any]:
    """Return what is given as an array, one of a single column without that dimension."""
    array = plain(where, name, values)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def _numbers(array: NDArray[Any]) -> NDArray[Any]:
    """Return strings that are numbers, all of them, as such, and anything else as it is."""
    with contextlib.suppress(ValueError):
        return array.astype(np.float64) if array.dtype.kind == "U" else array
    return array


def checked_inputs(
    where: str, name: str, values: Any, dtype: _Float, *, may_lack: bool = False
) -> NDArray[Any]:
    """Return inputs that are finite as ``dtype``, or NaN if some may lack; not converted."""
    array = _numbers(plain(where, name, values))
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
    present = np.nan_to_num(array, posinf=np.inf, neginf=-np.inf) if may_lack else array
    _check_finite(where, name, present, dtype)
    return array


def _check_finite(where: str, name: str, array: NDArray[Any], dtype: _Float) -> None:
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


def _checked_targets(where: str, name: str, values: Any) -> NDArray[Any]:
    """Return the targets of a regression, of shape (n,) or (n, k), floats of any size."""
    array = _numbers(_column(where, name, values))
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2) or 0 in array.shape[1:]:
        raise WrongValueError(
            f"{where}: {name} has the dtype {array.dtype} and the shape {array.shape}, but the "
            "targets of a regression are numbers of shape (n,) or (n, targets)."
        )
    _check_finite(where, name, array, np.float32)
    exact = array.astype(np.float64)
    errors = np.abs(exact.astype(np.float32) - exact)
    ranges = np.ptp(exact, axis=0) if len(exact) else 0  # 0 of what is constant.
    if ((errors > _MOST_ROUNDING * ranges) & (ranges > 0)).any():
        raise WrongValueError(
            f"{where}: {name} varies so little beside its size that float32 loses it: subtract "
            "its mean, or another number like it."
        )
    return array if array.dtype.kind == "f" else exact


def read_targets(where: str, suffix: str, values: Any, task: str, n: int) -> NDArray[Any]:
    """Return the labels or targets of n samples as the user has them."""
    read = _read_labels if task == "classification" else _checked_targets
    y = read(where, f"y{suffix}", values)
    if len(y) != n:
        sizes = f"x{suffix} has {n} samples and y{suffix} {len(y)}"
        raise WrongValueError(f"{where}: {sizes}: each sample needs one label.")
    return y


def checked_weights(where: str, name: str, values: Any, n: int) -> NDArray[Any]:
    """Return the weights of n samples, checked but not converted."""
    array = _column(where, name, values)
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


def _read_labels(where: str, name: str, values: Any) -> NDArray[Any]:
    """Return labels as users have them as strings, truth values or integers of shape (n,)."""
    array = _column(where, name, values)
    if array.ndim == 2 and array.dtype.kind in "biuf":
        if not (((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all()):
            raise WrongValueError(
                f"{where}: the rows of {name}, of shape {array.shape}, are not one-hot: give one "
                'label for each sample, or, for numbers or several labels, task="regression".'
            )
        # A table of one-hot rows names the classes.
        names = np.asarray(getattr(values, "columns", range(array.shape[1])))
        array = plain(where, name, names[array.argmax(axis=1)])
    if array.ndim != 1:
        raise WrongValueError(
            f"{where}: {name} has the shape {array.shape}, but must have (n,), or (n, classes) "
            "with one-hot rows: one label for each sample."
        )
    if array.dtype.kind == "f":
        with np.errstate(invalid="ignore", over="ignore"):
            whole = (array == np.rint(array)) & (np.abs(array) < 2**63)
        if not whole.all():
            raise WrongValueError(
                f"{where}: {name} has the dtype {array.dtype} and holds "
                f"{array[np.argmin(whole)]}, which is no label: replace what is missing, or, for "
                'numbers to predict, give task="regression".'
            )
        array = array.astype(np.int64)
    if array.dtype.kind not in "biuU":
        raise WrongValueError(
            f"{where}: {name} has the dtype {array.dtype}, but labels are strings, truth values "
            "or integers."
        )
    return array


def checked_number(where: str, n: Any) -> int:
    """Return a number of classes as Python's integer."""
    if not is_integer(n) or not 2 <= n <= np.iinfo(np.int32).max:
        raise WrongValueError(f"{where}: num_classes is {n!r}, not an integer from 2.")
    return int(n)


def encoded(
    where: str, labels: Mapping[str, NDArray[Any]], task: str, num_classes: int | None
) -> tuple[dict[str, NDArray[Any]], Sequence[Any] | None]:
    """Return labels as 0, 1, … and the user's label of each class; targets as they are.

    The labels of the classes are a range of integers where these are to stay as they are.
    ``labels`` are those of which the training part is drawn, by "", and others, by their suffix.
    """
    if task == "regression":
        if num_classes is not None:
            raise WrongValueError(f"{where}: a regression has no num_classes: omit it.")
        return dict(labels), None
    num_classes = None if num_classes is None else checked_number(where, num_classes)
    found = np.unique(labels[""])
    if len(found) == 1:
        raise WrongValueError(
            f"{where}: all labels are {found[0].item()!r}: give samples of two classes at least."
        )
    classes: Sequence[Any] = tuple(found.tolist())
    if labels[""].dtype.kind in "iu" and (num_classes or classes == (*range(len(classes)),)):
        classes = range(num_classes or len(classes))
    elif num_classes not in (None, len(classes)):
        raise WrongValueError(
            f"{where}: num_classes is {num_classes!r}, but y has {len(classes)} labels: omit it."
        )
    return {s: encoded_labels(where, f"y{s}", y, classes) for s, y in labels.items()}, classes


def encoded_labels(
    where: str, name: str, labels: NDArray[Any], classes: Sequence[Any]
) -> NDArray[Any]:
    """Return the index in ``classes`` of each label that :func:`read_targets` returned."""
    if not isinstance(classes, range):
        index = {label: i for i, label in enumerate(classes)}
        indices = np.array([index.get(label, -1) for label in labels.tolist()], dtype=np.int64)
    else:
        indices = labels if labels.dtype.kind in "biu" else np.full(len(labels), -1)
    known = (indices >= 0) & (indices < len(classes))
    if not known.all():
        i = int(np.argmin(known))
        raise WrongValueError(
            f"{where}: {name}[{i}] is {labels[i].item()!r}, but the labels to learn are "
            f"{named(classes)}: mend such labels, or leave their samples out."
        )
    return indices


def check_trained(where: str, y: NDArray[Any], classes: Sequence[Any] | None) -> None:
    """Raise unless the training part has each class, or targets that differ."""
    if classes is None:
        if (y.min(axis=0) == y.max(axis=0)).any():
            raise WrongValueError(
                f"{where}: a target is {y[0]} in all training samples: there is nothing to learn."
            )
        return
    untrained = np.setdiff1d(np.arange(len(classes)), y)
    if len(untrained):
        raise WrongValueError(
            f"{where}: the training part has no sample of {named(classes[i] for i in untrained)}: "
            "add samples, leave these labels out, or draw with another seed."
        )


def weights(
    where: str,
    y: NDArray[Any],
    train: NDArray[np.intp],
    classes: Sequence[Any] | None,
    *,
    class_weight: Any,
    sample_weight: Any,
) -> NDArray[np.float64] | None:
    """Return the weights of the rows to train on, None where all are 1."""
    weight = np.ones(len(y))
    if sample_weight is not None:
        weight *= checked_weights(where, "sample_weight", sample_weight, len(y))
    if class_weight is not None:
        if classes is None:
            raise WrongValueError(f"{where}: a regression has no class_weight: omit it.")
        weight *= _class_weights(where, class_weight, y[train], classes)[y]
    return None if (weight[train] == 1).all() else weight[train]


def _class_weights(
    where: str, class_weight: Any, labels: NDArray[Any], classes: Sequence[Any]
) -> NDArray[np.float64]:
    """Return the weight of each class, of the training part's labels if they are "balanced".

    Then n samples of C classes have the weight n / (C · samples of the class), as in scikit-learn.
    """
    if isinstance(class_weight, str) and class_weight == "balanced":
        counts = np.bincount(labels, minlength=len(classes))
        return np.asarray(len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1)))
    if not isinstance(class_weight, Mapping):
        raise WrongTypeError(
            f'{where}: class_weight is {class_weight!r:.100}, but must be "balanced" or a '
            "dictionary of weights by labels."
        )
    if unknown := set(class_weight) - set(classes):
        raise WrongValueError(
            f"{where}: class_weight names {', '.join(map(repr, unknown))}, but the labels are "
            f"{named(classes)}."
        )
    weights = [class_weight.get(label, 1.0) for label in classes]
    return checked_weights(where, "class_weight", weights, len(classes)).astype(np.float64)


class _Memory(np.ndarray[Any, np.dtype[Any]]):
    """An array of which only this module gives out views, which cannot be written to."""


# In bytes. TensorFlow uses an array in place only if it begins at a multiple of it.
_ALIGNMENT = 64


def read_only(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """Return a copy that cannot be written to, or the array itself if it is such."""
    if array.dtype == dtype and isinstance(array.base, _Memory):
        return array
    space = _Memory(array.size * np.dtype(dtype).itemsize + _ALIGNMENT, np.uint8)
    copy = _Memory(array.shape, dtype, buffer=space, offset=-space.ctypes.data % _ALIGNMENT)
    copy[...] = array
    view = copy.view(np.ndarray)
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
