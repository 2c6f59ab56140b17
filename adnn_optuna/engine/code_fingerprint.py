"""Fingerprints of users' functions, so that no stored value of an earlier code is reused unseen.

Seen are code and constants, defaults, values of closures, and functions of the same module. Not
seen are functions of other modules, data, and objects that may change, such as lists. A value that
the code itself assigns, such as a counter, is state and no setting.
"""

import contextlib
import dis
import functools
import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType, FunctionType, MethodType
from typing import Any

import optuna

from adnn_optuna import _attributes as stored
from adnn_optuna._checks import WrongValueError, logger
from adnn_optuna.engine.storages import with_retry
from adnn_optuna.samplers._trials import is_done

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))
_OF_SOURCE = ("__doc__", "__firstlineno__", "__qualname__", "__module__")  # Of a class in a code.
_IN_CONSTRUCTION = ("__init__", "__post_init__", "__new__")


def check_code(
    studies: Sequence[optuna.Study], functions: Mapping[str, Callable[..., Any]], *, reuse: bool
) -> None:
    """Refuse functions that changed since the trials of studies were made; store what they are.

    ``functions`` are given by what a user calls them. If ``reuse``, the trials count for them.
    """
    if not functions:
        return
    current = {name: code_fingerprint(function) for name, function in functions.items()}
    current["python"] = str(sys.implementation.cache_tag)
    names, n_changed, n_elsewhere = list[str](), 0, 0
    for study in studies:
        attrs = with_retry(_attributes, study)
        before, n_done = attrs.get(stored.CODE, current), 0
        if before != current:
            n_done = sum(map(is_done, with_retry(study.get_trials, deepcopy=False)))
        if before.get("python") != current["python"]:
            n_elsewhere += n_done
        elif n_done:
            n_changed += n_done
            names = [f"`{name}`" for name in functions if before.get(name) != current[name]]
    if n_changed and not reuse:
        made = f"{n_changed} stored evaluation{'s were' if n_changed > 1 else ' was'} made"
        raise WrongValueError(
            f"{', '.join(names)} changed since {made}. Pass reuse=True to keep them, or another "
            "study_name."
        )
    if n_elsewhere:
        logger.warning(
            "%d stored evaluations were made by another version of Python, so a change of %s "
            "since then cannot be seen. They are reused.",
            n_elsewhere,
            ", ".join(functions),
        )
    for study in studies:
        if with_retry(_attributes, study).get(stored.CODE) != current:
            with_retry(study.set_user_attr, stored.CODE, current)


def _attributes(study: optuna.Study) -> dict[str, Any]:
    return study.user_attrs


def code_fingerprint(function: Callable[..., Any]) -> str:
    """Return a digest of a function, the same in any process that runs the same source."""
    module = _module_of(function)
    text = "\n".join(_parts(function, module, set()))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _module_of(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__module__", ""))


def _parts(value: Any, module: str, seen: set[int]) -> Iterator[str]:
    """Yield texts of a value and of the functions that it calls, each of these once."""
    if isinstance(value, _PLAIN):
        yield repr(value)
    elif isinstance(value, tuple):
        yield "tuple"
        for item in value:
            yield from _parts(item, module, seen)
    elif isinstance(value, frozenset):
        yield f"set {sorted(map(repr, value))}"
    elif id(value) in seen:
        yield "known"
    else:
        seen.add(id(value))
        yield type(value).__qualname__
        yield from _callable_parts(value, module, seen)


def _callable_parts(value: Any, module: str, seen: set[int]) -> Iterator[str]:
    parts: tuple[Any, ...] = ()
    if isinstance(value, functools.partial):
        parts = value.func, value.args, _pairs(value.keywords)
    elif isinstance(value, MethodType):
        parts = value.__func__, value.__self__
    elif isinstance(value, FunctionType):
        if value.__module__ == module:
            yield from _function_parts(value, module, seen)
    elif isinstance(value, type):
        if value.__module__ == module:
            parts = (*value.__bases__, _pairs(_methods(value)))
    elif "__wrapped__" in getattr(value, "__dict__", {}):  # Such as of functools.cache.
        parts = (value.__wrapped__,)
    elif type(value).__module__ == module:
        cls = type(value)
        methods = [of for name, of in _methods(cls).items() if name not in _IN_CONSTRUCTION]
        state = {name for of in methods for name in _assigned(of.__code__, "STORE_ATTR")}
        settings = {
            name: of for name, of in getattr(value, "__dict__", {}).items() if name not in state
        }
        parts = cls, _pairs(settings)
    for part in parts:
        yield from _parts(part, module, seen)


def _pairs(of: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(of.items(), key=lambda item: item[0]))


def _methods(cls: type) -> dict[str, FunctionType]:
    """Return the functions of a class itself, those of its properties and class methods, too."""
    found = {}
    for name, value in vars(cls).items():
        function = getattr(value, "__func__", getattr(value, "fget", value))
        if isinstance(function, FunctionType):
            found[name] = function
    return found


def _function_parts(function: FunctionType, module: str, seen: set[int]) -> Iterator[str]:
    yield from _code_parts(function.__code__)
    yield from _parts((function.__defaults__, _pairs(function.__kwdefaults__ or {})), module, seen)
    state = _assigned(function.__code__, "STORE_DEREF")
    values: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # The cell is still empty.
            if name not in state:
                values[name] = cell.cell_contents
    # Of globals only what can be called, which `_parts` follows within the module.
    names = {name for code in _codes(function.__code__) for name in code.co_names}
    known = function.__globals__
    values |= {name: known[name] for name in names if callable(known.get(name))}
    yield from _parts(_pairs(values), module, seen)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a code and all codes of functions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _assigned(code: CodeType, how: str) -> set[str]:
    """Return the names that a code assigns, in the functions in it, too."""
    found = (each for one in _codes(code) for each in dis.get_instructions(one))
    return {str(each.argval) for each in found if each.opname == how}


def _code_parts(code: CodeType) -> Iterator[str]:
    """Yield what a code does, without its name, its docstring and its place in a file."""
    yield f"{code.co_argcount} {code.co_posonlyargcount} {code.co_kwonlyargcount} {code.co_flags}"
    yield f"{code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]}"
    instructions = [*dis.get_instructions(code)]
    for each, following in zip(instructions, [*instructions[1:], None], strict=True):
        is_place = following is not None and following.argval in _OF_SOURCE
        if is_place and following is not None and following.opname == "STORE_NAME":
            continue
        value = each.argval
        if isinstance(value, CodeType):
            yield each.opname
            yield from _code_parts(value)
        elif isinstance(value, frozenset):
            yield f"{each.opname} {sorted(map(repr, value))}"
        else:
            yield f"{each.opname} {value!r}"
