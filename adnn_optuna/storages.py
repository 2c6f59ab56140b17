"""Optuna storages by URL, with SQLite set up for many short transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

# How long a process waits for another one's transaction on the same SQLite file, in seconds.
_SQLITE_TIMEOUT = 60


def open_storage(storage: str | BaseStorage | None) -> BaseStorage:
    """Return the Optuna storage behind a URL.

    SQLite files get write-ahead logging with ``synchronous = NORMAL``: a transaction then costs a
    third of the time, and what is committed survives the death of the process.

    Args:
        storage:
            A database URL as in :func:`optuna.create_study`, a storage, or :obj:`None` for one
            in memory.

    Raises:
        ValueError: If the URL is not one, or what it names cannot be opened as a database.
    """
    if not isinstance(storage, str):
        return optuna.storages.get_storage(storage)
    try:
        url = make_url(storage)
    except ArgumentError:
        raise ValueError(
            f"The storage {masked(storage)!r} is not a database URL; for a file write "
            "'sqlite:///name.db'."
        ) from None
    try:
        if url.get_backend_name() != "sqlite":
            return optuna.storages.get_storage(storage)
        database = RDBStorage(
            storage, engine_kwargs={"connect_args": {"timeout": _SQLITE_TIMEOUT}}
        )
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, RuntimeError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise ValueError(
            f"The storage {masked(storage)!r} cannot be opened ({reason}); check that the folder "
            "exists, can be written to and that the file is an Optuna database."
        ) from error
    sqlalchemy.event.listen(database.engine, "connect", _configure_sqlite)
    # Connections made before the listener was there.
    database.engine.dispose()
    return optuna.storages.get_storage(database)


def masked(url: str) -> str:
    """Return a storage URL with its password replaced by ``***``."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url


def storage_url(storage: BaseStorage) -> str | None:
    """Return the masked URL of a storage, :obj:`None` if it has none."""
    backend: Any = getattr(storage, "_backend", storage)
    return masked(backend.url) if isinstance(backend, RDBStorage) else None


def _configure_sqlite(connection: DBAPIConnection, _: Any) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
    finally:
        cursor.close()
