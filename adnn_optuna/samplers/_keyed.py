"""Optuna's samplers, with random numbers that follow from the study."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, BruteForceSampler, GridSampler, QMCSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._checks import WrongTypeError
from adnn_optuna.samplers._indexed import IndexedSampler
from adnn_optuna.samplers._random_numbers import check_seed

# They count their trials in the study, under one seed.
COUNTING = (IndexedSampler, GridSampler, BruteForceSampler, QMCSampler)


class KeyedSampler(BaseSampler):
    """Sampler that makes another one anew for each trial, with a seed of that trial.

    The random numbers of Optuna's samplers are drawn one after the other. So workers that share a
    study and a seed repeat each other's trials, and a study that goes on repeats its first ones.
    Here they are keyed on the seed and the trial's number, so what it proposes follows from these
    and the study.

    Example:

        .. testcode::

            import optuna
            from adnn_optuna.samplers import KeyedSampler


            def tpe(seed, n_trials):
                return optuna.samplers.TPESampler(seed=seed)


            study = optuna.create_study(sampler=KeyedSampler(tpe, seed=0))
            study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=10)

    Args:
        factory: Makes the sampler of a trial: a function ``(seed, n_trials) -> sampler``.
        seed: The seed that the trials' seeds follow from.
        n_trials: The number of trials that the factory is told of, if that is known.

    Raises:
        TypeError: If the factory makes no sampler, or one that counts its trials in the study:
            one of this package, or one that enumerates. These need one seed, and no key.
    """

    def __init__(
        self,
        factory: Callable[[int, int | None], BaseSampler],
        seed: int,
        n_trials: int | None = None,
    ) -> None:
        check_seed(seed)
        self._factory, self._seed, self._n_trials = factory, seed, n_trials
        self._samplers: dict[int, BaseSampler] = {}  # Of the trials under way, by their ids.
        made: object = factory(seed, n_trials)
        if not isinstance(made, BaseSampler) or isinstance(made, COUNTING):
            raise WrongTypeError(
                "The factory of a `KeyedSampler` must make an Optuna sampler that draws at random "
                f"and counts no trials in the study, but it made {made!r}."
            )

    def __str__(self) -> str:
        return f"KeyedSampler({type(self._factory(self._seed, self._n_trials)).__name__})"

    def _key(self, study: Study, trial: FrozenTrial) -> int:
        return trial.number

    def _sampler(self, study: Study, trial: FrozenTrial) -> BaseSampler:
        if trial._trial_id not in self._samplers:
            key = self._key(study, trial)
            [seed] = np.random.SeedSequence([self._seed, key]).generate_state(1)
            self._samplers[trial._trial_id] = self._factory(int(seed), self._n_trials)
        return self._samplers[trial._trial_id]

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Begin anew, with the random numbers of this trial."""
        self._samplers.pop(trial._trial_id, None)
        self._sampler(study, trial).before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return which parameters the trial's sampler samples together."""
        return self._sampler(study, trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample these together."""
        return self._sampler(study, trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Sample one parameter."""
        sampler = self._sampler(study, trial)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Tell the trial's sampler, and forget it."""
        self._sampler(study, trial).after_trial(study, trial, state, values)
        del self._samplers[trial._trial_id]
