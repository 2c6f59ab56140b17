"""How the documentation is built: ``make docs``, without a network."""

from __future__ import annotations

import contextlib
import inspect
import io
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from docutils import nodes
from latex2mathml.converter import convert

import adnn_optuna
from adnn_optuna.cli.main import app as cli

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
ROOT = HERE.parent

project = "adnn_optuna"
author = "The adnn_optuna developers"
release = version = adnn_optuna.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
nitpicky = False  # Optuna's and Keras's names are no pages of this site.
myst_enable_extensions = ["dollarmath", "deflist", "attrs_inline"]
myst_heading_anchors = 3
# They are kept with their outputs, and `make test-slow` runs them.
nb_execution_mode = "off"
nb_merge_streams = True
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autoclass_content = "class"
napoleon_use_ivar = True
html_show_copyright = False
highlight_language = "text"
html_theme = "furo"
html_title = f"adnn_optuna {release}"
html_static_path = ["_static"]
html_css_files = ["own.css"]
html_math_renderer = "mathml"
# The examples of the reference search in a folder of their own, which is removed.
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
    """Write what each command of ``adnn`` says of itself."""
    command = typer.main.get_command(cli)
    context = typer.Context(command, info_name="adnn")
    with contextlib.redirect_stdout(io.StringIO()):  # No terminal, so without colours.
        parts = [f"```text\n{command.get_help(context)}\n```"]
        for name, verb in command.commands.items():
            of_verb = typer.Context(verb, info_name=name, parent=context)
            parts.append(f"## adnn {name}\n\n```text\n{verb.get_help(of_verb)}\n```")
    (HERE / "reference" / "_helps.md").write_text("\n\n".join(parts), encoding="utf-8")


_copy_notebooks()
_write_helps()
exclude_patterns.append("reference/_helps.md")


def _inline_math(translator: Any, node: nodes.math) -> None:
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _block_math(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def _without_alias(_: Any, what: str, __: str, found: Any, ___: Any, lines: list[str]) -> None:
    """Say nothing of a constant but what its own docstring says."""
    if what == "data" and lines and lines[0] == (inspect.getdoc(type(found)) or "").split("\n")[0]:
        lines.clear()


def setup(app: Sphinx) -> None:
    """Show formulas as MathML, which browsers draw by themselves, and without a network."""
    app.add_html_math_renderer("mathml", (_inline_math, None), (_block_math, None))
    app.connect("autodoc-process-docstring", _without_alias)
