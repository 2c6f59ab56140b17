"""Pages: each holds together and trusts nothing that it shows."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import optuna
import pytest
from shown_pages import EVIL, of_a_regression, parsed, text_of
from stored_studies import store_study

from adnn_optuna.api.compare_models import ModelComparison
from adnn_optuna.engine.records import record_of
from adnn_optuna.reporting import model_comparisons, searches
from adnn_optuna.results.comparison import Comparison

if TYPE_CHECKING:
    from pathlib import Path


def test_refuses_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    page = searches.page(record_of(store_study("one")))
    with pytest.raises((ValueError, OSError), match=r"^The report"):
        page.save(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"^The report"):
        page.save(tmp_path / "no" / "report.html")


def test_largest_letters_are_those_of_the_first_line() -> None:
    # The verdict; a searcher's gain, on a card, is not to be larger.
    html = searches.page(record_of(store_study("one"))).render()
    style = html.partition("<style>")[2].partition("</style>")[0]
    rules = re.findall(r"([^{}]+)\{[^{}]*font-size: ([\d.]+)px", style)
    sizes = {selector.strip(): float(size) for selector, size in rules}
    of_first_line = [float(size) for selector, size in rules if selector.strip() == "h1"]
    assert len(of_first_line) == 3  # On a screen, on a phone and on paper.
    assert min(of_first_line) > max(size for what, size in sizes.items() if what != "h1")


class TestNames:
    def test_of_studies_and_samplers_are_text(self) -> None:
        one = searches.page(record_of(store_study(f"'\"{EVIL}"))).render()
        assert EVIL not in one
        assert f"Search '\"{EVIL}" in text_of(one)


class TestAnyState:
    def test_password_is_masked(self) -> None:
        database = optuna.storages.RDBStorage("sqlite://")
        study = store_study("secret", storage=database)
        database.url = "mysql://me:hunter2@host/db"
        html = searches.page(record_of(study)).render()
        assert "hunter2" not in html
        assert "***@host" in html
        tables = Comparison({"greedy": [record_of(study)]}, (0,)).document().tables
        assert ("storage", "mysql://***@host/db") in tables[-1].rows

    def test_unfinished_and_failed_searches_have_a_report(self) -> None:
        empty = optuna.create_study(study_name="empty", direction="maximize")
        failed = store_study("failed", values=[float("nan")] * 3)
        running = store_study("running")
        running.enqueue_trial({})
        running.tell(running.ask(), 2.0)
        for study in (empty, failed, running):
            html = searches.page(record_of(study)).render()
            parsed(html)
            assert "nan" not in text_of(html).lower()

    def test_names_of_files_that_are_no_text_are_shown_with_escapes(self, tmp_path: Path) -> None:
        study = store_study("odd")
        config = study.user_attrs["adnn:config"]
        config["dataset"]["path"] = os.fsdecode(b"/\xff\xfe.npz")
        study.set_user_attr("adnn:config", config)
        searches.page(record_of(study)).save(tmp_path / "report.html")
        html = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert r"/\udcff\udcfe.npz" in text_of(html)


class TestRegression:
    """R² has no unit: it is no percentage, and no example is right."""

    WRONG = ("images", "accuracy", "percentage points", " pp", "examples right", "[%]")

    def test_search_tells_r2(self) -> None:
        record = of_a_regression(store_study("numbers", metric="val_r2", gain=0.003))
        shown = text_of(searches.page(record).render())
        assert (
            "What you hold: this network reaches a test R² of 0.8943 on 1000 test examples"
            in shown
        )
        assert "+0.0030: on 1000 test examples" in shown
        for wrong in self.WRONG:
            assert wrong not in shown.partition(" Settings ")[0] + searches.text(record)

    def test_models_tell_r2(self, tmp_path: Path) -> None:
        known = {(i, seed): 0.8 + i / 10 for i in range(2) for seed in range(6)}
        settings = ("models", ("a", "b"), tuple(range(6)), False, 0.001, ("split",), (100, 50))
        models = ModelComparison(known, *settings, 100, 50, score="test R²")
        models.report(tmp_path / "models.html")
        shown = text_of((tmp_path / "models.html").read_text(encoding="utf-8"))
        assert "b has the best mean test R², 0.9000 over 6 seeds" in shown
        assert model_comparisons.caveat(models) in shown
        for text in (shown, str(models)):
            assert "+0.1000" in text
            for wrong in (*self.WRONG, "80.00"):
                assert wrong not in text
        # The best one comes first.
        boxes = [trace for trace in models.plot().data if trace.type == "box"]
        assert [max(box.x) for box in boxes] == [0.9, 0.8]
        assert boxes[0].hovertext[5] == "b, seed 5: 0.9000"
