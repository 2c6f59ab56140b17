"""What a verb returns: its facts, which can tell themselves."""

from __future__ import annotations

import html
import importlib
import os
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import plotly.graph_objects as go


class Printed:
    """Facts that print themselves.

    A module of :mod:`adnn_optuna.reporting` tells them, by its functions ``text``, ``figure`` and
    ``page``. It is imported on use, since it loads plotly, which few calls of a verb need.
    """

    _telling: ClassVar[Any]  # The name of the module.

    def _tell(self, what: str) -> Any:
        """Return what the module's function of this name says of the facts."""
        name = getattr(self._telling, "__name__", f"adnn_optuna.reporting.{self._telling}")
        return getattr(importlib.import_module(name), what)(self)

    def __str__(self) -> str:
        return str(self._tell("text"))

    def _repr_html_(self) -> str:
        """Return what a notebook shows: what is printed."""
        return f'<pre style="overflow-x: auto">{html.escape(str(self))}</pre>'


class Told(Printed):
    """Facts that draw and report themselves, too."""

    def plot(self) -> go.Figure:
        """Return the figure that shows the most of it."""
        return self._tell("figure")

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write a report: one HTML file, which needs no network.

        Raises:
            FileNotFoundError: If the file's folder does not exist.
            ValueError: If the file cannot be written.
        """
        self._tell("page").save(path)
