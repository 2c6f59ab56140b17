"""Model and training as functions of the trial, searched together with the offsets."""

from __future__ import annotations

import dataclasses
import re
import threading
from typing import Any

import keras
import optuna
import pytest
from contract_files import verify_here
from search_worker import quick_training

import adnn_optuna as adnn
from adnn_optuna.networks import _program, keras_files
from adnn_optuna.networks.training import Trainer

DIGITS = adnn.load_dataset("digits")
WIDTHS = (4, 6, 8)


def model(trial: Any) -> adnn.MLP:
    return adnn.MLP((trial.suggest_categorical("width", WIDTHS),))


def training(trial: Any) -> adnn.Training:
    rate = trial.suggest_float("rate", 1e-3, 1e-1, log=True)
    return quick_training("adam", rate, epochs=1, batch_size=64)


def objective(**settings: Any) -> adnn.InitOffsetObjective:
    return adnn.InitOffsetObjective(model, DIGITS, training=training, seed=2, **settings)


@pytest.fixture(scope="module")
def result() -> adnn.SearchResult:
    return adnn.search(objective(), optuna.samplers.TPESampler(seed=1), max_trial=8)


def test_each_trial_is_trained_with_its_own_parameters(result: adnn.SearchResult) -> None:
    names = {"width", "rate", "weight_offset_0", "bias_offset_0"}
    for trial in result.study.trials:
        assert set(trial.params) == names
        fixed = adnn.InitOffsetObjective(
            adnn.MLP((trial.params["width"],)),
            DIGITS,
            training=quick_training("adam", trial.params["rate"], epochs=1, batch_size=64),
            seed=2,
        )
        offsets = {name: trial.params[name] for name in fixed.distributions}
        assert trial.value == fixed(optuna.trial.FixedTrial(offsets))


@pytest.mark.slow
def test_one_program_serves_all_learning_rates_of_a_width() -> None:
    before = {*_program._programs}
    narrow = adnn.InitOffsetObjective(
        lambda trial: adnn.MLP((trial.suggest_int("width", 10, 12),)), DIGITS, training=training
    )
    result = adnn.search(narrow, "annealing", max_trial=9)
    widths = {trial.params["width"] for trial in result.study.trials}
    assert len({*_program._programs} - before) == len(widths) < 9


def unmoved_of(result: adnn.SearchResult, trial: optuna.trial.FrozenTrial) -> float:
    params = {**trial.params, "weight_offset_0": 0.0, "bias_offset_0": 0.0}
    return result._objective(optuna.trial.FixedTrial(params))


def test_the_baseline_has_the_hyperparameters_of_the_best_trial(result: adnn.SearchResult) -> None:
    unmoved, first = (unmoved_of(result, trial) for trial in (result.best, result.study.trials[0]))
    assert result.baseline == unmoved
    assert result.gain == result.best_value - unmoved
    assert result.record.hyperparameter_gain == unmoved - first != 0
    text = format(result, "details")
    assert re.search(rf"baseline, val_accuracy +{100 * unmoved:.2f}%", text)
    gain = re.escape(f"{100 * (unmoved - first):+.2f} pp")
    assert re.search(rf"hyperparameters +{gain}", text)
    contract = result.contract()
    assert contract.content["baseline"]["val_accuracy"] == unmoved
    assert contract.content["baseline"]["test_accuracy"] == result.test_baseline
    assert contract.content["objective"]["model"]["hidden"] == [result.best.params["width"]]
    assert contract.content["objective"]["training"]["learning_rate"] == result.best.params["rate"]


def test_the_gain_of_hyperparameters_does_not_count_for_max_gain() -> None:
    # Offsets too small to change anything.
    still = objective(space=adnn.OffsetSpace(-1e-12, 1e-12))
    result = adnn.search(still, optuna.samplers.TPESampler(seed=1), max_trial=6, max_gain=0.01)
    assert (result.gain, result.stop_reason) == (0, "max_trial")
    assert result.record.hyperparameter_gain > 0.1


@pytest.mark.parametrize("sampler", ["random_restart", "greedy"])
def test_max_gain_means_the_same_gain_in_result_and_callback(sampler: str) -> None:
    whole = adnn.search(objective(), sampler, max_trial=4)
    gain = whole.gain
    assert gain > 0
    assert adnn.MaxGainCallback(gain).reached(whole.study)
    assert not adnn.MaxGainCallback(1.01 * gain).reached(whole.study)
    ended = adnn.search(objective(), sampler, max_trial=4, max_gain=gain)
    assert (ended.gain, ended.stop_reason) == (gain, "max_gain")


@pytest.mark.slow
def test_a_control_of_the_learning_rate_has_the_baseline_of_its_best_trial() -> None:
    settings = quick_training("adam", 0.01, epochs=1, batch_size=400)
    compared = adnn.InitOffsetObjective(model, DIGITS, training=settings)
    comparison = adnn.compare(compared, ["annealing"], max_trial=10, seeds=range(1))
    [run] = comparison.results["learning_rate"]
    unmoved = {"width": run.best.params["width"], "learning_rate": 0.01}
    assert run.baseline == run._objective(optuna.trial.FixedTrial(unmoved))
    with pytest.raises(ValueError, match="function of the trial, so it has several networks"):
        adnn.compare(compared, ["annealing"], max_trial=2, seeds=range(1), controls=["longer"])


def test_a_baseline_that_was_cut_off_is_trained_when_its_trial_is_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop, study = threading.Event(), optuna.create_study(direction="maximize")
    of_trial = objective()
    # Both trials are enqueued, so that the first one is worse with any sampler.
    study.enqueue_trial({"width": 4, "rate": 0.01, "weight_offset_0": 0.0, "bias_offset_0": 0.0})
    study.optimize(of_trial, n_trials=1)
    study.enqueue_trial({"width": 8, "rate": 0.05, "weight_offset_0": 0.0, "bias_offset_0": 0.1})
    trial = study.ask()
    of_trial.suggest(trial)
    train = Trainer.train

    def stopped_afterwards(*args: Any, **options: Any) -> Any:
        runs = train(*args, **options)
        stop.set()
        return runs

    monkeypatch.setattr(Trainer, "train", stopped_afterwards)
    [outcome] = of_trial.train([trial], stop=stop)
    assert outcome.status == "stopped"
    assert "adnn:baseline" not in study.trials[-1].user_attrs
    monkeypatch.undo()
    [outcome] = of_trial.train([trial])
    assert outcome.value is not None
    assert study.trials[-1].user_attrs["adnn:baseline"] < outcome.value


def test_its_contract_is_checked_without_the_functions(
    result: adnn.SearchResult, tmp_path: Any
) -> None:
    path = tmp_path / "winner.json"
    result.contract().save(path)
    assert verify_here(path).status == "exact"


def test_a_search_is_resumed_only_with_its_objective(url: str) -> None:
    whole = adnn.search(objective(), "greedy", max_trial=4)
    adnn.search(objective(), "greedy", max_trial=2, storage=url, study_name="s")
    with pytest.raises(ValueError, match=r"function of the trial.*Pass its objective"):
        adnn.resume(url, "s", max_trial=4)
    resumed = adnn.resume(url, "s", max_trial=4, objective=objective())
    for first, second in zip(whole.study.trials, resumed.study.trials, strict=True):
        assert (first.params, first.value) == (second.params, second.value)


def test_a_keras_model_may_be_built_for_the_trial() -> None:
    def build(trial: Any) -> keras.Model:
        activation = trial.suggest_categorical("activation", ["relu", "tanh"])
        layers = [keras.Input((8, 8)), keras.layers.Flatten()]
        layers += [keras.layers.Dense(5, activation), keras.layers.Dense(10)]
        return keras.Sequential(layers)

    settings = quick_training(epochs=1)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(3))
    study.optimize(adnn.InitOffsetObjective(build, DIGITS, training=settings), n_trials=3)
    assert {trial.state.name for trial in study.trials} == {"COMPLETE"}
    assert {*study.trials[0].params} == {"activation", "weight_offset_0", "bias_offset_0"}


def test_functions_that_need_one_network_say_so() -> None:
    with pytest.raises(ValueError, match=r"Use objective\.of"):
        adnn.measure_variance(objective())
    with pytest.raises(TypeError, match="What training returns must be a Training"):
        adnn.search(
            adnn.InitOffsetObjective(adnn.MLP(), DIGITS, training=lambda trial: trial.number),
            max_trial=1,
        )


def test_other_threads_do_not_disturb_the_random_numbers_of_models() -> None:
    held = []

    def watched(trial: Any) -> adnn.MLP:
        held.append(keras_files._lock.locked())
        return model(trial)

    def watched_training(trial: Any) -> adnn.Training:
        held.append(keras_files._lock.locked())
        return training(trial)

    of_trial = adnn.InitOffsetObjective(watched, DIGITS, training=watched_training)
    adnn.search(of_trial, "annealing", max_trial=2)
    assert len(held) > 4
    assert all(held)


@pytest.mark.slow
def test_threads_that_make_models_of_the_trial_lose_no_trial() -> None:
    def drawing(trial: Any) -> keras.Model:
        units = trial.suggest_categorical("width", WIDTHS)
        # Each model draws a seed from the process's random numbers.
        dense = [keras.layers.Dense(units, activation="relu") for _ in range(6)]
        layers = [keras.Input((8, 8)), keras.layers.Flatten(), *dense, keras.layers.Dense(10)]
        return keras.Sequential(layers)

    training = quick_training("adam", epochs=1, batch_size=500)
    of_trial = adnn.InitOffsetObjective(drawing, DIGITS, training=training)
    study = optuna.create_study(direction="maximize", sampler=adnn.RandomRestartSampler(seed=0))
    study.optimize(of_trial, n_trials=4, n_jobs=4)
    assert [trial.state for trial in study.trials] == [optuna.trial.TrialState.COMPLETE] * 4


EDITS = (
    ({"rate": 0.02}, {}, r"of trial 0, training\.learning_rate is 0\.02, was 0\.01"),
    ({}, {"activation": "tanh"}, r"of trial 0, model\.activation is 'tanh', was 'relu'"),
)


def plain_objective(
    rate: float = 0.01, activation: str = "relu", name: str = "width"
) -> adnn.InitOffsetObjective:
    def model(trial: Any) -> adnn.MLP:
        return adnn.MLP((trial.suggest_int(name, 3, 4),), activation)

    settings = quick_training("adam", rate, epochs=1, batch_size=400)
    return adnn.InitOffsetObjective(model, DIGITS, training=lambda trial: settings)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    storage = f"sqlite:///{tmp_path_factory.mktemp('edits')}/adnn.db"
    adnn.search(plain_objective(), "greedy", storage=storage, study_name="s", max_trial=2)
    return storage


@pytest.mark.parametrize(("training", "model", "said"), EDITS)
def test_edited_functions_are_refused_in_all_calls_that_continue_the_study(
    storage: str, training: dict[str, Any], model: dict[str, Any], said: str
) -> None:
    edited = plain_objective(**training, **model)
    s = optuna.load_study(study_name="s", storage=storage)
    for go_on in (
        lambda: adnn.search(edited, "greedy", storage=storage, study_name="s", max_trial=2),
        lambda: adnn.resume(storage, "s", max_trial=4, objective=edited),
        lambda: s.optimize(edited, n_trials=1),
        lambda: adnn.recheck(s, edited, choose=1, confirm=2),
    ):
        with pytest.raises(ValueError, match=f"belongs to another objective .{said}"):
            go_on()
    assert sum(trial.state.name == "COMPLETE" for trial in s.trials) == 2


def test_unedited_functions_continue_the_study(storage: str) -> None:
    result = adnn.resume(storage, "s", max_trial=3, objective=plain_objective())
    assert len(result.record.done_trials) == 3
    assert result.model().count_params()


def test_edited_functions_are_refused_for_a_best_trial_of_other_workers(storage: str) -> None:
    result = adnn.resume(storage, "s", max_trial=3, objective=plain_objective(), test=False)
    result = dataclasses.replace(result, _objective=plain_objective(activation="tanh"))
    for use in (result.test, result.model, result.contract):
        with pytest.raises(ValueError, match="belongs to another objective"):
            use()


@pytest.mark.parametrize("where", ["model", "training"])
def test_errors_of_the_users_functions_end_their_own_trial(where: str) -> None:
    def fails(trial: Any) -> Any:
        built = model(trial) if where == "model" else training(trial)
        if trial.number % 3 == 1:
            raise MemoryError
        return built

    functions = {"model": model, "training": training, where: fails}
    failing = adnn.InitOffsetObjective(functions["model"], DIGITS, training=functions["training"])
    options: Any = {"sampler": optuna.samplers.RandomSampler(0), "max_trial": 5, "confirm": 0}
    result = adnn.search(failing, catch=(MemoryError, KeyError), **options)
    states = [trial.state.name for trial in result.study.trials]
    assert states == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE", "FAIL"]
    assert result.stop_reason == "max_trial"
    with pytest.raises(MemoryError):
        adnn.search(failing, **options)


def test_an_error_of_a_training_ends_its_own_trial_in_a_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = Trainer.train

    def fails(self: Trainer, starts: Any, **options: Any) -> Any:
        if any(start.offsets[0] > 0.003 for start in starts):
            raise OSError("no more disk")
        return train(self, starts, **options)

    monkeypatch.setattr(Trainer, "train", fails)
    fixed = adnn.InitOffsetObjective(
        adnn.MLP((4,)), DIGITS, training=quick_training(epochs=1, batch_size=400)
    )
    options: Any = {"max_trial": 4, "batch_size": 4, "test": False}
    sampler = adnn.DeltaStepSampler(deltas=(0.002,), max_steps=3)
    result = adnn.search(fixed, sampler, catch=OSError, **options)
    assert [trial.state.name for trial in result.study.trials] == [
        "COMPLETE",
        "COMPLETE",
        "FAIL",
        "FAIL",
    ]
