"""Keras configurations from others: nothing in them is executed, imported or read from a file."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from adnn_optuna._checks import first_line
from adnn_optuna.networks._memory import is_out_of_memory
from adnn_optuna.networks._random_state import undisturbed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# A network of this many parameters takes 400 MB, and a training of it some times as much.
MAX_PARAMETERS = 100_000_000
_MAX_DEPTH = 60
_MAX_CONFIG_BYTES = 32 * 2**20

# Values that Keras writes as if they were objects. `__lambda__` holds Python bytecode,
# `__typespec__` names a class of any module.
_VALUES = frozenset(
    {"__keras_tensor__", "__tensor__", "__numpy__", "__ellipsis__", "__slice__", "__bytes__"}
)
# They run code that a configuration brings along or names, or read files that it names.
_REFUSED_LAYERS = (
    "Lambda",
    "TFSMLayer",
    "TorchModuleWrapper",
    "JaxLayer",
    "FlaxLayer",
    "StringLookup",
    "IntegerLookup",
    "IndexLookup",
    "TextVectorization",
)
_FUNCTION_MODULES = ("builtins", "keras.activations", "keras.ops")


def read_model_config(path: Path) -> dict[str, Any]:
    """Return the configuration in a ``.keras`` file as JSON holds it; nothing is made of it.

    Args:
        path:
            The file.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is not a ``.keras`` file, or its configuration is too large.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            is_too_large = archive.getinfo("config.json").file_size > _MAX_CONFIG_BYTES
            config = None if is_too_large else json.loads(archive.read("config.json"))
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no file {str(path)!r}; check its path.") from None
    # A broken archive can raise anything that zipfile, zlib and codecs know.
    except Exception:  # noqa: BLE001
        is_too_large, config = False, None
    if is_too_large:
        raise ValueError(f"The configuration of the model in {str(path)!r} is too large.")
    if not isinstance(config, dict):
        raise ValueError(  # noqa: TRY004 - the file is of the wrong kind, not the argument.
            f"{str(path)!r} is not a .keras file; save the model with model.save('name.keras')."
        )
    return config


def check_keras_config(node: Any, path: str, *, depth: int = 0) -> None:
    """Refuse a configuration of anything but Keras's own layers, initializers and the like.

    Args:
        node:
            What Keras serialized, as JSON holds it.
        path:
            Where it stands, for the message.
        depth:
            How deep the walk is.

    Raises:
        ValueError: If it holds a lambda, a custom or unknown object, or a layer that runs code or
            reads files.
    """
    if depth > _MAX_DEPTH:
        raise ValueError(f"{path} is nested too deeply.")
    if isinstance(node, list):
        for i, child in enumerate(node):
            check_keras_config(child, f"{path}[{i}]", depth=depth + 1)
    if not isinstance(node, dict):
        return
    if "class_name" in node:
        _check_object(node, path)
    for key, child in node.items():
        check_keras_config(child, f"{path}.{key}", depth=depth + 1)


def _check_object(node: dict[str, Any], path: str) -> None:
    name, module, registered = (
        node["class_name"],
        node.get("module"),
        node.get("registered_name"),
    )
    if isinstance(name, str) and name in _VALUES:
        return
    if name == "function":
        name = node.get("config")
        is_known = module in _FUNCTION_MODULES and _is_function(name)
    else:
        is_known = isinstance(module, str) and isinstance(name, str) and _is_class(module, name)
    if not is_known or registered not in (None, name):
        raise ValueError(
            f"{path} is {module}.{name}, but only Keras's own layers and functions are rebuilt "
            "from a file, and none that runs code or reads files."
        )


def _is_function(name: Any) -> bool:
    import keras

    return isinstance(name, str) and any(
        callable(getattr(module, name, None)) for module in (keras.activations, keras.ops)
    )


def _is_class(module: str, name: str) -> bool:
    """Return whether this names one of Keras's classes for parts of models."""
    import keras

    # What Keras imported by itself already: nothing is imported because a file says so.
    if module.split(".", maxsplit=1)[0] != "keras" or module not in sys.modules:
        return False
    found = getattr(sys.modules[module], name, None)
    kinds = (
        keras.Operation,
        keras.Initializer,
        keras.Regularizer,
        keras.constraints.Constraint,
        keras.DTypePolicy,
        keras.Optimizer,
        keras.optimizers.schedules.LearningRateSchedule,
        keras.Loss,
        keras.Metric,
    )
    return (
        isinstance(found, type)
        and issubclass(found, kinds)
        and found.__module__.split(".", maxsplit=1)[0] == "keras"
        and not any(parent.__name__ in _REFUSED_LAYERS for parent in found.__mro__)
    )


def without_compilation(config: Any) -> Any:
    """Return a copy of a configuration, as JSON holds it, without what models were compiled with.

    Nothing here uses that, and Keras would make the optimizer's variables of it.

    Raises:
        TypeError: If it holds something that JSON cannot.
        ValueError: If it is nested too deeply.
    """
    try:
        return json.loads(json.dumps(config), object_hook=_without_compile_config)
    except RecursionError:
        raise ValueError("The configuration of the model is nested too deeply.") from None


def _without_compile_config(node: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key != "compile_config"}


@contextlib.contextmanager
def uninitialized_variables() -> Iterator[None]:
    """Let variables that are made meanwhile have shape and initializer, but no values.

    Each keeps its initializer, and no memory is taken for values.
    """
    import keras
    from keras.src.backend.common import global_state

    # Keras would give them their values when the next such scope ends.
    waiting = "uninitialized_variables"
    # A copy, as Keras appends to its list.
    before = list(global_state.get_global_attribute(waiting, []))
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        global_state.set_global_attribute(waiting, before)


def without_values(function: Callable[..., Any], *args: Any) -> Any:
    """Return what a function returns in a thread whose new variables have no values."""
    import keras

    def run() -> Any:
        with keras.StatelessScope(initialize_variables=False):
            return function(*args)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


def check_model_config(config: dict[str, Any], path: str) -> None:
    """Refuse a model's configuration that is unsafe, or larger than what may come from a file.

    What the model was compiled with is not looked at: see :func:`without_compilation`.

    Args:
        config:
            What Keras serialized, as JSON holds it.
        path:
            Where it stands, for the message.

    Raises:
        ValueError: If :func:`check_keras_config` or Keras refuses it, if it is not that of a
            model, or if its variables or the outputs of a layer for one example are too large.
    """
    import keras

    # A copy, for Keras empties it.
    config = without_compilation(config)
    check_keras_config(config, path)
    try:
        with undisturbed(), uninitialized_variables():
            model = keras.saving.deserialize_keras_object(config, safe_mode=True)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        # Each class refuses arguments in its own way.
        raise ValueError(f"{path} is refused by Keras ({first_line(error)}).") from None
    if not isinstance(model, keras.Model):
        raise ValueError(f"{path} is not the configuration of a keras.Model.")  # noqa: TRY004
    check_parameter_count(sum(math.prod(variable.shape) for variable in model.variables), path)
    for operation in getattr(model, "operations", ()):
        for output in (
            operation.output if isinstance(operation.output, list) else [operation.output]
        ):
            size = math.prod(n or 1 for n in output.shape)
            if size > MAX_PARAMETERS:
                raise ValueError(
                    f"{path} has a layer {operation.name!r} with {size:,} outputs: too many."
                )


def check_parameter_count(count: int, path: str) -> None:
    """Refuse a network with more than :data:`MAX_PARAMETERS` parameters."""
    if count > MAX_PARAMETERS:
        raise ValueError(
            f"{path} has {count:,} parameters, more than the {MAX_PARAMETERS:,} that are rebuilt "
            "from a file."
        )
