"""What a user's model does with inputs and outputs: called, traced or tried; loads TensorFlow."""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from adnn_optuna._checks import WrongTypeError, WrongValueError, logger

# Operations that hand inputs on, all or some of them, in another shape or order.
_HANDING_ON = {"Identity", "IdentityN", "Reshape", "Transpose", "Squeeze", "ExpandDims", "Slice"}
_HANDING_ON |= {"StridedSlice", "Split", "SplitV", "Unpack", "GatherV2", "ReverseV2"}
_HANDING_ON |= {"StopGradient", "Snapshot", "Cast"}
# Those that take them in the user's own units: alone, or beside something constant.
_BY_THEMSELVES = {"Bucketize", "AsString", "Floor", "Rint", "Round", "Log", "Log1p", "Sqrt"}
_WITH_CONSTANT = {"Sub", "Mul", "RealDiv", "BiasAdd", "Maximum", "Minimum", "ClipByValue", "Equal"}
_WITH_CONSTANT |= {"NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual"}

# With how many draws of weights a model is tried.
_N_TRIES = 8
# Standardised targets are nearer to 0.
_ANY_NUMBER = 10


def built(build_model: Callable[[], keras.Model], input_shape: tuple[int, ...]) -> keras.Model:
    """Return the model of a callable of the user's with all its variables."""
    model = build_model()
    if not isinstance(model, keras.Model):
        found = type(model).__name__
        raise WrongTypeError(f"The model's callable must return a keras.Model, not {found}.")
    if not model.built:
        # By a call, as a subclassed model seldom has a `build` that makes all layers'.
        outputs_of(model, np.zeros((1, *input_shape), np.float32))
    return model


def outputs_of(model: keras.Model, x: np.ndarray) -> Any:
    """Return what a model makes of examples; refuse one that does not take them."""
    try:
        return model(x, training=False)
    except (TypeError, ValueError, tf.errors.OpError) as error:
        own = getattr(model, "input_shape", "unknown")
        raise WrongValueError(
            f"The model does not take examples of shape {x.shape[1:]} (its input_shape is {own})."
        ) from error


def graph_of(model: keras.Model, input_shape: tuple[int, ...], *, training: bool) -> tf.Graph:
    """Return the graph of a model, as it is called in training or else."""
    spec = tf.TensorSpec((3, *input_shape), tf.float32)
    forward = tf.function(lambda x: model(x, training=training), autograph=False)
    return forward.get_concrete_function(spec).graph


def operations(graph: tf.Graph) -> list[str]:
    """Return the kinds of all operations of a graph, also within its functions."""
    definition = graph.as_graph_def()
    bodies = (function.node_def for function in definition.library.function)
    return [node.op for nodes in (definition.node, *bodies) for node in nodes]


def features_as_given(model: keras.Model, input_shape: tuple[int, ...]) -> dict[int, str]:
    """Return which features a model takes in the user's own units, and the operation that does.

    So do an ``Embedding``, ``Rescaling``, ``Normalization`` and the like. Features are those of
    the last dimension.
    """
    graph = graph_of(model, input_shape, training=False)
    inputs = graph.inputs[0]
    taken: dict[str, tf.Tensor] = {}
    left, seen = [inputs], {inputs.name}
    while left:
        tensor = left.pop()
        for operation in tensor.consumers():
            if _takes_as_given(operation, tensor):
                taken[operation.name] = tensor
            elif operation.type in _HANDING_ON:
                new = [output for output in operation.outputs if output.name not in seen]
                left += new
                seen |= {output.name for output in new}
    # Each number tells which feature it is of, wherever it was handed to.
    numbers = np.broadcast_to(np.arange(input_shape[-1], dtype=np.float32), inputs.shape)
    with tf.compat.v1.Session(graph=graph) as session:
        found = {name: session.run(t.name, {inputs.name: numbers}) for name, t in taken.items()}
    return {int(i): name for name, values in found.items() for i in np.unique(values)}


def _takes_as_given(operation: tf.Operation, tensor: tf.Tensor) -> bool:
    if operation.type == "Cast":
        return not operation.outputs[0].dtype.is_floating
    others = [other for other in operation.inputs if other is not tensor]
    is_with_constant = operation.type in _WITH_CONSTANT and all(map(_is_constant, others))
    return operation.type in _BY_THEMSELVES or is_with_constant


def _is_constant(tensor: tf.Tensor) -> bool:
    """Return whether a tensor depends neither on the inputs nor on a variable."""
    left, seen = [tensor], {tensor.name}
    while left:
        found = left.pop()
        if found is tensor.graph.inputs[0] or found.dtype.name == "resource":
            return False
        new = [source for source in found.op.inputs if source.name not in seen]
        left += new
        seen |= {source.name for source in new}
    return True


def are_probabilities(model: keras.Model, x: np.ndarray, outputs: np.ndarray) -> bool:
    """Return whether the outputs, those for ``x``, stay within [0, 1] whatever the weights are."""
    is_softmax = outputs.shape[1] > 1 and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3)
    # Sums of either sign and not too large, or clipped outputs would hide it.
    tried = itertools.chain([outputs], [] if is_softmax else _tried(model, x, 3))
    found = not any(((values < 0) | (values > 1)).any() for values in tried)
    if outputs.shape[1] == 1:
        said = "probability, since its values stay" if found else "logit, since its values leave"
        logger.info("The model's single output is taken for a %s within [0, 1].", said)
    return found


def are_any_numbers(model: keras.Model, x: np.ndarray) -> bool:
    """Return whether outputs, which are near 0 yet, may be any numbers by the model's weights.

    Not so those of a sigmoid, a softplus, or a last layer that brings them to the user's units.
    """
    if np.abs(np.asarray(model(x, training=False), np.float32)).max() > _ANY_NUMBER:
        return False
    outputs = np.nan_to_num(np.concatenate([*_tried(model, x, 100)]))
    ends = np.minimum(-outputs.min(axis=0), outputs.max(axis=0))
    return bool((ends > _ANY_NUMBER).all())


def _tried(model: keras.Model, x: np.ndarray, spread: float) -> Iterator[np.ndarray]:
    """Yield the outputs for x by draws of the weights, whose sums spread so far."""
    rng = np.random.default_rng(0)
    fixed = [variable.value for variable in model.non_trainable_variables]
    for _ in range(_N_TRIES):
        weights = []
        for v in model.trainable_variables:
            scale = spread / math.sqrt(math.prod(v.shape[:-1]) or 1)
            weights.append(rng.normal(0, scale, v.shape).astype(v.dtype))
        # Not every `call` takes an argument `training`.
        outputs, _ = model.stateless_call(weights, fixed, x)
        yield np.asarray(outputs, np.float32)
