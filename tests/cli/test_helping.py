"""How a help looks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from adnn_optuna.cli import main as cli

if TYPE_CHECKING:
    import pytest


def shown(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.run([*arguments, "--help"]) == 0
    return capsys.readouterr().out


def test_options_stand_in_groups(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = shown(["search"], capsys, monkeypatch)
    groups = re.split(r"^(\w+):\n", said, flags=re.MULTILINE)
    of_group = dict(zip(groups[1::2], groups[2::2], strict=True))
    assert list(of_group) == [
        *("Options", "Limits", "Data", "Network", "Training", "Offsets", "Output"),
    ]
    for group, option in (
        *(("Options", "--sampler"), ("Options", "--help"), ("Limits", "--max-gain")),
        *(("Data", "--data-dir"), ("Network", "--hidden"), ("Training", "--epochs")),
        *(("Offsets", "--low"), ("Output", "--json"), ("Output", "--model-card")),
    ):
        assert f"  {option}" in of_group[group] or f", {option}" in of_group[group]


def test_no_sentence_is_cut_and_the_width_is_the_terminals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = shown([], capsys, monkeypatch)
    assert "..." not in said.partition("Commands:")[2]
    assert "--version" in said.partition("Options:")[2]
    for columns, longest in ((80, 80), (200, 200)):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert cli.run(["recheck", "--help"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert longest - 60 < max(map(len, lines)) <= longest


def test_the_version_is_an_option_anywhere_before_a_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(["--version", "luck"]) == 0
    assert re.fullmatch(r"adnn_optuna \d+\.\d+\.\d+\n", capsys.readouterr().out)
