"""Fingerprints of users' functions. They show whether a stored value is from the same code.

A fingerprint covers a function's code, constants, defaults and closure values. It also covers
functions, classes and upper-case numbers of the function's module. It does not cover functions of
other modules, data, or objects that may change, such as lists. It omits values that the code
itself assigns, such as a counter.
"""

import contextlib
import dis
import functools
import hashlib
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Number
from types import CodeType, FunctionType, MethodType
from typing import Any

import optuna

from adnn_optuna._attributes import CODE, read_study
from adnn_optuna._checks import WrongValueError, logger
from adnn_optuna._units import in_number
from adnn_optuna.samplers._trials import is_done

UserFunction = Callable[..., Any]

_PLAIN = (type(None), Number, str, bytes, slice, type(...))
_OF_SOURCE = ("__doc__", "__firstlineno__", "__qualname__", "__module__")  # Class attributes.
_IN_CONSTRUCTION = ("__init__", "__post_init__", "__new__")


def check_code(
    studies: Sequence[optuna.Study], functions: Mapping[str, UserFunction], *, reuse: bool
) -> None:
    """Store the functions' fingerprints. Raise an error if studies have trials of other code.

    ``functions`` maps the user's names to functions. With ``reuse``, trials of other code are
    kept.
    """
    if not functions:
        return
    current = {name: code_fingerprint(function) for name, function in functions.items()}
    current["python"] = str(sys.implementation.cache_tag)
    changed: dict[str, None] = {}  # The changed functions in their order.
    n_changed = 0
    n_elsewhere = 0
    outdated = []
    for study in studies:
        attrs, trials = read_study(study)
        if (before := attrs.get(CODE)) == current:
            continue
        outdated.append(study)
        if before is None:
            continue
        n_done = sum(map(is_done, trials))
        if before.get("python") != current["python"]:
            n_elsewhere += n_done
        elif n_done:
            n_changed += n_done
            changed |= dict.fromkeys(n for n in functions if before.get(n) != current[n])
    if n_changed and not reuse:
        evaluations = in_number(n_changed, "stored evaluation")
        raise WrongValueError(
            f"{', '.join(changed)} must have the code of {evaluations}; got other code. Pass "
            "the function that made them, reuse=True to keep them, or another study_name."
        )
    if n_elsewhere:
        logger.warning(
            "%d stored evaluations were made by another version of Python, so a change of %s "
            "since then cannot be seen. They are reused.",
            n_elsewhere,
            ", ".join(functions),
        )
    for study in outdated:
        study.set_user_attr(CODE, current)


def code_fingerprint(function: UserFunction) -> str:
    """Return a digest of a function, equal in all processes that run the same source."""
    text = "\n".join(_texts(function))
    digest = hashlib.sha256(text.encode()).hexdigest()
    return digest[:32]


def names_in(function: UserFunction) -> set[str]:
    """Return the names in a function's code, and in the functions that it calls."""
    texts = (text.strip("'") for text in _texts(function))
    return {text for text in texts if text.isidentifier()}


def _texts(function: UserFunction) -> Iterator[str]:
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    return _parts(function, str(getattr(inner, "__module__", "")), set())


def _parts(value: Any, module: str, seen: set[int]) -> Iterator[str]:
    """Yield texts of a value and of the functions that it calls, each function once."""
    parts: tuple[Any, ...] = ()
    if isinstance(value, _PLAIN):
        yield repr(value)
    elif isinstance(value, frozenset):
        yield f"set {sorted(map(repr, value))}"
    elif isinstance(value, tuple):
        yield f"tuple of {len(value)}"
        parts = value
    elif id(value) in seen:
        yield "known"
    else:
        seen.add(id(value))
        yield type(value).__qualname__
        parts = _code_parts(value) if isinstance(value, CodeType) else _own_parts(value, module)
    for part in parts:
        yield from _parts(part, module, seen)


def _own_parts(value: Any, module: str) -> tuple[Any, ...]:
    """Return the parts of a value that may change its results, except code of other modules."""
    kind = type(value)
    held = _attributes(value)
    parts = tuple[Any, ...]()
    if isinstance(value, functools.partial):
        parts = value.func, value.args, _pairs(value.keywords)
    elif isinstance(value, MethodType):
        parts = value.__func__, value.__self__
    elif isinstance(value, FunctionType):
        is_own = value.__module__ == module
        parts = (*_function_parts(value), held.get("__wrapped__")) if is_own else ()
    elif isinstance(value, type):
        is_own = value.__module__ == module
        parts = (*value.__bases__, _pairs(_members(value))) if is_own else ()
    elif "__wrapped__" in held:  # For example, a function with functools.cache.
        parts = (held["__wrapped__"],)
    elif kind.__module__ == module:
        methods = dict[str, FunctionType]()
        for cls in kind.__mro__:
            methods |= methods_of(cls)
        state = _state(methods) | {*methods}  # The set includes cached properties.
        attributes = {name: value for name, value in held.items() if name not in state}
        parts = kind, _pairs(attributes)
    return parts


def _attributes(value: Any) -> dict[str, Any]:
    """Return the attributes of an instance, including slots."""
    held = dict(getattr(value, "__dict__", {}))
    for cls in type(value).__mro__:
        slots = vars(cls).get("__slots__", ())
        names = [slots] if isinstance(slots, str) else slots
        held |= {name: getattr(value, name) for name in names if hasattr(value, name)}
    return held


def _pairs(of: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(of.items(), key=lambda item: item[0]))


def methods_of(cls: type) -> dict[str, FunctionType]:
    """Return the functions that a class itself defines, including properties and class methods."""
    methods = {}
    for name, value in vars(cls).items():
        # Class methods, properties and cached properties keep their function in these attributes.
        inner = [getattr(value, name, None) for name in ("__func__", "fget", "func")]
        for function in (value, *inner):
            if isinstance(function, FunctionType):
                methods[name] = function
    return methods


def _members(cls: type) -> dict[str, Any]:
    """Return a class's functions, and its plain attributes that no function assigns."""
    methods = methods_of(cls)
    left_out = _state(methods) | {*_OF_SOURCE}
    plain = {name: member for name, member in vars(cls).items() if isinstance(member, _PLAIN)}
    return methods | {name: member for name, member in plain.items() if name not in left_out}


def _state(methods: Mapping[str, FunctionType]) -> set[str]:
    """Return the names of attributes that methods assign after construction."""
    codes = [method.__code__ for name, method in methods.items() if name not in _IN_CONSTRUCTION]
    return {name for code in codes for name in _assigned(code, "STORE_ATTR")}


def _function_parts(function: FunctionType) -> tuple[Any, ...]:
    code = function.__code__
    values = {}
    state = _assigned(code, "STORE_DEREF")
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # The cell is still empty.
            if name not in state:
                values[name] = cell.cell_contents
    # Only constants and callables among the globals count. `_own_parts` follows the callables that
    # belong to the module.
    names = {name for inner_code in _codes(code) for name in inner_code.co_names}
    global_values = function.__globals__
    for member in (function, *global_values.values()):
        if isinstance(member, FunctionType) and member.__globals__ is global_values:
            names -= _assigned(member.__code__, "STORE_GLOBAL")
    for name in names & global_values.keys():
        value = global_values[name]
        is_constant = name.isupper() and isinstance(value, Number)
        if is_constant or callable(value):
            values[name] = value
    keyword_defaults = _pairs(function.__kwdefaults__ or {})
    return code, function.__defaults__, keyword_defaults, _pairs(values)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and the code objects of its inner functions."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


@functools.cache  # All functions of a module need the codes of all others.
def _assigned(code: CodeType, how: str) -> frozenset[str]:
    """Return the names that a code object and its inner functions assign."""
    names = set()
    for inner_code in _codes(code):
        for instruction in dis.get_instructions(inner_code):
            if instruction.opname == how:
                names.add(str(instruction.argval))
    return frozenset(names)


def _code_parts(code: CodeType) -> tuple[Any, ...]:
    """Return the parts of a code object, without its name, docstring and position in a file."""
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
    instructions = [*dis.get_instructions(code)]
    steps = []
    for instruction, after in itertools.zip_longest(instructions, instructions[1:]):
        if after and after.opname == "STORE_NAME" and after.argval in _OF_SOURCE:
            continue
        value = instruction.argval
        if instruction.opname == "KW_NAMES":
            value = code.co_consts[instruction.arg or 0]
        steps.append((instruction.opname, value))
    return counts, arguments, *steps
