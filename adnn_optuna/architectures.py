"""From a model to its initial weights: which variables it has and what they start from."""

from __future__ import annotations

import abc
import contextlib
import copy
import dataclasses
import functools
import hashlib
import itertools
import math
import random
import threading
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from adnn_optuna._keras_config import without_compilation
from adnn_optuna._memory import TOO_LITTLE_MEMORY, is_out_of_memory
from adnn_optuna._stored_model import describe_model, sketch_weights
from adnn_optuna.models import MLP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import keras


@dataclasses.dataclass(frozen=True)
class VariableInfo:
    """One variable of a network, as the offsets see it.

    Args:
        path:
            Its name, unique in the network.
        kind:
            ``"weight"`` for kernels, ``"bias"`` for biases, ``"other"`` for what never moves.
        layer:
            The index of its layer among the layers that have kernels or biases.
        is_output:
            Whether that layer is the last of them.
        stddev:
            The standard deviation of the distribution that its initial values are drawn from.
    """

    path: str
    kind: Literal["weight", "bias", "other"]
    layer: int
    is_output: bool
    stddev: float


class Architecture(abc.ABC):
    """A network's variables and their seeded initial values.

    Args:
        input_shape:
            The shape of one example.
        num_classes:
            The number of outputs.

    Attributes:
        variables:
            What the model's variables are, in its order.
        ends_in_probabilities:
            Whether its outputs are probabilities; otherwise they are logits.
    """

    variables: tuple[VariableInfo, ...]
    ends_in_probabilities: bool = False

    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        self.input_shape = input_shape
        self.num_classes = num_classes

    @property
    @abc.abstractmethod
    def config(self) -> dict[str, Any]:
        """What the network is, as JSON holds it."""

    @abc.abstractmethod
    def initial_weights(self, seed: int, restart: int) -> list[np.ndarray]:
        """Return the values before any offset, one float32 array for each variable.

        Args:
            seed:
                The objective's seed.
            restart:
                Which of that seed's initialisations; 0 is the baseline's.
        """

    @abc.abstractmethod
    def build(self, seed: int, restart: int) -> keras.Model:
        """Return the Keras model with those initial weights."""

    def weights_hash(self, seed: int, restart: int) -> str:
        """Return the SHA-256 of the initial weights, as hexadecimal digits."""
        return hash_weights(self.initial_weights(seed, restart))


def hash_weights(weights: Sequence[np.ndarray]) -> str:
    """Return the SHA-256 over shapes, types and values of ``weights``, as hexadecimal digits."""
    digest = hashlib.sha256()
    for array in weights:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def initializer_stddev(initializer: keras.initializers.Initializer, values: np.ndarray) -> float:
    """Return the standard deviation that ``initializer`` draws values with.

    It follows from the initializer's arguments where Keras documents it, so that it does not
    depend on a draw, and is that of the drawn ``values`` for every other initializer.
    """
    import keras

    config = initializer.get_config()
    match initializer:
        case keras.initializers.RandomNormal():
            return float(config["stddev"])
        case keras.initializers.TruncatedNormal():
            return float(config["stddev"]) * _TRUNCATED_STDDEV
        case keras.initializers.RandomUniform():
            return float(config["maxval"] - config["minval"]) / math.sqrt(12)
        case keras.initializers.VarianceScaling() if not config.get("input_axes"):
            # Glorot's, He's and LeCun's are subclasses, with their arguments as attributes.
            # Keras widens a truncated normal, so all three distributions have this variance.
            return math.sqrt(initializer.scale / _fan(values.shape, initializer.mode))
        case _:
            # All values of a constant initializer are equal: exactly 0, no rounding.
            return float(np.std(values, dtype=np.float64)) if np.ptp(values) else 0.0


# The standard deviation of a standard normal that is cut off at -2 and 2.
_TRUNCATED_STDDEV = 0.87962566103423978


def _fan(shape: tuple[int, ...], mode: str) -> float:
    """Return the n of Keras's documentation of VarianceScaling, for a kernel or a bias."""
    if len(shape) < 2:
        fan_in = fan_out = math.prod(shape)
    else:
        receptive_field = math.prod(shape[:-2])
        fan_in, fan_out = shape[-2] * receptive_field, shape[-1] * receptive_field
    fan = {"fan_in": fan_in, "fan_out": fan_out}.get(mode, (fan_in + fan_out) / 2)
    return max(1.0, fan)


def _derived_seed(*key: int) -> int:
    """Return a 31-bit seed for ``key``; different keys give unrelated seeds."""
    return int(np.random.SeedSequence(key).generate_state(1)[0] >> 1)


# What initial weights that were drawn before may take, in bytes; those last used are always kept.
_BYTES_KEPT = 2**26


class MLPArchitecture(Architecture):
    """The variables of an :class:`~adnn_optuna.MLP` on given data.

    Kernels have shape (inputs, units), biases (units,); kernel and bias alternate, layer by layer.
    """

    def __init__(self, mlp: MLP, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__(input_shape, num_classes)
        self.mlp = mlp
        sizes = (math.prod(input_shape), *mlp.hidden, num_classes)
        self.shapes = [shape for n, m in itertools.pairwise(sizes) for shape in ((n, m), (m,))]
        n_bytes = 4 * sum(map(math.prod, self.shapes))
        self._weights = functools.lru_cache(max(_BYTES_KEPT // n_bytes, 1))(self._draw_weights)
        _check_names(mlp, *self.shapes[:2])
        weights = self.initial_weights(0, 0)
        last = len(mlp.hidden)
        self.variables = tuple(
            VariableInfo(
                path=f"{'output' if layer == last else f'hidden_{layer}'}/{name}",
                kind=kind,
                layer=layer,
                is_output=layer == last,
                stddev=initializer_stddev(
                    self._initializer(2 * layer + j, 0, 0), weights[2 * layer + j]
                ),
            )
            for layer in range(last + 1)
            for j, (name, kind) in enumerate(_DENSE_VARIABLES)
        )

    @property
    def config(self) -> dict[str, Any]:  # noqa: D102
        return self.mlp.config

    def _initializer(
        self, variable: int, seed: int, restart: int
    ) -> keras.initializers.Initializer:
        spec = self.mlp.bias_initializer if variable % 2 else self.mlp.kernel_initializer
        return _seeded_initializer(spec, _derived_seed(seed, restart, variable))

    def _draw_weights(self, seed: int, restart: int) -> tuple[np.ndarray, ...]:
        return tuple(
            np.asarray(self._initializer(j, seed, restart)(shape, dtype="float32"))
            for j, shape in enumerate(self.shapes)
        )

    def initial_weights(self, seed: int, restart: int) -> list[np.ndarray]:  # noqa: D102
        return list(self._weights(seed, restart))

    def build(self, seed: int, restart: int) -> keras.Model:  # noqa: D102
        initializers = [self._initializer(j, seed, restart) for j in range(len(self.shapes))]
        with _seeded_defaults(_derived_seed(seed, restart)):
            return self._build(initializers)

    def _build(self, initializers: Sequence[keras.initializers.Initializer]) -> keras.Model:
        import keras

        layers = [
            keras.layers.Dense(
                units,
                activation=None if i == len(self.mlp.hidden) else self.mlp.activation,
                kernel_initializer=initializers[2 * i],
                bias_initializer=initializers[2 * i + 1],
                name="output" if i == len(self.mlp.hidden) else f"hidden_{i}",
                # Not the user's global policy, which may be another one when a study is resumed.
                dtype="float32",
            )
            for i, units in enumerate((*self.mlp.hidden, self.num_classes))
        ]
        return keras.Sequential(
            [
                keras.Input(self.input_shape, dtype="float32"),
                keras.layers.Flatten(dtype="float32"),
                *layers,
            ],
            name="mlp",
        )


_DENSE_VARIABLES: tuple[tuple[str, Literal["weight", "bias"]], ...] = (
    ("kernel", "weight"),
    ("bias", "bias"),
)


def _check_names(mlp: MLP, kernel_shape: tuple[int, ...], bias_shape: tuple[int, ...]) -> None:
    """Refuse what Keras does not know, or cannot make in these shapes."""
    import keras

    units = keras.ops.zeros((1, 2))
    try:
        outputs = keras.activations.get(mlp.activation)(units)
    # A TypeError from what needs more arguments than a name can give, such as "threshold".
    except (ValueError, TypeError):
        raise ValueError(
            f"Keras knows no activation {mlp.activation!r} that needs nothing but its name; see "
            "keras.activations for the names."
        ) from None
    # Keras's "glu" has half as many outputs as inputs, which no size of a layer can tell.
    if tuple(outputs.shape) != (1, 2):
        raise ValueError(
            f"The activation {mlp.activation!r} changes the number of units, which no hidden "
            "layer of an MLP can; use another one, or a callable that returns a keras.Model."
        )
    for name, shape in (("kernel_initializer", kernel_shape), ("bias_initializer", bias_shape)):
        spec = getattr(mlp, name)
        try:
            _seeded_initializer(spec, 0)(shape, dtype="float32")
        # Keras, NumPy and TensorFlow each refuse in their own way.
        except Exception as error:
            if is_out_of_memory(error):
                raise MemoryError(TOO_LITTLE_MEMORY) from error
            raise ValueError(
                f"Keras cannot make values of shape {shape} by the {name} {spec!r}; see "
                "keras.initializers for the names, their arguments and what they can make."
            ) from None


def _seeded_initializer(spec: str | dict[str, Any], seed: int) -> keras.initializers.Initializer:
    import keras

    identifier = spec if isinstance(spec, str) else {**spec, "config": dict(spec["config"])}
    # Keras draws a default seed from Python's global source, which is left as it was.
    with _seeded_defaults(seed):
        initializer = keras.initializers.get(identifier)
        config = initializer.get_config()
        if "seed" in config:
            initializer = type(initializer).from_config({**config, "seed": seed})
    return initializer


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
        outputs = self._outputs(model)
        # Judged by what they are: a softmax may stand in a layer, an activation or the call of a
        # subclassed model. Logits do not sum up to 1 for one example after the other.
        self.ends_in_probabilities = bool(
            (outputs >= 0).all() and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3)
        )
        self.variables = tuple(_describe_variables(model))
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
                f"({str(error).splitlines()[0]})."
            ) from error

    @property
    def config(self) -> dict[str, Any]:  # noqa: D102
        return copy.deepcopy(self._config)

    def build(self, seed: int, restart: int) -> keras.Model:  # noqa: D102
        import keras

        with _seeded_defaults(_derived_seed(seed, restart)):
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

    def initial_weights(self, seed: int, restart: int) -> list[np.ndarray]:  # noqa: D102
        return _values(self.build(seed, restart))


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


def _describe_variables(model: keras.Model) -> Iterator[VariableInfo]:
    """Yield what ``model.variables`` are, in their order."""
    owners: dict[int, Any] = {}
    for layer in model._flatten_layers():  # noqa: SLF001 - Keras has no public walk over sublayers.
        for variable in layer._trainable_variables:  # noqa: SLF001
            if layer.trainable:
                owners[id(variable)] = layer
    movable: dict[int, int] = {}
    kinds: list[Literal["weight", "bias", "other"]] = []
    for variable in model.variables:
        kind: Literal["weight", "bias", "other"] = "other"
        if id(variable) in owners:
            if variable.name.endswith(_WEIGHT_NAMES):
                kind = "weight"
            elif variable.name.endswith("bias"):
                kind = "bias"
        kinds.append(kind)
        if kind != "other":
            movable.setdefault(id(owners[id(variable)]), len(movable))
    for variable, kind in zip(model.variables, kinds, strict=True):
        layer = owners.get(id(variable)) if kind != "other" else None
        index = movable[id(layer)] if layer is not None else -1
        values = np.asarray(variable.numpy())
        initializer = getattr(layer, f"{variable.name}_initializer", None)
        yield VariableInfo(
            path=variable.path,
            kind=kind,
            layer=index,
            is_output=index == len(movable) - 1,
            stddev=(
                initializer_stddev(initializer, values)
                if initializer is not None
                else float(np.std(values, dtype=np.float64))
            ),
        )


# Those sources are global, so two threads must not build models at once.
_SEEDING = threading.RLock()


@contextlib.contextmanager
def _seeded_defaults(seed: int) -> Iterator[None]:
    """Seed where Keras takes its default seeds from, and put everything back afterwards."""
    with _SEEDING:
        python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


def build_architecture(
    model: MLP | Callable[[], keras.Model], input_shape: tuple[int, ...], num_classes: int
) -> Architecture:
    """Return the architecture of ``model`` on data of the given shape.

    Raises:
        TypeError: If ``model`` is neither an :class:`~adnn_optuna.MLP` nor a callable.
    """
    if isinstance(model, MLP):
        return MLPArchitecture(model, input_shape, num_classes)
    # A class of models is such a callable; a model is not, though it can be called.
    if callable(model) and (isinstance(model, type) or not hasattr(model, "stateless_call")):
        return KerasArchitecture(model, input_shape, num_classes)
    raise TypeError(
        "model must be an MLP or a callable that returns a fresh keras.Model (pass the function, "
        f"not what it returns), but it is {type(model).__name__}."
    )


def model_from_config(config: dict[str, Any]) -> MLP | Callable[[], keras.Model]:
    """Return the model that an architecture's ``config`` describes.

    Whether a Keras model then starts from the same weights, its architecture's ``config`` tells.

    Raises:
        ValueError: If the configuration names a class that Keras cannot rebuild by itself, when
            the callable that is returned is called.
    """
    if config["type"] == "MLP":
        return MLP(**{key: value for key, value in config.items() if key != "type"})

    def rebuild() -> keras.Model:
        import keras

        stored = without_compilation(config["model"])  # A copy, for Keras empties it.
        try:
            if "config" not in stored:
                raise ValueError(  # noqa: TRY301
                    f"no configuration can hold the arguments of {stored['class_name']}"
                )
            # `safe_mode` refuses lambdas: a configuration is data, nothing in it is executed.
            return keras.saving.deserialize_keras_object(stored, safe_mode=True)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            # Whatever a class of the user's does when it is made without its arguments.
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            raise ValueError(
                f"The stored model cannot be rebuilt from its configuration ({reason}); pass the "
                "objective again."
            ) from error

    return rebuild
