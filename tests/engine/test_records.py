"""What a study tells of its search."""

from __future__ import annotations

import json

import optuna
from search_worker import make_objective
from stored_studies import store_look, store_study

from adnn_optuna.cli.output import as_json
from adnn_optuna.engine.records import read_record
from adnn_optuna.results.function_search import stored_result
from adnn_optuna.results.search_figures import gains_so_far


def test_a_gain_below_the_baseline_is_negative() -> None:
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial({"weight_offset_0": -0.2, "bias_offset_0": -0.2})
    study.enqueue_trial({"weight_offset_0": -0.1, "bias_offset_0": -0.2})
    study.optimize(make_objective(), n_trials=2)
    record = read_record(study)
    assert record.gain == record.best_value - record.baseline < 0
    assert f"{100 * record.gain:+.2f} pp" in str(stored_result(record))
    assert gains_so_far(record)[-1] == record.gain


def test_a_best_trial_that_was_added_says_so() -> None:
    study, other = store_study("s"), store_study("other", values=[0.5] * 30 + [0.999])
    said = "added by study.add_trial"
    for trial in (
        optuna.create_trial(
            value=0.99,
            params=study.best_params,
            distributions=study.best_trial.distributions,
        ),
        other.best_trial,  # With all that another study stored in it.
    ):
        before = stored_result(read_record(study))
        assert said not in str(before) or study.best_trial.value == 0.99
        study.add_trial(trial)
        store_look(study, f"2026-11-25T12:00:0{len(study.trials)}+00:00", 0.9, 0.01)
        record = stored_result(read_record(study))
        assert record.best_value == trial.value
        assert said in str(record)
        assert json.loads(as_json("search", record))["best_is_added"]
        assert record.proposer(study.best_trial) == "study.add_trial"
    assert said not in str(stored_result(read_record(other)))


def test_what_plain_optuna_evaluates_by_our_objective_is_not_added() -> None:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(0))
    study.optimize(make_objective(), n_trials=2)
    assert not read_record(study).best_is_added
