"""Write a command's result to stdout and the names of its files to stderr, and exit."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import typer

from adnn_optuna._checks import is_installed, printable, without_passwords
from adnn_optuna._files import write_text
from adnn_optuna._units import as_argument
from adnn_optuna.render.document import TONES, Document, Step
from adnn_optuna.render.json import to_json
from adnn_optuna.render.printed import Printed
from adnn_optuna.render.text import to_text, width_of_output

NOT_MET, WRONG_INPUT, UNEXPECTED, FAILED, INTERRUPTED = 1, 2, 3, 4, 130


class File(NamedTuple):
    """A file to which a command can write its result.

    Attributes:
        suffix: The suffix of the file's name.
        help: The help of the option.
        use: What to do with the file. The file's name follows.
    """

    suffix: str
    help: str
    use: str


FILES = {
    "contract": File(
        ".json",
        "Write the result as a contract (.json), which adnn verify checks, and the trained "
        "weights beside it (.npz).",
        "To check the contract, run adnn verify",
    ),
    "plot": File(".html", "The .html file for the figure.", "To see the figure, open"),
    "report": File(
        ".html",
        "The .html file for a report, all figures included.",
        "To read the report, open",
    ),
}


def load_libraries() -> None:
    """Import Optuna and, if it is installed, TensorFlow.

    Both log only warnings and errors from then on.
    """
    import optuna

    from adnn_optuna.networks._tensorflow import LOG_LEVEL, load_tensorflow

    os.environ["KERAS_BACKEND"] = "tensorflow"  # A user may have configured another backend.
    os.environ.setdefault(LOG_LEVEL, "2")
    if is_installed("tensorflow"):
        with notice("Loading TensorFlow …"):
            load_tensorflow("The command line")
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@contextlib.contextmanager
def notice(text: str) -> Iterator[None]:
    """Show a text on the terminal until the block ends."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    # The text goes to a copy of descriptor 2, because the original is filtered while TensorFlow is
    # imported.
    terminal = os.dup(sys.stderr.fileno())
    os.write(terminal, text.encode())
    try:
        yield
    finally:
        os.write(terminal, b"\r\x1b[K")  # Go to the beginning of the line, and erase the line.
        os.close(terminal)


def has_colors() -> bool:
    """Return whether stdout is a terminal and NO_COLOR is not set."""
    return sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _document(result: Printed, function: str | None) -> Document:
    """Return a result's document. If there is a function, the next command names it."""
    document = result.document()
    if function is None:
        return document
    next_step = document.next_step.of(shlex.quote(function))
    return dataclasses.replace(document, next_step=next_step)


def as_text(
    result: Printed,
    function: str | None = None,
    *,
    has_report: bool = True,
    writes_report: bool = False,
) -> str:
    """Return a result as text for a shell. The title has the verdict's colour on a terminal.

    ``has_report`` says whether the command has an option for a report. ``writes_report`` says
    whether this call writes a report.
    """
    document = _document(result, function)
    how = "pass --json"
    if has_report:
        how = "pass --report FILE.html or --json"
    if writes_report:
        how = "open the report"
        if document.next_step.writes_report:
            document = dataclasses.replace(document, next_step=Step())
    in_shell = to_text(document, width_of_output(), in_shell=True, how_to_see_all=how)
    text = printable(in_shell, keep="\n")
    if not has_colors():
        return text
    title, newline, body = text.partition("\n")
    colors = {"good": typer.colors.GREEN, "bad": typer.colors.RED}
    color = colors.get(TONES.get(document.verdict, ""), typer.colors.YELLOW)
    return typer.style(title, fg=color, bold=True) + newline + body


def show(text: str, stream: TextIO | None = None) -> None:
    """Write a text to ``stream``, by default to stdout."""
    print(printable(text, keep="\n"), file=stream, flush=True)


def say(text: str) -> None:
    """Write a text to stderr, with passwords masked. Stdout is only for results."""
    show(without_passwords(text), sys.stderr)


class Answer(NamedTuple):
    """A command's result, the files that it wrote by their kind in FILES, and the exit code."""

    facts: Any
    written: dict[str, Path] = {}  # noqa: RUF012 - the dictionary is never changed.
    code: int = 0
    function: str | None = None  # The name of the user's function.


def finish(verb: str, answer: Answer, *, in_json: bool, quiet: bool, **files: Path | None) -> None:
    """Write the requested files, and show the result and the files' names."""
    facts, written, code, function = answer
    requested = {kind: path for kind, path in files.items() if path is not None}
    paths = {kind: str(path) for kind, path in (written | requested).items()}
    try:
        if "contract" in requested:
            contract = facts.contract()
            contract.save(requested["contract"])
            # Making the contract stored the test scores and the results on new seeds, so nothing
            # is trained here.
            facts = facts.confirm() if "confirmation" in contract.content else facts.test()
    finally:
        # A `finally` block shows the result even if the contract cannot be made.
        if in_json:
            show(as_json(verb, facts, function, files=paths))
        else:
            has_report = "report" in files
            writes_report = "report" in paths
            text = as_text(facts, function, has_report=has_report, writes_report=writes_report)
            print(text, flush=True)
        if "plot" in requested:
            write_text(requested["plot"], facts.plot().to_html(include_plotlyjs=True))
        if "report" in requested:
            facts.report(requested["report"])
    if paths and not quiet:
        sentences = [f"{FILES[kind].use} {as_argument(path)}" for kind, path in paths.items()]
        say("\n".join(["", *sentences]))
    if code:
        raise typer.Exit(code)


def as_json(verb: str, result: Printed, function: str | None = None, **more: Any) -> str:
    """Return a command's result as JSON."""
    return to_json(_document(result, function), verb=verb, **more)
