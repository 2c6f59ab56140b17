"""Optimizers, losses, metrics and the like of Keras, given by name or as objects, for JSON."""

import json
import re
from typing import Any, cast

from adnn_optuna import _checks
from adnn_optuna._checks import WrongTypeError, WrongValueError

# What an object is set by is of these types, but what it was used for or called is no setting.
_PLAIN = bool | int | float | str | dict | set | re.Pattern
_NO_SETTINGS = {"built", "name", "seed", "_trainable_variables_indices"}


def name_or_config(name: str, value: Any, *, keep_name: bool = False) -> str | dict[str, Any]:
    """Bring a Keras name, configuration or object into the form that JSON can hold.

    Classes and functions of the user's are those that are registered. Of an optimizer that scales
    losses it is the one within: they are scaled wherever a model computes in float16.
    """
    own = None
    is_object = hasattr(value, "get_config")
    if (is_object or hasattr(value, "__name__")) and not isinstance(value, type):
        import keras

        value = getattr(value, "inner_optimizer", value)
        kind = type(value) if is_object else value
        # By its module, since a class of the user's may bear the name of one of Keras's.
        if str(kind.__module__).startswith("keras."):
            _check_is_all_in_config(name, value)
        else:
            own = keras.saving.get_registered_name(kind)
            _check_is_registered(name, own)
        value = keras.saving.serialize_keras_object(value)
    if isinstance(value, dict) and value.get("class_name") == "function":
        value = value.get("config")
    elif isinstance(value, dict) and (own := value.get("registered_name")):
        _check_is_registered(name, own)
    if isinstance(value, str):
        return value
    class_name = own or (value.get("class_name") if isinstance(value, dict) else None)
    if not isinstance(class_name, str):
        raise WrongTypeError(
            f"{name} must be a Keras name, a dict as Keras serializes it (such as "
            "{'class_name': 'RandomNormal', 'config': {'stddev': 1.0}}) or an object of one of "
            f"Keras's own classes, but it is {value!r}."
        )
    # As it comes back from a study's storage: tuples are lists there.
    config = json.loads(json.dumps(value.get("config") or {}, allow_nan=False))
    # Keras numbers the names of optimizers over the whole process: equal ones would differ.
    own_name = str(config.pop("name", ""))
    if keep_name:
        # Without the number, unless it is a name of the user's.
        base = re.sub(r"_\d+$", "", own_name)
        is_numbered = base.replace("_", "") == class_name.lower()
        config["name"] = base if is_numbered else own_name
    return {"class_name": class_name, "config": config}


def _check_is_registered(what: str, own: str) -> None:
    import keras

    if keras.saving.get_registered_object(own) is None:
        raise WrongTypeError(
            f"{what} is of {own!r}, which is not registered: decorate it by "
            "keras.saving.register_keras_serializable, or use one of Keras's own classes."
        )


def _check_is_all_in_config(what: str, value: Any) -> None:
    """Refuse an object of Keras's that another one of its configuration does not equal."""
    if not hasattr(value, "get_config") or "seed" in vars(value):
        return  # Another initializer would draw its seed from Python's global source.
    again = vars(type(value).from_config(value.get_config()))
    for name, found in vars(value).items():
        is_setting = name not in _NO_SETTINGS and not name.startswith("_self_")
        is_set = is_setting and isinstance(found, _PLAIN) and bool(found)
        if is_set and repr(found) != repr(again.get(name)):
            raise WrongValueError(
                f"{what} {type(value).__name__!r} has {name.strip('_')} = {found}, which Keras "
                "leaves out of its configuration, so that it cannot be stored: say it by a dict "
                "{'class_name': …, 'config': …} where the class takes it as an argument, or leave "
                "it out."
            )


def checked_rate(rate: Any) -> float | dict[str, Any] | None:
    """Return a learning rate or the configuration of a schedule, as JSON holds them."""
    if rate is None:
        return None
    if isinstance(rate, dict) or hasattr(rate, "get_config"):
        config = cast("dict[str, Any]", name_or_config("learning_rate", rate))
        # One of the user's has a registered name, which begins with a package and ">".
        own = {"registered_name": config["class_name"]} if ">" in config["class_name"] else {}
        return {"module": "keras.optimizers.schedules", **config, **own}
    _checks.check_positive("learning_rate", rate)
    return float(rate)
