"""Model cards as ``huggingface_hub`` reads them, which is not ours."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from stored_studies import changed, store_confirmation, store_look, store_study

from adnn_optuna._attributes import CONFIG
from adnn_optuna.engine.records import read_record
from adnn_optuna.render.markdown import escaped
from adnn_optuna.render.model_card import to_model_card
from adnn_optuna.results.confirmation import read_confirmation
from adnn_optuna.results.function_search import stored_result
from adnn_optuna.results.search import NetworkSearch

if TYPE_CHECKING:
    from pathlib import Path

    from adnn_optuna.engine.records import SearchRecord

EVIL = "a|b: {c}\n---\n[x](http://evil) <script> `d` \x1b[31m\ufffe 'e' \"f\" # **g** 😀 www.e.org"


def read(record: SearchRecord, tmp_path: Path) -> ModelCard:
    """Return the card as Hugging Face's library loads it, writes it and reads it once more."""
    result = stored_result(record)
    assert isinstance(result, NetworkSearch)
    card = to_model_card(result.document(), result.card_metadata())
    (tmp_path / "README.md").write_text(card, encoding="utf-8")
    loaded = ModelCard.load(tmp_path / "README.md")
    again = ModelCard(f"---\n{loaded.data.to_yaml()}\n---\n{loaded.text}")
    assert again.data.to_dict() == loaded.data.to_dict()
    return loaded


def results(record: SearchRecord, tmp_path: Path) -> list[EvalResult]:
    data = read(record, tmp_path).data
    assert isinstance(data, ModelCardData)
    return data.eval_results or []


def test_has_each_estimate_with_its_ci(tmp_path: Path) -> None:
    gains = [0.01, 0.02, 0.015, 0.012, 0.018, 0.011, 0.013, 0.02, 0.014, 0.016]
    record = store_confirmation(store_study("digits", gain=0.004), gains)
    confirmation = read_confirmation(record)
    assert confirmation is not None
    found = results(record, tmp_path)
    wanted = {
        "accuracy": confirmation.test_score,
        "accuracy_vs_baselines": confirmation.vs_baselines,
        "accuracy_replication": confirmation.replication,
    }
    assert {r.metric_type: r.metric_value for r in found} == {
        name: estimate.value for name, estimate in wanted.items()
    }
    for result, estimate in zip(found, wanted.values(), strict=True):
        assert result.metric_args == {**estimate._asdict(), "level": 0.95}
        assert (result.task_type, result.dataset_type) == ("image-classification", "digits")
        assert result.dataset_split == "test"
    shown = read(record, tmp_path)
    assert (shown.data.model_name, shown.data.library_name) == ("digits", "keras")
    assert shown.data.pipeline_tag == "image-classification"
    document = stored_result(record).document()
    for text in (document.title, document.subject, *document.notes, document.next_step):
        assert escaped(text) in shown.text


def test_before_new_seeds_there_is_only_the_test_score(tmp_path: Path) -> None:
    record = read_record(store_study("digits", gain=0.004))
    [score] = results(record, tmp_path)
    assert score.metric_value == pytest.approx(record.test_value, abs=0.0005)
    assert score.metric_args["low"] < score.metric_value < score.metric_args["high"]
    assert "replication not known" in read(record, tmp_path).text


def test_says_once_that_the_test_set_was_evaluated_several_times(tmp_path: Path) -> None:
    study = store_study("digits", gain=0.004)
    study.enqueue_trial({})
    study.tell(study.ask(), study.user_attrs["adnn:baseline"] + 0.25)
    store_look(study, "2026-11-25T13:00:00+00:00", 0.9, 0.005)
    text = read(read_record(study), tmp_path).text
    assert text.count("The test set was evaluated 2 times") == 1


def test_before_a_test_set_evaluation_there_is_no_metric(tmp_path: Path) -> None:
    record = read_record(store_study("digits"))
    for name in [name for name in record.attrs if name.startswith("adnn:test/")]:
        del record.attrs[name]
    assert results(record, tmp_path) == []
    assert "The test set is not evaluated yet" in read(record, tmp_path).text


def test_random_restarts_have_no_replication(tmp_path: Path) -> None:
    record = store_confirmation(store_study("digits", sampler="random_restart"), [])
    assert [r.metric_type for r in results(record, tmp_path)] == [
        "accuracy",
        "accuracy_vs_baselines",
    ]
    assert "no offsets to replicate" in read(record, tmp_path).text


def test_names_that_users_chose_are_shown_as_they_are(tmp_path: Path) -> None:
    record = read_record(store_study(EVIL))
    record = changed(record, CONFIG, dataset={**record.attrs[CONFIG]["dataset"], "name": EVIL})
    shown = read(record, tmp_path)
    assert shown.data.model_name.startswith("a|b: {c}\\n---\\n[x](http://evil) <script> `d` ")
    assert shown.data.eval_results[0].dataset_name == shown.data.model_name
    # Outside of what is escaped there is no mark-up but ours, in any line.
    for line in shown.text.partition("\n## Load and use")[0].strip().splitlines():
        plain = re.sub(r"\\.", "", line)
        if plain.startswith("|"):
            continue  # A table; its cells are escaped alike.
        plain = re.sub(r"^</?details>$|^<summary>\w+</summary>$", "", plain)
        assert not re.search(r"[<>`*_\[\]|]|://|www\.", plain)
