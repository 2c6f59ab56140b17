"""A case: one seed of a problem, for which the benchmarks compare samplers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True)
class Case:
    """One seed of a problem, for which samplers are compared.

    Args:
        group: The name of a row in the results, such as a kind of problems.
        problem: The problem's name.
        seed: The number of the problem's instance, or the seed of its noise.
        trials: The number of trials.
        objective: The function ``(trial, seed)``. When `compare` evaluates a finished trial again,
            the function returns the regret without noise.
        start: The parameters of the first trial, if it is enqueued.
        at: Numbers of trials after which the best reported value is also kept.
        again: None, or a noisy function that measures each of the five best trials four more
            times. One of the five is then recommended.
        is_conditional: Whether some of the problem's parameters exist only under a condition.
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
        """Return the keys and values that identify the cell of a sampler."""
        names = ("group", "problem", "seed", "trials")
        return {**{name: getattr(self, name) for name in names}, "method": method}
