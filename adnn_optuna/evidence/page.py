"""A page of text, tables and plotly figures as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import jinja2
from plotly.offline import get_plotlyjs

from adnn_optuna._checks import check_output_file
from adnn_optuna.evidence.paired_differences import Verdict

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import plotly.graph_objects as go


@dataclasses.dataclass(frozen=True)
class Card:
    """A number that is seen first.

    Args:
        label:
            What it is.
        value:
            The number with its unit.
        note:
            What to think of it.
    """

    label: str
    value: str
    note: str


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Args:
        caption:
            What it shows.
        header:
            The titles of the columns; none if empty.
        rows:
            The cells of each row, the first of which is its title.
        is_text:
            Whether the cells are text, which is aligned to the left and wrapped.
        is_folded:
            Whether the table is shown only on demand.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    is_text: bool = False
    is_folded: bool = False


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure.

    Args:
        id:
            A name that no other figure of the page has, of letters and hyphens.
        caption:
            How to read it.
        figure:
            The plotly figure; its title becomes the heading.
        label:
            What the heading adds to it.
    """

    id: str
    caption: str
    figure: go.Figure
    label: str = ""

    @property
    def title(self) -> str:
        """The heading."""
        title = str(self.figure.layout.title.text)
        return f"{title}: {self.label}" if self.label else title

    @property
    def json(self) -> str:
        """The figure as JSON that cannot end the script element that it stands in."""
        text: str = self.figure.to_json()
        return text.replace("&", r"\u0026").replace("<", r"\u003c")


@dataclasses.dataclass(frozen=True)
class Attachment:
    """A text file that the page holds.

    Args:
        name:
            The name to save it under.
        text:
            What it holds.
    """

    name: str
    text: str

    @property
    def base64(self) -> str:
        """The file's bytes, as a link holds them."""
        return base64.b64encode(self.text.encode()).decode()


@dataclasses.dataclass(frozen=True)
class Section:
    """A section, with what is in it in this order."""

    title: str
    text: str = ""
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    codes: Sequence[str] = ()
    attachment: Attachment | None = None


@dataclasses.dataclass(frozen=True)
class Page:
    """A page.

    Args:
        title:
            The title of the window.
        kind:
            What sort of page this is, of what.
        claim:
            What it says, in one sentence.
        lead:
            What to think of it.
        cards:
            The numbers behind it.
        sections:
            The rest.
        footer:
            Where it comes from.
    """

    title: str
    kind: str
    claim: str
    lead: str
    cards: Sequence[Card]
    sections: Sequence[Section]
    footer: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file.

        Raises:
            FileNotFoundError: If the file's folder does not exist.
            ValueError: If the file cannot be written there.
        """
        file = Path(path)
        check_output_file("The report", file)
        # Names of files may have bytes that are no text.
        file.write_text(self.render(), encoding="utf-8", errors="backslashreplace")

    def render(self) -> str:
        """Return the page as HTML. All texts are escaped."""
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("adnn_optuna.evidence"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        return environment.get_template("report.html.jinja").render(
            page=self,
            verdicts=get_args(Verdict),
            plotly_js=_plotly_js(),
        )


def _plotly_js() -> str:
    """Return plotly.js, with escapes for control characters that HTML forbids in a script."""
    return re.sub(r"[\x00-\x08\x0b\x0e-\x1f]", lambda c: f"\\x{ord(c[0]):02x}", get_plotlyjs())
