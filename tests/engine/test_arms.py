"""The one list of arms: each entry can be run, and is told wherever arms are."""

from __future__ import annotations

import optuna
import pytest
from search_worker import make_objective
from stored_studies import store_study

from adnn_optuna.api.comparisons import Comparison
from adnn_optuna.callbacks import checked_limits
from adnn_optuna.cli import declared
from adnn_optuna.engine.arms import ARMS, CONTROLS, SEARCHERS, arm_of
from adnn_optuna.engine.loop import Loop
from adnn_optuna.engine.records import record_of
from adnn_optuna.engine.signals import interruptible
from adnn_optuna.engine.studies import Plan, open_studies
from adnn_optuna.reporting.comparisons_claims import claim_of_comparison
from adnn_optuna.samplers import RandomRestartSampler


@pytest.mark.parametrize("name", [*SEARCHERS, *CONTROLS])
def test_each_is_run_and_begins_with_the_unmoved_network(name: str) -> None:
    plan = Plan(make_objective(), "mine", name, checked_limits(max_trial=2))
    [study] = open_studies([plan], optuna.storages.InMemoryStorage())
    with interruptible() as stop:
        Loop(plan, study, stop).run()
    record = record_of(study)
    assert record.searcher == name
    assert record.is_control == ARMS[name].is_control
    if name not in ("longer", "ensemble"):  # Whose one trial tells of each epoch, or network.
        assert record.done_trials[0].value == record.baseline
        assert len(record.done_trials) == 2


@pytest.mark.parametrize("name", [*SEARCHERS, *CONTROLS])
def test_each_is_told_in_the_help(name: str) -> None:
    told = declared.arms(is_control=ARMS[name].is_control)
    assert f"{name} ({ARMS[name].help})" in told


@pytest.mark.parametrize("name", CONTROLS)
def test_each_control_tells_how_its_compute_was_spent(name: str) -> None:
    arms = {
        arm: [record_of(store_study(f"c/{arm}/seed=0", sampler=arm, gain=gain))]
        for arm, gain in {"greedy": 0.02, "random_restart": 0.0, name: 0.01}.items()
    }
    said = claim_of_comparison(Comparison(arms, (0,)))
    assert f"The same compute spent {ARMS[name].spent} gains +1.00 pp" in said


def test_a_sampler_or_a_factory_stands_for_a_searcher() -> None:
    sampler = optuna.samplers.RandomSampler(seed=3)

    def greedy(seed: int, n_trials: int | None) -> optuna.samplers.BaseSampler:
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=n_trials or 1)

    assert arm_of(sampler).name == "RandomSampler"
    assert arm_of(sampler).sampler(0, {}, 5) is sampler
    # It is not taken for ours of the same name.
    assert arm_of(greedy).name.endswith("greedy()")
    assert str(arm_of(greedy).sampler(1, {}, 5)) == "KeyedSampler(TPESampler)"
    # Ours counts its trials in the study.
    ours = arm_of(lambda seed, n_trials: RandomRestartSampler(seed)).sampler(1, {}, 5)
    assert isinstance(ours, RandomRestartSampler)
    grid = optuna.samplers.GridSampler({"x": [1, 2]})
    assert [arm_of(one).ends_by_itself for one in (sampler, greedy, grid)] == [False, False, True]
