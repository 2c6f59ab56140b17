"""Labels as users have them, and as a network takes them: 0, 1, … ``where`` is the data set."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adnn_optuna._checks import WrongTypeError, WrongValueError, is_integer
from adnn_optuna.networks._arrays import checked_weights, named, plain


def read_labels(where: str, name: str, values: Any) -> NDArray[Any]:
    """Return labels as users have them as strings, truth values or integers of shape (n,)."""
    array = plain(where, name, values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    elif array.ndim == 2 and array.dtype.kind in "biuf":
        if not (((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all()):
            raise WrongValueError(
                f"{where}: the rows of {name}, of shape {array.shape}, are not one-hot: give one "
                'label for each sample, or, for numbers to predict, task="regression".'
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
    """Return the index in ``classes`` of each label that :func:`read_labels` returned."""
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
