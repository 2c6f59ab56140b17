"""Searches: what they store, when they stop, and that a resumed search equals an unstopped one."""

from __future__ import annotations

import io
import itertools
import logging
import math
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
import search_worker
from completed_trials import completed, n_completed
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from search_worker import make_objective, quick_training

import adnn_optuna as adnn

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from adnn_optuna import InitOffsetObjective


def test_logs_one_short_line_a_trial(
    objective: InitOffsetObjective, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "optuna")
    logger = logging.getLogger("optuna")
    logger.addHandler(caplog.handler)
    try:
        result = adnn.search(objective, "annealing", max_trial=3)
    finally:
        logger.removeHandler(caplog.handler)
    lines = [message for message in caplog.messages if message.startswith("Trial ")]
    best = result.study.best_trial
    assert lines[0] == f"Trial 0: {result.baseline:.2%} (best: trial 0, {result.baseline:.2%})"
    assert lines[2].endswith(f" (best: trial {best.number}, {best.value:.2%})")
    assert len(lines) == 3
    assert not [message for message in caplog.messages if "new study" in message]


def test_samplers_of_any_kind_begin_at_the_baseline(objective: InitOffsetObjective) -> None:
    for sampler in (
        optuna.samplers.TPESampler(seed=0),
        lambda seed, n_trials: optuna.samplers.RandomSampler(seed=seed + n_trials),
        adnn.AdaptiveSimulatedAnnealingSampler(seed=0),
    ):
        result = adnn.search(objective, sampler, max_trial=3)
        assert [t.state for t in result.study.trials] == [TrialState.COMPLETE] * 3
        assert set(result.study.trials[0].params.values()) == {0.0}
        assert result.gain >= 0


def test_greedy_walks_along_one_ray(objective: InitOffsetObjective) -> None:
    result = adnn.search(objective, "greedy", max_trial=12)
    for name in ("weight_offset_0", "bias_offset_0"):
        steps = [t.params[name] for t in result.study.trials]
        assert steps == pytest.approx([0.0025 * t for t in range(12)])


def test_greedy_ends_when_all_steps_are_done() -> None:
    space = adnn.OffsetSpace(low=0, high=0.01)
    result = adnn.search(make_objective(space=space), "greedy")
    assert result.stop_reason == "exhausted"
    offsets = [t.params["weight_offset_0"] for t in result.study.trials]
    assert offsets == pytest.approx([0, 0.0025, 0.005, 0.0075, 0.01, 0.003, 0.006, 0.009])


GRID = {"weight_offset_0": [0.0, 0.1], "bias_offset_0": [0.0, 0.1]}


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_grid_search_ends_when_the_whole_grid_is_done(
    batch_size: int, objective: InitOffsetObjective, storage: BaseStorage
) -> None:
    for _ in range(2):  # In the second call, no trial is left to run.
        result = adnn.search(
            objective,
            optuna.samplers.GridSampler(GRID),
            storage=storage,
            study_name="s",
            max_trial=20,
            batch_size=batch_size,
        )
        assert result.stop_reason == "exhausted"
        # The other trials are the baseline and repeated trials that fill a batch.
        assert len(result.study.trials) == (5 if batch_size == 1 else 8)
    points = {tuple(t.params.values()) for t in result.study.trials}
    assert points == {(0, 0), (0, 0.1), (0.1, 0), (0.1, 0.1)}


def test_a_grid_with_more_points_continues(
    objective: InitOffsetObjective, storage: BaseStorage
) -> None:
    def grid(*values: float) -> optuna.samplers.GridSampler:
        points = {"weight_offset_0": values, "bias_offset_0": (0.0,)}
        return optuna.samplers.GridSampler(points)

    # No limit is needed, because a grid ends by itself.
    for n_trials, sampler in ((3, grid(0.1, 0.2)), (3, grid(0.1, 0.2)), (4, grid(0.1, 0.2, -0.1))):
        result = adnn.search(objective, sampler, storage=storage, study_name="grid")
        assert result.stop_reason == "exhausted"
        assert len(completed(result.study)) >= n_trials
    offsets = {trial.params["weight_offset_0"] for trial in result.study.trials}
    assert offsets == {0, 0.1, 0.2, -0.1}


def test_any_sampler_may_stop_the_study(objective: InitOffsetObjective) -> None:
    class Satisfied(optuna.samplers.RandomSampler):
        def after_trial(self, study: optuna.Study, trial: FrozenTrial, *_: Any) -> None:
            if trial.number == 2:
                study.stop()

    result = adnn.search(objective, Satisfied(seed=0), max_trial=5)
    assert result.stop_reason == "exhausted"
    assert len(result.study.trials) == 3


def test_random_restarts_draw_new_weights_without_offsets(objective: InitOffsetObjective) -> None:
    result = adnn.search(objective, "random_restart", max_trial=8)
    assert [t.params for t in result.study.trials] == [{"restart": i} for i in range(8)]
    weights = [
        result._objective.trainer.initial_weights(result._objective.start(t.params))[0]
        for t in result.study.trials
    ]
    assert len({w.tobytes() for w in weights}) == 8
    baseline = objective.trainer.initial_weights(objective.baseline_start)[0]
    np.testing.assert_array_equal(weights[0], baseline)


def test_a_search_equals_plain_optuna(objective: InitOffsetObjective) -> None:
    study = optuna.create_study(
        direction="maximize",
        sampler=adnn.AdaptiveSimulatedAnnealingSampler(
            seed=3, n_trials=10, x0={"weight_offset_0": 0.0, "bias_offset_0": 0.0}
        ),
    )
    study.optimize(objective, callbacks=[adnn.MaxTrialCallback(10)])
    result = adnn.search(objective, "annealing", max_trial=10)
    assert completed(result.study) == completed(study)
    assert result.study.user_attrs["adnn:baseline"] == study.user_attrs["adnn:baseline"]


@pytest.mark.parametrize("sampler", ["greedy", "random_restart"])
def test_batches_do_not_change_a_trial(sampler: str, objective: InitOffsetObjective) -> None:
    alone = adnn.search(objective, sampler, max_trial=9, batch_size=1)
    batched = adnn.search(objective, sampler, max_trial=9, batch_size=4)
    assert completed(batched.study) == completed(alone.study)


def test_any_pruner_that_is_passed_prunes(objective: InitOffsetObjective) -> None:
    # This is Optuna's default. A study has a pruner even if the user passes none.
    pruner = optuna.pruners.MedianPruner()
    pruned = adnn.search(objective, "random_restart", max_trial=12, pruner=pruner)
    assert TrialState.PRUNED in {trial.state for trial in pruned.study.trials}
    whole = adnn.search(objective, "random_restart", max_trial=12)
    assert {trial.state for trial in whole.study.trials} == {TrialState.COMPLETE}


@pytest.mark.parametrize(("sampler", "expected"), [("greedy", 8), ("annealing", 1)])
def test_only_samplers_that_learn_nothing_are_batched_by_default(
    sampler: str, expected: int, objective: InitOffsetObjective
) -> None:
    result = adnn.search(objective, sampler, max_trial=2, batch_size="auto")
    assert result.study.user_attrs["adnn:search"]["batch_size"] == expected


def test_a_search_with_nothing_to_do_says_so(
    objective: InitOffsetObjective, storage: BaseStorage, logs: pytest.LogCaptureFixture
) -> None:
    adnn.search(objective, "greedy", storage=storage, study_name="mine", max_trial=2)
    optuna.logging.set_verbosity(optuna.logging.INFO)
    with logs.at_level(logging.INFO):
        adnn.resume(storage, "mine", max_time=1000)
    assert "Nothing was left to do in study 'mine': it had ended by max_trial" in logs.text
    # An earlier run without a stop reason, as if it was killed.
    study = optuna.load_study(study_name="mine", storage=storage)
    study.set_user_attr("adnn:stop_reason", None)
    with logs.at_level(logging.INFO):
        adnn.resume(storage, "mine", max_trial=1)
    assert "it had ended by these limits already" in logs.text


def test_a_max_gain_that_no_accuracy_can_reach_is_refused(
    objective: InitOffsetObjective, storage: BaseStorage
) -> None:
    for verb in (adnn.search, adnn.compare):
        with pytest.raises(
            ValueError, match=r"max_gain must be below 1, .* For 2 percentage points, pass 0.02"
        ):
            verb(objective, max_trial=3, max_gain=2, storage=storage)
    assert not optuna.get_all_study_names(storage)
    assert adnn.search(make_objective(metric="val_loss"), max_trial=1, max_gain=2).best is not None


@pytest.mark.parametrize("batch_size", [pytest.param(1, marks=pytest.mark.slow), 8])
def test_max_gain_ends_at_the_first_trial_that_reaches_it(
    batch_size: int, objective: InitOffsetObjective, storage: BaseStorage
) -> None:
    everything = adnn.search(objective, "random_restart", max_trial=16)
    values = [t.value for t in everything.study.trials]
    max_gain = sorted(values)[-2] - everything.baseline
    assert max_gain > 0
    first = next(i for i, v in enumerate(values) if v - everything.baseline >= max_gain)

    result = adnn.search(
        objective,
        "random_restart",
        storage=storage,
        study_name="s",
        max_gain=max_gain,
        max_trial=16,
        batch_size=batch_size,
    )
    assert result.stop_reason == "max_gain"
    assert [value for _, value in completed(result.study)] == values[: first + 1]
    # Later trials of the same batch do not count, so they are repeated.
    result = adnn.resume(storage, "s", max_gain=0.99)
    assert [value for _, value in completed(result.study)] == values


def test_max_time_counts_all_runs(objective: InitOffsetObjective, storage: BaseStorage) -> None:
    first = adnn.search(objective, "annealing", storage=storage, study_name="s", max_trial=3)
    elapsed = adnn.MaxTimeCallback(1).used(first.study)
    # The time of the first run counts for the second run.
    assert len(adnn.resume(storage, "s", max_trial=10**6, max_time=elapsed / 2).study.trials) == 3
    second = adnn.resume(storage, "s", max_trial=10**6, max_time=elapsed + 0.5)
    assert second.stop_reason == "max_time"
    assert adnn.MaxTimeCallback(1).used(second.study) >= elapsed + 0.5
    n_trials = len(second.study.trials)
    assert n_trials > 3
    # A study at its limit runs no trial. With more time, it continues.
    assert len(adnn.resume(storage, "s", max_time=elapsed + 0.5).study.trials) == n_trials
    seconds = adnn.MaxTimeCallback(1).used(second.study)
    assert len(adnn.resume(storage, "s", max_time=seconds + 0.5).study.trials) > n_trials


def test_a_running_training_is_cut_off_at_the_time_limit() -> None:
    objective = make_objective(training=quick_training(epochs=10**6))
    began = time.monotonic()
    result = adnn.search(objective, "annealing", max_time=1)
    assert time.monotonic() - began < 60  # The whole training run would take hours.
    assert [t.state for t in result.study.trials] == [TrialState.PRUNED]
    assert result.stop_reason == "max_time"
    assert result.best is None
    assert math.isnan(result.baseline)


def test_test_data_are_used_once_and_do_not_affect_the_search(storage: BaseStorage) -> None:
    dataset = adnn.load_dataset("digits")
    result = adnn.search(
        make_objective(), "random_restart", storage=storage, study_name="s", max_trial=8
    )
    weights = result._objective.trainer.train(
        [result._objective.baseline_start, result._objective.start(result.best.params)],
        keep_weights=True,
    )
    for run, accuracy in zip(weights, (result.test_baseline, result.test_value), strict=True):
        h = np.maximum(dataset.x_test.reshape(-1, 64) @ run.weights[0] + run.weights[1], 0)
        prediction = (h @ run.weights[2] + run.weights[3]).argmax(axis=1)
        assert accuracy == pytest.approx((prediction == dataset.y_test).mean(), abs=1e-12)
    assert result.test_gain == result.test_value - result.test_baseline

    # The same search on other test data has the same trials.
    other_dataset = adnn.Dataset(
        **{
            **{name: getattr(dataset, name) for name in ("x_train", "y_train", "x_val", "y_val")},
            "name": "digits",
            "x_test": dataset.x_test[::-1],
            "y_test": (dataset.y_test + 1) % 10,
            "num_classes": 10,
        }
    )
    again = adnn.search(
        adnn.InitOffsetObjective(
            adnn.MLP(hidden=(16,)),
            other_dataset,
            training=quick_training(optimizer="sgd", learning_rate=0.05, epochs=2),
            seed=3,
        ),
        "random_restart",
        max_trial=8,
    )
    assert completed(again.study) == completed(result.study)
    assert again.test_value != result.test_value


class TestLooksAtTheTestSet:
    def test_each_evaluation_is_stored_with_its_results(
        self, objective: InitOffsetObjective, storage: BaseStorage
    ) -> None:
        result = adnn.search(objective, "annealing", storage=storage, study_name="s", max_trial=2)
        for _ in range(2):  # The second resumption adds nothing.
            result = adnn.resume(storage, "s", max_trial=5)
        first, second = result.record.test_evaluations
        assert (first["n_trials"], second["n_trials"]) == (2, 5)
        assert first["evaluated_at"] < second["evaluated_at"]
        assert second["trial"] == result.best.number
        data = objective.dataset
        right = np.asarray(result.model()(data.x_test)).argmax(axis=1) == data.y_test
        assert second["best"] == result.test_value == right.mean()
        assert second["n_images"] == len(right)
        gained = second["won"] - second["lost"]
        assert gained == pytest.approx(result.test_gain * len(right), abs=1e-9)

    def test_the_same_best_trial_after_more_trials_is_evaluated_without_training(
        self, storage: BaseStorage
    ) -> None:
        # The offsets are too small to change any accuracy, and the first of equal trials is the
        # best.
        objective = make_objective(space=adnn.OffsetSpace(low=0, high=1e-12))
        adnn.search(objective, "annealing", storage=storage, study_name="s", max_trial=1)
        result = adnn.search(objective, "annealing", storage=storage, study_name="s", max_trial=2)
        first, second = result.record.test_evaluations
        assert first["trial"] == second["trial"] == 0
        assert {**first, "evaluated_at": "", "n_trials": 2} == {**second, "evaluated_at": ""}

    def test_nothing_is_evaluated_until_the_result_is_asked_for_it(
        self, objective: InitOffsetObjective, storage: BaseStorage
    ) -> None:
        options: Any = {"storage": storage, "study_name": "s", "test": False}
        adnn.search(objective, "annealing", max_trial=2, **options)
        closed = adnn.resume(storage, "s", max_trial=4, test=False)
        assert closed.record.test_evaluations == []
        assert math.isnan(closed.test_value)
        opened = closed.test()
        assert len(opened.record.test_evaluations) == 1
        assert len(closed.test().record.test_evaluations) == 1
        assert closed.record.test_evaluations == []
        undisturbed = searched_in_two_steps(objective, 2, 4)
        assert opened.test_value == undisturbed.test_value
        assert opened.document().estimates[:2] == undisturbed.document().estimates[:2]

    def test_a_contract_states_the_test_accuracy_and_counts_as_evaluation(
        self, objective: InitOffsetObjective
    ) -> None:
        result = adnn.search(objective, "annealing", max_trial=2, test=False)
        contract = result.contract()
        tested = result.test()
        assert len(tested.record.test_evaluations) == 1
        assert contract.content["best"]["test_accuracy"] == tested.test_value

    def test_nothing_is_evaluated_without_a_completed_trial(self) -> None:
        objective = make_objective(training=quick_training(epochs=10**6))
        result = adnn.search(objective, "annealing", max_time=0.5)
        assert result.record.test_evaluations == []
        with pytest.raises(ValueError, match="no best trial"):
            result.test()


def searched_in_two_steps(
    objective: InitOffsetObjective, n_first: int, n_trials: int
) -> adnn.SearchResult:
    """Search twice in one study. The temperature of annealing depends on max_trial."""
    first = adnn.search(objective, "annealing", max_trial=n_first)
    return adnn.search(
        objective,
        "annealing",
        storage=first.study._storage,
        study_name=first.study.study_name,
        max_trial=n_trials,
    )


def test_resume_needs_only_storage_and_name(url: str) -> None:
    objective = make_objective(
        metric="train_loss",
        space=adnn.OffsetSpace(low=-0.1, high=0.3, scope="shared", unit="stddev"),
    )
    adnn.search(objective, "annealing", storage=url, study_name="s", max_trial=4)
    resumed = adnn.resume(url, "s", max_trial=12)
    undisturbed = searched_in_two_steps(objective, 4, 12)
    assert completed(resumed.study) == completed(undisturbed.study)
    assert resumed._objective.config == objective.config


def test_resume_without_a_limit_is_refused(
    objective: InitOffsetObjective, storage: BaseStorage
) -> None:
    study = optuna.create_study(direction="maximize", storage=storage, study_name="plain")
    study.optimize(objective, n_trials=1)
    with pytest.raises(ValueError, match="never ends"):
        adnn.resume(storage, "plain", sampler="annealing")


def test_a_factory_is_not_taken_for_the_named_sampler(
    objective: InitOffsetObjective, storage: BaseStorage
) -> None:
    def annealing(seed: int, n_trials: int | None) -> optuna.samplers.BaseSampler:
        return optuna.samplers.RandomSampler(seed=seed)

    adnn.search(objective, annealing, storage=storage, study_name="mine", max_trial=2)
    with pytest.raises(
        ValueError, match=r"must store its sampler by a name; got .*annealing\(\)\. Pass sampler"
    ):
        adnn.resume(storage, "mine", max_trial=4)
    with pytest.raises(ValueError, match="not by annealing; use another study name"):
        adnn.search(objective, "annealing", storage=storage, study_name="mine", max_trial=4)
    resumed = adnn.resume(storage, "mine", max_trial=4, sampler=annealing)
    assert "RandomSampler" in str(resumed.study.sampler)
    assert len(completed(resumed.study)) == 4


def test_a_running_study_has_no_stop_reason(
    objective: InitOffsetObjective, storage: BaseStorage
) -> None:
    adnn.search(objective, "annealing", storage=storage, study_name="mine", max_trial=2)
    seen = []

    class Watch(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
            seen.append(study.user_attrs["adnn:stop_reason"])
            return False

    resumed = adnn.resume(storage, "mine", max_trial=4, pruner=Watch())
    assert set(seen) == {None}
    assert resumed.stop_reason == "max_trial"


def test_resume_of_a_keras_model(storage: BaseStorage) -> None:
    def build() -> Any:
        import keras

        return keras.Sequential(
            [
                keras.Input((8, 8)),
                keras.layers.Reshape((8, 8, 1)),
                keras.layers.Conv2D(4, 3, activation="relu"),
                keras.layers.Flatten(),
                keras.layers.Dropout(0.2),
                keras.layers.Dense(10),
            ]
        )

    objective = adnn.InitOffsetObjective(
        build, adnn.load_dataset("digits"), training=quick_training(epochs=1, batch_size=100)
    )
    first = adnn.search(objective, "greedy", storage=storage, study_name="s", max_trial=3)
    assert set(first.study.trials[0].params) == {"weight_offset_0", "bias_offset_0"}
    resumed = adnn.resume(storage, "s", max_trial=5)
    whole = adnn.search(objective, "greedy", max_trial=5)
    assert completed(resumed.study) == completed(whole.study)


def other_order() -> Any:
    """Create layers in another order than the order of their calls."""
    import keras

    inputs = keras.Input((8, 8))
    last, first = keras.layers.Dense(10), keras.layers.Dense(8)
    return keras.Model(inputs, last(first(keras.layers.Flatten()(inputs))))


def sequential(*layers: Any) -> Any:
    import keras

    return keras.Sequential([keras.Input((8, 8)), *layers, keras.layers.Dense(10)])


def one_initializer() -> Any:
    import keras

    same = keras.initializers.GlorotUniform()
    dense = [keras.layers.Dense(8, kernel_initializer=same) for _ in range(2)]
    return sequential(keras.layers.Flatten(), *dense)


def pretrained() -> Any:
    import keras

    model = sequential(keras.layers.Flatten(), keras.layers.Dense(8))
    draws = np.random.default_rng(0)
    model.set_weights([draws.random(values.shape) / 10 for values in model.get_weights()])
    return model


def bidirectional() -> Any:
    import keras

    return sequential(keras.layers.Bidirectional(keras.layers.LSTM(3)))


@pytest.mark.parametrize(
    "build",
    [
        pretrained,
        *(
            pytest.param(build, marks=pytest.mark.slow)
            for build in (other_order, one_initializer, bidirectional)
        ),
    ],
)
def test_resume_is_refused_if_initial_weights_cannot_be_rebuilt(
    build: Any, storage: BaseStorage
) -> None:
    objective = adnn.InitOffsetObjective(
        build, adnn.load_dataset("digits"), training=quick_training(epochs=1, batch_size=400)
    )
    adnn.search(objective, "greedy", storage=storage, study_name="s", max_trial=2)
    with pytest.raises(ValueError, match=r"'s' cannot be rebuilt.*Pass the objective in Python\."):
        adnn.resume(storage, "s", max_trial=3)
    assert len(optuna.load_study(storage=storage, study_name="s").trials) == 2
    resumed = adnn.resume(storage, "s", objective=objective, max_trial=3)
    assert completed(resumed.study) == completed(
        adnn.search(objective, "greedy", max_trial=3).study
    )


def test_resuming_with_other_settings_is_refused(
    objective: InitOffsetObjective, storage: BaseStorage
) -> None:
    before = adnn.search(objective, "greedy", storage=storage, study_name="s", max_trial=2)
    changed: list[tuple[dict[str, Any], str]] = [
        ({"seed": 4}, "seed is 4, was 3"),
        ({"training": quick_training(epochs=3)}, "training.epochs is 3, was 2"),
        ({"metric": "train_accuracy"}, "metric is 'train_accuracy', was 'val_accuracy'"),
        ({"space": adnn.OffsetSpace(high=0.3)}, "space.high is 0.3, was 0.2"),
    ]
    for changes, what in changed:
        other_objective = make_objective(**changes)
        with pytest.raises(ValueError, match=what):
            adnn.search(other_objective, "greedy", storage=storage, study_name="s", max_trial=9)
        with pytest.raises(ValueError, match=what):
            adnn.resume(storage, "s", objective=other_objective, max_trial=9)
    with pytest.raises(ValueError, match="was searched by greedy, not by annealing"):
        adnn.search(objective, "annealing", storage=storage, study_name="s", max_trial=9)
    with pytest.raises(ValueError, match="was searched by greedy, not by annealing"):
        adnn.resume(storage, "s", sampler="annealing", max_trial=9)
    with pytest.raises(ValueError, match="was searched by greedy, not by RandomSampler"):
        adnn.resume(storage, "s", sampler=optuna.samplers.RandomSampler(), max_trial=9)
    study = optuna.load_study(storage=storage, study_name="s")
    assert study.user_attrs == before.study.user_attrs
    assert len(study.trials) == 2


def test_wrong_arguments_are_refused_before_anything_is_stored(
    objective: InitOffsetObjective, tmp_path: Path
) -> None:
    path = tmp_path / "study.db"
    wrong: list[tuple[dict[str, Any], str]] = [
        (
            {"sampler": "anneling", "max_trial": 3},
            r"sampler must be one of greedy, .*; got 'anneling'. Did you mean 'annealing'\?$",
        ),
        ({"sampler": 3, "max_trial": 3}, r"sampler must be a name.*TPESampler\(\)"),
        ({}, "never end"),
        ({"max_trial": 0}, "max_trial"),
        ({"max_gain": math.inf}, "max_gain"),
        ({"max_trial": 3, "batch_size": 0}, "batch_size"),
        ({"max_trial": 3, "batch_size": 10**6}, "batch_size must be below 1,000,000; got 1000000"),
        ({"max_trial": 3, "storage": 5}, "storage must be a URL or path of a database"),
        ({"max_trial": 3, "pruner": "median"}, "pruner must be an Optuna pruner"),
        ({"max_trial": 3, "sampler": lambda: None}, r"must take \(seed, n_trials\)"),
    ]
    for arguments, message in wrong:
        with pytest.raises((ValueError, TypeError), match=message):
            adnn.search(objective, **{"storage": f"sqlite:///{path}", **arguments})
        assert not path.exists()
    with pytest.raises(TypeError, match="objective must be an InitOffsetObjective"):
        adnn.search(adnn.MLP(), max_trial=3, storage=f"sqlite:///{path}")  # type: ignore[arg-type]
    assert not path.exists()


def test_wrong_arguments_of_resume_are_refused(
    objective: InitOffsetObjective, storage: BaseStorage
) -> None:
    before = adnn.search(objective, "greedy", storage=storage, study_name="s", max_trial=1).study
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"objective": adnn.MLP()}, "objective must be an InitOffsetObjective"),
        ({"sampler": lambda seed: seed}, r"must take \(seed, n_trials\)"),
        ({"pruner": "median"}, "pruner must be an Optuna pruner"),
        ({"storage": 5}, "storage must be a URL or path of a database"),
    ]
    for arguments, message in wrong:
        with pytest.raises(TypeError, match=message):
            adnn.resume(**{"storage": storage, "study_name": "s", "max_trial": 9, **arguments})
    assert optuna.load_study(storage=storage, study_name="s").user_attrs == before.user_attrs


def test_numpy_numbers_are_accepted_like_pythons(
    objective: InitOffsetObjective, storage: BaseStorage
) -> None:
    numbers: dict[str, Any] = {
        "max_time": np.float32(1e6),
        "max_trial": np.int64(2),
        "max_gain": np.float64(0.5),
    }
    batch_size: Any = np.int64(2)
    first = adnn.search(
        objective, "greedy", storage=storage, study_name="s", batch_size=batch_size, **numbers
    )
    assert first.study.user_attrs["adnn:search"] == {
        "sampler": "greedy",
        "n_trials": 2,
        "batch_size": 2,
    }
    [run] = first.record.runs
    assert run["limits"] == {"max_time": 1e6, "max_trial": 2, "max_gain": 0.5, "max_stale": None}
    more = adnn.resume(storage, "s", **{**numbers, "max_trial": np.int32(3)})
    assert len(more.study.trials) == 3


@pytest.mark.parametrize("metric", ["val_loss", "val_accuracy"])
@pytest.mark.slow
def test_a_baseline_that_diverges_is_replayed_and_reported(
    metric: Any, url: str, tmp_path: Path, logs: pytest.LogCaptureFixture
) -> None:
    huge = {"class_name": "Constant", "config": {"value": 1e20}}
    objective = adnn.InitOffsetObjective(
        adnn.MLP(hidden=(8, 8), kernel_initializer=huge),
        adnn.load_dataset("digits"),
        training=quick_training(epochs=1, batch_size=256),
        metric=metric,
        space=adnn.OffsetSpace(low=-1e23, high=0),
    )
    result = adnn.search(objective, "annealing", storage=url, max_trial=3)
    assert math.isnan(result.baseline)
    assert math.isnan(result.test_baseline)
    assert math.isnan(result.gain)
    assert result.best is not None
    # Neither the replay nor the dashboard warns.
    assert not [r.message for r in logs.records if r.levelname == "WARNING"]
    result.report(tmp_path / "report.html")


def test_any_optuna_tool_reads_the_study(
    objective: InitOffsetObjective, storage: BaseStorage
) -> None:
    adnn.search(objective, "annealing", storage=storage, study_name="s", max_trial=6)
    study = optuna.load_study(storage=storage, study_name="s")
    assert len(study.trials_dataframe()) == 6
    assert study.trials[0].distributions["weight_offset_0"] == FloatDistribution(-0.2, 0.2)
    for plot in (
        optuna.visualization.plot_optimization_history,
        optuna.visualization.plot_parallel_coordinate,
        optuna.visualization.plot_slice,
        optuna.visualization.plot_contour,
        optuna.visualization.plot_param_importances,
        optuna.visualization.plot_edf,
        optuna.visualization.plot_rank,
        optuna.visualization.plot_timeline,
    ):
        assert plot(study).data


def interrupt_at(
    call: int, objective: InitOffsetObjective, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raise KeyboardInterrupt, as Ctrl-C does, instead of training."""
    train, calls = objective.trainer.train, itertools.count(1)

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == call:
            raise KeyboardInterrupt
        return train(*args, **kwargs)

    monkeypatch.setattr(objective.trainer, "train", interrupted)


def test_ctrl_c_loses_no_trial(
    objective: InitOffsetObjective, storage: BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The interrupt comes at the same step of each run. test_loop.py sends a real signal.
    interrupt_at(4, objective, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        adnn.search(objective, "annealing", storage=storage, study_name="s", max_trial=8)
    study = optuna.load_study(storage=storage, study_name="s")
    assert study.user_attrs["adnn:stop_reason"] == "interrupted"
    assert not study.get_trials(states=(TrialState.RUNNING,))
    monkeypatch.undo()
    assert adnn.resume(storage, "s", max_trial=1).stop_reason == "interrupted"
    resumed = adnn.resume(storage, "s")
    assert [run["stop_reason"] for run in resumed.record.runs] == ["interrupted", "max_trial"]
    assert [run["n_trials"] for run in resumed.record.runs] == [3, 8]
    whole = adnn.search(objective, "annealing", max_trial=8)
    assert completed(resumed.study) == completed(whole.study)


def killed_and_resumed(
    sampler: str, batch_size: int, max_trial: int, moments: tuple[int, ...], path: Path
) -> optuna.Study:
    """Return a study whose processes were killed soon after these numbers of trials existed."""
    url = f"sqlite:///{path}"
    arguments = [url, sampler, str(max_trial), str(batch_size)]
    delays = random.Random(f"{sampler} {batch_size}")
    for n_before in moments:
        process = subprocess.Popen([sys.executable, search_worker.__file__, *arguments])
        while n_completed(path) < n_before and process.poll() is None:
            time.sleep(0.001)
        time.sleep(delays.uniform(0, 0.1))
        process.kill()
        process.wait()
    return adnn.resume(url, "killed").study


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "batch_size"),
    [("greedy", 8), ("greedy_improving", 1), ("annealing", 1), ("annealing", 4)],
)
def test_a_search_that_was_killed_at_random_moments_equals_an_undisturbed_one(
    sampler: str, batch_size: int, objective: InitOffsetObjective, tmp_path: Path
) -> None:
    study = killed_and_resumed(sampler, batch_size, 40, (4, 12, 20, 28, 36), tmp_path / "study.db")
    whole = adnn.search(objective, sampler, max_trial=40, batch_size=batch_size)
    assert by_index(study) == by_index(whole.study)
    assert len(completed(study)) == 40


@pytest.mark.slow
def test_a_search_that_was_killed_once_equals_an_undisturbed_one(
    objective: InitOffsetObjective, tmp_path: Path
) -> None:
    study = killed_and_resumed("annealing", 2, 12, (5,), tmp_path / "study.db")
    whole = adnn.search(objective, "annealing", max_trial=12, batch_size=2)
    assert by_index(study) == by_index(whole.study)
    # A trial that was killed before it had parameters may remain, but it has no step of the walk.
    unfinished = study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))
    assert not any(t.params for t in unfinished)


def by_index(study: optuna.Study) -> dict[int, tuple[dict[str, Any], float | None]]:
    return {
        t.system_attrs["adnn:proposal"]["index"]: (t.params, t.value)
        for t in study.trials
        if t.state == TrialState.COMPLETE
    }


class TestRuns:
    """The stored list of a study's runs, whose entries never change."""

    def test_each_run_that_had_something_to_do_is_stored(
        self, objective: InitOffsetObjective, storage: BaseStorage
    ) -> None:
        adnn.search(objective, "annealing", storage=storage, study_name="s", max_trial=2)
        result = adnn.resume(storage, "s", max_trial=4, max_time=1000)
        first, second = result.record.runs
        assert first["limits"] == {
            "max_time": None,
            "max_trial": 2,
            "max_gain": None,
            "max_stale": None,
        }
        assert first["n_trials"] == 2
        assert second["limits"] == {
            "max_time": 1000,
            "max_trial": 4,
            "max_gain": None,
            "max_stale": None,
        }
        assert second["n_trials"] == 4
        assert [run["stop_reason"] for run in result.record.runs] == ["max_trial"] * 2
        settings = {"sampler": "annealing", "n_trials": 2, "batch_size": 1}
        assert result.study.user_attrs["adnn:search"] == settings

    def test_a_limit_that_is_exceeded_already_changes_nothing(
        self, objective: InitOffsetObjective, storage: BaseStorage
    ) -> None:
        before = adnn.search(objective, "annealing", storage=storage, study_name="s", max_trial=4)
        attrs = before.study.user_attrs
        result = adnn.resume(storage, "s", max_trial=2)
        assert result.study.user_attrs == attrs
        result = adnn.resume(storage, "s", max_time=1e-6)
        assert result.study.user_attrs == attrs
        assert len(adnn.resume(storage, "s").study.trials) == 4


def test_systems_that_do_not_report_usable_cores_can_train(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("os.sched_getaffinity")
    result = adnn.search(make_objective(), "greedy", max_trial=2)
    assert result.contract().content["environment"]["intra_op_threads"] > 0


def test_a_progress_bar_says_that_the_first_training_compiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    objective = make_objective(training=quick_training(epochs=1, batch_size=123))
    for is_first in (True, False):
        monkeypatch.setattr(sys, "stderr", terminal := Terminal())
        adnn.search(objective, "greedy", max_trial=2, show_progress_bar=True)
        assert ("compiling" in terminal.getvalue()) is is_first
