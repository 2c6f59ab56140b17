"""Which layers of a Keras model are random when it is called, found by calling it.

Nothing here is a list of Keras's layers. The model is traced, and which random states it uses is
observed. So the layers of any version of Keras are covered, and those of the user's own.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from adnn_optuna.networks._variables import noting_use
from adnn_optuna.networks.initializers import given_seed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import keras

When = Literal["training", "always", "never", "unknown"]


@dataclasses.dataclass(frozen=True)
class RandomLayer:
    """A layer with a source of random numbers.

    Recurrent layers ``"always"`` draw, but use it in training only; ``"never"``: as with a rate of
    0; ``"unknown"``: the model cannot be called symbolically. The ``parameters`` are settings that
    are fractions and not 0; ``is_seeded`` says whether a configuration holds the seed.
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
    model: keras.Model, tree: Mapping[str, Any], *, is_from_file: bool
) -> tuple[list[RandomLayer], bool]:
    """Return the layers with random states, and whether the model draws from the global one."""
    import keras

    # So that there is a global state, and it is known, before a graph is traced.
    with noting_use() as used_by_global:
        keras.random.uniform(())
    used = [_used_by_call(model, training=training) for training in (True, False)]
    in_training, in_inference = (ids or set() for ids in used)
    found = []
    for path, layer in tree.items():
        for generator in layer._seed_generators:
            state, seed = id(generator.state), given_seed(generator)
            when: When = "training" if state in in_training else "never"
            if None in used or state in in_inference:
                when = "unknown" if None in used else "always"
            is_seeded = seed is not None
            if not is_seeded and not is_from_file:
                seed = int(generator.state.numpy()[0])
            kind, parameters = type(layer).__name__, _fractions(layer)
            found.append(RandomLayer(path, kind, when, parameters, seed, is_seeded))
    return found, not (in_training | in_inference).isdisjoint(used_by_global)


def _used_by_call(model: keras.Model, *, training: bool) -> set[int] | None:
    """Return the ids of what a call of a model uses; :obj:`None` where it cannot be called."""
    import tensorflow as tf

    def call(*given: Any) -> None:
        model([*given] if len(given) > 1 else given[0], training=training)

    try:
        with noting_use() as used:
            specs = [tf.TensorSpec(x.shape, x.dtype) for x in model.inputs]
            tf.function(call, autograph=False).get_concrete_function(*specs)
    except Exception:  # noqa: BLE001 - a layer of the user's may fail in any way.
        return None
    return {*used}


def _fractions(layer: Any) -> dict[str, Any]:
    """Return the settings of a layer that are fractions, or pairs of them, and not 0."""
    import keras

    try:
        config = {name: (v, keras.tree.flatten(v)) for name, v in layer.get_config().items()}
    except Exception:  # noqa: BLE001 - as above
        return {}
    return {
        name: value
        for name, (value, leaves) in config.items()
        if all(isinstance(leaf, float) for leaf in leaves) and any(leaves)
    }
