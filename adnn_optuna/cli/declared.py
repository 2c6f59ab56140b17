"""What the package declares of arguments, read as text: a help imports nothing of it."""

import ast
import functools
import inspect
import re
from collections.abc import Iterator
from importlib import resources
from typing import Annotated, Any

import typer

from adnn_optuna import _MODULES, _attributes

_Definition = ast.ClassDef | ast.FunctionDef


@functools.cache
def _module(name: str) -> ast.Module:
    file = resources.files("adnn_optuna").joinpath(*f"{name}.py".split("/"))
    return ast.parse(file.read_text("utf-8"))


def _definitions(module: str) -> dict[str, _Definition]:
    """Return the functions and classes of a module, by their names."""
    return {node.name: node for node in _module(module).body if isinstance(node, _Definition)}


def _definition(name: str) -> _Definition | None:
    """Return the function or class that has a public name, if any has."""
    module = _MODULES.get(name)
    return _definitions(module.replace(".", "/"))[name] if module else None


def arguments(name: str) -> dict[str, str]:
    """Return the first sentence on each argument of what has a public name, if anything has."""
    found = _definition(name)
    docstring = (found and ast.get_docstring(found)) or ""
    section = re.search(r"^Args:\n((?:    .*\n|\n)*)", f"{docstring}\n", re.MULTILINE)
    entries = re.findall(r"    (\w+):((?:.*\n(?:     .*\n)*))", section[1] if section else "")
    return {argument: _first_sentence(text) for argument, text in entries}


def defaults(name: str) -> dict[str, tuple[str, Any]]:
    """Return what a public function's arguments are annotated with, as text, and by default."""
    found: Any = _definition(name)
    taken, given = found.args.args + found.args.kwonlyargs, found.args.defaults
    given = [None] * (len(found.args.args) - len(given)) + given + found.args.kw_defaults
    return {
        argument.arg: (ast.unparse(argument.annotation), default.value)
        for argument, default in zip(taken, given, strict=True)
        if isinstance(default, ast.Constant)
    }


def _first_sentence(text: str) -> str:
    """Return the first sentence of a docstring's entry, without its markup."""
    sentence = re.split(r"(?<=\.) ", " ".join(text.split()))[0]
    plain = re.sub(r":\w+:`~?(?:adnn_optuna\.)?([^`]*)`", r"\1", sentence)
    return re.sub(r'``"([^"`]*)"``', r"\1", plain).replace("``", "")


def arms(*, is_control: bool) -> dict[str, str]:
    """Return what each searcher, or control, does by its name, as the arms declare them."""
    said = {}
    for node in ast.walk(_module("engine/arms")):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Arm":
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            if "help" in given and ("is_control" in given) == is_control:
                text = ast.unparse(node.args[0])
                name = getattr(_attributes, text.removeprefix("stored."), text.strip("'"))
                said[str(name)] = ast.literal_eval(given["help"])
    return said


def limits() -> Iterator[inspect.Parameter]:
    """Yield an option for each limit of a study, as the classes of callbacks declare them."""
    for node in _definitions("callbacks").values():
        values = {}
        for part in node.body:
            if isinstance(part, ast.Assign | ast.AnnAssign):
                name, _, value = ast.unparse(part).partition(" = ")
                values[name.partition(":")[0]] = value.strip("'\"")
        if values.get("reason"):
            kind: Any = int if values.get("kind") == "int" else float
            note = typer.Option(help=values["help"], rich_help_panel="Limits")
            named: Any = (values["reason"], inspect.Parameter.KEYWORD_ONLY)
            yield inspect.Parameter(*named, default=None, annotation=Annotated[kind | None, note])
