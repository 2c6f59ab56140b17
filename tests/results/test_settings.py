"""The table of settings: what determined the trials' values, and the runs that made them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import optuna
from shown_pages import RUN, SETTINGS
from stored_studies import store_study

from adnn_optuna._attributes import RUNS
from adnn_optuna.engine.records import read_record
from adnn_optuna.results.function_search import stored_result
from adnn_optuna.results.settings import settings_table

if TYPE_CHECKING:
    from pathlib import Path


def settings(study: optuna.Study) -> dict[str, Any]:
    rows = settings_table([[read_record(study)]]).rows
    return dict(rows)  # type: ignore[arg-type]


def test_holds_everything_that_determines_the_values() -> None:
    assert [*settings(store_study("one")).items()] == [
        *SETTINGS,
        ("seed", "0"),
        ("search", "sampler annealing, n_trials 12, batch_size 1"),
        ("run", RUN),
        ("storage", "in memory"),
    ]
    other = optuna.create_study(study_name="theirs")
    assert settings(other) == {"search": "sampler study.optimize", "storage": "in memory"}


def test_values_are_shown_as_they_are_written() -> None:
    study = store_study("one")
    model = {"classes": ["größe", "δ"], "layers": {"one": {"units": 3}, "none": {}}}
    config = {"model": model, "training": {"patience": None}}
    study.set_user_attr("adnn:config", {**study.user_attrs["adnn:config"], **config})
    shown = settings(study)
    assert {name: value for name, value in shown.items() if name.startswith("model")} == {
        "model.classes": '["größe", "δ"]',
        "model.layers.one.units": "3",
        "model.layers.none": "{}",
    }
    assert shown["training.patience"] == "null"


def test_holds_when_each_run_was_made_under_which_limits_and_why_it_ended() -> None:
    study = store_study("runs")
    run = {
        "began": "2026-11-23T09:00:30.5+00:00",
        "sampler": "annealing",
        "limits": {"max_time": None, "max_trial": 12, "max_gain": None},
        "n_trials_before": 0,
        "stop_reason": "max_trial",
        "n_trials": 12,
    }
    limits = {"max_time": 30.5, "max_trial": None, "max_gain": None}
    later = {"began": "2026-11-24T10:00:00+00:00", "limits": limits}
    later |= {"n_trials_before": 12, "stop_reason": None, "n_trials": None}
    for one in ({**run, **later}, run):
        study.set_user_attr(f"{RUNS}/{one['began']}-1", one)
    rows = [value for name, value in settings_table([[read_record(study)]]).rows if name == "run"]
    assert rows[:2] == [
        "2026-11-23 09:00 UTC, max_trial 12, from 0 to 12 trials, ended by max_trial",
        "2026-11-24 10:00 UTC, max_time 30.5, from 12 trials on, not ended",
    ]


def test_only_what_is_in_memory_is_called_so(tmp_path: Path) -> None:
    def stored(storage: Any) -> Any:
        return settings(store_study("s", storage=storage))["storage"]

    url = f"sqlite:///{tmp_path}/my own.db"
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal"))
    assert stored(optuna.storages.InMemoryStorage()) == "in memory"
    assert stored(optuna.storages.RDBStorage(url)) == url
    assert stored(optuna.storages.JournalStorage(backend)) == "JournalStorage"


def test_names_of_files_that_are_no_text_are_shown_with_escapes() -> None:
    study = store_study("odd")
    config = study.user_attrs["adnn:config"]
    config["dataset"]["path"] = os.fsdecode(b"/\xff\xfe.npz")
    study.set_user_attr("adnn:config", config)
    text = stored_result(read_record(study)).to_text(details=True)
    assert r"/\udcff\udcfe.npz" in text
