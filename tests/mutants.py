"""Which faults the tests would notice: draw mutants of the code, and run the tests on each.

``make mutants`` calls it. Mutants and what is known of them stay in ``mutants``, so an interrupted
run goes on where it was, and functions that changed are mutated anew. ``mutmut show NAME`` prints
one.
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
# As mutmut stores that all tests passed on a mutant, and that none reaches it.
SURVIVED, NO_TESTS = 0, 33
# mutmut makes all mutants, and learns which tests reach which function, when it tests some.
FIRST = "adnn_optuna.samplers._moves.x_generat*__mutmut_1"


def mutmut(*names: str) -> None:
    """Run the tests on mutants: all that match the names."""
    # Tests must import the mutants, not the package that is installed, also in processes that they
    # start. Python looks into no folder that was not there when it began.
    MUTANTS.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(MUTANTS.resolve())}
    subprocess.run([sys.executable, "-m", "mutmut", "run", *names], env=environment, check=True)


def known() -> dict[str, int | None]:
    """Return the exit code of the tests on each mutant, None where they were not run."""
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
    # The first of a random order, so that a larger number goes on with the same.
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
