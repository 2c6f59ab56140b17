"""The base class of all results, with the methods that print, draw and report them."""

from __future__ import annotations

import dataclasses
import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from adnn_optuna._checks import WrongValueError, check_choice, load
from adnn_optuna._files import check_output_file, write_text
from adnn_optuna.render.document import Document, Figure, Line, Step, Table, Verdict
from adnn_optuna.render.text import to_text, width_of_output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import plotly.graph_objects as go


FORMATS = {"markdown": ".md"}
"""For each format besides text, the suffix of its files. The module ``render/<format>.py``
defines ``to_<format>``, which renders a document.
"""


@dataclasses.dataclass(frozen=True)
class Printed(ABC):
    """A result. Its document is the source of text, figures, JSON and reports.

    Subclasses override the methods that return parts of the document.
    """

    # The note on reused evaluations, such as "3 stored evaluations reused, 7 new.", or an empty
    # text.
    _reused: str = dataclasses.field(default="", repr=False, compare=False, kw_only=True)

    def document(self) -> Document:
        """Return everything that the result says."""
        findings: dict[str, Any] = {}
        if self._is_known:
            findings = {
                "verdict": self._verdict(),
                "estimates": self._estimates(),
                "tables": self._tables(),
                "notes": [*self._notes(), self._reused],
            }
        return Document(
            title=self._title(),
            conclusion=self._conclusion(),
            scope=self._scope(),
            level=self._level,
            subject=self._subject(),
            draw=self._figures,
            next_step=self._next_step(),
            fields=self._fields(),
            **findings,
        )

    @property
    def _is_known(self) -> bool:
        """Whether the result has numbers. If not, its conclusion says why."""
        return True

    @property
    def _level(self) -> float:
        """The level of the CIs."""
        return 0.95

    @abstractmethod
    def _title(self) -> str: ...

    def _verdict(self) -> Verdict:
        return "no claim"

    def _conclusion(self) -> str:
        return ""

    def _scope(self) -> str:
        return ""

    def _estimates(self) -> Sequence[Line]:
        return ()

    def _subject(self) -> str:
        return ""

    def _tables(self) -> Sequence[Table]:
        return ()

    def _figures(self) -> Sequence[Figure]:
        return ()

    def _notes(self) -> Sequence[str]:
        return ()

    def _next_step(self) -> Step:
        return Step()

    @abstractmethod
    def _fields(self) -> Mapping[str, Any]: ...

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._title()!r})"

    def __str__(self) -> str:
        return to_text(self.document(), width_of_output())

    def __format__(self, form: str) -> str:
        """Return the result as text. The format ``"details"`` has all notes and tables.

        A wrong format raises an error that lists the formats, such as ``"markdown"``. Lines of
        text have at most 80 characters. On a terminal, they have the terminal's width, between 60
        and 100.

        Raises:
            ValueError: If there is no such format.
        """
        if form in FORMATS:
            module = load(f"adnn_optuna.render.{form}")
            return getattr(module, f"to_{form}")(self.document())
        if form not in ("", "details"):
            names = " or ".join(map(repr, ["details", *FORMATS]))
            raise WrongValueError(f"The format must be {names}; got {form!r}. Omit it for text.")
        return to_text(self.document(), width_of_output(), details=form == "details")

    def _repr_html_(self) -> str:
        """Return the HTML for a notebook."""
        html = load("adnn_optuna.render.html")
        return html.to_fragment(self.document())

    def plot(self, key: str | None = None) -> go.Figure:
        """Return a figure of the result.

        Args:
            key: The name of the figure. :obj:`None` is the most important figure.

        Raises:
            ValueError: If the result has no such figure.
        """
        figures = {figure.key: figure for figure in self.document().figures()}
        if key is None:
            key = next(iter(figures), "")
        if key not in figures:
            if not figures:
                raise WrongValueError("There is nothing to draw.")
            check_choice("key", key, figures)
        return load("adnn_optuna.render.figures").standalone(figures[key])

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write a report, which is one HTML file that needs no network.

        Raises:
            FileNotFoundError: If the file's folder does not exist.
            ValueError: If the path does not end in ``.html``, is a folder, or may not be written
                to.
            OSError: If writing fails, such as on a full disk.
        """
        check_output_file("path", path, ".html")
        html = load("adnn_optuna.render.html")
        write_text(path, html.to_page(self.document()))


TRIAL = "number value params"
"""The attributes of a trial that JSON shows."""


def number_fields(numbers: object, names: str) -> dict[str, Any]:
    """Return attributes by name, for JSON. In ``names``, spaces separate the names."""
    return {name: getattr(numbers, name) for name in names.split()}
