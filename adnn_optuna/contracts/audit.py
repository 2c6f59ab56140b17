"""Audits: the initial distribution of a Keras model's variables, and its random layers."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from adnn_optuna.networks import initializers, keras_files
from adnn_optuna.render.document import Document, Table
from adnn_optuna.render.printed import Printed

if TYPE_CHECKING:
    import keras
    import pandas as pd

Kind = Literal["random", "fixed", "unknown"]

# The initial values of variables, by those classes of keras.initializers that have another name.
_NAMES = {
    **dict.fromkeys(("Zeros", "Ones", "Constant"), "constant"),
    "RandomNormal": "normal",
    "RandomUniform": "uniform",
    "TruncatedNormal": "truncated_normal",
}
_VALUES = {"Zeros": {"value": 0.0}, "Ones": {"value": 1.0}}
_COLUMNS = ("variable", "starts from", "seed", "initializer", "shape")
_LAYER_COLUMNS = ("random layer", "class", "seed")


@dataclasses.dataclass(frozen=True)
class Distribution:
    """The distribution of initial values.

    Of the ``kind`` ``"fixed"`` are the same values at each call and with any seed. Its ``name`` is
    that of the function of ``keras.random`` (whose ``"truncated_normal"`` is cut off at two
    ``stddev``), ``"constant"``, or the initializer's class; its ``parameters`` fit the shape.
    """

    kind: Kind
    name: str
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}({in_words(self.parameters)})"


@dataclasses.dataclass(frozen=True)
class InitializedVariable:
    """A variable and its initial distribution.

    The ``seed`` is that which the initializer draws with, if any and known; ``is_seeded`` says
    whether a configuration holds it.
    """

    path: str
    shape: tuple[int, ...]
    initializer: str
    distribution: Distribution
    seed: int | None
    is_seeded: bool


@dataclasses.dataclass(frozen=True)
class RandomLayer:
    """A layer that draws random numbers; ``is_seeded`` if a configuration holds its seed."""

    path: str
    layer: str
    seed: int | None
    is_seeded: bool


@dataclasses.dataclass(frozen=True)
class Audit(Printed):
    """Everything random in a model; see :func:`audit_randomness`.

    Attributes:
        variables: The weights of the model, in its order, each with its distribution and seed.
        layers: The layers with a source of random numbers.
        warnings: A sentence for each thing that is not reproducible or not independent.
        not_moved: The trained variables that no offset changes, because they are called neither
            kernel, embeddings nor bias.
    """

    variables: tuple[InitializedVariable, ...] = dataclasses.field(repr=False)
    layers: tuple[RandomLayer, ...] = dataclasses.field(repr=False)
    warnings: tuple[str, ...]
    not_moved: tuple[str, ...] = dataclasses.field(default=(), repr=False)

    def document(self) -> Document:
        """Return everything that the audit found."""
        kinds = [variable.distribution.kind for variable in self.variables]
        counts = ", ".join(f"{kinds.count(k)} {k}" for k in ("random", "fixed", "unknown"))
        return Document(
            title="Randomness of a Keras model",
            verdict="no claim",
            conclusion=f"{len(kinds)} variables: {counts}. {len(self.layers)} random layers.",
            tables=self._tables(),
            notes=self._notes(),
            fields=vars(self),
        )

    def _tables(self) -> list[Table]:
        layers = [(of.path, of.layer, _seed_in_words(of)) for of in self.layers]
        tables = [Table(_COLUMNS, self._rows(), n_shown=3), Table(_LAYER_COLUMNS, layers)]
        return [table for table in tables if table.rows]

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (v.path, str(v.distribution), _seed_in_words(v), v.initializer, str(v.shape))
            for v in self.variables
        ]

    def _notes(self) -> list[str]:
        if not self.not_moved:
            return list(self.warnings)
        said = "only kernel, embeddings and bias have offsets."
        return [*self.warnings, f"No offset changes {', '.join(self.not_moved)}: {said}"]

    def to_dataframe(self) -> pd.DataFrame:
        """Return the variables, one in each row."""
        import pandas as pd

        return pd.DataFrame(self._rows(), columns=[*_COLUMNS])


def _seed_in_words(source: InitializedVariable | RandomLayer) -> str:
    if isinstance(source, InitializedVariable) and source.distribution.kind != "random":
        return "-"
    if source.is_seeded:
        return str(source.seed)
    return "unseeded" if source.seed is None else f"unseeded, drew {source.seed}"


def audited(build: Callable[[], keras.Model], *, is_from_file: bool = False) -> Audit:
    """Find all that is random in the model that is built, or read from a file."""
    with keras_files.undisturbed():
        # In a thread of its own: Keras's global random state is none of the user's there.
        return keras_files.in_fresh_thread(
            lambda: _audit(build(), is_from_file=is_from_file), with_values=False
        )


def _audit(model: keras.Model, *, is_from_file: bool) -> Audit:
    tree = [*_walk(model)]
    made = _initializers(model)
    owners = {id(v): layer for _, layer in [("", model), *tree] for v in layer.weights}
    variables, equal = [], collections.defaultdict(list)
    for weight in model.weights:
        used = made.get(id(weight))
        # Such as `recurrent_initializer` of a `recurrent_kernel`.
        attribute = f"{weight.name.removesuffix('_kernel')}_initializer"
        variable = _variable(weight, used, getattr(owners.get(id(weight)), attribute, None))
        if is_from_file and not variable.is_seeded:
            # It draws other values there than when the model was trained.
            variable = dataclasses.replace(variable, seed=None)
        variables.append(variable)
        # A SeedGenerator gives each variable other values.
        if variable.seed is not None and isinstance(getattr(used, "seed", None), int):
            equal[str(dataclasses.replace(variable, path=""))].append(variable.path)
    layers = [*_random_layers(tree, is_from_file=is_from_file)]
    warnings = []
    drawn = [v for v in variables if v.distribution.kind == "random"]
    if unseeded := [v.path for v in drawn if not v.is_seeded]:
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
    warnings += [
        f"{layer.path} ({layer.layer}) has no seed: each run of the program draws other numbers. "
        "Give it seed=."
        for layer in layers
        if not layer.is_seeded
    ]
    unknown = [v.path for v in variables if v.distribution.kind == "unknown"]
    unknown += [
        f"{path} (not built)"
        for path, layer in tree
        if not layer.built and any("initializer" in name for name in vars(layer))
    ]
    if unknown:
        warnings.append(f"Not resolved, so perhaps random: {', '.join(unknown)}.")
    not_moved = tuple(initializers.never_moved(model))
    return Audit(tuple(variables), tuple(layers), tuple(warnings), not_moved)


def _variable(weight: keras.Variable, used: Any, kept: Any) -> InitializedVariable:
    """Return what starts from the initializer ``used``, for which its layer has ``kept`` one."""
    shape = tuple(weight.shape)
    distribution, given = describe(used, shape), _given_seed(used)
    seed = given
    if type(kept) is type(used):  # The layer's own knows what it drew.
        drawn = getattr(kept, "seed", None)
        seed = drawn if isinstance(drawn, int) else _given_seed(kept)
    # A layer may draw the seed that it gives, as attention does: then no configuration holds it.
    is_seeded = given is not None and given == seed
    return InitializedVariable(
        weight.path, shape, _class_name(used), distribution, seed, is_seeded
    )


def _initializers(model: keras.Model) -> dict[int, Any]:
    """Return the initializer of each variable that can be found, by the variable's id."""
    import keras

    # Keras does not keep the initializer of a variable. So the model is made again from
    # its configuration, without values; there, each variable still has its initializer.
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
    tree: Sequence[tuple[str, Any]], *, is_from_file: bool
) -> Iterator[RandomLayer]:
    """Yield the layers with random states, without Keras's own whose rates are all 0."""
    for path, layer in tree:
        rates: list[float] = []
        if type(layer).__module__.startswith("keras."):
            rates = [value for value in layer.get_config().values() if isinstance(value, float)]
        if rates and not any(rates):
            continue
        for generator in layer._seed_generators:
            seed = _given_seed(generator)
            is_seeded = seed is not None
            if not is_seeded and not is_from_file:
                seed = int(generator.state.numpy()[0])
            yield RandomLayer(path, type(layer).__name__, seed, is_seeded)


def in_words(parameters: Mapping[str, Any]) -> str:
    """Return parameters as text, such as ``mean=0, stddev=0.05``."""
    return ", ".join(
        f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in parameters.items()
    )


def describe(initializer: Any, shape: tuple[int, ...]) -> Distribution:
    """Return the distribution of an initializer, or a function like one, for a shape."""
    import keras

    name, config = _class_name(initializer), _config(initializer)
    # What is none of Keras's is random if it has a seed, or returns other values each time.
    has_seed = "seed" in config or hasattr(initializer, "seed")
    config.pop("seed", None)
    try:
        # A class of the user's may have the name of one of Keras's.
        is_of_keras = type(initializer) is getattr(keras.initializers, name, None)
        # Glorot's, He's and LeCun's are subclasses, with their arguments as attributes.
        if is_of_keras and isinstance(initializer, keras.initializers.VarianceScaling):
            return _scaled(initializer, shape)
        if is_of_keras:
            name, config = _NAMES.get(name, name), _VALUES.get(name, config)
        if is_of_keras or has_seed:
            return Distribution("random" if has_seed else "fixed", name, config)
        one, two = (np.asarray(initializer(shape, dtype="float32")) for _ in range(2))
    except Exception:  # noqa: BLE001 - an initializer of the user's may fail in any way.
        return Distribution("unknown", name, config)
    if not np.array_equal(one, two, equal_nan=True):
        return Distribution("random", name, config)
    low, high = float(one.min()) + 0.0, float(one.max())  # No -0.
    if low == high:
        return Distribution("fixed", "constant", {"value": low})
    return Distribution("fixed", name, {"min": low, "max": high})


def _scaled(initializer: Any, shape: tuple[int, ...]) -> Distribution:
    stddev, name = initializers.scaled_stddev(initializer, shape), initializer.distribution
    if name == "uniform":
        limit = math.sqrt(3) * stddev
        return Distribution("random", name, {"minval": -limit, "maxval": limit})
    if name == "truncated_normal":
        # Keras widens it, so that its variance holds after the cut.
        return Distribution(
            "random", name, {"mean": 0.0, "stddev": stddev / initializers.TRUNCATED_STDDEV}
        )
    return Distribution("random", "normal", {"mean": 0.0, "stddev": stddev})


def _class_name(initializer: Any) -> str:
    if initializer is None:
        return "unknown"
    return str(getattr(initializer, "__name__", type(initializer).__name__))


def _config(initializer: Any) -> dict[str, Any]:
    return dict(initializer.get_config()) if hasattr(initializer, "get_config") else {}


def _given_seed(initializer: Any) -> int | None:
    """Return the seed that the configuration of an initializer or seed generator holds."""
    seed = _config(initializer).get("seed")
    if isinstance(seed, dict):  # A SeedGenerator, as Keras serializes it.
        seed = seed.get("config", {}).get("seed")
    return seed if isinstance(seed, int) else None
