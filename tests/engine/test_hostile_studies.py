"""Opening a database with forged contents fails with one sentence."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import optuna
import pytest

import adnn_optuna as adnn
from adnn_optuna._checks import WrongValueError
from adnn_optuna.cli.main import run
from adnn_optuna.engine.records import read_record
from adnn_optuna.engine.storages import open_storage

if TYPE_CHECKING:
    from pathlib import Path

DEEP = "[" * 2000 + "]" * 2000
HUGE = "9" * 5000
AS_OPTUNA = "The storage must hold studies as Optuna writes them; got "
NUMBERS = "must have numbers as values and parameters; got "


def value(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database with one study of three trials."""
    file = tmp_path_factory.mktemp("stored") / "s.db"
    storage = f"sqlite:///{file}"
    adnn.search(value, "annealing", max_trial=3, storage=storage, study_name="s")
    return file


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        *(
            (f"UPDATE {table}_user_attributes SET value_json = '{text}'", AS_OPTUNA)
            for table in ("study", "trial")
            for text in ("{broken", DEEP, HUGE)
        ),
        ("UPDATE trial_system_attributes SET value_json = '{broken'", AS_OPTUNA),
        ("UPDATE trial_user_attributes SET value_json = '\"text\"'", "must be a mapping; got str"),
        ("UPDATE trials SET state = 'DONE'", AS_OPTUNA),
        ("UPDATE trials SET datetime_start = 'yesterday'", AS_OPTUNA),
        ("UPDATE study_directions SET direction = 'UP'", AS_OPTUNA),
        ("UPDATE trial_params SET distribution_json = '{broken'", AS_OPTUNA),
        ("UPDATE trial_values SET value_type = 'text'", AS_OPTUNA),
        ("UPDATE trial_values SET value = 'text'", f"{NUMBERS}'text'"),
        ("UPDATE trial_values SET value = x'ff'", NUMBERS),
        ("UPDATE trial_params SET param_value = 'text'", f"{NUMBERS}'text'"),
        ("DELETE FROM trial_values", f"{NUMBERS}None"),
    ],
)
def test_forged_contents_are_refused_in_one_sentence(
    statement: str, said: str, stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "s.db"
    with contextlib.closing(sqlite3.connect(file)) as copy:
        with contextlib.closing(sqlite3.connect(stored)) as original:
            original.backup(copy)
        copy.execute(statement)
        copy.commit()
    with pytest.raises(WrongValueError, match=said) as raised:
        read_record(optuna.load_study(study_name="s", storage=open_storage(f"sqlite:///{file}")))
    assert len(str(raised.value)) < 500
    assert run(["report", "--storage", f"sqlite:///{file}", "--study-name", "s"]) == 2
    assert said in capsys.readouterr().err.replace("\n", " ")


_FULL = """
import resource, sys
from adnn_optuna.cli.main import run
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
sys.exit(run(["report", "--storage", f"sqlite:///{sys.argv[1]}", "--study-name", "s"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no files")
def test_a_disk_that_is_full_when_a_database_is_opened_is_not_wrong_input(tmp_path: Path) -> None:
    file = tmp_path / "s.db"
    sqlite3.connect(file).close()
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE studies (study_id INTEGER)")
    ended = subprocess.run(
        [sys.executable, "-c", _FULL, str(file)], capture_output=True, text=True, check=False
    )
    assert "cannot be opened (d" in ended.stderr
    assert ended.returncode == 4


def test_a_missing_study_is_still_reported_as_missing(stored: Path) -> None:
    with pytest.raises(WrongValueError, match=r"Study 't' not found"):
        adnn.resume(f"sqlite:///{stored}", "t", objective=value)
