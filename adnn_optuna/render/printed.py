"""The base of all results: each prints, writes and draws itself on every surface."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from adnn_optuna._checks import WrongValueError, load
from adnn_optuna._files import check_output_file, write_text
from adnn_optuna.render.document import Document
from adnn_optuna.render.text import to_text, width_of_output

if TYPE_CHECKING:
    import plotly.graph_objects as go


class Printed(ABC):
    """A result: it says everything in one document, which each surface renders."""

    @abstractmethod
    def document(self) -> Document:
        """Return everything that the result says."""

    def __str__(self) -> str:
        return to_text(self.document(), width_of_output())

    def __format__(self, form: str) -> str:
        """Return the result as text; as ``"details"`` or ``"markdown"`` with all that it says.

        Lines of text have at most 80 characters. If stdout is a terminal they are as wide as that,
        between 60 and 100.

        Raises:
            ValueError: If there is no such format.
        """
        if form == "markdown":
            return str(load("adnn_optuna.render.markdown").to_markdown(self.document()))
        if form not in ("", "details"):
            raise WrongValueError(
                f"The format must be 'details' or 'markdown'; got {form!r}. Omit it for text."
            )
        return to_text(self.document(), width_of_output(), details=form == "details")

    def _repr_html_(self) -> str:
        """Return the HTML for a notebook."""
        html = load("adnn_optuna.render.html")
        return str(html.to_fragment(self.document()))

    def plot(self, key: str | None = None) -> go.Figure:
        """Return a figure of the result.

        Args:
            key: Which of its figures; :obj:`None` is the most important one.

        Raises:
            ValueError: If the result has no such figure.
        """
        figures = {figure.key: figure for figure in self.document().all_figures()}
        if key is None:
            key = next(iter(figures), "")
        if key not in figures:
            if not figures:
                raise WrongValueError("There is nothing to draw.")
            raise WrongValueError(f"key must be one of {', '.join(figures)}; got {key!r}.")
        return load("adnn_optuna.render.figures").standalone(figures[key])

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write a report: one HTML file, which needs no network.

        Raises:
            FileNotFoundError: If the file's folder does not exist.
            ValueError: If the path does not end in ``.html``, is a folder, or may not be written
                to.
            OSError: If writing fails, such as on a full disk.
        """
        check_output_file("path", path, ".html")
        html = load("adnn_optuna.render.html")
        write_text(path, html.to_page(self.document()))


def number_fields(numbers: object, names: str) -> dict[str, Any]:
    """Return some of an object's attributes by their names, which JSON shows."""
    return {name: getattr(numbers, name) for name in names.split()}
