"""Checks and conversions of arrays, labels and weights of users' data."""

import itertools
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from numbers import Number, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from adnn_optuna._checks import WrongTypeError, WrongValueError, as_integer, check_type, shown

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

Array = NDArray[Any]
Indices = NDArray[np.intp]
Shape = tuple[int, ...]

# The number of values that a message shows.
_NAMED = 5
# The number of rows that are searched for distinct values, and the share of these values that must
# stay distinct in float32.
_COMPARED = 10_000
_LEAST_KEPT = 0.9


def named(values: Iterable[Any]) -> str:
    """Return the first few values as text, separated by commas."""
    texts = [shown(value) for value in itertools.islice(values, _NAMED + 1)]
    listed = texts
    if len(texts) > _NAMED:
        listed = [*texts[:_NAMED], "…"]
    return ", ".join(listed)


def check_samples(suffix: str, x: Any, y: Any) -> None:
    """Raise an error if inputs or labels have a wrong type, or are in different orders."""
    samples = {f"x{suffix}": x, f"y{suffix}": y}
    for name, values in samples.items():
        if values is not None:
            check_is_array(name, values)
    of_x, of_y = samples
    if x is None or y is None:
        raise WrongValueError(f"Pass both {of_x} and {of_y}, or neither.")
    check_is_aligned(of_y, y, of_x, x)
    for name, values in samples.items():
        if not _are_arrays(values) or len(values) >= _n_rows(values):
            continue
        if _n_rows(x) == _n_rows(y):
            raise WrongValueError(
                f"{name} must be one array, as models must have one input and one output; got a "
                f"{type(values).__name__} of {len(values)} arrays. Join their columns."
            )


def _are_arrays(values: Any) -> bool:
    is_list = isinstance(values, list | tuple) and len(values) > 0
    return is_list and all(getattr(part, "ndim", 0) > 0 for part in values)


def _n_rows(values: Any) -> int:
    """Return the number of rows of an array, or of the arrays in a list."""
    first = values[0] if _are_arrays(values) else values
    return int(next(iter(np.shape(first)), 0))


def check_is_array(name: str, values: Any) -> None:
    """Raise an error for values that are not an array, a pandas table or a list."""
    is_other_table = hasattr(values, "to_pandas") and (
        hasattr(values, "column_names") or hasattr(values, "columns")
    )
    if isinstance(values, list | tuple):
        _as_array(name, values)
        return
    if hasattr(values, "__array__") and not is_other_table:
        return
    how = "Pass all its batches as arrays, x and y, each joined by np.concatenate"
    if hasattr(values, "toarray"):
        how = f"Pass {name}.toarray()"
    elif is_other_table:
        how = f"Pass {name}.to_pandas()"
    elif hasattr(values, "collect"):
        how = f"Pass {name}.collect().to_pandas()"
    elif isinstance(values, Mapping):
        how = "Pass one array, as models must have one input and one output"
    kind = type(values).__name__
    package = type(values).__module__.partition(".")[0]
    if package != "builtins":
        kind = f"{package}.{kind}"
    raise WrongTypeError(f"{name} must be an array or a pandas table; got {kind}. {how}.")


def _as_array(name: str, values: Any) -> Array:
    try:
        return np.asarray(values)
    except ValueError:
        lengths = sorted({len(row) for row in values if hasattr(row, "__len__")})
        got = "lists of several lengths within rows"
        if len(lengths) > 1:
            got = f"the lengths {named(lengths)}"
        raise WrongValueError(
            f"{name} must have rows of one shape; got {got}. Pad or cut them."
        ) from None


def check_is_aligned(name: str, values: Any, of: str, samples: Any) -> None:
    """Raise an error for a pandas column whose rows have another order than the samples."""
    pd = sys.modules.get("pandas")  # If pandas is not imported, samples are not a pandas table.
    if pd is None or not isinstance(getattr(samples, "index", None), pd.Index):
        return
    index = getattr(values, "index", None)
    if not isinstance(index, pd.Index) or index.equals(samples.index):
        return
    has_same_rows = len(index) == len(samples) and index.isin(samples.index).all()
    if has_same_rows:
        raise WrongValueError(
            f"{name} must have the rows of {of} in the same order; got another order in its "
            f"index. Pass {name}.loc[{of}.index]."
        )


def plain(name: str, values: Any) -> Array:
    """Return data of pandas, TensorFlow or lists as an array of numbers or strings."""
    if np.ma.is_masked(values):
        values = np.ma.filled(values.astype(object), np.nan)  # Masked values count as missing.
    array = _as_array(name, values)
    if array.dtype.kind not in "OTUS":
        return array
    # In an array with strings, NumPy turns 1 into "1", and a missing value into "nan".
    objects = np.asarray(values, dtype=object)
    for kind, dtype in ((str, np.str_), (Real, None)):
        if all(isinstance(value, kind) for value in objects.flat):
            return np.array(objects.tolist(), dtype)
    kinds = sorted({type(value).__name__ for value in objects.flat})
    raise WrongValueError(
        f"{name} must hold only numbers or only strings; got {', '.join(kinds)}. Replace missing "
        "values, or convert the others."
    )


def _check_finite(name: str, array: Array, *, may_lack: bool = False) -> None:
    if array.dtype.kind != "f":
        return
    with np.errstate(over="ignore"):
        is_finite = np.isfinite(array.astype(np.float32, copy=False))
    if may_lack:
        is_finite |= np.isnan(array)
    if not is_finite.all():
        i = np.unravel_index(np.argmin(is_finite), array.shape)
        raise WrongValueError(
            f"{name}[{', '.join(map(str, i))}] is {array[i]}, but must be finite as float32. "
            "Replace missing values, omit the sample, or rescale."
        )


def checked_inputs(name: str, values: Any, *, may_lack: bool = False) -> Array:
    """Return inputs as an array with their dtype. Raise an error unless all are finite.

    With ``may_lack``, NaN is allowed, too.
    """
    array = plain(name, values)
    if array.dtype.kind not in "biuf":
        raise WrongValueError(
            f"{name} must be numbers; got the dtype {array.dtype}. Pass a pandas DataFrame, which "
            "may have columns of strings, or texts as keras.layers.TextVectorization encodes them."
        )
    if not 2 <= array.ndim <= 4 or 0 in array.shape[1:]:
        raise WrongValueError(
            f"{name} has the shape {array.shape}, but must have (n, features), "
            "(n, height, width) or (n, height, width, channels)."
        )
    _check_finite(name, array, may_lack=may_lack)
    return array


def common_dtype(inputs: Mapping[str, Array]) -> np.dtype[Any]:
    """Return the dtype for the inputs of all splits. Floats become float32."""
    dtypes = {x.dtype for x in inputs.values() if len(x)}
    if len(dtypes) > 1 and np.dtype(np.uint8) in dtypes:
        names = sorted(map(str, dtypes))
        raise WrongValueError(
            f"Inputs of all splits must have one dtype; got {', '.join(names)}. Pass pixels of "
            "all splits as uint8."
        )
    if dtypes:
        dtype = np.result_type(*dtypes)
        if dtype.kind != "f":
            return dtype
    return np.dtype(np.float32)


def merged_feature(x: Array) -> int | None:
    """Return the first feature that loses more than 10% of its distinct values in float32."""
    if x.dtype.kind != "f" or x.dtype.itemsize <= 4:
        return None
    rows = x.reshape(-1, x.shape[-1])
    for i, column in enumerate(rows[:_COMPARED].T):
        distinct = np.unique(column)
        still_distinct = np.unique(column.astype(np.float32))
        if len(still_distinct) < _LEAST_KEPT * len(distinct):
            return i
    return None


def read_targets(suffix: str, x: Any, y: Any, *, are_labels: bool) -> Array:
    """Return labels or targets as an array. Raise an error unless there is one for each sample."""
    name = f"y{suffix}"
    array = plain(name, y)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    read = _read_labels if are_labels else _read_numbers
    array = read(name, array)
    n = np.shape(x)[0] if np.ndim(x) else 0
    if n != len(array):
        raise WrongValueError(
            f"x{suffix} has {n} samples and {name} {len(array)}. Pass one label for each sample."
        )
    return array


def _read_labels(name: str, array: Array) -> Array:
    """Return strings, truth values or integers of shape (n,)."""
    if array.ndim == 2 and array.dtype.kind in "biuf":
        are_bits = np.isin(array, (0, 1)).all()
        sums = array.sum(axis=1)
        is_one_hot = are_bits and (sums == 1).all()
        if is_one_hot:
            array = array.argmax(axis=1)
    if array.dtype.kind == "f":
        are_whole = np.isfinite(array).all() and (array % 1 == 0).all()
        if are_whole:
            array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "biuU":
        raise WrongValueError(
            f"{name} has the dtype {array.dtype} and the shape {array.shape}, but labels are "
            "strings, truth values or integers of shape (n,), or one-hot rows. Replace missing "
            'values or, for numbers or several labels, pass task="regression".'
        )
    return array


def _read_numbers(name: str, array: Array) -> NDArray[np.float64]:
    """Return the targets of a regression, of shape (n,) or (n, k)."""
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2) or 0 in array.shape[1:]:
        raise WrongValueError(
            f"{name} has the dtype {array.dtype} and the shape {array.shape}, but the targets of "
            "a regression are numbers of shape (n,) or (n, targets)."
        )
    _check_finite(name, array)
    return array.astype(np.float64)


def checked_positive(positive: Any, labels: Sequence[Any]) -> Any:
    """Return the label of the positive class, or None if no class is positive."""
    if positive is None:
        is_of_bits = tuple(labels) == (0, 1)
        if is_of_bits:
            return labels[1]
        return None
    # Comparing an array with a label would give an array instead of a truth value.
    check_type("positive", positive, str | Number | np.generic, "the label of one of two classes")
    # Labels from a command line or a contract are text.
    text = str(positive)
    if len(labels) == 2:
        for label in labels:
            if label == positive or str(label) == text:
                return label
    raise WrongValueError(
        f"positive must be the label of one of two classes; got {shown(positive)}. "
        f"The labels are {named(labels) or 'numbers'}."
    )


def encoded(
    labels: Mapping[str, Array], num_classes: int | None
) -> tuple[dict[str, Array], Sequence[Any]]:
    """Return labels as class numbers from 0, and the user's label of each class.

    If the user's labels are class numbers, the second value is a range.
    """
    unique = np.unique(labels[""]).tolist()
    classes: Sequence[Any] = tuple(unique)
    are_integers = labels[""].dtype.kind in "iu"
    counted = range(len(unique))
    if num_classes is not None:
        n_classes = as_integer("num_classes", num_classes, low=2)
        classes = range(n_classes)
    elif len(unique) == 1:
        raise WrongValueError(
            f"y must have at least two different labels; got {named(unique)} only. Add samples of "
            "others."
        )
    elif are_integers and unique == [*counted]:
        classes = counted
    numbers = {s: encoded_labels(f"y{s}", y, classes) for s, y in labels.items()}
    return numbers, classes


def encoded_labels(name: str, labels: Array, classes: Sequence[Any]) -> NDArray[np.int64]:
    """Return each label's index in ``classes``; :func:`read_targets` returned the labels."""
    index_by_label = {label: i for i, label in enumerate(classes)}
    indices = []
    for i, label in enumerate(labels.tolist()):
        if label not in index_by_label:
            raise WrongValueError(
                f"{name}[{i}] is {label!r}, but the labels to learn are {named(classes)}. "
                "Fix such labels, or omit their samples."
            )
        indices.append(index_by_label[label])
    return np.array(indices, dtype=np.int64)


def check_trained(y: Array, classes: Sequence[Any]) -> None:
    """Raise an error unless each class has a training sample."""
    untrained = np.setdiff1d(np.arange(len(classes)), y)
    if len(untrained):
        labels = named(classes[i] for i in untrained)
        raise WrongValueError(
            f"The training part has no sample of {labels}. Add samples, omit these labels, or "
            "choose another seed."
        )


def _checked_weights(name: str, values: Any, n: int) -> Array:
    array = plain(name, values)
    are_numbers = array.shape == (n,) and array.dtype.kind in "biuf"
    are_weights = are_numbers and np.isfinite(array).all() and (array >= 0).all()
    if not are_weights:
        raise WrongValueError(
            f"{name}, of the dtype {array.dtype} and the shape {array.shape}, must hold a finite "
            f"number of at least 0 for each of {n}. Replace the others."
        )
    return array


def weights(
    y: Array,
    train: Indices,
    classes: Sequence[Any],
    *,
    class_weight: Any,
    sample_weight: Any,
) -> NDArray[np.float64] | None:
    """Return the weights of the training rows, or None if all are 1."""
    weight = np.ones(len(y))
    if sample_weight is not None:
        weight *= _checked_weights("sample_weight", sample_weight, len(y))
    if isinstance(class_weight, str) and class_weight == "balanced":
        # As in scikit-learn, a class has the weight n / (C · n_class). C is the number of classes,
        # and n_class of the n training samples are in this class.
        counts = np.bincount(y[train], minlength=len(classes))
        n_classes = np.count_nonzero(counts)
        weight_of_class = len(train) / (n_classes * np.maximum(counts, 1))
        weight *= weight_of_class[y]
    elif class_weight is not None:
        check_type("class_weight", class_weight, Mapping, '"balanced" or weights by labels')
        unknown = set(class_weight) - set(classes)
        if unknown:
            raise WrongValueError(
                f"class_weight names {named(unknown)}, but the labels are {named(classes)}."
            )
        of_classes = [class_weight.get(label, 1.0) for label in classes]
        weight_of_class = _checked_weights("class_weight", of_classes, len(classes))
        weight *= weight_of_class[y]
    if (weight[train] == 1).all():
        return None
    return weight[train]


# If an array's address is not a multiple of this number of bytes, TensorFlow copies the array.
_ALIGNMENT = 64


class _Memory(np.ndarray[Any, np.dtype[Any]]):
    """Memory that only this module writes to. Other modules get read-only views of it."""


def read_only(array: Array, dtype: DTypeLike) -> Array:
    """Return a read-only copy, or the array itself if it is such a copy."""
    is_kept = array.dtype == dtype and isinstance(array.base, _Memory)
    if is_kept:
        return array
    return collected([array], array.shape, dtype)


def collected(parts: Iterable[Array], shape: Shape, dtype: DTypeLike) -> Array:
    """Return the rows of some arrays as one read-only array."""
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    space = _Memory(n_bytes + _ALIGNMENT, np.uint8)
    offset = -space.ctypes.data % _ALIGNMENT
    whole = _Memory(shape, dtype, buffer=space, offset=offset)
    begin = 0
    for part in parts:
        whole[begin : begin + len(part)] = part
        begin += len(part)
    view = whole.view(np.ndarray)
    view.flags.writeable = False
    return view


def as_tensor(array: Array) -> "tf.Tensor":
    """Return an array as a tensor. If :func:`read_only` made the array, no copy is made."""
    import tensorflow as tf

    # NumPy does not share read-only memory, so TensorFlow gets the writable array of the view.
    # TensorFlow does not write to it.
    if isinstance(array.base, _Memory) and array.size:
        return tf.experimental.dlpack.from_dlpack(array.base.__dlpack__())
    with tf.device("CPU"):
        return tf.convert_to_tensor(array)


def values_of(variables: "Iterable[keras.Variable]") -> "list[tf.Tensor]":
    """Return the values of variables as tensors, which stay the same if a variable changes."""
    import tensorflow as tf

    return [tf.convert_to_tensor(variable.value) for variable in variables]
