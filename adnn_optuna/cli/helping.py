"""How a help looks: options by group, as wide as the terminal."""

from typing import Any

from typer.core import TyperCommand, TyperGroup

_GROUPS = ("Arguments", "Options", "Limits", "Data", "Network", "Training", "Offsets", "Output")


def _write(formatter: Any, heading: str, rows: list[tuple[str, str]]) -> None:
    if rows:
        with formatter.section(heading):
            formatter.write_dl(rows, col_max=26)


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
            _write(formatter, group, of_group)


class Verbs(TyperGroup):
    """All commands, each with the whole sentence that tells what it does."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, and the commands."""
        records = (parameter.get_help_record(ctx) for parameter in self.get_params(ctx))
        _write(formatter, "Options", [*filter(None, records)])
        first = {name: (of.help or "").split("\n\n")[0] for name, of in self.commands.items()}
        _write(formatter, "Commands", [(n, " ".join(said.split())) for n, said in first.items()])
