"""The output of each command with ``--json``."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from contract_files import check_here
from stored_studies import declaration, store_head, store_study

import adnn_optuna as adnn
from adnn_optuna.cli import main as cli
from adnn_optuna.cli import output
from adnn_optuna.networks._program import Program
from adnn_optuna.results.fields import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator

NETWORK = ["--hidden", "4", "--epochs", "1", "--batch-size", "400"]
FUNCTIONS = """
import random

def objective(trial, seed):
    return trial.suggest_float("x", -1, 1) ** 2 + random.Random(seed).random()

def small(seed):
    return random.Random(seed).random()

def wide(seed):
    return 1 + random.Random(seed + 1).random()
"""
_COMMAND = [sys.executable, "-c", "print('v=0.5')", "{seed}"]
# For each command: its arguments, and a part of its output.
VERBS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "search": (
        [*NETWORK, "--max-trial", "2", "--study-name", "mine", "--report", "again.html"],
        {
            "study_name": "mine",
            "gain": 0.0,
            "files": {"report": "again.html"},
        },
    ),
    "resume": (
        ["--study-name", "mine", "--max-trial", "2"],
        {"study_name": "mine", "metric": "val_accuracy"},
    ),
    "compare": (
        ["told_own:objective", "--samplers", "tpe", "--max-trial", "2", "--seeds", "2,1"],
        {"study_name": "compare-told_own:objective", "seeds": [2, 1]},
    ),
    "plan": (["adnn.db", "c", "--gain", "0.002"], {"gain": 0.002, "n_pilot": 3}),
    "recheck": (
        ["adnn.db", "compare-told_own:objective/tpe/seed=1", "--evaluate", "told_own:objective"],
        {"maximize": False, "against": None, "reported_gain": None},
    ),
    "overtuning": (
        ["adnn.db", "mine"],
        {"study_name": "mine", "n_examples": 359},
    ),
    "variance": (
        ["--n", "5", *NETWORK],
        {"value_name": "val_accuracy", "n": 5, "n_lost": 0},
    ),
    "compare-models": (
        ["told_own:small", "told_own:wide", "--seeds", "3"],
        {"labels": ["small", "wide"], "seeds": [0, 1, 2]},
    ),
    "compare-values": (
        ["values.csv", "--minimize"],
        {"values": {"a": [1.0, 2.0, 4.0], "b": [2.0, 4.0, 3.0]}},
    ),
    "keep": (
        ["--metric", "v=(.+)", "--candidate", "a", "--", *_COMMAND],
        {"label": "a", "kept": True, "n_judged": 0, "n_runs": 8, "noise": 0.0},
    ),
    "luck": (
        ["--n", "1", "--sd", "2", "--claimed", "0"],
        {"expected": 0.0, "chances": {"mean": 0.5, "one": 0.5}},
    ),
    "report": (["--study-name", "c"], {"study_name": "c", "seeds": [0, 1, 2]}),
    "contract": (
        ["--study-name", "mine", "--output", "mine.json"],
        {"files": {"contract": "mine.json"}},
    ),
    "verify": (["first.json"], {"status": "exact", "new_seeds": None}),
    "audit": (["model.keras"], {"layers": []}),
}


# The files that commands write, as patterns of names. Other commands write no file.
WRITTEN: dict[str, list[str]] = {
    "search": [r"again\.html"],
    "report": [r"report\.html"],
    "contract": [r"mine\.[0-9a-f]+\.npz", r"mine\.json"],
}


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder, without the database and Python's compiled files."""
    files = (path for path in folder.iterdir() if path.is_file())
    return {path.name: path.read_bytes() for path in files if not path.match("adnn.db*")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with a search and its contract, a comparison, a model and functions."""
    import keras

    path, compile_ = tmp_path_factory.mktemp("json"), Program._compile
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        # XLA is off, because it takes longer than all the rest.
        patch.setattr(Program, "_compile", lambda *of, **_: compile_(*of, jit_compile=False))
        (path / "told_own.py").write_text(FUNCTIONS)
        (path / "values.csv").write_text("seed,a,b\n0,1,2\n1,2,4\n2,4,3\n")
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(path / "model.keras")
        search = ["search", *VERBS["search"][0][:-2], "--confirm", "0", "--contract", "first.json"]
        assert cli.run([*search, "-q"]) == 0
        storage = optuna.storages.RDBStorage("sqlite:///adnn.db")
        store_head(storage, "c", declaration(range(3), "greedy", "random_restart"))
        for label in ("greedy", "random_restart"):
            for seed in range(3):
                gain = 0.01 * seed if label == "greedy" else 0.0
                options: Any = {"sampler": label, "seed": seed, "gain": gain}
                store_study(f"c/{label}/{seed=}", storage=storage, **options)
        yield path


def strictly(text: str) -> Any:
    """Parse strict JSON, which has neither NaN nor infinity."""
    return json.loads(text, parse_constant=pytest.fail)


PAGE = Path(__file__).parents[2] / "docs" / "reference" / "json.md"
# The list of a search's numbers is generated when the page is built.
DOCUMENTED = {*re.findall(r"`(\w+)`", PAGE.read_text("utf-8")), *(field.key for field in FIELDS)}


@pytest.mark.parametrize("verb", VERBS)
def test_a_command_writes_only_documented_json_and_the_requested_files(
    verb: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    check_here(monkeypatch)
    arguments, expected = VERBS[verb]
    before, patterns = files_of(folder), WRITTEN.get(verb, [])
    assert cli.run([verb, "--json", *arguments]) == 0, capsys.readouterr().err
    after = files_of(folder)
    written = sorted(name for name, content in after.items() if before.get(name) != content)
    assert len(written) == len(patterns)
    assert all(map(re.fullmatch, patterns, written))
    assert before.keys() <= after.keys()
    printed = strictly(capsys.readouterr().out)
    assert {
        "verb",
        "files",
        "title",
        "verdict",
        "conclusion",
        "notes",
        "next_step",
    } <= printed.keys()
    assert printed["verb"] == verb
    assert expected == {name: printed[name] for name in expected}
    assert printed.keys() <= DOCUMENTED


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_notice_is_shown_only_on_a_terminal_and_erased(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with output.notice("Loading …"):
            assert os.read(ours, 100).decode() == "Loading …"
        assert os.read(ours, 100) == b"\r\x1b[K"
    os.close(ours)


def test_each_command_has_a_case() -> None:
    assert {*VERBS} == {*cli._COMMANDS}


def test_prints_of_a_users_function_are_not_in_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = 'print("loaded")\ndef one(seed): return print(seed) or seed\ndef two(seed): return 2\n'
    (tmp_path / "own_loud.py").write_text(code)
    models = ["own_loud:one", "own_loud:two", "--seeds", "2", "--json"]
    assert cli.run(["compare-models", *models]) == 0
    out, err = capsys.readouterr()
    assert strictly(out)["labels"] == ["one", "two"]
    assert err.startswith("loaded\n0\n1\n")


def test_an_error_leaves_stdout_empty(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["report", "--study-name", "nope", "--json"]) == 2
    out, err = capsys.readouterr()
    assert not out
    # A comparison is named once, without its single studies.
    assert err.startswith("adnn: Study 'nope' not found in sqlite:///adnn.db. Available: ")
    assert "'c'" in err
    assert "seed=" not in err


@pytest.mark.parametrize(
    ("arguments", "how"),
    [
        (["compare-values", "values.csv"], "pass --report FILE.html or --json"),
        (["compare-values", "values.csv", "--report", "page.html"], "open the report"),
        (["report", "--study-name", "c"], "open the report"),
        (["contract", "--study-name", "mine", "--output", "told.json"], "pass --json"),
    ],
)
def test_text_says_how_this_command_shows_all_notes(
    arguments: list[str], how: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(re.fullmatch(rf".*\d+ more notes?: {re.escape(how)}", line) for line in lines)


def test_the_verdict_is_also_the_exit_code(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["verify", "none.json", "--json"]) == 2
    assert strictly(capsys.readouterr().out)["status"] == "cannot_check"


@pytest.mark.parametrize(("no_color", "color"), [("", "32"), ("1", "")])
def test_on_a_terminal_the_title_has_the_colour_of_the_verdict(
    no_color: str,
    color: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    compared = ["compare-values", "clear.csv", "--baseline", "b"]
    (folder / "clear.csv").write_text("a,b\n" + "".join(f"{9 + i / 7},{i}\n" for i in range(9)))
    assert cli.run(compared) == 0
    assert "\x1b" not in (plain := capsys.readouterr().out)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert cli.run(compared) == 0
    title, _, after_title = capsys.readouterr().out.partition("\n")
    assert f"\x1b[{color}m" in title if color else "\x1b" not in title
    assert plain.partition("\n")[0].split() == re.sub(r"\x1b\[\d+m", "", title).split()
    assert "\x1b" not in after_title
    assert cli.run([*compared, "--json"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_the_next_command_names_the_function(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'adnn.db'}"
    options: Any = {"storage": url, "study_name": "s", "confirm": 0, "max_trial": 2}
    result = adnn.search(lambda trial: trial.suggest_float("x", 0, 1), "random", **options)
    for text in (output.as_text(result, "own:f"), output.as_json("search", result, "own:f")):
        assert "--evaluate own:f" in text
        assert "MODULE:FUNCTION" not in text
    assert "Advice: With your own MODULE:FUNCTION, run adnn recheck " in output.as_text(result)
