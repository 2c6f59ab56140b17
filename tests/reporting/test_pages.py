"""Pages: each holds together and trusts nothing that it shows."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

import optuna
import pytest
from shown_pages import EVIL, of_a_regression, parsed, text_of
from stored_studies import store_comparison, store_study

from adnn_optuna.api.comparisons import Comparison
from adnn_optuna.engine.records import record_of
from adnn_optuna.reporting import comparisons, searches

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
        evil = store_comparison({EVIL: [0.0, 0.0], "random_restart": [0.0, 0.0]})
        shown = text_of(comparisons.page(evil).render())
        assert EVIL in shown
        html = comparisons.page(evil).render()
        assert EVIL not in html
        one = searches.page(record_of(store_study(f"'\"{EVIL}"))).render()
        assert EVIL not in one
        assert f"Search '\"{EVIL}" in text_of(one)

    def test_figures_cannot_end_their_script(self) -> None:
        comparison = store_comparison({arm: [0.0] * 2 for arm in ("a", "b", "c")})
        runs = list(comparison.results.values())
        evil = Comparison({f"{EVIL}&": runs[0], "luck": runs[2]}, comparison.seeds)
        html = comparisons.page(evil).render()
        for script in parsed(html).iter("script"):
            if script.attrib.get("type") == "application/json":
                figure = json.loads(script.text or "")
                assert {"data", "layout"} <= set(figure)
        assert EVIL not in html


class TestAnyState:
    def test_password_is_masked(self) -> None:
        database = optuna.storages.RDBStorage("sqlite://")
        study = store_study("secret", storage=database)
        database.url = "mysql://me:hunter2@host/db"
        html = searches.page(record_of(study)).render()
        assert "hunter2" not in html
        assert "***@host" in html
        comparison = Comparison({"greedy": [record_of(study)]}, (0,))
        check = comparisons.page(comparison).content["answers"]["How to check it?"]
        assert "page and stored in mysql://***@host/db; the same call" in check

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

    def test_losses_are_no_percentages(self) -> None:
        gains = {"greedy": [0.01] * 3, "random_restart": [0.0] * 3}
        page = comparisons.page(store_comparison(gains, metric="val_loss"))
        of_selection, of_test = page.content["means"]["header"][1:3]
        for heading in (of_selection, of_test):
            assert "pp" not in heading
            assert "%" not in heading


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

    def test_comparison_tells_r2(self) -> None:
        gains = {"greedy": [0.02] * 8, "random_restart": [0.01] * 8}
        arms = store_comparison(gains, metric="val_r2").results
        results = {k: [of_a_regression(run.study) for run in runs] for k, runs in arms.items()}
        comparison = Comparison(results, tuple(range(8)))
        printed, html = str(comparison), comparisons.page(comparison).render()
        assert (
            "greedy is better than random restarts for most seeds: +0.0100 of test R²" in printed
        )
        assert "equivalent: within ±0.001;" in printed
        shown = text_of(html)
        assert "greedy against random_restart better +0.0100 +0.0100 to +0.0100" in shown
        for wrong in self.WRONG:
            assert wrong not in printed + shown.partition(" Settings ")[0]
        titles = [
            json.loads(s.text or "")["layout"]
            for s in parsed(html).iter("script")
            if s.attrib.get("type") == "application/json"
        ]
        assert "Gain in test R² over random<br>restarts" in str(titles)
        assert "pp]" not in str(titles)
        assert "percentage" not in str(titles)
