"""Optuna's samplers, with random numbers that depend only on the seed and the trial."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, BruteForceSampler, CmaEsSampler, GridSampler, QMCSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._attributes import Proposal
from adnn_optuna._checks import WrongTypeError
from adnn_optuna.samplers._indexed import IndexedSampler
from adnn_optuna.samplers._indices import Indices, ParameterSource
from adnn_optuna.samplers._random_numbers import check_seed, draw_key

# These samplers count trials in the study, so all trials must have the same seed.
COUNTING = (IndexedSampler, GridSampler, BruteForceSampler, QMCSampler)


class KeyedSampler(BaseSampler):
    """Sampler that makes a new inner sampler for each trial, with the trial's own seed.

    Optuna's samplers draw their random numbers one after another. So workers with the same seed
    repeat each other's trials, and a resumed study repeats its first trials. A keyed sampler draws
    a trial's random numbers from the seed and the trial's number. So its proposals depend only on
    the seed, the number and the study.

    Example:

        .. testcode::

            import optuna
            from adnn_optuna.samplers import KeyedSampler


            def tpe(seed, n_trials):
                return optuna.samplers.TPESampler(seed=seed)


            study = optuna.create_study(sampler=KeyedSampler(tpe, seed=0))
            study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=10)

    Args:
        factory: A function ``(seed, n_trials) -> sampler``, which makes the sampler of a trial.
        seed: The trials' seeds follow from this seed.
        n_trials: The number of trials, if it is known. It is passed to the factory.

    Raises:
        TypeError: If the factory does not make a sampler, or makes a sampler that counts its
            trials in the study. This package's samplers count, and so do samplers that enumerate.
    """

    def __init__(
        self,
        factory: Callable[[int, int | None], BaseSampler],
        seed: int,
        n_trials: int | None = None,
    ) -> None:
        check_seed(seed)
        self._factory = factory
        self._seed = seed
        self._n_trials = n_trials
        self._samplers: dict[int, BaseSampler] = {}  # The samplers of running trials, by trial id.
        first_sampler: object = self.of_key(0)
        if not isinstance(first_sampler, BaseSampler) or isinstance(first_sampler, COUNTING):
            raise WrongTypeError(
                "The factory of a KeyedSampler must make an Optuna sampler that draws at random "
                f"and counts no trials in the study, but it made {first_sampler!r}."
            )

    def __str__(self) -> str:
        return f"KeyedSampler({type(self.of_key(0)).__name__})"

    def of_key(self, key: int) -> BaseSampler:
        """Make the sampler for the trials that have the given key."""
        [seed] = np.random.SeedSequence([self._seed, key]).generate_state(1)
        return self._factory(int(seed), self._n_trials)

    def _sampler(self, trial: FrozenTrial) -> BaseSampler:
        if trial._trial_id not in self._samplers:
            self._samplers[trial._trial_id] = self.of_key(trial.number)
        return self._samplers[trial._trial_id]

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the inner sampler, with the random numbers of this trial."""
        self._samplers.pop(trial._trial_id, None)
        self._sampler(trial).before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the parameters that the inner sampler samples together."""
        return self._sampler(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample all parameters of the search space together."""
        return self._sampler(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Sample one parameter."""
        sampler = self._sampler(trial)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Tell the inner sampler that the trial has ended, and drop the sampler."""
        self._sampler(trial).after_trial(study, trial, state, values)
        del self._samplers[trial._trial_id]


class KeyedIndexSampler(IndexedSampler):
    """A keyed sampler with indices. It repeats the proposal of a dead trial for the same index."""

    _proposes_before = False  # Optuna's samplers write to the trial, so the trial must be stored.

    def __init__(self, keyed: KeyedSampler) -> None:
        super().__init__("keyed")
        self._keyed = keyed

    def __repr__(self) -> str:
        return str(self._keyed)

    def _propose(self, study: Study, indices: Indices, proposal: Proposal) -> ParameterSource:
        storage = study._storage
        index = proposal["index"]
        number = proposal["owner"]["trial"]
        id_of = storage.get_trial_id_from_study_id_trial_number
        trial = storage.get_trial(id_of(study._study_id, number))
        # Optuna's samplers see the current study, not the study at the first proposal with this
        # index. So the values of the first trial with this index are reused.
        first = indices.first_holder(index, trial)
        sampler = self._keyed.of_key(draw_key(proposal))
        sampler.before_trial(study, trial)
        trial = study._storage.get_trial(trial._trial_id)  # The sampler may have written to it.
        space = sampler.infer_relative_search_space(study, trial)
        undisturbed = copy.copy(trial)
        if index is not None and isinstance(sampler, CmaEsSampler):
            undisturbed.number = index  # The random numbers of CmaEsSampler depend on the number.
        relative = sampler.sample_relative(study, undisturbed, space)

        def value(name: str, distribution: BaseDistribution) -> Any:
            if name in relative and space[name] == distribution:
                sampled = relative[name]
            else:
                # Draw a value even if it is not used, so that later draws stay the same.
                now = study._storage.get_trial(trial._trial_id)
                sampled = sampler.sample_independent(study, now, name, distribution)
            if first.distributions.get(name) == distribution:
                return first.params[name]
            return sampled

        # The parameters that a retry copied were drawn first, so this draws them first, too.
        for name, distribution in trial.distributions.items():
            if name not in trial.system_attrs.get("fixed_params", ()):
                value(name, distribution)
        return value

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Also call `after_trial` of a new inner sampler, because it may store constraints."""
        self._keyed.of_key(0).after_trial(study, trial, state, values)
        super().after_trial(study, trial, state, values)
