"""A network as its user gets it: of raw inputs, to probabilities, compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from adnn_optuna.networks._scores import made
from adnn_optuna.networks.training import Trainer


def finished_model(trainer: Trainer, weights: Sequence[np.ndarray]) -> keras.Model:
    """Return a trainer's network as a compiled model, with these values of its variables.

    Its inputs are scaled as the dataset's were; those of a table are the features of
    :meth:`Preprocessing.encoded`. Where the network ends in logits, its outputs become
    probabilities. Its variables are those of the network, in the same order.
    """
    training, dataset = trainer.training, trainer.dataset
    network = trainer.architecture.build(0, 0)
    for variable, values in zip(network.variables, weights, strict=True):
        variable.assign(values)
    head, scaling = trainer.architecture.head, dataset.preprocessing
    before: list[Any] = []
    after: list[Any] = []
    if scaling.scale != "none":
        numbers = (np.asarray(v).tolist() for v in (scaling.factor, scaling.offset))
        before = [keras.layers.Rescaling(*numbers, dtype="float32", name="scaling")]
    if head.num_classes is not None and not head.are_probabilities:
        activation = "sigmoid" if head.size == 1 else "softmax"
        after = [keras.layers.Activation(activation, dtype="float32", name="probabilities")]
    model = network
    if before or after:
        network.compiled = False  # The whole is.
        layers = network.layers if isinstance(network, keras.Sequential) else [network]
        inputs = keras.Input(dataset.x_train.shape[1:], dtype="float32", name="inputs")
        model = keras.Sequential([inputs, *before, *layers, *after], name=network.name)
    metrics: list[Any] = [] if head.num_classes is None else ["accuracy"]
    metrics += [made(keras.metrics, metric, takes_logits=False)[0] for metric in training.metrics]
    loss, _ = made(keras.losses, training.loss or head.default_loss, takes_logits=False)
    model.compile(training.build_optimizer(), loss, metrics=metrics)
    # Else Keras warns of a file's optimizer whenever it loads the file.
    model.optimizer.build(model.trainable_variables)
    return model
