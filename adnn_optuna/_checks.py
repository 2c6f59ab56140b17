"""Checks of arguments, each with one sentence, and the log."""

import contextlib
import functools
import importlib
import importlib.util
import logging
import math
import os
import random
import re
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from numbers import Integral, Real
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any
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


# Two threads would restore each other's warning filters.
_importing = threading.RLock()


def load(module: str) -> ModuleType:
    """Return a module; if it is imported now, nothing else changes in this process."""
    if module in sys.modules:
        return importlib.import_module(module)
    with importing():
        return importlib.import_module(module)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Undo what packages do when they are imported: filter warnings, draw numbers, set levels."""
    with _importing, warnings.catch_warnings():
        state, sqlalchemy = random.getstate(), logging.getLogger("sqlalchemy")
        level = sqlalchemy.level
        try:
            yield
        finally:
            random.setstate(state)
            if sqlalchemy.level != level:
                # Without any level, a root logger at INFO would show each statement.
                for part in ("engine", "orm", "pool", "dialects"):
                    of_part = logging.getLogger(f"sqlalchemy.{part}")
                    of_part.setLevel(of_part.level or sqlalchemy.level)
                sqlalchemy.setLevel(level)


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


# After the name of the user: up to the last @ before the options, or the first one of all.
_PASSWORD = re.compile(r"\A([^:]*:)((?:(?!\?[\w.]+=).)*(?=@)|[^@]*(?=@))", re.DOTALL)
# What is behind it and has no name is a part of one with an & in it.
_NAME = "(?:pass|pwd|secret|token|odbc_connect)"
_SECRET_OPTION = re.compile(
    rf"([?&](?:(?!{_NAME})[^=])*+{_NAME}[^=]*+=)([^&]*(?:&[^=&]*(?=&|\Z))*)|[?&][^=]*+=?",
    re.IGNORECASE,
)


def masked(url: str, text: str | None = None) -> str:
    """Return a storage URL, or a text that may have its passwords, with ``***`` for these."""
    # Not by its parts as SQLAlchemy reads them: of a password with an @ that is not escaped, half
    # would be taken for the host.
    scheme, separator, rest = url.partition("://") if "://" in url else ("", "", url)
    # A path alone, as that of a file, has neither user nor password.
    patterns = [_SECRET_OPTION] if separator and rest[:1] == "/" else [_PASSWORD, _SECRET_OPTION]
    spans = [m.span(2) for pattern in patterns for m in pattern.finditer(rest) if m[2] is not None]
    if text is None:
        last = len(rest)
        for start, end in sorted(spans, reverse=True):
            rest = f"{rest[:start]}***{rest[min(end, last) :]}"
            last = start
        return f"{scheme}{separator}{rest}"
    secrets = [rest[slice(*span)] for span in spans]
    for secret in (part for raw in secrets for part in (raw, unquote(raw), *raw.split("@"))):
        text = text.replace(secret, "***") if len(secret) > 2 else text
    return text


def without_passwords(text: str) -> str:
    """Return a text with the passwords replaced that URLs in it have."""
    # Of two slashes, a path keeps one; what is before them is no drive's letter.
    return re.sub(r"""(?<![\w+.-])[\w+.-]{2,}:/[^\s'"]+""", lambda url: masked(url[0]), text)


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
is_file, is_folder, exists = os.path.isfile, os.path.isdir, os.path.exists


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
    if exists(path) and not is_file(path):
        raise WrongValueError(f"{refused}: it is a device or a pipe; name another file.")
    if is_file(path) and not os.access(path, os.W_OK):
        raise WrongValueError(f"{refused}: it is read-only; name another file.")
    if not os.access(folder, os.W_OK):
        raise WrongValueError(
            f"{refused}: you may not write to the folder {str(folder)!r}; name a file in another."
        )
