"""Describe the differences between the configurations of two objectives."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from adnn_optuna._checks import shown

INITIAL_WEIGHTS = "initial_weights"
"""The setting that holds the :func:`sketch_weights` of a model."""
BEHAVIOUR = "behaviour"
"""The setting with a sketch of the numbers that the user's code computes in each part."""
_MOST = 3
# The largest relative difference between sketches of equal weights. On another processor, initial
# weights may differ in their last bits.
_TOLERANCE = 1e-4


def config_differences(stored: Any, given: Any, path: str = "") -> list[str]:
    """Return a phrase for each setting that differs, such as ``training.epochs is 5, was 10``."""
    if isinstance(given, tuple):
        given = list(given)
    if stored == given:
        return []
    differences = []
    are_lists = isinstance(stored, list) and isinstance(given, list)
    if isinstance(stored, dict) and isinstance(given, dict):
        # Values of different kinds have no common settings.
        keys = [key for key in ("type", "class_name") if stored.get(key) != given.get(key)]
        if not keys:
            all_keys = stored.keys() | given.keys()
            keys = sorted(all_keys - {INITIAL_WEIGHTS, BEHAVIOUR})
        parts = {}
        for key in keys:
            name = f"{path}.{key}".lstrip(".")
            if key in stored and key in given:
                parts[name] = stored[key], given[key]
            elif stored.get(key) != given.get(key):
                differences.append(f"{name} is {'new' if key in given else 'missing'}")
    # A list of plain values counts as one setting.
    elif are_lists and any(isinstance(value, dict | list) for value in stored + given):
        if len(stored) != len(given):
            return [f"{path} has {len(given)} entries, had {len(stored)}"]
        pairs = zip(stored, given, strict=True)
        parts = {f"{path}[{i}]": pair for i, pair in enumerate(pairs)}
    else:
        return [f"{path} is {shown(given)}, was {shown(stored)}"]
    for part, pair in parts.items():
        differences += config_differences(*pair, part)
    if differences or are_lists:
        return differences
    return _sketch_differences(stored, given, path)


def _sketch_differences(stored: dict[str, Any], given: dict[str, Any], path: str) -> list[str]:
    """Return the differences between the sketches of two configurations with equal settings."""
    stored_weights = stored.get(INITIAL_WEIGHTS, [])
    weights = given.get(INITIAL_WEIGHTS, [])
    are_as_many = len(stored_weights) == len(weights)
    if not are_as_many or not all(map(_are_alike, stored_weights, weights)):
        return [f"{path} starts from other initial weights"]
    stored_sketches = stored.get(BEHAVIOUR, {})
    sketches = given.get(BEHAVIOUR, {})
    # Only the first difference is named, because it also changes the sketches of later parts.
    for part in {**stored_sketches, **sketches}:
        are_both = part in stored_sketches and part in sketches
        if not are_both or not _are_alike(stored_sketches[part], sketches[part]):
            return [f"your code of the {part} computes something else"]
    return []


def _are_alike(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether two sketches differ only by rounding."""
    tolerance = max([_TOLERANCE, *one[2:], *other[2:]])
    distance = math.dist(one[:2], other[:2])
    norm = max(one[0], other[0])
    return distance <= tolerance * norm


def in_words(differences: Sequence[str]) -> str:
    """Return the first few differences as one phrase."""
    phrases = [*differences[:_MOST]]
    more = len(differences) - _MOST
    if more > 0:
        phrases.append(f"and {more} more")
    return "; ".join(phrases)


def sketch_weights(weights: Sequence[np.ndarray]) -> list[list[float]]:
    """Return a sketch of each array: its norm and a weighted sum.

    Unlike hashes, sketches can be compared with a tolerance for rounding.
    """
    sketches = []
    for values in weights:
        flat = values.reshape(-1).astype(np.float64)
        flat = np.nan_to_num(flat, copy=False, nan=-1.0, posinf=1.0, neginf=-1.0)
        norm = np.linalg.norm(flat)
        mixed_sum = flat @ np.cos(np.arange(flat.size))
        sketch = [float(f"{number:.9g}") for number in (norm, mixed_sum)]
        sketches.append(sketch)
    return sketches
