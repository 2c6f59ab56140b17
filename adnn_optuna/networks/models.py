"""What is trained and how: the MLP, the training settings and the paper's six models."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Iterable
from numbers import Real
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from adnn_optuna._checks import (
    WrongTypeError,
    WrongValueError,
    as_positive_int,
    first_line,
    is_finite,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import keras


def _as_keras_name_or_config(name: str, value: object) -> str | dict[str, Any]:
    """Bring a Keras name, configuration or object into the form that JSON can hold."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        class_name, config = value.get("class_name"), value.get("config") or {}
        if not isinstance(class_name, str) or not isinstance(config, dict):
            raise WrongTypeError(
                f"{name} is {value!r}; write a dict as Keras serializes it, "
                "e.g. {'class_name': 'RandomNormal', 'config': {'stddev': 1.0}}."
            )
    # By its module, since a class of the user's may bear the name of one of Keras's.
    elif type(value).__module__.startswith("keras.") and hasattr(value, "get_config"):
        class_name, config = type(value).__name__, value.get_config()
    else:
        raise WrongTypeError(
            f"{name} must be a Keras name, a Keras configuration or an object of one of Keras's "
            f"own classes, but it is {value!r}."
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

    It holds names and numbers only, so building one imports neither Keras nor TensorFlow.

    Example:
        >>> MLP(hidden=(256, 256), activation="relu", kernel_initializer="he_normal").hidden
        (256, 256)

    Args:
        hidden: The number of units of each hidden layer.
        activation: The Keras name of the hidden layers' activation; the output layer has none.
        kernel_initializer: The initializer of every kernel, the output layer's too: a Keras name,
            a Keras configuration (``{"class_name": ..., "config": ...}``) or an initializer
            object, whose seed is replaced by one derived from the objective's seed.
        bias_initializer: The same for every bias.

    Raises:
        ValueError: If there is no hidden layer or a size is not a positive whole number.
        TypeError: If an initializer or the activation is none of the above.
    """

    hidden: tuple[int, ...] = (64,)
    activation: str = "relu"
    kernel_initializer: str | dict[str, Any] = "glorot_uniform"
    bias_initializer: str | dict[str, Any] = "zeros"

    def __post_init__(self) -> None:
        hidden: Any = self.hidden
        if isinstance(hidden, str) or not isinstance(hidden, Iterable):
            raise WrongTypeError(
                "hidden must be a sequence with the size of each hidden layer, such as (64, 64) "
                f"or (64,), but it is {hidden!r}."
            )
        sizes = tuple(
            as_positive_int(f"The size of hidden layer {i}", n) for i, n in enumerate(hidden)
        )
        if not sizes:
            raise WrongValueError("hidden is empty, but an MLP needs at least one hidden layer.")
        object.__setattr__(self, "hidden", sizes)
        if not isinstance(self.activation, str):
            raise WrongTypeError(
                f"activation must be a Keras name, but it is {self.activation!r}."
            )
        for name in ("kernel_initializer", "bias_initializer"):
            object.__setattr__(self, name, _as_keras_name_or_config(name, getattr(self, name)))

    @property
    def config(self) -> dict[str, Any]:
        """The settings as JSON holds them."""
        # Those of PaperModel, a subclass, are no part of it.
        settings = {field.name: getattr(self, field.name) for field in dataclasses.fields(MLP)}
        return {"type": "MLP", **copy.deepcopy(settings), "hidden": list(self.hidden)}


# Optimizers whose update of one weight depends on that weight alone. Others (LAMB, Muon,
# Adafactor) look at whole kernels.
ELEMENTWISE_OPTIMIZERS = frozenset(
    {"sgd", "rmsprop", "adam", "adamw", "adagrad", "adadelta", "adamax", "ftrl", "nadam", "lion"}
)

_REFUSED_OPTIONS = {
    "clipnorm": "a norm looks at more than one weight: use clipvalue",
    "global_clipnorm": "a norm looks at more than one weight: use clipvalue",
    "use_ema": "the average would not be what is evaluated: leave it out",
    "loss_scale_factor": "trainings run in float32, where losses need no scale: leave it out",
}

# The positive numbers that float32 holds with full precision.
_SMALLEST, _LARGEST = 2.0**-126, (2 - 2.0**-23) * 2.0**127


@dataclasses.dataclass(frozen=True)
class Training:
    """How a network is trained.

    Args:
        optimizer: The Keras name of an optimizer that updates each weight by itself, its Keras
            configuration, or an optimizer object (of which the configuration is taken).
        learning_rate: The learning rate; not used where ``optimizer`` is a configuration or an
            object, which bring their own.
        batch_size: The number of examples of a batch; the last one of an epoch may be smaller.
        epochs: How often the training set is gone through.
        shuffle: Whether the batches are drawn in a new order in each epoch, seeded by the
            objective's seed; otherwise they come in the order of the data.
        loss: The Keras name of a loss on integer or one-hot labels. Cross-entropies are computed
            from logits, unless a model of the user's own ends in a softmax.

    Raises:
        TypeError: If a setting is of the wrong type.
        ValueError: If a number is out of range or the optimizer is not one that works weight by
            weight.
    """

    optimizer: str | dict[str, Any] = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 32
    epochs: int = 10
    shuffle: bool = True
    loss: str = "sparse_categorical_crossentropy"

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs"):
            object.__setattr__(self, name, as_positive_int(name, getattr(self, name)))
        rate = self.learning_rate
        if isinstance(rate, bool) or not isinstance(rate, Real):
            raise WrongTypeError(f"learning_rate must be a number, but it is {rate!r}.")
        if not (is_finite(rate) and _SMALLEST <= rate <= _LARGEST):
            raise WrongValueError(
                f"learning_rate must be a positive number from {_SMALLEST:.2g} to {_LARGEST:.2g}, "
                f"as trainings run in float32, but it is {rate!r}."
            )
        object.__setattr__(self, "learning_rate", float(rate))
        if not isinstance(self.shuffle, bool):
            raise WrongTypeError(f"shuffle must be True or False, but it is {self.shuffle!r}.")
        if not isinstance(self.loss, str):
            raise WrongTypeError(
                f"loss must be the Keras name of a loss, but it is {self.loss!r}."
            )
        optimizer = _as_keras_name_or_config("optimizer", self.optimizer)
        name, config = optimizer, {}
        if isinstance(optimizer, dict):
            name, config = optimizer["class_name"], optimizer["config"]
        else:
            optimizer = optimizer.lower()
        object.__setattr__(self, "optimizer", optimizer)
        if name.lower() not in ELEMENTWISE_OPTIMIZERS:
            raise WrongValueError(
                f"optimizer is {name!r}, but it must be one that updates each weight by itself: "
                f"{', '.join(sorted(ELEMENTWISE_OPTIMIZERS))}."
            )
        for option, why in _REFUSED_OPTIONS.items():
            if config.get(option):
                raise WrongValueError(f"optimizer has {option}={config[option]!r}, but {why}.")

    @property
    def config(self) -> dict[str, Any]:
        """The settings as JSON holds them."""
        return dataclasses.asdict(self)

    def build_optimizer(self) -> keras.optimizers.Optimizer:
        """Return a fresh Keras optimizer with these settings.

        Raises:
            ValueError: If Keras does not know one of the settings.
        """
        import keras

        name: Any = self.optimizer
        config: dict[str, Any] = {"learning_rate": self.learning_rate}
        if not isinstance(name, str):
            # A copy, as Keras fills in `config` in place.
            name, config = name["class_name"], copy.deepcopy(name["config"])
        try:
            return keras.optimizers.get({"class_name": name, "config": config})
        except (TypeError, ValueError) as error:
            raise WrongValueError(
                f"Keras cannot make the optimizer {name!r} with {config!r} ({first_line(error)})."
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


def _paper_model(dataset: str, hidden_layers: int, published_accuracy: float) -> PaperModel:
    # Linear layers and N(0, 1) everywhere, as in the authors' code.
    normal = {"class_name": "RandomNormal", "config": {"mean": 0.0, "stddev": 1.0}}
    return PaperModel(
        hidden=(256,) * hidden_layers,
        activation="linear",
        kernel_initializer=normal,
        bias_initializer=normal,
        dataset=dataset,
        training=Training("adam", 1e-3, batch_size=100, epochs=10, shuffle=False),
        published_accuracy=published_accuracy,
    )


PAPER_MODELS: Mapping[str, PaperModel] = MappingProxyType(
    {
        "MNIST-1": _paper_model("mnist", 1, 0.886),
        "MNIST-2": _paper_model("mnist", 2, 0.885),
        "MNIST-4": _paper_model("mnist", 4, 0.872),
        "FMNIST-1": _paper_model("fashion_mnist", 1, 0.815),
        "FMNIST-2": _paper_model("fashion_mnist", 2, 0.816),
        "FMNIST-4": _paper_model("fashion_mnist", 4, 0.802),
    }
)
"""The paper's six models by name."""
