"""Training again, as it was or with fresh random numbers."""

from __future__ import annotations

import pytest
from search_worker import quick_training

import adnn_optuna as adnn
from adnn_optuna.engine.retraining import retrain, retrain_afresh


@pytest.fixture(scope="module")
def objective() -> adnn.InitOffsetObjective:
    digits = adnn.load_dataset("digits")
    data = adnn.Dataset.from_arrays(digits.x_train[:500], digits.y_train[:500])
    training = quick_training(optimizer="sgd", learning_rate=0.2, batch_size=100, epochs=1)
    return adnn.InitOffsetObjective(adnn.MLP((8,)), data, training=training, seed=3)


def test_gains_are_those_of_pairs_with_the_same_fresh_seed(
    objective: adnn.InitOffsetObjective,
) -> None:
    params = {"weight_offset_0": 0.1, "bias_offset_0": -0.05}
    fresh = objective.replace(seed=7)
    baseline, winner = retrain(fresh.trainer, [fresh.baseline_start, fresh.start(params)])
    gain = winner.metrics["test_accuracy"] - baseline.metrics["test_accuracy"]
    [again] = retrain_afresh(objective, params, "initialisations", [7])
    assert again == pytest.approx(gain, abs=1e-12)
    # An order of its own leaves the initial weights as they are.
    baseline, winner = retrain(
        objective.trainer, [objective.baseline_start, objective.start(params)]
    )
    gain = winner.metrics["test_accuracy"] - baseline.metrics["test_accuracy"]
    own, other = retrain_afresh(objective, params, "orders", [objective.seed, 8])
    assert own == pytest.approx(gain, abs=1e-12)
    assert other not in {own, again}
    # Neither gains nor loses who moves nothing.
    assert retrain_afresh(objective, {}, "initialisations", [7, 8]) == [0, 0]
