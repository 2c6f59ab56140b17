"""Optimizers, losses, metrics and the like of Keras, given by name or as objects, for JSON."""

import contextlib
import json
import re
from numbers import Real
from typing import Any, cast

from adnn_optuna import _checks
from adnn_optuna._checks import WrongTypeError, WrongValueError

# The positive numbers that float32 holds with full precision.
_SMALLEST, _LARGEST = 2.0**-126, (2 - 2.0**-23) * 2.0**127


# Attributes that follow from others, or from what an object was used for.
_OF_USE = {"built", "name", "seed", "_trainable_variables_indices"}
_UNSET = re.compile(r'null|\{\}|""|\[(null(, )?)*\]')


def name_or_config(name: str, value: Any, *, keep_name: bool = False) -> str | dict[str, Any]:
    """Bring a Keras name, configuration or object into the form that JSON can hold.

    Classes and functions of the user's are those that are registered.
    """
    if (known := _name_of_function(value)) is not None:
        return known
    class_name = config = None
    if isinstance(value, dict):
        class_name, config = value.get("class_name"), value.get("config") or {}
        if own := value.get("registered_name"):
            class_name = _checked_registered(name, own)
    # By its module, since a class of the user's may bear the name of one of Keras's.
    elif type(value).__module__.startswith("keras.") and hasattr(value, "get_config"):
        class_name, config = type(value).__name__, value.get_config()
        check_is_all_in_config(name, value)
    elif not isinstance(value, type) and (
        hasattr(value, "get_config") or (callable(value) and hasattr(value, "__name__"))
    ):
        import keras

        is_object = hasattr(value, "get_config")
        own = keras.saving.get_registered_name(type(value) if is_object else value)
        class_name = _checked_registered(name, own)
        if not is_object:
            return class_name
        config = value.get_config()
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
    own_name = str(config.pop("name", ""))
    if "inner_optimizer" in config:
        config["inner_optimizer"]["config"].pop("name", None)
    if keep_name:
        # Without the number, unless it is a name of the user's.
        base = re.sub(r"_\d+$", "", own_name)
        is_numbered = base.replace("_", "") == class_name.lower()
        config["name"] = base if is_numbered else own_name
    return {"class_name": class_name, "config": config}


def _name_of_function(value: Any) -> str | None:
    """Return the name of a function of Keras's, given so, as it is, or as Keras writes it."""
    if isinstance(value, dict) and value.get("module") == "builtins":
        value = value.get("config") if value.get("class_name") == "function" else None
    elif not isinstance(value, type) and str(getattr(value, "__module__", "")).startswith(
        "keras."
    ):
        value = getattr(value, "__name__", None)
    return value if isinstance(value, str) else None


def _checked_registered(what: str, own: Any) -> str:
    """Return the registered name of a class or function of the user's."""
    import keras

    if keras.saving.get_registered_object(own) is None:
        raise WrongTypeError(
            f"{what} is of {own!r}, which is not registered: decorate it by "
            "keras.saving.register_keras_serializable, or use one of Keras's own classes."
        )
    return str(own)


def check_is_all_in_config(what: str, value: Any) -> None:
    """Refuse an object of Keras's that another one of its configuration does not equal."""
    if not hasattr(value, "get_config") or what.endswith("initializer"):
        return
    try:
        again = type(value).from_config(value.get_config())
    except Exception as error:
        raise WrongValueError(
            f"{what} {type(value).__name__!r} cannot be made again of its configuration "
            f"({_checks.first_line(error):.100}): register functions and classes of your own by "
            "keras.saving.register_keras_serializable, as no lambda can be."
        ) from error
    own, kept = _plain(value), _plain(again)
    for name, found in own.items():
        if found != kept.get(name):
            raise WrongValueError(
                f"{what} {type(value).__name__!r} has {name.strip('_')} = {found}, which Keras "
                "leaves out of its configuration, so that it cannot be stored: say it by a dict "
                "{'class_name': …, 'config': …} where the class takes it as an argument, or leave "
                "it out."
            )
    for part in ("inner_optimizer", "_learning_rate"):
        check_is_all_in_config(what, getattr(value, part, None))


def _plain(value: Any) -> dict[str, str]:
    """Return, as JSON, the attributes of an object that are set and that JSON can hold."""
    plain = {}
    for name, found in vars(value).items():
        if name not in _OF_USE and not name.startswith("_self_"):
            with contextlib.suppress(TypeError, ValueError, AttributeError):
                # What optimizers exclude from weight decay are sets and patterns.
                plain[name] = json.dumps(
                    found, default=lambda o: sorted(o) if isinstance(o, set) else o.pattern
                )
    return {name: text for name, text in plain.items() if not _UNSET.fullmatch(text)}


def checked_rate(rate: Any) -> float | dict[str, Any] | None:
    """Return a learning rate or the configuration of a schedule, as JSON holds them."""
    if rate is None:
        return None
    if isinstance(rate, dict) or hasattr(rate, "get_config"):
        config = cast("dict[str, Any]", name_or_config("learning_rate", rate))
        # One of the user's has a registered name, which begins with a package and ">".
        own = {"registered_name": config["class_name"]} if ">" in config["class_name"] else {}
        return {"module": "keras.optimizers.schedules", **config, **own}
    _checks.check_type("learning_rate", rate, Real, "a number or a schedule of Keras")
    if not _SMALLEST <= rate <= _LARGEST:
        raise WrongValueError(
            f"learning_rate must be a positive number from {_SMALLEST:.2g} to {_LARGEST:.2g}, "
            f"as optimizers compute in float32, but it is {rate!r}."
        )
    return float(rate)
