"""Networks: their outputs, variables and seeded initial values, and the Keras model of them."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adnn_optuna import _checks
from adnn_optuna._checks import WrongTypeError, WrongValueError
from adnn_optuna._differences import INITIAL_WEIGHTS, sketch_weights
from adnn_optuna.networks import initializers, keras_files
from adnn_optuna.networks._arrays import named
from adnn_optuna.networks._tensorflow import load_tensorflow
from adnn_optuna.networks.initializers import VariableInfo
from adnn_optuna.networks.models import MLP, Training, compiled_training

if TYPE_CHECKING:
    import keras

# Rows that are evaluated at once. The memory of an evaluation grows with it, its speed hardly.
EVALUATION_ROWS = 1000

# So begin the operations that XLA compiles to slower code on a CPU than TensorFlow has: of
# convolutions and pooling, and random numbers.
_SLOW_UNDER_XLA = ("Conv", "DepthwiseConv", "MaxPool", "AvgPool", "Stateless")

# What initial weights that were drawn before may take, in bytes; those last used are always kept.
_BYTES_KEPT = 2**26


@dataclasses.dataclass(frozen=True)
class Head:
    """The outputs of a network.

    Attributes:
        num_classes: The number of classes; :obj:`None` in a regression.
        size: The number of outputs: one for each class, a single one for the second of two
            classes, or one for each target of a regression.
        are_probabilities: Whether those of classes are probabilities; else they are logits.
    """

    num_classes: int | None
    size: int
    are_probabilities: bool = False

    @property
    def of_predictions(self) -> Head:
        """The head whose outputs are what this one's predict, see :func:`predictions`."""
        return dataclasses.replace(self, are_probabilities=self.num_classes is not None)

    @property
    def default_loss(self) -> str:
        """The Keras loss where none is given."""
        if self.num_classes is None:
            return "mean_squared_error"
        return "binary_crossentropy" if self.size == 1 else "sparse_categorical_crossentropy"

    @property
    def score(self) -> str:
        """What tells how good a network is on the test set: the mean of :meth:`scores`."""
        return "r2" if self.num_classes is None else "accuracy"

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is known of each split after an epoch, whatever other metrics are asked for."""
        if self.num_classes is None:
            return ("r2", "rmse", "mae", "loss")
        return ("accuracy", "loss")

    @property
    def threshold(self) -> float:
        """Above it, a single output says the second class."""
        return 0.5 if self.are_probabilities else 0.0

    def scores(self, outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the score of each example, of shape (n,).

        Of classes it is whether the network is right, bool. In a regression it is one minus the
        squared error in units of the variance of ``y``, of shape (n,) or (n, targets), float64;
        of several targets their mean. The mean over the examples is R².
        """
        if self.num_classes is not None:
            return np.asarray(self.predicted(outputs) == y)
        targets = y.reshape(len(y), -1).astype(np.float64)
        errors = np.square(targets - outputs)
        return np.asarray((1 - errors / targets.var(axis=0)).mean(axis=1))

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """Return the number of the class that each example is given, int64 of shape (n,)."""
        if self.size == 1:
            return (outputs[:, 0] > self.threshold).astype(np.int64)
        return np.asarray(outputs.argmax(axis=-1))


@dataclasses.dataclass(frozen=True, eq=False)
class Architecture:
    """A network's variables and their seeded initial values; :func:`build_architecture` makes it.

    ``initial_weights(seed, restart)`` are the values before any offset, one array for each
    variable, and ``build(seed, restart)`` is the Keras model with them. ``restart`` counts a
    seed's initialisations; 0 is the baseline's.
    """

    head: Head
    config: dict[str, Any]
    variables: tuple[VariableInfo, ...]
    initial_weights: Callable[[int, int], Sequence[np.ndarray]]
    build: Callable[[int, int], keras.Model]
    compiled: Training | None = None  # What it is trained by where nothing else is said.
    suits_xla: bool = True  # Whether XLA makes its training faster on a CPU.
    scales_loss: bool = False  # Whether it computes in float16, where small gradients are lost.
    adds_losses: bool = False  # Whether its layers add to the loss, as regularizers do.
    own_code: Callable[[], keras.Model] | None = None  # Where its configuration is not all.
    as_given: Callable[[], dict[int, str]] = dict  # See `features_as_given`.
    gives_any_numbers: Callable[[], bool] = lambda: True  # See `are_any_numbers`.

    @functools.cached_property
    def identity(self) -> tuple[str, Callable[[], keras.Model] | None]:
        """What two architectures have in common that compute the same."""
        described = [self.config, dataclasses.astuple(self.head)]
        return json.dumps(described, sort_keys=True), self.own_code

    @functools.cached_property
    def depends_on_seed(self) -> bool:
        """Whether another restart starts from other weights."""
        return hash_weights(self.initial_weights(0, 0)) != hash_weights(self.initial_weights(0, 1))


def hash_weights(weights: Sequence[np.ndarray]) -> str:
    """Return the SHA-256 over shapes, types and values of ``weights``, as hexadecimal digits."""
    digest = hashlib.sha256()
    for array in weights:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def build_architecture(
    model: MLP | Callable[[], keras.Model],
    input_shape: tuple[int, ...],
    num_classes: int | None,
    n_targets: int = 1,
) -> Architecture:
    """Return the architecture of ``model``; raise where it is unfit for the data or a search.

    Without classes it is that of a regression of so many targets.
    """
    load_tensorflow("Training a network")
    head = Head(num_classes, n_targets if num_classes is None else num_classes)
    if isinstance(model, MLP):
        return _mlp_architecture(model, input_shape, head)
    # A class of models is such a callable; a model is not, though it can be called.
    if callable(model) and (isinstance(model, type) or not hasattr(model, "stateless_call")):
        return _keras_architecture(model, input_shape, head)
    raise WrongTypeError(
        "model must be an MLP or a callable that returns a fresh keras.Model (pass the function, "
        f"not what it returns), but it is {type(model).__name__}."
    )


def _mlp_architecture(mlp: MLP, input_shape: tuple[int, ...], head: Head) -> Architecture:
    """Return an MLP's architecture, the weights of which are drawn without building a model."""
    import keras

    sizes = (math.prod(input_shape), *mlp.hidden, head.size)
    shapes = [shape for n, m in itertools.pairwise(sizes) for shape in ((n, m), (m,))]
    n_bytes = 4 * sum(map(math.prod, shapes))
    try:
        np.empty(n_bytes, np.uint8)  # It fails at once, where TensorFlow waits for memory.
    except (MemoryError, ValueError):
        raise MemoryError(_checks.TOO_LITTLE_MEMORY) from None
    _check_names(mlp, *shapes[:2])

    of_kernels, of_biases = map(_initializer, (mlp.kernel_initializer, mlp.bias_initializer))

    def initializer(i: int, seed: int, restart: int) -> keras.initializers.Initializer:
        return (of_biases if i % 2 else of_kernels)(derived_seed(seed, restart, i))

    @functools.lru_cache(max(_BYTES_KEPT // n_bytes, 1))
    def draw(seed: int, restart: int) -> list[np.ndarray]:
        return [
            np.asarray(initializer(i, seed, restart)(shape, dtype="float32"))
            for i, shape in enumerate(shapes)
        ]

    def build(seed: int, restart: int) -> keras.Model:
        dtype = "float32"  # Not the user's global policy, which may be another one some day.
        last = len(mlp.hidden)
        with keras_files.undisturbed(derived_seed(seed, restart)):
            dense = [
                keras.layers.Dense(
                    units,
                    activation=None if i == last else mlp.activation,
                    kernel_initializer=initializer(2 * i, seed, restart),
                    bias_initializer=initializer(2 * i + 1, seed, restart),
                    name="output" if i == last else f"hidden_{i}",
                    dtype=dtype,
                )
                for i, units in enumerate(sizes[1:])
            ]
            inputs = keras.Input(input_shape, dtype=dtype, name="input")
            flatten = keras.layers.Flatten(dtype=dtype, name="flatten")
            return keras.Sequential([inputs, flatten, *dense], name="mlp")

    model = build(0, 0)
    found = initializers.describe_variables(model, [id(v) for v in model.variables])
    variables = tuple(dataclasses.replace(v, path=v.path.removeprefix("mlp/")) for v in found)
    return Architecture(head, mlp.config, variables, draw, build)


def _check_names(mlp: MLP, kernel_shape: tuple[int, ...], bias_shape: tuple[int, ...]) -> None:
    """Refuse what Keras does not know, or cannot make in these shapes."""
    import keras

    shapes = {"kernel_initializer": kernel_shape, "bias_initializer": bias_shape}
    for name, shape in (shapes | {"activation": (1, 2)}).items():
        spec = getattr(mlp, name)
        try:
            if name in shapes:
                values = _initializer(spec)(0)(shape, dtype="float32")
            else:
                values = keras.activations.get(spec)(keras.ops.zeros(shape))
        # Keras, NumPy and TensorFlow each refuse in their own way.
        except Exception as error:
            if _checks.is_out_of_memory(error):
                raise MemoryError(_checks.TOO_LITTLE_MEMORY) from error
            raise WrongValueError(
                f"Keras cannot make values of shape {shape} by the {name} {spec!r}; see "
                f"keras.{name.split('_')[-1]}s for names and arguments, and what they can make."
            ) from None
        # Keras's "glu" has half as many outputs as inputs, which no size of a layer can tell.
        if tuple(values.shape) != shape:
            raise WrongValueError(
                f"The {name} {spec!r} changes the number of units, which no hidden layer of an "
                "MLP can; use another one, or a callable that returns a keras.Model."
            )


def _initializer(spec: str | dict[str, Any]) -> Callable[[int], keras.initializers.Initializer]:
    """Return what makes the initializer of a seed."""
    import keras

    # Keras draws a default seed from Python's global source, which is left as it was.
    with keras_files.undisturbed():
        made = keras.initializers.get(copy.deepcopy(spec))
    if "seed" not in (config := made.get_config()):
        return lambda _: made
    return lambda seed: type(made).from_config({**config, "seed": seed})


def derived_seed(*key: int) -> int:
    """Return a seed below 2^31 for ``key``; different keys give unrelated seeds."""
    return int(np.random.SeedSequence(key).generate_state(1)[0] >> 1)


def _keras_architecture(
    build_model: Callable[[], keras.Model], input_shape: tuple[int, ...], head: Head
) -> Architecture:
    import keras

    from adnn_optuna.networks import inspection

    def build_now(seed: int, restart: int) -> keras.Model:
        # Layers take their default seeds from Python's `random` when they are made. In a fresh
        # thread equal models have equal names.
        with keras_files.undisturbed(derived_seed(seed, restart)):
            return keras_files.in_fresh_thread(inspection.built, build_model, input_shape)

    model, other = build_now(0, 0), build_now(0, 0)
    trained = [{id(v) for v in made.trainable_variables} for made in (model, other)]
    if other is model or set.intersection(*trained):
        raise WrongValueError(
            "Your callable returned the same model twice, or the same layers; build fresh ones."
        )
    for method in ("train_step", "compute_loss"):
        if getattr(type(model), method) is not getattr(keras.Model, method):
            raise WrongValueError(
                f"The model's class {type(model).__name__} has a {method} of its own, which "
                "trainings here do not use; use a model that Keras trains by its own."
            )
    weights = _values(model)
    if hash_weights(_values(other)) != hash_weights(weights):
        raise WrongValueError(
            "Two models that your callable built under one seed start from different weights; "
            "give its own random sources (custom initializers, tf.random) a seed."
        )
    draws = np.random.default_rng(0).random((3, *input_shape), np.float32)
    with initializers.noting_use() as used:
        outputs = inspection.outputs_of(model, draws)
    shape = tuple(getattr(outputs, "shape", ()))
    is_binary = head.num_classes == 2 and shape == (3, 1)
    if shape != (3, head.size) and not is_binary:
        of = f"{head.num_classes} classes" if head.num_classes else f"{head.size} targets"
        raise WrongValueError(
            f"The model's output for 3 examples has shape {shape}, but data with {of} need "
            f"(3, {head.size}){' or (3, 1)' * (head.num_classes == 2)}."
        )
    variables = tuple(initializers.describe_variables(model, [*used]))
    adds_losses = bool(model.losses)
    not_moved = initializers.never_moved(model)
    if not any(v.kind != "other" for v in variables):
        others = f": {named(not_moved)} are called otherwise" if not_moved else ""
        raise WrongValueError(
            f"The model has no trainable kernel or bias for an offset to move{others}; offsets "
            "move what add_weight of a layer calls kernel, embeddings or bias."
        )
    graph = inspection.graph_of(model, input_shape, training=True)
    compiled = compiled_training(model)
    if head.num_classes is not None:
        from_logits = None if compiled is None else compiled.from_logits
        are_probabilities = inspection.are_probabilities(
            model, draws, np.asarray(outputs, np.float32), from_logits=from_logits
        )
        head = dataclasses.replace(head, size=shape[1], are_probabilities=are_probabilities)
    described, hashed = keras_files.describe_model(model, other), hash_weights(weights)

    def build(seed: int, restart: int) -> keras.Model:
        made = build_now(seed, restart)
        # Others may differ by what the user's code draws.
        if (seed, restart) == (0, 0) and (
            hash_weights(_values(made)) != hashed
            or keras_files.describe_model(made, other) != described
        ):
            raise WrongValueError(
                "Your callable returns another model by now than when it was given: let it depend "
                "on nothing that changes, such as the variable of a loop."
            )
        return made

    config = {
        "type": "keras.Model",
        "model": described,
        # A configuration does not hold those that the callable loads, nor which layer draws first.
        INITIAL_WEIGHTS: sketch_weights(weights),
    }
    if not_moved:
        config["not_moved"] = not_moved
    own_code: Any = build_model  # Unless the configuration tells all, having Keras's classes only.
    with contextlib.suppress(WrongValueError):
        keras_files.check_keras_config(described, "model")
        own_code = None if "config" in described else build_model
    found = inspection.operations(graph) if graph is not None else []
    outer = graph.get_operations() if graph is not None else ()
    dtypes = [output.dtype for operation in outer for output in operation.outputs]
    n_kept = max(_BYTES_KEPT // sum(array.nbytes for array in weights), 1)
    draw = functools.lru_cache(n_kept)(lambda *key: _values(build(*key)))
    return Architecture(
        *(head, config, variables, draw, build),
        compiled=compiled,
        suits_xla=not any(operation.startswith(_SLOW_UNDER_XLA) for operation in found),
        scales_loss="float16" in dtypes,
        adds_losses=adds_losses,
        own_code=own_code,
        as_given=functools.cache(lambda: inspection.features_as_given(other, input_shape)),
        gives_any_numbers=functools.cache(lambda: inspection.are_any_numbers(other, draws)),
    )


def _values(model: keras.Model) -> list[np.ndarray]:
    # A copy: on the CPU `numpy()` may show the variable's own memory.
    return [np.array(v.numpy()) for v in model.variables]
