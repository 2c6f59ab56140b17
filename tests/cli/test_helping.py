"""The layout of help texts."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest
from snapshots import assert_same_file

from adnn_optuna.cli import main as cli


def shown(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.run([*arguments, "--help"]) == 0
    return capsys.readouterr().out


def test_options_are_in_groups(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shown(["search"], capsys, monkeypatch)
    groups = re.split(r"^(\w+):\n", text, flags=re.MULTILINE)
    of_group = dict(zip(groups[1::2], groups[2::2], strict=True))
    assert list(of_group) == [
        *("Arguments", "Options", "Limits", "Data", "Network", "Training", "Offsets", "Output"),
    ]
    for group, option in (
        *(("Options", "--sampler"), ("Options", "--help"), ("Limits", "--max-gain")),
        *(("Data", "--data-dir"), ("Network", "--hidden"), ("Training", "--epochs")),
        *(("Offsets", "--low"), ("Output", "--json"), ("Output", "--report")),
    ):
        assert f"  {option}" in of_group[group] or f", {option}" in of_group[group]


def test_commands_are_in_groups_and_exit_codes_come_last(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shown([], capsys, monkeypatch)
    headings = re.findall(r"^(\S.*):$", text, flags=re.MULTILINE)
    groups = ("check", "search", "compare", "report")
    assert headings == [*(f"Commands to {group}" for group in groups), "Options", "Exit codes"]
    listed = re.findall(r"^  ([a-z][a-z-]*)  ", text, flags=re.MULTILINE)
    assert sorted(listed) == sorted(cli._COMMANDS)


@pytest.mark.parametrize("command", [[], *([name] for name in cli._COMMANDS)], ids="".join)
def test_examples_are_at_most_80_columns_wide(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(command, capsys, monkeypatch).splitlines()
    assert max(map(len, lines)) <= 80


def test_a_misspelt_command_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["serch"]) == 2
    sentence = "No such command 'serch'. Did you mean 'search'? See adnn --help."
    assert sentence in capsys.readouterr().err


def test_no_sentence_is_cut_at_any_width_of_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shown([], capsys, monkeypatch)
    assert "..." not in text.partition("Commands to check:")[2]
    assert "--version" in text.partition("Options:")[2]
    for columns, longest in ((80, 80), (200, 200)):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert cli.run(["recheck", "--help"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert longest - 60 < max(map(len, lines)) <= longest


@pytest.mark.parametrize(("no_color", "is_coloured"), [("", True), ("1", False)])
def test_help_is_coloured_on_terminals_unless_the_user_opts_out(
    no_color: str, is_coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    command: Any = cli.typer.main.get_command(cli.app)
    context = cli.typer.Context(command, info_name="adnn")
    assert "\x1b" not in command.get_help(context)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert ("\x1b" in command.get_help(context)) == is_coloured


def test_version_is_an_option_anywhere_before_a_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(["--version", "luck"]) == 0
    assert re.fullmatch(r"adnn_optuna \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_help_equals_its_snapshot() -> None:
    helps = {}
    for name in cli._COMMANDS:
        command = cli.command_with_options(name)
        context = command.make_context(name, [], resilient_parsing=True)
        usage = command.collect_usage_pieces(context)
        helps[name] = {"usage": usage, "rows": command.rows(context)}
    assert_same_file(cli.HELPS_FILE, json.dumps(helps, indent=1, ensure_ascii=False) + "\n")


def test_help_of_the_wrapped_command_is_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(["keep", "--metric", "(x)", "--", "ls", "--help"]) == 2
    assert "must contain {seed}" in capsys.readouterr().err
