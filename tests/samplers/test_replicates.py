"""Replicates: the configuration that gets the next replicate, and the recommended
configuration.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adnn_optuna._attributes import REPLICATE
from adnn_optuna.samplers import _replicates as replicates
from adnn_optuna.samplers._replicates import ReplicateSampler
from adnn_optuna.samplers._trials import TrialReader

X = {"x": optuna.distributions.FloatDistribution(0, 1)}
MINIMIZE, MAXIMIZE = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE


def trials_of(*of_trials: tuple[float, float | None, int | None]) -> list[FrozenTrial]:
    """Return trials from their parameters and values and, for replicates, the first trial's
    number.
    """
    trials = []
    for number, (x, value, first) in enumerate(of_trials):
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        trial = optuna.create_trial(params={"x": x}, distributions=X, value=value, state=state)
        trial.number = number
        if first is not None:
            trial.system_attrs[REPLICATE] = {"trial": first, "repetition": number, "index": None}
        trials.append(trial)
    return trials


def next_of(trials: list[FrozenTrial], count: int, direction: StudyDirection) -> list[int]:
    ranked = replicates.ranked(replicates.configurations_of(trials).values(), direction)
    return [number for number, _ in replicates.next_replicates(ranked, count)]


def test_the_two_best_take_turns_until_a_mean_falls_behind() -> None:
    trials = trials_of((0.1, 3, None), (0.2, 1, None), (0.3, 2, None))
    assert next_of(trials, 4, MINIMIZE) == [1, 2, 1, 2]
    assert next_of(trials, 2, MAXIMIZE) == [0, 2]
    # With a mean of 6, this configuration is no longer one of the two best.
    trials = trials_of((0.1, 3, None), (0.2, 1, None), (0.3, 2, None), (0.2, 11, 1))
    assert next_of(trials, 3, MINIMIZE) == [2, 0, 2]


def test_equal_parameters_are_one_configuration() -> None:
    trials = trials_of((0.1, 3, None), (0.2, 1, None), (0.1, 0, None))
    configurations = replicates.configurations_of(trials)
    assert {number: configuration.values for number, configuration in configurations.items()} == {
        0: [3, 0],
        1: [1],
    }


@pytest.mark.parametrize(("direction", "best"), [(MINIMIZE, 1), (MAXIMIZE, 0)])
def test_configurations_with_two_values_are_recommended(
    direction: StudyDirection, best: int
) -> None:
    searched = trials_of((0.1, 3, None), (0.2, 1, None), (0.3, 2.0, None))
    assert replicates.replicated(searched, direction) == []
    trials = trials_of(
        (0.1, 3, None), (0.2, 1, None), (0.3, 2.0, None), (0.1, 5, 0), (0.2, 1.5, 1)
    )
    assert replicates.replicated(trials, direction)[0].first.number == best


def test_a_configuration_that_failed_comes_last() -> None:
    trials = trials_of(
        (0.1, 1, None), (0.2, 2, None), (0.1, 1, 0), (0.1, None, 0), (0.2, 2, 1), (0.3, 3, None)
    )
    assert replicates.replicated(trials, MINIMIZE)[0].first.number == 1
    assert next_of(trials, 2, MINIMIZE) == [5, 1]


@pytest.mark.slow
def test_replicates_find_better_configurations_than_the_best_value() -> None:
    """The noise is as large as the signal. There are 300 pairs of searches with equal budgets."""
    rng = np.random.default_rng(0)
    differences = []
    for _ in range(300):
        truth = rng.normal(size=50)
        noise = rng.normal(size=50)
        alone = truth[np.argmin(truth + noise)]
        trials = trials_of(*((i / 50, truth[i] + noise[i], None) for i in range(40)))
        for number in range(40, 50):
            best = replicates.ranked(replicates.configurations_of(trials).values(), MINIMIZE)
            [(first, repetition)] = replicates.next_replicates(best, 1)
            [more] = trials_of((first / 50, truth[first] + rng.normal(), first))
            more.number = number
            more.system_attrs[REPLICATE]["repetition"] = repetition
            trials.append(more)
        chosen = replicates.replicated(trials, MINIMIZE)[0]
        differences.append(truth[chosen.first.number] - alone)
    assert np.mean(differences) < -3 * np.std(differences) / np.sqrt(300)


def test_the_next_replicate_follows_from_the_study_alone() -> None:
    rng, study, sampler = np.random.default_rng(0), optuna.create_study(), ReplicateSampler()
    for number in range(80):
        reader = TrialReader()
        reader.read(study)
        system_attrs, x = {}, number / 80
        if number >= 20:
            template = sampler.template(study, reader, X, 0)
            from_new_sampler = ReplicateSampler().template(study, reader, X, 0)
            assert template.system_attrs == from_new_sampler.system_attrs
            system_attrs, x = template.system_attrs, template.params["x"]
        if number == 50:  # Another worker adds a new configuration.
            system_attrs = {}
        parts: Any = {"params": {"x": x}, "distributions": X, "system_attrs": system_attrs}
        value = {"value": -9.0 if number == 50 else rng.normal()}
        if number % 9 == 4:
            value = {"state": TrialState.PRUNED}
        study.add_trial(optuna.create_trial(**parts, **value))
