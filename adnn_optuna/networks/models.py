"""What is trained and how: the MLP, the training settings and the paper's six models."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from numbers import Real
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from adnn_optuna._checks import (
    WrongTypeError,
    WrongValueError,
    as_positive_int,
    check_type,
    first_line,
)

if TYPE_CHECKING:
    import keras


def _as_keras_name_or_config(name: str, value: object) -> str | dict[str, Any]:
    """Bring a Keras name, configuration or object into the form that JSON can hold."""
    if isinstance(value, str):
        return value
    class_name = config = None
    if isinstance(value, dict):
        class_name, config = value.get("class_name"), value.get("config") or {}
    # By its module, since a class of the user's may bear the name of one of Keras's.
    elif type(value).__module__.startswith("keras.") and hasattr(value, "get_config"):
        class_name, config = type(value).__name__, value.get_config()
    if not isinstance(class_name, str) or not isinstance(config, dict):
        raise WrongTypeError(
            f"{name} must be a Keras name, a dict as Keras serializes it (such as "
            "{'class_name': 'RandomNormal', 'config': {'stddev': 1.0}}) or an object of one of "
            f"Keras's own classes, but it is {value!r}."
        )
    try:
        # As it comes back from a study's storage: tuples are lists there.
        config = json.loads(json.dumps(config, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise WrongValueError(
            f"The configuration of {name} {class_name!r} must hold finite numbers, strings and "
            f"lists only, to be stored as JSON ({error})."
        ) from None
    # Keras numbers the names of optimizers over the whole process: equal ones would differ.
    config.pop("name", None)
    return {"class_name": class_name, "config": config}


@dataclasses.dataclass(frozen=True)
class MLP:
    """A multilayer perceptron: flatten, hidden dense layers, one dense output layer of logits.

    Example:
        >>> MLP(hidden=(256, 256), activation="relu", kernel_initializer="he_normal").hidden
        (256, 256)

    Args:
        hidden: The number of units of each hidden layer, at least one.
        activation: The Keras name of the hidden layers' activation; the output layer has none.
        kernel_initializer: Of all kernels: a Keras name, a Keras configuration
            (``{"class_name": ..., "config": ...}``) or an object, whose seed is replaced.
        bias_initializer: The same for every bias.

    Raises:
        TypeError: If an argument is none of the above.
        ValueError: If a size is not a positive whole number, or there is none.
    """

    hidden: tuple[int, ...] = (64,)
    activation: str = "relu"
    kernel_initializer: str | dict[str, Any] = "glorot_uniform"
    bias_initializer: str | dict[str, Any] = "zeros"

    def __post_init__(self) -> None:
        hidden: Any = self.hidden
        if isinstance(hidden, str) or not isinstance(hidden, Iterable):
            raise WrongTypeError(
                f"hidden must be a sequence of sizes, such as (64, 64) or (64,), not {hidden!r}."
            )
        sizes = tuple(
            as_positive_int(f"The size of hidden layer {i}", n) for i, n in enumerate(hidden)
        )
        if not sizes:
            raise WrongValueError("hidden is empty, but an MLP needs at least one hidden layer.")
        object.__setattr__(self, "hidden", sizes)
        check_type("activation", self.activation, str, "a Keras name")
        for name in ("kernel_initializer", "bias_initializer"):
            object.__setattr__(self, name, _as_keras_name_or_config(name, getattr(self, name)))

    @property
    def config(self) -> dict[str, Any]:
        """The settings as JSON holds them."""
        # Those of PaperModel, a subclass, are no part of it.
        settings = {field.name: getattr(self, field.name) for field in dataclasses.fields(MLP)}
        return {"type": "MLP", **copy.deepcopy(settings), "hidden": list(self.hidden)}


# Others (LAMB, Muon, Adafactor) look at whole kernels.
_ELEMENTWISE_OPTIMIZERS = (
    *("adadelta", "adagrad", "adam", "adamax", "adamw"),
    *("ftrl", "lion", "nadam", "rmsprop", "sgd"),
)
_NORM = "a norm looks at more than one weight: use clipvalue"
_REFUSED_OPTIONS = {
    "clipnorm": _NORM,
    "global_clipnorm": _NORM,
    "use_ema": "the average would not be what is evaluated: leave it out",
    "loss_scale_factor": "trainings run in float32, where losses need no scale: leave it out",
}

# The positive numbers that float32 holds with full precision.
_SMALLEST, _LARGEST = 2.0**-126, (2 - 2.0**-23) * 2.0**127


@dataclasses.dataclass(frozen=True)
class Training:
    """How a network is trained.

    Args:
        optimizer: The Keras name, configuration or object of an optimizer that updates each weight
            by itself.
        learning_rate: Of an optimizer that is given by its name; the others bring their own.
        batch_size: The number of examples of a batch; the last one of an epoch may be smaller.
        epochs: How often the training set is gone through.
        shuffle: Whether each epoch has an order of its own, which follows from the seed.
        loss: The Keras name of a loss on integer or one-hot labels. Cross-entropies are computed
            from logits, unless a model of the user's own ends in a softmax.
        jit_compile: Whether XLA compiles the training, as in Keras. ``"auto"``: where that is
            faster on a CPU, which it is without convolutions, pooling and random operations. (The
            same rule holds on a GPU, untested.) The bits of both differ.

    Raises:
        TypeError: If a setting is of the wrong type.
        ValueError: If a number is out of range, or the optimizer looks at more than one weight.
    """

    optimizer: str | dict[str, Any] = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 32
    epochs: int = 10
    shuffle: bool = True
    loss: str = "sparse_categorical_crossentropy"
    jit_compile: bool | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs"):
            object.__setattr__(self, name, as_positive_int(name, getattr(self, name)))
        check_type("learning_rate", self.learning_rate, Real, "a number")
        if not _SMALLEST <= self.learning_rate <= _LARGEST:
            raise WrongValueError(
                f"learning_rate must be a positive number from {_SMALLEST:.2g} to {_LARGEST:.2g}, "
                f"as trainings run in float32, but it is {self.learning_rate!r}."
            )
        object.__setattr__(self, "learning_rate", float(self.learning_rate))
        check_type("shuffle", self.shuffle, bool, "True or False")
        check_type("loss", self.loss, str, "the Keras name of a loss")
        if self.jit_compile != "auto":
            check_type("jit_compile", self.jit_compile, bool, "True, False or 'auto'")
        optimizer = _as_keras_name_or_config("optimizer", self.optimizer)
        if isinstance(optimizer, str):
            name, config, optimizer = optimizer, {}, optimizer.lower()
        else:
            name, config = optimizer["class_name"], optimizer["config"]
        object.__setattr__(self, "optimizer", optimizer)
        if name.lower() not in _ELEMENTWISE_OPTIMIZERS:
            raise WrongValueError(
                f"optimizer is {name!r}, but it must be one that updates each weight by itself: "
                f"{', '.join(_ELEMENTWISE_OPTIMIZERS)}."
            )
        for option, why in _REFUSED_OPTIONS.items():
            if config.get(option):
                raise WrongValueError(f"optimizer has {option}={config[option]!r}, but {why}.")

    @property
    def config(self) -> dict[str, Any]:
        """The settings as JSON holds them."""
        return dataclasses.asdict(self)

    def build_optimizer(self) -> keras.optimizers.Optimizer:
        """Return a fresh Keras optimizer; raise ValueError where Keras does not know a setting."""
        import keras

        optimizer: Any = self.optimizer
        if isinstance(optimizer, str):
            config = {"learning_rate": self.learning_rate}
            optimizer = {"class_name": optimizer, "config": config}
        try:
            # Of a copy, as Keras fills it in.
            return keras.optimizers.get(copy.deepcopy(optimizer))
        except (TypeError, ValueError) as error:
            raise WrongValueError(
                f"Keras cannot make the optimizer {optimizer['class_name']!r} with "
                f"{optimizer['config']!r} ({first_line(error)})."
            ) from None


@dataclasses.dataclass(frozen=True)
class PaperModel(MLP):
    """One of the paper's six models (section 6.1), with the rest of its setting."""

    dataset: str = "mnist"
    """Of which the paper trains on all 60,000 images: ``load_dataset(..., validation_size=0)``."""
    training: Training = dataclasses.field(default_factory=Training)
    metric: str = "train_accuracy"
    """What the paper selects by."""
    published_accuracy: float = math.nan
    """The baseline's accuracy in the paper, as a fraction."""


# The baselines' accuracies in the paper, by the data set and by the number of hidden layers.
_PUBLISHED = {
    ("MNIST", "mnist"): {1: 0.886, 2: 0.885, 4: 0.872},
    ("FMNIST", "fashion_mnist"): {1: 0.815, 2: 0.816, 4: 0.802},
}
_NORMAL = {"class_name": "RandomNormal", "config": {"mean": 0.0, "stddev": 1.0}}

PAPER_MODELS: Mapping[str, PaperModel] = MappingProxyType(
    {
        f"{name}-{n_hidden}": PaperModel(
            hidden=(256,) * n_hidden,
            # Linear layers and N(0, 1) everywhere, as in the authors' code.
            activation="linear",
            kernel_initializer=_NORMAL,
            bias_initializer=_NORMAL,
            dataset=dataset,
            training=Training("adam", 1e-3, batch_size=100, epochs=10, shuffle=False),
            published_accuracy=accuracy,
        )
        for (name, dataset), published in _PUBLISHED.items()
        for n_hidden, accuracy in published.items()
    }
)
"""The paper's six models by name."""
