"""Replicates: a search evaluates its leading configurations again, each time with a new seed.

The best of many noisy values is too good to be true, and often not the best configuration. So a
part of the budget goes to replicates, one after the other: always to that of the two
configurations with the best means which has fewer values. Recommended is the best mean among the
configurations with at least two values.
"""

import dataclasses
import math
import secrets
from collections.abc import Iterable, Mapping
from statistics import fmean

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._attributes import OWNER, PROPOSAL, REPLICATE, Replicate
from adnn_optuna.samplers._owners import ownership
from adnn_optuna.samplers._trials import TrialReader, is_done, is_feasible

_N_LEADING = 2

Place = tuple[int, int]
"""Which replicate a trial is: its configuration's first trial, by number, and a count from 1."""


@dataclasses.dataclass
class Configuration:
    """One configuration of a search, with all of its values.

    Attributes:
        first: Its first completed trial.
        values: The values of its completed trials, by number.
        repetitions: Which replicates of it have ended, with a value or without.
        has_failed: Whether one of them came to no value.
    """

    first: FrozenTrial
    values: list[float] = dataclasses.field(default_factory=list)
    repetitions: set[int] = dataclasses.field(default_factory=set)
    has_failed: bool = False


def replicate_of(trial: FrozenTrial) -> Place | None:
    """Return which replicate a trial is; :obj:`None` for the trials of the search itself."""
    stored: Replicate | None = trial.system_attrs.get(REPLICATE)
    return None if stored is None else (stored["trial"], stored["repetition"])


def configurations_of(trials: Iterable[FrozenTrial]) -> dict[int, Configuration]:
    """Return the configurations of trials that are done, by the numbers of their first trials."""
    found: dict[int, Configuration] = {}
    numbers: dict[tuple[tuple[str, object], ...], int] = {}
    for trial in sorted(trials, key=lambda t: t.number):
        is_completed = trial.state == TrialState.COMPLETE and is_feasible(trial)
        number, repetition = replicate_of(trial) or (trial.number, 0)
        if not repetition and is_completed:
            number = numbers.setdefault(tuple(sorted(trial.params.items())), number)
            found.setdefault(number, Configuration(trial))
        if number not in found:  # It has no value, or somebody deleted its first trial.
            continue
        if is_completed:
            found[number].values.append(trial.values[0])
        if repetition:
            found[number].repetitions.add(repetition)
            found[number].has_failed |= not is_completed
    return found


def ranked(found: Iterable[Configuration], direction: StudyDirection) -> list[Configuration]:
    """Return configurations by their means, the best first; those that failed come last."""
    sign = -1.0 if direction == StudyDirection.MAXIMIZE else 1.0

    def rank(one: Configuration) -> tuple[float, int]:
        mean = math.inf if one.has_failed else sign * fmean(one.values)
        return mean, one.first.number

    return sorted(found, key=rank)


def recommended(trials: Iterable[FrozenTrial], direction: StudyDirection) -> Configuration | None:
    """Return the configuration with the best mean of two or more values, if any was replicated."""
    found = [*configurations_of(trials).values()]
    if not any(one.repetitions for one in found):
        return None
    return next(iter(ranked((one for one in found if one.values[1:]), direction)), None)


def next_replicates(
    found: Mapping[int, Configuration], direction: StudyDirection, count: int
) -> list[Place]:
    """Return which replicates to make next, if ``count`` of them begin at the same time."""
    leading = ranked(found.values(), direction)[:_N_LEADING]
    n_values = {one.first.number: len(one.values) for one in leading}
    repetitions = {one.first.number: set(one.repetitions) for one in leading}
    places = []
    for _ in range(count if leading else 0):
        number = min(n_values, key=n_values.__getitem__)  # Of equals, the better one.
        repetition = 1
        while repetition in repetitions[number]:
            repetition += 1
        repetitions[number].add(repetition)
        n_values[number] += 1
        places.append((number, repetition))
    return places


class ReplicateSampler(optuna.samplers.RandomSampler):
    """Proposes the replicates of a search; any number of workers makes each of them once.

    Args:
        direction: The direction of the study.
    """

    last_index = 2**31 - 1
    n_wanted: float = math.inf  # A limit ends them.

    def __init__(self, direction: StudyDirection) -> None:
        super().__init__()
        self._direction = direction

    def place_of(self, trial: FrozenTrial) -> Place | None:
        """Return which replicate a trial is; :obj:`None` for the trials of the search itself."""
        return replicate_of(trial)

    def n_free(self, study: optuna.Study, at_most: int, known: TrialReader) -> int:
        """Return how many replicates may begin now, or ``at_most``."""
        return len(self._free(known, at_most))

    def look_again(
        self, study: optuna.Study, trial: FrozenTrial, known: TrialReader
    ) -> tuple[bool, None]:
        """Return whether a replicate was made meanwhile; they have no order."""
        done = filter(is_done, known.trials.values())
        return replicate_of(trial) in map(replicate_of, done), None

    def template(
        self,
        study: optuna.Study,
        known: TrialReader,
        distributions: Mapping[str, BaseDistribution],
        n_rivals: int,
    ) -> FrozenTrial | None:
        """Return a replicate to be created RUNNING, if there is one to make."""
        # Not the same as others, who begin at the same moment.
        if not (free := self._free(known, 1 + n_rivals)):
            return None
        number, repetition = secrets.choice(free)
        first = next(t for t in known.trials.values() if t.number == number)
        template = optuna.create_trial(
            state=TrialState.RUNNING, params=first.params, distributions=first.distributions
        )
        template.number = known.next_number
        template.system_attrs[OWNER] = ownership(template)
        proposal = first.system_attrs.get(PROPOSAL) or {"index": None}
        replicate: Replicate = {
            "trial": number,
            "repetition": repetition,
            "index": proposal["index"],
        }
        template.system_attrs[REPLICATE] = replicate
        return template

    def _free(self, known: TrialReader, count: int) -> list[Place]:
        """Return up to ``count`` replicates that no worker makes."""
        held = {replicate_of(trial) for trial in known.unfinished.values()}
        found = configurations_of(filter(is_done, known.trials.values()))
        places = next_replicates(found, self._direction, count + len(held))
        return [place for place in places if place not in held][:count]
