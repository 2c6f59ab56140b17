"""Quality of annealing and CMA-ES with 16 and 32 parameters, after 200 and 1000 trials.

The benchmark uses the functions of ``sampler_quality.py`` and works in the same way. It takes half
an hour.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from _case import Case
from _common import Results, Study, markdown_table
from _samplers import METHODS, OURS, main, parser_of, rows_of, with_interval
from benchmark_problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

# A scaled sphere is an ellipsoid.
FUNCTIONS = {"sphere": "plain", "ellipsoid": "scaled", "rosenbrock": "plain", "ackley": "plain"}
DIMS, BUDGETS, RIVAL = (16, 32), (200, 1000), "CMA-ES"


def cases(n_seeds: int, *, quick: bool) -> Iterator[Case]:
    """Yield all cases; results have a row for each function and number of parameters."""
    for seed, trials, n_dims, name in itertools.product(range(n_seeds), BUDGETS, DIMS, FUNCTIONS):
        function = "sphere" if name == "ellipsoid" else name
        problem = Problem(function, n_dims, seed, FUNCTIONS[name])
        yield Case(f"{name}, {n_dims} parameters", name, seed, trials, problem)
        if quick:
            return


def summary(results: Results) -> str:
    """Return the regrets as a table."""
    rows = {(row["method"], row["group"], row["trials"]): row for row in results["rows"]}
    lines = []
    for n_dims, trials, function in itertools.product(DIMS, BUDGETS, FUNCTIONS):
        group = f"{function}, {n_dims} parameters"
        ours, its = (rows.get((name, group, trials)) for name in (OURS, RIVAL))
        if ours and its:
            label = f"{group}, {trials} trials ({its['n_seeds']})"
            regrets = (f"{row['regret']:.2g}" for row in (ours, its))
            lines.append([label, *regrets, with_interval(its["ours_over_it"], ".2g")])
    return markdown_table(["regret (seeds)", OURS, RIVAL, f"{OURS} / {RIVAL}"], lines)


def summed_up(cells: list[dict[str, Any]]) -> Results:
    """Return the results of all cells."""
    return {"settings": {}, "rows": rows_of(cells, geometric=True)}


STUDY = Study("sampler_quality_many", lambda _: {}, summary)

if __name__ == "__main__":
    args = parser_of(__doc__, seeds=10).parse_args()
    found = {name: METHODS[name] for name in (OURS, RIVAL)}
    main(STUDY, args, found, cases(args.seeds, quick=args.quick), summed_up)
