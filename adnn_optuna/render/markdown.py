"""A document as Markdown."""

import re
from html import escape

from adnn_optuna._checks import printable
from adnn_optuna.render.document import Document, Step, Table


def to_markdown(document: Document) -> str:
    """Return a document as Markdown, below a heading of the second level."""
    parts = [f"## {escaped(document.title)}"]
    parts += [escaped(document.scope), escaped(document.conclusion)]
    if document.estimates:
        headings = ("", "estimate", document.interval_name, "")
        rows = [(line.label, line.value, line.ends, line.remark) for line in document.estimates]
        parts.append(_table(Table(headings, rows)))
    parts.append(escaped(document.subject))
    for table in document.tables:
        if not table.is_detail:
            parts += [escaped(table.title), _table(table)]
        else:
            folded = f"<details>\n<summary>{escape(printable(table.title))}</summary>"
            parts += [folded, _table(table), "</details>"]
    parts.append("\n".join(f"- {escaped(note)}" for note in document.notes))
    step = document.next_step
    if step.python:
        parts.append(f"{Step.label(step.python)}: {escaped(step.python)}")
    if step.shell:
        parts.append(f"{Step.label(step.in_shell)}, in a shell: {escaped(step.in_shell)}")
    return "\n\n".join(filter(None, parts)) + "\n"


def _table(table: Table) -> str:
    """Return a table in the syntax of GitHub."""
    lines = []
    for row in (table.headings, *table.rows):
        cells = [escaped(" ".join(cell.split())) for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    alignments = ["---", *["---:"] * (len(table.headings) - 1)]
    lines.insert(1, f"| {' | '.join(alignments)} |")
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Escape text so that Markdown shows it unchanged."""
    return re.sub(r"([\\`*_\[\]<>&#|~$@!]|(?<=:)/|(?<=www)\.)", r"\\\1", printable(text))
