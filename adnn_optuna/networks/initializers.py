"""The variables of a network: their kinds, layers and initial standard deviations."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import keras

VariableKind = Literal["weight", "bias", "other"]

# The standard deviation of a standard normal distribution that is cut off at -2 and 2.
TRUNCATED_STDDEV = 0.87962566103423978


@dataclasses.dataclass(frozen=True)
class VariableInfo:
    """One variable of a network."""

    path: str  # Unique in the network.
    kind: VariableKind  # Kernels and embeddings are weights. "other" never gets an offset.
    layer: int  # The layer's index among layers with kernels or biases, or -1 for "other".
    is_output: bool  # Whether the layer is the last layer with kernels or biases.
    stddev: float  # The standard deviation of the initial values.


@contextlib.contextmanager
def noting_use() -> Iterator[dict[int, None]]:
    """Yield a dict that collects the variables that the with-block uses.

    The keys are the ids of the variables, in order of use.
    """
    import keras

    used: dict[int, None] = {}

    class Watch(keras.StatelessScope):  # type: ignore[misc]
        def get_current_value(self, variable: keras.Variable) -> Any:
            used.setdefault(id(variable))
            return super().get_current_value(variable)

    with Watch():
        yield used


def describe_variables(model: keras.Model, used: Sequence[int]) -> Iterator[VariableInfo]:
    """Describe ``model.variables``. Layers are numbered in the order of the ids ``used``."""
    owners = _owners(model)
    layers = [id(owners[i]) for i in used if i in owners]
    in_order = dict.fromkeys([*layers, *map(id, owners.values())])
    numbers = {layer: number for number, layer in enumerate(in_order)}
    counts: collections.Counter[str] = collections.Counter()
    for variable in model.variables:
        layer = owners.get(id(variable))
        kind: VariableKind = "other"
        if layer is not None:
            kind = _kind(variable)
        initializer = getattr(layer, f"{variable.name}_initializer", None)
        values = np.asarray(variable.numpy())
        stddev = initializer_stddev(initializer, values)
        number = numbers.get(id(layer), -1)
        is_output = id(layer) in layers[-1:]
        # Models within a model may have layers with the same name, so repeated paths are numbered.
        path = variable.path
        count = counts[path]
        counts[path] += 1
        if count:
            path = f"{path}#{count}"
        yield VariableInfo(
            path=path,
            kind=kind,
            layer=number,
            is_output=is_output,
            stddev=stddev,
        )


def without_offsets(model: keras.Model) -> list[str]:
    """Return the trainable variables of a model that never get an offset, as layer/variable."""
    variables = [v for v in model.trainable_variables if _kind(v) == "other"]
    # Outer layers are omitted, because layers within a configuration do not name them.
    return ["/".join(variable.path.split("/")[-2:]) for variable in variables]


def _owners(model: keras.Model) -> dict[int, Any]:
    """Map the id of each variable that can get an offset to its layer."""
    owners: dict[int, Any] = {}
    # Keras has no public function that visits layers within layers.
    for layer in model._flatten_layers():  # noqa: SLF001
        children = layer._flatten_layers(include_self=False, recursive=False)  # noqa: SLF001
        inner = {id(variable) for child in children for variable in child.variables}
        for variable in layer.trainable_variables:
            if id(variable) not in inner and _kind(variable) != "other":
                owners[id(variable)] = layer
    return owners


def _kind(variable: keras.Variable) -> VariableKind:
    if variable.name.endswith(("kernel", "embeddings")):
        return "weight"
    if variable.name.endswith("bias"):
        return "bias"
    return "other"


def initializer_stddev(initializer: Any, values: np.ndarray) -> float:
    """Return an initializer's standard deviation.

    If there is no known formula, estimate it from ``values``.
    """
    import keras

    match initializer:
        case keras.initializers.RandomNormal():
            return float(initializer.stddev)
        case keras.initializers.TruncatedNormal():
            return float(initializer.stddev) * TRUNCATED_STDDEV
        case keras.initializers.RandomUniform():
            return float(initializer.maxval - initializer.minval) / math.sqrt(12)
        case keras.initializers.VarianceScaling():  # This includes Glorot, He and LeCun.
            return scaled_stddev(initializer, values.shape)
    # For constants, this is exactly 0, but ``np.std`` may have a rounding error.
    is_constant = np.all(values == values.reshape(-1)[:1])
    if is_constant:
        return 0.0
    return float(np.std(values, dtype=np.float64))


def scaled_stddev(initializer: Any, shape: Sequence[int]) -> float:
    """Return the standard deviation of a VarianceScaling initializer for a shape."""
    input_axes = getattr(initializer, "input_axes", None)
    output_axes = getattr(initializer, "output_axes", None)
    inputs = shape[:-1] or shape
    outputs = (*shape[:-2], *shape[-1:])
    if input_axes and output_axes:
        inputs = [shape[i] for i in input_axes]
        outputs = tuple(shape[i] for i in output_axes)
    fan_in = math.prod(inputs)
    fan_out = math.prod(outputs)
    mean = (fan_in + fan_out) / 2
    sizes = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": mean}
    # This is n in Keras's documentation.
    n = max(1.0, sizes[initializer.mode])
    return math.sqrt(initializer.scale / n)
