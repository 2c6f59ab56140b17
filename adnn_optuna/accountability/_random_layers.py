"""Which layers of a Keras model are random when it is called, found by calling it.

Nothing here is a list of Keras's layers. The model is called, symbolically, and which random
states it advances is observed. So the layers of any version of Keras are covered, and those of the
user's own.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

from adnn_optuna.networks.initializers import given_seed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import keras


@dataclasses.dataclass(frozen=True)
class RandomLayer:
    """A layer with a source of random numbers.

    Args:
        path:
            Its path in the model.
        layer:
            Its class.
        when:
            When it draws: in ``"training"``; ``"always"``, in inference too (Keras's recurrent
            layers draw their dropout masks there, but do not use them); ``"never"``, as with a
            rate of 0; ``"unknown"`` where the model cannot be called symbolically.
        parameters:
            Its settings that are fractions and not 0, such as ``rate``.
        seed:
            The seed of its source.
        is_seeded:
            Whether that seed was given, so that a configuration holds it.
    """

    path: str
    layer: str
    when: Literal["training", "always", "never", "unknown"]
    parameters: dict[str, Any]
    seed: int | None
    is_seeded: bool


def find_random_layers(model: keras.Model) -> tuple[list[RandomLayer], bool]:
    """Return the layers with random states, and whether the model draws from the global one."""
    layers = [
        (path, layer, generator)
        for path, layer in walk(model)
        for generator in getattr(layer, "_seed_generators", ())
    ]
    generators = [generator for _, _, generator in layers]
    in_training, globally = _advanced(model, generators, training=True)
    in_inference, globally_too = _advanced(model, generators, training=False)
    found = []
    for path, layer, generator in layers:
        when: Literal["training", "always", "never", "unknown"]
        if in_training is None or in_inference is None:
            when = "unknown"
        elif id(generator) in in_inference:
            when = "always"
        else:
            when = "training" if id(generator) in in_training else "never"
        given = given_seed(generator)
        found.append(
            RandomLayer(
                path=path,
                layer=type(layer).__name__,
                when=when,
                parameters=_fractions(layer),
                seed=_first_state(generator) if given is None else given,
                is_seeded=given is not None,
            )
        )
    return found, globally or globally_too


def walk(layer: Any, parents: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each layer below one with its path."""
    for child in layer._layers:  # noqa: SLF001 - Keras has no public walk.
        path = f"{parents}{child.name}"
        yield path, child
        yield from walk(child, f"{path}/")


def _advanced(
    model: keras.Model, generators: Sequence[Any], *, training: bool
) -> tuple[set[int] | None, bool]:
    """Return the generators that a call of the model advances, and whether the global one is.

    The call is symbolic. It is :obj:`None` where the model has no inputs to be called with.
    """
    import keras
    from keras.src.backend import compute_output_spec
    from keras.src.backend.common import global_state
    from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR

    if not getattr(model, "inputs", None):
        return None, False
    before = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
    in_place = keras.random.SeedGenerator(0)
    global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, in_place)
    advanced: set[int] = set()

    def call(inputs: Any) -> Any:
        with keras.StatelessScope() as scope:
            outputs = model(inputs, training=training)
            for generator in (*generators, in_place):
                if scope.get_current_value(generator.state) is not None:
                    advanced.add(id(generator))
        return outputs

    try:
        inputs = model.inputs
        compute_output_spec(call, inputs[0] if len(inputs) == 1 else inputs)
    except Exception:  # noqa: BLE001 - a layer of the user's may fail in any way.
        return None, False
    finally:
        global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, before)
    return advanced, id(in_place) in advanced


def _first_state(generator: Any) -> int | None:
    """Return the seed that a generator drew for itself; a file does not hold it."""
    value = generator.state._value  # noqa: SLF001
    return None if value is None else int(value[0])


def _fractions(layer: Any) -> dict[str, Any]:
    """Return the settings of a layer that are fractions, or pairs of them, and not 0."""
    try:
        config = layer.get_config()
    except Exception:  # noqa: BLE001 - as above
        return {}
    return {
        name: value
        for name, value in config.items()
        if (isinstance(value, float) and value)
        or (
            isinstance(value, list | tuple)
            and value
            and all(isinstance(item, float) for item in value)
            and any(value)
        )
    }
