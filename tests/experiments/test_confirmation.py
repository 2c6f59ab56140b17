"""Best and baseline networks on new seeds: seeds, storage, and that each network trains once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from search_worker import make_objective, quick_training
from stored_studies import store_study

import adnn_optuna as adnn
from adnn_optuna._seeds import confirmation_seeds, experiment_fingerprint
from adnn_optuna.engine.example_scores import as_attributes
from adnn_optuna.engine.records import read_record
from adnn_optuna.experiments.confirmation import (
    confirm_best_trial,
    own_scores,
    read_runs,
    replicate_best_trial,
)
from adnn_optuna.experiments.records import BASELINE_ARM, BEST_ARM, FIRST_ARM
from adnn_optuna.networks.retraining import retrain

if TYPE_CHECKING:
    from adnn_optuna import InitOffsetObjective, SearchResult
    from adnn_optuna.experiments.confirmation import ConfirmationRuns


def confirmed(result: SearchResult, n_seeds: int = 6) -> ConfirmationRuns:
    confirm_best_trial(read_record(result.study), result._objective, n_seeds)
    # The result is read from the storage alone.
    runs = read_runs(read_record(result.study))
    assert runs is not None
    return runs


def trained(result: SearchResult) -> list[optuna.trial.FrozenTrial]:
    name = f"{result.study.study_name}/confirmation"
    return optuna.load_study(study_name=name, storage=result.study._storage).trials


def test_best_and_baseline_network_are_trained_on_the_same_new_seeds(
    objective: InitOffsetObjective,
) -> None:
    result = adnn.search(objective, "greedy", max_trial=3)
    assert read_runs(read_record(result.study)) is None
    new_runs, best = confirmed(result), result.best
    assert (new_runs.trial, new_runs.rank, new_runs.own.groups) == (best.number, 1, None)
    assert new_runs.own.scores.mean() == result.test_value
    fresh = objective.replace(seed=new_runs.seeds[4])
    runs = [*retrain(fresh.trainer, [[fresh.baseline_start], [fresh.start(best.params)]])]
    for arm, run in zip((BASELINE_ARM, BEST_ARM), runs, strict=True):
        assert new_runs.values[arm][4] == run.score
    assert (new_runs.baseline_scores[4] == runs[0].scores).all()
    assert new_runs.values.keys() == {BASELINE_ARM, BEST_ARM}
    assert len({tuple(scores) for scores in new_runs.baseline_scores}) == 6


def test_seeds_follow_from_experiment_and_best_trial_and_not_from_names(
    objective: InitOffsetObjective,
) -> None:
    config, params = objective.config, {"weight_offset_0": 0.1}
    seeds = confirmation_seeds(experiment_fingerprint(config), params, 10)
    assert seeds == confirmation_seeds(experiment_fingerprint(config), params, 20)[:10]
    named = {**config, "dataset": {**config["dataset"], "name": "other", "path": "/elsewhere"}}
    assert seeds == confirmation_seeds(experiment_fingerprint(named), params, 10)
    other_config = {**config, "dataset": {**config["dataset"], "fingerprint": "0" * 64}}
    sets = [
        seeds,
        confirmation_seeds(experiment_fingerprint(config), {"weight_offset_0": 0.2}, 10),
        confirmation_seeds(experiment_fingerprint(other_config), params, 10),
        confirmation_seeds(experiment_fingerprint(make_objective(seed=4).config), params, 10),
    ]
    assert len({seed for of_set in sets for seed in of_set}) == 40
    assert min(map(min, sets)) > 10_000


def test_a_best_trial_is_confirmed_once_and_a_later_one_has_rank_2(
    objective: InitOffsetObjective,
) -> None:
    first = adnn.search(objective, "greedy", max_trial=3)
    runs = confirmed(first)
    again = confirmed(first, 8)
    assert again.seeds == runs.seeds
    assert len(trained(first)) == 12
    # The added trial is better than all earlier trials.
    study = first.study
    study.add_trial(
        optuna.create_trial(
            value=1.0,
            params={"weight_offset_0": 0.05, "bias_offset_0": 0.05},
            distributions=dict(objective.distributions),
        )
    )
    later = adnn.resume(study._storage, study.study_name, objective=objective, max_trial=4)
    assert isinstance(later, adnn.SearchResult)
    assert read_runs(later.record) is None
    second = confirmed(later)
    assert (second.trial, second.rank) == (3, 2)
    assert not {*second.seeds} & {*runs.seeds}


def test_a_declaration_of_other_arms_is_refused(objective: InitOffsetObjective) -> None:
    result = adnn.search(objective, "greedy", max_trial=3)
    declared = {"began": "now", "trial": result.best.number, "seeds": [1], "arms": [0, 2]}
    result.study.set_user_attr("adnn:confirmed/now", declared)
    with pytest.raises(ValueError, match=r"'adnn:confirmed' of study .* must be of trial"):
        confirm_best_trial(read_record(result.study), objective, 6)


@pytest.mark.parametrize("wrong", [-1, 2**40, 0.5])
def test_wrong_numbers_of_groups_are_refused(wrong: float) -> None:
    study = store_study("s")
    groups = np.zeros(1000, dtype=type(wrong))
    groups[0] = wrong
    for name, text in as_attributes("adnn:groups", groups).items():
        study.set_user_attr(name, text)
    with pytest.raises(ValueError, match="'adnn:groups' of study 's' must be numbers of groups"):
        own_scores(read_record(study))


def test_a_best_trial_without_offsets_has_no_arm(objective: InitOffsetObjective) -> None:
    result = adnn.search(objective, "random_restart", max_trial=3)
    assert confirmed(result).values.keys() == {BASELINE_ARM}
    unmoved = adnn.search(objective, "greedy", max_trial=1)
    assert confirmed(unmoved).values.keys() == {BASELINE_ARM}


def test_hyperparameters_of_the_first_trial_are_an_arm() -> None:
    def training(trial: Any) -> adnn.Training:
        rate = trial.suggest_float("rate", 0.001, 0.2, log=True)
        return quick_training(optimizer="sgd", learning_rate=rate, epochs=1)

    objective = make_objective(training=training)
    result = adnn.search(objective, optuna.samplers.RandomSampler(seed=1), max_trial=5)
    runs, best = confirmed(result), result.best
    first = result.study.trials[0]
    assert best.params["rate"] != first.params["rate"]
    assert runs.values.keys() == {BASELINE_ARM, BEST_ARM, FIRST_ARM}
    for arm, trial in ((BASELINE_ARM, best), (FIRST_ARM, first)):
        fresh = objective.of(trial.params).replace(seed=runs.seeds[0])
        [run] = retrain(fresh.trainer, [[fresh.baseline_start]])
        assert runs.values[arm][0] == run.score


def test_squared_errors_of_a_regression_are_stored() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    data = adnn.Dataset.from_arrays(x, x @ [1, 2, 3, 4] + rng.normal(size=300), task="regression")
    training = quick_training(learning_rate=0.01, epochs=1)
    objective = adnn.InitOffsetObjective(adnn.MLP((8,)), data, training=training)
    result = adnn.search(objective, "greedy", max_trial=2)
    runs = confirmed(result)
    assert runs.own.scores.mean(dtype=float) == pytest.approx(result.test_value, rel=1e-6)
    assert runs.baseline_scores.shape == (6, 60)


def test_without_randomness_there_are_no_new_seeds() -> None:
    weights = adnn.MLP(hidden=(4,), kernel_initializer="zeros")
    training = quick_training(epochs=1, shuffle=False)
    objective = adnn.InitOffsetObjective(weights, adnn.load_dataset("digits"), training=training)
    result = adnn.search(objective, "greedy", max_trial=1)
    with pytest.raises(ValueError, match=r"no new seed can confirm .*\. Pass confirm=0"):
        confirm_best_trial(result.record, objective, 6)


def test_an_interrupted_confirmation_resumes(objective: InitOffsetObjective) -> None:
    result = adnn.search(objective, "greedy", max_trial=3)
    stop = threading.Event()
    stop.set()
    with pytest.raises(KeyboardInterrupt):
        confirm_best_trial(result.record, objective, 7, stop=stop)
    assert read_runs(read_record(result.study)) is None
    # The confirmation keeps its planned number of seeds.
    assert len(confirmed(result, 6).seeds) == 7


def test_repeated_test_samples_are_stored_as_one_group() -> None:
    digits = adnn.load_dataset("digits")
    x, y = digits.x_train[:300], digits.y_train[:300]
    tested = {"x_test": np.repeat(x[250:], 3, 0), "y_test": np.repeat(y[250:], 3)}
    data = adnn.Dataset.from_arrays(x[:250], y[:250], **tested)
    objective = adnn.InitOffsetObjective(adnn.MLP((8,)), data, training=quick_training(epochs=1))
    result = adnn.search(objective, max_trial=2)
    runs = confirmed(result)
    assert runs.own.groups is not None
    assert len(runs.own.groups) == 150
    assert len(np.unique(runs.own.groups)) == 50


def test_evaluations_of_another_study_of_the_same_name_are_not_reused(
    objective: InitOffsetObjective,
) -> None:
    storage = optuna.storages.InMemoryStorage()
    options: Any = {"storage": storage, "study_name": "s", "max_trial": 2}
    first = confirmed(adnn.search(objective, "greedy", **options))
    optuna.delete_study(study_name="s", storage=storage)
    data = adnn.load_dataset("digits", test_size=100)
    training = quick_training(epochs=1)
    other_objective = adnn.InitOffsetObjective(adnn.MLP((8,)), data, training=training)
    second = confirmed(adnn.search(other_objective, "greedy", **options))
    assert not {*first.seeds} & {*second.seeds}
    assert second.baseline_scores.shape == (6, 100)
    # A new search for the first experiment reuses its training runs.
    optuna.delete_study(study_name="s", storage=storage)
    again = adnn.search(objective, "greedy", **options)
    n_before = len(trained(again))
    assert confirmed(again).seeds == first.seeds
    assert len(trained(again)) == n_before


def test_the_best_trial_of_a_run_is_replicated_once_on_one_new_seed(
    objective: InitOffsetObjective, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    result = adnn.search(objective, "greedy", max_trial=3, confirm=0)
    assert np.isnan(result.record.gain_on_new_seed)
    replicate_best_trial(result.record, objective, stop)
    stored, best = read_record(result.study), result.best
    [seed] = confirmation_seeds(experiment_fingerprint(objective.config), best.params, 1)
    fresh = objective.replace(seed=seed)
    runs = [*retrain(fresh.trainer, [[fresh.baseline_start], [fresh.start(best.params)]])]
    assert stored.gain_on_new_seed == pytest.approx(runs[1].score - runs[0].score)
    assert np.isnan(result.record.gain_on_new_seed)  # The record was read before the replication.
    # A second call trains nothing.
    monkeypatch.setattr("adnn_optuna.networks.retraining.retrain", None)
    replicate_best_trial(stored, objective, stop)


def test_restarts_and_longer_trainings_are_not_replicated_and_learning_rates_are() -> None:
    settings: Any = {"max_trial": 2, "seeds": [3], "controls": ("longer", "learning_rate")}
    with pytest.warns(UserWarning, match="can decide nothing"):
        results = adnn.compare(make_objective(), ["greedy"], **settings).results
    are_repeated = {
        label: not np.isnan(runs[0].record.gain_on_new_seed) for label, runs in results.items()
    }
    expected = {"greedy": True, "learning_rate": True}
    assert are_repeated == {**expected, "random_restart": False, "longer": False}
