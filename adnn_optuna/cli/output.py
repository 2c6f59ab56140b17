"""What the commands show: results, hints on stderr how to go on from them, and exit codes."""

from __future__ import annotations

import io
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from adnn_optuna._checks import WrongValueError, install_command, is_installed, masked
from adnn_optuna._units import printable

if TYPE_CHECKING:
    from adnn_optuna.api.search import SearchResult

BREACHED, WRONG_INPUT, UNEXPECTED, FAILED, INTERRUPTED = 1, 2, 3, 4, 130


def prepare_streams() -> None:
    """Let this process write any text to stdout and stderr, also where there is no stderr."""
    if sys.stderr is None:
        # TensorFlow writes to descriptor 2, whatever Python knows of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def load_libraries() -> None:
    """Import Optuna, which then logs warnings only, and TensorFlow, if it is there, as quietly."""
    import optuna

    from adnn_optuna.networks._tensorflow import LOG_LEVEL, load_tensorflow

    os.environ["KERAS_BACKEND"] = "tensorflow"  # A user's configuration may name another one.
    os.environ.setdefault(LOG_LEVEL, "2")
    if is_installed("tensorflow"):
        load_tensorflow("The command line")
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def show(result: object, stream: TextIO | None = None) -> None:
    """Write a result to stdout; that nobody reads any more changes nothing of what is done.

    Typer would end the command with an exit code that means something else.
    """
    stream = stream or sys.stdout
    try:
        print(printable(str(result), keep="\n"), file=stream, flush=True)
    except BrokenPipeError:
        # Where the rest can go, or Python complains of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def say(text: str) -> None:
    """Write to stderr, so that stdout holds results alone."""
    show(text, sys.stderr)


def show_pages(
    result: Any, *, quiet: bool, plot: Path | None = None, report: Path | None = None
) -> None:
    """Show a result, and write its figure and its report where they are asked for."""
    if plot is not None:
        result.plot().write_html(plot, include_plotlyjs=True)
    if report is not None:
        result.report(report)
    show(result)
    files = {"plot": plot, "report": report}
    written = [f"The {kind} is in {file}." for kind, file in files.items() if file is not None]
    if written and not quiet:
        say("\n" + "\n".join(written))


def show_search(
    result: SearchResult,
    storage: str,
    data_dir: Path | None,
    *,
    contract: Path | None,
    report: Path | None,
    model_card: Path | None,
    quiet: bool,
) -> None:
    """Write a search's files, and print what it came to and how to go on from it."""
    from adnn_optuna.callbacks import LIMITS
    from adnn_optuna.engine.storages import is_in_memory
    from adnn_optuna.reporting.searches_claims import why_no_winner

    made = None
    try:
        if contract is not None and result.best is None:
            raise WrongValueError(
                f"The contract cannot be made yet: {why_no_winner(result)} The study "
                f"{result.study.study_name!r} is kept."
            )
        if contract is not None:
            result.contract().save(contract)
            made = contract
    finally:
        # Also of a search that no contract can be made of.
        if report is not None:
            result.report(report, made)
        show(result)
    if model_card is not None:
        result.model_card(model_card, made)
    if quiet:
        return
    study = result.study
    limit = next((limit for limit in LIMITS if limit.reason == result.stop_reason), None)
    if limit is not None and not is_in_memory(storage):
        words = ["adnn", "resume", "--storage", masked(storage), "--study-name", study.study_name]
        words += [] if data_dir is None else ["--data-dir", str(data_dir)]
        words += [f"--{limit.reason.replace('_', '-')}", f"{2 * limit(1).used(study):g}"]
        say(f"\nGo on:      {shlex.join(words)}")
    say_how_to_look(storage)
    if report is not None:
        say(f"Read it:    {report}")
    if contract is not None:
        say(f"Check it:   {shlex.join(['adnn', 'verify', str(contract)])}")


def say_how_to_look(storage: str) -> None:
    """Name the command that shows the studies, where these outlast this process."""
    from adnn_optuna.engine.storages import is_in_memory

    if not is_in_memory(storage):
        command = shlex.join(["optuna-dashboard", masked(storage)])
        if not is_installed("optuna_dashboard"):
            command = f"{install_command('optuna_dashboard')} && {command}"
        say(f"Look at it: {command}")
