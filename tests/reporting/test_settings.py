"""What determined the trials' values, as reports list it."""

from __future__ import annotations

from shown_pages import text_of
from stored_studies import store_study

from adnn_optuna._attributes import RUNS
from adnn_optuna.engine.records import record_of
from adnn_optuna.reporting import searches


def test_holds_when_each_run_was_made_under_which_limits_and_why_it_ended() -> None:
    study = store_study("runs")
    run = {
        "began": "2026-11-23T09:00:30.5+00:00",
        "sampler": "annealing",
        "max_time": None,
        "max_trial": 12,
        "max_gain": None,
        "n_trials_before": 0,
        "stop_reason": "max_trial",
        "n_trials": 12,
    }
    later = {"began": "2026-11-24T10:00:00+00:00", "max_time": 30.5, "max_trial": None}
    later |= {"n_trials_before": 12, "stop_reason": None, "n_trials": None}
    for one in ({**run, **later}, run):
        study.set_user_attr(f"{RUNS}/{one['began']}-1", one)
    shown = text_of(searches.page(record_of(study)).render())
    assert (
        "run 2026-11-23 09:00 UTC, max_trial 12, from 0 to 12 trials, ended by max_trial "
        "run 2026-11-24 10:00 UTC, max_time 30.5, from 12 trials on, not ended"
    ) in shown
