"""How a user's model treats inputs and outputs. This module loads TensorFlow."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from adnn_optuna._checks import WrongTypeError, WrongValueError, logger
from adnn_optuna.networks._arrays import Shape

# A model is tried with this number of draws of random weights. The standard deviation of a unit's
# weighted sum is about _SPREAD. It is large enough for both signs, and too small to clip many
# outputs.
_N_TRIES = 8
_SPREAD = 3
_SCALING_LAYERS = (
    keras.layers.Normalization,
    keras.layers.Rescaling,
    keras.layers.BatchNormalization,
    keras.layers.Embedding,
)


def examples(n: int, shape: Sequence[int], dtype: str) -> np.ndarray:
    """Return random inputs to try models on: floats from 0 to 1, or integers 0 and 1."""
    floats = np.random.default_rng(0).random((n, *shape), np.float32)
    if dtype == "float32":
        return floats
    return floats.round().astype(dtype)


def built(
    build_model: Callable[[], keras.Model], input_shape: Shape, input_dtype: str
) -> keras.Model:
    """Return the model that a user's callable builds, with all its variables."""
    model = build_model()
    if not isinstance(model, keras.Model):
        returned = type(model).__name__
        raise WrongTypeError(f"The model's callable must return a keras.Model, not {returned}.")
    if not model.built:
        # A call creates all variables. The `build` of a subclassed model often omits some.
        outputs_of(model, np.zeros((1, *input_shape), input_dtype))
    return model


def outputs_of(model: keras.Model, x: np.ndarray) -> Any:
    """Return a model's outputs for examples. Raise an error if the model does not accept them."""
    # A subclassed model has no attributes inputs and outputs.
    for kind in ("inputs", "outputs"):
        n = len(getattr(model, kind, None) or ())
        if n > 1:
            raise WrongValueError(
                f"The model must have one input and one output; got {n} {kind}. Concatenate them "
                "within the model."
            )
    try:
        return model(x, training=False)
    except (TypeError, ValueError, tf.errors.OpError) as error:
        shape = getattr(model, "input_shape", "unknown")
        raise WrongValueError(
            f"The model does not take examples of shape {x.shape[1:]} (its input_shape is "
            f"{shape})."
        ) from error


def operations(
    model: keras.Model, input_shape: Shape, input_dtype: str
) -> tuple[set[str], set[str]]:
    """Return the kinds of a model's operations in training, and the dtypes of their outputs."""
    spec = tf.TensorSpec((3, *input_shape), input_dtype)
    forward = tf.function(lambda x: model(x, training=True), autograph=False)
    graph = forward.get_concrete_function(spec).graph
    definition = graph.as_graph_def()
    nodes = [*definition.node]
    for function in definition.library.function:
        nodes += function.node_def
    kinds = {node.op for node in nodes}
    dtypes = set()
    for operation in graph.get_operations():
        dtypes |= {output.dtype.name for output in operation.outputs}
    return kinds, dtypes


def scales_inputs(model: keras.Model) -> bool:
    """Return whether a model scales or embeds its inputs before any other trainable layer.

    Layers without trainable variables, such as Flatten, may come before.
    """
    for layer in _innermost_layers(model):
        is_scaling = isinstance(layer, _SCALING_LAYERS)
        if is_scaling or layer.trainable_variables:
            return is_scaling
    return False


def scales_outputs(model: keras.Model) -> bool:
    """Return whether a layer after the last trainable layer scales outputs."""
    for layer in reversed([*_innermost_layers(model)]):
        if isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization):
            return True
        if layer.trainable_variables:
            return False
    return False


def _innermost_layers(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    # Keras has no public function that visits layers within layers.
    for child in layer._flatten_layers(include_self=False, recursive=False):  # noqa: SLF001
        within = [*_innermost_layers(child)]
        yield from within or [child]


def are_probabilities(model: keras.Model, x: np.ndarray, outputs: np.ndarray) -> bool:
    """Return whether outputs for ``x`` are within [0, 1], also with random weights.

    If each row has several outputs that sum to 1, random weights are not tried.
    """
    sums = outputs.sum(axis=-1)
    is_softmax = outputs.shape[1] > 1 and np.allclose(sums, 1, atol=1e-3)
    rng = np.random.default_rng(0)
    tried = [outputs]
    fixed = [variable.value for variable in model.non_trainable_variables]
    for _ in range(0 if is_softmax else _N_TRIES):
        weights = []
        for v in model.trainable_variables:
            n_inputs = math.prod(v.shape[:-1]) or 1
            scale = _SPREAD / math.sqrt(n_inputs)
            weights.append(rng.normal(0, scale, v.shape).astype(v.dtype))
        # Some `call` methods have no parameter `training`, so it is not passed.
        of_try, _ = model.stateless_call(weights, fixed, x)
        tried.append(np.asarray(of_try, np.float32))
    stay_in_range = not any(((values < 0) | (values > 1)).any() for values in tried)
    if outputs.shape[1] == 1:
        reading = "logit, since its values leave"
        if stay_in_range:
            reading = "probability, since its values stay"
        logger.info("The model's single output is taken for a %s within [0, 1].", reading)
    return stay_in_range
