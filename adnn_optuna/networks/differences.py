"""What differs between the configurations of two objectives, in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST = 3
_LONGEST_VALUE = 100

# How far the sketches of equal weights may be apart, relative to the weights. Not exactly equal,
# as workers on several machines share a study: Keras's uniform draws have the same bits on all
# processors, but the logarithms of normal ones and the decompositions of orthogonal ones may
# differ in the last. Another version of Keras may draw other numbers altogether, which is told.
_TOLERANCE = 1e-4
# So many values of an array are summed up at once, to take little memory.
_CHUNK = 2**20


def objective_differences(
    stored: dict[str, Any], given: dict[str, Any], path: str = ""
) -> list[str]:
    """Return a phrase for each setting in which the configurations of two objectives differ."""
    where = f"{path}.model" if path else "model"
    return [
        *config_differences({**stored, "model": None}, {**given, "model": None}, path),
        *model_differences(stored["model"], given["model"], where),
    ]


def model_differences(
    stored: dict[str, Any], given: dict[str, Any], path: str = "model"
) -> list[str]:
    """Return a phrase for each difference between two models, also in their initial weights."""
    stored, given = dict(stored), dict(given)
    sketches = [config.pop("initial_weights", []) for config in (stored, given)]
    differences = config_differences(stored, given, path)
    if not differences and not _is_same_sketch(*sketches):
        return [f"{path} starts from other initial weights"]
    return differences


def config_differences(stored: Any, given: Any, path: str = "") -> list[str]:
    """Return a phrase for each setting that differs, such as ``training.epochs is 5, was 10``."""
    if isinstance(stored, dict) and isinstance(given, dict):
        # Things of two kinds have no setting in common.
        kinds = [key for key in ("type", "class_name") if stored.get(key) != given.get(key)]
        return [
            difference
            for key in kinds or sorted(stored.keys() | given.keys())
            for difference in config_differences(
                stored.get(key), given.get(key), f"{path}.{key}" if path else key
            )
        ]
    if isinstance(given, tuple):
        given = list(given)
    if stored == given:
        return []
    if isinstance(stored, list) and isinstance(given, list):
        # A list of plain values is one setting.
        if len(stored) == len(given) and any(isinstance(v, dict | list) for v in stored):
            return [
                difference
                for i, pair in enumerate(zip(stored, given, strict=True))
                for difference in config_differences(*pair, f"{path}[{i}]")
            ]
        if any(isinstance(v, dict | list) for v in (*stored, *given)):
            return [f"{path} has {len(given)} entries, had {len(stored)}"]
    return [f"{path} is {_short(given)}, was {_short(stored)}"]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def in_words(differences: Sequence[str]) -> str:
    """Return the first few differences as one phrase."""
    more = len(differences) - _MOST
    return "; ".join(differences[:_MOST]) + (f"; and {more} more" if more > 0 else "")


def sketch_weights(weights: Sequence[np.ndarray]) -> list[list[float]]:
    """Return two numbers for each array, which differ where its values do.

    They are its norm and a sum with alternating factors, and no hash, so that what rounding does
    can be left out of account.
    """
    return [_sketch(values.reshape(-1)) for values in weights]


def _sketch(values: np.ndarray) -> list[float]:
    square = mixed = 0.0
    for begin in range(0, values.size, _CHUNK):
        part = values[begin : begin + _CHUNK].astype(np.float64)
        part = np.nan_to_num(part, nan=-1.0, posinf=1.0, neginf=-1.0)
        square += float(part @ part)
        mixed += float(part @ np.cos(np.arange(begin, begin + part.size)))
    return [float(f"{number:.9g}") for number in (math.sqrt(square), mixed)]


def _is_same_sketch(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> bool:
    return len(one) == len(other) and all(
        math.dist(a, b) <= _TOLERANCE * max(a[0], b[0]) for a, b in zip(one, other, strict=True)
    )
