"""Without TensorFlow, everything else works, and errors name the command that installs it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import adnn_optuna as adnn

if TYPE_CHECKING:
    from pathlib import Path

# Without these modules, Python behaves as if the extras were not installed.
BASE_ONLY = """
import sys
sys.modules |= dict.fromkeys(["keras", "psycopg", "sklearn", "tensorflow"])
"""
TENSORFLOW = "which is not installed: pip install 'adnn_optuna[tensorflow]'."


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BASE_ONLY + code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


CALLS = """
import os
import random
import adnn_optuna as adnn
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.networks import loading
data = adnn.Dataset.from_arrays([[0.0], [1.0]] * 20, [0, 1] * 20, name="d")
os.environ.pop("ADNN_DATA_DIR", None)
loading._SYSTEM_DATA_DIR = loading.Path("none")
for call in (
    lambda: adnn.load_dataset("digits"),
    lambda: adnn.InitOffsetObjective(adnn.MLP((8,)), data),
    lambda: adnn.InitOffsetObjective(lambda: None, data),
    lambda: adnn.compare_models({"a": adnn.MLP((8,)), "b": adnn.MLP((4,))}, data),
    lambda: adnn.audit_randomness(None),
    lambda: open_storage("postgresql+psycopg://me@localhost/s"),
    lambda: adnn.load_dataset("mnist"),
):
    try:
        call()
    except (ImportError, OSError) as error:
        print(error)

def f(seed):
    return random.Random(seed).random()

# No splits are redrawn, which code without source does not show.
models = {"f": f, "g": lambda seed: f(seed) + 1}
comparison = adnn.compare_models(models, seeds=range(6), resampled=False)
print(*comparison.differences()["verdict"])
"""


def test_every_public_name_exists_and_states_the_package_to_install(tmp_path: Path) -> None:
    done = python(f"from adnn_optuna import {', '.join(adnn.__all__)}\n{CALLS}", tmp_path)
    assert done.returncode == 0, done.stderr
    *of_tensorflow, of_storage, of_data, verdict = done.stdout.splitlines()
    assert len(of_tensorflow) == 5
    assert all(line.endswith(TENSORFLOW) for line in of_tensorflow)
    assert of_storage.endswith("pip install 'adnn_optuna[postgresql]'.")
    # If Keras needs to download the data, the error names both ways.
    assert "pip install 'adnn_optuna[tensorflow]'" in of_data
    assert "Put its four IDX files" in of_data
    assert verdict == "worse"


def test_commands_run_or_state_the_package_to_install(tmp_path: Path) -> None:
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
    commands = [[verb, "--max-trial", "2"] for verb in ("search", "compare")]
    commands += [["luck", "--n", "51", "--sd", "0.0096", "--claimed", "0.04"]]
    commands += [["recheck", "o.db", "s", "--evaluate", "own:f", "--quiet"]]
    code += f"\nfrom adnn_optuna.cli.main import run; print([run(c) for c in {commands}])"
    done = python(code, tmp_path)
    refusals = [line for line in done.stderr.splitlines() if line.startswith("adnn: ")]
    assert len(refusals) == 2
    assert all(line.endswith(TENSORFLOW) for line in refusals)
    assert not [*tmp_path.glob("adnn*")]
    of_luck, _, of_recheck = done.stdout.partition("\nRecheck of study")
    assert "51" in of_luck
    assert of_recheck.endswith("\n[2, 2, 0, 0]\n")
