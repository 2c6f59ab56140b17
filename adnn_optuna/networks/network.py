"""From a model, or what is stored of one, to its architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adnn_optuna._checks import first_line
from adnn_optuna.networks._keras_architecture import KerasArchitecture
from adnn_optuna.networks._memory import is_out_of_memory
from adnn_optuna.networks._mlp_architecture import MLPArchitecture
from adnn_optuna.networks.keras_files import without_compilation
from adnn_optuna.networks.models import MLP

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras

    from adnn_optuna.networks._architecture import Architecture


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
            raise ValueError(
                "The stored model cannot be rebuilt from its configuration "
                f"({first_line(error)}); pass the objective again."
            ) from error

    return rebuild
