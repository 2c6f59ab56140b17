"""The variables of an MLP, which are drawn without building a model."""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from adnn_optuna.networks._architecture import Architecture, VariableInfo, initializer_stddev
from adnn_optuna.networks._memory import TOO_LITTLE_MEMORY, is_out_of_memory
from adnn_optuna.networks._random_state import derived_seed, undisturbed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

    from adnn_optuna.networks.models import MLP

# What initial weights that were drawn before may take, in bytes; those last used are always kept.
_BYTES_KEPT = 2**26


class MLPArchitecture(Architecture):
    """The variables of an :class:`~adnn_optuna.MLP` on given data.

    Kernels have shape (inputs, units), biases (units,); kernel and bias alternate, layer by layer.
    """

    def __init__(self, mlp: MLP, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__(input_shape, num_classes)
        self.mlp = mlp
        sizes = (math.prod(input_shape), *mlp.hidden, num_classes)
        self.shapes = [shape for n, m in itertools.pairwise(sizes) for shape in ((n, m), (m,))]
        n_bytes = 4 * sum(map(math.prod, self.shapes))
        self._weights = functools.lru_cache(max(_BYTES_KEPT // n_bytes, 1))(self._draw_weights)
        _check_names(mlp, *self.shapes[:2])
        weights = self.initial_weights(0, 0)
        last = len(mlp.hidden)
        self.variables = tuple(
            VariableInfo(
                path=f"{'output' if layer == last else f'hidden_{layer}'}/{name}",
                kind=kind,
                layer=layer,
                is_output=layer == last,
                stddev=initializer_stddev(
                    self._initializer(2 * layer + j, 0, 0), weights[2 * layer + j]
                ),
            )
            for layer in range(last + 1)
            for j, (name, kind) in enumerate(_DENSE_VARIABLES)
        )

    @property
    def config(self) -> dict[str, Any]:
        return self.mlp.config

    def _initializer(
        self, variable: int, seed: int, restart: int
    ) -> keras.initializers.Initializer:
        spec = self.mlp.bias_initializer if variable % 2 else self.mlp.kernel_initializer
        return _seeded_initializer(spec, derived_seed(seed, restart, variable))

    def _draw_weights(self, seed: int, restart: int) -> tuple[np.ndarray, ...]:
        return tuple(
            np.asarray(self._initializer(j, seed, restart)(shape, dtype="float32"))
            for j, shape in enumerate(self.shapes)
        )

    def initial_weights(self, seed: int, restart: int) -> list[np.ndarray]:
        return list(self._weights(seed, restart))

    def build(self, seed: int, restart: int) -> keras.Model:
        initializers = [self._initializer(j, seed, restart) for j in range(len(self.shapes))]
        with undisturbed(derived_seed(seed, restart)):
            return self._build(initializers)

    def _build(self, initializers: Sequence[keras.initializers.Initializer]) -> keras.Model:
        import keras

        layers = [
            keras.layers.Dense(
                units,
                activation=None if i == len(self.mlp.hidden) else self.mlp.activation,
                kernel_initializer=initializers[2 * i],
                bias_initializer=initializers[2 * i + 1],
                name="output" if i == len(self.mlp.hidden) else f"hidden_{i}",
                # Not the user's global policy, which may be another one when a study is resumed.
                dtype="float32",
            )
            for i, units in enumerate((*self.mlp.hidden, self.num_classes))
        ]
        return keras.Sequential(
            [
                keras.Input(self.input_shape, dtype="float32"),
                keras.layers.Flatten(dtype="float32"),
                *layers,
            ],
            name="mlp",
        )


_DENSE_VARIABLES: tuple[tuple[str, Literal["weight", "bias"]], ...] = (
    ("kernel", "weight"),
    ("bias", "bias"),
)


def _check_names(mlp: MLP, kernel_shape: tuple[int, ...], bias_shape: tuple[int, ...]) -> None:
    """Refuse what Keras does not know, or cannot make in these shapes."""
    import keras

    units = keras.ops.zeros((1, 2))
    try:
        outputs = keras.activations.get(mlp.activation)(units)
    # A TypeError from what needs more arguments than a name can give, such as "threshold".
    except (ValueError, TypeError):
        raise ValueError(
            f"Keras knows no activation {mlp.activation!r} that needs nothing but its name; see "
            "keras.activations for the names."
        ) from None
    # Keras's "glu" has half as many outputs as inputs, which no size of a layer can tell.
    if tuple(outputs.shape) != (1, 2):
        raise ValueError(
            f"The activation {mlp.activation!r} changes the number of units, which no hidden "
            "layer of an MLP can; use another one, or a callable that returns a keras.Model."
        )
    for name, shape in (("kernel_initializer", kernel_shape), ("bias_initializer", bias_shape)):
        spec = getattr(mlp, name)
        try:
            _seeded_initializer(spec, 0)(shape, dtype="float32")
        # Keras, NumPy and TensorFlow each refuse in their own way.
        except Exception as error:
            if is_out_of_memory(error):
                raise MemoryError(TOO_LITTLE_MEMORY) from error
            raise ValueError(
                f"Keras cannot make values of shape {shape} by the {name} {spec!r}; see "
                "keras.initializers for the names, their arguments and what they can make."
            ) from None


def _seeded_initializer(spec: str | dict[str, Any], seed: int) -> keras.initializers.Initializer:
    import keras

    identifier = spec if isinstance(spec, str) else {**spec, "config": dict(spec["config"])}
    # Keras draws a default seed from Python's global source, which is left as it was.
    with undisturbed(seed):
        initializer = keras.initializers.get(identifier)
        config = initializer.get_config()
        if "seed" in config:
            initializer = type(initializer).from_config({**config, "seed": seed})
    return initializer
