"""What a compiled Keras model says of its training, and what is trained by in the end."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import optuna

from adnn_optuna._checks import WrongInputError, WrongValueError
from adnn_optuna.networks.heads import Head
from adnn_optuna.networks.models import Training

if TYPE_CHECKING:
    import keras

_logger = optuna.logging.get_logger("optuna.adnn_optuna")

# What `compile` takes beside optimizer, loss and metrics, and would change what is trained.
_REFUSED = ("loss_weights", "weighted_metrics", "run_eagerly")
# Of these metrics, each network's own is known in any case, or it is the loss.
_KNOWN_METRICS = ("accuracy", "acc", "crossentropy", "ce")


def compiled_training(model: keras.Model) -> Training | None:
    """Return the optimizer, loss and metrics of a compiled model; :obj:`None` of any other.

    Raises:
        ValueError: If it was compiled with something that trainings here do not use.
    """
    import keras

    if not model.compiled:
        return None
    how = "compile the model without it, or not at all, and say it by Training"
    if type(model).compile is not keras.Model.compile:
        name = type(model).__name__
        raise WrongValueError(f"The model's class {name} has a compile of its own; {how}.")
    try:
        settings = model.get_compile_config()
    except Exception:  # noqa: BLE001 - whatever an own function or class does when it is written.
        raise WrongValueError(
            "The model was compiled with a function or class of your own, which no configuration "
            f"holds; {how}."
        ) from None
    for name in _REFUSED:
        if settings.get(name):
            said = f"The model was compiled with {name}={settings[name]!r}"
            raise WrongValueError(f"{said}, which trainings here do not use; {how}.")
    metrics = settings.get("metrics") or []
    try:
        return Training(
            _without_module(settings["optimizer"]),
            loss=_without_module(settings.get("loss")),
            metrics=tuple(_without_module(m) for m in metrics if m not in _KNOWN_METRICS),
        )
    except WrongInputError as error:
        raise WrongValueError(f"The model's compilation: {error}") from None


def _without_module(settings: Any) -> Any:
    """Return a name for a function of Keras's own, which is written as an object."""
    is_function = isinstance(settings, dict) and settings.get("class_name") == "function"
    return settings["config"] if is_function and settings["module"] == "builtins" else settings


def completed(training: Training, compiled: Training | None, head: Head) -> Training:
    """Return what a network is trained by: as asked for, as it was compiled, or by default."""
    changes: dict[str, Any] = {}
    if compiled is not None:
        for name in ("optimizer", "loss"):
            given, own = getattr(training, name), getattr(compiled, name)
            if given is None:
                changes[name] = own
            elif given != own:
                said = "The training's %s is %s, not that which the model was compiled with."
                _logger.info(said, name, given)
        changes["metrics"] = (
            *compiled.metrics,
            *(metric for metric in training.metrics if metric not in compiled.metrics),
        )
    training = dataclasses.replace(training, **changes)
    optimizer, rate = training.optimizer or "adam", training.learning_rate
    if isinstance(optimizer, dict):
        # That of an optimizer that the model brings along is another one where it was given.
        if rate is not None:
            config = {**optimizer["config"], "learning_rate": rate}
            optimizer, rate = {**optimizer, "config": config}, None
    elif rate is None:
        rate = 0.001
    loss = training.loss or head.default_loss
    return dataclasses.replace(training, optimizer=optimizer, learning_rate=rate, loss=loss)
