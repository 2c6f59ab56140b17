"""Makes SQLite faster for tests, which open hundreds of databases in one process.

SQLite does not wait for the disk, as tests kill processes, but never cut the power. All databases
share the statements that SQLAlchemy has compiled; otherwise each database compiles them again.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

import sqlalchemy
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect

_compiled_statements: dict[Any, Any] = {}
# A compiled statement is found by its dialect, too. All dialects of SQLite compile it equally.
sqlite_dialect.__eq__ = lambda self, other: type(self) is type(other)
sqlite_dialect.__hash__ = lambda self: hash(type(self))


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "engine_connect")
def share_compiled_statements(connection: sqlalchemy.Connection) -> None:
    connection.execution_options(compiled_cache=_compiled_statements)


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def do_not_wait_for_the_disk(connection: Any, _: object) -> None:
    """Let SQLite return before the disk has written: the operating system outlives a process."""
    # Other databases connect here, too; opening a damaged file raises its own error later.
    if isinstance(connection, sqlite3.Connection):
        with contextlib.suppress(sqlite3.DatabaseError):
            connection.execute("PRAGMA synchronous = OFF")
