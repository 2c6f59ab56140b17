"""Where a result comes from, as its report shows it: settings, runs, contract."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from search_worker import make_objective, quick_training
from shown_pages import EVIL, text_of
from stored_studies import store_study

import adnn_optuna as adnn
from adnn_optuna._attributes import RUNS
from adnn_optuna.contracts.contract import read_contract
from adnn_optuna.engine.records import record_of
from adnn_optuna.reporting import searches
from adnn_optuna.reporting.origins import shown_contract

if TYPE_CHECKING:
    from pathlib import Path

    from adnn_optuna.engine.records import SearchRecord


@pytest.fixture(scope="module")
def record() -> SearchRecord:
    return record_of(store_study("one", gain=0.003))


class TestContract:
    """A contract as its file holds it; those that trainings make have tests of their own."""

    def contract(self, record: SearchRecord, **changes: Any) -> dict[str, Any]:
        config = record.attrs["adnn:config"]
        assert record.best is not None
        return {
            "study": {
                "name": "one",
                "trials": 12,
                "completed_trials": 12,
                "best_trial": record.best.number,
                "direction": "maximize",
            },
            "winner": {"params": record.best.params, "test_accuracy": 0.9},
            "baseline": {"test_accuracy": 0.897},
            "objective": {
                "seed": 0,
                "metric": "val_accuracy",
                "training": config["training"],
                "space": config["space"],
                "model": {},
                "dataset": {"name": "digits"},
            },
            "environment": {"python": "3.11"},
            "split": {"test": 1000},
            "files": {"weights": {"name": "my contract.0123456789abcdef.npz"}},
            **changes,
        }

    def test_is_shown_as_its_file_has_it(self, record: SearchRecord) -> None:
        contract = self.contract(record)
        page = searches.page(record, contract)
        shown = page.content["contract"]
        assert (shown["name"], shown["quoted_name"]) == (
            "my contract.json",
            "'my contract.json'",
        )
        nameless = self.contract(record, files={"weights": {"name": ""}})
        assert shown_contract(record, nameless)["name"] == ".json"
        assert shown["text"] == json.dumps(contract, indent=1)
        check = "Anyone can: adnn verify 'my contract.json' trains both networks again and names"
        assert page.content["answers"]["How to check it?"].startswith(check)

    @pytest.mark.parametrize(
        ("part", "key", "value", "said"),
        [
            ("study", "name", "two", "study.name is 'one', was 'two'"),
            ("study", "trials", 11, "study.trials is 12, was 11"),
            ("study", "completed_trials", 10, "study.completed_trials is 12, was 10"),
            ("study", "best_trial", 99, "study.best_trial is {best}, was 99"),
            ("winner", "params", {}, None),
            ("objective", "seed", 5, "objective.seed is 0, was 5"),
        ],
    )
    def test_of_another_result_is_refused(
        self, record: SearchRecord, part: str, key: str, value: Any, said: str | None
    ) -> None:
        assert record.best is not None
        contract = self.contract(record)
        contract[part] = {**contract[part], key: value}
        words = re.escape((said or "winner.params.").format(best=record.best.number))
        said = rf"^The contract is of another result \({words}.*\); make one of this result\.$"
        with pytest.raises(ValueError, match=said):
            searches.page(record, contract)


@pytest.mark.tensorflow
def test_contract_is_shown_and_can_be_saved(tmp_path: Path) -> None:
    result = adnn.search(make_objective(), "greedy", max_trial=2, study_name=EVIL)
    file = tmp_path / "evil contract.json"
    result.contract().save(file)
    content = read_contract(file)
    searches.page(result, content).save(tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert EVIL not in html
    assert EVIL in text_of(html)
    assert content["winner"]["trained_weights_sha256"] in text_of(html)
    assert "adnn verify 'evil contract.json'" in text_of(html)
    assert "That reproduces the numbers of this one network." in text_of(html)
    assert "By its maker, what you hold: " in text_of(html)
    assert "Only seeds that a verifier draws show it: adnn verify 'evil contract.json'" in text_of(
        html
    )
    result.model_card(tmp_path / "README.md", file)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "adnn verify 'evil contract.json'" in card
    assert content["sha256"] in card
    with pytest.raises(ValueError, match=r"of another result .*study\.name is 'another'"):
        searches.page(record_of(store_study("another")), content)


@pytest.mark.tensorflow
def test_contract_of_an_earlier_state_of_the_study_is_refused(tmp_path: Path) -> None:
    storage = optuna.storages.InMemoryStorage()
    objective = make_objective()
    early = adnn.search(objective, "annealing", storage=storage, study_name="s", max_trial=2)
    early.contract().save(tmp_path / "early.json")
    later = adnn.search(objective, "annealing", storage=storage, study_name="s", max_trial=3)
    said = r"of another result .*study\.trials is 3, was 2.*make one of this result"
    with pytest.raises(ValueError, match=said):
        later.report(tmp_path / "report.html", tmp_path / "early.json")
    content = read_contract(tmp_path / "early.json")
    content["study"] |= {"trials": 3, "completed_trials": 3}
    content["winner"]["params"]["weight_offset_0"] = 0.123
    with pytest.raises(ValueError, match=r"winner\.params\.weight_offset_0 is .*, was 0\.123"):
        searches.page(later, content)


@pytest.mark.tensorflow
def test_contract_of_functions_of_the_trial_is_shown(tmp_path: Path) -> None:
    def training(trial: Any) -> adnn.Training:
        return quick_training(epochs=1, batch_size=trial.suggest_int("batch_size", 300, 303))

    objective = make_objective(training=training, metric="val_auc")
    result = adnn.search(objective, "annealing", max_trial=2)
    result.contract().save(tmp_path / "c.json")
    result.report(tmp_path / "report.html", tmp_path / "c.json")
    assert "hyperparameters" in text_of((tmp_path / "report.html").read_text())
    content = read_contract(tmp_path / "c.json")
    content["winner"]["hyperparameters"]["batch_size"] = 5
    with pytest.raises(ValueError, match=r"winner\.params\.batch_size is 30\d, was 5\)"):
        searches.page(result, content)


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
    later = {"began": "2026-11-24T10:00:00+00:00", "limits": {"max_time": 30.5, "max_trial": None}}
    later |= {"n_trials_before": 12, "stop_reason": None, "n_trials": None}
    for one in ({**run, **later}, run):
        study.set_user_attr(f"{RUNS}/{one['began']}-1", one)
    shown = text_of(searches.page(record_of(study)).render())
    assert (
        "run 2026-11-23 09:00 UTC, max_trial 12, from 0 to 12 trials, ended by max_trial "
        "run 2026-11-24 10:00 UTC, max_time 30.5, from 12 trials on, not ended"
    ) in shown


def test_only_what_is_in_memory_is_said_to_be(tmp_path: Path) -> None:
    def stored(storage: Any) -> tuple[str, str]:
        told = searches.page(record_of(store_study("s", storage=storage))).content
        return dict(told["settings"])["storage"], told["quoted_url"]

    url = f"sqlite:///{tmp_path}/my own.db"
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal"))
    assert stored(optuna.storages.InMemoryStorage()) == ("in memory", None)
    assert stored(optuna.storages.RDBStorage(url)) == (url, f"'{url}'")
    assert stored(optuna.storages.JournalStorage(backend)) == ("JournalStorage", None)
