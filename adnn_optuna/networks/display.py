"""How objects are shown: in one line by ``repr``, and in notebooks as what they print."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_LONGEST = 80  # No value is shown with more characters.


class Shown:
    """What a short ``repr`` tells of an object is all in :meth:`_facts`."""

    def _facts(self) -> Mapping[str, object]:
        """Return what tells the object from others: no host, process or address.

        Of these, ``name`` needs no name of its own, and numbers that are not known are left out.
        """
        raise NotImplementedError

    def _known(self, show: Callable[[object], str]) -> dict[str, str]:
        known: dict[str, str] = {}
        for name, value in self._facts().items():
            if isinstance(value, float):
                known |= {} if math.isnan(value) else {name: f"{value:.4g}"}
            elif value is not None:
                text = show(value)
                known[name] = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
        return known

    def __repr__(self) -> str:
        known = self._known(repr).items()
        facts = (text if name == "name" else f"{name}={text}" for name, text in known)
        return f"{type(self).__name__}({', '.join(facts)})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: what is printed, or a table where that is the ``repr``."""
        if type(self).__str__ is not object.__str__:
            return f'<pre style="overflow-x: auto">{html.escape(str(self))}</pre>'
        known = self._known(str).items()
        rows = "".join(f"<tr><th>{name}</th><td>{html.escape(v)}</td></tr>" for name, v in known)
        return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"


def inputs_in_words(preprocessing: Mapping[str, Any]) -> str:
    """Return what was done to raw inputs, by the configuration of the preprocessing."""
    has_categories = any(categories for _, categories in preprocessing["columns"] or ())
    done = ["with categories as 0 and 1"] if has_categories else []
    if isinstance(preprocessing["factor"], Sequence):
        done.append("standardised by the training part")
    elif preprocessing["scale"] == "affine":
        done.append("divided by 255")
    return " and ".join(done) or "as they are"
