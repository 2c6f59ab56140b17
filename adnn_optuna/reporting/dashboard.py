"""Notes for optuna-dashboard, kept in the studies that it shows."""

from __future__ import annotations

import hashlib
import html
import importlib.util
from collections.abc import Sequence

import optuna
from optuna.storages import InMemoryStorage

from adnn_optuna._attributes import NOTE
from adnn_optuna._checks import logger
from adnn_optuna._units import printable
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.evidence.comparison import ComparisonFacts
from adnn_optuna.reporting import comparisons, comparisons_claims, searches, searches_claims


def save_notes(
    records: Sequence[SearchRecord],
    comparison: ComparisonFacts | None = None,
    head: optuna.Study | None = None,
) -> None:
    """Save notes on searches to their studies, and one on their comparison to its head.

    Only where optuna-dashboard is installed. It never fails: what goes wrong is logged. Studies in
    memory are left alone, as no dashboard of another process can see them, and so is a note that
    a user wrote.
    """
    in_memory = isinstance(records[0].study._storage, InMemoryStorage)
    if in_memory or importlib.util.find_spec("optuna_dashboard") is None:
        return
    from optuna_dashboard import get_note, save_note

    try:
        of_networks = [record for record in records if not record.is_of_function]
        notes = [(record.study, _note_of_search(record)) for record in of_networks]
        if comparison is not None and head is not None:
            notes.append((head, _note_of_comparison(comparison)))
        for study, note in notes:
            found = get_note(study)
            if found != note and (not found or study.user_attrs.get(NOTE) == _digest(found)):
                save_note(study, note)
                study.set_user_attr(NOTE, _digest(note))
    except Exception as error:  # noqa: BLE001 - whatever it is, the search itself is stored
        logger.warning("Nothing was saved for optuna-dashboard: %s", error)


def _note_of_search(record: SearchRecord) -> str:
    claim, *others = searches_claims.answers_of_search(record, None).values()
    caveat = " ".join([searches_claims.to_mind([record]), *others]).strip()
    return _note("Search", claim, caveat, searches.text(record))


def _note_of_comparison(comparison: ComparisonFacts) -> str:
    claim = comparisons_claims.claim_of_comparison(comparison)
    caveat = comparisons_claims.caveat_of_comparison(comparison)
    return _note("Comparison", claim, caveat, comparisons.text(comparison))


def _note(title: str, claim: str, caveat: str, numbers: str) -> str:
    # Indented, Markdown shows the numbers as they are.
    shown = "\n".join(f"    {line}" for line in printable(numbers, keep="\n").splitlines())
    return f"## {title}\n\n**{_literal(claim)}**\n\n{_literal(caveat)}\n\n{shown}"


def _digest(note: str) -> str:
    return hashlib.sha256(note.encode()).hexdigest()


def _literal(text: str) -> str:
    """Return a text with users' names in it so that Markdown shows it as it is."""
    escaped = html.escape(printable(text), quote=False)
    return "".join(f"\\{c}" if c in r"\`*_[]~|" else c for c in escaped)
