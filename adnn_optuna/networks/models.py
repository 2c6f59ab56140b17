"""Settings in JSON: the MLP, the training, and the paper's six models."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

from adnn_optuna import _checks
from adnn_optuna._attributes import Json, Metrics
from adnn_optuna._checks import WrongInputError, WrongTypeError, WrongValueError
from adnn_optuna._units import score_sign
from adnn_optuna.networks._tensorflow import load_tensorflow

if TYPE_CHECKING:
    import keras

Settings = str | Json
"""A Keras name, or the configuration of a Keras object."""

# The types of a Keras object's settings, and the attributes of these types that are not settings.
_PLAIN = (bool, int, float, str, dict, set, re.Pattern)
_NO_SETTINGS = {"built", "name", "seed", "_trainable_variables_indices"}


def name_or_config(name: str, value: Any, *, keep_name: bool = False) -> Settings:
    """Return a Keras name, configuration or object as a name or configuration for JSON."""
    registered_name = None
    is_object = hasattr(value, "get_config")
    if (is_object or hasattr(value, "__name__")) and not isinstance(value, type):
        import keras

        # A LossScaleOptimizer is unwrapped, because each training run in float16 gets a new one.
        value = getattr(value, "inner_optimizer", value)
        kind = type(value) if is_object else value
        # The module decides, because a user-defined class may have the same name as a Keras class.
        is_of_keras = str(kind.__module__).startswith("keras.")
        if is_of_keras:
            _check_is_all_in_config(name, value)
        else:
            registered_name = keras.saving.get_registered_name(kind)
            _check_is_registered(name, registered_name)
        # A user-defined function is stored by name. Keras would store a lambda as bytes.
        if not is_object and not is_of_keras:
            value = registered_name
        else:
            value = keras.saving.serialize_keras_object(value)
    if isinstance(value, dict) and value.get("class_name") == "function":
        value = value.get("config")
    elif isinstance(value, dict) and (registered_name := value.get("registered_name")):
        _check_is_registered(name, registered_name)
    if isinstance(value, str):
        return value
    class_name = registered_name
    if not class_name and isinstance(value, dict):
        class_name = value.get("class_name")
    if not isinstance(class_name, str):
        raise WrongTypeError(
            f"{name} must be a Keras name, an object of a class of Keras's, or a dict as Keras "
            f"serializes it ({{'class_name': …, 'config': …}}); got {value!r}."
        )
    # JSON turns tuples into lists, as in a study's storage.
    config = json.loads(json.dumps(value.get("config") or {}, allow_nan=False))
    # Keras numbers the names of optimizers in a process, so equal optimizers would differ.
    own_name = str(config.pop("name", ""))
    if keep_name:
        # Keras's number is removed from a name, unless the user chose the name.
        base = re.sub(r"_\d+$", "", own_name)
        is_numbered = base.replace("_", "") == class_name.lower()
        config["name"] = base if is_numbered else own_name
    return {"class_name": class_name, "config": config}


def _check_is_registered(what: str, own: str) -> None:
    import keras

    if keras.saving.get_registered_object(own) is None:
        raise WrongTypeError(
            f"{what} is of {own!r}, which is not registered. Decorate it by "
            "keras.saving.register_keras_serializable, or choose one of Keras's own classes."
        )


def _check_is_all_in_config(what: str, value: Any) -> None:
    """Raise an error if a Keras object has a setting that is not in its configuration."""
    if not hasattr(value, "get_config") or "seed" in vars(value):
        return  # A rebuilt initializer would draw a seed from Python's global random state.
    try:
        with warnings.catch_warnings(action="ignore"):  # Keras warns about lambdas.
            rebuilt = type(value).from_config(value.get_config())
    except (TypeError, ValueError):
        raise WrongTypeError(
            f"{what} {type(value).__name__!r} must have registered functions only, and no lambda. "
            "Decorate each function by keras.saving.register_keras_serializable."
        ) from None
    again = vars(rebuilt)
    for name, current in vars(value).items():
        if name in _NO_SETTINGS or name.startswith("_self_"):
            continue
        is_set = isinstance(current, _PLAIN) and bool(current)
        if is_set and repr(current) != repr(again.get(name)):
            raise WrongValueError(
                f"{what} {type(value).__name__!r} has {name.strip('_')} = {current}, which Keras "
                "leaves out of its configuration. Omit it, or pass a dict {'class_name': …, "
                "'config': …} if the class takes it as an argument."
            )


def checked_rate(rate: Any) -> float | Json | None:
    """Return a learning rate or the configuration of a schedule for JSON."""
    if rate is None:
        return None
    if isinstance(rate, dict) or hasattr(rate, "get_config"):
        config = cast(Json, name_or_config("learning_rate", rate))
        config = {"module": "keras.optimizers.schedules", **config}
        # The registered name of a user-defined schedule begins with a package and ">".
        if ">" in config["class_name"]:
            config["registered_name"] = config["class_name"]
        return config
    _checks.check_positive("learning_rate", rate)
    return float(rate)


Scale = Literal["auto", "standard", "none"]


@dataclasses.dataclass(frozen=True)
class MLP:
    """A multilayer perceptron: scaling, flattening, hidden dense layers, dense output layer.

    The MLP scales inputs and the targets of a regression. Means and standard deviations come from
    the training part, in float64. The model of ``result.model()`` includes the scaling: it takes
    inputs as in the dataset, and returns numbers in your units, in float64.

    Example:
        >>> MLP(hidden=(256, 256), activation="relu", kernel_initializer="he_normal").hidden
        (256, 256)

    Args:
        hidden: The number of units of each hidden layer, at least one.
        activation: The Keras name of the hidden layers' activation. The output layer has none.
        kernel_initializer: The initializer of all kernels: a Keras name or a configuration
            (``{"class_name": ..., "config": ...}``). In Python, it may also be an object, whose
            seed is replaced.
        bias_initializer: The initializer of all biases, in the form of ``kernel_initializer``.
        scale: ``"standard"`` brings each feature, and each target of a regression, to mean 0 and
            standard deviation 1. Categories stay 0 and 1. Each channel of images is one feature,
            and images without channels have one feature. Inputs of shape (n, height, width) are
            images if they are uint8 or if height equals width. ``"auto"`` does the same with two
            exceptions. Inputs of uint8 are divided by 255. If floats or truth values are all
            within [0, 1], they stay unchanged. ``"none"`` scales neither inputs nor targets. A
            loss is minimised on the scaled targets, and reported in your units. For losses of
            numbers above 0, such as the Poisson loss, choose ``"none"`` or a Keras model.

    Raises:
        TypeError: If an argument has a wrong type.
        ValueError: If ``hidden`` is empty, a size is not a positive whole number, or ``scale`` is
            unknown.
    """

    hidden: tuple[int, ...] = (64,)
    activation: str = "relu"
    kernel_initializer: Settings = "glorot_uniform"
    bias_initializer: Settings = "zeros"
    scale: Scale = "auto"

    def __post_init__(self) -> None:
        hidden_rule = "a sequence of sizes, such as (64, 64) or (64,)"
        _checks.check_type("hidden", self.hidden, list | tuple | np.ndarray, hidden_rule)
        layers = enumerate(self.hidden)
        sizes = [_checks.as_integer(f"hidden[{i}]", n) for i, n in layers]
        if not sizes:
            raise WrongValueError("hidden must have at least one layer; got none.")
        object.__setattr__(self, "hidden", tuple(sizes))
        _checks.check_type("activation", self.activation, str, "a Keras name")
        for name in ("kernel_initializer", "bias_initializer"):
            initializer = name_or_config(name, getattr(self, name))
            object.__setattr__(self, name, initializer)
        _checks.check_choice("scale", self.scale, get_args(Scale))

    @property
    def config(self) -> Json:
        """The settings as JSON. New seeds depend on these keys, so do not rename them."""
        settings = {
            "type": "MLP",
            "hidden": list(self.hidden),
            "activation": self.activation,
            "kernel_initializer": self.kernel_initializer,
            "bias_initializer": self.bias_initializer,
        }
        if self.scale != "auto":
            settings["scale"] = self.scale
        return copy.deepcopy(settings)


AnyModel = MLP | Callable[..., Any]
"""An :class:`MLP`, or a function that returns a new Keras model."""

# Metrics of Keras and of this package for which lower values are better.
_MINIMIZED = re.compile(
    r"loss|error|crossentropy|bce|hinge|divergence|poisson|log_?cosh|false|r?mse|mae|mape|msle",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class Training:
    """How a network is trained.

    If a setting is :obj:`None`, the compiled model's setting is used. If the model has none, the
    default is used. You can use your own classes and functions if they are registered, see
    :func:`keras.saving.register_keras_serializable`.

    Args:
        optimizer: The Keras name of an optimizer. In Python, it may also be a configuration or an
            object. The default is Adam.
        learning_rate: The learning rate. In Python, it may also be a Keras schedule. It replaces
            the learning rate of an optimizer object or of the compiled model. With an optimizer's
            name, the default is 0.001.
        batch_size: The number of examples in a batch. The last batch of an epoch may be smaller.
        epochs: The number of passes over the training set.
        shuffle: Whether each epoch has its own order. The order follows from the seed.
        loss: The Keras name, configuration or object of a loss. Cross-entropies are computed from
            logits, unless your own model outputs probabilities. The default is
            ``"mean_squared_error"`` for a regression, ``"binary_crossentropy"`` for a single
            output, and otherwise ``"sparse_categorical_crossentropy"``.
        jit_compile: Whether XLA compiles the training, as in Keras. The bits of the weights then
            differ. With ``"auto"``, XLA is used if it is faster on a CPU, that is, for models
            without convolutions, pooling or random operations.
        metrics: Further Keras metrics: names, configurations or objects, such as ``"auc"``. For
            two classes, recall, precision, AUC and F-scores are for the positive class, see
            ``Dataset``.
        patience: Training ends after this number of epochs without a better monitored value (by
            default, the validation loss), as in :class:`keras.callbacks.EarlyStopping`. With
            :obj:`None`, training does not end early.
        restore_best_weights: Whether to keep the weights of the best epoch instead of the last
            epoch.
        monitor: A metric, such as ``"val_accuracy"``.
        min_delta: The smallest change of the monitored value that counts as better.
        mode: Whether lower (``"min"``) or higher (``"max"``) is better. With
            ``"auto"``, the metric's name decides, or the direction of the objective.

    Raises:
        TypeError: If a setting is of the wrong type.
        ValueError: If a number is out of range.
    """

    optimizer: Settings | None = None
    learning_rate: float | Json | None = None
    batch_size: int = 32
    epochs: int = 10
    shuffle: bool = True
    loss: Settings | None = None
    jit_compile: bool | Literal["auto"] = "auto"
    metrics: tuple[Settings, ...] = ()
    patience: int | None = None
    restore_best_weights: bool = False
    monitor: str = "val_loss"
    min_delta: float = 0.0
    mode: Literal["auto", "min", "max"] = "auto"
    callbacks: dataclasses.InitVar[Any] = None

    def __post_init__(self, callbacks: Any) -> None:
        if callbacks is not None:
            raise WrongTypeError(
                "callbacks must be None, as no Keras fit runs. For EarlyStopping pass patience, "
                "for others a learning_rate or a pruner."
            )
        _checks.check_type("metrics", self.metrics, list | tuple, "a list of Keras metrics")
        metrics = tuple(name_or_config("metrics", m, keep_name=True) for m in self.metrics)
        settings: Json = {"metrics": metrics}
        settings["learning_rate"] = checked_rate(self.learning_rate)
        for name in ("batch_size", "epochs"):
            settings[name] = _checks.as_integer(name, getattr(self, name))
        for name in ("optimizer", "loss"):
            value = getattr(self, name)
            if value is not None:
                settings[name] = name_or_config(name, value)
        for name in ("shuffle", "restore_best_weights"):
            _checks.check_type(name, getattr(self, name), bool, "True or False")
        if self.jit_compile != "auto":
            _checks.check_type("jit_compile", self.jit_compile, bool, "True, False or 'auto'")
        _checks.check_choice("mode", self.mode, ("auto", "min", "max"))
        _checks.check_number("min_delta", self.min_delta)
        if self.min_delta < 0:
            raise WrongValueError(f"min_delta must be at least 0; got {self.min_delta:g}.")
        if self.patience is not None:
            settings["patience"] = _checks.as_integer("patience", self.patience, low=0)
            settings["min_delta"] = float(self.min_delta)
        elif self.restore_best_weights or self.min_delta or self.monitor != "val_loss":
            raise WrongValueError(
                "restore_best_weights, min_delta and monitor need a patience. Pass one, such as "
                "patience=epochs."
            )
        for name, setting in settings.items():
            object.__setattr__(self, name, setting)
        # A wrong optimizer raises an error now. The default is not checked, because that would
        # load Keras.
        if self.optimizer not in (None, "adam"):
            self.build_optimizer()

    def is_minimized(self, metric: str) -> bool:
        """Return whether lower values of a split's metric, such as ``val_loss``, are better."""
        name = metric.partition("_")[2]
        kind = name
        for settings in self.metrics:
            if isinstance(settings, dict) and settings["config"]["name"] == name:
                kind = settings["class_name"]
        return _MINIMIZED.search(kind) is not None

    def best_epoch(self, history: Sequence[Metrics]) -> int:
        """Return the best epoch, counted from 0, by the rule of Keras's EarlyStopping."""
        is_minimized = self.mode == "min"
        if self.mode == "auto":
            is_minimized = self.is_minimized(self.monitor)
        sign = score_sign(maximize=not is_minimized)
        values = [sign * metrics[self.monitor] for metrics in history]
        best = 0
        for epoch, value in enumerate(values):
            if value - self.min_delta > values[best]:
                best = epoch
        return best

    def with_metric(self, metric: Any) -> Training:
        """Return the training with one more metric, unless it already has this metric."""
        [settings] = dataclasses.replace(self, metrics=(metric,)).metrics
        if settings in self.metrics:
            return self
        return dataclasses.replace(self, metrics=(*self.metrics, settings))

    @property
    def fixed_learning_rate(self) -> float | None:
        """The learning rate, or :obj:`None` for a schedule."""
        rate: Any = self.learning_rate
        if isinstance(self.optimizer, dict):
            rate = self.optimizer["config"].get("learning_rate")
        if isinstance(rate, int | float):
            return float(rate)
        return None

    @property
    def config(self) -> Json:
        """The settings as JSON. New seeds depend on these keys, so do not rename them."""
        settings = {**vars(self), "metrics": list(self.metrics)}
        return copy.deepcopy(settings)

    def build_optimizer(self) -> keras.optimizers.Optimizer:
        """Return a new Keras optimizer. Raise ValueError if Keras does not accept a setting."""
        load_tensorflow("Training a network")
        import keras

        name = self.optimizer or "adam"
        config = {}
        if isinstance(name, dict):
            config = copy.deepcopy(name["config"])
            name = name["class_name"]
        elif self.learning_rate is not None:
            config = {"learning_rate": copy.deepcopy(self.learning_rate)}
        # keras.optimizers.get does not find all of Keras's optimizers by name.
        members = vars(keras.optimizers).items()
        kinds: dict[str, Any] = {k.lower(): kind for k, kind in members if isinstance(kind, type)}
        kind = kinds.get(name.lower()) or keras.saving.get_registered_object(name)
        if kind is None:
            raise WrongValueError(
                f"optimizer must be one of keras.optimizers, such as adam or sgd; got {name!r}."
                f"{_checks.did_you_mean(name, kinds)}"
            )
        return kind.from_config(config)


def compiled_training(model: keras.Model) -> Training | None:
    """Return the optimizer, loss and metrics of a model, or :obj:`None` if it is not compiled."""
    if not model.compiled:
        return None
    # Keras warns about lambdas. An error follows below.
    with warnings.catch_warnings(action="ignore"):
        settings = model.get_compile_config()
    for name in ("loss_weights", "weighted_metrics"):
        if settings.get(name):
            raise WrongValueError(
                f"The model was compiled with {name}={settings[name]!r}, which is not used here. "
                "Omit it."
            )
    metrics = settings.get("metrics") or []
    optimizer = settings["optimizer"]
    if not isinstance(optimizer, str):
        optimizer = model.optimizer
    # The accuracy is always computed.
    more = tuple(metric for metric in metrics if metric not in ("accuracy", "acc"))
    try:
        return Training(optimizer, loss=model.loss, metrics=more)
    except WrongInputError as error:
        raise WrongValueError(f"The model's compilation: {error}") from None


def completed(training: Training, compiled: Training | None, default_loss: str) -> Training:
    """Return the training with unset settings from the compiled model, or else with defaults."""
    compiled = compiled or Training()
    optimizer = training.optimizer or compiled.optimizer or "adam"
    more = [metric for metric in training.metrics if metric not in compiled.metrics]
    rate = training.learning_rate
    if not isinstance(optimizer, dict):
        if rate is None:
            rate = 0.001
    elif rate is not None:
        # The passed learning rate replaces the optimizer's learning rate.
        config = {**optimizer["config"], "learning_rate": rate}
        optimizer = {**optimizer, "config": config}
        rate = None
    return dataclasses.replace(
        training,
        optimizer=optimizer,
        learning_rate=rate,
        loss=training.loss or compiled.loss or default_loss,
        metrics=(*compiled.metrics, *more),
    )


@dataclasses.dataclass(frozen=True)
class PaperModel(MLP):
    """One of the paper's six models (section 6.1), with its data set, training and metric.

    It trains on all 60,000 images of its dataset: ``load_dataset(..., validation_size=0)``.
    """

    dataset: str = "mnist"
    training: Training = dataclasses.field(default_factory=Training)
    metric: str = "train_accuracy"


_NORMAL = {"class_name": "RandomNormal", "config": {"mean": 0.0, "stddev": 1.0}}

PAPER_MODELS: Mapping[str, PaperModel] = MappingProxyType(
    {
        f"{name}-{n_hidden}": PaperModel(
            hidden=(256,) * n_hidden,
            # As in the authors' code, layers are linear and all initial values are N(0, 1).
            activation="linear",
            kernel_initializer=_NORMAL,
            bias_initializer=_NORMAL,
            dataset=dataset,
            training=Training("adam", 1e-3, batch_size=100, epochs=10, shuffle=False),
        )
        for name, dataset in (("MNIST", "mnist"), ("FMNIST", "fashion_mnist"))
        for n_hidden in (1, 2, 4)
    }
)
"""The paper's six models by name."""
