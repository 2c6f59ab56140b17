"""What differs between two configurations of objectives, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adnn_optuna.networks._stored_model import is_same_sketch, without_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST = 3
_LONGEST_VALUE = 100


def objective_differences(
    stored: dict[str, Any], given: dict[str, Any], path: str = ""
) -> list[str]:
    """Return a phrase for each setting in which the configurations of two objectives differ."""
    where = f"{path}.model" if path else "model"
    models = stored["model"], given["model"]
    return [
        *config_differences({**stored, "model": None}, {**given, "model": None}, path),
        *model_differences(*models, where),
    ]


def model_differences(
    stored: dict[str, Any], given: dict[str, Any], path: str = "model"
) -> list[str]:
    """Return a phrase for each difference between two models, also in their initial weights.

    Args:
        stored:
            The :attr:`~adnn_optuna.architectures.Architecture.config` of one, perhaps from
            before it said what the initial weights are; then they are not compared.
        given:
            That of the other.
        path:
            Where they stand.
    """
    stored, given = dict(stored), dict(given)
    sketches = [config.pop("initial_weights", None) for config in (stored, given)]
    if None in sketches:
        return config_differences(without_numbers(stored), without_numbers(given), path)
    differences = config_differences(stored, given, path)
    if not differences and not is_same_sketch(*sketches):
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
