"""Draw mutants of the code and run the tests on them, to find faults that no test detects.

``make mutants`` calls this script. The folder ``mutants`` keeps mutants and results, so an
interrupted run continues, and changed functions get new mutants. ``mutmut show NAME`` prints a
mutant.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path

from scipy.stats import binomtest

MUTANTS = Path("mutants")
# mutmut's exit codes for a mutant that all tests passed, and for a mutant that no test reaches.
SURVIVED, NO_TESTS = 0, 33
# In its first test run, mutmut makes all mutants, and records which tests reach which function.
FIRST = "adnn_optuna.samplers._moves.x_generat*__mutmut_1"


def mutmut(*names: str) -> None:
    """Run the tests on all mutants that match the names."""
    # Tests and their child processes must import the mutants, not the installed package. Python
    # ignores folders on its path that did not exist when it started.
    MUTANTS.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(MUTANTS.resolve())}
    subprocess.run([sys.executable, "-m", "mutmut", "run", *names], env=environment, check=True)


def known() -> dict[str, int | None]:
    """Return the exit code of the tests on each mutant; None if they were not run."""
    codes = {}
    for path in sorted(MUTANTS.rglob("*.meta")):
        codes.update(json.loads(path.read_text())["exit_code_by_key"])
    return codes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=300, help="how many to test")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if not known():
        mutmut(FIRST)
    names = sorted(known())
    # A larger sample begins with the same mutants, because the random order is fixed.
    random.Random(arguments.seed).shuffle(names)
    sampled = names[: arguments.number]
    codes = known()
    if without_code := [name for name in sampled if codes[name] is None]:
        mutmut(*without_code)
        codes = known()
    survivors = sorted(name for name in sampled if codes[name] in {SURVIVED, NO_TESTS})
    n_killed = len(sampled) - len(survivors)
    low, high = binomtest(n_killed, len(sampled)).proportion_ci()
    print(*survivors, sep="\n")
    print(
        f"{n_killed} of {len(sampled)} mutants were killed: {n_killed / len(sampled):.1%} "
        f"(95%: {low:.1%} to {high:.1%}) of all {len(names)}. Above are the others."
    )


if __name__ == "__main__":
    main()
