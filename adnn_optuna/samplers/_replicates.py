"""Replicates: a search evaluates its best configurations again, each time with a new seed.

The best of many noisy values is biased upward, and often does not belong to the best
configuration. So a part of the budget is for replicates. Of the two configurations with the best
means, the configuration with fewer values gets the next replicate. The search recommends the
configuration with the best mean among those with at least two values.
"""

import bisect
import dataclasses
import functools
import math
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean
from typing import NoReturn

from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._attributes import PROPOSAL, REPLICATE, Replicate
from adnn_optuna._checks import WrongParametersError, shown
from adnn_optuna.samplers._owners import owned_template
from adnn_optuna.samplers._trials import PerStudy, TrialReader, cost_sign, is_done, may_be_best

_N_LEADING = 2

Place = tuple[int, int]
"""A replicate's position: the number of its configuration's first trial, and a count from 1."""


@dataclasses.dataclass(eq=False)
class Configuration:
    """A configuration of a search, with the values of all its completed trials."""

    first: FrozenTrial  # The configuration's first completed trial.
    values: list[float] = dataclasses.field(default_factory=list)
    # The counts of replicates that have ended.
    repetitions: set[int] = dataclasses.field(default_factory=set)
    has_failed: bool = False  # Whether a replicate has neither a value nor a substitute value.

    def add(self, trial: FrozenTrial, repetition: int, failed: float | None) -> None:
        """Add a trial of this configuration. Trials of the search itself have repetition 0.

        A replicate that does not complete has the value ``failed``, if this is a number.
        """
        if may_be_best(trial):
            self.values.append(trial.values[0])
        elif repetition and trial.state != TrialState.COMPLETE and failed is not None:
            self.values.append(failed)
        elif repetition:
            self.has_failed = True
        if repetition:
            self.repetitions.add(repetition)


def replicate_of(trial: FrozenTrial) -> Place | None:
    """Return a replicate's position, or :obj:`None` for a trial of the search itself."""
    stored: Replicate | None = trial.system_attrs.get(REPLICATE)
    if stored is None:
        return None
    return (stored["trial"], stored["repetition"])


def _place_of(trial: FrozenTrial) -> Place:
    """Return a replicate's position, or (number, 0) for a trial of the search itself."""
    return replicate_of(trial) or (trial.number, 0)


def configurations_of(
    trials: Iterable[FrozenTrial], failed: float | None = None
) -> dict[int, Configuration]:
    """Return each configuration by the number of its first trial.

    All ``trials`` have ended.
    """
    configurations: dict[int, Configuration] = {}
    numbers: dict[tuple[tuple[str, object], ...], int] = {}
    for trial in sorted(trials, key=lambda t: t.number):
        number, repetition = _place_of(trial)
        if not repetition and may_be_best(trial):
            number = numbers.setdefault(tuple(sorted(trial.params.items())), number)
            configurations.setdefault(number, Configuration(trial))
        if number in configurations:  # The first trial may be deleted, or have no value.
            configurations[number].add(trial, repetition, failed)
    return configurations


def _rank(direction: StudyDirection) -> Callable[[Configuration], tuple[float, int]]:
    sign = cost_sign(direction)

    def rank(one: Configuration) -> tuple[float, int]:
        return math.inf if one.has_failed else sign * mean(one.values), one.first.number

    return rank


def ranked(found: Iterable[Configuration], direction: StudyDirection) -> list[Configuration]:
    """Sort configurations by their means, best first.

    Configurations with a failed replicate come last.
    """
    return sorted(found, key=_rank(direction))


def replicated(
    trials: Iterable[FrozenTrial], direction: StudyDirection, failed: float | None = None
) -> list[Configuration]:
    """Return the configurations with two or more values, the recommended one first.

    If the sampler proposes a configuration twice, it also has two values. If the search made no
    replicates, the list is empty, because such values may have the same seed.
    """
    configurations = [*configurations_of(trials, failed).values()]
    if not any(configuration.repetitions for configuration in configurations):
        return []
    return ranked(
        (configuration for configuration in configurations if configuration.values[1:]), direction
    )


def next_replicates(best: Sequence[Configuration], count: int) -> list[Place]:
    """Return the next ``count`` replicates, which begin together. ``best`` must be ranked."""
    leading = best[:_N_LEADING]
    if not leading:
        return []
    n_values = {configuration.first.number: len(configuration.values) for configuration in leading}
    repetitions = {
        configuration.first.number: set(configuration.repetitions) for configuration in leading
    }
    places = []
    for _ in range(count):
        # If the numbers of values are equal, the better configuration comes first.
        number = min(n_values, key=n_values.__getitem__)
        repetition = 1
        while repetition in repetitions[number]:
            repetition += 1
        repetitions[number].add(repetition)
        n_values[number] += 1
        places.append((number, repetition))
    return places


class _Ranking:
    """The configurations of a study at the last read, from the best to the worst."""

    def __init__(self, study: Study, failed: float | None) -> None:
        self._direction = study.direction
        self._failed = failed
        self._reader = TrialReader()
        self.found: dict[int, Configuration] = {}
        self.best: list[Configuration] = []

    def read(self, study: Study, reader: TrialReader) -> None:
        """Add new trials.

        If all new trials are replicates, only their configurations are sorted again.
        """
        news = [trial for trial in self._reader.read(study, reader) if is_done(trial)]
        if self._reader.was_reset or not all(map(replicate_of, news)):
            done = filter(is_done, self._reader.trials.values())
            self.found = configurations_of(done, self._failed)
            self.best = ranked(self.found.values(), self._direction)
            return
        for trial in news:
            number, repetition = _place_of(trial)
            if (configuration := self.found.get(number)) is not None:
                self.best.remove(configuration)
                configuration.add(trial, repetition, self._failed)
                bisect.insort(self.best, configuration, key=_rank(self._direction))


class ReplicateSampler(RandomSampler):
    """Sampler that proposes the replicates of a search. Each replicate runs once.

    Args:
        failed: The value of a failed replicate. If :obj:`None`, a configuration with a failed
            replicate comes last.
    """

    last_index = 2**31 - 1
    n_wanted: float = math.inf  # Only the limits of the search end the replicates.

    def __init__(self, failed: float | None = None) -> None:
        super().__init__()
        self._memory = PerStudy(functools.partial(_Ranking, failed=failed))

    def place_of(self, trial: FrozenTrial) -> Place | None:
        """Return a replicate's position, or :obj:`None` for a trial of the search itself."""
        return replicate_of(trial)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> NoReturn:
        """Raise an error, because a replicate has all its parameters when it begins."""
        used = f"{shown(param_name)} of {shown(param_distribution)}"
        raise WrongParametersError.of(study.study_name, trial.params, used)

    def n_free(self, study: Study, at_most: int, reader: TrialReader) -> int:
        """Return the number of replicates that may begin now, counted up to ``at_most``."""
        return len(self._free(study, reader, at_most))

    def check_place(
        self, study: Study, trial: FrozenTrial, reader: TrialReader
    ) -> tuple[bool, None]:
        """Return whether another trial has made a trial's replicate meanwhile.

        The second value is None, because replicates have no order.
        """
        number, repetition = _place_of(trial)
        configuration = self._memory[study].found.get(number)
        return configuration is not None and repetition in configuration.repetitions, None

    def template(
        self,
        study: Study,
        reader: TrialReader,
        distributions: Mapping[str, BaseDistribution],
        n_rivals: int,
    ) -> FrozenTrial | None:
        """Return a free replicate, to be created RUNNING, or None."""
        # The choice is random, because other workers may choose at the same moment.
        if not (free := self._free(study, reader, 1 + n_rivals)):
            return None
        number, repetition = secrets.choice(free)
        first = self._memory[study].found[number].first
        template = owned_template(
            reader.next_number, params=first.params, distributions=first.distributions
        )
        index = (first.system_attrs.get(PROPOSAL) or {"index": None})["index"]
        replicate: Replicate = {"trial": number, "repetition": repetition, "index": index}
        template.system_attrs[REPLICATE] = replicate
        return template

    def _free(self, study: Study, reader: TrialReader, count: int) -> list[Place]:
        """Return up to ``count`` replicates that are wanted and not running."""
        held = {replicate_of(trial) for trial in reader.unfinished.values()}
        self._memory[study].read(study, reader)
        places = next_replicates(self._memory[study].best, count + len(held))
        return [place for place in places if place not in held][:count]
