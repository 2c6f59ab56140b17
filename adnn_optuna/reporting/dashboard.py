"""Figures and notes for optuna-dashboard, kept in the studies that it shows."""

from __future__ import annotations

import contextlib
import hashlib
import html
import importlib.util
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import optuna
from optuna.storages import InMemoryStorage

from adnn_optuna._attributes import NOTE
from adnn_optuna.engine.records import SearchRecord
from adnn_optuna.reporting import claims
from adnn_optuna.reporting.pages import Figure, figures_of_comparison, figures_of_search

if TYPE_CHECKING:
    from adnn_optuna.evidence.comparison import Comparison

_logger = optuna.logging.get_logger("optuna.adnn_optuna")


def show_search(record: SearchRecord) -> None:
    """Save a search's figures and a note to its study, where optuna-dashboard is installed.

    It never fails: what goes wrong is logged. Studies in memory are left alone, as no dashboard
    of another process can see them, and so is a note that a user wrote.
    """
    with _shown(record) as is_shown:
        if is_shown:
            _save_figures(record.study, figures_of_search(record))
            _save_note(record.study, _note_of_search(record))


def show_comparison(comparison: Comparison) -> None:
    """Save a comparison's note to its studies, and its figures to those of the first seed.

    As :func:`show_search`, where optuna-dashboard is installed.
    """
    with _shown(comparison.any_record) as is_shown:
        if is_shown:
            figures = figures_of_comparison(comparison)
            claim = claims.claim_of_comparison(comparison)
            note = _note("Comparison", claim, claims.caveat_of_comparison(comparison), comparison)
            for runs in comparison.results.values():
                _save_figures(runs[0].study, figures)
                for run in runs:
                    _save_note(run.study, f"{_note_of_search(run)}\n\n{note}")


@contextlib.contextmanager
def _shown(record: SearchRecord) -> Iterator[bool]:
    """Yield whether a dashboard can show a study, and log what goes wrong."""
    is_installed = importlib.util.find_spec("optuna_dashboard") is not None
    try:
        yield is_installed and not isinstance(record.study._storage, InMemoryStorage)
    except Exception as error:  # noqa: BLE001 - whatever it is, the search itself is stored
        _logger.warning("Nothing was saved for optuna-dashboard: %s", error)


def _save_figures(study: optuna.Study, figures: Sequence[Figure]) -> None:
    from optuna_dashboard import save_plotly_graph_object

    for figure in figures:
        save_plotly_graph_object(study, figure.figure, graph_object_id=f"adnn-{figure.kind}")


def _note_of_search(record: SearchRecord) -> str:
    claim, *others = claims.answers_of_search(record, None).values()
    return _note("Search", claim, " ".join([claims.to_mind([record]), *others]).strip(), record)


def _note(title: str, claim: str, caveat: str, numbers: object) -> str:
    # Indented, Markdown shows the numbers as they are.
    shown = "\n".join(f"    {line}" for line in str(numbers).splitlines())
    return f"## {title}\n\n**{_literal(claim)}**\n\n{_literal(caveat)}\n\n{shown}"


def _save_note(study: optuna.Study, note: str) -> None:
    from optuna_dashboard import get_note, save_note

    found = get_note(study)
    if found == note or (found and study.user_attrs.get(NOTE) != _digest(found)):
        return
    save_note(study, note)
    study.set_user_attr(NOTE, _digest(note))


def _digest(note: str) -> str:
    return hashlib.sha256(note.encode()).hexdigest()


def _literal(text: str) -> str:
    """Return a text with users' names in it so that Markdown shows it as it is."""
    escaped = html.escape(text, quote=False)
    return "".join(f"\\{c}" if c in r"\`*_[]~|" else c for c in escaped)
