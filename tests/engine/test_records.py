"""Records of searches that are read from studies."""

from __future__ import annotations

import optuna
from search_worker import make_objective

from adnn_optuna.engine.records import read_record
from adnn_optuna.results.study import gains_so_far, result_of


def test_a_gain_below_the_baseline_is_negative() -> None:
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial({"weight_offset_0": -0.2, "bias_offset_0": -0.2})
    study.enqueue_trial({"weight_offset_0": -0.1, "bias_offset_0": -0.2})
    study.optimize(make_objective(), n_trials=2)
    record = read_record(study)
    assert record.gain == record.best_value - record.baseline < 0
    assert f"{100 * record.gain:+.2f} pp" in str(result_of(record))
    assert gains_so_far(record)[-1] == record.gain


def test_trials_that_plain_optuna_ran_by_our_objective_are_not_added_ones() -> None:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(0))
    study.optimize(make_objective(), n_trials=2)
    assert not read_record(study).best_is_added
