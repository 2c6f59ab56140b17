"""Sketches of what user-defined code computes, to detect changes. This module loads TensorFlow."""

import contextlib
import json
import math
import re
import weakref

import keras
import numpy as np
import tensorflow as tf

from adnn_optuna._differences import sketch_weights
from adnn_optuna.networks._scores import Scores
from adnn_optuna.networks.inspection import examples
from adnn_optuna.networks.models import Training
from adnn_optuna.networks.network import Architecture

Behaviour = dict[str, list[float]]
"""For each part, such as the loss: a norm, a weighted sum and an allowed relative error."""

_ROWS = 8
# The rounding error between processors that a sketch may have, relative to its norm.
_ROUNDING, _ROUNDING_OF_HALF = 1e-3, 3e-2
# The number of optimizer steps, and the steps at which a learning rate schedule is evaluated.
_N_UPDATES = 3
_STEPS = (0, 1, 10, 100, 1_000, 10_000)

_known = weakref.WeakKeyDictionary[Architecture, dict[str, Behaviour]]()


def behaviour(architecture: Architecture, training: Training) -> Behaviour:
    """Return sketches of a network and its training, or {} without user-defined code.

    Keras's own classes and functions need no sketch, because their configuration describes them
    fully.
    """
    settings = json.dumps([architecture.config, training.config], sort_keys=True)
    of_network = _known.setdefault(architecture, {})
    if settings not in of_network:
        of_network[settings] = _sketched(architecture, training, settings)
    return of_network[settings]


def _sketched(architecture: Architecture, training: Training, settings: str) -> Behaviour:
    """Return the sketches.

    If no code is user-defined, or the code raises an error, the dict is empty.
    """
    names = re.findall(r'"([^"\\]+)"', settings)
    has_own_code = architecture.own_code or any(map(keras.saving.get_registered_object, names))
    if has_own_code:
        with contextlib.suppress(Exception):  # Training raises the error again.
            return _tried(architecture, training)
    return {}


def _tried(architecture: Architecture, training: Training) -> Behaviour:
    """Return sketches of outputs, loss, metrics, gradients and updates for fixed seeds."""
    model = architecture.build(0, 0)
    head = architecture.head
    scores = Scores(head, training.loss, training.metrics)
    x = tf.constant(examples(_ROWS, architecture.input_shape, architecture.input_dtype))
    y = tf.range(_ROWS) % (head.num_classes or 1)
    if head.is_regression:
        y = tf.random.stateless_normal((_ROWS, head.size), (0, 0))
    outputs = model(x, training=False)
    totals = scores.add(y, outputs, model.losses, scores.empty_totals)
    with tf.GradientTape() as tape:
        of_training = model(x, training=True)
        losses = scores.loss(y, of_training)
        regularizers = [tf.reduce_sum(tf.cast(value, losses.dtype)) for value in model.losses]
        loss = tf.add_n([tf.reduce_mean(losses), *regularizers])
    variables = [variable.value for variable in model.trainable_variables]
    gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
    optimizer = training.build_optimizer()
    # The weights start at zero, so rounding does not hide small steps.
    weights = keras.Variable(np.zeros((2, 2), np.float32))
    optimizer.build([weights])
    for _ in range(_N_UPDATES):
        optimizer.apply([tf.constant([[1.0, -2.0], [0.5, 0.1]])], [weights])
    rates = []
    for step in _STEPS:
        optimizer.iterations.assign(step)
        rates.append(tf.convert_to_tensor(optimizer.learning_rate))
    parts = {
        "network": [outputs, of_training],
        "regularizers": regularizers,
        "loss": [losses],
        "metrics": totals,
        "gradients": gradients,
        "optimizer": [weights.value],
        "learning rate": rates,
    }
    is_of_halves = architecture.scales_loss or of_training.dtype.size < 4
    rounding = _ROUNDING
    if is_of_halves:
        rounding = _ROUNDING_OF_HALF
    sketches_by_part: Behaviour = {}
    for part, values in parts.items():
        # The arrays of a part share one sketch, because a single array may contain only rounding
        # errors.
        arrays = [tf.convert_to_tensor(value).numpy() for value in values]
        sketches = sketch_weights(arrays)
        mixed = sum(math.cos(i) * of_array for i, (_, of_array) in enumerate(sketches))
        norms = [of_array for of_array, _ in sketches]
        norm = math.hypot(*norms)
        sketches_by_part[part] = [norm, mixed, rounding]
    return sketches_by_part
