"""Numbers of test-set evaluations, counted over all studies of a storage and all public
functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
from search_worker import quick_training

import adnn_optuna as adnn
from adnn_optuna.engine.records import read_record

TRAINING = quick_training(epochs=1, batch_size=50)
MODELS = {"small": adnn.MLP((2,)), "wide": adnn.MLP((4,))}


def objective_of(seed: int = 0, **splits: Any) -> adnn.InitOffsetObjective:
    """Return an objective with data whose test rows depend on ``seed``."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 3))
    data = adnn.Dataset.from_arrays(x, x[:, 0] > 0, seed=seed, **splits)
    return adnn.InitOffsetObjective(adnn.MLP((2,)), data, training=TRAINING)


def test_all_verbs_count_on_the_same_test_samples() -> None:
    storage = optuna.storages.InMemoryStorage()
    options: Any = {"storage": storage, "study_name": "first", "max_trial": 2}
    first = adnn.search(objective_of(), "greedy", **options)
    assert first.record.test_evaluations_elsewhere == {}
    assert "The test set was evaluated" not in format(first, "markdown")
    # The validation rows differ, so the data differ.
    other_objective = objective_of(validation_size=0.4)
    adnn.compare_models(
        MODELS, other_objective.dataset, training=TRAINING, seeds=range(3), storage=storage
    )
    adnn.compare(
        other_objective, ["greedy", "random_restart"], seeds=range(2), max_trial=2, storage=storage
    )
    untested: Any = {"max_trial": 2, "storage": storage, "test": False}
    adnn.search(other_objective, "greedy", study_name="untested", **untested)
    # Recheck and variance use validation rows only.
    adnn.recheck(first.study, objective_of(), top=2, choose=2, confirm=6)
    adnn.measure_variance(other_objective, 5, storage=storage)
    # The test rows differ.
    adnn.search(objective_of(seed=1), "greedy", **{**options, "study_name": "others"})

    counts = dict(read_record(first.study).test_evaluations_elsewhere)
    assert counts.pop("models") == 6
    runs = [f"/{arm}/seed={seed}" for arm in ("greedy", "random_restart") for seed in range(2)]
    assert counts == {f"compare{run}": 1 for run in runs}
    second = adnn.search(other_objective, "annealing", **{**options, "study_name": "second"})
    assert "evaluated the test set 11 times." in format(second, "markdown")
    assert second.document().fields["n_test_evaluations"] == 12
    # The second search reports the earlier evaluation, and so does the other function.
    options = {"seeds": range(3), "storage": storage}
    again = adnn.compare_models(MODELS, other_objective.dataset, training=TRAINING, **options)
    assert "evaluated the test set 6 times." in format(again, "markdown")


def test_functions_in_a_comparison_with_networks_do_not_count() -> None:
    storage = optuna.storages.InMemoryStorage()
    data, models = objective_of().dataset, {"f": lambda seed: seed / 9, **MODELS}
    options: Any = {"training": dict.fromkeys(MODELS, TRAINING), "storage": storage}
    alone = adnn.compare_models(models, data, seeds=range(2), **options)
    assert "evaluated the test set" not in format(alone, "markdown")
    result = adnn.search(objective_of(), "greedy", max_trial=1, storage=storage)
    assert result.record.test_evaluations_elsewhere == {"models": 4}
