"""Audits: what a Keras model's variables start from, and which of its layers are random."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from adnn_optuna.networks import initializers, keras_files

if TYPE_CHECKING:
    import keras
    import pandas as pd

When = Literal["training", "always", "never", "unknown"]


@dataclasses.dataclass(frozen=True)
class InitializedVariable:
    """A variable and what it starts from.

    It has no ``shape`` where its layer is not built yet. The ``seed`` is that which the
    initializer draws with, if any and known; ``is_seeded`` says whether a configuration holds it.
    """

    path: str
    shape: tuple[int, ...] | None
    initializer: str
    distribution: initializers.Distribution
    seed: int | None
    is_seeded: bool


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


@dataclasses.dataclass(frozen=True)
class AuditFacts:
    """What is random in a model: its weights, its layers with a source of random numbers."""

    variables: tuple[InitializedVariable, ...] = dataclasses.field(repr=False)
    layers: tuple[RandomLayer, ...] = dataclasses.field(repr=False)
    warnings: tuple[str, ...]

    def to_json(self, indent: int | None = 1) -> str:
        """Return the audit as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=indent, default=str)

    def to_dataframe(self) -> pd.DataFrame:
        """Return the variables, one in each row."""
        import pandas as pd

        return pd.DataFrame(
            {
                "variable": v.path,
                "shape": "not built" if v.shape is None else str(v.shape),
                "initializer": v.initializer,
                "starts from": str(v.distribution),
                "seed": seed_in_words(v) if v.distribution.kind == "random" else "-",
            }
            for v in self.variables
        )


def seed_in_words(drawing: InitializedVariable | RandomLayer) -> str:
    """Return the seed of a variable or layer, and whether a configuration holds it."""
    if drawing.is_seeded:
        return str(drawing.seed)
    return "unseeded" if drawing.seed is None else f"unseeded (drew {drawing.seed})"


def audited(build: Callable[[], keras.Model], *, is_from_file: bool = False) -> AuditFacts:
    """Find all that is random in the model that is built, or read from a file."""
    with keras_files.undisturbed():
        return keras_files.without_values(lambda: _audit(build(), is_from_file=is_from_file))


def _audit(model: keras.Model, *, is_from_file: bool) -> AuditFacts:
    """Audit a model, in a thread of its own: its global random state is none of the user's."""
    import keras

    tree = [*_walk(model)]
    made = _initializers(model)
    owners = {id(v): layer for _, layer in [("", model), *tree] for v in layer.weights}
    variables, equal = [], collections.defaultdict(list)
    for weight in model.weights:
        used = made.get(id(weight))
        # Such as `recurrent_initializer` of a `recurrent_kernel`.
        attribute = f"{weight.name.removesuffix('_kernel')}_initializer"
        kept = getattr(owners.get(id(weight)), attribute, None)
        variable = _variable(weight.path, tuple(weight.shape), used, kept)
        if is_from_file and not variable.is_seeded:
            # What it drew there is not what was drawn when the model was trained.
            variable = dataclasses.replace(variable, seed=None)
        variables.append(variable)
        # A SeedGenerator gives each variable other values.
        if variable.seed is not None and isinstance(getattr(used, "seed", None), int):
            equal[str(dataclasses.replace(variable, path=""))].append(variable.path)
    warnings = []
    unseeded = [v.path for v in variables if v.distribution.kind == "random" and not v.is_seeded]
    if unseeded:
        warnings.append(
            f"The initializers of {', '.join(unseeded)} have no seed: their configuration says "
            "seed: None, so a model made from it (from_config, clone_model) starts from other "
            "weights. Give each a seed."
        )
    warnings += [
        f"{', '.join(paths)} share one initializer object or its seed, and one shape, so they "
        "start from equal values. Give each layer an initializer of its own, with its own seed."
        for paths in equal.values()
        if len(paths) > 1
    ]
    variables += [
        _variable(f"{path}/{name.removesuffix('_initializer')}", None, initializer, initializer)
        for path, layer in tree
        if not layer.built
        for name, initializer in vars(layer).items()
        if isinstance(initializer, keras.Initializer)
    ]
    layers, draws_globally = _random_layers(model, tree, is_from_file=is_from_file)
    warnings += [
        f"{layer.path} ({layer.layer}) has no seed: each run of the program draws other numbers. "
        "Give it seed=."
        for layer in layers
        if not layer.is_seeded and layer.when != "never"
    ]
    if draws_globally:
        warnings.append(
            "The model draws from Keras's global random state (a function of keras.random without "
            "a seed), which every other use of it advances. Give the call a SeedGenerator."
        )
    unknown = [v.path for v in variables if v.distribution.kind == "unknown"]
    if unknown:
        warnings.append(f"Not resolved, so perhaps random: {', '.join(unknown)}.")
    return AuditFacts(tuple(variables), tuple(layers), tuple(warnings))


def _variable(
    path: str, shape: tuple[int, ...] | None, used: Any, kept: Any
) -> InitializedVariable:
    """Return what starts from the initializer ``used``, for which its layer has ``kept`` one."""
    distribution, name = initializers.describe(used, shape), initializers.class_name(used)
    is_function = used is not None and not hasattr(used, "get_config")
    if is_function and initializers.describe(kept, shape).kind == "random":
        # It calls the layer's, as that of the LSTM's bias does, which alone knows the seed.
        distribution, used = dataclasses.replace(distribution, kind="random"), kept
    if distribution.kind != "random":
        return InitializedVariable(path, shape, name, distribution, None, is_seeded=False)
    given = seed = initializers.given_seed(used)
    if type(kept) is type(used):
        seed = initializers.drawn_seed(kept)
    # A layer may draw the seed that it gives, as attention does: then no configuration holds it.
    is_seeded = given is not None and given == seed
    return InitializedVariable(path, shape, name, distribution, seed, is_seeded)


def _initializers(model: keras.Model) -> dict[int, Any]:
    """Return the initializer of each variable that can be found, by the variable's id.

    Keras forgets which initializer a variable was made with. So the model is made again from its
    configuration, without values; there, each variable still has its initializer.
    """
    import keras

    def remade(layer: Any) -> Any:
        twin = type(layer).from_config(layer.get_config())
        if not twin.built and layer.built:
            twin.build_from_config(layer.get_build_config())
        return twin

    found: dict[int, Any] = {}
    # The layers by themselves, where the model as a whole cannot be made from a configuration.
    for layer in [model, *model.layers]:
        if all(id(v) in found for v in layer.weights):
            continue
        # Whatever a class of the user's does when it is made without its arguments.
        with contextlib.suppress(Exception):
            if layer is model and hasattr(model, "operations"):
                twin = keras.models.clone_model(model, clone_function=remade)
            else:
                twin = remade(layer)
            if [v.shape for v in twin.weights] == [v.shape for v in layer.weights]:
                pairs = zip(layer.weights, twin.weights, strict=True)
                # No public attribute holds it.
                found |= {id(v): one._initializer for v, one in pairs}
    return found


def _walk(layer: Any, parents: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each layer below one with its path, which siblings may have in common."""
    for child in layer._layers:  # Only models have public `layers`.
        path = f"{parents}{child.name}"
        yield path, child
        yield from _walk(child, f"{path}/")


def _random_layers(
    model: keras.Model, tree: Sequence[tuple[str, Any]], *, is_from_file: bool
) -> tuple[list[RandomLayer], bool]:
    """Return the layers with random states, and whether the model draws from the global one."""
    import keras

    # So that there is a global state, and it is known, before a graph is traced.
    with initializers.noting_use() as used_by_global:
        keras.random.uniform(())
    used = [_used_by_call(model, training=training) for training in (True, False)]
    in_training, in_inference = (ids or set() for ids in used)
    found = []
    for path, layer in tree:
        for generator in layer._seed_generators:
            state, seed = id(generator.state), initializers.given_seed(generator)
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
        with initializers.noting_use() as used:
            specs = [tf.TensorSpec(x.shape, x.dtype) for x in model.inputs]
            tf.function(call, autograph=False).get_concrete_function(*specs)
    except Exception:  # noqa: BLE001 - a layer of the user's may fail in any way.
        return None
    return {*used}


def _fractions(layer: Any) -> dict[str, Any]:
    """Return the settings of a layer that are fractions, or pairs of them, and not 0."""
    import keras

    fractions = {}
    with contextlib.suppress(Exception):  # As above.
        for name, value in layer.get_config().items():
            leaves = keras.tree.flatten(value)
            if all(isinstance(leaf, float) for leaf in leaves) and any(leaves):
                fractions[name] = value
    return fractions
