"""The sources of randomness in a Keras model: initial values and layers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adnn_optuna._attributes import Json
from adnn_optuna._checks import FilePath, check_type
from adnn_optuna._units import in_number
from adnn_optuna.networks import initializers, keras_files
from adnn_optuna.networks._arrays import Shape
from adnn_optuna.networks._tensorflow import load_tensorflow
from adnn_optuna.render.document import Table
from adnn_optuna.render.printed import Printed, number_fields

if TYPE_CHECKING:
    import keras
    import pandas as pd

_COLUMNS = ("variable", "shape", "distribution", "seed")

# Classes of keras.initializers that are not named like their distribution.
_DISTRIBUTIONS = {
    "RandomNormal": "normal",
    "RandomUniform": "uniform",
    "TruncatedNormal": "truncated_normal",
}


@dataclasses.dataclass(frozen=True)
class RandomSource:
    """A variable with the distribution of its initial values, or a layer that draws numbers.

    Attributes:
        path: The path of the variable or layer in the model.
        shape: The variable's shape, or None for a layer.
        distribution: The name in ``keras.random`` with its parameters, or the initializer's class.
            For a layer, the layer's class.
        seed: The seed in the configuration, or :obj:`None`.
    """

    path: str
    shape: Shape | None
    distribution: str
    seed: int | None


@dataclasses.dataclass(frozen=True)
class Audit(Printed):
    """The sources of randomness in a model, as :func:`audit_randomness` finds them.

    Attributes:
        variables: The variables of the model, in the model's order.
        layers: The layers that draw random numbers.
    """

    variables: tuple[RandomSource, ...]
    layers: tuple[RandomSource, ...]

    def _title(self) -> str:
        return "Randomness of a Keras model"

    def _conclusion(self) -> str:
        sources = (*self.variables, *self.layers)
        n_seeded = sum(source.seed is not None for source in sources)
        variables = in_number(len(self.variables), "variable")
        layers = in_number(len(self.layers), "random layer")
        have = "has" if n_seeded == 1 else "have"
        return (
            f"Of {variables} and {layers}, {n_seeded} {have} a fixed seed. All others may differ "
            "in each run, except constants."
        )

    def _tables(self) -> list[Table]:
        return [Table(_COLUMNS, self._rows())]

    def _fields(self) -> dict[str, Any]:
        return number_fields(self, "variables layers")

    def _rows(self) -> list[tuple[str, str, str, str]]:
        rows = []
        for source in (*self.variables, *self.layers):
            shape = str(source.shape or "random layer")
            seed = "none" if source.seed is None else str(source.seed)
            rows.append((source.path, shape, source.distribution, seed))
        return rows

    def to_dataframe(self) -> pd.DataFrame:
        """Return a row for each variable, and then a row for each random layer."""
        import pandas as pd

        return pd.DataFrame(self._rows(), columns=[*_COLUMNS])


def audit_file(path: FilePath) -> Audit:
    """Return the audit of the model in a ``.keras`` file. Nothing in the file is executed."""
    build = keras_files.model_from_file(Path(path))
    with keras_files.undisturbed():
        # Keras has a separate global random state in each thread, so the user's state does not
        # change.
        return keras_files.in_fresh_thread(lambda: audit_randomness(build()), with_values=False)


def audit_randomness(model: keras.Model) -> Audit:
    """List the variables of a Keras model with their initial distributions, and its random layers.

    The model is not changed. The distribution of a variable is that of its initializer, so the
    audit does not show that LSTM layers set the bias of the forget gate to 1. A seed is known if a
    configuration contains it. Random numbers that a layer draws without a ``SeedGenerator`` are
    not found.

    Example:

        .. code-block:: python

            layers = [keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dropout(0.5)]
            print(adnn_optuna.audit_randomness(keras.Sequential(layers)))

    Args:
        model: The model. Layers that are not built yet have no variables.

    Raises:
        TypeError: If ``model`` is not a ``keras.Model``.
    """
    load_tensorflow("An audit")
    import keras

    check_type("model", model, keras.Model, "a keras.Model (build it first)")
    tree = [("", model), *_descendants(model)]
    # Several nested layers may contain a variable. The last one is the innermost layer.
    owners = {id(variable): layer for _, layer in tree for variable in layer.weights}
    variables = []
    for variable in model.weights:
        # The initializer of `recurrent_kernel` is `recurrent_initializer`.
        attribute = f"{variable.name.removesuffix('_kernel')}_initializer"
        initializer = getattr(owners[id(variable)], attribute, None)
        shape = tuple(variable.shape)
        distribution = distribution_of(initializer, shape)
        seed = _seed_of(initializer)
        variables.append(RandomSource(variable.path, shape, distribution, seed))

    layers = []
    for path, layer in tree:
        if _draws(layer):
            for generator in layer._seed_generators:
                kind = type(layer).__name__
                layers.append(RandomSource(path, None, kind, _seed_of(generator)))
    return Audit(tuple(variables), tuple(layers))


def distribution_of(initializer: Any, shape: Shape) -> str:
    """Return an initializer's distribution for a shape, such as ``normal(mean=0, stddev=0.05)``.

    Return ``unknown`` if the layer has no initializer for the variable.
    """
    import keras

    if initializer is None:
        return "unknown"
    name = getattr(initializer, "__name__", type(initializer).__name__)
    parameters = _config_of(initializer)
    parameters.pop("seed", None)
    # A user's class may have the same name as a class of Keras.
    if type(initializer) is getattr(keras.initializers, name, None):
        name = _DISTRIBUTIONS.get(name, name)
        # The Glorot, He and LeCun initializers are subclasses.
        if isinstance(initializer, keras.initializers.VarianceScaling):
            name = initializer.distribution.removeprefix("untruncated_")
            stddev = initializers.scaled_stddev(initializer, shape)
            parameters = _scaled(name, stddev)
    return f"{name}({parameters_in_words(parameters)})"


def _scaled(name: str, stddev: float) -> dict[str, float]:
    """Return the parameters of a distribution with mean 0 and this standard deviation."""
    if name == "uniform":
        limit = math.sqrt(3) * stddev
        return {"minval": -limit, "maxval": limit}
    if name == "truncated_normal":
        # The distribution is cut off at two of its standard deviations. Keras makes it wider, so
        # the standard deviation after the cut is right.
        stddev /= initializers.TRUNCATED_STDDEV
    return {"mean": 0.0, "stddev": stddev}


def parameters_in_words(parameters: Json) -> str:
    """Return parameters as text, such as ``mean=0, stddev=0.05``."""
    texts = []
    for name, value in parameters.items():
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        texts.append(f"{name}={text}")
    return ", ".join(texts)


def _descendants(layer: Any, parents: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each layer inside a layer, with its path. Several layers may have the same path."""
    for child in layer._layers:  # Only models have the public attribute `layers`.
        path = f"{parents}{child.name}"
        yield path, child
        yield from _descendants(child, f"{path}/")


def _draws(layer: Any) -> bool:
    """Return whether a layer draws random numbers.

    A Keras layer draws no random numbers if all its rates, such as the dropout rate, are 0.
    """
    if not type(layer).__module__.startswith("keras."):
        return True
    rates = [value for value in layer.get_config().values() if isinstance(value, float)]
    return not rates or any(rates)


def _config_of(source: Any) -> dict[str, Any]:
    if hasattr(source, "get_config"):
        return dict(source.get_config())
    return {}


def _seed_of(source: Any) -> int | None:
    """Return the seed in the configuration of an initializer or a seed generator."""
    seed = _config_of(source).get("seed")
    if isinstance(seed, dict):  # This is the configuration of a SeedGenerator.
        seed = seed.get("config", {}).get("seed")
    if isinstance(seed, int):
        return seed
    return None
