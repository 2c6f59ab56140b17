"""The syntax trees of users' functions, and what their names are."""

import ast
import builtins
import functools
import inspect
import linecache
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any

from adnn_optuna.engine.code_fingerprint import methods_of

_OWN = str(Path(__file__).parents[1])
_LIBRARIES = ("site-packages", "dist-packages", sysconfig.get_path("stdlib"), "<frozen", _OWN)

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def is_users(what: Any) -> bool:
    """Return whether a function, or the class of an object, is of no library."""
    if isinstance(what, functools.partial):
        return is_users(what.func)
    if isinstance(what, MethodType):
        return is_users(what.__func__)
    if isinstance(what, FunctionType):
        return not any(part in what.__code__.co_filename for part in _LIBRARIES)
    cls = what if isinstance(what, type) else type(what)
    module = sys.modules.get(cls.__module__)
    file = str(getattr(module, "__file__", None) or "")
    return cls.__module__ != "builtins" and not any(part in file for part in _LIBRARIES)


def function_of(what: Any) -> FunctionType | None:
    """Return the function that is run if an object is called, if it is a user's."""
    what = inspect.unwrap(what) if callable(what) else what
    if not isinstance(what, FunctionType | type) and is_users(what):
        what = inspect.getattr_static(type(what), "__call__", None)
    return what if isinstance(what, FunctionType) and is_users(what) else None


@functools.lru_cache(maxsize=1024)
def tree_of(code: CodeType, file: str) -> FunctionNode | None:
    """Return the syntax tree of a function's code in a file; :obj:`None` without its source.

    Equal codes of several files are equal keys of the cache, so the file is one, too.
    """
    arguments = list(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    trees = []
    for node in ast.walk(_module(tuple(linecache.getlines(file)))):
        if isinstance(node, FunctionNode):
            args = node.args
            names = [each.arg for each in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
            lines = [node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))]
            name = getattr(node, "name", "<lambda>")
            if (min(lines), name, names) == (code.co_firstlineno, code.co_name, arguments):
                trees.append(node)
    if len(trees) > 1:  # Of several lambdas in a line, the one whose end is the code's.
        end = max((column or 0 for *_, column in code.co_positions()), default=0)
        trees.sort(key=lambda tree: abs((tree.body.end_col_offset or 0) - end))  # type: ignore[union-attr]
    return trees[0] if trees else None


@functools.lru_cache(maxsize=64)
def _module(lines: tuple[str, ...]) -> ast.Module:
    try:
        return ast.parse("".join(lines))
    except SyntaxError:
        return ast.Module([], [])


def named_object(function: FunctionType, name: str) -> Any:
    """Return what a name is in a function, apart from its own variables."""
    if name in function.__code__.co_freevars:
        cell = (function.__closure__ or ())[function.__code__.co_freevars.index(name)]
        try:
            return cell.cell_contents
        except ValueError:  # It is still empty.
            return None
    return function.__globals__.get(name, getattr(builtins, name, None))


def codes_of(
    what: Any, visited: set[CodeType] | None = None
) -> Iterator[tuple[FunctionType, CodeType]]:
    """Yield a user's function with its codes, and those of the functions that it names."""
    while isinstance(what, functools.partial | MethodType):
        what = what.func if isinstance(what, functools.partial) else what.__func__
    if (function := function_of(what)) is None:
        return
    visited = set() if visited is None else visited
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        if code in visited:
            continue
        visited.add(code)
        yield function, code
        codes += [each for each in code.co_consts if isinstance(each, CodeType)]
        cls = function.__qualname__.partition(".")[0]  # Of a method, the others may be called.
        for name in (*code.co_names, *code.co_freevars, cls):
            what = named_object(function, name)
            is_class = isinstance(what, type) and is_users(what)
            for other in methods_of(what).values() if is_class else [what]:
                yield from codes_of(other, visited)
