"""Keras metrics and their arguments. This module loads TensorFlow."""

import contextlib
import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from adnn_optuna._checks import WrongValueError, first_line
from adnn_optuna.networks._arrays import values_of
from adnn_optuna.networks._losses import REFUSALS, Example, example, loss_or_metric, targets_of
from adnn_optuna.networks.models import Settings
from adnn_optuna.networks.network import Head

# A function that makes a metric's arguments from labels and outputs.
Adapt = Callable[[tf.Tensor, tf.Tensor], Example]
KerasMetric = tuple[keras.metrics.Metric, Adapt]

# Keras metrics about a single class. If there are two classes, this is the positive class.
_OF_ONE_CLASS = (
    *("AUC", "Precision", "Recall", "FBetaScore", "BinaryIoU", "TruePositives", "TrueNegatives"),
    *("FalsePositives", "FalseNegatives", "PrecisionAtRecall", "RecallAtPrecision"),
    *("SensitivityAtSpecificity", "SpecificityAtSensitivity"),
)


def is_own(settings: Settings) -> bool:
    """Return whether a metric is user-defined."""
    name = settings if isinstance(settings, str) else settings["class_name"]
    is_registered = keras.saving.get_registered_object(name) is not None
    return is_registered or name == "MeanMetricWrapper"


def is_of_one_class(metric: keras.metrics.Metric) -> bool:
    """Return whether this is a Keras metric about a single class."""
    if not type(metric).__module__.startswith("keras."):
        return False
    kinds = tuple(getattr(keras.metrics, name) for name in _OF_ONE_CLASS)
    is_of_several = getattr(metric, "average", None) or getattr(metric, "multi_label", False)
    return isinstance(metric, kinds) and not is_of_several


def is_of_positive(metric: keras.metrics.Metric, head: Head) -> bool:
    """Return whether a metric is about the positive class of two classes."""
    # A metric with a class_id is about the class with this number instead.
    is_free = getattr(metric, "class_id", None) is None
    return head.num_classes == 2 and is_free and is_of_one_class(metric)


def keras_metric(settings: Settings, head: Head, *, takes_integers: bool) -> KerasMetric:
    """Return a Keras metric, and the function that makes its arguments.

    ``takes_integers`` says whether the network's loss takes class numbers instead of one-hot rows.
    """
    is_users = is_own(settings)
    of_metric = head.of_predictions
    if is_users and head.ends_in_logits:
        of_metric = dataclasses.replace(head, are_probabilities=False)
    metric, name = loss_or_metric(keras.metrics, settings, of_metric)
    # Several labels per example count as a regression on 0 and 1. Of Keras's accuracies, a
    # regression may only have the binary accuracy, because it is computed for each label.
    is_of_all = not is_users and "accuracy" in name.lower() and "binary" not in name.lower()
    if head.is_regression and (is_of_all or is_of_one_class(metric)):
        raise WrongValueError(
            f"The metric {name!r} is of classes, which a regression has none of. Choose r2, rmse, "
            "mae or another metric of numbers."
        )
    if not isinstance(metric, keras.metrics.Metric):
        metric = keras.metrics.MeanMetricWrapper(metric, name=name)
    elif isinstance(settings, str):
        # The metric is named as in Keras, without the number of a repeated name.
        own_name = name if settings.islower() else re.sub(r"_\d+$", "", metric.name)
        metric = type(metric)(name=own_name)
    if head.is_regression:
        # Float32 would merge values around 1e9. If a user-defined metric does not accept a dtype,
        # it is used unchanged.
        with contextlib.suppress(*REFUSALS):
            metric = type(metric).from_config(metric.get_config() | {"dtype": "float64"})
    if is_users:
        return metric, _arguments_of_own(metric, name, head, takes_integers=takes_integers)
    adapt = _arguments_of_keras(metric, head, is_sparse="sparse" in name.lower())
    try:
        # Some metrics create their variables at the first call.
        _result_of(metric, [adapt(*example(head))])
    except Exception as error:  # noqa: BLE001 - the metric's own code may raise anything
        raise _refused(name, head, error) from None
    return metric, adapt


def _arguments_of_keras(metric: keras.metrics.Metric, head: Head, *, is_sparse: bool) -> Adapt:
    """Return a function that makes the arguments of one of Keras's own metrics."""
    is_of_two = is_of_positive(metric, head)
    column = head.positive or 0
    is_f_score = isinstance(metric, keras.metrics.FBetaScore)
    if is_f_score and is_of_two and metric.threshold is None:
        # Without a threshold, the predicted class is the class with a row's largest output. A
        # single output is always the largest.
        metric.threshold = 0.5

    def adapt(labels: tf.Tensor, outputs: tf.Tensor) -> Example:
        dtype = tf.float32
        if metric.dtype == "float64":
            dtype = tf.float64
        targets = labels if is_sparse else targets_of(head, labels, dtype)
        outputs = _predictions(head, tf.cast(outputs, dtype))
        # An F-score averages over classes, so it needs a column for each of the two classes.
        if head.size == 1 and (is_of_two or is_f_score):
            targets = tf.concat([1 - targets, targets], 1)
            outputs = tf.concat([1 - outputs, outputs], 1)
        if is_of_two:
            targets = targets[:, column : column + 1]
            outputs = outputs[:, column : column + 1]
        return targets, outputs

    return adapt


def _arguments_of_own(
    metric: keras.metrics.Metric, name: str, head: Head, *, takes_integers: bool
) -> Adapt:
    """Return a function that makes a user-defined metric's arguments in a form that it accepts.

    Keras passes labels as they were passed to ``fit``: with or without an axis for a single
    output, and as integers or floats. A form is right if a metric has the same value for a whole
    batch and for the batch's examples one after another. In a wrong form, labels and outputs may
    broadcast to a table of all pairs. If no form is right, the first form that raises no error is
    used.
    """
    labels, outputs = _varied_example(head)
    one_by_one = [(labels[i : i + 1], outputs[i : i + 1]) for i in range(len(labels))]
    accepted = []
    errors = []
    for adapt in _forms(metric, head, takes_integers=takes_integers):
        try:
            value = _result_of(metric, [adapt(labels, outputs)])
            _check_is_in_variables(metric, adapt(labels, outputs), value)
            accepted.append(adapt)
            rows = [adapt(*row) for row in one_by_one]
            if np.isclose(value, _result_of(metric, rows)):
                return adapt
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            errors.append(error)
    if not accepted:
        raise _refused(name, head, errors[0])
    return accepted[0]


def _forms(metric: keras.metrics.Metric, head: Head, *, takes_integers: bool) -> Iterator[Adapt]:
    """Yield functions that make a metric's arguments, one for each form of labels in Keras."""
    shapes = [[-1, head.size]]
    dtypes = [tf.float32]
    is_one_hot = not head.is_regression and head.size > 1 and not takes_integers
    if head.size == 1:
        shapes = [[-1], [-1, 1]]
    elif takes_integers:
        shapes = [[-1]]
    if not head.is_regression and not is_one_hot:
        dtypes = [tf.int32, tf.float32]
    elif metric.dtype == "float64":
        dtypes = [tf.float64, tf.float32]

    def form(shape: list[int], dtype: tf.DType) -> Adapt:
        def adapt(labels: tf.Tensor, outputs: tf.Tensor) -> Example:
            targets = labels
            if is_one_hot:
                targets = targets_of(head, labels)
            of_outputs = tf.float32
            if dtype.is_floating:
                of_outputs = dtype
            outputs = _outputs_of_model(head, tf.cast(outputs, of_outputs))
            return tf.reshape(tf.cast(targets, dtype), shape), outputs

        return adapt

    for shape, dtype in itertools.product(shapes, dtypes):
        yield form(shape, dtype)


def _predictions(head: Head, outputs: tf.Tensor) -> tf.Tensor:
    """Return probabilities of classes, or the numbers of a regression."""
    if head.is_regression or head.are_probabilities:
        return outputs
    if head.size == 1:
        return tf.sigmoid(outputs)
    return tf.nn.softmax(outputs)


def _outputs_of_model(head: Head, outputs: tf.Tensor) -> tf.Tensor:
    """Return logits if the user's model returns logits, otherwise predictions."""
    if not head.ends_in_logits:
        return _predictions(head, outputs)
    if not head.are_probabilities:
        return outputs
    # These outputs are averages of several networks' probabilities, so they are converted to
    # logits.
    epsilon = keras.config.epsilon()
    chances = tf.clip_by_value(outputs, epsilon, 1 - epsilon)
    logits = tf.math.log(chances)
    if head.size == 1:
        return logits - tf.math.log1p(-chances)
    return logits


def _varied_example(head: Head) -> Example:
    """Return labels and outputs of a batch in which all examples differ."""
    labels, outputs = example(head)
    n = len(labels)
    rng = np.random.default_rng(0)
    outputs = tf.constant(rng.random((n, head.size)), tf.float32)
    if head.size > 1 and head.are_probabilities:
        outputs /= tf.reduce_sum(outputs, axis=1, keepdims=True)
    if head.is_regression:
        labels = tf.constant(rng.normal(size=(n, head.size)), tf.float32)
    return labels, outputs


def _result_of(metric: keras.metrics.Metric, batches: Sequence[Example]) -> float:
    """Return a metric's value over some batches. Raise an error unless it is a single number."""
    try:
        for arguments in batches:
            metric.update_state(*arguments, sample_weight=None)
        result = metric.result()
        if isinstance(result, dict) or np.size(result) != 1:
            raise _NoNumberError
        return float(np.asarray(result).item())
    finally:
        metric.reset_state()


class _NoNumberError(Exception):
    """A metric's result is not a single number."""


def _check_is_in_variables(metric: keras.metrics.Metric, arguments: Example, value: float) -> None:
    """Raise an error unless a metric's value in a graph follows from its variables.

    Args:
        metric: A user-defined metric.
        arguments: The batch, as arguments of the metric.
        value: The metric's value for the batch.
    """
    empty_state = values_of(metric.variables)

    def update(*arguments: tf.Tensor) -> Sequence[tf.Tensor]:
        return metric.stateless_update_state(empty_state, *arguments, sample_weight=None)

    # TensorFlow would warn about direct calls of many new tf.functions.
    graph = tf.function(update, autograph=False).get_concrete_function(*arguments)
    state = graph(*arguments)
    result = np.asarray(result_of_state(metric, state))
    of_state = result.item()
    if not np.isclose(of_state, value, equal_nan=True):
        raise TypeError("its variables do not hold its value: make them by add_weight")


def result_of_state(metric: keras.metrics.Metric, state: Sequence[tf.Tensor]) -> tf.Tensor:
    """Return a metric's result for these values of its variables."""
    # `stateless_result` is not suitable, because it may return a variable without its value here.
    with keras.StatelessScope(zip(metric.variables, state, strict=True)):
        result = metric.result()
        if isinstance(result, keras.Variable):
            return result.value
        return result


def _refused(name: str, head: Head, error: Exception) -> WrongValueError:
    """Return the error message for a metric that failed on an artificial batch."""
    if isinstance(error, _NoNumberError):
        return WrongValueError(
            f"The metric {name!r} must be one number for a split and {head.size} outputs. Pass an "
            "average, such as average='macro', or omit it."
        )
    return WrongValueError(
        f"The metric {name!r} must take what Keras passes it for this loss and {head.size} "
        f"outputs; got {type(error).__name__} ({first_line(error):.200}). Correct it, pass "
        "another loss, or omit it."
    )
