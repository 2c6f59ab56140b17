"""Which layers of a Keras model are random when it is called, found by calling it.

Nothing here is a list of Keras's layers. The model is traced, and which random states it advances
is observed. So the layers of any version of Keras are covered, and those of the user's own.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from adnn_optuna.networks.initializers import given_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import keras

When = Literal["training", "always", "never", "unknown"]


@dataclasses.dataclass(frozen=True)
class RandomLayer:
    """A layer with a source of random numbers.

    It draws ``when`` in ``"training"``; ``"always"``, in inference too (Keras's recurrent layers
    draw their dropout masks there, but do not use them); ``"never"``, as with a rate of 0; or
    ``"unknown"``, where the model cannot be called symbolically. Its ``parameters`` are its
    settings that are fractions and not 0; ``is_seeded`` says whether a configuration holds its
    seed.
    """

    path: str
    layer: str
    when: When
    parameters: dict[str, Any]
    seed: int | None
    is_seeded: bool


def walk(layer: Any, parents: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each layer below one with its path."""
    for child in layer._layers:  # Only models have public `layers`.
        path = f"{parents}{child.name}"
        yield path, child
        yield from walk(child, f"{path}/")


def find_random_layers(
    model: keras.Model, tree: Sequence[tuple[str, Any]], *, is_from_file: bool
) -> tuple[list[RandomLayer], bool]:
    """Return the layers with random states, and whether the model draws from the global one."""
    import keras

    # So that there is a global state, and it is known, before a graph is traced.
    [of_global] = _updated(lambda: keras.random.uniform(()))
    updated = [_updated_by_call(model, training=training) for training in (True, False)]
    in_training, in_inference = (ids or set() for ids in updated)
    found = []
    for path, layer in tree:
        # Keras keeps a layer's in a list, which is one of its attributes.
        values = [v for value in vars(layer).values() for v in _as_list(value)]
        generators = {id(v): v for v in values if isinstance(v, keras.random.SeedGenerator)}
        for generator in generators.values():
            state, seed = id(generator.state), given_seed(generator)
            when: When = "training" if state in in_training else "never"
            if None in updated or state in in_inference:
                when = "unknown" if None in updated else "always"
            is_seeded = seed is not None
            if not is_seeded and not is_from_file:
                seed = int(generator.state.numpy()[0])
            kind, parameters = type(layer).__name__, _fractions(layer)
            found.append(RandomLayer(path, kind, when, parameters, seed, is_seeded))
    return found, of_global in in_training | in_inference


def _updated(function: Callable[[], Any]) -> set[int]:
    """Return the ids of the variables that a function would update."""
    import keras

    updated = set()

    class Watch(keras.StatelessScope):  # type: ignore[misc]
        """What updates are told."""

        def add_update(self, update: tuple[keras.Variable, Any]) -> None:
            updated.add(id(update[0]))
            super().add_update(update)

    with Watch():
        function()
    return updated


def _updated_by_call(model: keras.Model, *, training: bool) -> set[int] | None:
    """Return what a call of a model would update; :obj:`None` where it cannot be called."""
    import tensorflow as tf

    inputs, updated = getattr(model, "inputs", None), set[int]()
    if not inputs:
        return None

    def call(*given: Any) -> None:
        x = given[0] if len(given) == 1 else [*given]
        updated.update(_updated(lambda: model(x, training=training)))

    try:
        specs = [tf.TensorSpec(x.shape, x.dtype) for x in inputs]
        tf.function(call, autograph=False).get_concrete_function(*specs)
    except Exception:  # noqa: BLE001 - a layer of the user's may fail in any way.
        return None
    return updated


def _as_list(value: Any) -> list[Any]:
    return [*value] if isinstance(value, list | tuple) else [value]


def _fractions(layer: Any) -> dict[str, Any]:
    """Return the settings of a layer that are fractions, or pairs of them, and not 0."""
    try:
        config = layer.get_config()
    except Exception:  # noqa: BLE001 - as above
        return {}
    return {
        name: value
        for name, value in config.items()
        if all(isinstance(v, float) for v in _as_list(value)) and any(_as_list(value))
    }
