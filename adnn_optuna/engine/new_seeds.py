"""Evaluations of a study's trials on new seeds, as trials of a study of their own."""

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from adnn_optuna._attributes import SCORES, VIOLATED, Json, Params
from adnn_optuna._checks import WrongParametersError
from adnn_optuna.callbacks import Limit, LimitValues, MaxTimeCallback, callbacks_of
from adnn_optuna.engine.example_scores import collecting, log_scores, scores_as_attributes
from adnn_optuna.engine.objectives import Outcome, Searched, number
from adnn_optuna.samplers._tally import Tally
from adnn_optuna.samplers._trials import beginning, is_feasible

SEEDS = 10
"""How many new seeds confirm the best trial of a search by default."""
NO_STORED_TRIAL = -1
"""The id of a trial that no study has, as in :func:`optuna.trial.create_trial`."""


@dataclasses.dataclass(frozen=True)
class TrialEvaluation:
    """Evaluates trials, by their numbers, on new seeds; any process can call it."""

    objective: Searched[Any]
    trials: Mapping[int, FrozenTrial]
    study: optuna.Study  # Which the function may stop, so this is an object of its own.

    def __call__(self, trial_number: int, seed: int) -> Outcome:
        """Evaluate a trial on a new seed."""
        trial = _TrialOnNewSeed(self.trials[trial_number], self.study)
        with collecting(trial) as logged:
            value = self.objective.evaluate(trial, seed)
            if np.ndim(value):
                value = log_scores(trial, value)
        attrs: Json = {} if is_feasible(trial) else {VIOLATED: True}
        if logged:
            attrs |= scores_as_attributes(SCORES, logged[-1].scores)
        return Outcome("complete", number(value), system_attrs=attrs)


class _TrialOnNewSeed(FrozenTrial):
    """A copy of a trial that a function evaluates as if its study had just asked for it.

    It has no constraints yet.
    """

    def __init__(self, trial: FrozenTrial, study: optuna.Study) -> None:
        vars(self).update(copy.deepcopy(vars(trial)))
        attrs = trial.system_attrs
        names = [name for name in attrs if name.partition(":")[0] != "constraints"]
        self._system_attrs = {name: attrs[name] for name in names}
        self._params = _Params(study.study_name, trial.params)
        self.study = study
        study._thread_local.in_optimize_loop = True

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if self._trial_id == NO_STORED_TRIAL and name in self.params:
            return self.params[name]  # It may lie outside the searched space.
        try:
            return super()._suggest(name, distribution)
        except ValueError:
            used = f"{name!r:.100} of {distribution!r:.100}"
            raise WrongParametersError.of(self.study.study_name, self.params, used) from None


class _Params(dict[str, Any]):
    """The parameters of a trial; an error names a missing parameter that a function reads."""

    def __init__(self, study_name: str, params: Params) -> None:
        super().__init__(params)
        self._study_name = study_name

    def __missing__(self, name: str) -> Any:
        raise WrongParametersError.of(self._study_name, self, f"{name!r:.100}")


def beginning_of(study: optuna.Study) -> dict[str, str]:
    """Return the subject of a study's evaluations; an earlier study of its name had another."""
    first = study.get_trials(deepcopy=False)[0]
    return {"study that began": beginning(first)}


class _SearchTimeCallback(MaxTimeCallback):
    """Ends a search early enough that its best trial's evaluations end within the same time.

    Each is assumed to take as long as an average trial. At least half of the time is for trials.
    """

    def __init__(self, max_time: float, n_new_seeds: int) -> None:
        super().__init__(max_time)
        self._n_new_seeds = n_new_seeds

    def _used(self, study: optuna.Study, tally: Tally) -> float:
        seconds = super()._used(study, tally)
        seconds_a_trial = seconds / max(tally.n_done, 1)
        return seconds + min(self._n_new_seeds * seconds_a_trial, self.value / 2)


def ends_before_new_seeds(limits: LimitValues, n_new_seeds: int) -> list[Limit]:
    """Return the callbacks of limits that a search and its evaluations on new seeds share."""
    ends = callbacks_of(limits)
    for place, limit in enumerate(ends):
        if isinstance(limit, MaxTimeCallback):
            ends[place] = _SearchTimeCallback(limit.value, n_new_seeds)
    return ends
