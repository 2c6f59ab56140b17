"""The samplers of a comparison's controls."""

from typing import Any

import numpy as np
from optuna.study import Study

from adnn_optuna._attributes import Proposal
from adnn_optuna.samplers._indices import Indices, ParameterSource
from adnn_optuna.samplers._random_restart import RandomRestartSampler


class OneTrialSampler(RandomRestartSampler):
    """Proposes one trial, which finds its parameter by itself."""

    last_index = 0.0
    _proposes_before = False


class GridOffsetSampler(RandomRestartSampler):
    """Proposes values of one offset on a grid over its range, and then any.

    If the baseline network is enqueued, it replaces the grid's value next to 0.
    """

    def __init__(
        self, offset: str, seed: int, n_trials: int, *, is_baseline_enqueued: bool
    ) -> None:
        super().__init__(seed=seed)
        self._offset, self._n_trials = offset, n_trials
        self._is_baseline_enqueued = is_baseline_enqueued

    def _propose(self, study: Study, indices: Indices, proposal: Proposal) -> ParameterSource:
        index, at_random = proposal["index"], super()._propose(study, indices, proposal)

        def value(name: str, distribution: Any) -> Any:
            if name != self._offset or index is None:
                return at_random(name, distribution)
            # At least one on each side of the baseline network.
            values = np.linspace(distribution.low, distribution.high, max(self._n_trials, 3))
            if self._is_baseline_enqueued:
                values = np.delete(values, np.abs(values).argmin())
            if index < len(values):
                return float(values[index])
            return at_random(name, distribution)

        return value
