"""Optuna storages by URL, with SQLite set up for many short transactions."""

from __future__ import annotations

import contextlib
import random
import re
import sqlite3
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from adnn_optuna._checks import first_line, is_file
from adnn_optuna.engine._database import Database, StorageError

__all__ = [
    "StorageError",
    "is_in_memory",
    "masked",
    "open_storage",
    "storage_url",
]

# Where several workers open a new database at the same moment, only one can create its tables.
# The others see errors that are gone a moment later.
_ATTEMPTS_TO_OPEN = 100
_SECONDS_BETWEEN_ATTEMPTS = 0.1
_RACE = re.compile(
    "already exists|unique constraint|duplicate|is locked|deadlock|restarting transaction",
    re.IGNORECASE,
)

# After the name of the user: up to the last @ before the options, or the first one of all.
_PASSWORD = re.compile(r"([^:/@]*):(?:[^?]*@|[^@]*@)")
_SECRET_OPTION = re.compile(
    r"([?&][^=&]*(?:pass|pwd|secret|token|odbc_connect)[^=&]*=)[^&]*", re.IGNORECASE
)


def open_storage(storage: str | BaseStorage | None, *, must_exist: bool = False) -> BaseStorage:
    """Return the Optuna storage behind a URL.

    SQLite files get write-ahead logging with ``synchronous = NORMAL``: a transaction then costs a
    third of the time, and what is committed survives the death of the process.

    Args:
        storage:
            A database URL as in :func:`optuna.create_study`, a storage, or :obj:`None` for one
            in memory.
        must_exist:
            Whether to refuse an SQLite file that holds no studies yet, instead of creating it.

    Raises:
        TypeError: If it is none of these.
        ValueError: If the URL is not one, or what it names cannot be opened as a database.
        FileNotFoundError: If it must exist and does not.
    """
    if storage is not None and not isinstance(storage, str | BaseStorage):
        raise TypeError(
            "storage must be a database URL such as 'sqlite:///name.db', an Optuna storage or "
            f"None, but it is {storage!r}."
        )
    if not isinstance(storage, str):
        return optuna.storages.get_storage(storage)
    try:
        url = make_url(storage)
    # A port that is no number raises a bare ValueError.
    except (ArgumentError, ValueError):
        raise ValueError(
            f"The storage {masked(storage)!r} is not a database URL; for a file write "
            "'sqlite:///name.db'."
        ) from None
    if "@" in (url.host or ""):
        raise ValueError(
            f"The storage {masked(storage)!r} has an @ in its password or user name; write it as "
            "%40."
        )
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite and must_exist:
        _check_holds_studies(storage)
    try:
        # A database in memory ends with its only connection, so that one is left alone.
        if is_in_memory(storage):
            return optuna.storages.get_storage(storage)
        return optuna.storages.get_storage(_opened(storage))
    except (SQLAlchemyError, ImportError, RuntimeError, ValueError) as error:
        reason = first_line(getattr(error, "orig", None) or error)
        mend = (
            "that the folder exists and can be written to, and that the file is an Optuna database"
            if is_sqlite
            else "the URL, that its server answers, and that its driver is installed"
        )
        raise ValueError(
            f"The storage {masked(storage)!r} cannot be opened ({reason}); check {mend}."
        ) from error


def _opened(url: str) -> Database:
    """Open a database, also while other workers create its tables."""
    for _ in range(_ATTEMPTS_TO_OPEN):
        try:
            return Database(url)
        # Optuna asserts that the version was written, which may be the other worker's next step.
        except (SQLAlchemyError, StorageInternalError, AssertionError) as error:
            is_race = isinstance(error, AssertionError) or _RACE.search(
                f"{error} {error.__cause__}"
            )
            if not is_race:
                raise
        time.sleep(_SECONDS_BETWEEN_ATTEMPTS * random.uniform(0.5, 1.5))  # noqa: S311
    return Database(url)


def _check_holds_studies(storage: str) -> None:
    """Refuse an SQLite file without studies before SQLAlchemy creates it or its tables."""
    if is_in_memory(storage):
        raise ValueError(
            f"The storage {masked(storage)!r} is in memory and holds no studies; name a file, as "
            "in 'sqlite:///name.db'."
        )
    url = make_url(storage)
    if "uri" in url.query:  # Its path is one of SQLite's own URIs.
        return
    path = Path(url.database or "")
    if not is_file(path):
        raise FileNotFoundError(
            f"There is no file {str(path)!r} for the storage {masked(storage)!r}; check its path."
        )
    # A file that SQLite cannot read is refused, with the reason, when it is opened.
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        with contextlib.closing(connection):
            found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'studies'")
            if found.fetchone() is None:
                raise ValueError(
                    f"The file {str(path)!r} of the storage {masked(storage)!r} holds no Optuna "
                    "studies; check its path."
                )


def is_in_memory(url: str) -> bool:
    """Return whether a database URL names SQLite's database in memory, which ends with us."""
    parsed = make_url(url)
    return parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:")


def masked(url: str) -> str:
    """Return a storage URL, or what is meant to be one, with its passwords replaced by ``***``."""
    # Not by its parts as SQLAlchemy reads them: of a password with an @ that is not escaped, half
    # would be taken for the host.
    is_url = "://" in url
    found = _PASSWORD.match(url, url.index("://") + 3) if is_url else _PASSWORD.search(url)
    if found:
        url = f"{url[: found.start()]}{found[1]}:***@{url[found.end() :]}"
    return _SECRET_OPTION.sub(r"\1***", url)


def storage_url(storage: BaseStorage) -> str | None:
    """Return the masked URL of a storage, :obj:`None` if it has none."""
    backend: Any = getattr(storage, "_backend", storage)
    return masked(backend.url) if isinstance(backend, RDBStorage) else None
