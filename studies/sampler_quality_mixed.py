"""How good the samplers are on spaces as people have them, after 30, 100 and 300 trials.

Integers, logs, categories, conditions, plateaus and noise: the objectives are those of
``sampler_quality_mixed_problems.py``, some of them trainings of scikit-learn. It takes about two
hours, and less with ``--seeds`` or ``--budgets``.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from _common import Results, Study
from _sampler_figures import rank_figures
from _samplers import (
    METHODS,
    OURS,
    Case,
    Method,
    main,
    parser_of,
    rank_tables,
    rows_of,
    seeded,
)
from optuna.samplers import TPESampler
from optuna.trial import Trial
from sampler_quality_mixed_problems import CONDITIONAL, PROBLEMS

from adnn_optuna.samplers import _asa, _local_model, _mixed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUDGETS = (30, 100, 300)
_DECIMALS = 6  # A difference that is less is none: all of these values are losses of about 1.


def methods() -> dict[str, Method]:
    """Return all samplers by name."""
    return METHODS | {
        "TPE, univariate": Method(seeded(TPESampler, multivariate=False)),
        "TPE, grouped": Method(seeded(TPESampler, multivariate=True, group=True)),
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
    whole = METHODS[OURS]
    return {
        OURS: whole,
        **{f"no {name}": dataclasses.replace(whole, patch=part) for name, part in parts.items()},
    }


def cases(problems: list[str], seeds: range, budgets: list[int]) -> Iterator[Case]:
    """Yield all cases, those first that say most."""
    for seed, trials in sorted(itertools.product(seeds, budgets), key=lambda x: (x[1] > 100, x)):
        for problem in problems:
            is_conditional = problem in CONDITIONAL
            group = "conditional" if is_conditional else "unconditional"
            objective = objective_of(problem, seed)
            yield Case(group, problem, seed, trials, objective, is_conditional=is_conditional)


def objective_of(problem: str, seed: int) -> Callable[[Any, int], float]:
    """Return a problem as an objective, whose value is the true one once a trial has ended."""
    value = PROBLEMS[problem](seed)
    return lambda trial, noise: value(trial, noise if isinstance(trial, Trial) else None)


def summed_up(cells: list[dict[str, Any]]) -> Results:
    """Return the results of all cells, whose regret is what is above the lowest that any found."""
    lowest: dict[tuple[str, int], float] = {}
    for cell in cells:
        instance = cell["problem"], cell["seed"]
        lowest[instance] = min(lowest.get(instance, math.inf), cell["regret"])
    above = [
        {**c, "regret": round(c["regret"] - lowest[c["problem"], c["seed"]], _DECIMALS)}
        for c in cells
    ]
    return {
        "settings": {
            "regret": "true value of the trial that seems best - the lowest that any run found",
            "rank": "among the samplers of a row, on the same problem and seed; 1 is best",
            "interval": "95%, Student's t over the seeds, of each the mean of all problems",
            "seconds": "the processor's, in the calls of the sampler, of a run",
        },
        "rows": rows_of(above),
    }


STUDY = Study("sampler_quality_mixed", rank_figures, rank_tables)

if __name__ == "__main__":
    parser = parser_of(__doc__, seeds=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--budgets", type=int, nargs="*", default=BUDGETS, choices=BUDGETS)
    parser.add_argument("--problems", nargs="*", default=[*PROBLEMS], choices=PROBLEMS)
    parser.add_argument("--ablate", action="store_true", help="the annealing without each part")
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.problems, args.budgets = 1, [*PROBLEMS][:1], BUDGETS[:1]
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    found = ablations() if args.ablate else methods()
    main(STUDY, args, found, cases(args.problems, seeds, args.budgets), summed_up)
