"""A Keras loss as a function of each example. This module loads TensorFlow."""

import contextlib
import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from adnn_optuna._checks import WrongValueError, did_you_mean, first_line
from adnn_optuna.networks.models import Settings
from adnn_optuna.networks.network import Head

Example = tuple[tf.Tensor, tf.Tensor]
"""Labels and outputs of some examples, or the metric arguments that are made from them."""
PerRow = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

# The errors that losses and metrics raise for arguments of a wrong kind.
REFUSALS = TypeError, ValueError, NotImplementedError, tf.errors.OpError


def loss_or_metric(kind: Any, settings: Settings, head: Head) -> tuple[Any, str]:
    """Return the loss or metric that the settings describe, and its name.

    ``kind`` is ``keras.losses`` or ``keras.metrics``. ``head`` says whether outputs are logits.
    """
    what = "loss" if kind is keras.losses else "metric"
    registered = None
    settings = copy.deepcopy(settings)  # Keras changes a configuration that it reads.
    if isinstance(settings, str):
        name = settings
        registered = keras.saving.get_registered_object(name)
        if name == "f1":
            settings = "f1_score"
    else:
        name = str(settings["class_name"])
        config = settings["config"]
        if head.num_classes and "from_logits" in config:
            config["from_logits"] = not head.are_probabilities
    try:
        part = registered or kind.get(settings)
        if isinstance(part, type):
            part = part()
        return part, name.partition(">")[2] or name
    except (TypeError, ValueError) as error:  # A class may need arguments.
        raise WrongValueError(
            f"{what} must be in keras.{kind.__name__.rpartition('.')[2]}, with its arguments; got "
            f"{name!r} ({first_line(error):.200}).{did_you_mean(name, dir(kind))} If it is your "
            "own, it is not registered: decorate it by keras.saving.register_keras_serializable."
        ) from None


def loss_function(settings: Settings, head: Head) -> tuple[PerRow, bool]:
    """Return a function that computes a Keras loss for each example.

    The function takes outputs, and integer labels (or a regression's targets).

    Also return whether the Keras loss takes integers instead of one-hot rows.
    """
    loss, name = loss_or_metric(keras.losses, settings, head)
    allowed = {"reduction": ("mean", "sum_over_batch_size", "auto"), "ignore_class": (None,)}
    for option, values in allowed.items():
        value = getattr(loss, option, values[0])
        if isinstance(settings, dict) and value not in values:
            raise WrongValueError(
                f"loss {name!r} has {option}={value!r}, but the mean over all of a batch is "
                f"minimized. Omit the {option}."
            )
    if isinstance(loss, keras.losses.Loss):
        loss = getattr(loss, "fn", loss.call) if isinstance(settings, str) else loss.call
    takes_logits = head.num_classes and "from_logits" in inspect.signature(loss).parameters
    options = {"from_logits": not head.are_probabilities} if takes_logits else {}

    def per_row(labels: tf.Tensor, outputs: tf.Tensor, *, takes_integers: bool) -> tf.Tensor:
        # Targets and outputs in the user's units are float64, because float32 may merge distinct
        # values. Some user-defined losses do not accept float64.
        is_double = takes_double and labels.dtype == outputs.dtype == tf.float64
        dtype = tf.float64 if is_double else tf.float32
        targets = labels if takes_integers else targets_of(head, labels, dtype)
        losses = loss(targets, tf.cast(outputs, dtype), **options)
        if losses.shape.rank == 0:  # As in Keras, the loss of a batch counts for each example.
            losses = tf.broadcast_to(losses, tf.shape(outputs)[:1])
        for _ in losses.shape[1:]:  # As in Keras, an example's loss is a mean over outputs.
            losses = tf.reduce_mean(losses, -1)
        return losses

    labels, outputs = example(head)
    takes_double = head.is_regression
    if takes_double:
        doubles = tf.cast(labels, tf.float64), tf.cast(outputs, tf.float64)
        try:
            per_row(*doubles, takes_integers=False)
        except REFUSALS:
            takes_double = False
    for takes_integers in _forms_of_labels(settings, name, head):
        function = functools.partial(per_row, takes_integers=takes_integers)
        with contextlib.suppress(Exception):  # The user's code may raise any error.
            if function(labels, outputs).shape == labels.shape[:1]:
                return function, takes_integers
    kind = "regression" if head.is_regression else "classifier"
    raise WrongValueError(
        f"The loss {name!r} must return one value per example of a {kind} with {head.size} "
        f"outputs. Pass one that does, such as {head.default_loss!r}."
    )


def _forms_of_labels(settings: Settings, name: str, head: Head) -> list[bool]:
    """Return whether a loss takes labels as integers.

    A user's loss may take both forms.
    """
    if not head.num_classes or head.size == 1:
        return [False]
    class_name = settings if isinstance(settings, str) else settings["class_name"]
    if ">" in class_name:
        return [True, False]
    return ["sparse" in name.lower()]


def targets_of(head: Head, labels: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Return labels as targets with the shape of the network's outputs."""
    if not head.is_regression and head.size > 1:
        return tf.one_hot(labels, head.size)
    return tf.reshape(tf.cast(labels, dtype), (-1, head.size))


def example(head: Head) -> Example:
    """Return labels and outputs of an artificial batch, for trying a loss or metric."""
    n = head.size + 2  # If n equalled the number of outputs, swapped axes would raise no error.
    labels = tf.range(n) % 2
    if head.is_regression:
        labels = tf.zeros((n, head.size))
    return labels, tf.fill((n, head.size), 0.5)
