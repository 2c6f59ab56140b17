"""Completed trials of a study, which may be in the database of a process that was killed."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import optuna


def completed(study: optuna.Study) -> list[tuple[dict[str, Any], float | None]]:
    """Return the parameters and the value of each completed trial."""
    return [(t.params, t.value) for t in study.trials if t.state == TrialState.COMPLETE]


def n_completed(path: Path) -> int:
    """Return the number of completed trials in an SQLite file; 0 before the database exists."""
    uri = f"{path.as_uri()}?mode=ro"
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(uri, uri=True)) as connection,
    ):
        query = "SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'"
        return int(connection.execute(query).fetchone()[0])
    return 0


def kill_after(code: str, path: Path, counts: Iterable[int]) -> None:
    """Run code once for each count; kill it when the file has this many completed trials."""
    for count in counts:
        process = subprocess.Popen([sys.executable, "-c", code])
        while process.poll() is None and n_completed(path) < count:
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL
