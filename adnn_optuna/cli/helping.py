"""How a help looks: options by group, as wide as the terminal, in colour where there is one."""

import os
import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

_GROUPS = ("Arguments", "Options", "Limits", "Data", "Network", "Training", "Offsets", "Output")


def _styled(text: str, **style: Any) -> str:
    """Return a text in a style, where stdout is a terminal and the user takes colours."""
    is_wanted = sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return typer.style(text, **style) if is_wanted else text


def _write(formatter: Any, heading: str, rows: list[tuple[str, str]]) -> None:
    with formatter.section(_styled(heading, bold=True)):
        styled = [(_styled(name, fg=typer.colors.CYAN), said) for name, said in rows]
        formatter.write_dl(styled, col_max=26)


class Verb(TyperCommand):
    """A command whose options are in groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options of each group."""
        rows: dict[str, list[tuple[str, str]]] = {group: [] for group in _GROUPS}
        for parameter in self.get_params(ctx):
            is_argument = parameter.param_type_name == "argument"
            group = getattr(parameter, "rich_help_panel", None) or _GROUPS[0 if is_argument else 1]
            if record := parameter.get_help_record(ctx):
                rows[group].append(record)
        for group, of_group in rows.items():
            if of_group:
                _write(formatter, group, of_group)


class Verbs(TyperGroup):
    """All commands, each with the whole sentence that tells what it does."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, and the commands."""
        records = (parameter.get_help_record(ctx) for parameter in self.get_params(ctx))
        _write(formatter, "Options", [*filter(None, records)])
        first = {name: (of.help or "").split("\n\n")[0] for name, of in self.commands.items()}
        _write(formatter, "Commands", [(n, " ".join(said.split())) for n, said in first.items()])
