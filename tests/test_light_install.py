"""Without TensorFlow: what works, and what says in a sentence which command installs the rest."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import adnn_optuna as adnn

if TYPE_CHECKING:
    from pathlib import Path

# As if the packages of the extras were not installed.
BASE_ONLY = "import sys; sys.modules |= dict.fromkeys(['keras', 'sklearn', 'tensorflow'])\n"
TENSORFLOW = "which is not installed: pip install 'adnn_optuna[tensorflow]'."


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BASE_ONLY + code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def adnn_commands(
    commands: list[list[str]], folder: Path, after: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run commands after some code in one process, whose last line are their exit codes."""
    code = f"from adnn_optuna.cli.main import run; print([run(c) for c in {commands}])"
    return python(f"{after}\n{code}", folder)


CALLS = """
import adnn_optuna as adnn
data = adnn.Dataset.from_arrays([[0.0], [1.0]] * 20, [0, 1] * 20, name="d")
for call in (
    lambda: adnn.load_dataset("digits"),
    lambda: adnn.InitOffsetObjective(adnn.MLP((8,)), data),
    lambda: adnn.InitOffsetObjective(lambda: None, data),
    lambda: adnn.compare_models({"a": adnn.MLP((8,)), "b": adnn.MLP((4,))}, data),
    lambda: adnn.audit_randomness(None),
):
    try:
        call()
    except ImportError as error:
        print(error)
"""


def test_every_public_name_is_there_and_says_what_to_install(tmp_path: Path) -> None:
    done = python(f"from adnn_optuna import {', '.join(adnn.__all__)}\n{CALLS}", tmp_path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 5
    assert all(line.endswith(TENSORFLOW) for line in lines)


def test_data_that_keras_would_fetch_name_both_ways(tmp_path: Path) -> None:
    code = "import adnn_optuna._checks as c, adnn_optuna.networks.loading as s; s._SYSTEM_DATA_DIR"
    code += "= s.Path('none'); s.os.environ.pop('ADNN_DATA_DIR', 0); s.load_dataset('mnist')"
    last = python(code, tmp_path).stderr.splitlines()[-1]
    assert "pip install 'adnn_optuna[tensorflow]'" in last
    assert "Put its four IDX files" in last


def test_commands_say_what_to_install(tmp_path: Path) -> None:
    done = adnn_commands(
        [["search", "--max-trial", "2"], ["compare", "--max-trial", "2"]], tmp_path
    )
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("adnn: ")
        assert line.endswith(TENSORFLOW)
    assert done.stdout == "[2, 2]\n"
    assert not [*tmp_path.iterdir()]


def test_other_parts_are_named_too(tmp_path: Path) -> None:
    code = "sys.modules['psycopg'] = None; from adnn_optuna.engine.storages import open_storage; "
    done = python(code + "open_storage('postgresql+psycopg://me@localhost/s')", tmp_path)
    assert done.stderr.splitlines()[-1].endswith("pip install 'adnn_optuna[postgresql]'.")


def test_functions_of_a_seed_are_compared(tmp_path: Path) -> None:
    code = "import adnn_optuna as adnn, random; f = lambda seed: random.Random(seed).random(); "
    code += "g = lambda seed: f(seed) + 1; models = {'f': f, 'g': g}; found = "
    # No splits are redrawn, which code without source does not show.
    code += "adnn.compare_models(models, seeds=range(6), resampled=False); "
    code += "print(*found.differences()['verdict'])"
    done = python(code, tmp_path)
    assert done.stdout == "worse\n", done.stderr


def test_samplers_luck_and_recheck_are_there(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import random\n"
        "def f(trial, seed):\n"
        "    return trial.suggest_float('x', 0, 1) + random.Random(seed).random()\n"
    )
    code = (
        "import optuna, own; import adnn_optuna as adnn; "
        "study = optuna.create_study(storage='sqlite:///o.db', study_name='s'); "
        "f = lambda trial: own.f(trial, trial.number); "
        "study.sampler = adnn.DeltaStepSampler(); study.optimize(f, n_trials=9); "
        "study.sampler = adnn.AdaptiveSimulatedAnnealingSampler(); "
        "study.optimize(f, callbacks=[adnn.MaxTrialCallback(14)]); assert len(study.trials) == 14"
    )
    luck = ["luck", "--n", "51", "--sd", "0.0096", "--claimed", "0.04"]
    recheck = ["recheck", "o.db", "s", "--evaluate", "own:f", "--quiet"]
    done = adnn_commands([luck, recheck], tmp_path, after=code)
    of_luck, _, of_recheck = done.stdout.partition("\nRecheck of study")
    assert "51" in of_luck
    assert of_recheck.endswith("\n[0, 0]\n")
