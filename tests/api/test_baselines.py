"""The baseline of a comparison's arms: each seed has one network, which no arm changes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from search_worker import make_objective

import adnn_optuna as adnn
from adnn_optuna.engine.arms import SAMPLERS
from adnn_optuna.experiments.controls import ARMS, NetworkArm, OneTrialSampler

if TYPE_CHECKING:
    from adnn_optuna import InitOffsetObjective

pytestmark = pytest.mark.tensorflow


def with_batches(objective: InitOffsetObjective, size: int) -> InitOffsetObjective:
    training: Any = objective.training
    return objective.replace(training=dataclasses.replace(training, batch_size=size))


def over_batches(objective: InitOffsetObjective, _: int | None) -> InitOffsetObjective:
    def training(trial: Any) -> adnn.Training:
        size = trial.suggest_categorical("batch_size", [20, 50])
        trained_in_batches: Any = with_batches(objective, size).training
        return trained_in_batches

    return objective.replace(training=training)


# Controls that change the training, as users may add them.
TRAINED_OTHERWISE = [
    NetworkArm(
        "small_batches",
        lambda *_: OneTrialSampler(),
        objective=lambda objective, _: with_batches(objective, 20),
        is_control=True,
        ends_by_itself=True,
        spent="smaller batches",
        copied_settings="batch size",
    ),
    NetworkArm(
        "batch_size",
        ARMS["random"].sampler,
        objective=over_batches,
        is_control=True,
        spent="the batch size",
        copied_settings="batch size",
    ),
]


@pytest.fixture
def controls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of all controls, including the controls that change the training."""
    for arm in TRAINED_OTHERWISE:
        monkeypatch.setitem(ARMS, arm.name, arm)
    return [name for name, arm in ARMS.items() if arm.is_control]


def test_baseline_is_the_same_for_all_samplers_and_controls(controls: list[str]) -> None:
    samplers = [name for name in SAMPLERS if name not in ("gp", "cmaes")]
    objective = make_objective()
    comparison = adnn.compare(objective, samplers, controls=controls, max_trial=3, seeds=[1])
    plain = adnn.search(objective.replace(seed=1), "random", max_trial=1, confirm=0)
    for name, [run] in comparison.results.items():
        baselines = (run.baseline, run.test_baseline)
        assert baselines == (plain.baseline, plain.test_baseline), name
        assert run.test_gain == pytest.approx(run.test_value - plain.test_baseline), name
    # The controls are not copies of the baseline. Their runs on new seeds are not copies, either.
    replicated = {row.arm: row.estimate.value for row in comparison.numbers.replication}
    for arm in TRAINED_OTHERWISE:
        [run] = comparison.results[arm.name]
        assert run.test_gain != 0
        assert replicated[arm.name] != 0


def test_baseline_of_a_control_that_trains_otherwise_is_confirmed_with_its_training(
    controls: list[str],
) -> None:
    options: Any = {"max_trial": 2, "seeds": [1]}
    comparison = adnn.compare(make_objective(), ["greedy"], controls=["small_batches"], **options)
    [run] = comparison.results["small_batches"]
    confirmation = run.confirm(6).confirmation
    assert len(confirmation.gains) == 6
    assert any(confirmation.gains)
    # Other arms train the baseline network with the training of the contract's best network.
    with pytest.raises(ValueError, match="trained as its baseline"):
        run.contract()
