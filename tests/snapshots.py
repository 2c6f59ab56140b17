"""Snapshots: the stored output of results on each surface, reviewed like code.

``make snapshots`` renews them. Review the change with ``git diff``.
"""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from adnn_optuna.render.json import to_json
from adnn_optuna.render.printed import FORMATS
from adnn_optuna.render.text import to_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adnn_optuna.render.document import Document
    from adnn_optuna.render.printed import Printed

REUSED = re.compile(r"Note: \d+ stored \w+ reused, \d+ new\.\n?")
"""What results say about the call that returned them."""


def without_reuse(result: object) -> str:
    """Return the details of a result as text, without the note on stored and new evaluations."""
    return REUSED.sub("", format(result, "details")).strip()


FOLDER = Path(__file__).parent / "results" / "snapshots"
RENEW = "ADNN_RENEW_SNAPSHOTS"


def assert_same(name: str, text: str) -> None:
    """Compare a text with the snapshot of this name, or write it if snapshots are renewed."""
    assert_same_file(FOLDER / name, text)


def assert_same_file(file: Path, text: str) -> None:
    """Compare a text with the content of a file, or write it if snapshots are renewed."""
    if os.environ.get(RENEW):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8"), f"{file.name} changed; see `make snapshots`"


def assert_short(document: Document) -> None:
    """Check that a printed result is short, apart from its tables, and points to omitted parts."""
    document = dataclasses.replace(document, tables=())
    text = to_text(document)
    lines = text.split("\n")
    assert len(lines) <= 20, text
    assert max(map(len, lines)) <= 80, text
    n_notes = text.count("\nNote: ")
    assert n_notes <= 3, text
    is_whole = n_notes == len(document.notes) and len(document.estimates) <= 4
    assert is_whole != ('print(format(result, "details"))' in text), text
    assert to_text(document, details=True).count("\nNote: ") == len(document.notes)


def assert_surfaces(name: str, result: Printed) -> None:
    """Compare a result as text, Markdown, JSON and notebook HTML with its snapshots."""
    text = str(result)
    assert_short(result.document())
    title, study = result.document().title, result.document().fields.get("study_name", "")
    assert title[0].isupper() or title.startswith(study)
    words = re.findall(r"\w{4,}", re.sub("'.*'", "", title).lower())
    assert len(words) == len({*words}), f"{title} has a word twice"
    details = format(result, "details")
    assert_same(f"{name}.txt", f"{text}\n\n{'=' * 20} details=True\n\n{details}\n")
    for form, suffix in FORMATS.items():
        assert_same(f"{name}{suffix}", format(result, form))
    assert_same(f"{name}.json", to_json(result.document()) + "\n")
    assert_same(f"{name}.html", result._repr_html_())


def assert_states(name: str, results: Mapping[str, Printed]) -> None:
    """Compare the texts of results in several states, without their tables, with one snapshot."""
    documents = {
        state: dataclasses.replace(r.document(), tables=()) for state, r in results.items()
    }
    for document in documents.values():
        assert_short(document)
    texts = [f"{'=' * 20} {state}\n\n{to_text(document)}" for state, document in documents.items()]
    assert_same(f"{name}_states.txt", "\n\n".join(texts) + "\n")
