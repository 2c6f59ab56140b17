"""What every architecture has: variables, and the seeded initial values of each."""

from __future__ import annotations

import abc
import dataclasses
import functools
import hashlib
import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras


@dataclasses.dataclass(frozen=True)
class VariableInfo:
    """One variable of a network, as the offsets see it.

    Args:
        path:
            Its name, unique in the network.
        kind:
            ``"weight"`` for kernels, ``"bias"`` for biases, ``"other"`` for what never moves.
        layer:
            The index of its layer among the layers that have kernels or biases.
        is_output:
            Whether that layer is the last of them.
        stddev:
            The standard deviation of the distribution that its initial values are drawn from.
    """

    path: str
    kind: Literal["weight", "bias", "other"]
    layer: int
    is_output: bool
    stddev: float


class Architecture(abc.ABC):
    """A network's variables and their seeded initial values.

    Args:
        input_shape:
            The shape of one example.
        num_classes:
            The number of outputs.

    Attributes:
        variables:
            What the model's variables are, in its order.
        ends_in_probabilities:
            Whether its outputs are probabilities; otherwise they are logits.
    """

    variables: tuple[VariableInfo, ...]
    ends_in_probabilities: bool = False

    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        self.input_shape = input_shape
        self.num_classes = num_classes

    @property
    @abc.abstractmethod
    def config(self) -> dict[str, Any]:
        """What the network is, as JSON holds it."""

    @abc.abstractmethod
    def initial_weights(self, seed: int, restart: int) -> list[np.ndarray]:
        """Return the values before any offset, one float32 array for each variable.

        Args:
            seed:
                The objective's seed.
            restart:
                Which of that seed's initialisations; 0 is the baseline's.
        """

    @abc.abstractmethod
    def build(self, seed: int, restart: int) -> keras.Model:
        """Return the Keras model with those initial weights."""

    @functools.cached_property
    def depends_on_seed(self) -> bool:
        """Whether another restart starts from other weights."""
        return self.weights_hash(0, 0) != self.weights_hash(0, 1)

    def weights_hash(self, seed: int, restart: int) -> str:
        """Return the SHA-256 of the initial weights, as hexadecimal digits."""
        return hash_weights(self.initial_weights(seed, restart))


def hash_weights(weights: Sequence[np.ndarray]) -> str:
    """Return the SHA-256 over shapes, types and values of ``weights``, as hexadecimal digits."""
    digest = hashlib.sha256()
    for array in weights:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


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
            return float(config["stddev"]) * _TRUNCATED_STDDEV
        case keras.initializers.RandomUniform():
            return float(config["maxval"] - config["minval"]) / math.sqrt(12)
        case keras.initializers.VarianceScaling() if not config.get("input_axes"):
            # Glorot's, He's and LeCun's are subclasses, with their arguments as attributes.
            # Keras widens a truncated normal, so all three distributions have this variance.
            return math.sqrt(initializer.scale / _fan(values.shape, initializer.mode))
        case _:
            # All values of a constant initializer are equal: exactly 0, no rounding.
            return float(np.std(values, dtype=np.float64)) if np.ptp(values) else 0.0


# The standard deviation of a standard normal that is cut off at -2 and 2.
_TRUNCATED_STDDEV = 0.87962566103423978


def _fan(shape: tuple[int, ...], mode: str) -> float:
    """Return the n of Keras's documentation of VarianceScaling, for a kernel or a bias."""
    if len(shape) < 2:
        fan_in = fan_out = math.prod(shape)
    else:
        receptive_field = math.prod(shape[:-2])
        fan_in, fan_out = shape[-2] * receptive_field, shape[-1] * receptive_field
    fan = {"fan_in": fan_in, "fan_out": fan_out}.get(mode, (fan_in + fan_out) / 2)
    return max(1.0, fan)
