"""The report of a search, and its model card with its contract."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from search_worker import make_objective, quick_training
from shown_pages import EVIL, text_of
from stored_studies import store_study

import adnn_optuna as adnn
from adnn_optuna.api._model_card import _check_is_contract_of
from adnn_optuna.contracts.contract_file import read_contract
from adnn_optuna.engine.records import read_record
from adnn_optuna.results.function_search import stored_result

if TYPE_CHECKING:
    from adnn_optuna.engine.records import SearchRecord


@pytest.fixture(scope="module")
def record() -> SearchRecord:
    return read_record(store_study("one", gain=0.003))


def contract_of(record: SearchRecord) -> dict[str, Any]:
    """Return the parts of a contract that say which result it is of."""
    assert record.best is not None
    study = {"name": "one", "trials": 12, "completed_trials": 12}
    return {
        "study": {**study, "best_trial": record.best.number},
        "best": {"params": record.best.params},
        "objective": {"seed": 0},
    }


@pytest.mark.parametrize(
    ("part", "key", "value", "difference"),
    [
        ("study", "name", "two", "study.name is 'one', was 'two'"),
        ("study", "trials", 11, "study.trials is 12, was 11"),
        ("study", "completed_trials", 10, "study.completed_trials is 12, was 10"),
        ("study", "best_trial", 99, "study.best_trial is {best}, was 99"),
        ("best", "params", {}, "best.params."),
        ("objective", "seed", 5, "objective.seed is 0, was 5"),
    ],
)
def test_contract_of_another_result_is_refused(
    record: SearchRecord, part: str, key: str, value: Any, difference: str
) -> None:
    assert record.best is not None
    contract = contract_of(record)
    _check_is_contract_of(record, contract)
    contract[part] = {**contract[part], key: value}
    words = re.escape(difference.format(best=record.best.number))
    with pytest.raises(ValueError, match=rf"must be of this result; it differs in {words}"):
        _check_is_contract_of(record, contract)


@pytest.mark.tensorflow
def test_contract_is_shown_and_can_be_checked(tmp_path: Path) -> None:
    result = adnn.search(make_objective(), "greedy", max_trial=2, study_name=EVIL)
    file = tmp_path / "evil contract.json"
    result.contract().save(file)
    content = read_contract(file)
    result.report(tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert EVIL not in html
    assert EVIL in text_of(html)
    result.model_card(tmp_path / "README.md", file)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "adnn verify 'evil contract.json' trains both networks of the contract again" in card
    assert "A contract cannot show how many trials were run" in card
    assert content["sha256"] in card
    for heading in ("Load and use", "Limits", "Not checked"):
        assert f"\n## {heading}\n" in card


@pytest.mark.tensorflow
def test_code_of_a_model_card_loads_and_uses_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = adnn.search(make_objective(), "greedy", max_trial=2)
    result.save("model.keras")
    result.model_card("README.md")
    [code] = re.findall(r"```python\n(.*?)```", Path("README.md").read_text("utf-8"), re.DOTALL)
    names = {"x": result.objective.dataset.x_test}
    exec(code, names)
    expected = result.predict_proba(names["x"])
    np.testing.assert_allclose(names["predictions"], expected, atol=1e-6)


@pytest.mark.tensorflow
def test_contract_of_an_earlier_state_of_the_study_is_refused(tmp_path: Path) -> None:
    storage = optuna.storages.InMemoryStorage()
    objective = make_objective()
    early = adnn.search(objective, "annealing", storage=storage, study_name="s", max_trial=2)
    early.contract().save(tmp_path / "early.json")
    later = adnn.search(objective, "annealing", storage=storage, study_name="s", max_trial=3)
    with pytest.raises(
        ValueError, match=r"study\.best_trial is 2, was 1.*Make the contract of this"
    ):
        later.model_card(tmp_path / "README.md", tmp_path / "early.json")
    assert not (tmp_path / "README.md").exists()


@pytest.mark.slow
@pytest.mark.tensorflow
def test_contract_of_functions_of_the_trial_is_shown(tmp_path: Path) -> None:
    def training(trial: Any) -> adnn.Training:
        return quick_training(epochs=1, batch_size=trial.suggest_int("batch_size", 300, 303))

    objective = make_objective(training=training, metric="val_auc")
    result = adnn.search(objective, "annealing", max_trial=2)
    result.contract().save(tmp_path / "c.json")
    result.model_card(tmp_path / "README.md", tmp_path / "c.json")
    assert read_contract(tmp_path / "c.json")["best"]["hyperparameters"]
    assert "adnn verify c.json trains both" in (tmp_path / "README.md").read_text(encoding="utf-8")


@pytest.mark.tensorflow
def test_without_a_best_trial_there_is_no_model_card(tmp_path: Path) -> None:
    result = adnn.search(
        make_objective(training=quick_training(learning_rate=1e20)), "greedy", max_trial=1
    )
    with pytest.raises(ValueError, match=r"no model to write a card of\. No trial was completed"):
        result.model_card(tmp_path / "README.md")


def test_refuses_a_file_that_cannot_be_written(record: SearchRecord, tmp_path: Path) -> None:
    result = stored_result(record)
    with pytest.raises((ValueError, OSError), match=r"^The report"):
        result.report(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"^The report"):
        result.report(tmp_path / "no" / "report.html")


def test_any_state_of_a_study_has_a_report(tmp_path: Path) -> None:
    running = store_study("running")
    running.enqueue_trial({})
    running.tell(running.ask(), 2.0)
    empty = optuna.create_study(study_name="empty", direction="maximize")
    for study in (empty, store_study("failed", values=[float("nan")] * 3), running):
        stored_result(read_record(study)).report(tmp_path / "report.html")
        shown = text_of((tmp_path / "report.html").read_text(encoding="utf-8"))
        assert "nan" not in shown.lower()


def test_a_password_is_masked(tmp_path: Path) -> None:
    database = optuna.storages.RDBStorage("sqlite://")
    study = store_study("secret", storage=database)
    database.url = "mysql://me:hunter2@host/db"
    stored_result(read_record(study)).report(tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "hunter2" not in html
    assert "***@host" in html
