"""Model cards as ``huggingface_hub`` reads them, which is not ours."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from stored_studies import changed, store_confirmation, store_look, store_study

from adnn_optuna._attributes import CONFIG
from adnn_optuna.engine.records import read_record
from adnn_optuna.reporting.searches import card
from adnn_optuna.reporting.searches_claims import statements
from adnn_optuna.results.confirmation import confirmation_of

if TYPE_CHECKING:
    from pathlib import Path

    from adnn_optuna.engine.search_record import SearchRecord

EVIL = "a|b: {c}\n---\n[x](http://evil) <script> `d` \x1b[31m\ufffe 'e' \"f\" # **g** 😀 www.e.org"


def read(record: SearchRecord, tmp_path: Path) -> ModelCard:
    """Return the card as Hugging Face's library loads it, writes it and reads it once more."""
    (tmp_path / "README.md").write_text(card(record), encoding="utf-8")
    loaded = ModelCard.load(tmp_path / "README.md")
    again = ModelCard(f"---\n{loaded.data.to_yaml()}\n---\n{loaded.text}")
    assert again.data.to_dict() == loaded.data.to_dict()
    return loaded


def results(record: SearchRecord, tmp_path: Path) -> list[EvalResult]:
    data = read(record, tmp_path).data
    assert isinstance(data, ModelCardData)
    return data.eval_results or []


def test_has_each_metric_with_its_interval_and_what_they_mean(tmp_path: Path) -> None:
    gains = [0.01, 0.02, 0.015, 0.012, 0.018, 0.011, 0.013, 0.02, 0.014, 0.016]
    record = store_confirmation(store_study("digits", gain=0.004), gains)
    facts = confirmation_of(record)
    assert facts is not None
    found = results(record, tmp_path)
    wanted = {
        "accuracy": facts.holds,
        "accuracy_over_usual": facts.usual,
        "accuracy_gain_that_repeats": facts.repeats,
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
    for said in (*statements(record).values(), "adnn resume", record.proposers[0]):
        assert said in shown.text


def test_before_fresh_seeds_there_is_only_what_you_hold(tmp_path: Path) -> None:
    record = read_record(store_study("digits", gain=0.004))
    [held] = results(record, tmp_path)
    assert held.metric_value == pytest.approx(record.test_value, abs=0.0005)
    assert held.metric_args["low"] < held.metric_value < held.metric_args["high"]
    assert "not known yet" in read(record, tmp_path).text


def test_says_how_the_test_set_was_used_once(tmp_path: Path) -> None:
    study = store_study("digits", gain=0.004)
    study.enqueue_trial({})
    study.tell(study.ask(), study.user_attrs["adnn:baseline"] + 0.25)
    store_look(study, "2026-11-25T13:00:00+00:00", 0.9, 0.005)
    text = read(read_record(study), tmp_path).text
    assert text.count("The test set was looked at 2 times") == 1
    assert "To mind" not in text


def test_before_a_look_at_the_test_set_there_is_no_metric(tmp_path: Path) -> None:
    record = read_record(store_study("digits"))
    for name in [name for name in record.attrs if name.startswith("adnn:test/")]:
        del record.attrs[name]
    assert results(record, tmp_path) == []
    assert "not known before the test set is looked at" in read(record, tmp_path).text


def test_what_moves_nothing_repeats_nothing(tmp_path: Path) -> None:
    record = store_confirmation(store_study("digits", sampler="random_restart"), [])
    assert [r.metric_type for r in results(record, tmp_path)] == [
        "accuracy",
        "accuracy_over_usual",
    ]
    assert "Nothing repeats: this control moves nothing." in read(record, tmp_path).text


def test_names_that_users_chose_are_shown_as_they_are(tmp_path: Path) -> None:
    record = read_record(store_study(EVIL))
    record = changed(record, CONFIG, dataset={**record.attrs[CONFIG]["dataset"], "name": EVIL})
    shown = read(record, tmp_path)
    assert shown.data.model_name.startswith("a|b: {c}\\n---\\n[x](http://evil) <script> `d` ")
    assert shown.data.eval_results[0].dataset_name == shown.data.model_name
    # Outside of what is escaped there is no mark-up but ours, in any line.
    for line in shown.text.strip().splitlines():
        plain = re.sub(r"\\.", "", re.sub(r"^(# |- \*\*[\w' -]+:\*\*)", "", line))
        assert not re.search(r"[<>`*_\[\]|]|://|www\.", plain)


def test_without_a_winner_there_is_none() -> None:
    record = read_record(store_study("digits", values=[math.nan] * 3))
    with pytest.raises(ValueError, match="no model to write a card of: No trial was completed"):
        card(record)
