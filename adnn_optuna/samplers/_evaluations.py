"""A sampler that proposes each evaluation once, for any number of workers."""

import math
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence

from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

from adnn_optuna.samplers._owners import owned_template
from adnn_optuna.samplers._trials import TrialReader, is_done

Evaluation = tuple[int, ...]
"""An evaluation is a tuple of numbers below 2^31, such as a trial's number and a seed."""


def evaluation_of(trial: FrozenTrial | Trial, names: Sequence[str]) -> Evaluation:
    """Return the evaluation of a trial: the tuple of its parameters' values."""
    return tuple(trial.params[name] for name in names)


def evaluation_trials(
    trials: Iterable[FrozenTrial], names: Sequence[str]
) -> dict[Evaluation, FrozenTrial]:
    """Return the first trial that made each finished evaluation."""
    first: dict[Evaluation, FrozenTrial] = {}
    for trial in filter(is_done, trials):
        first.setdefault(evaluation_of(trial, names), trial)
    return first


def made_evaluations(
    trials: Iterable[FrozenTrial], names: Sequence[str]
) -> dict[Evaluation, float]:
    """Return the value of each finished evaluation, or NaN if the evaluation failed."""
    trials_by_evaluation = evaluation_trials(trials, names)
    return {evaluation: value_of(trial) for evaluation, trial in trials_by_evaluation.items()}


def value_of(trial: FrozenTrial) -> float:
    """Return the value of an evaluation, or NaN if the evaluation failed."""
    return math.nan if trial.value is None else trial.value


class EvaluationSampler(RandomSampler):
    """Sampler that proposes a random missing evaluation that no other worker makes.

    An evaluation is a tuple of numbers. The parameters of a trial hold these numbers.
    """

    last_index = 2**31 - 1

    def __init__(
        self,
        names: Sequence[str],
        missing_of: Callable[[Iterable[FrozenTrial]], Sequence[Evaluation]],
    ) -> None:
        super().__init__()
        self._names = tuple(names)
        self._missing_of = missing_of
        self._missing: Sequence[Evaluation] = ()  # The missing evaluations at the last read.

    @property
    def n_wanted(self) -> int:
        """The number of missing evaluations."""
        return len(self._missing)

    def n_free(self, study: Study, at_most: int, reader: TrialReader) -> int:
        """Return the number of missing evaluations that no worker is making."""
        self._missing = self._missing_of(reader.trials.values())
        return len(self._free(reader))

    def check_place(
        self, study: Study, trial: FrozenTrial, reader: TrialReader
    ) -> tuple[bool, None]:
        """Return whether a trial's evaluation is no longer missing.

        The second value is None, because evaluations have no order.
        """
        return self.place_of(trial) not in self._missing, None

    def place_of(self, trial: FrozenTrial) -> Evaluation:
        """Return the evaluation of a trial."""
        return evaluation_of(trial, self._names)

    def template(
        self,
        study: Study,
        reader: TrialReader,
        distributions: Mapping[str, BaseDistribution],
        n_rivals: int,
    ) -> FrozenTrial | None:
        """Return a RUNNING trial for a missing evaluation that no worker is making, or None."""
        if not (free := self._free(reader)):
            return None
        # The choice is random, because other workers may choose at the same moment.
        evaluation = secrets.choice(free[: len(reader.unfinished) + 1])
        params = dict(zip(self._names, evaluation, strict=True))
        return owned_template(reader.next_number, params=params, distributions=dict(distributions))

    def _free(self, reader: TrialReader) -> list[Evaluation]:
        held = {self.place_of(trial) for trial in reader.unfinished.values()}
        return [evaluation for evaluation in self._missing if evaluation not in held]
