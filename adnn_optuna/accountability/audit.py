"""Audits: what a Keras model's variables start from, and which of its layers are random."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adnn_optuna.accountability._random_layers import RandomLayer, find_random_layers, walk
from adnn_optuna.networks import initializers, keras_files
from adnn_optuna.networks._random_state import undisturbed

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator

    import keras
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class InitializedVariable:
    """A variable and what it starts from.

    Its ``shape`` is :obj:`None` where its layer is not built yet, and its ``initializer``
    ``"unknown"`` where it could not be found. The ``seed`` is that which the initializer draws
    with, if any and known; ``is_seeded`` says whether a configuration holds it.
    """

    path: str
    shape: tuple[int, ...] | None
    initializer: str
    distribution: initializers.Distribution
    seed: int | None
    is_seeded: bool


@dataclasses.dataclass(frozen=True)
class Audit:
    """What is random in a model; see :func:`audit_randomness`. It prints as a table.

    It has all weights of the model, in its order; all layers with a source of random numbers; and
    sentences on what is not reproducible or not independent.
    """

    variables: tuple[InitializedVariable, ...]
    layers: tuple[RandomLayer, ...]
    warnings: tuple[str, ...]

    def to_json(self, indent: int | None = 1) -> str:
        """Return the audit as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=indent, default=str)

    def to_dataframe(self) -> pd.DataFrame:
        """Return the variables, one in each row."""
        import pandas as pd

        rows = [
            {
                "variable": v.path,
                "shape": "not built" if v.shape is None else str(v.shape),
                "initializer": v.initializer,
                "starts from": str(v.distribution),
                "seed": _seed_in_words(v) if v.distribution.kind == "random" else "-",
            }
            for v in self.variables
        ]
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        import pandas as pd

        kinds = [variable.distribution.kind for variable in self.variables]
        counts = ", ".join(f"{kinds.count(k)} {k}" for k in ("random", "fixed", "unknown"))
        rows = [
            {
                "layer": layer.path,
                "class": layer.layer,
                "draws": layer.when,
                "with": initializers.in_words(layer.parameters),
                "seed": _seed_in_words(layer),
            }
            for layer in self.layers
        ]
        parts = [f"{len(kinds)} variables: {counts}", self.to_dataframe().to_string(index=False)]
        if rows:
            table = pd.DataFrame(rows).to_string(index=False)
            parts += [f"\n{len(rows)} layers with random states", table]
        return "\n".join([*parts, *(f"\n! {warning}" for warning in self.warnings)])


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
        model: The model.

    Raises:
        TypeError: If it is not a ``keras.Model``.
    """
    import keras

    if not isinstance(model, keras.Model):
        raise TypeError(
            f"model must be a keras.Model, but it is a {type(model).__name__}; build it first."
        )
    with undisturbed():
        return keras_files.without_values(_audit, model)


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

    config = keras_files.read_model_config(Path(path))
    keras_files.check_model_config(config, "model")
    stored = keras_files.without_compilation(config)

    def load_and_audit() -> Audit:
        model = keras.saving.deserialize_keras_object(stored, safe_mode=True)
        return _audit(model, is_from_file=True)

    with undisturbed():
        return keras_files.without_values(load_and_audit)


def _audit(model: keras.Model, *, is_from_file: bool = False) -> Audit:
    """Audit a model, in a thread of its own: its global random state is none of the user's."""
    import keras

    tree = [*walk(model)]
    made = _initializers(model)
    owners = {id(v): layer for _, layer in [("", model), *tree] for v in layer.weights}
    variables, sources = [], []
    for variable in model.weights:
        used, other = made.get(id(variable), (None, None))
        # Such as `recurrent_initializer` of a `recurrent_kernel`.
        attribute = f"{variable.name.removesuffix('_kernel')}_initializer"
        kept = getattr(owners.get(id(variable)), attribute, None)
        # In a file: what it drew there is not what was drawn when the model was trained.
        if is_from_file or type(kept) is not type(used):
            kept = None
        sources.append(used if kept is None else kept)
        variables.append(_variable(variable.path, tuple(variable.shape), used, other, kept))
    warnings = []
    unseeded = [v.path for v in variables if v.distribution.kind == "random" and not v.is_seeded]
    if unseeded:
        warnings.append(
            f"The initializers of {', '.join(unseeded)} have no seed: their configuration says "
            "seed: None, so a model made from it (from_config, clone_model) starts from other "
            "weights. Give each a seed."
        )
    warnings += _equal(zip(variables, sources, strict=True))
    variables += [
        _variable(f"{path}/{name.removesuffix('_initializer')}", None, *[initializer] * 3)
        for path, layer in tree
        if not layer.built
        for name, initializer in vars(layer).items()
        if isinstance(initializer, keras.Initializer)
    ]
    layers, draws_globally = find_random_layers(model, tree, is_from_file=is_from_file)
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


def _variable(
    path: str, shape: tuple[int, ...] | None, used: Any, other: Any, kept: Any
) -> InitializedVariable:
    """Return what starts from the initializer ``used``; ``other`` has other seeds if given any."""
    distribution = initializers.describe(used, shape, other)
    is_random = distribution.kind == "random"
    given = initializers.given_seed(used)
    # A layer may draw the seed that it gives: then no configuration holds it.
    is_seeded = (
        is_random and given is not None and initializers.given_seed(other) in {given, given ^ 1}
    )
    seed = given if is_seeded else initializers.drawn_seed(kept)
    name = initializers.class_name(used)
    return InitializedVariable(
        path, shape, name, distribution, seed if is_random else None, is_seeded
    )


def _initializers(model: keras.Model) -> dict[int, tuple[Any, Any]]:
    """Return the initializer of each variable that can be found, by the variable's id.

    Keras forgets which initializer a variable was made with. So the model is made again from its
    configuration, without values; there, each variable still has its initializer. The second of
    a pair is that of a model made alike, but for the seeds that are given.
    """
    import keras

    def twin(layer: Any, change: Callable[[Any], Any]) -> Any:
        def remade(layer: Any) -> Any:
            made = type(layer).from_config(change(layer.get_config()))
            if not made.built and layer.built:
                made.build_from_config(layer.get_build_config())
            return made

        if layer is model and hasattr(model, "operations"):
            return keras.models.clone_model(model, clone_function=remade)
        return remade(layer)

    found: dict[int, tuple[Any, Any]] = {}
    # The layers by themselves, where the model as a whole cannot be made from a configuration.
    for layer in [model, *model.layers]:
        # Whatever a class of the user's does when it is made without its arguments.
        with contextlib.suppress(Exception):
            if any(id(v) not in found for v in layer.weights):
                made, other = twin(layer, lambda config: config), twin(layer, _reseeded)
                if [v.shape for v in made.weights] == [v.shape for v in layer.weights]:
                    # No public attribute holds it.
                    found |= {
                        id(v): (one._initializer, two._initializer)
                        for v, one, two in zip(
                            layer.weights, made.weights, other.weights, strict=True
                        )
                        if one._initializer is not None
                    }
    return found


def _reseeded(config: Any) -> Any:
    """Return a configuration with another seed wherever one is given."""
    if isinstance(config, dict):
        return {
            key: value ^ 1 if key == "seed" and type(value) is int else _reseeded(value)
            for key, value in config.items()
        }
    return [*map(_reseeded, config)] if type(config) is list else config


def _equal(pairs: Iterable[tuple[InitializedVariable, Any]]) -> Iterator[str]:
    """Yield a warning for each group of variables that start from equal values."""
    groups = collections.defaultdict(list)
    for variable, source in pairs:
        # A SeedGenerator gives each variable other values.
        if variable.seed is not None and isinstance(getattr(source, "seed", None), int):
            groups[str(dataclasses.replace(variable, path=""))].append((variable.path, source))
    for group in groups.values():
        if len(group) > 1:
            is_one = len({id(source) for _, source in group}) == 1
            cause = "share one initializer object" if is_one else "have initializers of one seed"
            yield (
                f"{', '.join(path for path, _ in group)} {cause} and one shape, so they start "
                "from equal values. Give each layer an initializer of its own, with its own seed."
            )
