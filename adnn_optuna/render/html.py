"""A document as HTML: a page that needs no other file, and a fragment for notebooks."""

import base64
import json
from importlib import resources
from importlib.metadata import version
from typing import Any

import jinja2

from adnn_optuna._checks import is_installed
from adnn_optuna.render.document import TONES, Document
from adnn_optuna.render.figures import COLORS, DARK_COLORS, to_plotly

_BUNDLE = "plotly-cartesian-4.1.1"
_PACKAGES = ("adnn_optuna", "optuna", "keras", "tensorflow", "numpy", "scipy")


def to_page(document: Document) -> str:
    """Return a document as an HTML file with its figures and the script that draws them."""
    figures = []
    for figure in document.figures():
        drawing = to_plotly(figure).to_json()
        figures.append((figure, json.loads(drawing)))
    return _rendered(
        "page.html.jinja",
        document,
        figures=figures,
        versions={name: version(name) for name in _PACKAGES if is_installed(name)},
        plotly_js=plotly_js(),
        palette=[*zip(COLORS, DARK_COLORS, strict=True)],
    )


def to_fragment(document: Document) -> str:
    """Return a document as a piece of HTML without figures and scripts."""
    return _rendered("notebook.html.jinja", document)


def _rendered(template: str, document: Document, **content: Any) -> str:
    """Return a template filled with a document. All texts of the document are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("adnn_optuna.render"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["tone"] = lambda verdict: TONES.get(verdict, "quiet")
    return environment.get_template(template).render(document=document, **content)


def plotly_js() -> str:
    """Return the cartesian bundle of plotly.js, gzipped and in base64. The page unpacks it."""
    file = resources.files("adnn_optuna.render") / "plotly_js" / f"{_BUNDLE}.min.js.gz"
    return base64.b64encode(file.read_bytes()).decode("ascii")
