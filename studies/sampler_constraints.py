"""Quality of the samplers on functions with constraints, after 30 and 100 trials.

There are eight functions with known optima. Four are from CEC 2006 (g04, g08, g09 and g24), and
one is from Gramacy et al. (2016). The others are the designs of a spring, a beam and a vessel,
whose thicknesses have steps. The benchmark takes ten minutes. If torch is installed, it includes
Optuna's GP, and takes two hours.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from _case import Case
from _common import Results, Study
from _samplers import (
    METHODS,
    OURS,
    RANDOM,
    differences,
    main,
    parser_of,
    rank_tables,
    rows_of,
)
from scipy.stats import qmc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUDGETS = (30, 100)
_N_POINTS = 2**15  # At least 0.5% of the points are feasible in each problem.


@dataclasses.dataclass(frozen=True)
class Problem:
    """A function to minimize under constraints.

    Args:
        function: The function of a point, which returns the value and the constraints. A
            constraint above 0 is violated.
        low: The lowest value of each parameter.
        high: The highest value of each parameter.
        best: The point with the lowest feasible value.
        n_integers: The number of integer parameters. They are the first parameters.
    """

    function: Callable[..., tuple[float, tuple[float, ...]]]
    low: tuple[float, ...]
    high: tuple[float, ...]
    best: tuple[float, ...]
    n_integers: int = 0

    @functools.cached_property
    def typical_value(self) -> float:
        """The median value of feasible Sobol points."""
        points = qmc.scale(qmc.Sobol(len(self.low), seed=0).random(_N_POINTS), self.low, self.high)
        points[:, : self.n_integers] = points[:, : self.n_integers].round()
        found = (self.function(*point) for point in points)
        return float(np.median([value for value, margins in found if max(margins) <= 0]))

    def __call__(self, trial: Any, _: int) -> float:
        """Store the constraints of a trial, and return its regret."""
        point: list[float] = []
        for i, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            if i < self.n_integers:
                point.append(trial.suggest_int(f"x{i}", low, high))
            else:
                point.append(trial.suggest_float(f"x{i}", low, high))
        value, margins = self.function(*point)
        for i, margin in enumerate(margins):
            trial.set_constraint(f"c{i}", margin)
        lowest, _margins = self.function(*self.best)
        return (value - lowest) / (self.typical_value - lowest)


def _gramacy(a: float, b: float) -> tuple[float, tuple[float, ...]]:
    wave = 0.5 * math.sin(2 * math.pi * (a * a - 2 * b))
    return a + b, (1.5 - a - 2 * b - wave, a * a + b * b - 1.5)


def _g04(a: float, b: float, c: float, d: float, e: float) -> tuple[float, tuple[float, ...]]:
    u = 85.334407 + 0.0056858 * b * e + 0.0006262 * a * d - 0.0022053 * c * e
    v = 80.51249 + 0.0071317 * b * e + 0.0029955 * a * b + 0.0021813 * c * c
    w = 9.300961 + 0.0047026 * c * e + 0.0012547 * a * c + 0.0019085 * c * d
    value = 5.3578547 * c * c + 0.8356891 * a * e + 37.293239 * a - 40792.141
    return value, (u - 92, -u, v - 110, 90 - v, w - 25, 20 - w)


def _g08(a: float, b: float) -> tuple[float, tuple[float, ...]]:
    waves = math.sin(2 * math.pi * a) ** 3 * math.sin(2 * math.pi * b)
    value = -waves / max(a**3 * (a + b), 1e-9)  # The pole at 0 is not feasible.
    return value, (a * a - b + 1, 1 - a + (b - 4) ** 2)


def _g09(*point: float) -> tuple[float, tuple[float, ...]]:
    a, b, c, d, e, f, g = point
    value = (a - 10) ** 2 + 5 * (b - 12) ** 2 + c**4 + 3 * (d - 11) ** 2 + 10 * e**6
    value += 7 * f * f + g**4 - 4 * f * g - 10 * f - 8 * g
    return value, (
        2 * a * a + 3 * b**4 + c + 4 * d * d + 5 * e - 127,
        7 * a + 3 * b + 10 * c * c + d - e - 282,
        23 * a + b * b + 6 * f * f - 8 * g - 196,
        4 * a * a + b * b - 3 * a * b + 2 * c * c + 5 * f - 11 * g,
    )


def _g24(a: float, b: float) -> tuple[float, tuple[float, ...]]:
    return -a - b, (
        -2 * a**4 + 8 * a**3 - 8 * a * a + b - 2,
        -4 * a**4 + 32 * a**3 - 88 * a * a + 96 * a + b - 36,
    )


def _spring(wire: float, coil: float, turns: float) -> tuple[float, tuple[float, ...]]:
    """Return the weight of a spring (Arora 1989)."""
    shear = (4 * coil * coil - wire * coil) / (12566 * (coil * wire**3 - wire**4))
    return (turns + 2) * coil * wire * wire, (
        1 - coil**3 * turns / (71785 * wire**4),
        shear + 1 / (5108 * wire * wire) - 1,
        1 - 140.45 * wire / (coil * coil * turns),
        (coil + wire) / 1.5 - 1,
    )


def _beam(
    weld: float, length: float, height: float, width: float
) -> tuple[float, tuple[float, ...]]:
    """Return the cost of a welded beam (Ragsdell and Phillips 1976)."""
    load, span, young, shear_modulus = 6000.0, 14.0, 30e6, 12e6
    arm = length * length / 4 + ((weld + height) / 2) ** 2
    inertia = 2 * math.sqrt(2) * weld * length * (length**2 / 12 + ((weld + height) / 2) ** 2)
    primary = load / (math.sqrt(2) * weld * length)
    secondary = load * (span + length / 2) * math.sqrt(arm) / inertia
    stress = primary**2 + primary * secondary * length / math.sqrt(arm) + secondary**2
    buckling = 4.013 * young * height * width**3 / 6 / span**2
    buckling *= 1 - height / (2 * span) * math.sqrt(young / (4 * shear_modulus))
    return 1.10471 * weld * weld * length + 0.04811 * height * width * (span + length), (
        math.sqrt(stress) - 13600,
        6 * load * span / (width * height * height) - 30000,
        weld - width,
        0.10471 * weld * weld + 0.04811 * height * width * (span + length) - 5,
        0.125 - weld,
        4 * load * span**3 / (young * height**3 * width) - 0.25,
        load - buckling,
    )


def _vessel(
    shell: float, head: float, radius: float, length: float
) -> tuple[float, tuple[float, ...]]:
    """Return the cost of a pressure vessel (Sandgren 1990), whose thicknesses have steps."""
    shell, head = 0.0625 * shell, 0.0625 * head
    volume = math.pi * radius**2 * length + 4 / 3 * math.pi * radius**3
    cost = 0.6224 * shell * radius * length + 1.7781 * head * radius**2
    cost += 3.1661 * shell**2 * length + 19.84 * shell**2 * radius
    return cost, (0.0193 * radius - shell, 0.00954 * radius - head, 1_296_000 - volume)


PROBLEMS = {
    "Gramacy": Problem(_gramacy, (0, 0), (1, 1), (0.1951227, 0.4046654)),
    "g04": Problem(
        _g04, (78, 33, 27, 27, 27), (102, 45, 45, 45, 45), (78, 33, 29.995256, 45, 36.775813)
    ),
    "g08": Problem(_g08, (0, 0), (10, 10), (1.2279713, 4.2453733)),
    "g09": Problem(
        _g09,
        (-10,) * 7,
        (10,) * 7,
        (2.330499, 1.951372, -0.4775414, 4.365726, -0.6244870, 1.038131, 1.594227),
    ),
    "g24": Problem(_g24, (0, 0), (3, 4), (2.3295202, 3.1784931)),
    "spring": Problem(_spring, (0.05, 0.25, 2), (2, 1.3, 15), (0.0516891, 0.3567177, 11.288966)),
    "beam": Problem(
        _beam, (0.1, 0.1, 0.1, 0.1), (2, 10, 10, 2), (0.2057296, 3.4704887, 9.0366239, 0.2057296)
    ),
    "vessel": Problem(
        _vessel, (1, 1, 10, 10), (99, 99, 200, 200), (13, 7, 42.0984456, 176.6365958), 2
    ),
}


def cases(seeds: range, *, quick: bool) -> Iterator[Case]:
    """Yield all cases."""
    for seed, trials, name in itertools.product(seeds, BUDGETS, PROBLEMS):
        yield Case("", name, seed, trials, PROBLEMS[name])
        if quick:
            return


def summed_up(cells: list[dict[str, Any]]) -> Results:
    """Return the results of all cells."""
    capped = []
    for cell in cells:
        regret = cell["regret"] if math.isfinite(cell["regret"]) else 1.0
        capped.append({**cell, "regret": min(max(regret, 0.0), 1.0)})
    return {
        "settings": {
            "regret": "(value of the best - lowest) / (median of feasible points - lowest)",
            "capped": "at 1, which a run without a feasible trial has, too",
            "rank": "among the samplers of a row, on the same function and seed; 1 is best",
            "interval": "95%, Student's t over the seeds, of each the mean of all functions",
            "difference": "ours - its on the same function and seed; its error is over the seeds",
            "seconds": "the processor's, in the calls of the sampler, of a run",
        },
        "rows": rows_of(capped),
    }


def summary(results: Results) -> str:
    """Return differences, mean ranks, seconds and regrets as tables."""
    return "\n\n".join([*differences(results), rank_tables(results)])


STUDY = Study("sampler_constraints", lambda _: {}, summary)

if __name__ == "__main__":
    parser = parser_of(__doc__, seeds=10)
    args = parser.parse_args()
    compared = {name: METHODS[name] for name in (OURS, "TPE", "GP", RANDOM)}
    main(STUDY, args, compared, cases(range(args.seeds), quick=args.quick), summed_up)
