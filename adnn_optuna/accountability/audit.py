"""Audits: what a Keras model's variables start from, and which of its layers are random."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adnn_optuna.networks._random_state import undisturbed
from adnn_optuna.networks.initializers import (
    Distribution,
    class_name,
    describe,
    drawn_seed,
    given_seed,
    settings,
    short,
)
from adnn_optuna.networks.keras_files import (
    check_model_config,
    read_model_config,
    without_compilation,
    without_values,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    import keras
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class InitializedVariable:
    """A variable and what it starts from.

    Args:
        path:
            Its path in the model.
        shape:
            Its shape; :obj:`None` where its layer is not built yet.
        initializer:
            The class of its initializer; ``"unknown"`` where it could not be found.
        distribution:
            What its values are drawn from.
        seed:
            The seed that its initializer draws with; :obj:`None` where nothing is drawn, or the
            layer did not keep it.
        is_seeded:
            Whether that seed was given, so that a configuration holds it.
    """

    path: str
    shape: tuple[int, ...] | None
    initializer: str
    distribution: Distribution
    seed: int | None
    is_seeded: bool


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


@dataclasses.dataclass(frozen=True)
class Audit:
    """What is random in a model; see :func:`audit_randomness`. It prints as a table.

    Args:
        variables:
            All weights of the model, in its order.
        layers:
            All layers with a source of random numbers.
        warnings:
            Sentences on what is not reproducible or not independent.
    """

    variables: tuple[InitializedVariable, ...]
    layers: tuple[RandomLayer, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as JSON holds it."""
        read: dict[str, Any] = json.loads(self.to_json())
        return read

    def to_json(self, indent: int | None = 1) -> str:
        """Return the audit as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=indent, default=str)

    def to_dataframe(self) -> pd.DataFrame:
        """Return the variables, one in each row."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "variable": v.path,
                    "shape": "not built" if v.shape is None else str(v.shape),
                    "initializer": v.initializer,
                    "starts from": str(v.distribution),
                    "seed": _seed_in_words(v) if v.distribution.kind == "random" else "-",
                }
                for v in self.variables
            ],
            columns=["variable", "shape", "initializer", "starts from", "seed"],
        )

    def __str__(self) -> str:
        import pandas as pd

        kinds = [variable.distribution.kind for variable in self.variables]
        counts = ", ".join(f"{kinds.count(k)} {k}" for k in ("random", "fixed", "unknown"))
        parts = [f"{len(kinds)} variables: {counts}", as_text(self.to_dataframe())]
        rows = [
            {
                "layer": layer.path,
                "class": layer.layer,
                "draws": layer.when,
                "with": ", ".join(f"{k}={short(v)}" for k, v in layer.parameters.items()),
                "seed": _seed_in_words(layer),
            }
            for layer in self.layers
        ]
        if rows:
            parts += [f"\n{len(rows)} layers with random states", as_text(pd.DataFrame(rows))]
        if self.warnings:
            parts += ["", *(f"! {warning}" for warning in self.warnings)]
        return "\n".join(parts)


def as_text(frame: pd.DataFrame) -> str:
    """Return a table as aligned text, one line for each row."""
    rows = [list(frame.columns), *frame.astype(str).to_numpy().tolist()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _seed_in_words(drawing: InitializedVariable | RandomLayer) -> str:
    if drawing.is_seeded:
        return str(drawing.seed)
    return "unseeded" if drawing.seed is None else f"unseeded (drew {drawing.seed})"


def audit_randomness(model: keras.Model) -> Audit:
    """Find all that is random in a Keras model: initial values and layers.

    Nothing of the model is changed, and no random number is drawn from it. It is made again from
    its configuration, without values; only an initializer that is none of Keras's is called, twice
    with two seeds, to compare what it returns. Of a model that is not built yet, the initializers
    are reported without shapes.

    Example:

        .. code-block:: python

            import keras
            import adnn_optuna as adnn

            model = keras.Sequential(
                [keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dropout(0.5)]
            )
            print(adnn.audit_randomness(model))

    Args:
        model:
            The model.

    Raises:
        TypeError: If it is not a ``keras.Model``.
    """
    import keras

    if not isinstance(model, keras.Model):
        raise TypeError(
            f"model must be a keras.Model, but it is a {type(model).__name__}; build it first."
        )
    with undisturbed():
        audit: Audit = without_values(_audit, model)
    return audit


def audit_file(path: str | os.PathLike[str]) -> Audit:
    """Find all that is random in the model of a ``.keras`` file, see :func:`audit_randomness`.

    The file is data: nothing in it is executed, and its weights are not read. Of an initializer
    without a seed, the file does not know what it drew.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is not a ``.keras`` file, if Keras cannot make a model of it, or if it
            has a layer that is not Keras's own or that runs code.
    """
    import keras

    config = read_model_config(Path(path))
    check_model_config(config, "model")

    def load_and_audit() -> Audit:
        stored = without_compilation(config)
        model = keras.saving.deserialize_keras_object(stored, safe_mode=True)
        return _audit(model, is_from_file=True)

    with undisturbed():
        audit: Audit = without_values(load_and_audit)
    return audit


def _audit(model: keras.Model, *, is_from_file: bool = False) -> Audit:
    """Audit a model, in a thread of its own: its global random state is none of the user's."""
    import keras

    tree = [*_walk(model)]
    owners = {
        id(v): layer for layer in (model, *(layer for _, layer in tree)) for v in layer.weights
    }
    # Of two models that are made alike, but for the seeds that are given.
    made, others = _initializers(model, _unchanged), _initializers(model, _reseeded)
    variables, sources = [], []
    for variable in model.weights:
        used, other = made.get(id(variable)), others.get(id(variable))
        # In a file: what it drew there is not what was drawn when the model was trained.
        kept = None if is_from_file else _kept(owners.get(id(variable)), variable.name, used)
        distribution = describe(used, tuple(variable.shape), other)
        is_random = distribution.kind == "random"
        # A layer may draw the seed that it gives: then no configuration holds it.
        given = given_seed(used)
        is_seeded = given is not None and given_seed(other) in {given, given ^ 1}
        drawn = given if is_seeded else drawn_seed(kept)
        variables.append(
            InitializedVariable(
                path=variable.path,
                shape=tuple(variable.shape),
                initializer=class_name(used),
                distribution=distribution,
                seed=drawn if is_random else None,
                is_seeded=is_random and is_seeded,
            )
        )
        sources.append(used if kept is None else kept)
    warnings = [*_unseeded(variables), *_equal(variables, sources)]
    variables += [
        InitializedVariable(
            path=f"{path}/{name.removesuffix('_initializer')}",
            shape=None,
            initializer=class_name(initializer),
            distribution=Distribution(
                "random" if "seed" in initializer.get_config() else "fixed",
                class_name(initializer),
                settings(initializer),
            ),
            seed=drawn_seed(initializer),
            is_seeded=given_seed(initializer) is not None,
        )
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
    return Audit(tuple(variables), tuple(layers), tuple(warnings))


def _walk(layer: Any, parents: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each layer below one with its path."""
    for child in layer._layers:  # Only models have public `layers`.
        path = f"{parents}{child.name}"
        yield path, child
        yield from _walk(child, f"{path}/")


def _unchanged(config: Any) -> Any:
    return config


def _reseeded(config: Any) -> Any:
    """Return a configuration with another seed wherever one is given."""
    if isinstance(config, dict):
        return {
            key: value ^ 1 if key == "seed" and type(value) is int else _reseeded(value)
            for key, value in config.items()
        }
    return [*map(_reseeded, config)] if type(config) is list else config


def _initializers(model: keras.Model, change: Callable[[Any], Any]) -> dict[int, Any]:
    """Return the initializer of each variable that can be found, by the variable's id.

    Keras forgets which initializer a variable was made with. So the model is made again from its
    configuration, without values; there, each variable still has its initializer.
    """
    import keras

    def remade(layer: Any) -> Any:
        twin = type(layer).from_config(change(layer.get_config()))
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
            has_graph = layer is model and hasattr(model, "operations")
            twin = (
                keras.models.clone_model(model, clone_function=remade)
                if has_graph
                else remade(layer)
            )
            if [v.shape for v in twin.weights] == [v.shape for v in layer.weights]:
                for variable, other in zip(layer.weights, twin.weights, strict=True):
                    # No public attribute holds it.
                    if other._initializer is not None:
                        found[id(variable)] = other._initializer
    return found


def _kept(layer: Any, name: str, used: Any) -> Any:
    """Return the initializer that a layer keeps and made a variable with, if it can be told."""
    if layer is None or not hasattr(used, "get_config"):
        return None
    # By name even where the settings differ: EinsumDense adds the axes of its inputs.
    by_name = vars(layer).get(f"{name}_initializer")
    if type(by_name) is type(used):
        return by_name
    same = [
        value
        for value in vars(layer).values()
        if type(value) is type(used) and settings(value) == settings(used)
    ]
    return same[0] if len(same) == 1 else None


def _unseeded(variables: Sequence[InitializedVariable]) -> Iterator[str]:
    paths = [v.path for v in variables if v.distribution.kind == "random" and not v.is_seeded]
    if paths:
        yield (
            f"The initializers of {', '.join(paths)} have no seed: their configuration says "
            "seed: None, so a model made from it (from_config, clone_model) starts from other "
            "weights. Give each a seed."
        )


def _equal(variables: Sequence[InitializedVariable], sources: Sequence[Any]) -> Iterator[str]:
    """Yield a warning for each group of variables that start from equal values."""
    groups: dict[Any, list[int]] = {}
    for i, (variable, source) in enumerate(zip(variables, sources, strict=True)):
        # A SeedGenerator gives each variable other values.
        if variable.seed is not None and isinstance(getattr(source, "seed", None), int):
            key = (variable.initializer, str(variable.distribution), variable.shape, variable.seed)
            groups.setdefault(key, []).append(i)
    for group in groups.values():
        if len(group) > 1:
            is_one = len({id(sources[i]) for i in group}) == 1
            cause = "share one initializer object" if is_one else "have initializers of one seed"
            yield (
                f"{', '.join(variables[i].path for i in group)} {cause} and one shape, so they "
                "start from equal values. Give each layer an initializer of its own, with its own "
                "seed."
            )


def _random_layers(
    model: keras.Model, tree: Sequence[tuple[str, Any]], *, is_from_file: bool
) -> tuple[list[RandomLayer], bool]:
    """Return the layers with random states, and whether the model draws from the global one."""
    import keras

    # So that there is a global state, and it is known, before a graph is traced.
    [of_global] = _updated(lambda: keras.random.uniform(()))
    in_training, in_inference = (_updated_by_call(model, training=t) for t in (True, False))
    found = []
    for path, layer in tree:
        # Keras keeps those of a layer in a list that is an attribute, too.
        generators = {
            id(item): item
            for value in vars(layer).values()
            for item in (value if isinstance(value, list) else [value])
            if isinstance(item, keras.random.SeedGenerator)
        }
        for generator in generators.values():
            state, given = id(generator.state), given_seed(generator)
            when: Literal["training", "always", "never", "unknown"] = "never"
            if in_training is None or in_inference is None:
                when = "unknown"
            elif state in in_inference:
                when = "always"
            elif state in in_training:
                when = "training"
            drawn = None if is_from_file else int(generator.state.numpy()[0])
            found.append(
                RandomLayer(
                    path=path,
                    layer=type(layer).__name__,
                    when=when,
                    parameters=_fractions(layer),
                    seed=drawn if given is None else given,
                    is_seeded=given is not None,
                )
            )
    return found, of_global in {*(in_training or ()), *(in_inference or ())}


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

    updated: set[int] = set()

    @tf.function(autograph=False)
    def call(*inputs: Any) -> None:
        given = inputs[0] if len(inputs) == 1 else [*inputs]
        updated.update(_updated(lambda: model(given, training=training)))

    inputs = getattr(model, "inputs", None)
    if not inputs:
        return None
    try:
        call.get_concrete_function(*(tf.TensorSpec(x.shape, x.dtype) for x in inputs))
    except Exception:  # noqa: BLE001 - a layer of the user's may fail in any way.
        return None
    return updated


def _fractions(layer: Any) -> dict[str, Any]:
    """Return the settings of a layer that are fractions, or pairs of them, and not 0."""
    config: dict[str, Any] = {}
    with contextlib.suppress(Exception):  # As above.
        config = layer.get_config()
    found = {}
    for name, value in config.items():
        parts = value if isinstance(value, list | tuple) else [value]
        if any(parts) and all(isinstance(part, float) for part in parts):
            found[name] = value
    return found
