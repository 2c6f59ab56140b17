"""Quality of the samplers on realistic spaces, after 30, 100 and 300 trials.

The objectives of ``sampler_quality_mixed_problems.py`` have integers, logarithmic parameters,
categories, conditions, plateaus and noise. Some train models of scikit-learn. The benchmark takes
about two hours, and less with ``--seeds`` or ``--budgets``.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from _case import Case
from _common import Results, Study
from _sampler_figures import rank_figures
from _samplers import (
    METHODS,
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

BUDGETS = (30, 100, 300)
_DECIMALS = 6  # All values are losses of about 1, so smaller differences of losses do not count.


def methods() -> dict[str, Method]:
    """Return all samplers by name."""
    return METHODS | {
        "TPE, univariate": Method(seeded(TPESampler, multivariate=False)),
        "TPE, grouped": Method(seeded(TPESampler, multivariate=True, group=True)),
    }


def cases(problems: Sequence[str], n_seeds: int, budgets: Sequence[int]) -> Iterator[Case]:
    """Yield all cases, the most informative cases first."""
    pairs = itertools.product(range(n_seeds), budgets)
    for seed, trials in sorted(pairs, key=lambda x: (x[1] > 100, x)):
        for problem in problems:
            is_conditional = problem in CONDITIONAL
            group = "conditional" if is_conditional else "unconditional"
            objective = objective_of(problem, seed)
            yield Case(group, problem, seed, trials, objective, is_conditional=is_conditional)


def objective_of(problem: str, seed: int) -> Callable[[Any, int], float]:
    """Return a problem as an objective; for finished trials, it returns the true value."""
    value = PROBLEMS[problem](seed)
    return lambda trial, noise: value(trial, noise if isinstance(trial, Trial) else None)


def summed_up(cells: list[dict[str, Any]]) -> Results:
    """Return the results of all cells. A regret is the distance from the lowest known value."""
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
    parser.add_argument("--budgets", type=int, nargs="*", default=BUDGETS, choices=BUDGETS)
    args = parser.parse_args()
    problems = [*PROBLEMS]
    if args.quick:
        args.seeds, problems, args.budgets = 1, problems[:1], BUDGETS[:1]
    main(STUDY, args, methods(), cases(problems, args.seeds, args.budgets), summed_up)
