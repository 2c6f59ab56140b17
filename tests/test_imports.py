"""The modules that the package's imports and requests for help load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import adnn_optuna as adnn

HEAVY = ("keras", "pandas", "plotly", "sklearn", "tensorflow")
# The largest number of nodes in the loaded syntax trees. The whole package has 154,000.
N_NODES_OF_RECHECK = 50_000
N_NODES_OF_FUNCTIONS = 70_000
HELPED = (*HEAVY, "jinja2", "numpy", "optuna", "pydantic", "rich", "scipy", "sqlalchemy")


def loaded(code: str, names: tuple[str, ...]) -> str:
    """Run code in a new process and return which of the modules it loaded."""
    question = f"import sys; print(*[name for name in {names} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{question}"], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


def test_samplers_callbacks_and_statistics_need_no_keras() -> None:
    code = """
import adnn_optuna as adnn
from adnn_optuna import MaxGainCallback, MaxTimeCallback, MaxTrialCallback
from adnn_optuna.samplers import AdaptiveSimulatedAnnealingSampler, DeltaStepSampler
adnn.expected_luck(3, 1.0)
adnn.measure_variance(lambda *, seed: seed % 7, n=5)
import colorsys
"""
    # The last import proves that the test detects loaded modules.
    assert loaded(code, (*HEAVY, "colorsys")) == "colorsys"


def test_functions_and_studies_load_nothing_of_networks() -> None:
    code = """
import ast, pathlib, sys
import optuna
import adnn_optuna as adnn

def f(trial, seed):
    return (trial.suggest_float("x", 0, 1) - 0.3) ** 2 + 1e-3 * (seed % 7)

study = optuna.create_study()
study.optimize(lambda trial: adnn.log_scores(trial, [f(trial, 0), 0.1, 0.3]), n_trials=5)
result = adnn.recheck(study, f, choose=2, confirm=2)
print(result)

def print_size():
    modules = [m for n, m in sys.modules.items() if n.startswith("adnn_optuna")]
    trees = [ast.parse(pathlib.Path(module.__file__).read_text()) for module in modules]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    print(sum(not isinstance(node, (ast.Load, ast.Store, ast.Del)) for node in nodes))

print_size()
print(format(result, "markdown"))
print(adnn.overtuning(study, show_progress_bar=False))
print(adnn.compare_values({"a": [1, 2, 3.5, 4], "b": [2, 3, 4, 6]}))
print(adnn.search(f, "tpe", max_trial=3))
folders = {name.split(".")[1] for name in sys.modules if name.startswith("adnn_optuna.")}
print(folders & {"networks", "experiments", "contracts"}, "scipy.stats" in sys.modules)
print_size()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    n_nodes_of_recheck, n_nodes = [int(line) for line in lines if line.isdigit()]
    assert lines[-2] == "set() False"
    assert n_nodes_of_recheck < N_NODES_OF_RECHECK
    assert n_nodes < N_NODES_OF_FUNCTIONS


def test_samplers_and_callbacks_load_hardly_more_than_optuna() -> None:
    slow = (*HEAVY, "jinja2", "scipy", "sqlalchemy", "tqdm", "typer")
    added = "import adnn_optuna.samplers, adnn_optuna.callbacks"
    assert loaded(added, slow) == loaded("import optuna", slow)


def test_the_name_of_a_command_suggests_its_function() -> None:
    with pytest.raises(AttributeError, match="Did you mean 'measure_variance'"):
        adnn.variance  # noqa: B018


def test_help_loads_nothing_but_typer() -> None:
    code = """
from adnn_optuna.cli import main
for verb in ([], *([name] for name in main._COMMANDS)):
    assert main.run([*verb, "--help"]) == 0
"""
    assert not loaded(code, HELPED)
