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
from adnn_optuna.engine.search_record import SearchRecord
from adnn_optuna.reporting import comparisons, searches
from adnn_optuna.results.comparison import ComparisonFacts


def save_notes(
    records: Sequence[SearchRecord],
    comparison: ComparisonFacts | None = None,
    head: optuna.Study | None = None,
) -> None:
    """Save notes to the studies of searches and of their comparison, for optuna-dashboard."""
    # No dashboard of another process sees what is in memory.
    in_memory = isinstance(records[0].study._storage, InMemoryStorage)
    if in_memory or importlib.util.find_spec("optuna_dashboard") is None:
        return
    from optuna_dashboard import get_note, save_note

    try:
        told = {r.study: f"Search\n\n{searches.text(r)}" for r in records if not r.is_of_function}
        if comparison is not None and head is not None:
            told[head] = f"Comparison\n\n{comparisons.text(comparison)}"
        for study, said in told.items():
            # Indented, Markdown shows it as it is, whatever names are in it.
            note = "## " + printable(said, keep="\n").replace("\n", "\n    ")
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
