"""Let SQLite not wait for the disk: tests kill processes, but never cut the power."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

import sqlalchemy


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def do_not_wait_for_the_disk(connection: Any, _: object) -> None:
    """Let SQLite return before the disk has written; the operating system survives the process."""
    # Other databases connect here, too. For a damaged file, a later statement raises the error.
    if isinstance(connection, sqlite3.Connection):
        with contextlib.suppress(sqlite3.DatabaseError):
            connection.execute("PRAGMA synchronous = OFF")
