"""A page of text, tables and plotly figures as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import dataclasses
import math
import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from plotly.offline import get_plotlyjs

from adnn_optuna._checks import check_output_file
from adnn_optuna.evidence.claims import interval, points

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import plotly.graph_objects as go

_PACKAGES = ("adnn_optuna", "optuna", "keras", "tensorflow", "numpy", "scipy")


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure: its kind, by which the template knows how to read it, and whose it is."""

    kind: str
    figure: go.Figure
    label: str = ""

    @property
    def title(self) -> str:
        """The heading of the figure, which needs no title of its own then."""
        title = str(self.figure.layout.title.text)
        return f"{title}: {self.label}" if self.label else title

    @property
    def json(self) -> str:
        """The figure as JSON that cannot end the script element that it stands in."""
        text: str = self.figure.to_json()
        return text.replace("&", r"\u0026").replace("<", r"\u003c")


@dataclasses.dataclass(frozen=True)
class Page:
    """A page.

    Args:
        template: The name of its template.
        claim: What it says, in one sentence.
        lead: What to think of it.
        content: All that the template shows besides, by name.
    """

    template: str
    claim: str
    lead: str
    content: Mapping[str, Any]

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
        environment.filters.update(value=_value, gain=points, interval=interval, base64=_base64)
        return environment.get_template(self.template).render(
            **self.content,
            page=self,
            footer="Report by " + ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
            plotly_js=_plotly_js(),
        )


def _value(value: float, *, percent: bool = True) -> str:
    """Return an accuracy in percent, or another value as it is."""
    if math.isnan(value):
        return "unknown"
    return f"{100 * value:.2f} %" if percent else f"{value:.4f}"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _plotly_js() -> str:
    """Return plotly.js, with escapes for control characters that HTML forbids in a script."""
    return re.sub(r"[\x00-\x08\x0b\x0e-\x1f]", lambda c: f"\\x{ord(c[0]):02x}", get_plotlyjs())
