"""What the package declares of arguments, read as text: a help imports nothing of it."""

import ast
import functools
import inspect
import re
from collections.abc import Iterator
from importlib import resources
from typing import Annotated, Any

import typer

from adnn_optuna import _MODULES

_Definition = ast.ClassDef | ast.FunctionDef


@functools.cache
def _definitions(module: str) -> dict[str, _Definition]:
    """Return the functions and classes of a module, and methods, by their qualified names."""
    file = resources.files("adnn_optuna").joinpath(*f"{module}.py".split("/"))
    nodes = ast.parse(file.read_text("utf-8")).body
    found = {n.name: n for n in nodes if isinstance(n, _Definition)}
    methods = [(name, n) for name, node in found.items() for n in node.body]
    return found | {f"{name}.{n.name}": n for name, n in methods if isinstance(n, ast.FunctionDef)}


def arguments(name: str) -> dict[str, str]:
    """Return the first sentence on each argument of what has a public name, if anything has."""
    if (module := _MODULES.get(name.partition(".")[0])) is None:
        return {}
    docstring = ast.get_docstring(_definitions(module.replace(".", "/"))[name]) or ""
    section = re.search(r"^Args:\n((?:    .*\n|\n)*)", f"{docstring}\n", re.MULTILINE)
    entries = re.findall(r"    (\w+):((?:.*\n(?:     .*\n)*))", section[1] if section else "")
    return {argument: _first_sentence(text) for argument, text in entries}


def _first_sentence(text: str) -> str:
    """Return the first sentence of a docstring's entry, without its markup."""
    sentence = re.split(r"(?<=\.) ", " ".join(text.split()))[0]
    plain = re.sub(r":\w+:`~?(?:adnn_optuna\.)?([^`]*)`", r"\1", sentence)
    return re.sub(r'``"([^"`]*)"``', r"\1", plain).replace("``", "")


def limits() -> Iterator[inspect.Parameter]:
    """Yield an option for each limit of a study, as the classes of callbacks declare them."""
    for node in _definitions("callbacks").values():
        assigned = [n for n in node.body if isinstance(n, ast.Assign)]
        values = {ast.unparse(n.targets[0]): ast.unparse(n.value).strip("'\"") for n in assigned}
        if "reason" in values:
            kind: Any = int if values.get("kind") == "int" else float
            option = Annotated[kind | None, typer.Option(help=values["help"])]
            named: Any = (values["reason"], inspect.Parameter.KEYWORD_ONLY)
            yield inspect.Parameter(*named, default=None, annotation=option)
