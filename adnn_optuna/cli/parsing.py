"""Parse the texts of options to values of Python."""

import contextlib
import importlib
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from adnn_optuna._checks import WrongValueError, did_you_mean, masked, shown

# Python raises an error for numbers of more than 4,300 digits.
_WHOLE = r"[0-9]{1,100}"


def is_whole(text: str) -> bool:
    """Return whether a text is a whole number."""
    return re.fullmatch(_WHOLE, text) is not None


def integers(option: str, text: str, or_else: str = "") -> tuple[int, ...]:
    """Return the whole numbers of a list that is separated by commas.

    The error says which other texts are allowed.
    """
    if not re.fullmatch(rf"{_WHOLE}(,{_WHOLE})*,?", text):
        raise WrongValueError(
            f"{option} must be whole numbers separated by commas, such as 10,20{or_else}; "
            f"got {shown(text)}."
        )
    return tuple(map(int, text.rstrip(",").split(",")))


def load_function(option: str, text: str) -> Callable[..., Any]:
    """Import and return the function ``module:function``. The current folder is searched first."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    where = text.replace(".py:", ":")  # A shell completes the file name with its suffix.
    if not re.fullmatch(r"[\w.]+:\w+", where):  # The text may hold a password.
        raise WrongValueError(
            f"{option} must be MODULE:FUNCTION, such as model.py:train; got {masked(text)!r}."
        )
    module, _, name = where.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except Exception as error:  # The user's module may raise any error.
        why = f"{type(error).__name__}: {error}"
        meant = ""
        if isinstance(error, AttributeError):
            meant = did_you_mean(str(error.name), dir(error.obj))
        raise WrongValueError(f"{option} {text!r} cannot be loaded ({why}).{meant}") from error
    if not callable(function):
        raise WrongValueError(
            f"{option} must be a function; got {text!r}, of type {type(function).__name__}."
        )
    return function


def load_models(texts: Sequence[str]) -> dict[str, Any]:
    """Return models by label. Each text is a ``.keras`` file or a ``module:function``."""
    from adnn_optuna.networks.keras_files import model_from_file

    models = {}
    for text in texts:
        label, _, where = text.rpartition("=")
        if where.endswith(".keras"):
            build: Any = model_from_file(Path(where))
            name = Path(where).stem
        else:
            build = load_function("MODELS", where)
            name = where.rpartition(":")[2]
        if (label := label or name) in models:
            raise WrongValueError(
                f"Two models are named {label!r}. Write LABEL=MODEL for one of them."
            )
        models[label] = build
    return models


def parse_controls(text: str) -> Sequence[str]:
    """Return the controls of a list that is separated by commas.

    The text "none" has no controls.
    """
    if text == "none":
        return []
    return text.split(",")


def parse_against(text: str) -> Any:
    """Return a trial's number, or the parameters in a JSON text."""
    if is_whole(text):
        return int(text)
    if not isinstance(params := name_or_config("--against", text), dict):
        raise WrongValueError(
            f"--against must be a trial's number, or parameters as JSON; got {shown(text)}."
        )
    return params


def number_or_text(text: str) -> Any:
    """Return a text as a number if possible, or else unchanged, such as "auto"."""
    if is_whole(text):
        return int(text)
    with contextlib.suppress(ValueError):
        return float(text)
    return text


def parse_resampled(text: str) -> tuple[int, ...] | Literal[False]:
    """Return the numbers of training and test examples, or False for the text "False"."""
    if text == "False":
        return False
    if not re.fullmatch(rf"{_WHOLE},{_WHOLE}", text):
        raise WrongValueError(
            f"--resampled must be two whole numbers such as 800,200, or False; got {shown(text)}."
        )
    return integers("--resampled", text)


def parse_seeds(text: str) -> int | Sequence[int]:
    """Return the number of seeds, or the seeds in a list or range. A range includes both ends."""
    ends = re.fullmatch(rf"({_WHOLE})-({_WHOLE})", text)
    if ends:
        seeds = range(int(ends[1]), int(ends[2]) + 1)
        if not seeds:
            raise WrongValueError(f"--seeds must be a rising range, such as 10-19; got {text!r}.")
        return seeds
    if is_whole(text):
        return int(text)
    return integers("--seeds", text, ", or a range such as 10-19")


def name_or_config(option: str, text: str) -> str | dict[str, Any]:
    """Return a name unchanged, and JSON as a configuration."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        return dict(json.loads(text))
    except ValueError as error:
        raise WrongValueError(
            f"{option} must be valid JSON ({error}); got {shown(text)}."
        ) from None


_PARSED: dict[str, Callable[[str], Any]] = {
    "against": parse_against,
    "confirm": number_or_text,
    "controls": parse_controls,
    "replicate": number_or_text,
    "resampled": parse_resampled,
    "samplers": lambda text: text.split(","),
    "seeds": parse_seeds,
}


def parsed(name: str, value: Any) -> Any:
    """Convert an option's text to the value that Python's argument takes."""
    if isinstance(value, str) and name in _PARSED:
        return _PARSED[name](value)
    return value
