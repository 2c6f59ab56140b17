"""Networks: outputs, variables, seeded initial values, and a function that builds the model."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from adnn_optuna import _checks
from adnn_optuna._attributes import Json
from adnn_optuna._checks import WrongTypeError, WrongValueError
from adnn_optuna._differences import INITIAL_WEIGHTS, sketch_weights
from adnn_optuna._seeds import derived_seed
from adnn_optuna.networks import initializers, keras_files
from adnn_optuna.networks._arrays import Shape, named
from adnn_optuna.networks._tensorflow import check_not_forked, load_tensorflow
from adnn_optuna.networks.initializers import VariableInfo
from adnn_optuna.networks.models import MLP, Scale, Settings, Training, compiled_training

if TYPE_CHECKING:
    import keras

# The number of rows that are evaluated at once. More rows need more memory, and hardly less time.
EVALUATION_ROWS = 1000

# The first letters of operations that are slower with XLA than without, on a CPU.
_SLOW_UNDER_XLA = ("Conv", "DepthwiseConv", "MaxPool", "AvgPool", "Stateless")

# The maximum bytes of the cache of initial weights. The last used weights are always kept.
_BYTES_KEPT = 2**26


@dataclasses.dataclass(frozen=True)
class Head:
    """The outputs of a network."""

    num_classes: int | None  # The number of classes, or None in a regression.
    size: int  # The number of outputs. A single output is for the second of two classes.
    # Whether outputs are probabilities instead of logits or numbers.
    are_probabilities: bool = False
    positive: int | None = None  # The number of the positive class of two classes.
    ends_in_logits: bool = False  # Whether the user's own Keras model returns logits.

    @property
    def is_regression(self) -> bool:
        """Whether the outputs are numbers instead of classes."""
        return self.num_classes is None

    @property
    def of_predictions(self) -> Head:
        """The head with probabilities as outputs. For a regression, it is the same head."""
        return dataclasses.replace(self, are_probabilities=not self.is_regression)

    @property
    def default_loss(self) -> str:
        """The default Keras loss."""
        if self.is_regression:
            return "mean_squared_error"
        if self.size == 1:
            return "binary_crossentropy"
        return "sparse_categorical_crossentropy"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that are computed on each split even if the user requests none."""
        if self.is_regression:
            return ("r2", "rmse", "mae", "loss")
        return ("accuracy", "loss")

    @property
    def score(self) -> str:
        """The metric for the test set, unless the user chooses another metric."""
        return self.metrics[0]

    @property
    def threshold(self) -> float:
        """The threshold above which a single output means the second class."""
        if self.are_probabilities:
            return 0.5
        return 0.0

    def predicted(self, outputs: np.ndarray) -> np.ndarray:
        """Return the number of each example's predicted class, int64 of shape (n,)."""
        if self.size == 1:
            return (outputs[:, 0] > self.threshold).astype(np.int64)
        return outputs.argmax(axis=-1)


Weights = Sequence[np.ndarray]
"""The values of a network's variables, in the order of the variables."""
Draw = Callable[[int, int], Weights]
"""A function that returns the initial weights for a seed and a restart number from 0."""


@dataclasses.dataclass(frozen=True, eq=False)
class Architecture:
    """A network's variables and their seeded initial values, see :func:`build_architecture`."""

    head: Head
    input_shape: Shape
    config: Json
    variables: tuple[VariableInfo, ...]
    initial_weights: Draw  # The offsets are not added.
    build: Callable[[int, int], keras.Model]  # This returns the model with these initial weights.
    compiled: Training | None = None  # The settings with which the user compiled the model.
    suits_xla: bool = True  # Whether XLA makes the training faster on a CPU.
    # Whether the network computes in float16, in which small gradients are lost.
    scales_loss: bool = False
    # The user's function, if the configuration does not fully describe the model.
    own_code: Callable[[], keras.Model] | None = None
    scale: Scale = "none"  # How an MLP scales inputs and targets.
    scales_inputs: bool = True  # Whether the model scales inputs, so that they may be large.
    scales_outputs: bool = True  # Whether the model scales outputs, so that targets may be large.
    input_dtype: str = "float32"

    @functools.cached_property
    def depends_on_seed(self) -> bool:
        """Whether the initial weights depend on the seed and the restart."""
        weights = self.initial_weights(0, 0)
        other_weights = self.initial_weights(0, 1)
        return hash_weights(weights) != hash_weights(other_weights)


def hash_weights(weights: Weights) -> str:
    """Return the SHA-256 of shapes, types and values of ``weights``, in hexadecimal digits."""
    digest = hashlib.sha256()
    for array in weights:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def build_architecture(
    model: MLP | Callable[[], keras.Model],
    input_shape: Shape,
    num_classes: int | None,
    n_targets: int = 1,
    input_dtype: str = "float32",
) -> Architecture:
    """Return the architecture of ``model``.

    If the model is not suitable for the data or for a search, raise an error.
    """
    load_tensorflow("Training a network")
    check_not_forked()
    head = Head(num_classes, num_classes or n_targets)
    if isinstance(model, MLP):
        return _mlp_architecture(model, input_shape, head)
    # A model's class is callable and returns a new model. A model is callable, too, but it returns
    # outputs.
    if callable(model) and (isinstance(model, type) or not hasattr(model, "stateless_call")):
        return _keras_architecture(model, input_shape, input_dtype, head)
    raise WrongTypeError(
        "model must be an MLP or a callable that returns a new keras.Model; got "
        f"{type(model).__name__}. Pass the function, not what it returns."
    )


def _mlp_architecture(mlp: MLP, input_shape: Shape, head: Head) -> Architecture:
    import keras

    def initializer(i: int, seed: int, restart: int) -> keras.initializers.Initializer:
        initializer_of_seed = (of_kernel, of_bias)[i % 2]
        return initializer_of_seed(derived_seed(seed, restart, i))

    def build(seed: int, restart: int) -> keras.Model:
        dtype = "float32"  # The user's global policy may change, so it is not used.
        inputs = keras.Input(input_shape, dtype=dtype, name="input")
        layers = [inputs, keras.layers.Flatten(dtype=dtype, name="flatten")]
        with keras_files.undisturbed(derived_seed(seed, restart)):
            for i, units in enumerate((*mlp.hidden, head.size)):
                layer_name = "output"
                activation = None
                if i < len(mlp.hidden):
                    layer_name = f"hidden_{i}"
                    activation = mlp.activation
                kernel_initializer = initializer(2 * i, seed, restart)
                bias_initializer = initializer(2 * i + 1, seed, restart)
                dense = keras.layers.Dense(
                    units,
                    activation=activation,
                    kernel_initializer=kernel_initializer,
                    bias_initializer=bias_initializer,
                    name=layer_name,
                    dtype=dtype,
                )
                layers.append(dense)
            return keras.Sequential(layers, name="mlp")

    # To build a whole model for its initial weights would take ten times as long.
    def draw(seed: int, restart: int) -> list[np.ndarray]:
        weights = []
        for i, variable in enumerate(model.variables):
            draw_variable = initializer(i, seed, restart)
            weights.append(np.array(draw_variable(variable.shape, dtype="float32")))
        return weights

    try:
        of_kernel = _seeded(mlp.kernel_initializer)
        of_bias = _seeded(mlp.bias_initializer)
        model = build(0, 0)
        model(np.zeros((1, *input_shape), np.float32))
    # Keras and TensorFlow raise many kinds of errors for wrong names and arguments.
    except Exception as error:
        if _checks.is_out_of_memory(error):
            raise
        why = _checks.first_line(error)
        names = [*dir(keras.activations), *dir(keras.initializers)]
        public_names = [name for name in names if not name.startswith("_")]
        refused = ("activation", "kernel_initializer", "bias_initializer")
        settings = ", ".join(f"{name}={getattr(mlp, name)!r}" for name in refused)
        raise WrongValueError(
            f"activation and initializers must be names of Keras; got {settings} ({why})."
            f"{_checks.did_you_mean(why.split()[-1], public_names)} Choose from keras.activations "
            "and keras.initializers."
        ) from None
    described = initializers.describe_variables(model, [id(v) for v in model.variables])
    variables = tuple(dataclasses.replace(v, path=v.path.removeprefix("mlp/")) for v in described)
    draw_once = _cached(draw, model)
    return Architecture(
        head, input_shape, mlp.config, variables, draw_once, build, scale=mlp.scale
    )


def _seeded(spec: Settings) -> Callable[[int], keras.initializers.Initializer]:
    """Return a function that makes a seeded initializer, from a name or configuration."""
    import keras

    # Keras draws a default seed from Python's global random state.
    with keras_files.undisturbed():
        initializer = keras.initializers.get(copy.deepcopy(spec))
    config = initializer.get_config()
    if "seed" not in config:
        return lambda _: initializer
    return lambda seed: type(initializer).from_config({**config, "seed": seed})


def _cached(draw: Draw, model: keras.Model) -> Draw:
    """Return the same function with a cache, whose length depends on the model's size."""
    n_bytes = sum(array.nbytes for array in _values(model))
    n_kept = max(_BYTES_KEPT // n_bytes, 1)
    return functools.lru_cache(n_kept)(draw)


def _values(model: keras.Model) -> list[np.ndarray]:
    # The values are copied, because `numpy()` may share the variable's memory on a CPU.
    return [np.array(v.numpy()) for v in model.variables]


def _keras_architecture(
    build_model: Callable[[], keras.Model],
    input_shape: Shape,
    input_dtype: str,
    head: Head,
) -> Architecture:
    from adnn_optuna.networks import inspection

    def build_now(seed: int, restart: int) -> keras.Model:
        # Layers take default seeds from Python's `random`. In a new thread, equal models get equal
        # names.
        with keras_files.undisturbed(derived_seed(seed, restart)):
            arguments = build_model, input_shape, input_dtype
            return keras_files.in_fresh_thread(inspection.built, *arguments)

    model = build_now(0, 0)
    rebuilt = build_now(0, 0)
    _check_can_be_searched(model, rebuilt)
    weights = _values(model)
    draws = inspection.examples(3, input_shape, input_dtype)
    with initializers.noting_use() as used:
        outputs = inspection.outputs_of(model, draws)
    size = _n_outputs(outputs, head)
    if not head.is_regression:
        numbers = np.asarray(outputs, np.float32)
        are_probabilities = inspection.are_probabilities(model, draws, numbers)
        head = dataclasses.replace(
            head,
            size=size,
            are_probabilities=are_probabilities,
            ends_in_logits=not are_probabilities,
        )

    def build(seed: int, restart: int) -> keras.Model:
        network = build_now(seed, restart)
        # `rebuilt` has this seed. With other seeds, its weights may differ.
        if (seed, restart) == (0, 0):
            _check_are_alike(network, rebuilt)
        return network

    config = {
        "type": "keras.Model",
        "model": keras_files.describe_model(rebuilt),
        # A configuration contains neither loaded weights nor the order in which layers draw
        # weights.
        INITIAL_WEIGHTS: sketch_weights(weights),
    }
    without_offsets = initializers.without_offsets(model)
    if without_offsets:
        # New seeds depend on the keys of a configuration, so do not rename this one.
        config["not_moved"] = without_offsets
    # If the configuration has only Keras's own classes, it describes the model fully.
    own_code: Any = build_model
    with contextlib.suppress(WrongValueError):
        keras_files.check_keras_config(config["model"], "model")
        own_code = None
        if "config" not in config["model"]:
            own_code = build_model
    kinds, dtypes = inspection.operations(model, input_shape, input_dtype)
    variables = tuple(initializers.describe_variables(model, [*used]))

    def draw(seed: int, restart: int) -> list[np.ndarray]:
        network = build(seed, restart)
        return _values(network)

    return Architecture(
        head,
        input_shape,
        config,
        variables,
        initial_weights=_cached(draw, model),
        build=build,
        compiled=compiled_training(model),
        suits_xla=not any(kind.startswith(_SLOW_UNDER_XLA) for kind in kinds),
        scales_loss="float16" in dtypes,
        own_code=own_code,
        scales_inputs=inspection.scales_inputs(model),
        scales_outputs=inspection.scales_outputs(model),
        input_dtype=input_dtype,
    )


def _n_outputs(outputs: Any, head: Head) -> int:
    """Return a model's number of outputs. Raise an error if it is not suitable for the data."""
    shape = tuple(getattr(outputs, "shape", ()))
    shapes = [(3, head.size), *[(3, 1)] * (head.num_classes == 2)]
    if shape in shapes:
        return shape[1]
    shape_text = f"a {type(outputs).__name__} of several outputs"
    if shape:
        shape_text = f"shape {shape}"
    data_text = f"{head.size} targets"
    if head.num_classes:
        data_text = f"{head.num_classes} classes"
    raise WrongValueError(
        f"The model's output for 3 examples must have shape {' or '.join(map(str, shapes))} "
        f"for data with {data_text}; got {shape_text}."
    )


def _check_can_be_searched(model: keras.Model, other: keras.Model) -> None:
    """Raise an error for models without kernels and biases, or with their own training.

    The same callable built both models, so they must be equal.
    """
    import keras

    trained = [{id(v) for v in each.trainable_variables} for each in (model, other)]
    if set.intersection(*trained):
        raise WrongValueError(
            "Your callable returned the same model twice, or the same layers. Build new ones in "
            "each call."
        )
    for method in ("train_step", "compute_loss", "compile"):
        if getattr(type(model), method) is not getattr(keras.Model, method):
            raise WrongValueError(
                f"The model's class {type(model).__name__} has a {method} of its own, which is "
                "not used here. Pass a model that Keras trains by its own."
            )
    _check_are_alike(model, other)
    without_offsets = initializers.without_offsets(model)
    if len(without_offsets) == len(model.trainable_variables):
        raise WrongValueError(
            f"The model has no trainable kernel or bias, but [{named(without_offsets)}]. Offsets "
            "are added to variables that add_weight of a layer calls kernel, embeddings or bias."
        )


def _check_are_alike(model: keras.Model, other: keras.Model) -> None:
    weights, rebuilt_weights = (hash_weights(_values(each)) for each in (model, other))
    if weights != rebuilt_weights or keras_files.describe_model(
        model
    ) != keras_files.describe_model(other):
        raise WrongValueError(
            "Your callable must return equal models in all calls. Pass a seed to random sources "
            "of its own (custom initializers, tf.random), and use nothing that changes, such as "
            "the variable of a loop or a count of names."
        )
