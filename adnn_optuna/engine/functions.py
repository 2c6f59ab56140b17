"""Functions of users' own as objectives."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import TrialPruned
from optuna.study import StudyDirection
from optuna.trial import TrialState

from adnn_optuna._checks import WrongTypeError, WrongValueError
from adnn_optuna.engine.outcomes import Outcome

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def with_seed(objective: Callable[..., float]) -> tuple[Callable[[Any, int], float], bool]:
    """Return an objective as a function of trial and seed, and whether it makes use of the seed.

    Raises:
        TypeError: If it takes neither ``(trial)`` nor ``(trial, seed)``.
    """
    try:
        signature = inspect.signature(objective)
    except ValueError:  # Not every function of an extension module tells what it takes.
        return lambda trial, _: objective(trial), False
    if "seed" in signature.parameters:
        return lambda trial, seed: objective(trial, seed=seed), True
    for function, n_arguments in ((lambda trial, _: objective(trial), 1), (objective, 2)):
        with contextlib.suppress(TypeError):
            signature.bind(*range(n_arguments))
            return function, n_arguments == 2
    raise WrongTypeError(
        f"The objective {getattr(objective, '__qualname__', objective)!s} must take (trial) or "
        f"(trial, seed), but it takes {signature}."
    )


@dataclasses.dataclass(frozen=True)
class FunctionObjective:
    """Any Optuna objective in the place of ours.

    Args:
        function: A function of a trial, or of a trial and the seed.
        direction: Its direction.
        seed: The seed that it is given.
        told: The user attributes that it must set in each trial which it completes.
    """

    function: Callable[..., float]
    direction: StudyDirection
    seed: int
    told: tuple[str, ...] = ()

    @property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        """None are known: the function suggests by itself, as it runs."""
        return {}

    unmoved = distributions

    def suggest(self, trial: optuna.Trial) -> None:
        """The function does, as it runs."""

    def attach(self, study: optuna.Study) -> None:
        """Nothing is known of the function that a study could store."""

    def train(self, trials: Sequence[optuna.Trial], **_: object) -> list[Outcome]:
        """Run trials to their ends, one after the other, whatever the limits."""
        return [self._run(trial) for trial in trials]

    def _run(self, trial: optuna.Trial) -> Outcome:
        try:
            value = with_seed(self.function)[0](trial, self.seed)
        except TrialPruned:
            return Outcome(TrialState.PRUNED)
        if not math.isfinite(value):
            return Outcome(TrialState.FAIL)
        for name in self.told:
            if name not in trial.user_attrs:
                raise WrongValueError(
                    f"The objective of the study {trial.study.study_name!r} does not tell "
                    f"{name} of its trials: let it call trial.set_user_attr({name!r}, …)."
                )
        return Outcome(TrialState.COMPLETE, value)
