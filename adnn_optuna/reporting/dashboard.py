"""Notes for optuna-dashboard, kept in the studies that it shows."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence

import optuna
from optuna.storages import InMemoryStorage

from adnn_optuna._attributes import NOTE
from adnn_optuna._checks import logger
from adnn_optuna._units import printable
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.reporting import searches
from adnn_optuna.results.comparison import Comparison


def save_notes(
    records: Sequence[SearchRecord],
    comparison: Comparison | None = None,
    head: optuna.Study | None = None,
) -> None:
    """Save notes to the studies of searches and of their comparison, for optuna-dashboard."""
    # No dashboard of another process sees what is in memory.
    in_memory = isinstance(records[0].study._storage, InMemoryStorage)
    if in_memory or importlib.util.find_spec("optuna_dashboard") is None:
        return
    from optuna_dashboard import get_note, save_note

    try:
        notes = {}
        for record in records:
            if not record.is_of_function:
                text = printable(searches.text(record), keep="\n")
                # Indented, Markdown shows it as it is, whatever names are in it.
                notes[record.study] = f"## Search\n\n{text}".replace("\n", "\n    ")
        if comparison is not None and head is not None:
            notes[head] = comparison.to_markdown()
        for study, note in notes.items():
            found, saved = get_note(study), study.user_attrs.get(NOTE)
            # One that a user wrote is left alone. A worker that was killed may have saved a note
            # without its digest.
            is_ours = found in ("", note) or saved == _digest(found)
            if is_ours and (found, saved) != (note, _digest(note)):
                save_note(study, note)
                study.set_user_attr(NOTE, _digest(note))
    except Exception as error:  # noqa: BLE001 - whatever it is, the search itself is stored
        logger.warning("Nothing was saved for optuna-dashboard: %s", error)


def _digest(note: str) -> str:
    return hashlib.sha256(note.encode()).hexdigest()
