"""Quality of the samplers and of other optimizers: regret after 30 to 1000 trials.

The functions are our own and COCO's: `bbob`, and its suites with noise and with integers. The
whole benchmark takes days, and ``--quick`` takes seconds; ``--seeds``, ``--budgets`` and
``--methods`` shorten it. It needs the packages of the extra ``benchmarks``. Optimizers whose
package is missing are listed and omitted. OptunaHub's simulated annealing is loaded from a copy of
https://github.com/optuna/optunahub-registry (``--registry``).
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pandas as pd
import plotly.graph_objects as go
from _case import Case
from _common import Results, Study, markdown_table
from _sampler_figures import markers_of
from _samplers import (
    METHODS,
    OURS,
    Method,
    annealing,
    main,
    methods_of,
    parser_of,
    rows_of,
    seconds_table,
    seeded,
    with_interval,
)
from benchmark_problems import FUNCTIONS, KINDS, CocoProblem, Problem
from optuna.samplers import TPESampler
from scipy.optimize import dual_annealing

from adnn_optuna.samplers import AdaptiveSimulatedAnnealingSampler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BUDGETS = (30, 50, 100, 200, 1000)
BBOB, NOISY, MIXINT = "bbob", "bbob-noisy", "bbob-mixint"
# For each of COCO's suites: the functions, the numbers of parameters and the number of trials.
# Each function has three instances.
SUITES = {
    BBOB: (range(1, 25), (2, 5), 200),
    NOISY: (range(101, 131), (5,), 100),
    MIXINT: (range(1, 25), (5,), 100),
}
GROUPS = (*KINDS, NOISY, MIXINT)
# On bbob, reached targets are counted after these numbers of trials.
CHECKPOINTS = (5, 10, 15, 20, 30, 40, 50, 70, 100, 150, 200)


class DualAnnealingSampler(optuna.samplers.RandomSampler):
    """SciPy's `dual_annealing`: each trial runs it again, up to the first point without value."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self._case = case

    def sample_independent(self, study: Any, trial: Any, param_name: str, _: Any) -> float:
        """Return a parameter of the next point, which depends on all told values."""
        if param_name == "x0":
            told = [one.value for one in study.get_trials(deepcopy=False)[: trial.number]]
            self._point = self._next_point(told)
        return float(self._point[int(param_name[1:])])

    def _next_point(self, told: list[float]) -> np.ndarray:
        points = []

        def value(x: np.ndarray) -> float:
            points.append(x.copy())
            return told[len(points) - 1]  # An IndexError ends the run at a point without a value.

        case, bounds = self._case, [(0.0, 1.0)] * self._case.objective.n_dims
        x0 = None if case.start is None else [*case.start.values()]
        with contextlib.suppress(IndexError):
            for seed in itertools.count(case.seed, 1_000_000):  # A run may end earlier.
                dual_annealing(value, bounds, rng=seed, maxfun=case.trials, x0=x0)
        return points[-1]


def methods(registry: Path | None = None) -> dict[str, Method]:
    """Return all optimizers by name."""

    def hub(case: Case) -> Any:
        import optunahub

        np.random.seed(case.seed)  # noqa: NPY002 - the sampler takes no seed.
        package = optunahub.load_local_module(
            "samplers/simulated_annealing", registry_root=str(registry)
        )
        return package.SimulatedAnnealingSampler()

    def ingber(_: Case) -> Any:
        return functools.partial(AdaptiveSimulatedAnnealingSampler, ingber=True)

    return METHODS | {
        "annealing, 4 at once": Method(annealing, batch_size=4),
        "annealing, ingber=True": Method(ingber),
        "TPE": Method(seeded(TPESampler), takes=lambda case: case.trials < 1000 or case.seed < 5),
        # SciPy's optimizer does not support integers.
        "dual_annealing": Method(DualAnnealingSampler, takes=lambda case: case.group != MIXINT),
        # Without a registry, the needed package is missing, so the sampler is omitted.
        "OptunaHub SA": Method(
            hub,
            needs="optunahub" if registry else "optunahub_registry",
            takes=lambda case: case.trials < 1000 or case.seed < 1,
        ),
    }


def cases(n_seeds: int, budgets: Sequence[int], *, quick: bool) -> Iterator[Case]:
    """Yield all cases, the most informative cases first."""
    for long_run, seed in itertools.product((False, True), range(1 if quick else n_seeds)):
        for trials, kind in itertools.product(budgets, KINDS):
            if (trials > 200) == long_run and (trials <= 200 or kind == "plain"):
                dims = (4,) if kind in ("rotated", "noisy", "scaled") else (2, 4, 8)
                for n_dims, function in itertools.product(dims, FUNCTIONS):
                    yield case_of(Problem(function, n_dims, seed, kind), trials)
                    if quick:
                        return
        if not long_run and seed < 3 and importlib.util.find_spec("cocoex"):
            yield from cases_of_coco(seed, budgets)


def cases_of_coco(seed: int, budgets: Sequence[int]) -> Iterator[Case]:
    """Yield the cases of one instance of each of COCO's functions."""
    for suite, (functions, dims, trials) in SUITES.items():
        for n_dims, function in itertools.product(dims, functions if trials in budgets else ()):
            problem = CocoProblem(suite, function, n_dims, seed)
            checkpoints = CHECKPOINTS if suite == BBOB else ()
            yield Case(suite, f"f{function}, {n_dims}", seed, trials, problem, at=checkpoints)


def case_of(problem: Problem, trials: int) -> Case:
    """Return a problem as a case."""
    start = None
    if problem.start is not None:
        start = {f"x{i}": float(value) for i, value in enumerate(problem.start)}
    name = f"{problem.function}, {problem.n_dims}"
    return Case(problem.kind, name, problem.seed, trials, problem, start)


def bbob_profiles(cells: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the fraction of (function, target) pairs that are reached, by number of trials.

    The targets are 51 distances from the lowest value, from 100 to 1e-8, as in COCO. Only
    functions with runs of all optimizers count, because some functions are much harder than
    others.
    """
    if not cells:
        return {}
    frame = pd.DataFrame(cells).pivot_table("curve", ["problem", "seed"], "method", "first")
    frame, targets = frame.dropna(), np.logspace(2, -8, 51)

    def reached(curves: pd.Series, n: int) -> float:
        return round(float(np.mean([curve[str(n)] <= targets for curve in curves])), 4)

    return {name: {str(n): reached(frame[name], n) for n in CHECKPOINTS} for name in frame}


def summed_up(cells: list[dict[str, Any]]) -> Results:
    """Return the results of all cells."""
    return {
        "settings": {
            "regret": "(value of the best - lowest) / (median of 2048 Sobol points - lowest)",
            "mean": "geometric, over functions, dimensions and seeds",
            "noise": "normal, 2% of the median of 2048 Sobol points",
            "seeds": "as many as `n_seeds` says; of COCO's suites, up to three instances",
            "seconds": "the processor's, in the calls of the sampler, of a run",
        },
        "rows": rows_of([cell for cell in cells if cell["group"] != BBOB], geometric=True),
        "bbob": bbob_profiles([cell for cell in cells if cell["group"] == BBOB]),
    }


def summary(results: Results) -> str:
    """Return the regrets, and the ratios of our regret to the other regrets, as tables."""
    rows = {(row["group"], row["trials"], row["method"]): row for row in results["rows"]}
    names = methods_of(results)
    groups = [g for g in itertools.product(GROUPS, BUDGETS) if (*g, OURS) in rows]

    def table(corner: str, shown: list[str], text: Callable[[dict[str, Any]], str]) -> str:
        lines = [
            [
                f"{kind}, {trials}",
                *(text(row) if (row := rows.get((kind, trials, name))) else "–" for name in shown),
            ]
            for kind, trials in groups
        ]
        return markdown_table([corner, *shown], lines)

    regrets = table("regret (seeds)", names, lambda row: f"{row['regret']:.2g} ({row['n_seeds']})")
    others = [name for name in names if name != OURS]
    ratios = table("ours / its", others, lambda row: with_interval(row["ours_over_it"], ".2g"))
    return "\n\n".join([regrets, ratios, *seconds_table(results)])


def figures(results: Results) -> dict[str, go.Figure]:
    """Draw the profiles on bbob, the highest profile first."""
    profiles = results["bbob"]
    markers = markers_of(methods_of(results))
    ranked = sorted(profiles, key=lambda name: -max(profiles[name].values()))
    figure = go.Figure()
    for name in ranked:
        figure.add_scatter(
            x=[*profiles[name]],
            y=[100 * share for share in profiles[name].values()],
            name=f"<b>{name}</b>" if name == OURS else name,
            marker={**markers[name], "size": 7},
            line={"color": markers[name]["color"], "width": 3.5 if name == OURS else 1.5},
        )
    title = f"{ranked[0]} reaches the most of COCO's targets on bbob of 2 and 5 dimensions"
    figure.update_xaxes(title="trials", type="log", tickvals=[5, 10, 20, 50, 100, 200])
    figure.update_yaxes(title="targets reached [%]")
    figure.update_layout(title=title, width=900, height=450, margin={"t": 50, "b": 50})
    return {"": figure}


STUDY = Study("sampler_quality", figures, summary)

if __name__ == "__main__":
    parser = parser_of(__doc__, seeds=15)
    parser.add_argument("--registry", type=Path, help="package folder of OptunaHub's registry")
    parser.add_argument("--budgets", type=int, nargs="*", default=BUDGETS, choices=BUDGETS)
    args = parser.parse_args()
    of = cases(args.seeds, args.budgets, quick=args.quick)
    main(STUDY, args, methods(args.registry), of, summed_up)
