"""What importing the package, and asking for help, costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("keras", "pandas", "plotly", "sklearn", "tensorflow")
HELPED = (*HEAVY, "jinja2", "numpy", "optuna", "pydantic", "rich", "scipy", "sqlalchemy")


def loaded(code: str, names: tuple[str, ...]) -> str:
    """Run code in a fresh process; return which of the modules it loaded."""
    asked = f"import sys; print(*[name for name in {names} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{asked}"], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "code",
    [
        "import adnn_optuna",
        "from adnn_optuna.samplers import DeltaStepSampler, AdaptiveSimulatedAnnealingSampler",
        "import adnn_optuna as adnn; adnn.recheck, adnn.expected_luck(3, 1.0)",
        "import adnn_optuna as adnn; adnn.measure_variance(lambda *, seed: seed % 7, n=5)",
        "from adnn_optuna import MaxGainCallback, MaxTimeCallback, MaxTrialCallback",
    ],
)
def test_samplers_and_callbacks_need_no_keras(code: str) -> None:
    assert not loaded(code, HEAVY)


def test_what_is_loaded_is_seen() -> None:
    assert loaded("import pandas", HEAVY) == "pandas"


def test_samplers_and_callbacks_load_hardly_more_than_optuna() -> None:
    slow = (*HEAVY, "jinja2", "scipy", "sqlalchemy", "tqdm", "typer")
    added = "import adnn_optuna.samplers, adnn_optuna.callbacks"
    assert loaded(added, slow) == loaded("import optuna", slow)


def test_help_loads_nothing_but_typer() -> None:
    assert not loaded("from adnn_optuna.cli.main import run; run(['--help'])", HELPED)


def test_help_of_commands_loads_optuna_at_most() -> None:
    verbs = "search resume compare plan recheck variance compare-models compare-values luck report"
    code = f"""
from adnn_optuna.cli.main import run
for verb in "{verbs} audit verify".split():
    run([verb, "--help"])
"""
    assert not loaded(code, (*HEAVY, "jinja2", "scipy.stats", "sqlalchemy"))
