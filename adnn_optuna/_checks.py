"""Checks of arguments and of what was read, each with one sentence, and the log."""

import functools
import importlib.util
import logging
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    TypedDict,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from urllib.parse import unquote

logger: logging.Logger = logging.getLogger("optuna.adnn_optuna")


@functools.cache
def say_once(message: str, *args: object) -> None:
    """Log something that need not be said again in this process."""
    logger.info(message, *args)


class WrongInputError(Exception):
    """What was asked for is wrong: the message says what, where, how to mend it, no password."""

    def __init__(self, *messages: str) -> None:
        super().__init__(*map(without_passwords, messages))


class WrongValueError(WrongInputError, ValueError):
    """A value is wrong."""


class WrongTypeError(WrongInputError, TypeError):
    """A value is of the wrong type."""


class NoSuchFileError(WrongInputError, FileNotFoundError):
    """A file or folder does not exist."""


class NotInstalledError(WrongInputError, ImportError):
    """A package is needed that the installation left out."""


# The extras that install packages which are needed for a part of the work only.
_EXTRAS = {
    "keras": "tensorflow",
    "sklearn": "tensorflow",
    "tensorflow": "tensorflow",
    "psycopg": "postgresql",
    "optuna_dashboard": "dashboard",
}


def check_installed(package: str, what: str) -> None:
    """Raise unless a package is installed, with the command that installs it."""
    if not is_installed(package):
        said = f"{what} needs {package}, which is not installed"
        raise NotInstalledError(f"{said}: {install_command(package)}.")


def install_command(package: str) -> str:
    """Return the command that installs a package, with the extra that it is of, if it is."""
    extra = _EXTRAS.get(package)
    return f"pip install 'adnn_optuna[{extra}]'" if extra else f"pip install {package}"


def is_installed(package: str) -> bool:
    """Return whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


def check_integer(name: str, value: Any, low: int) -> None:
    """Raise unless the value is an integer that is not below ``low``."""
    check_type(f"`{name}`", value, Integral, f"an integer of at least {low}")
    if value < low:
        raise WrongValueError(f"`{name}` must be at least {low}, but is {value!r}.")


def check_type(name: str, value: object, kind: type | UnionType, wanted: str) -> None:
    """Raise unless the value is of a kind; truth values are numbers to Python only."""
    is_no_number = isinstance(value, bool) and kind in (Integral, Real)
    if is_no_number or not isinstance(value, kind):
        shown = without_passwords(repr(value))[:100]  # Half a URL hides none.
        raise WrongTypeError(
            f"{name} must be {wanted}, but is {shown} of type {type(value).__name__}."
        )


def check_number(name: str, value: Any) -> None:
    """Raise unless the value is a finite number."""
    check_type(f"`{name}`", value, Real, "a number")
    try:
        is_finite = math.isfinite(value)
    except OverflowError:
        is_finite = False
    if not is_finite:
        raise WrongValueError(f"`{name}` must be a finite number, but is {value!r:.100}.")


def is_integer(value: object) -> bool:
    """Return whether a value is an integer, and no truth value."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_positive(name: str, value: Any) -> None:
    """Raise unless the value is a finite number above zero."""
    check_number(name, value)
    if value <= 0:
        raise WrongValueError(f"`{name}` must be greater than 0, but is {value!r}.")


def as_integer(name: str, value: Any, low: int = 1) -> int:
    """Return a whole number of at least ``low`` as Python's, and refuse anything else."""
    if not is_integer(value) or value < low:
        raise WrongValueError(
            f"{name} must be a whole number of at least {low}, but it is {value!r:.100}."
        )
    check_number(name, value)
    return int(value)


def check_parameters(name: str, values: Mapping[str, Any]) -> None:
    """Raise unless all numbers are finite; anything else is a choice."""
    for parameter, value in values.items():
        if isinstance(value, Real) and not isinstance(value, bool):
            check_number(f"{name}[{parameter!r}]", value)


def first_line(error: object) -> str:
    """Return an error's first line without its full stop; its class if it says nothing."""
    return str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__


# How a setting of a connection string begins, of libpq's or ODBC's, which may stand for a URL.
_DSN = r"\b\w*(?:host(?:addr)?|dbname|user|password|passfile|service|uid|pwd)\s*=\s*\S"
# Where the options of a URL begin, also those that are misplaced.
_OPTIONS = re.compile(rf"\?|[&;]\w+=|{_DSN}", re.IGNORECASE)
_AUTHORITY = re.compile(r"\A(\[[^\]]*\]|[^:]*):?(.*)\Z", re.DOTALL)
_HOST = re.compile(r"[\w.-]*|\[[\w.:%]*\]")
_DATABASE = re.compile(r"[\w./$-]*")
# A path that is no URL; its only colon is behind a drive.
_PATH = re.compile(r"(?:[A-Za-z]:)?[^=:@?&;]*")
# A URL in a text: up to the quote that it began with, or else up to white space behind its user.
_URL_IN_TEXT = re.compile(
    r"""(?<=(["']))[\w+.-]{2,}:/(?:(?!:/)[^\n])*?(?=\1(?![\w@:/]))"""
    r"""|(?<![\w+.-])[\w+.-]{2,}:/(?:/?(?!/)(?:(?!:/)[^\n])*@)?(?:[^\s'"]*[^\s'",;:.)])?"""
)
# A user with a password before a host, and a connection string up to the end of the line.
_USER_IN_TEXT = re.compile(
    rf"""(?<![^\s'"])[^\s'":]+:(?!/)[^\s'"@]+@[^\s'"]*|{_DSN}.*""", re.IGNORECASE
)


def masked(url: str) -> str:
    """Return scheme, host, numeric port and database of a storage URL, ``***`` for all else."""
    return "".join(text if is_shown or not text else "***" for text, is_shown in _parts(url))


def _parts(url: str) -> list[tuple[str, object]]:
    """Return the parts of a storage URL, each with whether it may be shown."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return [(url, _PATH.fullmatch(url))]
    if not re.fullmatch(r"[\w+.-]+", scheme):
        return [(url, False)]
    first = _OPTIONS.search(rest)
    end = first.start() if first else len(rest)
    place, options, user, at = rest[:end], rest[end:], "", ""
    if not rest.startswith("/"):
        if "@" in options:  # They may be a part of the password.
            return [(f"{scheme}://", True), (rest, False)]
        user, at, place = place.rpartition("@")
    authority, slash, database = place.partition("/")
    [[host, port]] = _AUTHORITY.findall(authority)
    return [
        (f"{scheme}://", True),
        (user, False),
        (at, True),
        (host, _HOST.fullmatch(host)),
        (":" if port else "", True),
        (port, re.fullmatch("[0-9]{1,5}", port)),
        (slash, True),
        (database, scheme.startswith("sqlite") or _DATABASE.fullmatch(database)),
        ("?" if options else "", True),
        (options, False),
    ]


def without_secrets(url: str, text: str) -> str:
    """Return a text with ``***`` for what :func:`masked` hides of a storage URL."""
    wholes = {part for part, is_shown in _parts(url) if part and not is_shown}
    wholes |= {unquote(part) for part in wholes}
    values = {value for whole in wholes for value in re.split("[:=&]", whole)}
    words = {word for value in values for word in re.split(r"\W+", value)}
    words -= set(re.findall(r"[?&;](\w+)=", url))  # The names of options.
    # Those of one or two letters are hidden if they are quoted.
    known = sorted(wholes | values, key=len, reverse=True)
    patterns = [re.escape(value) for value in known if len(value) > 2]
    patterns += [rf"\b{word}\b" for word in words if len(word) > 2]
    patterns += [rf"(?<=[\"']){word}(?=[\"'])" for word in words if 0 < len(word) < 3]
    return re.sub("|".join(patterns), "***", text) if patterns else text


def without_passwords(text: str) -> str:
    """Return a text with its storage URLs as :func:`masked` shows them."""
    text = _URL_IN_TEXT.sub(lambda url: masked(url[0]), text)
    return _USER_IN_TEXT.sub("***", text)


TOO_LITTLE_MEMORY = (
    "There is too little memory to train even one network; take a smaller model, batch_size or "
    "dataset."
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of Python, NumPy or TensorFlow says that memory ran out."""
    tensorflow = sys.modules.get("tensorflow")  # Where it was not imported, it raised nothing.
    return isinstance(error, MemoryError) or (
        tensorflow is not None and isinstance(error, tensorflow.errors.ResourceExhaustedError)
    )


# Those of `Path` raise where a name is too long.
is_file, is_folder = os.path.isfile, os.path.isdir


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with a user's home for ``~``; ``Path.expanduser`` raises without that user."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


def check_output_file(what: str, path: Path, suffix: str = "") -> None:
    """Refuse a file that cannot be written, or lacks the suffix, before there is what to write."""
    if suffix and path.suffix != suffix:
        raise WrongValueError(
            f"{what} must be the name of a {suffix} file, but it is {str(path)!r}."
        )
    refused, folder = f"{what} {str(path)!r} cannot be written", path.absolute().parent
    if not is_folder(folder):
        raise NoSuchFileError(
            f"{refused}: there is no folder {str(folder)!r}; make it, or name another file."
        )
    if is_folder(path):
        raise WrongValueError(f"{refused}: it is a folder; name another file.")
    if not os.access(folder, os.W_OK):
        raise WrongValueError(
            f"{refused}: you may not write to the folder {str(folder)!r}; name a file in another."
        )


class Fault(NamedTuple):
    """What a value that was read must be, what it is instead, and in which part of it."""

    rule: str
    got: str
    part: str = ""


class _Form(NamedTuple):
    """What is expected of values of types that differ in their arguments alone."""

    text: str
    accepts: Callable[[Any, Any], bool]
    # The parts by their keys, each with its rule.
    parts: Callable[[Any, Any], Iterable[tuple[object, Any, "Rule"]]] = lambda *_: ()


class Rule(NamedTuple):
    """What is expected of values of one type; of parts, the arguments are rules, too."""

    kind: Any
    form: _Form
    arguments: tuple[Any, ...]


def fault_of(value: Any, rule: Rule) -> Fault | None:
    """Return what is wrong with a value, or with a part of it."""
    kind, form, arguments = rule
    if type(value) is kind:
        return None
    if not form.accepts(value, arguments):
        got = "none" if value is None else type(value).__name__
        return Fault(form.text.format(*arguments), got)
    for key, part, of_part in form.parts(value, arguments):
        if (fault := fault_of(part, of_part)) is not None:
            return fault._replace(part=f"{key}.{fault.part}".strip("."))
    return None


def _is_float(value: Any, _: object) -> bool:
    # An integer may be larger than any float.
    return isinstance(value, float) or (is_integer(value) and abs(int(value)) < 2**1023)


def _has_keys(value: Any, hints: tuple[Any, ...]) -> bool:
    """Return whether a value is a mapping that has all keys that it must have."""
    return isinstance(value, dict) and bool(hints[0] <= value.keys())


_FORMS: dict[Any, _Form] = {
    Any: _Form("anything", lambda *_: True),
    NoneType: _Form("none", lambda value, _: value is None),
    str: _Form("a text", lambda value, _: isinstance(value, str)),
    bool: _Form("true or false", lambda value, _: isinstance(value, bool)),
    float: _Form("a number", _is_float),
    Literal: _Form("one of its known values", lambda value, known: value in known),
    Annotated: _Form(
        "a whole number from {1.start} on",
        lambda value, of: (type(value) is int or is_integer(value)) and int(value) in of[1],
    ),
    # One of several types; a fault is told by the first of them.
    UnionType: _Form(
        "",
        lambda *_: True,
        lambda value, of: (
            [("", value, of[0])] if all(fault_of(value, kind) for kind in of) else []
        ),
    ),
    dict: _Form(
        "a mapping",
        lambda value, _: isinstance(value, dict),
        lambda value, of: ((key, inner, of[1]) for key, inner in value.items()),
    ),
    TypedDict: _Form(
        "a mapping with {2}",
        _has_keys,
        lambda value, of: ((key, value[key], of[1][key]) for key in value.keys() & of[1].keys()),
    ),
    # In memory, tuples stay tuples.
    list: _Form(
        "a list",
        lambda value, _: isinstance(value, list | tuple),
        lambda value, of: ((i, inner, of[0]) for i, inner in enumerate(value)),
    ),
    tuple: _Form(
        "a list of a certain length",
        lambda value, of: isinstance(value, list | tuple) and len(value) == len(of),
        lambda value, of: zip(range(len(of)), value, of, strict=True),
    ),
}


@functools.cache
def rule_of(kind: Any) -> Rule:
    """Return what is expected of values of a type."""
    if is_typeddict(kind):
        hints, needed = get_type_hints(kind, include_extras=True), kind.__required_keys__
        rules = {key: rule_of(hint) for key, hint in hints.items()}
        return Rule(kind, _FORMS[TypedDict], (needed, rules, ", ".join(sorted(needed))))
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin is NotRequired:
        return rule_of(*arguments)
    if origin not in (Literal, Annotated):
        arguments = tuple(map(rule_of, arguments))
    return Rule(kind, _FORMS[UnionType if origin is Union else origin], arguments)
