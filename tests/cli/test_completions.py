"""The values that a shell completes."""

from __future__ import annotations

import contextlib
import io

import pytest

from adnn_optuna.cli import main as cli
from adnn_optuna.experiments.controls import ARMS


def completed(words: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the values that a shell offers for the last word, which may be incomplete or
    empty.
    """
    monkeypatch.setenv("_ADNN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.suppress(SystemExit):
        cli.run(["none"])
    return output.getvalue().split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("adnn comp", ["compare", "compare-models", "compare-values"]),
        ("adnn search --sampler ", [name for name, arm in ARMS.items() if not arm.is_control]),
        ("adnn compare --samplers greedy,an", ["greedy,annealing"]),
        ("adnn compare --controls longer,no", ["longer,none"]),
        ("adnn search --scope ", ["layer", "shared"]),
        ("adnn search --json", ["--json"]),
        # If no value is known, the shell offers files.
        ("adnn verify ", []),
    ],
)
def test_completions_are_valid_values(
    words: str, offered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert completed(words, monkeypatch) == offered
