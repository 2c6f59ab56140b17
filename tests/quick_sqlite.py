"""Spares tests the wait for the disk: they kill processes, not the power."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

import sqlalchemy


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def do_not_wait_for_the_disk(connection: Any, _: object) -> None:
    """Leave what was written to the operating system, which outlives the process."""
    # There are other databases, too; a damaged file is refused by what opens it.
    if isinstance(connection, sqlite3.Connection):
        with contextlib.suppress(sqlite3.DatabaseError):
            connection.execute("PRAGMA synchronous = OFF")
