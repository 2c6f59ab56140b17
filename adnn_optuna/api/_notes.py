"""Notes for optuna-dashboard, kept in the studies that it shows."""

import hashlib
import importlib.util
from collections.abc import Mapping

import optuna
from optuna.storages import InMemoryStorage

from adnn_optuna._attributes import NOTE
from adnn_optuna._checks import logger
from adnn_optuna.render.printed import Printed


def save_notes(results: Mapping[optuna.Study, Printed]) -> None:
    """Save results in their studies, for optuna-dashboard."""
    # No dashboard of another process sees studies in memory.
    in_memory = any(isinstance(study._storage, InMemoryStorage) for study in results)
    if in_memory or importlib.util.find_spec("optuna_dashboard") is None:
        return
    from optuna_dashboard import get_note, save_note

    try:
        for study, result in results.items():
            note = result.to_markdown(details=False)
            found, saved = get_note(study), study.user_attrs.get(NOTE)
            # A note that a user wrote is left alone. A worker that was killed may have saved a
            # note without its digest.
            is_ours = found in ("", note) or saved == _digest(found)
            if is_ours and (found, saved) != (note, _digest(note)):
                save_note(study, note)
                study.set_user_attr(NOTE, _digest(note))
    except Exception as error:  # noqa: BLE001 - whatever it is, the search itself is stored
        logger.warning("Nothing was saved for optuna-dashboard: %s", error)


def _digest(note: str) -> str:
    return hashlib.sha256(note.encode()).hexdigest()
