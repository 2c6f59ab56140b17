"""A table of the initializers of the installed Keras, with their distributions."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from adnn_optuna.experiments.audit import distribution_of, parameters_in_words


def initializer_table() -> str:
    """Return the table of all public initializers, with the version of Keras above it."""
    columns = ["initializer", "values", "distribution", "arguments", "by the variable's shape"]
    rows = [columns, ["---"] * len(columns)]
    classes = {cls for cls in vars(keras.initializers).values() if isinstance(cls, type)}
    for cls in sorted(classes - {keras.Initializer}, key=lambda cls: cls.__name__):
        initializer, arguments = cls(), inspect.signature(cls).parameters
        values = "random" if "seed" in arguments else "fixed"
        distribution, _, _ = distribution_of(initializer, (8, 8)).partition("(")
        defaults = parameters_in_words(
            {name: argument.default for name, argument in arguments.items()}
        )
        named = [cls.__name__, values, distribution, f"`{defaults}`" * bool(defaults)]
        rows.append([*named, _formula(initializer)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"The initializers of Keras {keras.__version__}:\n\n{table}\n"


def _formula(initializer: Any) -> str:
    """Return the formula of parameters that depend on the variable's shape, otherwise nothing."""
    if not hasattr(initializer, "scale"):
        return ""
    is_average = initializer.mode == "fan_avg"
    n = "(fan_in + fan_out)" if is_average else initializer.mode
    factor = initializer.scale * (2 if is_average else 1)
    if initializer.distribution == "uniform":
        return f"maxval = -minval = sqrt({3 * factor:g} / {n})"
    cut = " after the cut" if initializer.distribution == "truncated_normal" else ""
    return f"mean = 0, stddev = sqrt({factor:g} / {n}){cut}"
