"""Completed trials, of a study and in a database of a process that may be killed."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

if TYPE_CHECKING:
    from pathlib import Path

    import optuna


def completed(study: optuna.Study) -> list[tuple[dict[str, Any], float | None]]:
    """Return parameters and value of each completed trial."""
    return [(t.params, t.value) for t in study.trials if t.state == TrialState.COMPLETE]


def n_completed(path: Path) -> int:
    """Return how many trials of an SQLite file are completed; 0 while there is no database."""
    uri = f"{path.as_uri()}?mode=ro"
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(uri, uri=True)) as connection,
    ):
        query = "SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'"
        return int(connection.execute(query).fetchone()[0])
    return 0
