"""How good the annealing is with 16 and 32 parameters, beside CMA-ES, after 200 and 1000 trials.

It is as ``sampler_quality.py``, whose functions and cells it takes, and takes half an hour.
"""

from __future__ import annotations

import argparse
import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import optuna
from _common import Results, Study, add_cells, files_of, markdown_table, write_json
from benchmark_problems import Problem
from sampler_quality import OURS, Cell, methods, read, run
from scipy.stats import t as student_t

if TYPE_CHECKING:
    from pathlib import Path

FUNCTIONS = (
    ("sphere", "plain"),
    ("sphere", "scaled"),  # An ellipsoid.
    ("rosenbrock", "plain"),
    ("ackley", "plain"),
)
DIMS, BUDGETS, RIVAL = (16, 32), (200, 1000), "CMA-ES"


def report(path: Path) -> Results:
    """Return the geometric means of the regrets, and of ours over the rival's, seed by seed."""
    logs: dict[tuple[str, str, int, int, int], dict[str, float]] = {}
    for cell in read(path):
        for budget in BUDGETS:
            regret = cell["regrets"].get(str(budget))
            if regret is not None and (cell["method"] == RIVAL or cell["budget"] == budget):
                key = cell["function"], cell["kind"], cell["n_dims"], budget, cell["seed"]
                logs.setdefault(key, {})[cell["method"]] = math.log(max(regret, 1e-12))
    rows = []
    for n_dims, budget, (function, kind) in itertools.product(DIMS, BUDGETS, FUNCTIONS):
        pairs = [
            (of[OURS], of[RIVAL])
            for (*key, _), of in logs.items()
            if key == [function, kind, n_dims, budget] and len(of) == 2
        ]
        if len(pairs) < 2:
            continue
        ours, rivals = np.array(pairs).T
        mean, spread = (ours - rivals).mean(), (ours - rivals).std(ddof=1)
        half = student_t.ppf(0.975, len(pairs) - 1) * spread / math.sqrt(len(pairs))
        rows.append(
            {
                "function": "ellipsoid" if kind == "scaled" else function,
                "n_dims": n_dims,
                "trials": budget,
                "n_seeds": len(pairs),
                OURS: f"{math.exp(ours.mean()):.2g}",
                RIVAL: f"{math.exp(rivals.mean()):.2g}",
                "ratio": [f"{math.exp(mean + d):.2g}" for d in (0, -half, half)],
            }
        )
    return {"rows": rows}


def summary(results: Results) -> str:
    """Return the regrets as a table."""
    return markdown_table(
        ["regret (seeds)", OURS, RIVAL, f"{OURS} / {RIVAL}"],
        [
            [
                (
                    f"{row['function']}, {row['n_dims']} parameters, {row['trials']} trials "
                    f"({row['n_seeds']})"
                ),
                row[OURS],
                row[RIVAL],
                "{} ({} to {})".format(*row["ratio"]),
            ]
            for row in results["rows"]
        ],
    )


STUDY = Study("sampler_quality_many", lambda _: {}, summary)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds")
    add_cells(parser)
    args = parser.parse_args()
    file, output = files_of(STUDY, args)
    n_seeds, functions = (1, FUNCTIONS[:1]) if args.quick else (args.seeds, FUNCTIONS)

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    available = {name: methods(None)[name] for name in (OURS, RIVAL)}
    if not args.report:
        todo = [
            Cell(Problem(function, n_dims, seed, kind), method, budget)
            for seed, budget, n_dims in itertools.product(range(n_seeds), BUDGETS, DIMS)
            for (function, kind), method in itertools.product(functions, available)
            if budget == max(BUDGETS) or available[method].knows_budget
        ]
        run(file, available, todo)
    results = report(file)
    print(summary(results))
    if args.write:
        write_json(output, results)


if __name__ == "__main__":
    main()
