"""Models from Keras configurations, built without side effects and without running their code."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import json
import math
import random
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from adnn_optuna._attributes import Json
from adnn_optuna._checks import NoSuchFileError, WrongValueError, first_line
from adnn_optuna.networks._tensorflow import load_tensorflow
from adnn_optuna.networks.models import MLP

if TYPE_CHECKING:
    import keras

# A network with this number of parameters takes 400 MB, and its training takes several times as
# much.
MAX_PARAMETERS = 100_000_000
# The maximum number of layers and parts of layers in a model. Keras's own largest model has half
# of it.
MAX_OBJECTS = 10_000
OBJECTS = "layers and parts of such"
# The largest number or list length in the settings of a loss or a metric. A metric's memory may
# grow with the square of this number.
_MAX_ARGUMENT = 1_000
_MAX_METRICS = 100
_MAX_DEPTH = 60
_MAX_CONFIG_BYTES = 32 * 2**20

# Keras writes these values like objects. `__lambda__` is not allowed because it contains Python
# bytecode, and `__typespec__` because it names a class of any module.
_VALUES = {"__keras_tensor__", "__tensor__", "__numpy__", "__ellipsis__", "__slice__", "__bytes__"}
# The base classes of the parts of models.
_PARTS = {"Operation", "Initializer", "Regularizer", "Constraint", "DTypePolicy", "Optimizer"}
_PARTS |= {"LearningRateSchedule", "Loss", "Metric"}
# These layers run code that a configuration contains or names, or read files that it names.
_REFUSED_LAYERS = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
_REFUSED_LAYERS |= {"IndexLookup", "IntegerLookup", "StringLookup", "TextVectorization"}

_Result = TypeVar("_Result")

# Keras draws default seeds from Python's and NumPy's global random sources, so two threads must
# not build models at once. Code that runs under the lock may acquire it again, also in a new
# thread with a copy of the context.
_lock = threading.Lock()
_is_held = contextvars.ContextVar("is_held", default=False)


@contextlib.contextmanager
def undisturbed(seed: int | None = None) -> Iterator[None]:
    """Restore Python's and NumPy's global random states after the with-block.

    If ``seed`` is set, both random states have this seed at the start of the block.
    """
    with contextlib.nullcontext() if _is_held.get() else _lock:
        token = _is_held.set(True)
        python_state = random.getstate()
        numpy_state = np.random.get_state()  # noqa: NPY002
        try:
            if seed is not None:
                random.seed(seed)
                np.random.seed(seed)  # noqa: NPY002
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
            _is_held.reset(token)


def in_fresh_thread(
    function: Callable[..., _Result], *args: Any, with_values: bool = True, **kwargs: Any
) -> _Result:
    """Call a function in a new thread, in which Keras numbers names from the start again.

    The thread has the caller's dtype policy. Without ``with_values``, variables get no values.
    """
    import keras

    set_policy = policy_of_caller()
    context = contextvars.copy_context()

    def call() -> _Result:
        set_policy()
        without = keras.StatelessScope(initialize_variables=False)
        with contextlib.nullcontext() if with_values else without:
            return context.run(function, *args, **kwargs)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(call).result()


def policy_of_caller() -> Callable[[], None]:
    """Return a function that sets this thread's Keras dtype policy in the thread that calls it."""
    keras = sys.modules.get("keras")
    if keras is None:
        return lambda: None
    return functools.partial(keras.config.set_dtype_policy, keras.config.dtype_policy())


def check_keras_config(node: Any, path: str, *, largest: float = math.inf, depth: int = 0) -> None:
    """Raise an error for large numbers, and for classes that are unsafe or not Keras's.

    Unsafe classes run code or read files.

    No integer and no list length may exceed ``largest``.
    """
    if depth > _MAX_DEPTH:
        raise WrongValueError(f"{path} is nested too deeply.")
    size = 0
    if isinstance(node, list):
        size = len(node)
    elif isinstance(node, int):
        size = abs(node)
    if size > largest:
        raise WrongValueError(f"{path} asks for {size:,}, more than {largest:,}.")
    children: dict[str, Any] = {}
    if isinstance(node, dict):
        children = {f".{key}": child for key, child in node.items()}
        if "class_name" in node:
            _check_object(node, path)
    elif isinstance(node, list):
        children = {f"[{i}]": child for i, child in enumerate(node)}
    for key, child in children.items():
        check_keras_config(child, path + key, largest=largest, depth=depth + 1)


def _check_object(node: Json, path: str) -> None:
    # Keras is loaded as a whole, so no file decides which module is imported.
    load_tensorflow("A part of a model")
    name = str(node["class_name"])
    module = str(node.get("module"))
    if name in _VALUES:
        return
    keras_object = getattr(sys.modules.get(module), name, None)
    own_module = str(getattr(keras_object, "__module__", ""))
    packages = {module.partition(".")[0], own_module.partition(".")[0]}
    parents = {parent.__name__ for parent in getattr(keras_object, "__mro__", ())}
    is_part = not parents.isdisjoint(_PARTS) and parents.isdisjoint(_REFUSED_LAYERS)
    if packages != {"keras"} or not is_part or node.get("registered_name") not in (None, name):
        raise WrongValueError(
            f"{path} is {module}.{name}, but only Keras's own classes are rebuilt from a file, "
            "and none that runs code or reads files."
        )


def check_training_config(training: Mapping[str, Any]) -> None:
    """Raise an error for an optimizer, loss or metric that is unsafe, or not Keras's own."""
    path = "objective.training"
    metrics = training["metrics"]
    if len(metrics) > _MAX_METRICS:
        raise WrongValueError(f"{path}.metrics has more than {_MAX_METRICS} entries.")
    _check_part(training["optimizer"], "optimizers", f"{path}.optimizer")
    _check_part(training["learning_rate"], "optimizers.schedules", f"{path}.learning_rate")
    _check_part(training["loss"], "losses", f"{path}.loss", largest=_MAX_ARGUMENT)
    for i, metric in enumerate(metrics):
        _check_part(metric, "metrics", f"{path}.metrics[{i}]", largest=_MAX_ARGUMENT)


def _check_part(settings: Any, kind: str, path: str, *, largest: float = math.inf) -> None:
    if isinstance(settings, dict):
        config = {**settings, "module": f"keras.{kind}"}
        check_keras_config(config, path, largest=largest)


def check_model_config(config: Json, path: str) -> None:
    """Raise an error for a configuration that is unsafe, too large, or not of a model."""
    load_tensorflow("A Keras model")
    import keras

    config = without_compilation(config)  # A copy, because Keras empties what it reads.
    check_count(json.dumps(config).count('"class_name":'), OBJECTS, path, MAX_OBJECTS)
    check_keras_config(config, path)
    try:
        with undisturbed():
            # If this thread built the model, Keras would later allocate the model's variables.
            deserialize = keras.saving.deserialize_keras_object
            model = in_fresh_thread(deserialize, config, with_values=False, safe_mode=True)
    except Exception as error:  # noqa: BLE001 - each class refuses arguments in its own way.
        raise WrongValueError(f"{path} is refused by Keras ({first_line(error)}).") from None
    if not isinstance(model, keras.Model):
        raise WrongValueError(f"{path} is not the configuration of a keras.Model.")
    n_parameters = sum(math.prod(variable.shape) for variable in model.variables)
    check_count(n_parameters, "parameters", path, MAX_PARAMETERS)
    # A sequential model may have only layers. Layers that are not built have no outputs yet.
    for operation in getattr(model, "operations", model.layers):
        outputs = getattr(operation, "output", [])
        for output in keras.tree.flatten(outputs):
            size = math.prod(n or 1 for n in output.shape)
            check_count(size, "outputs", f"{path}: layer {operation.name!r}", MAX_PARAMETERS)


def check_count(count: int, what: str, path: str, most: int) -> None:
    """Raise an error for a count above ``most``, the largest count for rebuilding from a file."""
    if count > most:
        raise WrongValueError(
            f"{path} has {count:,} {what}, more than the {most:,} that are rebuilt from a file."
        )


def without_compilation(config: Any) -> Any:
    """Return a copy of a JSON configuration without its compilation."""
    # From a compile_config, Keras would create variables. A shared_object_id is a memory address.
    left_out = ("compile_config", "shared_object_id")

    def without(node: Json) -> Json:
        return {key: node[key] for key in node if key not in left_out}

    return json.loads(json.dumps(config), object_hook=without)


def describe_model(model: keras.Model) -> Json:
    """Return a model's configuration, or only the class if JSON cannot hold an argument."""
    import keras

    with contextlib.suppress(Exception):  # A user-defined class may raise any error.
        return without_compilation(keras.saving.serialize_keras_object(model))
    return {"class_name": type(model).__name__}


def model_from_config(config: Json) -> MLP | Callable[[], keras.Model]:
    """Return the MLP of a ``config``, or a callable that builds its Keras model.

    If the model cannot be rebuilt, the callable raises an error.
    """
    if config["type"] == "MLP":
        settings = {key: value for key, value in config.items() if key != "type"}
        return MLP(**settings)

    def rebuild() -> keras.Model:
        import keras

        described = without_compilation(config["model"])  # A copy: Keras empties what it reads.
        problem = f"no configuration can hold the arguments of {described['class_name']}"
        if "config" in described:
            try:
                # `safe_mode` rejects lambdas, because nothing in a configuration is executed.
                return keras.saving.deserialize_keras_object(described, safe_mode=True)
            except Exception as error:  # noqa: BLE001 - classes refuse arguments in any way.
                problem = first_line(error)
        raise WrongValueError(
            f"The stored model cannot be rebuilt from its configuration ({problem}); pass the "
            "objective again, in Python."
        )

    return rebuild


def model_from_file(path: Path) -> Callable[[], keras.Model]:
    """Return a callable that builds the model of a ``.keras`` file, without its weights."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("config.json") as file:
            # A larger file is cut off, so it is not valid JSON.
            config = json.loads(file.read(_MAX_CONFIG_BYTES))
    except FileNotFoundError:
        raise NoSuchFileError(f"File {str(path)!r} not found. Check its path.") from None
    # A broken archive can raise any error of zipfile, zlib and codecs.
    except Exception:  # noqa: BLE001
        config = None
    if not isinstance(config, dict):
        raise WrongValueError(
            f"{str(path)!r} is not a .keras file. Save the model by model.save('name.keras')."
        )
    check_model_config(config, "model")
    build = model_from_config({"type": "keras.Model", "model": config})
    return cast("Callable[[], keras.Model]", build)
