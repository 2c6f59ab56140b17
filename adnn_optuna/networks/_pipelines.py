"""Data sets as pipelines of TensorFlow, read without importing it."""

from typing import Any

import numpy as np

from adnn_optuna._checks import WrongValueError

# What a tf.data.Dataset calls the number of its elements if it repeats for ever.
_INFINITE = -1


def is_pipeline(values: object) -> bool:
    """Return whether values are a ``tf.data.Dataset``, without importing TensorFlow."""
    return hasattr(values, "element_spec") and hasattr(values, "cardinality")


def read_pipeline(where: str, suffix: str, pipeline: Any, *others: Any) -> tuple[Any, Any, Any]:
    """Return inputs, labels and weights, if any, of a ``tf.data.Dataset``, reading it once.

    Args:
        where: The data set, for messages.
        suffix: Of its name, likewise.
        pipeline: The pipeline, batched or not.
        others: Labels and weights that were given beside it, which must be None.
    """
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
