"""Checks of arguments and stored values, whose errors are one sentence, and the package's log."""

import contextlib
import difflib
import functools
import importlib
import importlib.util
import itertools
import logging
import math
import os
import random
import re
import sys
import threading
import unicodedata
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from numbers import Integral, Real
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from urllib.parse import unquote

# Unicode's categories of characters that are escaped. They control a terminal, hide or reorder
# text, are halves of characters, or end lines and paragraphs.
_ESCAPED = {"Cc", "Cf", "Cs", "Zl", "Zp"}

logger: logging.Logger = logging.getLogger("optuna.adnn_optuna")


def printable(text: str, keep: str = "") -> str:
    """Return a text from an untrusted source, with control and format characters escaped.

    All format characters are escaped. So an emoji that U+200D joins is shown as its parts.
    """
    if text.isprintable():  # Most texts are printable, so they need no escape.
        return text
    escaped = {c for c in text if unicodedata.category(c) in _ESCAPED} - set(keep)
    return "".join(ascii(c)[1:-1] if c in escaped else c for c in text)


def n_cores() -> int:
    """Return the number of cores that this process may use."""
    # macOS and Windows only report the number of cores of the machine.
    of_machine = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return of_machine


def shown(value: object) -> str:
    """Return a value's repr in one line without passwords. A long repr ends in ``...``."""
    # Passwords are masked before the text is cut, because half a URL is not recognized.
    text = re.sub(r" at 0x[0-9a-f]+>", ">", repr(value))  # Omit addresses of functions.
    text = without_passwords(re.sub(r"\n\s*", " ", text))
    if len(text) > 100:
        return f"{text[:100]}..."
    return text


class WrongInputError(Exception):
    """An error about wrong input. Its message says how to fix the input.

    The message contains no passwords. Control characters are escaped, because it may contain texts
    from untrusted sources.
    """

    def __init__(self, *messages: str) -> None:
        super().__init__(
            *(printable(without_passwords(message), keep="\n") for message in messages)
        )


class WrongValueError(WrongInputError, ValueError):
    """A value is wrong."""


class WrongParametersError(WrongValueError, KeyError):
    """A function uses parameters that its trial does not have. ``catch`` never catches it."""

    __str__ = Exception.__str__  # A KeyError would show its message in quotes.

    @classmethod
    def of(cls, study_name: str, params: Mapping[str, Any], used: str) -> "WrongParametersError":
        """Return the error for a parameter that is ``used`` but is not in ``params``."""
        return cls(
            f"The function must use the parameters {shown(params)} of study "
            f"{shown(study_name)}; got {used}. Pass the function of this study."
        )


class WrongTypeError(WrongInputError, TypeError):
    """A value has the wrong type."""


class NoSuchFileError(WrongInputError, FileNotFoundError):
    """A file or folder does not exist."""


class NotInstalledError(WrongInputError, ImportError):
    """A needed package is not installed."""


# The extras of this package that install packages for some features.
_EXTRAS = {
    "keras": "tensorflow",
    "sklearn": "tensorflow",
    "tensorflow": "tensorflow",
    "psycopg": "postgresql",
}


def check_installed(package: str, what: str) -> None:
    """Raise an error unless a package is installed.

    The error names the command that installs it.
    """
    if not is_installed(package):
        raise NotInstalledError(
            f"{what} needs {package}, which is not installed: {install_command(package)}."
        )


def install_command(package: str) -> str:
    """Return the command that installs a package, or the extra that contains it."""
    extra = _EXTRAS.get(package)
    if extra:
        return f"pip install 'adnn_optuna[{extra}]'"
    return f"pip install {package}"


def is_installed(package: str) -> bool:
    """Return whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


# Without a lock, two threads would restore each other's warning filters.
_importing = threading.RLock()


def load(module: str) -> ModuleType:
    """Import and return a module, without other changes to this process."""
    if module in sys.modules:
        return importlib.import_module(module)
    with importing():
        return importlib.import_module(module)


def loading(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a ``__getattr__`` that loads a package's names from their modules at first use."""

    def load_name(name: str) -> Any:
        if name not in modules:
            # A user may write `variance`, which is the name of the command, instead of
            # `measure_variance`.
            choices = [other for other in modules if name in other] or modules
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}.{did_you_mean(name, choices)}"
            )
        return getattr(load(f"{package}.{modules[name]}"), name)

    return load_name


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Undo side effects of imports on warning filters, random states and log levels."""
    with _importing, warnings.catch_warnings():
        state = random.getstate()
        sqlalchemy = logging.getLogger("sqlalchemy")
        level = sqlalchemy.level
        try:
            yield
        finally:
            random.setstate(state)
            if sqlalchemy.level != level:
                # Without a level, these loggers log each statement if the root logger is at INFO.
                for part in ("engine", "orm", "pool", "dialects"):
                    of_part = logging.getLogger(f"sqlalchemy.{part}")
                    of_part.setLevel(of_part.level or sqlalchemy.level)
                sqlalchemy.setLevel(level)


TOO_LARGE = 2**64  # Studies cannot store sizes and seeds of this size or larger.


def check_integer(name: str, value: Any, low: int) -> None:
    """Raise an error unless the value is an integer of at least ``low`` that a study can store."""
    check_type(name, value, Integral, f"an integer of at least {low}")
    if value < low:
        raise WrongValueError(f"{name} must be at least {low}; got {value!r}.")
    _check_below(name, value, TOO_LARGE)


def _check_below(name: str, value: Any, limit: float) -> None:
    if value >= limit:
        raise WrongValueError(
            f"{name} must be below {limit:,}; got {shown(value)}. Pass a smaller number."
        )


def check_type(name: str, value: object, kind: type | UnionType, wanted: str) -> None:
    """Raise an error unless the value has one of the types.

    A truth value does not count as a number.
    """
    is_no_number = isinstance(value, bool) and kind in (Integral, Real)
    if is_no_number or not isinstance(value, kind):
        raise WrongTypeError(
            f"{name} must be {wanted}; got {shown(value)} of type {type(value).__name__}."
        )


def check_number(name: str, value: Any) -> None:
    """Raise an error unless the value is a finite number."""
    check_type(name, value, Real, "a number")
    try:
        is_finite = math.isfinite(value)
    except OverflowError:
        is_finite = False
    if not is_finite:
        raise WrongValueError(f"{name} must be a finite number; got {shown(value)}.")


def checked_failed(failed: Any) -> float | None:
    """Return the value of failed runs as a float, or None. Raise an error for other values."""
    if failed is None:
        return None
    check_number("failed", failed)
    return float(failed)


def is_integer(value: object) -> bool:
    """Return whether a value is an integer other than a truth value."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_positive(name: str, value: Any) -> None:
    """Raise an error unless the value is a finite number above zero."""
    check_number(name, value)
    if value <= 0:
        raise WrongValueError(f"{name} must be greater than 0; got {value!r}.")


def as_integer(name: str, value: Any, low: int = 1, below: float = TOO_LARGE) -> int:
    """Return a whole number of at least ``low`` as a Python integer, or raise an error."""
    if not is_integer(value) or value < low:
        raise WrongValueError(
            f"{name} must be a whole number of at least {low}; got {shown(value)}."
        )
    check_number(name, value)
    _check_below(name, value, below)
    return int(value)


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Raise an error unless the value is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        allowed = ", ".join(choices)
        if len(choices) > 1:
            allowed = f"one of {allowed}"
        raise WrongValueError(
            f"{name} must be {allowed}; got {shown(value)}.{did_you_mean(str(value), choices)}"
        )


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return a question with the choice that was probably meant, or an empty text."""
    nearest = difflib.get_close_matches(name, choices, 1)
    if not nearest:
        return ""
    return f" Did you mean {nearest[0]!r}?"


def check_parameters(name: str, values: Mapping[str, Any]) -> None:
    """Raise an error if a number is not finite. All other values may be choices."""
    for parameter, value in values.items():
        if isinstance(value, Real) and not isinstance(value, bool):
            check_number(f"{name}[{parameter!r}]", value)


def first_line(error: object) -> str:
    """Return an error's first line without its full stop, or its class if it has no message."""
    return str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__


# The beginning of a setting in a connection string of libpq or ODBC, which may replace a URL.
_DSN = r"\b\w*(?:host(?:addr)?|dbname|user|password|passfile|service|uid|pwd)\s*=\s*\S"
# The beginning of a URL's options, which may be in a wrong place.
_OPTIONS = re.compile(rf"\?|[&;]\w+=|{_DSN}", re.IGNORECASE)
_AUTHORITY = re.compile(r"\A(\[[^\]]*\]|[^:]*):?(.*)\Z", re.DOTALL)
_HOST = re.compile(r"[\w.-]*|\[[\w.:%]*\]")
_DATABASE = re.compile(r"[\w./$-]*")
# A path that is not a URL. A colon is allowed only after a drive. If a path has an @, its first
# character must be one that user names never begin with.
_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[^=:@?&;]*|[/\\.][^=:?&;]*)")
# A URL in a text. It ends at its quote or, without quotes, at white space after its user.
_URL_IN_TEXT = re.compile(
    r"""(?<=(["']))[\w+.-]{2,}:/(?:(?!:/)[^\n])*?(?=\1(?![\w@:/]))"""
    r"""|(?<![\w+.-])[\w+.-]{2,}:/(?:/?(?!/)(?:(?!:/)[^\n])*@)?(?:[^\s'"]*[^\s'",;:.)])?"""
)
# A user and a password before a host, or a connection string up to the end of the line.
_USER_IN_TEXT = re.compile(
    rf"""(?<![^\s'"])[^\s'":]+:(?!/)[^\s'"@]+@[^\s'"]*|{_DSN}.*""", re.IGNORECASE
)


def masked(url: str) -> str:
    """Return a storage URL that shows only scheme, host, numeric port and database.

    ``***`` replaces all other parts.
    """
    return "".join(text if is_shown or not text else "***" for text, is_shown in _parts(url))


def _parts(url: str) -> list[tuple[str, object]]:
    """Return the parts of a storage URL and whether each part may be shown."""
    scheme, separator, address = url.partition("://")
    if not separator:
        return [(url, _PATH.fullmatch(url))]
    if not re.fullmatch(r"[\w+.-]+", scheme):
        return [(url, False)]
    end = len(address)
    first_option = _OPTIONS.search(address)
    if first_option:
        end = first_option.start()
    place = address[:end]
    options = address[end:]
    user = ""
    at = ""
    if not address.startswith("/"):
        if "@" in options:  # These options may be a part of the password.
            return [(f"{scheme}://", True), (address, False)]
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
    """Return a text in which ``***`` replaces the parts of a URL that :func:`masked` hides."""
    wholes = {part for part, is_shown in _parts(url) if part and not is_shown}
    wholes |= set(map(unquote, wholes))
    values = {value for whole in wholes for value in re.split("[:=&]", whole)}
    words = {word for value in values for word in re.split(r"\W+", value)}
    words -= set(re.findall(r"[?&;](\w+)=", url))  # The names of options.
    secrets = sorted(wholes | values, key=len, reverse=True)
    patterns = [re.escape(value) for value in secrets if len(value) > 2]
    for word in filter(None, words):
        if len(word) > 2:
            patterns.append(rf"\b{word}\b")
        else:  # Words of one or two letters are hidden only in quotes.
            patterns.append(rf"(?<=[\"']){word}(?=[\"'])")
    if patterns:
        return re.sub("|".join(patterns), "***", text)
    return text


def without_passwords(text: str) -> str:
    """Return a text whose storage URLs are masked, see :func:`masked`."""
    text = _URL_IN_TEXT.sub(lambda url: masked(url[0]), text)
    return _USER_IN_TEXT.sub("***", text)


TOO_LITTLE_MEMORY = (
    "There is too little memory to train even one network; take a smaller model, batch_size or "
    "dataset."
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of Python, NumPy or TensorFlow says that memory ran out."""
    # If TensorFlow is not imported, the error is not from it.
    tensorflow = sys.modules.get("tensorflow")
    return isinstance(error, MemoryError) or (
        tensorflow is not None and isinstance(error, tensorflow.errors.ResourceExhaustedError)
    )


FilePath = str | os.PathLike[str]
"""The name of a file or a folder."""

# Some methods of `Path` raise an error for a long name.
is_file = os.path.isfile
is_folder = os.path.isdir
exists = os.path.exists


def expanded(path: FilePath) -> Path:
    """Return a path in which the user's home folder replaces ``~``.

    ``Path.expanduser`` would raise an error for an unknown user.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111


class Fault(NamedTuple):
    """A fault of a stored value.

    Attributes:
        rule: The rule that the value violates.
        got: The type of the value, or its keys.
        part: The part of the value that has the fault, or empty for the value itself.
    """

    rule: str
    got: str
    part: str = ""


Finder = Callable[[Any], Fault | None]
"""A function that returns the fault of a value, or None."""


def finder(
    rule: str,
    accepts: Callable[[Any], bool],
    parts: Callable[[Any], Iterable[tuple[object, Finder, Any]]] = lambda _: (),
) -> Finder:
    """Return a function that finds the fault of a value.

    Without a fault, it returns None. A value must satisfy ``accepts``. Each of its ``parts`` is
    checked by a separate finder.
    """

    def find(value: Any) -> Fault | None:
        if not accepts(value):
            kind = type(value).__name__
            if value is None:
                kind = "none"
            if isinstance(value, dict):
                # Only keys are shown, because values may be secret.
                kind = f"a mapping with {', '.join(map(str, value)) or 'no keys':.100}"
            return Fault(rule, kind)
        for key, find_part, part in parts(value):
            fault = find_part(part)
            if fault is not None:
                return fault._replace(part=f"{key}.{fault.part}".strip("."))
        return None

    return find


def _is_float(value: Any) -> bool:
    # An integer may be larger than the largest float.
    return isinstance(value, float) or (is_integer(value) and abs(int(value)) < 2**1023)


_LEAVES: dict[Any, Finder] = {
    Any: lambda _: None,
    NoneType: finder("none", lambda value: value is None),
    str: finder("a text", lambda value: isinstance(value, str)),
    int: finder("a whole number", lambda value: type(value) is int),
    bool: finder("true or false", lambda value: isinstance(value, bool)),
    float: finder("a number", _is_float),
}


@functools.cache
def finder_of(kind: Any) -> Finder:
    """Return a function that finds faults in values that should have this type."""
    if kind in _LEAVES:
        return _LEAVES[kind]
    if is_typeddict(kind):
        return _finder_of_keys(get_type_hints(kind, include_extras=True), kind.__required_keys__)
    origin = get_origin(kind)
    arguments = get_args(kind)
    if origin is Literal:
        return finder(f"one of {', '.join(map(repr, arguments))}", lambda v: v in arguments)
    if origin is Annotated:
        find_first = finder_of(arguments[0])
        find_other = arguments[1]
        return lambda value: find_first(value) or find_other(value)
    return _finder_of_parts(origin, [finder_of(argument) for argument in arguments])


def _finder_of_keys(hints: Mapping[str, Any], needed: frozenset[str]) -> Finder:
    finders = {key: finder_of(hint) for key, hint in hints.items()}
    rule = "a mapping"
    if needed:
        rule = f"a mapping with {', '.join(sorted(needed))}"

    def accepts(value: Any) -> bool:
        return isinstance(value, dict) and value.keys() >= needed

    def parts(value: Any) -> Iterator[tuple[str, Finder, Any]]:
        for key, find_part in finders.items():
            if key in value:
                yield key, find_part, value[key]

    return finder(rule, accepts, parts)


def _finder_of_parts(origin: Any, finders: list[Finder]) -> Finder:
    if origin is dict:
        find_in_value = finders[1]
        return finder(
            "a mapping",
            lambda value: isinstance(value, dict),
            lambda value: [(key, find_in_value, part) for key, part in value.items()],
        )
    if origin in (list, tuple):
        n = None
        rule = "a list"
        if origin is tuple:
            n = len(finders)
            rule = f"a list of {n}"
        return finder(
            rule,
            # A storage in memory does not convert tuples to lists.
            lambda value: isinstance(value, list | tuple) and n in (None, len(value)),
            lambda value: zip(itertools.count(), itertools.cycle(finders), value, strict=False),
        )

    def find(value: Any) -> Fault | None:
        faults = [find(value) for find in finders]
        if None in faults:
            return None
        return faults[0]

    return find
