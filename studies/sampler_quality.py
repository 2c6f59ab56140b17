"""How good the samplers are: regret after 50, 200 and 1000 trials, beside other optimizers.

Each cell (an optimizer on an instance of a function) is written as soon as it is done, so the
study can be interrupted and goes on where it was: the result is made of all cells that are there.
``--quick`` takes seconds, the whole a day. It needs the packages of the extra ``benchmarks``;
optimizers whose package is missing are left out, and said so. OptunaHub's simulated annealing is
loaded from a copy of https://github.com/optuna/optunahub-registry (``--registry``).
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import heapq
import importlib
import itertools
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import plotly.colors
import scipy
from _common import Results, Study, add_cells, files_of, markdown_table
from benchmark_problems import FUNCTIONS, KINDS, BbobProblem, Problem
from plotly.subplots import make_subplots
from scipy.optimize import dual_annealing
from scipy.stats import rankdata
from scipy.stats import t as student_t
from tqdm import tqdm

from adnn_optuna.samplers import AdaptiveSimulatedAnnealingSampler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import plotly.graph_objects as go
    from optuna.samplers import BaseSampler

    AnyProblem = Problem | BbobProblem
    Optimizer = Callable[[AnyProblem, int, int], "Progress"]

BUDGETS = (50, 200, 1000)
# After how many trials the best so far is kept.
CHECKPOINTS = (5, 10, 15, 20, 30, 40, 50, 70, 100, 150, 200, 300, 500, 700, 1000)
OURS = "annealing"


class Progress:
    """Evaluates an instance, and keeps the regret of the best point so far.

    With noise, the best is the one that looks best, and its regret is the true one.
    """

    def __init__(self, problem: AnyProblem, n_trials: int) -> None:
        self._problem = problem
        self._n_trials = n_trials
        self._n_done = 0
        self._best = math.inf
        self._best_x = np.full(problem.n_dims, 0.5)
        self.regrets: dict[int, float] = {}

    def __call__(self, x: np.ndarray) -> float:
        """Evaluate a point."""
        if self._n_done >= self._n_trials:
            raise StopIteration
        value = self._problem.observed(x, self._n_done)
        if value < self._best:
            self._best, self._best_x = value, x.copy()
        self._n_done += 1
        if self._n_done in CHECKPOINTS:
            self.regrets[self._n_done] = self._problem.regret(self._best_x)
        return value


def run_sampler(
    problem: AnyProblem,
    n_trials: int,
    sampler: BaseSampler,
    n_workers: int = 1,
) -> Progress:
    """Run a sampler with workers whose trials take a random time, and end in another order."""
    names = [f"x{i}" for i in range(problem.n_dims)]
    progress = Progress(problem, n_trials)
    study = optuna.create_study(sampler=sampler)
    # Ours is told where it starts, the others find it in the queue.
    if problem.start is not None and not isinstance(sampler, AdaptiveSimulatedAnnealingSampler):
        study.enqueue_trial(dict(zip(names, problem.start.tolist(), strict=True)))
    durations = np.random.default_rng([problem.seed, 3])
    running: list[tuple[float, int, optuna.Trial, np.ndarray]] = []
    now, n_asked = 0.0, 0
    while n_asked < n_trials or running:
        while n_asked < n_trials and len(running) < n_workers:
            trial = study.ask()
            x = np.array([trial.suggest_float(name, 0, 1) for name in names])
            heapq.heappush(running, (now + durations.exponential(), n_asked, trial, x))
            n_asked += 1
        now, _, trial, x = heapq.heappop(running)
        study.tell(trial, progress(x))
    return progress


def annealing(problem: AnyProblem, n_trials: int, seed: int, **options: Any) -> Progress:
    n_workers = options.pop("n_workers", 1)
    if problem.start is not None:
        options["x0"] = {f"x{i}": float(value) for i, value in enumerate(problem.start)}
    sampler = AdaptiveSimulatedAnnealingSampler(seed, n_trials, **options)
    return run_sampler(problem, n_trials, sampler, n_workers)


def optuna_sampler(
    problem: AnyProblem, n_trials: int, seed: int, *, make: Callable[[int], BaseSampler]
) -> Progress:
    return run_sampler(problem, n_trials, make(seed))


def scipy_dual_annealing(problem: AnyProblem, n_trials: int, seed: int) -> Progress:
    progress = Progress(problem, n_trials)
    try:
        while True:  # It may end before its evaluations do.
            dual_annealing(
                progress,
                [(0.0, 1.0)] * problem.n_dims,
                rng=seed,
                maxfun=n_trials,
                x0=problem.start,
            )
            seed += 1_000_000
    except StopIteration:
        return progress


@dataclasses.dataclass(frozen=True)
class Method:
    """An optimizer, and how far it is run.

    Args:
        run: Runs it.
        knows_budget: Whether its run depends on the budget, so that each budget is one.
        max_seeds: For each budget, the number of seeds at the most: some take long.
        missing: Why it cannot be run here.
    """

    run: Optimizer
    knows_budget: bool = False
    max_seeds: dict[int, int] = dataclasses.field(default_factory=dict)
    missing: str = ""


def missing(package: str) -> str:
    """Return why what needs a package cannot be run, empty if it can."""
    try:
        importlib.import_module(package)
    except ImportError:
        return f"the package {package} is not installed"
    return ""


def methods(registry: Path | None) -> dict[str, Method]:
    """Return all optimizers by name."""
    samplers = optuna.samplers

    def sampler(make: Callable[[int], BaseSampler], **options: Any) -> Method:
        return Method(functools.partial(optuna_sampler, make=make), **options)

    @functools.cache
    def hub() -> Any:
        import optunahub

        return optunahub.load_local_module(
            "samplers/simulated_annealing", registry_root=str(registry)
        )

    no_registry = "" if registry else "no copy of OptunaHub's registry was given (--registry)"
    return {
        OURS: Method(annealing, knows_budget=True),
        "annealing, 4 workers": Method(
            functools.partial(annealing, n_workers=4), knows_budget=True
        ),
        "annealing, ingber=True": Method(functools.partial(annealing, ingber=True)),
        "Random": sampler(lambda seed: samplers.RandomSampler(seed=seed)),
        "QMC": sampler(lambda seed: samplers.QMCSampler(seed=seed, scramble=True)),
        "CMA-ES": sampler(lambda seed: samplers.CmaEsSampler(seed=seed), missing=missing("cmaes")),
        "TPE": sampler(lambda seed: samplers.TPESampler(seed=seed), max_seeds={1000: 5}),
        "GP": sampler(
            lambda seed: samplers.GPSampler(seed=seed),
            max_seeds={50: 3, 200: 0, 1000: 0},
            missing=missing("torch"),
        ),
        "dual_annealing": Method(scipy_dual_annealing, knows_budget=True),
        # It has no seed of its own.
        "OptunaHub SA": sampler(
            lambda seed: np.random.seed(seed) or hub().SimulatedAnnealingSampler(),  # noqa: NPY002
            max_seeds={1000: 1},
            missing=missing("optunahub") or no_registry,
        ),
    }


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run."""

    problem: AnyProblem
    method: str
    budget: int

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.problem} {self.method} {self.budget}"


def cells(available: dict[str, Method], n_seeds: int, *, quick: bool) -> Iterator[Cell]:
    """Yield all runs, those first that say most."""
    plans: list[tuple[int, str, Sequence[int]]] = [
        (budget, kind, (4,) if kind in ("rotated", "noisy", "scaled") else (2, 4, 8))
        for budget in BUDGETS
        for kind in KINDS
        if budget <= 200 or kind == "plain"
    ]
    if quick:
        plans = [(BUDGETS[0], "plain", (2,))]
    # A run of 200 trials says what there was after 50, unless the method knows its budget.
    for long_run, seed in itertools.product((False, True), range(n_seeds)):
        for budget, kind, dims in plans:
            if (budget > 200) != long_run:
                continue
            for n_dims, function in itertools.product(dims, FUNCTIONS):
                problem = Problem(function, n_dims, seed, kind)
                yield from _cells_of(problem, available, budget)
        if not (long_run or quick) and seed < 3 and not missing("cocoex"):
            for n_dims, i in itertools.product((2, 5), range(1, 25)):
                yield from _cells_of(BbobProblem(f"f{i}", n_dims, seed), available, 200)


def _cells_of(problem: AnyProblem, available: dict[str, Method], budget: int) -> Iterator[Cell]:
    for name, method in available.items():
        if problem.seed >= method.max_seeds.get(budget, math.inf):
            continue
        # Of a method that does not know its budget, the longer run is enough.
        is_prefix = budget == 50 and problem.seed < method.max_seeds.get(200, math.inf)
        if method.knows_budget or not is_prefix:
            yield Cell(problem, name, budget)


def read(path: Path) -> list[dict[str, Any]]:
    """Return the finished cells; a line that was cut off is no cell."""
    found = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return found


def run(path: Path, available: dict[str, Method], todo: list[Cell]) -> None:
    done = {cell["key"] for cell in read(path)}
    missing = [cell for cell in todo if cell.key not in done]
    with path.open("a") as file, tqdm(total=len(todo), initial=len(todo) - len(missing)) as bar:
        for cell in missing:
            problem = cell.problem
            progress = available[cell.method].run(problem, cell.budget, problem.seed)
            record = {
                "key": cell.key,
                "kind": problem.kind,
                "function": problem.function,
                "n_dims": problem.n_dims,
                "seed": problem.seed,
                "method": cell.method,
                "budget": cell.budget,
                "regrets": progress.regrets,
            }
            file.write(json.dumps(record) + "\n")
            file.flush()
            bar.update()


# Regrets below this are as good as none.
_SMALLEST = 1e-12

Table = dict[tuple[str, int, int], dict[str, dict[tuple[str, int], float]]]


def tabulate(found: list[dict[str, Any]], available: dict[str, Method]) -> Table:
    """Return log regrets by (kind, dimensions, budget), then method, then function and seed."""
    table: Table = {}
    for cell in found:
        method = available.get(cell["method"])
        if method is None or cell["kind"] == "bbob":
            continue
        for budget in BUDGETS:
            regret = cell["regrets"].get(str(budget))
            if regret is None or (method.knows_budget and budget != cell["budget"]):
                continue
            group = table.setdefault((cell["kind"], cell["n_dims"], budget), {})
            instance = (cell["function"], cell["seed"])
            group.setdefault(cell["method"], {})[instance] = math.log(max(regret, _SMALLEST))
    return table


def regrets_of(table: Table) -> list[dict[str, Any]]:
    """Return, for each kind and budget, what each method reached and its ratio to ours."""
    rows = []
    groups = sorted({(kind, budget) for kind, _, budget in table}, key=str)
    for kind, budget in groups:
        regrets: dict[str, dict[tuple[Any, ...], float]] = {}
        for (its_kind, n_dims, its_budget), by_method in table.items():
            if (its_kind, its_budget) == (kind, budget):
                for method, logs in by_method.items():
                    for (function, seed), log in logs.items():
                        regrets.setdefault(method, {})[n_dims, function, seed] = log
        ours = regrets.get(OURS, {})
        # While the study is under way, others may have been run on more than ours.
        regrets = {
            method: shared_logs
            for method, logs in regrets.items()
            if (shared_logs := {key: log for key, log in logs.items() if key in ours})
        }
        ranks = _mean_ranks(regrets)
        for method, logs in regrets.items():
            by_dims = {
                n_dims: math.exp(np.mean([v for k, v in logs.items() if k[0] == n_dims]))
                for n_dims in sorted({key[0] for key in logs})
            }
            shared = sorted(logs.keys() & ours.keys())
            row = {
                "kind": kind,
                "trials": budget,
                "method": method,
                "n_seeds": len({key[2] for key in logs}),
                "regret": math.exp(np.mean(list(_mean_logs(logs).values()))),
                "regret_by_dims": by_dims,
                "mean_rank": ranks.get(method),
            }
            if method != OURS and shared:
                row |= _ratio_to_ours(logs, ours, shared)
            rows.append(row)
    return rows


def _mean_logs(logs: dict[tuple[Any, ...], float]) -> dict[Any, float]:
    """Return the mean of each dimension and function, so that all of them count alike."""
    groups: dict[Any, list[float]] = {}
    for (n_dims, function, _), log in logs.items():
        groups.setdefault((n_dims, function), []).append(log)
    return {key: float(np.mean(values)) for key, values in groups.items()}


def _mean_ranks(regrets: dict[str, dict[tuple[Any, ...], float]]) -> dict[str, float]:
    """Return mean ranks on the instances that all methods were run on; 1 is best."""
    instances = [set(logs) for logs in regrets.values()]
    shared = sorted(set.intersection(*instances)) if instances else []
    if not shared:
        return {}
    ranks = rankdata([[logs[key] for key in shared] for logs in regrets.values()], axis=0)
    return dict(zip(regrets, ranks.mean(axis=1).tolist(), strict=True))


def _ratio_to_ours(
    logs: dict[tuple[Any, ...], float], ours: dict[tuple[Any, ...], float], shared: list[Any]
) -> dict[str, Any]:
    """Return the regret of ours over that of a method, paired, with its interval of 95 %."""
    differences = {key: ours[key] - logs[key] for key in shared}
    # Seeds are independent, the functions of a seed are the benchmark itself.
    seeds = sorted({key[2] for key in shared})
    means = np.array([np.mean([d for k, d in differences.items() if k[2] == s]) for s in seeds])
    interval = None
    if len(means) > 1:
        half = student_t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / math.sqrt(len(means))
        interval = [math.exp(means.mean() - half), math.exp(means.mean() + half)]
    return {
        "ours_over_it": math.exp(means.mean()),
        "interval_95": interval,
        "instances": len(shared),
        "ours_worse_on": sum(d > 0 for d in differences.values()),
    }


def bbob_profiles(found: list[dict[str, Any]]) -> dict[str, dict[int, float]]:
    """Return the fraction of (function, target) pairs that are reached after some trials.

    The targets are 51 distances from the lowest value, from 100 to 1e-8, as in COCO.
    """
    targets = np.logspace(2, -8, 51)
    fractions: dict[str, dict[int, list[float]]] = {}
    done: dict[str, set[tuple[Any, ...]]] = {}
    cells_of = [
        ((cell["function"], cell["n_dims"], cell["seed"]), cell)
        for cell in found
        if cell["kind"] == "bbob"
    ]
    for instance, cell in cells_of:
        done.setdefault(cell["method"], set()).add(instance)
    # Only instances that all of them were run on: some are much harder than others.
    shared = set.intersection(*done.values()) if done else set()
    for instance, cell in cells_of:
        if instance in shared:
            for n_trials, regret in cell["regrets"].items():
                values = fractions.setdefault(cell["method"], {}).setdefault(int(n_trials), [])
                values.append(float(np.mean(regret <= targets)))
    return {
        method: {n: round(float(np.mean(values)), 4) for n, values in sorted(by_n.items())}
        for method, by_n in fractions.items()
    }


def report(found: list[dict[str, Any]], available: dict[str, Method]) -> dict[str, Any]:
    rows = regrets_of(tabulate(found, available))
    for row in rows:
        ratio = ""
        if row.get("interval_95"):
            low, high = row["interval_95"]
            ratio = f"ours/it {row['ours_over_it']:.3f} [{low:.3f}, {high:.3f}]"
            ratio += f", worse on {row['ours_worse_on']} of {row['instances']}"
        by_dims = " / ".join(f"{value:.2g}" for value in row["regret_by_dims"].values())
        rank = "" if row["mean_rank"] is None else f"{row['mean_rank']:.1f}"
        print(
            f"{row['kind']:10} {row['trials']:5} {row['method']:23} {row['regret']:.2e} "
            f"({by_dims}) rank {rank:4} seeds {row['n_seeds']:2} {ratio}"
        )
    return {
        "settings": {
            "functions": list(FUNCTIONS),
            "regret": "(value of the best - lowest) / (median of 2048 Sobol points - lowest)",
            "mean": "geometric, over functions, dimensions and seeds",
            "noise": "normal, 2 % of the median of 2048 Sobol points",
            "versions": {m.__name__: m.__version__ for m in (optuna, scipy, np)},
            "seeds": "as many as `n_seeds` says, of the 15 planned; bbob: one instance or more",
            "not run": {name: m.missing for name, m in available.items() if m.missing},
        },
        "regrets": rows,
        "bbob": bbob_profiles(found),
    }


def summary(results: Results) -> str:
    """Return the regrets, and what ours is of them, as tables."""
    rows = {(row["kind"], row["trials"], row["method"]): row for row in results["regrets"]}
    names = _ordered({row["method"] for row in results["regrets"]})
    groups = [
        (kind, trials)
        for kind in KINDS
        for trials in BUDGETS
        if any((kind, trials, name) in rows for name in names)
    ]

    def table(corner: str, shown: Sequence[str], cell: Callable[[dict[str, Any]], str]) -> str:
        return markdown_table(
            [corner, *shown],
            [
                [
                    f"{kind}, {trials}",
                    *(
                        cell(row) if (row := rows.get((kind, trials, name))) else "–"
                        for name in shown
                    ),
                ]
                for kind, trials in groups
            ],
        )

    return "\n\n".join(
        [
            table("regret (seeds)", names, lambda row: f"{row['regret']:.2g} ({row['n_seeds']})"),
            table(
                "ours / its",
                [name for name in names if name != OURS],
                lambda row: (
                    f"{row['ours_over_it']:.2g}"
                    + (
                        " ({:.2g} to {:.2g})".format(*row["interval_95"])
                        if row.get("interval_95")
                        else ""
                    )
                ),
            ),
        ]
    )


def _ordered(names: Iterable[str]) -> list[str]:
    """Return names of methods, ours first."""
    return sorted(names, key=lambda name: (not name.startswith(OURS), name))


def figures(results: Results) -> dict[str, go.Figure]:
    """Draw the regrets of each kind and budget, and the profiles on bbob."""
    names = _ordered({row["method"] for row in results["regrets"]} | set(results["bbob"]))
    colors = dict(zip(names, itertools.cycle(plotly.colors.qualitative.D3), strict=False))
    figure = make_subplots(
        rows=1,
        cols=2,
        column_widths=[0.6, 0.4],
        subplot_titles=("Regret (geometric mean)", "bbob, D = 2, 5: targets reached"),
    )
    for name in names:
        rows = [row for row in results["regrets"] if row["method"] == name]
        figure.add_scatter(
            x=[f"{row['kind']} {row['trials']}" for row in rows],
            y=[row["regret"] for row in rows],
            name=name,
            legendgroup=name,
            mode="markers",
            marker={"size": 11 if name == OURS else 8, "color": colors[name]},
            row=1,
            col=1,
        )
        profile = results["bbob"].get(name, {})
        figure.add_scatter(
            x=list(profile),
            y=list(profile.values()),
            name=name,
            legendgroup=name,
            showlegend=False,
            line={"color": colors[name], "width": 3 if name == OURS else 1.5},
            row=1,
            col=2,
        )
    groups = {(row["kind"], row["trials"]) for row in results["regrets"]}
    order = [f"{k} {n}" for k, n in itertools.product(KINDS, BUDGETS) if (k, n) in groups]
    figure.update_xaxes(categoryorder="array", categoryarray=order, row=1, col=1)
    figure.update_yaxes(type="log", dtick=1, exponentformat="power", row=1, col=1)
    figure.update_xaxes(
        title="trials", type="log", tickvals=[5, 10, 20, 50, 100, 200, 500, 1000], row=1, col=2
    )
    figure.update_layout(margin={"t": 40, "b": 40, "l": 60, "r": 10}, width=1300, height=520)
    return {"": figure}


STUDY = Study("sampler_quality", figures, summary)


def available(methods: dict[str, Any], names: Sequence[str] | None) -> dict[str, Any]:
    """Return the methods whose packages are there, and say which are not."""
    for name, method in methods.items():
        if method.missing:
            print(f"Without {name}: {method.missing}.")
    return {
        name: method
        for name, method in methods.items()
        if not method.missing and (not names or name in names)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=15, help="number of seeds")
    parser.add_argument("--registry", type=Path, help="package folder of OptunaHub's registry")
    parser.add_argument("--methods", nargs="*", help="only these methods")
    add_cells(parser)
    args = parser.parse_args()
    file, output = files_of(STUDY, args)

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    all_methods = methods(args.registry)
    found = available(all_methods, args.methods)
    if not args.report:
        todo = list(cells(found, 1 if args.quick else args.seeds, quick=args.quick))
        try:
            run(file, found, todo)
        except KeyboardInterrupt:
            print(f"\nInterrupted; run it again to go on with {file}.")
    result = report(read(file), all_methods)
    if args.write:
        output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
