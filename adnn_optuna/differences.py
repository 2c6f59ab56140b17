"""What differs between two configurations of objectives, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST = 3
_LONGEST_VALUE = 100


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
