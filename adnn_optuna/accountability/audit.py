"""Audits: what a Keras model's variables start from, and which of its layers are random."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adnn_optuna.accountability._random_layers import RandomLayer, find_random_layers, walk
from adnn_optuna.networks._random_state import undisturbed
from adnn_optuna.networks.initializers import (
    Distribution,
    Kind,
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
    from collections.abc import Iterator, Sequence

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
        variables = [
            {**dataclasses.asdict(v), "distribution": _as_json(v.distribution)}
            for v in self.variables
        ]
        layers = [dataclasses.asdict(layer) for layer in self.layers]
        return {"variables": variables, "layers": layers, "warnings": list(self.warnings)}

    def to_json(self, indent: int | None = 1) -> str:
        """Return the audit as JSON text."""
        return json.dumps(self.to_dict(), indent=indent, default=str)

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
                    "seed": _seed_in_words(v.seed, v.is_seeded, v.distribution.kind),
                }
                for v in self.variables
            ],
            columns=["variable", "shape", "initializer", "starts from", "seed"],
        )

    def __str__(self) -> str:
        counts = dict.fromkeys(("random", "fixed", "unknown"), 0)
        for variable in self.variables:
            counts[variable.distribution.kind] += 1
        parts = [
            f"{len(self.variables)} variables: "
            + ", ".join(f"{count} {kind}" for kind, count in counts.items()),
            as_text(self.to_dataframe()),
        ]
        if self.layers:
            rows = [
                {
                    "layer": layer.path,
                    "class": layer.layer,
                    "draws": layer.when,
                    "with": ", ".join(f"{k}={short(v)}" for k, v in layer.parameters.items()),
                    "seed": _seed_in_words(layer.seed, layer.is_seeded, "random"),
                }
                for layer in self.layers
            ]
            import pandas as pd

            parts += [f"\n{len(rows)} layers with random states", as_text(pd.DataFrame(rows))]
        if self.warnings:
            parts += ["", *(f"! {warning}" for warning in self.warnings)]
        return "\n".join(parts)


def as_text(frame: pd.DataFrame) -> str:
    """Return a table as aligned text, one line for each row."""
    rows = [list(frame.columns), *frame.astype(str).to_numpy().tolist()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _seed_in_words(seed: int | None, is_seeded: bool, kind: Kind) -> str:  # noqa: FBT001
    if kind != "random":
        return "-"
    if is_seeded:
        return str(seed)
    return "unseeded" if seed is None else f"unseeded (drew {seed})"


def _as_json(distribution: Distribution) -> dict[str, Any]:
    return {
        "kind": distribution.kind,
        "name": distribution.name,
        "parameters": distribution.parameters,
        "parts": [{"size": n, **_as_json(part)} for n, part in distribution.parts],
    }


def audit_randomness(model: keras.Model) -> Audit:
    """Find all that is random in a Keras model: initial values and layers.

    Nothing of the model is changed, no random number is drawn from it, and no values are
    computed. Of a model that is not built yet, the initializers are reported without shapes.

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
        return _audit(model)


def _audit(model: keras.Model) -> Audit:
    variables, sources = [], []
    for variable, twins, kept in _weights(model):
        used, other = twins
        distribution = describe(used, tuple(variable.shape))
        # A seed that is given is in the configuration, so it is the same whenever that is read.
        given = given_seed(used)
        is_seeded = given is not None and given == given_seed(other)
        is_random = distribution.kind == "random"
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
    variables += _unbuilt(model)
    layers, draws_globally = find_random_layers(model)
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


def _weights(model: keras.Model) -> list[tuple[Any, tuple[Any, Any], Any]]:
    """Return each weight, two initializers like the one it starts from, and that one if kept.

    Keras forgets which initializer a variable was made with. So the model is made more than once
    from its configuration, without values; there, each variable still has its initializer.
    """
    twins = _initializers_of_twin(model), _initializers_of_twin(model)
    owners = {
        id(variable): layer
        for layer in model._flatten_layers()
        for variable in (*layer._trainable_variables, *layer._non_trainable_variables)
    }
    found = []
    for variable in model.weights:
        used, other = (twin.get(id(variable)) for twin in twins)
        # From a file: what it drew there is not what was drawn when the model was trained.
        is_from_file = variable._value is None
        kept = None if is_from_file else _kept(owners.get(id(variable)), variable.name, used)
        found.append((variable, (used, other), kept))
    return found


def _initializers_of_twin(model: keras.Model) -> dict[int, Any]:
    """Return the initializer of each variable that can be found, by the variable's id."""
    import keras

    def remade(layer: Any) -> Any:
        if layer is model:
            return keras.models.clone_model(model)
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
            twin = without_values(remade, layer).weights
            if [v.shape for v in twin] == [v.shape for v in layer.weights]:
                for variable, other in zip(layer.weights, twin, strict=True):
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


def _unbuilt(model: keras.Model) -> list[InitializedVariable]:
    """Return the initializers of layers that have no variables yet."""
    import keras

    return [
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
        for path, layer in walk(model)
        if not layer.built
        for name, initializer in vars(layer).items()
        if isinstance(initializer, keras.Initializer)
    ]


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
        if variable.distribution.kind == "random" and isinstance(
            getattr(source, "seed", None), int
        ):
            if variable.seed is None:
                continue
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


def _load_config(path: Path) -> keras.Model:
    """Return the model of a ``.keras`` file without its weights; nothing in it is executed.

    Call it, and use the model, in :func:`audit_file` only: its variables have no values.
    """
    import keras

    config = read_model_config(path)
    check_model_config(config, "model")
    return keras.saving.deserialize_keras_object(without_compilation(config), safe_mode=True)


def audit_file(path: str | os.PathLike[str]) -> Audit:
    """Find all that is random in the model of a ``.keras`` file, see :func:`audit_randomness`.

    The file is data: nothing in it is executed, and its weights are not read. Of an initializer
    without a seed, the file does not know what it drew.

    Args:
        path:
            The file.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is not a ``.keras`` file, if Keras cannot make a model of it, or if it
            has a layer that is not Keras's own or that runs code.
    """
    with undisturbed():
        return without_values(lambda: _audit(_load_config(Path(path))))
