"""The list of arms: each arm runs, and every place that lists arms names it."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from search_worker import make_objective

from adnn_optuna._checks import NotInstalledError, is_installed
from adnn_optuna.callbacks import checked_limits
from adnn_optuna.engine.arms import SAMPLERS, arm_of
from adnn_optuna.engine.loop import Loop
from adnn_optuna.engine.records import read_record
from adnn_optuna.engine.signals import interruptible
from adnn_optuna.engine.studies import StudySpec, open_studies
from adnn_optuna.experiments.controls import ARMS
from adnn_optuna.samplers import RandomRestartSampler

CONTROLS = [name for name, arm in ARMS.items() if arm.is_control]


if TYPE_CHECKING:
    from adnn_optuna.engine.records import SearchRecord

NEEDED = {"gp": "torch", "cmaes": "cmaes"}


def _search(name: str, storage: optuna.storages.BaseStorage, max_trial: int) -> SearchRecord:
    if name in NEEDED and not is_installed(NEEDED[name]):
        pytest.skip(f"{NEEDED[name]} is not installed")
    plan = StudySpec(make_objective(), "mine", name, checked_limits(max_trial=max_trial))
    [study] = open_studies([plan], storage)
    with interruptible() as stop:
        Loop(study, plan.plan.objective, plan.limits, stop, n_threads=plan.n_threads).run()
    return read_record(study)


@pytest.mark.parametrize("name", [*SAMPLERS, *CONTROLS])
def test_each_arm_is_run_and_begins_with_the_baseline_network(name: str) -> None:
    record = _search(name, optuna.storages.InMemoryStorage(), max_trial=2)
    assert record.sampler == name
    assert record.is_control == ARMS[name].is_control
    # The only trial of these arms reports each epoch, or each network.
    if name not in ("longer", "ensemble"):
        assert record.done_trials[0].value == record.baseline
        assert len(record.done_trials) == 2


def test_at_most_a_quarter_of_a_search_of_the_learning_rate_is_random() -> None:
    distribution = {"learning_rate": FloatDistribution(1e-5, 1e-1, log=True)}

    def distances(n_trials: int, seed: int) -> list[float]:
        """Return the distance of each learning rate from the best rate, 1e-4, in decades."""
        study = optuna.create_study()
        study.sampler = ARMS["learning_rate"].sampler(seed, distribution, n_trials)
        distances_to_best = []
        for _ in range(n_trials):
            trial = study.ask(distribution)
            distances_to_best.append(abs(math.log10(trial.params["learning_rate"]) + 4))
            study.tell(trial, distances_to_best[-1])
        return distances_to_best

    all_distances = np.array([distances(12, seed) for seed in range(16)])
    # A random rate is 1.25 decades away on average.
    assert np.median(all_distances[:, 6:]) < 0.75 * np.median(all_distances[:, :3])


@pytest.mark.parametrize("name", ["random", "qmc", "tpe", "cmaes"])
def test_samplers_of_optuna_repeat_no_trial_when_resumed(name: str) -> None:
    stopped = optuna.storages.InMemoryStorage()
    for max_trial in (2, 4):
        resumed = _search(name, stopped, max_trial)
    params = [trial.params for trial in resumed.done_trials]
    whole = _search(name, optuna.storages.InMemoryStorage(), max_trial=4)
    assert [trial.params for trial in whole.done_trials] == params
    assert len({str(of_trial) for of_trial in params}) == 4
    assert {resumed.proposer(trial) for trial in resumed.done_trials} == {name}


@pytest.mark.skipif(not is_installed("cmaes"), reason="cmaes is not installed")
def test_cma_es_does_not_warn_of_categories_in_each_trial(
    caplog: pytest.LogCaptureFixture,
) -> None:
    study = optuna.create_study(sampler=ARMS["cmaes"].sampler(0, {}, None))
    optuna.logging.enable_propagation()
    try:
        for _ in range(4):
            trial = study.ask()
            trial.suggest_categorical("category", "ab")
            study.tell(trial, sum(trial.suggest_float(name, 0, 1) for name in "xy"))
    finally:
        optuna.logging.disable_propagation()
    assert not [record for record in caplog.records if "independently" in record.message]


@pytest.mark.parametrize("name", ["random", "tpe", "cmaes"])
def test_only_a_draw_that_was_lost_is_repeated_even_if_later_draws_have_begun(name: str) -> None:
    study = optuna.create_study()
    space = {name: FloatDistribution(-1, 1) for name in "xy"}

    def ask() -> optuna.Trial:
        # Each sampler belongs to another worker.
        study.sampler = ARMS[name].sampler(1, space, None)
        return study.ask(space)

    study.tell(ask(), 1.0)
    lost, finished = ask(), ask()
    # Another worker that finds the dead owner does the same.
    study._storage.set_trial_state_values(lost._trial_id, TrialState.FAIL)
    study.tell(finished, 0.0)
    again, later = ask(), ask()
    assert again.params == lost.params
    assert len({str(trial.params) for trial in (study.trials[0], finished, again, later)}) == 4


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_package_is_named_before_anything_is_stored(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, NEEDED[name], None)
    storage = optuna.storages.InMemoryStorage()
    plan = StudySpec(make_objective(), "mine", name, checked_limits(max_trial=2))
    with pytest.raises(NotInstalledError, match=rf"which is not .*: pip install {NEEDED[name]}\."):
        open_studies([plan], storage)
    assert not optuna.get_all_study_names(storage)


def test_a_sampler_or_a_factory_may_replace_a_name() -> None:
    sampler = optuna.samplers.RandomSampler(seed=3)

    def greedy(seed: int, n_trials: int | None) -> optuna.samplers.BaseSampler:
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=n_trials or 1)

    assert arm_of(sampler).name == "RandomSampler"
    assert arm_of(sampler).sampler(0, {}, 5) is sampler
    # The factory's sampler does not count as our sampler with the same name.
    assert arm_of(greedy).name.endswith("greedy()")
    assert str(arm_of(greedy).sampler(1, {}, 5)) == "KeyedSampler(TPESampler)"
    # Our sampler stores its indices in the study, so it needs no KeyedSampler.
    ours = arm_of(lambda seed, n_trials: RandomRestartSampler(seed)).sampler(1, {}, 5)
    assert isinstance(ours, RandomRestartSampler)
    grid = optuna.samplers.GridSampler({"x": [1, 2]})
    assert [arm_of(named).ends_by_itself for named in (sampler, greedy, grid)] == [
        False,
        False,
        True,
    ]
