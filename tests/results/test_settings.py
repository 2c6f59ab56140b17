"""The settings of a search in JSON: its runs, and everything that determined the trials'
values.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import optuna
from stored_studies import store_comparison, store_study

from adnn_optuna._attributes import RUNS
from adnn_optuna.engine.records import read_record
from adnn_optuna.render.json import to_json
from adnn_optuna.results.study import result_of

if TYPE_CHECKING:
    from pathlib import Path


def settings(study: optuna.Study) -> dict[str, Any]:
    document = result_of(read_record(study)).document()
    content: dict[str, Any] = json.loads(to_json(document))["settings"]
    return content


def test_settings_are_everything_that_determines_the_values() -> None:
    study = store_study("one")
    stored = settings(study)
    assert stored["config"] == study.user_attrs["adnn:config"]
    assert stored["search"] == {"sampler": "annealing", "n_trials": 12, "batch_size": 1}
    other_settings = settings(optuna.create_study(study_name="theirs"))
    assert other_settings == {
        "config": None,
        "search": None,
        "runs": [],
        "storage": "InMemoryStorage",
    }


def test_settings_list_the_runs_in_temporal_order() -> None:
    study = store_study("runs")
    [run] = settings(study)["runs"]
    later = {**run, "began": "2026-11-26T10:00:00+00:00"}
    earlier = {**run, "began": "2026-11-24T10:00:00+00:00"}
    for run_entry in (later, earlier):
        study.set_user_attr(f"{RUNS}/{run_entry['began']}-1", run_entry)
    assert settings(study)["runs"] == [earlier, run, later]


def test_settings_of_a_comparison_are_by_arm() -> None:
    comparison = store_comparison({"greedy": [0.0, 0.1], "random_restart": [0.0, 0.0]})
    content = json.loads(to_json(comparison.document()))["settings"]
    assert [*content] == ["greedy", "random_restart"]
    for arm, of_arm in content.items():
        assert of_arm["search"]["sampler"] == arm


def test_settings_name_the_storage(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/my own.db"
    study = store_study("s", storage=optuna.storages.RDBStorage(url))
    assert settings(study)["storage"] == url
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal"))
    journal = store_study("s", storage=optuna.storages.JournalStorage(backend))
    assert settings(journal)["storage"] == "JournalStorage"
