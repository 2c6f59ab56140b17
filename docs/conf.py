"""The settings with which ``make docs`` builds the documentation, without a network."""

from __future__ import annotations

import contextlib
import html
import inspect
import io
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from docutils import nodes
from latex2mathml.converter import convert
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging

import adnn_optuna
from adnn_optuna.cli.main import app as cli
from adnn_optuna.cli.main import command_with_options
from adnn_optuna.experiments.controls import ARMS
from adnn_optuna.render.printed import Printed
from adnn_optuna.results.fields import FIELDS

sys.path.insert(0, str(Path(__file__).parent))
from contract_fields import table
from initializer_table import initializer_table

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_logger = logging.getLogger(__name__)
HERE = Path(__file__).parent
ROOT = HERE.parent

project = "adnn_optuna"
author = "The adnn_optuna developers"
release = version = adnn_optuna.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build"]
# Other projects, to whose names the reference links; ``write_inventories.py`` writes the files.
intersphinx_mapping = {
    project: (f"https://{site}/", f"inventories/{project}.inv")
    for project, site in {
        "optuna": "optuna.readthedocs.io/en/stable",
        "keras": "keras.io",
        "numpy": "numpy.org/doc/stable",
        "pandas": "pandas.pydata.org/docs",
        "plotly": "plotly.com/python-api-reference",
        "python": "docs.python.org/3",
    }.items()
}
# Every name of another project must have an address; names of this package need none.
nitpicky = True
nitpick_ignore = [("py:class", "optuna.trial._base.BaseTrial")]  # Optuna does not document it.
nitpick_ignore_regex = [("py:.*", r"(?!optuna|keras|numpy|pandas|collections|concurrent|os\b).*")]
myst_enable_extensions = ["dollarmath", "deflist", "attrs_inline", "colon_fence"]
myst_heading_anchors = 3
# Notebooks are shown with their stored outputs; `make test-slow` runs them.
nb_execution_mode = "off"
nb_merge_streams = True
autodoc_typehints = "description"
# With this setting, results show no fields that only their constructors take.
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autoclass_content = "class"
napoleon_use_ivar = True
html_show_copyright = False
highlight_language = "text"
html_theme = "furo"
html_title = f"adnn_optuna {release}"
# Search engines show this title of the front page.
TITLE = f"Is the best score of an Optuna study real? - {project}"
templates_path = ["_templates"]
html_favicon = "_static/favicon.svg"
# The site has no address yet, so the links of 404.html start from the host's root.
html_baseurl = ""
html_static_path = ["_static"]
html_css_files = ["own.css"]
html_math_renderer = "mathml"
# The examples of the reference write their files into a temporary folder.
doctest_global_setup = """
import os, shutil, tempfile, warnings
import numpy as np
import optuna
import adnn_optuna as adnn
from adnn_optuna import *
optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.simplefilter("ignore")
_folder = tempfile.TemporaryDirectory()
_before = os.getcwd()
os.chdir(_folder.name)
"""
doctest_global_cleanup = """
os.chdir(_before)
_folder.cleanup()
"""


def _copy_notebooks() -> None:
    target = HERE / "notebooks"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        shutil.copy(notebook, target)


def _write_helps() -> None:
    """Write the help of each command of ``adnn``."""
    command = typer.main.get_command(cli)
    context = typer.Context(command, info_name="adnn")
    with contextlib.redirect_stdout(io.StringIO()):  # Help has no colours outside a terminal.
        parts = [f"```text\n{command.get_help(context)}\n```"]
        for name in command.commands:
            verb = command_with_options(name)
            of_verb = typer.Context(verb, info_name=name, parent=context)
            parts.append(f"## adnn {name}\n\n```text\n{verb.get_help(of_verb)}\n```")
    (HERE / "reference" / "_helps.md").write_text("\n\n".join(parts), encoding="utf-8")


def _write_list(name: str, entries: dict[str, str]) -> None:
    """Write a list of names with their meanings, which pages include."""
    lines = [f"- `{entry}`: {meaning}\n" for entry, meaning in entries.items()]
    (HERE / "reference" / f"_{name}.md").write_text("".join(lines), encoding="utf-8")


_copy_notebooks()
_write_helps()
_write_list("controls", {arm.name: arm.help for arm in ARMS.values() if arm.is_control})
_write_list("numbers", {field.key: field.label for field in FIELDS})
(HERE / "reference" / "_contract_fields.md").write_text(table(), encoding="utf-8")
(HERE / "reference" / "_initializers.md").write_text(initializer_table(), encoding="utf-8")
exclude_patterns += ["reference/_*.md"]


def _inline_math(translator: Any, node: nodes.math) -> None:
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _block_math(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def _without_type(_: Any, what: str, __: str, ___: Any, ____: Any, lines: list[str]) -> None:
    """Keep Napoleon from reading the text before a property's colon as its type."""
    if what in {"property", "attribute"}:
        lines[:] = [line.replace(": ", "\N{RATIO} ") for line in lines]


# Descriptions of arguments of many methods, for docstrings that describe none.
_SHARED = {
    "path": "The file to write.",
    "study": "The study.",
    "indent": "The number of spaces for each level.",
    "gain": "The gain to show.",
    "trial": "The trial.",
    "parts": "The other arguments, by name.",
}


def _describe_arguments(_: Any, what: str, name: str, of: Any, __: Any, lines: list[str]) -> None:
    """Describe the arguments that a docstring omits; warn of arguments without a description."""
    if what not in {"function", "method"}:
        return
    described = re.findall(r"^ +\*{0,2}(\w+(?:, \w+)*):", "\n".join(lines), re.MULTILINE)
    names = {named for entry in described for named in entry.split(", ")}
    missing = [n for n in inspect.signature(of).parameters if n not in names | {"self", "cls"}]
    if unknown := [n for n in missing if n not in _SHARED]:
        _logger.warning("%s does not describe %s", name, ", ".join(unknown))
    if missing:
        new = ["Args:", *(f"    {n}: {_SHARED[n]}" for n in missing if n in _SHARED), ""]
        at = lines.index("Args:") if "Args:" in lines else len(lines)
        lines[at : at + ("Args:" in lines)] = ["", *new] if at == len(lines) else new[:-1]


_OF_RESULTS = {
    "adnn_optuna.results.arm_comparison",
    "adnn_optuna.results.models",
    "adnn_optuna.results.recheck",
    "adnn_optuna.results.variance",
    "adnn_optuna.stats.power",
}


def _without_constructor(_: Any, what: str, __: str, of: Any, *___: Any) -> tuple[str, str] | None:
    """Show no constructor of the results that verbs return, and of their numbers."""
    if what == "class" and (issubclass(of, Printed) or of.__module__ in _OF_RESULTS):
        return "", ""
    return None


def _without_alias(_: Any, what: str, __: str, found: Any, ___: Any, lines: list[str]) -> None:
    """Show only the constant's own docstring."""
    if what == "data" and lines and lines[0] == (inspect.getdoc(type(found)) or "").split("\n")[0]:
        lines.clear()


def _without_overloads() -> None:
    """Show each function's own signature, because overloads have no defaults."""
    analyzer = ModuleAnalyzer.for_module("adnn_optuna.api.search")
    analyzer.analyze()
    analyzer.overloads.clear()


def _describe_page(
    app: Sphinx, page: str, _: str, context: dict[str, Any], tree: nodes.document | None
) -> None:
    """Name and describe a page for search engines and for people who share it."""
    paragraphs = tree.findall(nodes.paragraph) if tree is not None else []
    description = next((" ".join(p.astext().split()) for p in paragraphs), "")
    context["description"] = description or f"The documentation of {project}"
    title = html.unescape(re.sub("<.*?>", "", context.get("title", "Index")))
    context["page_title"] = TITLE if page == app.config.root_doc else f"{title} - {project}"
    context["html_baseurl"] = app.config.html_baseurl


def setup(app: Sphinx) -> None:
    """Show formulas as MathML, which browsers draw by themselves, and without a network."""
    app.add_html_math_renderer("mathml", (_inline_math, None), (_block_math, None))
    app.connect("html-page-context", _describe_page)
    app.connect("autodoc-process-docstring", _without_alias)
    app.connect("autodoc-process-docstring", _without_type, priority=400)
    app.connect("autodoc-process-docstring", _describe_arguments, priority=400)
    app.connect("autodoc-process-signature", _without_constructor)
    _without_overloads()
