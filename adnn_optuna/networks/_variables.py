"""A network's variables: what each of them is, and how far its initial values spread."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from adnn_optuna.networks.initializers import TRUNCATED_STDDEV, fan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import keras

Kind = Literal["weight", "bias", "other"]

_WEIGHT_NAMES = ("kernel", "embeddings")


@dataclasses.dataclass(frozen=True)
class VariableInfo:
    """One variable of a network, as the offsets see it."""

    path: str
    """Its name, unique in the network."""
    kind: Kind
    """``"weight"`` for kernels, ``"bias"`` for biases, ``"other"`` for what never moves."""
    layer: int
    """The index of its layer among the layers that have kernels or biases, -1 of what has none."""
    is_output: bool
    """Whether that layer is the last of them."""
    stddev: float
    """Of what its initial values are drawn from."""


@contextlib.contextmanager
def noting_use() -> Iterator[dict[int, None]]:
    """Note the ids of the variables that are used meanwhile, in the order of their first use."""
    import keras

    used: dict[int, None] = {}

    class Watch(keras.StatelessScope):  # type: ignore[misc]
        def get_current_value(self, variable: keras.Variable) -> Any:
            used.setdefault(id(variable))
            return super().get_current_value(variable)

    with Watch():
        yield used


def describe_variables(model: keras.Model, used: Sequence[int]) -> Iterator[VariableInfo]:
    """Yield what ``model.variables`` are; layers are numbered in the order of ``used``."""
    owners = _owners(model)
    layers = [id(owners[i]) for i in used if i in owners]
    output = layers[-1] if layers else None
    numbers: dict[int, int] = {}
    for layer_id in [*layers, *map(id, owners.values())]:
        numbers.setdefault(layer_id, len(numbers))
    paths: collections.Counter[str] = collections.Counter()
    for variable in model.variables:
        layer = owners.get(id(variable))
        values = np.asarray(variable.numpy())
        initializer = getattr(layer, f"{variable.name}_initializer", None)
        # Models within a model may have layers of the same name.
        path, count = variable.path, paths[variable.path]
        paths[path] += 1
        yield VariableInfo(
            path=f"{path}#{count}" if count else path,
            kind="other" if layer is None else _kind(variable),
            layer=numbers.get(id(layer), -1),
            is_output=id(layer) == output,
            stddev=initializer_stddev(initializer, values),
        )


def _owners(model: keras.Model) -> dict[int, Any]:
    """Return the layer of each variable that can move, by the variable's id."""
    owners: dict[int, Any] = {}
    # Keras has no public walk over the layers within layers.
    for layer in model._flatten_layers():  # noqa: SLF001
        children = layer._flatten_layers(include_self=False, recursive=False)  # noqa: SLF001
        inner = {id(variable) for child in children for variable in child.variables}
        for variable in layer.trainable_variables:
            if id(variable) not in inner and _kind(variable) != "other":
                owners[id(variable)] = layer
    return owners


def _kind(variable: keras.Variable) -> Kind:
    if variable.name.endswith(_WEIGHT_NAMES):
        return "weight"
    return "bias" if variable.name.endswith("bias") else "other"


def initializer_stddev(initializer: Any, values: np.ndarray) -> float:
    """Return the standard deviation by Keras's formula for an initializer, else of the values."""
    import keras

    match initializer:
        case keras.initializers.RandomNormal():
            return float(initializer.stddev)
        case keras.initializers.TruncatedNormal():
            return float(initializer.stddev) * TRUNCATED_STDDEV
        case keras.initializers.RandomUniform():
            return float(initializer.maxval - initializer.minval) / math.sqrt(12)
        case keras.initializers.VarianceScaling() if not initializer.get_config().get(
            "input_axes"
        ):
            # Glorot's, He's and LeCun's are subclasses, with their arguments as attributes.
            # Keras widens a truncated normal, so all three distributions have this variance.
            return math.sqrt(initializer.scale / fan(initializer, values.shape))
    # Exactly 0 for a constant one, no rounding.
    is_constant = np.all(values == values.reshape(-1)[:1])
    return 0.0 if is_constant else float(np.std(values, dtype=np.float64))
