"""How good the samplers are on spaces as people have them, after 30, 100 and 300 trials.

Integers, logs, categories, conditions, plateaus and noise: the objectives are those of
``sampler_quality_mixed_problems.py``, some of them trainings of scikit-learn. Each cell (a sampler
on a seed of an objective) is written as soon as it is done, so the study can be interrupted and
goes on where it was. It takes about two hours, and less with ``--seeds`` or ``--budgets``.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import math
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import optuna
import plotly.colors
import plotly.graph_objects as go
import sklearn
from _common import Results, Study, add_cells, files_of, markdown_table, write_json
from sampler_quality import OURS, available, missing, read
from sampler_quality_mixed_problems import PROBLEMS
from scipy.stats import rankdata
from scipy.stats import t as student_t
from tqdm import tqdm

from adnn_optuna.samplers import AdaptiveSimulatedAnnealingSampler, _asa, _local_model, _mixed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from optuna.samplers import BaseSampler

BUDGETS = (30, 100, 300)
# A difference that is less is none: all of these values are losses of about 1.
_NO_DIFFERENCE = 1e-6


@dataclasses.dataclass(frozen=True)
class Method:
    """A sampler, made from the seed and the number of trials.

    Args:
        make: Makes it.
        knows_budget: Whether what it proposes depends on that number, so that each is a run.
        missing: Why it cannot be run here.
        patch: What the package has otherwise meanwhile: an owner, an attribute, and its value.
    """

    make: Callable[[int, int], BaseSampler]
    knows_budget: bool = False
    missing: str = ""
    patch: tuple[Any, str, Any] | None = None


def methods() -> dict[str, Method]:
    """Return all samplers by name."""
    samplers = optuna.samplers
    return {
        OURS: Method(AdaptiveSimulatedAnnealingSampler, knows_budget=True),
        "TPE": Method(lambda seed, _: samplers.TPESampler(seed=seed)),
        "TPE, univariate": Method(
            lambda seed, _: samplers.TPESampler(seed=seed, multivariate=False)
        ),
        "TPE, grouped": Method(
            lambda seed, _: samplers.TPESampler(seed=seed, multivariate=True, group=True)
        ),
        "CMA-ES": Method(
            lambda seed, _: samplers.CmaEsSampler(seed=seed), missing=missing("cmaes")
        ),
        "GP": Method(lambda seed, _: samplers.GPSampler(seed=seed), missing=missing("torch")),
        "QMC": Method(lambda seed, _: samplers.QMCSampler(seed=seed, scramble=True)),
        "Random": Method(lambda seed, _: samplers.RandomSampler(seed=seed)),
    }


def ablations() -> dict[str, Method]:
    """Return the annealing, and without each of its parts for mixed spaces."""
    annealing, pool = _asa.AdaptiveSimulatedAnnealing, _local_model.PointPool
    temperatures, move, draw_branch = annealing.temperatures, _asa.move, _asa.draw_branch
    parts: dict[str, tuple[Any, str, Any]] = {
        "conditions": (_asa.Conditions, "of", lambda *_: _asa.Conditions()),
        "ranks of branches": (_asa, "draw_branch", lambda *args: draw_branch(*args[:3], 0.0)),
        "models of branches": (_asa, "model_of", lambda *_: None),
        "D of branches": (
            annealing,
            "temperatures",
            lambda self, index, _=None, *rest: temperatures(self, index, None, *rest),
        ),
        "moves of choices": (_asa, "move", lambda *args: move(*args[:3], 0 * args[3])),
        "rounding": (_asa, "rounded", lambda points, _: points),
        "leaving out what was told": (_asa, "is_told", lambda x, *_: np.zeros(len(x), bool)),
        "what never moved first": (_asa, "is_untried", lambda x, *_: np.zeros(x.shape, bool)),
        "the first five from everywhere": (_asa, "_N_FIRST", 0),
        "plateaus": (annealing, "_is_on_plateau", False),
        "distances": (_mixed, "_DISTANCE_WEIGHT", 0.0),
        "the latest points": (pool, "is_latest", lambda self, _: np.zeros(len(self), bool)),
        "smoothing": (_local_model, "_SMOOTHINGS", (1e-6,)),
        "80 points": (_asa, "N_NEAR", 40),
    }
    whole = methods()[OURS]
    return {
        OURS: whole,
        **{f"no {name}": dataclasses.replace(whole, patch=part) for name, part in parts.items()},
    }


def run_sampler(name: str, seed: int, sampler: BaseSampler, n_trials: int) -> dict[int, float]:
    """Return the true value of what looks best, after each of the budgets."""
    objective = PROBLEMS[name](seed)
    study = optuna.create_study(sampler=sampler)
    values = {}
    for number in range(n_trials):
        trial = study.ask()
        study.tell(trial, objective(trial, number))
        if number + 1 in BUDGETS:
            values[number + 1] = objective(optuna.trial.FixedTrial(study.best_params), None)
    return values


def cells(
    available: dict[str, Method], problems: list[str], seeds: range, budgets: list[int]
) -> Iterator[dict[str, Any]]:
    """Yield what tells the runs apart, those first that say most."""
    for seed, budget in sorted(itertools.product(seeds, budgets), key=lambda x: (x[1] > 100, x)):
        for problem, (method, about) in itertools.product(problems, available.items()):
            # Of a method that does not know its budget, the longer run is enough.
            if about.knows_budget or budget != 30:
                yield {"problem": problem, "seed": seed, "method": method, "budget": budget}


def run(path: Path, available: dict[str, Method], todo: list[dict[str, Any]]) -> None:
    done = {tuple(cell[key] for key in todo[0]) for cell in read(path)} if todo else set()
    left = [cell for cell in todo if tuple(cell.values()) not in done]
    with path.open("a") as file, tqdm(total=len(todo), initial=len(todo) - len(left)) as bar:
        for cell in left:
            about = available[cell["method"]]
            sampler = about.make(cell["seed"], cell["budget"])
            with mock.patch.object(*about.patch) if about.patch else contextlib.nullcontext():
                values = run_sampler(cell["problem"], cell["seed"], sampler, cell["budget"])
            file.write(json.dumps({**cell, "values": values}) + "\n")
            file.flush()
            bar.update()


Values = dict[tuple[str, int], dict[str, float]]


def tabulate(found: list[dict[str, Any]], available: dict[str, Method]) -> dict[int, Values]:
    """Return what the samplers reached, by budget, then problem and seed.

    Values are distances from the best that any run found, so that they are the regret. A sampler
    that some of the problems and seeds were too dear for is left out.
    """
    values: dict[int, Values] = {budget: {} for budget in BUDGETS}
    lowest: dict[tuple[str, int], float] = {}
    for cell in found:
        instance, about = (cell["problem"], cell["seed"]), available.get(cell["method"])
        lowest[instance] = min(lowest.get(instance, math.inf), *cell["values"].values())
        for budget, value in cell["values"].items():
            if about and (not about.knows_budget or int(budget) == cell["budget"]):
                values[int(budget)].setdefault(instance, {})[cell["method"]] = value
    kept = {
        budget: sorted(set.intersection(*(set(of) for of in by_instance.values())))
        for budget, by_instance in values.items()
        if by_instance
    }
    return {
        budget: {
            instance: {name: max(of[name] - lowest[instance], 0.0) for name in kept[budget]}
            for instance, of in by_instance.items()
        }
        for budget, by_instance in values.items()
    }


def rows_of(values: Values) -> list[dict[str, Any]]:
    """Return, for each sampler, its mean rank with an interval of 95 %, and its mean regrets."""
    if not values:
        return []
    names = list(next(iter(values.values())))
    ranks = {
        instance: rankdata([round(of[name] / _NO_DIFFERENCE) for name in names])
        for instance, of in values.items()
    }
    # Seeds are independent, the problems of a seed are the benchmark itself.
    seeds = sorted({seed for _, seed in values})
    by_seed = np.array([np.mean([r for k, r in ranks.items() if k[1] == s], 0) for s in seeds])
    rows = []
    for i, name in enumerate(names):
        mean = float(by_seed[:, i].mean())
        half = math.nan
        if len(seeds) > 1:
            half = student_t.ppf(0.975, len(seeds) - 1) * by_seed[:, i].std(ddof=1)
            half /= math.sqrt(len(seeds))
        problems = dict.fromkeys(
            problem for problem in PROBLEMS for p, _ in values if p == problem
        )
        rows.append(
            {
                "method": name,
                "n_seeds": len(seeds),
                "mean_rank": mean,
                "interval_95": [mean - half, mean + half],
                "ranks": {p: _mean(ranks[k][i] for k in values if k[0] == p) for p in problems},
                "regrets": {
                    p: _mean(values[k][name] for k in values if k[0] == p) for p in problems
                },
            }
        )
    return sorted(rows, key=lambda row: row["mean_rank"])


def _mean(numbers: Iterator[float]) -> float:
    return float(np.mean([*numbers]))


def report(found: list[dict[str, Any]], available: dict[str, Method]) -> Results:
    return {
        "settings": {
            "regret": "true value of what looks best - the lowest that any run found",
            "rank": "among the samplers of a row, on the same problem and seed; 1 is best",
            "interval": "95 %, Student's t over the seeds, of each the mean of all problems",
            "versions": {m.__name__: m.__version__ for m in (optuna, sklearn, np)},
            "not run": {name: m.missing for name, m in available.items() if m.missing},
        },
        "budgets": {
            str(budget): rows_of(values) for budget, values in tabulate(found, available).items()
        },
    }


def _ordered(results: Results) -> list[str]:
    names = dict.fromkeys(row["method"] for of in results["budgets"].values() for row in of)
    return sorted(names, key=lambda name: name != OURS)


def summary(results: Results) -> str:
    """Return the mean ranks, and the mean regrets on each problem, as tables."""
    names = _ordered(results)
    ranks, regrets = [], []
    for budget, rows in results["budgets"].items():
        by_name = {row["method"]: row for row in rows}
        if not by_name:
            continue
        cells = []
        for row in map(by_name.get, names):
            cells.append("")
            if row:
                low, high = row["interval_95"]
                cells[-1] = f"{row['mean_rank']:.2f} ({low:.2f} to {high:.2f})"
        ranks.append([f"{budget} ({rows[0]['n_seeds']})", *cells])
        for problem in rows[0]["regrets"]:
            means = {name: row["regrets"][problem] for name, row in by_name.items()}
            texts = {}
            for name, mean in means.items():
                mark = "**" if mean == min(means.values()) else ""
                texts[name] = f"{mark}{1000 * mean:.3g}{mark}"
            regrets.append([f"{problem}, {budget}", *(texts.get(name, "") for name in names)])
    return "\n\n".join(
        [
            markdown_table(["mean rank after trials (seeds)", *names], ranks),
            markdown_table(["regret × 1000", *names], regrets),
        ]
    )


def figures(results: Results) -> dict[str, go.Figure]:
    """Draw the mean ranks and their intervals."""
    figure = go.Figure()
    colors = itertools.cycle(plotly.colors.qualitative.D3)
    for name in _ordered(results):
        rows = {
            budget: row
            for budget, of in results["budgets"].items()
            for row in of
            if row["method"] == name
        }
        figure.add_scatter(
            x=[f"{budget} trials" for budget in rows],
            y=[row["mean_rank"] for row in rows.values()],
            error_y={"array": [row["interval_95"][1] - row["mean_rank"] for row in rows.values()]},
            name=name,
            marker={"size": 11 if name == OURS else 8, "color": next(colors)},
        )
    figure.update_yaxes(title="mean rank")
    figure.update_layout(width=900, height=420, margin={"t": 20, "b": 40})
    return {"": figure}


STUDY = Study("sampler_quality_mixed", figures, summary)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--budgets", type=int, nargs="*", default=BUDGETS, choices=BUDGETS)
    parser.add_argument("--methods", nargs="*", help="only these samplers")
    parser.add_argument("--problems", nargs="*", default=[*PROBLEMS], choices=PROBLEMS)
    parser.add_argument("--ablate", action="store_true", help="the annealing without each part")
    add_cells(parser)
    args = parser.parse_args()
    file, output = files_of(STUDY, args)
    if args.quick:
        args.seeds, args.problems, args.budgets = 1, [*PROBLEMS][:1], BUDGETS[:1]

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    all_methods = ablations() if args.ablate else methods()
    found = available(all_methods, args.methods)
    if not args.report:
        seeds = range(args.first_seed, args.first_seed + args.seeds)
        todo = list(cells(found, args.problems, seeds, args.budgets))
        try:
            run(file, found, todo)
        except KeyboardInterrupt:
            print(f"\nInterrupted; run it again to go on with {file}.")
    cells_of = [cell for cell in read(file) if cell["problem"] in args.problems]
    result = report(cells_of, found if args.methods else all_methods)
    print(summary(result))
    if args.write:
        write_json(output, result)


if __name__ == "__main__":
    main()
