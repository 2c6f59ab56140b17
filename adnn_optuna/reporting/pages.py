"""Pages: reports of one HTML file that needs nothing else."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from adnn_optuna._checks import check_output_file, is_installed
from adnn_optuna._files import write_text
from adnn_optuna._units import printable
from adnn_optuna.reporting import parts

_PACKAGES = ("adnn_optuna", "optuna", "keras", "tensorflow", "numpy", "scipy")


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure, and its kind, by which the template knows how to read it."""

    kind: str
    figure: go.Figure

    @property
    def title(self) -> str:
        """The heading of the figure, which needs no title of its own then."""
        return str(self.figure.layout.title.text)


@dataclasses.dataclass(frozen=True)
class Page:
    """A page; what is to be minded of the claim stands beside it, the caveat with the evidence."""

    template: str
    claim: str
    content: Mapping[str, Any]
    caveat: str = ""
    mind: str = ""

    @property
    def headline(self) -> str:
        """What stands in the largest letters: the first sentence of the claim."""
        return re.split(r"(?<=\.) (?=[A-Z])", self.claim, maxsplit=1)[0]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file; refuse one that cannot be written, or that has no folder."""
        check_output_file("The report", Path(path))
        write_text(path, self.render())

    def render(self) -> str:
        """Return the page as HTML. All texts are escaped, as are their control characters."""
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("adnn_optuna.reporting"),
            autoescape=True,
            finalize=_shown,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.policies["json.dumps_function"] = _json
        environment.globals["parts"] = parts
        return environment.get_template(self.template).render(
            **self.content,
            page=self,
            versions={name: version(name) for name in _PACKAGES if is_installed(name)},
            plotly_js=_plotly_js(),
        )


def _shown(value: object) -> object:
    if type(value) is str:
        return printable(value, "\n")
    return f"{value:.4g}" if isinstance(value, float) else value


def _json(figure: go.Figure, **_: object) -> str:
    return str(figure.to_json())


def _plotly_js() -> str:
    """Return plotly.js, with escapes for control characters that HTML forbids in a script."""
    return re.sub(r"[\x00-\x08\x0b\x0e-\x1f]", lambda c: f"\\x{ord(c[0]):02x}", get_plotlyjs())


def told_page(name: str, claim: str, figure: go.Figure, text: str = "") -> Page:
    """Return the page of what needs none of its own: its claim, its figure and what it prints."""
    content = {"name": name, "picture": Figure("told", figure), "text": text}
    return Page("told.html.jinja", claim, content)
