"""A document as JSON."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from adnn_optuna.render.document import Document


def to_json(document: Document, **more: Any) -> str:
    """Return a document and all its fields as JSON. Numbers that are not finite are null."""
    content = {
        **more,
        "title": document.title,
        "verdict": document.verdict,
        "conclusion": document.conclusion,
        "subject": document.subject,
        **document.fields,
        "notes": document.notes,
        "next_step": document.next_step.python,
        "next_in_shell": document.next_step.in_shell,
    }
    return json.dumps(plain(content), indent=1, allow_nan=False)


def plain(value: Any) -> Any:
    """Return a value as JSON types. Other types become text."""
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        return None
    if value is None or isinstance(value, bool | str | int):
        return value
    value = _parts(value)
    if isinstance(value, Mapping):
        return {str(key): plain(of_key) for key, of_key in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return plain(value)


def _parts(value: Any) -> Any:
    """Return a value as a mapping, a list, a number or a text."""
    if hasattr(value, "_asdict"):  # A named tuple.
        return value._asdict()
    if isinstance(value, Mapping | list | tuple):
        return value
    if hasattr(value, "reset_index"):  # A data frame.
        return value.reset_index().to_dict("records")
    if hasattr(value, "tolist"):  # A number or an array of NumPy.
        return value.tolist()
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return str(value)
