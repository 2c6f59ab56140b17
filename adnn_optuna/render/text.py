"""A document as text, for terminals and logs."""

import dataclasses
import itertools
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence

from adnn_optuna._units import columns, in_list, in_number
from adnn_optuna.render.document import FUNCTION, Advice, Detail, Document, Step, Table, shortened

WIDTH = 80
"""The width in columns of text that is not shown on a terminal."""
_NARROWEST = 60
_WIDEST = 100
_INDENT = 2
_GAP = 2  # The number of columns of space between two cells.
_N_SHOWN = 5  # The maximum number of columns in a table without details.
MAX_ESTIMATES = 4
"""The maximum number of estimates in a text without details."""
MAX_NOTES = 3
"""The maximum number of notes in a text without details."""
# This code point is not a character. During layout, it precedes each wide character, so the length
# of a text is its width in columns.
_FILLER = "\uffff"


def width_of_output() -> int:
    """Return the width of printed results in columns, such as the terminal's width."""
    if not sys.stdout.isatty():
        return WIDTH
    return min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)


def to_text(
    document: Document,
    width: int = WIDTH,
    *,
    details: bool = False,
    in_shell: bool = False,
    how_to_see_all: str = 'print(format(result, "details"))',
) -> str:
    """Return a document as lines of at most ``width`` columns.

    Without details, the text has the first estimates and cautions only. Cautions are notes that
    change how numbers are read. The next step is a call in Python, or a shell command with
    ``in_shell``.
    """
    omitted = ""
    if not details:
        document, omitted = _first_parts(document)
    parts = [_title(document, width)]
    if document.conclusion:
        parts += wrapped(document.conclusion, width, indent=0)
    parts += _estimates(document, width)
    if document.subject:
        parts += wrapped(document.subject, width)
    for table in document.tables:
        if details or not table.is_detail:
            parts += ["", *_table(table, width, details=details), ""]
    for note in document.notes:
        parts += wrapped(f"Note: {note}", width)
    if omitted:
        parts += wrapped(f"{omitted}: {how_to_see_all}", width)
    step = document.next_step.in_shell if in_shell else document.next_step.python
    labelled = f"{Step.label(step)}: {step}"
    has_command = not isinstance(step, Advice) or FUNCTION in step
    if step and in_shell and has_command:
        parts.append(labelled)  # A shell would run a wrapped command as several commands.
    elif step:
        parts += wrapped(labelled, width)
    # Tables are separated by one empty line. No empty line follows the last table.
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(parts))
    return text.rstrip("\n").replace(_FILLER, "")


def _first_parts(document: Document) -> tuple[Document, str]:
    """Return the document with its first estimates and notes, and the names of omitted parts."""
    estimates = document.estimates[:MAX_ESTIMATES]
    notes = [note for note in document.notes if not isinstance(note, Detail)][:MAX_NOTES]
    numbers = {
        "more estimate": len(document.estimates) - len(estimates),
        "more table": sum(table.is_detail for table in document.tables),
        "more note": len(document.notes) - len(notes),
    }
    omitted = in_list([in_number(n, what) for what, n in numbers.items() if n])
    return dataclasses.replace(document, estimates=estimates, notes=notes), omitted


def _filled(text: str) -> str:
    """Return a text with fillers, so that the text's length is its width in columns."""
    if text.isascii():
        return text
    return "".join(_FILLER * (columns(c) - 1) + c for c in text.replace(_FILLER, ""))


def wrapped(text: str, width: int, indent: int = _INDENT) -> list[str]:
    """Return a text as lines of at most ``width`` columns, indented after the first line."""
    lines = []
    for paragraph in _filled(text).split("\n"):
        # One column stays free, because a long word may break between a filler and its character.
        room = width - (_FILLER in paragraph)
        lines += textwrap.wrap(
            paragraph, room, subsequent_indent=" " * indent, break_on_hyphens=False
        )
    return lines


def _title(document: Document, width: int) -> str:
    """Return the title, with the document's scope, such as "30 trials", at the right."""
    title = _filled(document.title)
    scope = _filled(shortened(document.scope, width - 1))
    if not scope:
        return title
    gap = width - len(title) - len(scope)
    if gap >= 2:
        return f"{title}{' ' * gap}{scope}"
    return f"{title}\n{scope:>{width}}"


def _estimates(document: Document, width: int) -> list[str]:
    """Return a line for each estimate. If a remark does not fit, it is on the next line."""
    estimates = document.estimates
    if not estimates:
        return []
    name_of_interval = f"{document.interval_name} "  # Only the first interval has this name.
    cells = []
    for line in estimates:
        ends = ""
        if line.ends:
            ends = f"({name_of_interval}{line.ends})"
            name_of_interval = ""
        cells.append((_filled(line.label), line.value, ends))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row, line in zip(cells, estimates, strict=True):
        aligned = "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True))
        in_one_line = f"  {aligned}  {_filled(line.remark)}".rstrip()
        if len(in_one_line) <= width:
            lines.append(in_one_line)
        else:
            lines += wrapped(f"  {aligned.rstrip()}", width, indent=4)
            lines += wrapped(f"{'':4}{line.remark}", width, indent=4)
    return lines


def _table(table: Table, width: int, *, details: bool) -> list[str]:
    """Return a table as lines.

    Columns that do not fit are in a further table. It omits rows whose cells in these columns are
    all empty.
    """
    n_shown = _N_SHOWN
    if details:
        n_shown = len(table.headings)
    headings = [_filled(heading).split("\n") for heading in table.headings[:n_shown]]
    n_lines = max(map(len, headings), default=0)
    # A heading with fewer lines than others is at the bottom of the header.
    columns = [[""] * (n_lines - len(heading)) + heading for heading in headings]
    header = [[column[i] for column in columns] for i in range(n_lines)]
    body = [[*map(_filled, row[:n_shown])] for row in table.rows]
    title = []
    if table.title:
        title = wrapped(table.title, width, indent=0)
    widths = [max(map(len, column)) for column in zip(*header, *body, strict=True)]
    ends = itertools.accumulate(size + _GAP for size in widths)
    n_fitting = sum(end - _GAP <= width for end in ends)
    if n_fitting < min(2, len(widths)):
        return title + _listed([" ".join(heading) for heading in headings], body, width)
    if n_fitting < len(widths):
        first_rows = [row[:n_fitting] for row in table.rows]
        first = Table(table.headings[:n_fitting], first_rows, table.title)
        further_rows = [
            [row[0], *row[n_fitting:n_shown]] for row in table.rows if any(row[n_fitting:n_shown])
        ]
        lines = _table(first, width, details=True)
        if not further_rows:
            return lines
        further = Table([table.headings[0], *table.headings[n_fitting:n_shown]], further_rows)
        return [*lines, "", *_table(further, width, details=True)]
    lines = [_aligned(row, widths) for row in [*header, *body]]
    rule = "-" * max(map(len, lines), default=0)
    return [*title, *lines[:n_lines], rule, *lines[n_lines:]]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    """Return a row of a table.

    The first cell is aligned to the left, and all others to the right.
    """
    first, *other_cells = row
    cells = [first.ljust(widths[0]), *map(str.rjust, other_cells, widths[1:])]
    return "  ".join(cells).rstrip()


def _listed(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return the cells of each row as one indented paragraph below its name."""
    lines = []
    for first, *other_cells in rows:
        lines += wrapped(first, width)
        pairs = zip(headings[1:], other_cells, strict=True)
        cells = [f"{heading} {cell}".strip() for heading, cell in pairs if cell]
        lines += wrapped(f"  {'; '.join(cells)}", width, indent=4)
    return lines
