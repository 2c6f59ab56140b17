"""The command ``adnn keep``, with scripts in Python and shell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from adnn_optuna.cli.main import run

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = [sys.executable, "train.py", "--seed", "{seed}"]
SHELL = ["./train.sh", "{seed}"]
METRIC = ["--metric", r"acc=(\S+)"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_python(tmp_path)
    return tmp_path


def write_python(folder: Path, gain: float = 0.0, then: str = "") -> None:
    lines = [
        "import random, sys, time",
        "print('acc=0.1')",
        "print('a warning', file=sys.stderr)",
        f"print('acc=', random.Random(int(sys.argv[2])).gauss(0.9 + {gain}, 0.01), sep='')",
        then,
    ]
    (folder / "train.py").write_text("\n".join(lines))


def write_shell(folder: Path, *lines: str) -> None:
    file = folder / "train.sh"
    file.write_text("\n".join(["#!/bin/sh", *lines]))
    file.chmod(0o755)


def keep(*options: str, command: list[str] | None = None) -> int:
    return run(
        ["keep", "--storage", "sqlite:///loop.db", *METRIC, *options, "--", *(command or PYTHON)]
    )


def result_of(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    answer: dict[str, object] = json.loads(capsys.readouterr().out)
    return answer


def test_exit_codes_tell_whether_a_change_is_kept(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert keep("--candidate", "first", "--json") == 0
    assert result_of(capsys)["n_runs"] == 8
    write_python(folder, gain=-0.05)
    assert keep("--candidate", "worse", "--json") == 1
    assert result_of(capsys)["verdict"] == "not kept"
    write_python(folder, gain=0.05)
    assert keep("--candidate", "better", "--json", "--note", "wider") == 0
    result = result_of(capsys)
    assert (result["verdict"], result["kept"], result["n_runs"]) == ("kept", True, 8)
    # A verdict is shown again without a run.
    write_python(folder, then="sys.exit(3)")
    assert keep("--candidate", "better", "--json") == 0
    assert result_of(capsys)["gain"] == result["gain"]


def test_scripts_that_hang_crash_or_print_nothing_are_not_kept(
    folder: Path, capsys: pytest.CaptureFixture[str], logs: pytest.LogCaptureFixture
) -> None:
    write_shell(folder, 'echo "acc=0.$1"')
    assert keep("--candidate", "first", command=SHELL) == 0
    write_shell(folder, "echo acc=9.9", "sleep 600 & echo $! > child", "sleep 600")
    assert keep("--candidate", "hangs", "--timeout", "0.5", command=SHELL) == 1
    assert "it was killed after 0.5 s" in logs.text
    child = int((folder / "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"
    write_shell(folder, "echo acc=9.9", "exit 3")
    assert keep("--candidate", "crashes", command=SHELL) == 1
    assert "exit code 3" in logs.text
    write_shell(folder, "echo acc=9.9", "echo acc=unknown")
    assert keep("--candidate", "prints nothing", "--json", command=SHELL) == 1
    assert "it printed no number that matches" in logs.text


def test_versions_are_identified_by_the_files_that_git_tracks(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["init", "-q"], ["add", "train.py"]):
        subprocess.run(["git", *arguments], check=True)
    labels = []
    for gain in (0.0, 0.05, 0.0):
        write_python(folder, gain=gain)
        (folder / "log.txt").write_text(f"{time.monotonic()}")  # Git does not track this file.
        assert keep("--json") == 0
        labels.append(result_of(capsys)["label"])
    assert labels[0] == labels[2] != labels[1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--metric", "acc=(", "--candidate", "x", "--", *PYTHON], "must be a regular expression"),
        (["--metric", "acc=", "--candidate", "x", "--", *PYTHON], "must have a group"),
        ([*METRIC, "--", *PYTHON], "--candidate must be set outside a git repository"),
        ([*METRIC, "--candidate", "x", "--", "python", "7"], "COMMAND must contain {seed}"),
        ([*METRIC, "--candidate", "x", "--", "no-such-program", "{seed}"], "is not found"),
        ([*METRIC, "--candidate", "x", "--timeout", "0", "--", *PYTHON], "--timeout"),
        ([*METRIC, "--candidate", "x", "--level", "2", "--", *PYTHON], "--level must be from"),
    ],
)
def test_wrong_input_ends_with_code_2(
    arguments: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", "/")
    assert run(["keep", "--storage", "sqlite:///loop.db", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_settings_that_differ_from_the_loop_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert keep("--candidate", "first", "--n0", "3") == 0
    assert keep("--candidate", "second", "--n0", "4") == 2
    assert "--n0 must be 3, as in loop 'loop'; got 4. Pass --n0 3" in capsys.readouterr().err


def test_a_metric_that_matches_no_output_is_wrong_input_and_not_judged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert keep("--candidate", "first", "--n0", "3") == 0
    assert keep("--candidate", "second", "--n0", "3", "--metric", r"val=(\S+)") == 2
    error = capsys.readouterr().err
    assert "--metric must match what the command prints; got 'val=(" in error
    assert "the command printed at last: acc=0." in error
    assert keep("--candidate", "second", "--n0", "3", "--json") == 1
    assert result_of(capsys)["n_runs"] == 1


@pytest.mark.parametrize("n_jobs", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_an_interrupt_ends_the_commands_and_keeps_finished_runs(folder: Path, n_jobs: str) -> None:
    write_shell(folder, "echo $$ >> running", "[ -e fast ] || sleep 600", 'echo "acc=0.$1"')
    arguments = ["keep", "--storage", "sqlite:///loop.db", *METRIC, "--candidate", "first"]
    arguments += ["--n-jobs", n_jobs, "--", *SHELL]
    process = subprocess.Popen([sys.executable, "-m", "adnn_optuna", *arguments])
    running = folder / "running"
    while not running.exists() or len(running.read_text().split()) < int(n_jobs):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    for command in map(int, running.read_text().split()):
        assert not psutil.pid_exists(command)
    (folder / "fast").touch()
    assert keep("--candidate", "first", command=SHELL) == 0
    assert os.path.exists(folder / "loop.db")  # noqa: PTH110
