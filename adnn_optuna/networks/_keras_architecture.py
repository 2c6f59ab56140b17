"""The variables of any Keras model that a callable of the user's builds."""

from __future__ import annotations

import collections
import contextlib
import copy
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from adnn_optuna._checks import first_line
from adnn_optuna.networks._architecture import (
    Architecture,
    VariableInfo,
    hash_weights,
    initializer_stddev,
)
from adnn_optuna.networks._random_state import derived_seed, undisturbed
from adnn_optuna.networks._stored_model import describe_model, sketch_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import keras


class KerasArchitecture(Architecture):
    """The variables of a Keras model that a callable of the user's builds.

    Its initial weights are those that the callable gives under a seed derived from (seed,
    restart). Layers take their default seeds from Python's ``random`` when they are made, so the
    seed is set there for the time of the call, and put back afterwards.

    Args:
        build_model:
            A callable without arguments that returns a fresh, built ``keras.Model``.
        input_shape:
            The shape of one example.
        num_classes:
            The number of outputs.

    Raises:
        TypeError: If the callable does not return a ``keras.Model``.
        ValueError: If the model does not fit the data or has no kernel that could be moved, or if
            its initial weights do not follow from the seed.
    """

    def __init__(
        self,
        build_model: Callable[[], keras.Model],
        input_shape: tuple[int, ...],
        num_classes: int,
    ) -> None:
        super().__init__(input_shape, num_classes)
        self._build_model = build_model
        model, other = self.build(0, 0), self.build(0, 0)
        if other is model:
            raise ValueError(
                "Your callable returned the same model twice; it must build a fresh keras.Model "
                "each time it is called."
            )
        _check_trains_as_keras(model)
        weights = _values(model)
        if hash_weights(_values(other)) != hash_weights(weights):
            raise ValueError(
                "Two models that your callable built under one seed start from different weights; "
                "give its own random sources (custom initializers, tf.random) a seed."
            )
        with _noting_use() as used:
            outputs = self._outputs(model)
        # Judged by what they are: a softmax may stand in a layer, an activation or the call of a
        # subclassed model. Logits do not sum up to 1 for one example after the other.
        self.ends_in_probabilities = bool(
            (outputs >= 0).all() and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3)
        )
        self.variables = tuple(_describe_variables(model, [*used]))
        if not any(v.kind != "other" for v in self.variables):
            raise ValueError(
                "The model has no trainable kernel or bias that an offset could move."
            )
        self._config = {
            "type": "keras.Model",
            "model": describe_model(model, other),
            # A configuration does not hold them: not those that the callable loads, nor which
            # layers share an initializer or draw first.
            "initial_weights": sketch_weights(weights),
        }

    def _outputs(self, model: keras.Model) -> np.ndarray:
        """Return the model's outputs for some examples, float32 of shape (3, num_classes)."""
        draws = np.random.default_rng(0).random((3, *self.input_shape), np.float32)
        outputs = self._call(model, draws)
        shape = tuple(getattr(outputs, "shape", ()))
        if shape != (3, self.num_classes):
            raise ValueError(
                f"The model's output for 3 examples has shape {shape}, but data with "
                f"{self.num_classes} classes need (3, {self.num_classes})."
            )
        return np.asarray(outputs, np.float32)

    def _call(self, model: keras.Model, x: np.ndarray) -> Any:
        try:
            return model(x, training=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"The model does not take examples of shape {self.input_shape} "
                f"({first_line(error)})."
            ) from error

    @property
    def config(self) -> dict[str, Any]:
        return copy.deepcopy(self._config)

    def build(self, seed: int, restart: int) -> keras.Model:
        import keras

        with undisturbed(derived_seed(seed, restart)):
            model = self._build_model()
            if not isinstance(model, keras.Model):
                raise TypeError(
                    "The model's callable must return a keras.Model, but it returned "
                    f"{type(model).__name__}."
                )
            if not model.built:
                # By a call, as a subclassed model seldom has a `build` that makes all layers'.
                self._call(model, np.zeros((1, *self.input_shape), np.float32))
        return model

    def initial_weights(self, seed: int, restart: int) -> list[np.ndarray]:
        return _values(self.build(seed, restart))


@contextlib.contextmanager
def _noting_use() -> Iterator[dict[int, None]]:
    """Note the ids of the variables that are used meanwhile, in the order of their first use."""
    import keras

    used: dict[int, None] = {}

    class Watch(keras.StatelessScope):  # type: ignore[misc]
        """What the values of variables are asked of."""

        def get_current_value(self, variable: keras.Variable) -> Any:
            used.setdefault(id(variable))
            return super().get_current_value(variable)

    with Watch():
        yield used


def _check_trains_as_keras(model: keras.Model) -> None:
    """Refuse a model whose class says itself how it is trained: that would not be done here."""
    import keras

    for method in ("train_step", "compute_loss"):
        if getattr(type(model), method) is not getattr(keras.Model, method):
            raise ValueError(
                f"The model's class {type(model).__name__} has a {method} of its own, which "
                "stacked training does not use; use a model that Keras trains by its own."
            )


def _values(model: keras.Model) -> list[np.ndarray]:
    # A copy: on the CPU `numpy()` may show the variable's own memory.
    return [np.array(v.numpy()) for v in model.variables]


_WEIGHT_NAMES = ("kernel", "embeddings")


def _describe_variables(model: keras.Model, used: Sequence[int]) -> Iterator[VariableInfo]:
    """Yield what ``model.variables`` are, in their order.

    Layers are numbered as they are first used: the class of a model may make them in any order.

    Args:
        model:
            The model.
        used:
            The ids of the variables that a call uses, in the order of their first use.
    """
    import keras

    owners: dict[int, Any] = {}
    for layer in model._flatten_layers():  # noqa: SLF001 - Keras has no public walk over sublayers.
        for variable in layer._trainable_variables:  # noqa: SLF001
            if layer.trainable and _kind(variable) != "other":
                owners[id(variable)] = layer
    layers = [id(owners[i]) for i in used if i in owners]
    output = layers[-1] if layers else None
    numbers: dict[int, int] = {}
    for layer_id in [*layers, *map(id, owners.values())]:
        numbers.setdefault(layer_id, len(numbers))
    paths: collections.Counter[str] = collections.Counter()
    for variable in model.variables:
        layer = owners.get(id(variable))
        values = np.asarray(variable.numpy())
        # A function or, in a class of the user's, a name have no arguments that tell.
        initializer = getattr(layer, f"{variable.name}_initializer", None)
        # Models within a model may have layers of the same name.
        path, count = variable.path, paths[variable.path]
        paths[path] += 1
        yield VariableInfo(
            path=f"{path}#{count}" if count else path,
            kind="other" if layer is None else _kind(variable),
            layer=-1 if layer is None else numbers[id(layer)],
            is_output=layer is not None and id(layer) == output,
            stddev=(
                initializer_stddev(initializer, values)
                if isinstance(initializer, keras.Initializer)
                else float(np.std(values, dtype=np.float64))
            ),
        )


def _kind(variable: keras.Variable) -> Literal["weight", "bias", "other"]:
    if variable.name.endswith(_WEIGHT_NAMES):
        return "weight"
    return "bias" if variable.name.endswith("bias") else "other"
