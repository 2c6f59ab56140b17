"""What the commands show: results, hints on stderr how to go on from them, and exit codes."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

import typer

from adnn_optuna._attributes import SEARCH
from adnn_optuna.callbacks import MaxGainCallback, MaxTimeCallback, MaxTrialCallback
from adnn_optuna.engine.records import SearchResult
from adnn_optuna.engine.storages import is_in_memory, masked, open_storage
from adnn_optuna.engine.studies import load_study

BREACHED = 1
WRONG_INPUT = 2
UNEXPECTED = 3
FAILED = 4
INTERRUPTED = 130

# How much a search has of what each limit is for.
_REACHED: dict[str, Callable[[SearchResult], float]] = {
    MaxTimeCallback.reason: lambda result: MaxTimeCallback(1).elapsed(result.study),
    MaxTrialCallback.reason: lambda result: len(result.done_trials),
    MaxGainCallback.reason: lambda result: result.gain,
}


def prepare_streams() -> None:
    """Let this process write any text to stdout and stderr, also where there is no stderr."""
    if sys.stderr is None:
        # TensorFlow writes to descriptor 2, whatever Python knows of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show(result: object) -> None:
    """Write a result to stdout."""
    _write(result, sys.stdout)


def say(text: str) -> None:
    """Write to stderr, so that stdout holds results alone."""
    _write(text, sys.stderr)


def _write(text: object, stream: TextIO) -> None:
    """Write for whoever reads; that nobody does any more changes nothing of what a command does.

    Typer would end the command with an exit code that means something else.
    """
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        # Where the rest can go, or Python complains of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def wants_progress_bar(quiet: bool) -> bool:
    """Return whether there is a terminal that a progress bar can be drawn on, and it may be."""
    return not quiet and sys.stderr.isatty()


def option_name(parameter: str) -> str:
    """Return how a parameter is called on the command line."""
    return f"--{parameter.replace('_', '-')}"


@contextlib.contextmanager
def interruptible(how_to_go_on: Callable[[], str]) -> Iterator[None]:
    """Say how to go on where the user interrupts, and end with the exit code for it."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"Interrupted; all finished trials are kept. Go on with:\n    {how_to_go_on()}")
        raise typer.Exit(INTERRUPTED) from None


def resume_command(storage: str, study_name: str, data_dir: Path | None) -> str:
    """Return the command that continues a stored search."""
    words = ["adnn", "resume", "--storage", masked(storage), "--study-name", study_name]
    if data_dir is not None:
        words += ["--data-dir", str(data_dir)]
    return shlex.join(words)


def same_command(words: Sequence[str], storage: str) -> str:
    """Return a command as it was given, without the password of its storage."""
    return shlex.join(["adnn", *(word.replace(storage, masked(storage)) for word in words)])


def is_resumable(storage: str, study_name: str) -> bool:
    """Return whether a search is stored, which can be resumed."""
    try:
        study = load_study(open_storage(storage, must_exist=True), study_name)
    except (ValueError, FileNotFoundError):
        return False
    return SEARCH in study.user_attrs


def show_search(
    result: SearchResult,
    how_to_resume: str,
    *,
    storage: str,
    contract: Path | None,
    quiet: bool,
) -> None:
    """Write a search's contract, and print what it came to and how to go on from it."""
    try:
        if contract is not None:
            result.contract().save(contract)
    finally:
        # Also of a search that no contract can be made of.
        show(result)
    if not quiet and not is_in_memory(storage):
        reason = result.stop_reason or ""
        limit = result.study.user_attrs[SEARCH].get(reason)
        if limit is not None:
            # Of a study that has more already, less would end it at once.
            more = 2 * max(limit, _REACHED[reason](result))
            amount = more if isinstance(more, int) else f"{more:g}"
            say(f"\nGo on:      {how_to_resume} {option_name(reason)} {amount}")
        say_how_to_look(storage)
    if contract is not None and not quiet:
        say(f"Check it:   {shlex.join(['adnn', 'verify', str(contract)])}")


def say_how_to_look(storage: str) -> None:
    """Name the command that shows the studies, where these outlast this process."""
    if not is_in_memory(storage):
        say(f"Look at it: {shlex.join(['optuna-dashboard', masked(storage)])}")
