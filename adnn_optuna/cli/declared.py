"""What the package declares of arguments, read as text: a help imports nothing of it."""

import ast
import functools
import inspect
from importlib import resources
from typing import Annotated, Any

import typer


@functools.cache
def _definitions(module: str) -> dict[str, ast.ClassDef | ast.FunctionDef]:
    """Return the functions and classes of a module, by their names."""
    source = resources.files("adnn_optuna").joinpath(f"{module}.py").read_text(encoding="utf-8")
    nodes = ast.parse(source).body
    return {n.name: n for n in nodes if isinstance(n, ast.ClassDef | ast.FunctionDef)}


def limits() -> list[inspect.Parameter]:
    """Return an option for each limit of a study, as the classes of callbacks declare them."""
    options = []
    for node in _definitions("callbacks").values():
        found = [n for n in node.body if isinstance(n, ast.Assign)]
        values = {ast.unparse(n.targets[0]): ast.unparse(n.value).strip("'\"") for n in found}
        if "reason" in values:
            kind: Any = int if values.get("kind") == "int" else float
            option = Annotated[kind | None, typer.Option(help=values["help"])]
            named: Any = (values["reason"], inspect.Parameter.KEYWORD_ONLY)
            options.append(inspect.Parameter(*named, default=None, annotation=option))
    return options
