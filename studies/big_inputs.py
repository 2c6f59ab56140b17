"""The cost of the public functions: their start, and large inputs.

Each measurement has its own process, and so its own peak memory.

- ``start``: the CPU time and the wall time until a process has imported the package, shown a help,
  or rechecked a study of 20 trials on SQLite; and the number of nodes in the syntax trees of the
  package's loaded modules;
- ``inputs``: both times for a call and for printing its result, or for a report, with a large
  input and with a part of this input; ``MB`` is the peak memory minus the memory before the call.

Nothing else should run at the same time. The measurements take some minutes.
"""

from __future__ import annotations

import argparse
import ast
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from _common import TRIED, Results, Study, markdown_table, write_json
from training_speed import highest_resident_size

import adnn_optuna as adnn
from adnn_optuna._checks import n_cores
from adnn_optuna.api.stored import load_result
from adnn_optuna.engine.storages import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable

RNG = np.random.default_rng(0)
FLOAT = optuna.distributions.FloatDistribution(0, 1)
_RECHECK = """
import adnn_optuna as adnn
def evaluate(trial, seed):
    return trial.suggest_float("x", 0, 1) + 1e-3 * (seed % 7)
print(adnn.recheck(("sqlite:///study.db", "study"), evaluate))
"""
_HELP = "from adnn_optuna.cli import main; main.run({})"
STARTS = {
    "import adnn_optuna": "import adnn_optuna",
    "adnn --help": _HELP.format(["--help"]),
    "adnn search --help": _HELP.format(["search", "--help"]),
    "recheck of 20 trials on SQLite": _RECHECK,
}
_FILES = """
import json, sys
names = [name for name in sys.modules if name.partition(".")[0] == "adnn_optuna"]
print(json.dumps([sys.modules[name].__file__ for name in names]))
"""


def noisy(trial: optuna.Trial, seed: int) -> float:
    """Return a value that depends on the seed."""
    return (trial.suggest_float("x", 0, 1) - 0.3) ** 2 + 1e-3 * (seed % 7)


def study_of(n_trials: int) -> optuna.Study:
    """Return a study in memory with this number of trials."""
    study = optuna.create_study()
    xs = RNG.random(n_trials)
    study.add_trials(
        [optuna.create_trial(params={"x": x}, distributions={"x": FLOAT}, value=x) for x in xs]
    )
    return study


def values(n_arms: int, n_rows: int) -> Callable[[], object]:
    table = {f"arm {i}": RNG.normal(size=n_rows) for i in range(n_arms)}
    return lambda: adnn.compare_values(table)


def overtuning(n_trials: int, n_examples: int) -> Callable[[], object]:
    study = optuna.create_study(direction="maximize")
    skills = RNG.normal(size=n_examples)
    for _ in range(n_trials):
        scores = skills + RNG.normal(size=n_examples) > -1
        study.tell(trial := study.ask(), adnn.log_scores(trial, scores))
    return lambda: adnn.overtuning(study)


def recheck(n_trials: int) -> Callable[[], object]:
    study = study_of(n_trials)
    return lambda: adnn.recheck(study, noisy)


def comparison(n_arms: int, n_seeds: int) -> Callable[[], object]:
    arms = dict.fromkeys([f"arm {i}" for i in range(n_arms - 1)], "tpe")
    return lambda: adnn.compare(noisy, arms, max_trial=2, seeds=n_seeds)


def report(n_trials: int) -> Callable[[], object]:
    storage = optuna.storages.InMemoryStorage()
    limits = {"max_trial": 10, "confirm": 0}
    result = adnn.search(noisy, "random", storage=storage, study_name="study", **limits)
    result.study.add_trials(study_of(n_trials).trials)

    def write() -> str:
        with tempfile.TemporaryDirectory() as folder:
            load_result(storage, "study").report(Path(folder) / "report.html")
        return ""

    return write


# The function for each input, the sizes of a part and of the whole input, and a small size for
# test runs.
INPUTS: dict[str, tuple[Callable[..., Callable[[], object]], tuple[tuple[int, ...], ...]]] = {
    "compare_values, arms × rows": (values, ((40, 6), (80, 6), (8, 6))),
    "compare_values, arms × long rows": (values, ((2, 10_000), (2, 100_000), (2, 100))),
    "overtuning, trials × examples": (overtuning, ((200, 10_000), (2_000, 10_000), (20, 100))),
    "recheck, trials": (recheck, ((10_000,), (100_000,), (100,))),
    "compare, arms × seeds of 2 trials": (comparison, ((20, 5), (20, 50), (3, 3))),
    "report, trials": (report, ((2_000,), (20_000,), (20,))),
}


def measure_input(name: str, size: list[int]) -> Results:
    """Return the cost of an input of this size in this process."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    make, _ = INPUTS[name]
    run = make(*size)
    before = highest_resident_size()
    cpu, began = time.process_time(), time.perf_counter()
    str(run())
    seconds = time.perf_counter() - began
    cpu = time.process_time() - cpu
    return {"cpu": cpu, "seconds": seconds, "mb": highest_resident_size() - before}


def in_a_process(code: str, folder: str) -> tuple[Results, Any]:
    """Run code in a new process in this folder; return its cost and its last printed line."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu": cpu, "seconds": seconds}, json.loads(done.stdout.splitlines()[-1])


def measure_start(code: str) -> Results:
    """Return the cost of a new process that runs some code, and its number of loaded nodes."""
    with tempfile.TemporaryDirectory() as folder:
        storage = open_storage(f"sqlite:///{folder}/study.db")
        study = optuna.create_study(storage=storage, study_name="study")
        study.add_trials(study_of(20).trials)
        cost, files = in_a_process(f"{code}\n{_FILES}", folder)
    trees = [ast.parse(Path(file).read_text(encoding="utf-8")) for file in files]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    # As in the tests, contexts such as Load do not count as nodes.
    n_nodes = sum(not isinstance(node, ast.expr_context) for node in nodes)
    return {**cost, "nodes": n_nodes}


def measure_inputs(*, quick: bool) -> Results:
    """Return the cost of each input, by name and size."""
    inputs: Results = {}
    for name, (_, (part, whole, small)) in INPUTS.items():
        inputs[name] = {}
        for size in [small] if quick else [part, whole]:
            code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            code += "import json, big_inputs\n"
            code += f"print(json.dumps(big_inputs.measure_input({name!r}, {size})))"
            label = " × ".join(f"{n:,}" for n in size)
            _, inputs[name][label] = in_a_process(code, ".")
    return inputs


def summary(results: Results) -> str:
    """Return the measurements as tables."""
    starts = [
        [name, f"{cost['cpu']:.2f}", f"{cost['seconds']:.2f}", f"{cost['nodes']:,}"]
        for name, cost in results["start"].items()
    ]
    rows = []
    for name, costs in results["inputs"].items():
        for size, cost in costs.items():
            numbers = [f"{cost[key]:.3g}" for key in ("cpu", "seconds")]
            rows.append([f"{name}: {size}", *numbers, f"{cost['mb']:.0f}"])
    start_header = ["a new process", "CPU [s]", "time [s]", "nodes loaded"]
    input_header = ["input", "CPU [s]", "time [s]", "memory [MB]"]
    return "\n\n".join([markdown_table(start_header, starts), markdown_table(input_header, rows)])


STUDY = Study("big_inputs", lambda _: {}, summary)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small inputs, in build/studies")
    quick = parser.parse_args().quick
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    TRIED.mkdir(parents=True, exist_ok=True)
    results: Results = {
        "command": "python studies/big_inputs.py",
        "machine": f"{platform.machine()}, {n_cores()} cores",
        "start": {name: measure_start(code) for name, code in STARTS.items()},
        "inputs": measure_inputs(quick=quick),
    }
    write_json(TRIED / STUDY.results_file.name if quick else STUDY.results_file, results)
    print(summary(results))


if __name__ == "__main__":
    main()
