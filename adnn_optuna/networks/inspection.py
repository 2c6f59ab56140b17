"""What a model of the user's is, and does with inputs and outputs: called, traced or tried.

It loads TensorFlow.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from adnn_optuna._checks import WrongTypeError, WrongValueError, first_line, logger

# Operations that hand inputs on, all or some of them, in another shape or order.
_HANDING_ON = {"Identity", "IdentityN", "Reshape", "Transpose", "Squeeze", "ExpandDims", "Slice"}
_HANDING_ON |= {"StridedSlice", "Split", "SplitV", "Unpack", "GatherV2", "ReverseV2"}
_HANDING_ON |= {"StopGradient", "Snapshot"}
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
        raise WrongTypeError(
            "The model's callable must return a keras.Model, but it returned "
            f"{type(model).__name__}."
        )
    if not model.built:
        # By a call, as a subclassed model seldom has a `build` that makes all layers'.
        outputs_of(model, np.zeros((1, *input_shape), np.float32))
    return model


def outputs_of(model: keras.Model, x: np.ndarray) -> Any:
    """Return what a model makes of examples; refuse one that does not take them or has several."""
    try:
        outputs = model(x, training=False)
    except (TypeError, ValueError, tf.errors.OpError) as error:
        of_texts = keras.layers.TextVectorization, keras.layers.StringLookup
        layers = model._flatten_layers()  # noqa: SLF001
        if found := next((layer.name for layer in layers if isinstance(layer, of_texts)), None):
            raise WrongValueError(
                f"The model's layer {found!r} takes strings, but data here are numbers: leave it "
                "out of the model, and make the data set of what it makes of your strings, as "
                "layer(strings).numpy()."
            ) from None
        # What Keras says begins with where it was.
        own, why = getattr(model, "input_shape", None), first_line(error)
        if own and own != (None, *x.shape[1:]):
            why = f"its input_shape is {own}"
        raise WrongValueError(
            f"The model does not take examples of shape {x.shape[1:]} ({why})."
        ) from error
    if isinstance(outputs, list | tuple | dict):
        raise WrongValueError(
            f"The model has {len(outputs)} outputs in a {type(outputs).__name__}, but trainings "
            "here are of one alone; let your callable return a keras.Model of one of them, or "
            "concatenate them."
        )
    return outputs


def graph_of(
    model: keras.Model, input_shape: tuple[int, ...], *, training: bool
) -> tf.Graph | None:
    """Return the graph of a model; none where its own error comes again in the training."""
    spec = tf.TensorSpec((3, *input_shape), tf.float32)
    forward = tf.function(lambda x: model(x, training=training), autograph=False)
    try:
        return forward.get_concrete_function(spec).graph
    except (TypeError, ValueError, tf.errors.OpError):
        return None


def operations(graph: tf.Graph) -> list[str]:
    """Return the kinds of all operations of a graph, also within its functions."""
    definition = graph.as_graph_def()
    bodies = (function.node_def for function in definition.library.function)
    return [node.op for nodes in (definition.node, *bodies) for node in nodes]


def features_as_given(model: keras.Model, input_shape: tuple[int, ...]) -> dict[int, str]:
    """Return which features a model takes in the user's own units, and the operation that does.

    So do layers that take integers, as an ``Embedding``, and those that scale, compare or cut
    inputs by constants of theirs, as ``Rescaling``, an adapted ``Normalization`` or ``Masking``.
    Features are those of the last dimension.
    """
    if (graph := graph_of(model, input_shape, training=False)) is None:
        return {}
    inputs = graph.inputs[0]
    taken: dict[str, tf.Tensor] = {}
    left = [inputs]
    seen = {inputs.name}
    while left:
        tensor = left.pop()
        for operation in tensor.consumers():
            if _takes_as_given(operation, tensor):
                taken[operation.name] = tensor
            elif operation.type in _HANDING_ON or operation.type == "Cast":
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
    if operation.type in _BY_THEMSELVES:
        return True
    others = [other for other in operation.inputs if other is not tensor]
    return operation.type in _WITH_CONSTANT and all(map(_is_constant, others))


def _is_constant(tensor: tf.Tensor) -> bool:
    """Return whether a tensor depends neither on the inputs nor on a variable."""
    graph, left, seen = tensor.graph, [tensor], set()
    while left:
        tensor = left.pop()
        if tensor is graph.inputs[0] or tensor.dtype.name == "resource":
            return False
        if tensor.name not in seen:
            seen.add(tensor.name)
            left += tensor.op.inputs
    return True


def are_probabilities(
    model: keras.Model, x: np.ndarray, outputs: np.ndarray, *, from_logits: bool | None
) -> bool:
    """Return whether the outputs, those for ``x``, are probabilities of classes, else logits.

    So says the loss that the model was compiled with, unless their values tell otherwise. Without
    one, a single output that stays within [0, 1] whatever the weights are is a probability.
    """
    is_within = _are_within(outputs)
    # A softmax may stand anywhere. Logits do not sum up to 1 for one example after the other.
    is_softmax = outputs.shape[1] > 1 and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3)
    # Sums of either sign and not too large, or clipped outputs would hide it.
    is_bounded = is_within and (is_softmax or all(map(_are_within, _tried(model, x, 3))))
    found = is_bounded or (is_within and from_logits is False)
    if from_logits is None and outputs.shape[1] == 1:
        kind, values = ("probability", "stay") if found else ("logit", "do not stay")
        logger.info(
            "The model's single output is taken for a %s, since its values %s within [0, 1].",
            *(kind, values),
        )
    elif from_logits is found:
        logger.warning(
            "The model's outputs are taken for %s by their values, though its loss has "
            "from_logits=%s: give the loss the other one.",
            *("probabilities" if found else "logits", from_logits),
        )
    return found


def _are_within(outputs: np.ndarray) -> bool:
    return not ((outputs < 0) | (outputs > 1)).any()


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
