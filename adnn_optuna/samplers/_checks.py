"""Checks of arguments, each with one sentence."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping


def check_integer(name: str, value: Any, low: int) -> None:
    """Raise unless the value is an integer that is not below ``low``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(
            f"`{name}` must be an integer of at least {low}, but is {value!r} of type "
            f"{type(value).__name__}."
        )
    if value < low:
        raise ValueError(f"`{name}` must be at least {low}, but is {value!r}.")


def check_number(name: str, value: Any) -> None:
    """Raise unless the value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(
            f"`{name}` must be a number, but is {value!r} of type {type(value).__name__}."
        )
    if not is_finite(value):
        raise ValueError(f"`{name}` must be a finite number, but is {value!r}.")


def is_finite(value: float | Real) -> bool:
    """Return whether a number is finite, also as a float."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def check_positive(name: str, value: Any) -> None:
    """Raise unless the value is a finite number above zero."""
    check_number(name, value)
    if value <= 0:
        raise ValueError(f"`{name}` must be greater than 0, but is {value!r}.")


def check_bool(name: str, value: Any) -> None:
    """Raise unless the value is a truth value, of Python or NumPy."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(
            f"`{name}` must be True or False, but is {value!r} of type {type(value).__name__}."
        )


def check_parameters(name: str, values: Mapping[Any, Any]) -> None:
    """Raise unless all names are strings and all numbers finite; anything else is a choice."""
    for parameter, value in values.items():
        if not isinstance(parameter, str):
            raise TypeError(
                f"The names in `{name}` must be strings, but one is {parameter!r} of type "
                f"{type(parameter).__name__}."
            )
        if isinstance(value, Real) and not isinstance(value, bool):
            check_number(f"{name}[{parameter!r}]", value)
