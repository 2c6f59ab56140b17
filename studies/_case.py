"""A case: what the benchmarks of samplers compare them on."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True)
class Case:
    """One seed of a problem, on which samplers are compared.

    Args:
        group: What the results have a row for, such as a kind of problems.
        problem: Its name.
        seed: Which instance it is, or whose noise it has.
        trials: The number of trials.
        objective: The function ``(trial, seed)``. It tells of a trial that `compare` evaluates
            again, which has ended, the regret without noise.
        start: The parameters of the first trial, if these are given.
        at: After how many trials the best value told is kept, too.
        again: The function with noise by which the five best trials are each measured four times
            again, if that is asked, and then one of them is recommended.
        is_conditional: Whether some of its parameters exist only under a condition.
    """

    group: str
    problem: str
    seed: int
    trials: int
    objective: Callable[..., float]
    start: Mapping[str, float] | None = None
    at: tuple[int, ...] = ()
    again: Callable[..., float] | None = None
    is_conditional: bool = False

    def key(self, method: str) -> dict[str, Any]:
        """Return what tells a cell from all others."""
        names = ("group", "problem", "seed", "trials")
        return {**{name: getattr(self, name) for name in names}, "method": method}
