"""A Keras model as a study stores it: its configuration, and how its initial weights are told."""

from __future__ import annotations

import collections
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from adnn_optuna.networks._memory import is_out_of_memory
from adnn_optuna.networks.keras_files import without_compilation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import keras

# How far the sketches of equal weights may be apart, relative to the weights. Not exactly equal,
# as workers on several machines share a study: Keras's uniform draws have the same bits on all
# processors, but the logarithms of normal ones and the decompositions of orthogonal ones may
# differ in the last. Another version of Keras may draw other numbers altogether, which is told.
_TOLERANCE = 1e-4
# So many values of an array are summed up at once, to take little memory.
_CHUNK = 2**20


def sketch_weights(weights: Sequence[np.ndarray]) -> list[list[float]]:
    """Return two numbers for each array, which differ where its values do.

    They are its norm and a sum with alternating factors, and no hash, so that
    :func:`is_same_sketch` can leave out of account what rounding does.
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


def is_same_sketch(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> bool:
    """Return whether two sketches are of the same weights, but for rounding."""
    return len(one) == len(other) and all(
        math.dist(a, b) <= _TOLERANCE * max(a[0], b[0]) for a, b in zip(one, other, strict=True)
    )


def describe_model(first: keras.Model, second: keras.Model) -> dict[str, Any]:
    """Return the configuration of a model, of which two were built alike, as JSON holds it.

    It is the same for all models that are built so. If Keras cannot write one, because an argument
    of one of the user's classes is none that JSON can hold, it is only the name of the class.
    """
    import keras

    try:
        described: dict[str, Any] = _with_counted_names(
            *(
                without_compilation(keras.saving.serialize_keras_object(model))
                for model in (first, second)
            )
        )
    except Exception as error:
        if is_out_of_memory(error):
            raise
        # Whatever a class of the user's does when it is written.
        return {"class_name": type(first).__name__}
    return described


def _with_counted_names(first: Any, second: Any) -> Any:
    """Number automatic names from 0, so that equal models have equal configurations.

    Keras counts layers over the whole process: the second model's ``dense`` is ``dense_1``. So
    automatic names are what differs between two models that were built alike, wherever it stands.
    """
    kept: set[str] = set()
    found: dict[str, str] = {}

    def collect(one: str, other: str) -> str:
        if one == other:
            kept.add(other)
        else:
            found.setdefault(other, re.sub(r"_\d+|\d+$", "", other))
        return other

    _map_strings(collect, first, second)
    counts: collections.Counter[str] = collections.Counter()
    for name, base in found.items():
        while f"{base}_{counts[base]}" in kept:
            counts[base] += 1
        found[name] = f"{base}_{counts[base]}"
        counts[base] += 1
    return _map_strings(lambda a, b: b if a == b else found[b], first, second)


def _map_strings(function: Callable[[str, str], str], one: Any, other: Any) -> Any:
    """Return a configuration with ``function`` of each string and its counterpart.

    Raises:
        ValueError: If the configurations differ in more than strings.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        items = [
            # Sharing, which Keras notes by addresses in memory, is not rebuilt.
            [(key, value) for key, value in node.items() if key != "shared_object_id"]
            for node in (one, other)
        ]
        return {
            function(key, key_of_other): _map_strings(function, value, value_of_other)
            for (key, value), (key_of_other, value_of_other) in zip(*items, strict=True)
        }
    if isinstance(one, list) and isinstance(other, list):
        return [_map_strings(function, *pair) for pair in zip(one, other, strict=True)]
    if isinstance(one, str) and isinstance(other, str):
        return function(one, other)
    if one != other:
        raise ValueError("The configurations of two models that were built alike differ.")
    return other


def is_same_but_for_numbers(one: Any, other: Any) -> bool:
    """Return whether two configurations, or lists of names, are those of models built alike.

    Names may have other numbers, as Keras counts layers over the whole process, but each has the
    same one wherever it stands.
    """
    pairs: set[tuple[str, str]] = set()

    def collect(of_one: str, of_other: str) -> str:
        pairs.add((of_one, of_other))
        return of_other

    try:
        _map_strings(collect, one, other)
    except ValueError:
        return False
    is_one_to_one = all(len(set(names)) == len(pairs) for names in zip(*pairs, strict=True))
    return is_one_to_one and all(
        re.sub(r"_\d+", "", of_one) == re.sub(r"_\d+", "", of_other) for of_one, of_other in pairs
    )


def without_numbers(config: Any) -> Any:
    """Return a configuration without the numbers of names and without compilation.

    Studies that store no sketch of the weights had another numbering.
    """
    if isinstance(config, dict):
        return {
            key: without_numbers(value) for key, value in config.items() if key != "compile_config"
        }
    if isinstance(config, list):
        return [without_numbers(value) for value in config]
    return re.sub(r"_\d+$", "", config) if isinstance(config, str) else config
