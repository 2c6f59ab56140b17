"""Mean ranks of samplers after 10 to 500 trials: which one is best after few, and after many?

The problems are functions, mixed spaces, constraints, pruned trials, branches and tables of
training runs. The annealing needs its number of trials, so it has a run for each number. Each
other sampler has one run, from which all numbers are read. You can interrupt the benchmark at any
time. Seeds run one after another, so the finished part is a whole benchmark with fewer seeds. GP
and long runs of the annealing take most of the time; ``--methods`` and ``--budgets`` select other
samplers and numbers.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import json
import math
import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pandas as pd
import plotly.graph_objects as go
import sampler_constraints
from _case import Case
from _common import HERE, TRIED, Results, Study, markdown_table, write_json
from _sampler_figures import markers_of
from _samplers import METHODS, OURS, RANDOM, parser_of, read
from _stopwatch import Stopwatch
from benchmark_problems import Problem
from optuna.trial import FrozenTrial, Trial, TrialState
from sampler_quality_mixed_problems import PROBLEMS as MIXED
from sampler_tables import PACKAGE, table_of

from adnn_optuna.samplers import AdaptiveSimulatedAnnealingSampler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BUDGETS = (10, 20, 30, 50, 100, 200, 500)
_LONGEST = {"GP": 100}
_SAMPLERS = (OURS, "TPE", "CatCMAwM", RANDOM, "GP")
# CatCMAwM does not support conditions, constraints or pruners.
_FLAT = ("functions", "mixed", "tables")
_NO_VALUE = 1e3  # The regret of a run without a feasible trial.


@dataclasses.dataclass(frozen=True)
class Task:
    """One seed of a problem.

    Args:
        group: The kind of the problem.
        problem: The problem's name.
        seed: The number of the instance.
        told: A function of a trial that returns the value for the sampler.
        regret: A function of a finished trial that returns the trial's true regret.
    """

    group: str
    problem: str
    seed: int
    told: Callable[[Trial], float]
    regret: Callable[[FrozenTrial], float]


def _reported(trial: Trial, values: Sequence[float]) -> float:
    """Report all values of a curve, and return the last value."""
    for step, value in enumerate(values):
        trial.report(value, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return float(values[-1])


def learning_curves(trial: Trial, seed: int) -> float:
    """Report a loss that falls by the learning rate; its end depends on three more parameters."""
    best = np.random.default_rng([seed, 21]).random(4)
    rate = math.log10(trial.suggest_float("rate", 1e-5, 1e-1, log=True)) / 4 + 1.25
    width = math.log2(trial.suggest_int("width", 8, 512, log=True)) / 6 - 0.5
    dropout = trial.suggest_float("dropout", 0, 0.9) / 0.9
    kind = trial.suggest_categorical("kind", ["a", "b", "c", "d"])
    point = np.array([rate, width, dropout])
    end = float((point - best[:3]) ** 2 @ [2, 0.5, 1]) + 0.15 * abs("abcd".index(kind) - 1)
    falls = np.exp(-(0.2 + 0.5 * rate) * np.arange(15))
    return _reported(trial, [*(end + falls), end])


def noisy_curves(trial: Trial, seed: int) -> float:
    """Report a loss that has noise at each step except the last."""
    best = np.random.default_rng([seed, 22]).random(3)
    x, y = (trial.suggest_float(name, 0, 1) for name in "xy")
    n = trial.suggest_int("n", 1, 30)
    end = (x - best[0]) ** 2 + 2 * (y - best[1]) ** 2 + ((n - 1) / 29 - best[2]) ** 2
    noise = 0.1 * np.random.default_rng([seed, trial.number]).standard_normal(8)
    return _reported(trial, [*(end + 1 / np.arange(1, 9) + noise), end])


def crossing_curves(trial: Trial, seed: int) -> float:
    """Report a loss whose early values favour large rates, but whose last value does not."""
    best = np.random.default_rng([seed, 23]).uniform(0.1, 0.5, 2)
    x, rate = (trial.suggest_float(name, 0, 1) for name in ("x", "rate"))
    kind = trial.suggest_categorical("kind", [0, 1, 2])
    end = (x - best[0]) ** 2 + (rate - best[1]) ** 2 + 0.1 * kind
    return _reported(trial, [*(end + 2 * np.exp(-(0.1 + rate) * np.arange(10))), end])


def float_branches(trial: Trial, seed: int) -> float:
    """Return a loss whose parameters depend on a float."""
    random = np.random.default_rng([seed, 24])
    (bound,), best = random.uniform(0.2, 0.8, 1), random.random(4)
    x = trial.suggest_float("x", 0, 1)
    if x > bound:
        return float((trial.suggest_float("y", 0, 1) - best[0]) ** 2 + (x - bound) * 0.2)
    z, w = trial.suggest_int("z", 1, 20), trial.suggest_float("w", 0, 1)
    return float(0.1 * best[3] + abs(z - 1 - 19 * best[1]) / 19 + (w - best[2]) ** 2)


def integer_branches(trial: Trial, seed: int) -> float:
    """Return a loss whose parameters depend on an integer, with three branches."""
    random = np.random.default_rng([seed, 25])
    offsets, best = random.permutation([0.0, 0.1, 0.2]), random.random(5)
    n, rate = trial.suggest_int("n", 1, 12), trial.suggest_float("rate", 0, 1)
    branch = (n - 1) // 4
    value = (trial.suggest_float(f"y{branch}", 0, 1) - best[branch]) ** 2
    return float(offsets[branch] + value + (rate - best[3]) ** 2 + 0.01 * (n % 4))


FUNCTIONS = (("rosenbrock", 4), ("ackley", 4), ("rastrigin", 2), ("griewank", 6))
PRUNED = (learning_curves, noisy_curves, crossing_curves)
BRANCHED = (float_branches, integer_branches)
CONSTRAINED = ("Gramacy", "g04", "vessel")
TABLES = ("phoneme", "cifar100", "kc1")


def _task(group: str, problem: str, seed: int, function: Callable[[Any, int], float]) -> Task:
    """Return a task whose values have no noise."""

    def regret(trial: FrozenTrial) -> float:
        assert trial.value is not None
        return trial.value

    return Task(group, problem, seed, lambda trial: function(trial, seed), regret)


def _mixed(group: str, problem: str, seed: int) -> Task:
    objective = MIXED[problem](seed)
    return _task(group, problem, seed, lambda trial, _: objective(trial, None))


def tasks(seed: int) -> Iterator[Task]:
    """Yield all tasks of a seed."""
    for name, n_dims in FUNCTIONS:
        yield _task("functions", name, seed, Problem(name, n_dims, seed))
    for name in ("integers", "categories"):
        yield _mixed("mixed", name, seed)
    for name in ("branches", "layers"):
        yield _mixed("branches", name, seed)
    for function in BRANCHED:
        yield _task("branches", function.__name__, seed, function)
    for function in PRUNED:
        yield _task("pruned", function.__name__, seed, function)
    for name in CONSTRAINED:
        yield _task("constraints", name, seed, sampler_constraints.PROBLEMS[name])
    for name in TABLES if importlib.util.find_spec(PACKAGE) else ():
        table = table_of(name)
        yield Task(
            "tables",
            name,
            seed,
            lambda trial, table=table: table.told(trial, seed),
            lambda trial, table=table: table(trial, seed),
        )


def run(task: Task, method: str, n_trials: int, budgets: Sequence[int]) -> dict[str, Any]:
    """Return, for each number of trials, the true regret of the trial that seems best by then."""
    case = Case(task.group, task.problem, task.seed, n_trials, lambda trial, _: task.told(trial))
    watch = Stopwatch()
    sampler: Any
    if method == OURS:
        sampler = AdaptiveSimulatedAnnealingSampler(task.seed, n_trials)
    elif method == "CatCMAwM":
        sampler = METHODS[method].sampler(case)
    else:
        make: Any = METHODS[method].sampler(case)
        sampler = make(task.seed, n_trials)
    study = optuna.create_study(sampler=watch.watched(sampler))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna warns that GP is experimental.
        study.optimize(task.told, n_trials=n_trials)
    regrets, best = {}, (math.inf, _NO_VALUE)
    for count, trial in enumerate(study.trials, 1):
        is_feasible = all(violation <= 0 for violation in trial.constraints.values())
        if trial.state == TrialState.COMPLETE and is_feasible and trial.value < best[0]:
            best = trial.value, task.regret(trial)
        if count in budgets:
            regrets[str(count)] = float(f"{max(best[1], 0.0):.4g}")
    names = {"group": task.group, "problem": task.problem, "seed": task.seed, "method": method}
    milliseconds = round(1000 * watch.seconds / n_trials, 2)
    return {**names, "trials": n_trials, "regrets": regrets, "ms": milliseconds}


def missing(
    cells: Sequence[dict[str, Any]], task: Task, methods: Sequence[str], budgets: Sequence[int]
) -> Iterator[tuple[str, int]]:
    """Yield the sampler and the number of trials of each missing run of a task."""
    names = task.group, task.problem, task.seed
    done = {
        (cell["method"], cell["trials"])
        for cell in cells
        if (cell["group"], cell["problem"], cell["seed"]) == names
    }
    for method in methods:
        if method == "CatCMAwM" and task.group not in _FLAT:
            continue
        lengths = [n for n in budgets if n <= _LONGEST.get(method, n)]
        if method != OURS:
            longest = max(lengths)
            lengths = [] if any(m == method and n >= longest for m, n in done) else [longest]
        yield from ((method, n) for n in lengths if (method, n) not in done)


def regrets_of(results: Results) -> pd.DataFrame:
    """Return the regret of each sampler (a column) on each problem, seed and number of trials."""
    rows = [
        {**cell, "trials": int(n), "regret": regret}
        for cell in results["cells"]
        for n, regret in cell["regrets"].items()
    ]
    index = ["trials", "group", "problem", "seed"]
    return pd.DataFrame(rows).pivot_table("regret", index, "method")


def mean_ranks(results: Results) -> pd.DataFrame:
    """Return mean ranks by number of trials and group. The group "all" has all problems.

    A sampler has no rank in a group if it has no run on some of the group's problems.
    """
    parts = {}
    regrets = regrets_of(results)
    for trials, of_trials in regrets.groupby("trials"):
        for group in ("all", *of_trials.index.unique("group")):
            chosen = of_trials if group == "all" else of_trials.xs(group, level="group")
            # Only problems and seeds with runs of all samplers count.
            complete = chosen.dropna(axis=1, how="all").dropna()
            if group == "all":
                complete = chosen.dropna(axis=1, thresh=math.ceil(0.9 * len(chosen))).dropna()
            if len(complete) > 0:
                parts[trials, group] = complete.rank(axis=1).mean()
    return pd.DataFrame(parts).T


def summary(results: Results) -> str:
    """Return mean ranks and the time of a proposal as tables."""
    ranks, regrets = mean_ranks(results), regrets_of(results)
    names = [name for name in _SAMPLERS if name in ranks]
    tables = []
    for group in ranks.index.unique(level=1):
        lines = []
        for trials, row in ranks.xs(group, level=1).iterrows():
            of_row = regrets.xs(trials, level="trials")
            if group != "all":
                of_row = of_row.xs(group, level="group")
            texts = ["" if math.isnan(row[name]) else f"{row[name]:.2f}" for name in names]
            lines.append([f"{trials} ({of_row[OURS].notna().sum()})", *texts])
        title = "all problems" if group == "all" else group
        tables.append(markdown_table([f"{title}: trials (runs)", *names], lines))
    cells = pd.DataFrame(results["cells"])
    times = cells.pivot_table("ms", "trials", "method").reindex(columns=names)
    lines = [
        [str(trials), *("" if math.isnan(ms) else f"{ms:.2g}" for ms in row)]
        for trials, row in zip(times.index, times.to_numpy(), strict=True)
    ]
    tables.append(markdown_table(["milliseconds of a proposal, in runs of", *names], lines))
    return "\n\n".join(tables)


def figures(results: Results) -> dict[str, go.Figure]:
    """Draw the mean rank over all problems by the number of trials."""
    figure, ranks = go.Figure(), mean_ranks(results).xs("all", level=1)
    names = [name for name in _SAMPLERS if name in ranks and ranks[name].notna().any()]
    for name, marker in markers_of(names).items():
        of_name = ranks[name].dropna()
        figure.add_scatter(
            x=of_name.index, y=of_name, name=name, marker=marker, mode="lines+markers"
        )
    ticks = [*map(int, ranks.index)]
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=ticks, title="trials")
    figure.update_yaxes(title="mean rank (lower is better)", autorange="reversed")
    last = ranks[names].iloc[-1]
    title = f"{last.idxmin()} has the best mean rank after {ticks[-1]} trials: {last.min():.1f}"
    figure.update_layout(title=title, width=800)
    return {"": figure}


STUDY = Study("sampler_budgets", figures, summary)


def main() -> None:
    """Run what is missing, and summarise all finished runs."""
    parser = parser_of(str(__doc__), seeds=10)
    parser.add_argument("--budgets", type=int, nargs="*", default=BUDGETS, choices=BUDGETS)
    args = parser.parse_args()
    os.nice(10)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    methods, budgets = args.methods or _SAMPLERS, sorted(args.budgets)
    if args.quick:
        args.seeds, methods, budgets = 1, (OURS, RANDOM), [10]
    methods = [name for name in methods if importlib.util.find_spec(METHODS[name].needs)]
    output = (TRIED if args.quick else HERE) / STUDY.results_file.name
    output.parent.mkdir(parents=True, exist_ok=True)
    path = args.cells or output.with_suffix(".jsonl")
    if not path.exists() and STUDY.results_file.exists() and not args.quick:
        lines = [json.dumps(cell) + "\n" for cell in STUDY.load()["cells"]]
        path.write_text("".join(lines), encoding="utf-8")
    cells = read(path)
    with path.open("a", encoding="utf-8") as file:
        chosen = (tasks(seed) for seed in range(args.seeds))
        for task in itertools.islice(itertools.chain(*chosen), 1 if args.quick else None):
            for method, n_trials in missing(cells, task, methods, budgets):
                read_at = (n_trials,) if method == OURS else BUDGETS
                cells.append(run(task, method, n_trials, read_at))
                file.write(json.dumps(cells[-1]) + "\n")
                file.flush()
    results = {"settings": {"optuna": optuna.__version__, "numpy": np.__version__}, "cells": cells}
    print(summary(results))
    if args.quick or args.write:
        write_json(output, results)


if __name__ == "__main__":
    main()
