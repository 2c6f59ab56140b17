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
    """The index of its layer among the layers that have kernels or biases."""
    is_output: bool
    """Whether that layer is the last of them."""
    stddev: float
    """The standard deviation of the distribution that its initial values are drawn from."""


@contextlib.contextmanager
def noting_use() -> Iterator[dict[int, None]]:
    """Note the ids of the variables that are used meanwhile, in the order of their first use."""
    import keras

    used: dict[int, None] = {}

    class Watch(keras.StatelessScope):  # type: ignore[misc]
        """What the values of variables are asked of."""

        def get_current_value(self, variable: keras.Variable) -> Any:
            used.setdefault(id(variable))
            return super().get_current_value(variable)

    with Watch():
        yield used


def describe_variables(model: keras.Model, used: Sequence[int]) -> Iterator[VariableInfo]:
    """Yield what ``model.variables`` are, in their order.

    Layers are numbered as they are first used, in the order of the ids of variables in ``used``:
    the class of a model may make them in any order.
    """
    import keras

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
        # A function or, in a class of the user's, a name have no arguments that tell.
        initializer = getattr(layer, f"{variable.name}_initializer", None)
        # Models within a model may have layers of the same name.
        path, count = variable.path, paths[variable.path]
        paths[path] += 1
        yield VariableInfo(
            path=f"{path}#{count}" if count else path,
            kind="other" if layer is None else _kind(variable),
            layer=-1 if layer is None else numbers[id(layer)],
            is_output=layer is not None and id(layer) == output,
            stddev=(
                initializer_stddev(initializer, values)
                if isinstance(initializer, keras.Initializer)
                else float(np.std(values, dtype=np.float64))
            ),
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


def initializer_stddev(initializer: keras.initializers.Initializer, values: np.ndarray) -> float:
    """Return the standard deviation that ``initializer`` draws values with.

    It follows from the initializer's arguments where Keras documents it, so that it does not
    depend on a draw, and is that of the drawn ``values`` for every other initializer.
    """
    import keras

    config = initializer.get_config()
    match initializer:
        case keras.initializers.RandomNormal():
            return float(config["stddev"])
        case keras.initializers.TruncatedNormal():
            return float(config["stddev"]) * TRUNCATED_STDDEV
        case keras.initializers.RandomUniform():
            return float(config["maxval"] - config["minval"]) / math.sqrt(12)
        case keras.initializers.VarianceScaling() if not config.get("input_axes"):
            # Glorot's, He's and LeCun's are subclasses, with their arguments as attributes.
            # Keras widens a truncated normal, so all three distributions have this variance.
            return math.sqrt(initializer.scale / fan(initializer, values.shape))
        case _:
            # All values of a constant initializer are equal: exactly 0, no rounding.
            return float(np.std(values, dtype=np.float64)) if np.ptp(values) else 0.0
