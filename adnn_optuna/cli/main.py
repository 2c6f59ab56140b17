"""Run a command of ``adnn``. If the command fails, print one sentence that says why.

Results go to stdout. Progress, hints and errors go to stderr.
"""

from __future__ import annotations

import functools
import io
import itertools
import json
import logging
import os
import re
import shlex
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from adnn_optuna import __version__
from adnn_optuna._checks import (
    TOO_LITTLE_MEMORY,
    WrongInputError,
    did_you_mean,
    first_line,
    is_out_of_memory,
    masked,
    shown,
)
from adnn_optuna._files import NotWrittenError
from adnn_optuna.cli import commands, keep, measure, output
from adnn_optuna.cli.docstrings import summary
from adnn_optuna.cli.options import with_options

# `make snapshots` writes the usage and the options of each command to this file.
HELPS_FILE: Path = Path(__file__).with_name("helps.json")
_GROUPS = ("Arguments", "Options", "Limits", "Data", "Network", "Training", "Offsets", "Output")


def _styled(text: str, **style: Any) -> str:
    """Return the text in a style if stdout shows colours, or else unchanged."""
    if output.has_colors():
        return typer.style(text, **style)
    return text


def _write(formatter: Any, heading: str, rows: list[tuple[str, str]]) -> None:
    if rows:
        with formatter.section(_styled(heading, bold=True)):
            styled = [(_styled(name, fg=typer.colors.CYAN), text) for name, text in rows]
            formatter.write_dl(styled, col_max=26)


class Verb(TyperCommand):
    """A command whose help shows its options in groups."""

    def rows(self, ctx: Any) -> dict[str, list[tuple[str, str]]]:
        """Return the options of each group, and their help."""
        rows: dict[str, list[tuple[str, str]]] = {group: [] for group in _GROUPS}
        for parameter in self.get_params(ctx):
            is_argument = parameter.param_type_name == "argument"
            group = getattr(parameter, "rich_help_panel", None) or _GROUPS[0 if is_argument else 1]
            if record := parameter.get_help_record(ctx):
                rows[group].append(record)
        return rows

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options of each group."""
        for group, of_group in self.rows(ctx).items():
            _write(formatter, group, of_group)


class VerbInHelp(Verb):
    """A command that only shows its help. It reads its options from a file, to be fast."""

    @functools.cached_property
    def _help(self) -> dict[str, Any]:
        helps: dict[str, dict[str, Any]] = json.loads(HELPS_FILE.read_text(encoding="utf-8"))
        return helps[str(self.name)]

    def rows(self, ctx: Any) -> dict[str, list[tuple[str, str]]]:  # noqa: ARG002
        """Return the options of each group, and their help."""
        return self._help["rows"]

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Return the parts of the usage line."""
        return self._help["usage"]


class Verbs(TyperGroup):
    """All commands. To save imports, a command's options are made only when it is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is called, with its options."""
        name = args[0]
        if name not in _COMMANDS:
            return super().resolve_command(ctx, args)
        before_dashes = itertools.takewhile(lambda text: text != "--", args)
        if {*before_dashes} & {*_HELP_NAMES}:
            verb = VerbInHelp(name, help=_COMMANDS[name].__doc__, rich_markup_mode=None)
            return name, verb, ["--help"]
        return name, command_with_options(name), args[1:]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands of each group, the options and the exit codes."""
        for group, verbs in _VERBS.items():
            rows = [(_command_name(verb), summary(verb)) for verb in verbs]
            _write(formatter, f"Commands to {group}", rows)
        records = (parameter.get_help_record(ctx) for parameter in self.get_params(ctx))
        _write(formatter, "Options", [*filter(None, records)])
        _write(formatter, "Exit codes", _EXIT_CODES)


# With these values, Typer does not load rich and pydantic to parse the options of a help.
_DEFAULTS = dict.fromkeys(("help", "install_completion", "show_completion", "version"), False)
_HELP_NAMES = ["-h", "--help"]
_CONTEXT_SETTINGS = {
    "help_option_names": _HELP_NAMES,
    "max_content_width": sys.maxsize,
}
app: typer.Typer = typer.Typer(
    name="adnn",
    cls=Verbs,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={**_CONTEXT_SETTINGS, "default_map": _DEFAULTS},
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        output.show(f"adnn_optuna {__version__}")
        raise typer.Exit


_VERSION = typer.Option(
    "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
)


@app.callback()
def _adnn(*, version: Annotated[bool, _VERSION] = False) -> None:
    """Part of your best score is luck.

    adnn_optuna measures how much, for any Optuna study, and searches the initial
    weights of Keras networks. Studies are Optuna studies: you can stop and resume
    them, and open them in optuna-dashboard.

    \b
    Start here (digits, the default data, need no download):
      adnn recheck optuna.db STUDY --evaluate train:evaluate --report recheck.html
      adnn search --max-trial 20 --study-name first --hidden 64,64 \\
          --optimizer sgd --learning-rate 0.05 --epochs 5 \\
          --contract first.contract.json
      adnn verify first.contract.json
      adnn resume --study-name first --max-trial 40 --report search.html
      adnn compare --max-trial 20 --seeds 10 --report comparison.html
      adnn report --study-name first --output first.html
    """


_EXIT_CODES = [
    ("0", "done"),
    ("1", "adnn verify: the contract is breached; adnn keep: not kept; --require is not met"),
    (
        "2",
        (
            "wrong input: one sentence on stderr says how to fix it, and all that was stored is "
            "kept; adnn verify: the contract cannot be checked"
        ),
    ),
    ("3", "something unexpected: ADNN_DEBUG=1 in the environment shows where"),
    ("4", "the storage, a disk or the memory failed: all finished trials are kept"),
    ("130", "interrupted (Ctrl-C or SIGTERM): all finished trials are kept"),
]


# The commands of each group. For each command, the kinds of files to which it can write its
# result.
_VERBS: dict[str, dict[Callable[..., output.Answer], tuple[str, ...]]] = {
    "check": {
        measure.recheck: ("report",),
        measure.overtuning: ("report",),
        measure.variance: ("report",),
        measure.luck: (),
        commands.audit: (),
        commands.verify: (),
    },
    "search": {
        commands.search: ("contract", "report"),
        commands.resume: ("contract", "report"),
    },
    "compare": {
        commands.compare: ("plot", "report"),
        measure.compare_models: ("report",),
        measure.compare_values: ("plot", "report"),
        keep.keep: ("report",),
        commands.plan: ("plot",),
    },
    "report": {
        commands.report: (),
        commands.contract: (),
    },
}


def _command_name(verb: Callable[..., output.Answer]) -> str:
    return verb.__name__.replace("_", "-")


_FILES = {verb: files for verbs in _VERBS.values() for verb, files in verbs.items()}
_COMMANDS = {_command_name(verb): verb for verb in _FILES}


for _name, _verb in _COMMANDS.items():
    app.command(_name, help=_verb.__doc__)(lambda: None)


@functools.cache
def command_with_options(name: str) -> Any:
    """Return the command with this name and all its options."""
    verb = _COMMANDS[name]
    single = typer.Typer(
        add_completion=False, rich_markup_mode=None, context_settings=_CONTEXT_SETTINGS
    )
    single.command(name, cls=Verb)(with_options(verb, _FILES[verb]))
    return typer.main.get_command(single)


def _in_a_sentence(error: Exception) -> tuple[str, int]:
    """Return one sentence that explains an error, and the exit code."""
    from adnn_optuna.engine.objectives import GO_ON
    from adnn_optuna.engine.repeating import StorageError, storage_errors

    message = " ".join(str(error).split())
    where = "ADNN_DEBUG=1 in the environment shows where"
    if isinstance(error, WrongInputError):
        return message, output.WRONG_INPUT
    if isinstance(error, StorageError | NotWrittenError):
        return str(error), output.FAILED
    if isinstance(error, storage_errors()):
        return f"The storage failed ({first_line(error.__cause__ or error)}).", output.FAILED
    if is_out_of_memory(error):
        return TOO_LITTLE_MEMORY, output.FAILED
    if isinstance(error, OSError) and error.errno is not None:
        return f"A file cannot be read or written ({error}; {where}).", output.FAILED
    what = f"{type(error).__name__}: {message}"
    sentence = f"Something unexpected happened, {what} ({where})."
    code = output.UNEXPECTED
    for note in getattr(error, "__notes__", ()):
        place, is_of_function, _ = note.partition(f". {GO_ON}")
        if is_of_function:
            sentence = (
                f"{place}: {what} ({where}). To count such errors of a function, pass --failed "
                "VALUE to adnn search, compare, recheck or variance."
            )
            code = output.WRONG_INPUT
    return sentence, code


def _with_options(sentence: str, name: str) -> str:
    """Return an error's sentence with a command's options in place of Python's arguments."""
    sentence, one_of, choices = sentence.partition(" one of ")
    for parameter in command_with_options(name).params:
        argument = re.escape(str(parameter.name))
        option = parameter.opts[0]
        if not option.startswith("-"):
            option = str(parameter.name).upper()
        # In other places, an ordinary word may equal an argument's name.
        subject = rf"(^|(?<=\bif )){argument}(?= (must|is) )"
        sentence = re.sub(subject, option, sentence)
        if getattr(parameter, "is_flag", False):
            sentence = re.sub(rf"\b{argument}=True\b", option, sentence)
            for turned_off in parameter.secondary_opts:
                sentence = re.sub(rf"\b{argument}=False\b", turned_off, sentence)
        sentence = re.sub(rf"\b{argument}=(?=[\w\"])", f"{option} ", sentence)
        sentence = re.sub(rf"\b{argument}=\((\w+), (\w+)\)", rf"{option} \1,\2", sentence)
        sentence = re.sub(rf"\b{argument}=(?=[ ,.]|$)", option, sentence)
        if "_" in argument:
            sentence = re.sub(rf"(?<![\w.'\"]){argument}(?![\w=])", option, sentence)
    return f"{sentence}{one_of}{choices}"


def _as_shown(option: str, text: str) -> str:
    """Return the text after an option. The password in a storage is masked."""
    prefix = ""
    if text.startswith("--"):
        option, equals, text = text.partition("=")
        prefix = f"{option}{equals}"
    if option == "--storage" or "://" in text:
        text = masked(text)
    return prefix + text


def _about_value(hint: str, arguments: Sequence[str]) -> str:
    """Return Typer's hint in the form of all other errors if it is about an option's value."""
    rule_of_type = r"(?:Input should be |.* is not (?=one of))(.*?)(?:, unable .*|\.)?"
    found = re.fullmatch(rf"Invalid value for '(\S+)': {rule_of_type}", hint)
    if not found:
        return hint
    option, rule = found.groups()
    value = ""
    for text, following in itertools.pairwise([*arguments, ""]):
        name, equals, rest = text.partition("=")
        if name == option:
            value = rest if equals else following
    meant = did_you_mean(value, re.findall("'(.*?)'", rule))
    return f"{option} must be {rule}; got {shown(value)}.{meant}"


def run(arguments: Sequence[str]) -> int:
    """Run a command of ``adnn`` or show its help, and return the exit code."""
    arguments = list(arguments) or ["--help"]
    try:
        code: int | None = app(arguments, prog_name="adnn", standalone_mode=False)
    except KeyboardInterrupt:  # While a command runs, Typer converts this error to an exit code.
        code = output.INTERRUPTED
    except typer.TyperException as error:
        hint = _about_value(" ".join(error.format_message().split()), arguments)
        for text in arguments:  # Any text may be a storage's URL with a password.
            value = text.partition("=")[2] if text.startswith("--") else text
            if "://" in value or "@" in value:
                hint = hint.replace(value, masked(value))
        command = "adnn"
        if arguments[0] in _COMMANDS:
            command = f"adnn {arguments[0]}"
            example = re.search(
                r"^ +(adnn .*)", str(_COMMANDS[arguments[0]].__doc__), re.MULTILINE
            )
            if example and hint.startswith("Missing"):
                hint += f" An example is {example[1]}."
        # A hint such as "Did you mean 'search'?" already ends with a mark.
        if not hint.endswith("?"):
            hint = hint.rstrip(".") + "."
        output.say(f"adnn: {hint} See {command} --help.")
        return output.WRONG_INPUT
    except Exception as error:  # noqa: BLE001 - users see a traceback only if they ask for it.
        if os.environ.get("ADNN_DEBUG"):
            output.say(traceback.format_exc())
        sentence, code = _in_a_sentence(error)
        if code == output.WRONG_INPUT and arguments[0] in _COMMANDS:
            sentence = _with_options(sentence, arguments[0])
        output.say(f"adnn: {sentence}")
    if code == output.INTERRUPTED:
        # The interrupt may have stopped an import, which cannot be repeated. So nothing is
        # imported here.
        masked_arguments = map(_as_shown, ["", *arguments], arguments)
        hint = "Interrupted; all stored results are kept. Go on with"
        output.say(f"{hint}:\n    {shlex.join(['adnn', *masked_arguments])}")
    return code or 0


def main() -> NoReturn:
    """Run the command line of this process and end it with its exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    warnings.showwarning = lambda message, *_, **__: output.say(f"adnn: {message}")
    # SQLAlchemy logs an error if an interrupt comes while a connection returns to the pool.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # Not every encoding has every character.
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))
