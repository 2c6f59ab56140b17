"""The command line ``adnn``: runs a command, and says in one sentence why one failed.

Results go to stdout; progress, hints and errors to stderr.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import optuna
import typer

from adnn_optuna import __version__
from adnn_optuna.cli.commands import audit, compare, report, resume, search, verify
from adnn_optuna.cli.output import (
    FAILED,
    INTERRUPTED,
    UNEXPECTED,
    WRONG_INPUT,
    option_name,
    prepare_streams,
    say,
    show,
)
from adnn_optuna.engine.storages import StorageError
from adnn_optuna.networks.training import TOO_LITTLE_MEMORY, is_out_of_memory

app = typer.Typer(
    name="adnn",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        show(f"adnn_optuna {__version__}")
        raise typer.Exit


@app.callback()
def _adnn(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Search for the initial weights from which a network trains best.

    Train a network twice and its accuracy differs, because its weights start
    from random values. adnn searches over init offsets (values added to the
    seeded initial weights and biases) within limits of time, trials and gain,
    and says what was gained over the unmoved network. Studies are Optuna
    studies in a database: stop them, resume them, open them in
    optuna-dashboard.

    \b
    [bold]Start here[/bold] (digits needs no download)
    adnn search --max-trial 20
    adnn resume --study-name digits-annealing --max-trial 40
    adnn compare --max-trial 20 --seeds 10 --report comparison.html
    adnn verify digits.contract.json

    \b
    [bold]Exit codes[/bold]
    0    done
    1    adnn verify: the contract is breached
    2    wrong input: one sentence on stderr says how to mend it, nothing was written;
         adnn verify: the contract cannot be checked
    3    something unexpected: ADNN_DEBUG=1 in the environment shows the traceback
    4    the storage or the memory failed: all finished trials are kept
    130  interrupted (Ctrl-C or SIGTERM): all finished trials are kept
    """


for _command in (search, resume, compare, report, audit, verify):
    app.command()(_command)


def _in_words_of_the_command_line(message: str) -> str:
    """Return an error's message in one line, with options for the parameters that it names."""
    commands: Any = typer.main.get_command(app)
    names = {
        parameter.name
        for command in commands.commands.values()
        for parameter in command.params
        if "_" in parameter.name
    }
    # Not where it is a part of a path, a URL or the name of a setting.
    pattern = rf"(?<![\w./'\"-])`?({'|'.join(sorted(names))})`?(?!\w|[./-]\w)"
    return re.sub(pattern, lambda match: option_name(match[1]), " ".join(message.split()))


def _is_refusal(error: Exception) -> bool:
    """Return whether this package refused its input, rather than tripped over a bug.

    TensorFlow and Keras leave themselves out of tracebacks: that an error seems to come from here
    is not enough.
    """
    if not isinstance(error, ValueError | TypeError | FileNotFoundError):
        return False
    last = traceback.extract_tb(error.__traceback__)[-1]
    is_here = Path(last.filename).is_relative_to(Path(__file__).parent)
    return is_here and (last.line or "").startswith("raise ")


def _in_a_sentence(error: Exception) -> tuple[str, int]:
    """Return what went wrong, and the exit code for it."""
    if isinstance(error, StorageError):
        return str(error), FAILED
    if is_out_of_memory(error):
        return _in_words_of_the_command_line(TOO_LITTLE_MEMORY), FAILED
    if _is_refusal(error):
        return _in_words_of_the_command_line(str(error)), WRONG_INPUT
    what = f"{type(error).__name__}: {' '.join(str(error).split())}"
    where = "ADNN_DEBUG=1 in the environment shows where"
    return f"Something unexpected happened, {what} ({where}).", UNEXPECTED


def run(arguments: Sequence[str]) -> int:
    """Run a command.

    Args:
        arguments:
            What follows ``adnn`` on the command line; without any, the help is shown.

    Returns:
        The exit code.
    """
    arguments = list(arguments) or ["--help"]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # An interrupt that meets a connection on its way back to the pool would be shown as an error.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    try:
        code: int | None = app(arguments, prog_name="adnn", standalone_mode=False, obj=arguments)
    except typer.TyperException as error:
        # Typer's parser puts the kind of an error before its message.
        message = " ".join(error.format_message().replace("Value error, ", "").split())
        say(f"adnn: {message.rstrip('.')}; see adnn --help.")
        return WRONG_INPUT
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a traceback is for those who ask for it
        if os.environ.get("ADNN_DEBUG"):
            traceback.print_exc()
        sentence, code = _in_a_sentence(error)
        say(f"adnn: {sentence}")
    return code or 0


def main() -> NoReturn:
    """Run the command line of this process and end it with its exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    prepare_streams()
    sys.exit(run(sys.argv[1:]))
