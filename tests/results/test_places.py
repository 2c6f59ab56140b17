"""Where trials lie: which parameters are shown, and of which trials."""

from __future__ import annotations

import math

import optuna
from stored_studies import store_study

from adnn_optuna.engine.records import read_record
from adnn_optuna.plots._places import plot_places
from adnn_optuna.results.curves import places_of


def test_of_many_parameters_those_two_that_matter_most() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        values = [trial.suggest_float(f"x{i}", 1e-3, 1, log=i == 3) for i in range(5)]
        trial.suggest_categorical("kind", ["a", "b"])
        return (values[1] - 0.5) ** 2 + (math.log(values[3]) + 3) ** 2 / 40

    study.optimize(objective, n_trials=60)
    study.add_trial(optuna.create_trial(value=math.inf))
    names, trials = places_of(read_record(study))
    assert {*names} == {"x1", "x3"}
    assert [trial.number for trial in trials] == [*range(60)]
    figure = plot_places(read_record(study))
    types = {names[0]: figure.layout.xaxis.type, names[1]: figure.layout.yaxis.type}
    assert types == {"x1": None, "x3": "log"}
    assert figure.data[0].x[7] == study.trials[7].params[names[0]]


def test_of_few_trials_or_parameters() -> None:
    assert places_of(read_record(store_study("two")))[0] == ["bias_offset_0", "weight_offset_0"]
    study = optuna.create_study()
    assert places_of(read_record(study)) == ([], [])
    study.optimize(lambda trial: trial.suggest_int("n", 1, 1), n_trials=3)
    assert places_of(read_record(study))[0] == []
    assert plot_places(read_record(study)).data == ()
