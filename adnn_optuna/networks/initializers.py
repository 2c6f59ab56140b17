"""What a network's variables start from: distributions, and their parameters and seeds."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import keras

Kind = Literal["random", "fixed", "unknown"]
VariableKind = Literal["weight", "bias", "other"]

# What a variable starts from, by the class of keras.initializers.
_NAMES = {
    **dict.fromkeys(("Zeros", "Ones", "Constant"), "constant"),
    **{name: name for name in ("Identity", "STFT", "Orthogonal")},
    "RandomNormal": "normal",
    "RandomUniform": "uniform",
    "TruncatedNormal": "truncated_normal",
}
_VALUES = {"Zeros": {"value": 0.0}, "Ones": {"value": 1.0}}
# The standard deviation of a standard normal that is cut off at -2 and 2.
_TRUNCATED_STDDEV = 0.87962566103423978


@dataclasses.dataclass(frozen=True)
class Distribution:
    """What initial values are drawn from.

    Of the ``kind`` ``"fixed"`` are the same values at each call and with any seed. Its ``name`` is
    that of the function of ``keras.random`` (whose ``"truncated_normal"`` is cut off at two
    ``stddev``), ``"constant"``, or the initializer's class; its ``parameters`` fit the shape.
    """

    kind: Kind
    name: str
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}({in_words(self.parameters)})"


def in_words(parameters: Mapping[str, Any]) -> str:
    """Return parameters as text, such as ``mean=0, stddev=0.05``."""
    return ", ".join(
        f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in parameters.items()
    )


def describe(initializer: Any, shape: tuple[int, ...] | None) -> Distribution:
    """Return what an initializer, or a function like one, draws values of a shape from.

    One that is none of Keras's is found out by what it returns under two seeds, or when it is
    called twice.
    """
    import keras

    name, config = class_name(initializer), _config(initializer)
    known = Distribution("random" if "seed" in config else "fixed", name, config)
    config.pop("seed", None)
    # A class of the user's may have the name of one of Keras's, or be derived from it.
    is_of_keras = type(initializer) is getattr(keras.initializers, name, None)
    try:
        if shape is None:
            return known
        # Glorot's, He's and LeCun's are subclasses, with their arguments as attributes.
        if is_of_keras and isinstance(initializer, keras.initializers.VarianceScaling):
            return _scaled(initializer, shape)
        if is_of_keras and name in _NAMES:
            return Distribution(known.kind, _NAMES[name], _VALUES.get(name, config))
        return _by_values(initializer, shape, known)
    except Exception:  # noqa: BLE001 - an initializer of the user's may fail in any way.
        return dataclasses.replace(known, kind="unknown")


def _scaled(initializer: Any, shape: tuple[int, ...]) -> Distribution:
    stddev = math.sqrt(initializer.scale / _fan(initializer, shape))
    if initializer.distribution == "uniform":
        limit = math.sqrt(3) * stddev
        return Distribution("random", "uniform", {"minval": -limit, "maxval": limit})
    is_cut = initializer.distribution == "truncated_normal"
    # Keras widens a normal that is cut off, so that its variance holds after the cut.
    parameters = {"mean": 0.0, "stddev": stddev / _TRUNCATED_STDDEV if is_cut else stddev}
    return Distribution("random", "truncated_normal" if is_cut else "normal", parameters)


def _fan(initializer: Any, shape: Sequence[int]) -> float:
    """Return the n of Keras's documentation of VarianceScaling, for a kernel or a bias."""
    fan_in = math.prod(shape[:-1] if len(shape) > 1 else shape)
    fan_out = math.prod((*shape[:-2], *shape[-1:]))
    inputs, outputs = (getattr(initializer, f"{end}_axes", None) for end in ("input", "output"))
    if inputs is not None and outputs is not None:
        fan_in, fan_out = (math.prod(shape[i] for i in axes) for axes in (inputs, outputs))
    sizes = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
    return max(1.0, sizes[initializer.mode])


def _by_values(initializer: Any, shape: tuple[int, ...], known: Distribution) -> Distribution:
    has_seed, pair = known.kind == "random", [initializer, initializer]
    if has_seed:  # Called twice, one with a whole number as its seed would return the same.
        config = _config(initializer)
        pair = [type(initializer).from_config({**config, "seed": seed}) for seed in (1, 2)]
    one, two = (np.asarray(function(shape, dtype="float32")) for function in pair)
    if not np.array_equal(one, two, equal_nan=True):
        return dataclasses.replace(known, kind="random")
    if (not has_seed and drawn_seed(initializer) is not None) or one.shape != tuple(shape):
        # It was never called with another seed, or does not do what an initializer does.
        return dataclasses.replace(known, kind="unknown")
    low, high = float(one.min()) + 0.0, float(one.max())  # No -0.
    if low == high:
        return Distribution("fixed", "constant", {"value": low})
    return Distribution("fixed", known.name, {"min": low, "max": high})


def class_name(initializer: Any) -> str:
    """Return the name of an initializer's class, or of a function's."""
    if initializer is None:
        return "unknown"
    return str(getattr(initializer, "__name__", type(initializer).__name__))


def _config(initializer: Any) -> dict[str, Any]:
    return dict(initializer.get_config()) if hasattr(initializer, "get_config") else {}


def given_seed(initializer: Any) -> int | None:
    """Return the seed that an initializer's or seed generator's configuration holds."""
    seed = _config(initializer).get("seed")
    if isinstance(seed, dict):  # A SeedGenerator, as Keras serializes it.
        seed = seed.get("config", {}).get("seed")
    return seed if isinstance(seed, int) else None


def drawn_seed(initializer: Any) -> int | None:
    """Return the seed that an initializer draws with, given or not."""
    seed = getattr(initializer, "seed", None)
    return seed if isinstance(seed, int) else given_seed(initializer)


@dataclasses.dataclass(frozen=True)
class VariableInfo:
    """One variable of a network, as the offsets see it.

    Of the ``kind`` ``"weight"`` are kernels, ``"bias"`` biases, ``"other"`` what never moves. The
    ``layer`` is its layer's index among those that have kernels or biases, -1 of what has none.
    """

    path: str  # Unique in the network.
    kind: VariableKind
    layer: int
    is_output: bool  # Whether that layer is the last of them.
    stddev: float  # Of what its initial values are drawn from.


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
    in_order = dict.fromkeys([*layers, *map(id, owners.values())])
    numbers = {layer: number for number, layer in enumerate(in_order)}
    paths: collections.Counter[str] = collections.Counter()
    for variable in model.variables:
        layer = owners.get(id(variable))
        initializer = getattr(layer, f"{variable.name}_initializer", None)
        # Models within a model may have layers of the same name.
        path, count = variable.path, paths[variable.path]
        paths[path] += 1
        yield VariableInfo(
            path=f"{path}#{count}" if count else path,
            kind="other" if layer is None else _kind(variable),
            layer=numbers.get(id(layer), -1),
            is_output=id(layer) == output,
            stddev=initializer_stddev(initializer, np.asarray(variable.numpy())),
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


def _kind(variable: keras.Variable) -> VariableKind:
    if variable.name.endswith(("kernel", "embeddings")):
        return "weight"
    return "bias" if variable.name.endswith("bias") else "other"


def initializer_stddev(initializer: Any, values: np.ndarray) -> float:
    """Return the standard deviation by Keras's formula for an initializer, else of the values."""
    import keras

    match initializer:
        case keras.initializers.RandomNormal():
            return float(initializer.stddev)
        case keras.initializers.TruncatedNormal():
            return float(initializer.stddev) * _TRUNCATED_STDDEV
        case keras.initializers.RandomUniform():
            return float(initializer.maxval - initializer.minval) / math.sqrt(12)
        case keras.initializers.VarianceScaling() if not getattr(initializer, "input_axes", None):
            # Glorot's, He's and LeCun's are subclasses, with their arguments as attributes.
            # Keras widens a truncated normal, so all three distributions have this variance.
            return math.sqrt(initializer.scale / _fan(initializer, values.shape))
    # Exactly 0 for a constant one, no rounding.
    is_constant = np.all(values == values.reshape(-1)[:1])
    return 0.0 if is_constant else float(np.std(values, dtype=np.float64))
