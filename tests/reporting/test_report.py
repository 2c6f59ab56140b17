"""Reports: one page that holds together, says what was found, and trusts nothing it shows."""

from __future__ import annotations

import base64
import json
import math
import os
from typing import TYPE_CHECKING, Any

import html5lib
import numpy as np
import optuna
import pytest
from search_worker import make_objective
from stored_studies import store_comparison, store_look, store_study

import adnn_optuna as adnn
from adnn_optuna._attributes import RUNS
from adnn_optuna.accountability.contract import read_contract
from adnn_optuna.engine.records import record_of
from adnn_optuna.evidence.comparison import Comparison, load_comparison
from adnn_optuna.reporting.claims import (
    against_control,
    claim_of_comparison,
    images,
)
from adnn_optuna.reporting.pages import _plotly_js, comparison_page, search_page

if TYPE_CHECKING:
    from pathlib import Path
    from xml.etree.ElementTree import Element

EVIL = "<script>alert(1)</script>"


def noise(n_arms: int, n_seeds: int = 12) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.004, (n_arms, n_seeds))


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    greedy, annealing, restarts = noise(3)
    return store_comparison(
        {"greedy": greedy + 0.01, "annealing": annealing, "random_restart": restarts}
    )


@pytest.fixture(scope="module")
def page(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "comparison.html"
    comparison.report(path)
    return path.read_text(encoding="utf-8")


def parsed(html: str, *, with_plotly: bool = False) -> Element:
    """Return the document, which must be valid HTML."""
    if not with_plotly:  # Of its five million characters, one test is enough.
        html = html.replace(_plotly_js(), "")
    document: Element = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(html)
    return document


def text_of(html: str) -> str:
    document = parsed(html)
    for script in [*document.iter("script"), *document.iter("style")]:
        script.text = ""
    return " ".join(" ".join(document.itertext()).split())


def cards_of(html: str) -> dict[str, tuple[str, str]]:
    """Return the value and the note of each card by its label."""
    [cards] = list(parsed(html).iter("dl"))
    texts = [["".join(part.itertext()) for part in card] for card in cards]
    return {label: (value, note) for label, value, note in texts}


class TestPage:
    # With plotly's code it takes long, and shows something new with a new version of it only.
    @pytest.mark.parametrize("with_plotly", [False, pytest.param(True, marks=pytest.mark.slow)])
    def test_is_valid_and_whole(self, page: str, with_plotly: bool) -> None:
        document = parsed(page, with_plotly=with_plotly)
        ids = [element.attrib["id"] for element in document.iter() if "id" in element.attrib]
        assert len(ids) == len(set(ids)) >= 10
        for plot in document.iter("div"):
            if "data-figure" in plot.attrib:
                assert plot.attrib["data-figure"] in ids
        assert page.count("Plotly.react(") >= 1
        assert page.count("plotly.js v") == 1

    def test_loads_nothing(self, page: str) -> None:
        for element in parsed(page).iter():
            for name in ("src", "href", "srcset", "action", "data"):
                value = element.attrib.get(name, "")
                assert value.startswith(("data:", "#")) or not value
        assert "default-src 'none'" in page
        style = "".join(element.text or "" for element in parsed(page).iter("style"))
        assert "url(" not in style
        assert "@import" not in style
        assert "prefers-color-scheme: dark" in style

    def test_says_what_was_found_and_shows_every_run(
        self, page: str, comparison: Comparison
    ) -> None:
        shown = text_of(page)
        assert claim_of_comparison(comparison) in shown
        for row in comparison.differences().itertuples():
            assert f"{100 * row.difference:+.2f} pp" in shown
            assert f"{100 * row.low:+.2f} to {100 * row.high:+.2f} pp" in shown
        for runs in comparison.results.values():
            for run in runs:
                assert run.study.study_name in shown
                assert f"{100 * run.test_value:.2f} %" in shown

    def test_holds_settings(self, page: str) -> None:
        shown = text_of(page)
        for words in ("training.optimizer sgd", "model.hidden [16]", "in memory"):
            assert words in shown

    def test_holds_when_each_run_was_made_under_which_limits_and_why_it_ended(self) -> None:
        study = store_study("runs")
        run = {
            "began": "2026-11-23T09:00:30.5+00:00",
            "sampler": "annealing",
            "limits": {"max_time": None, "max_trial": 12, "max_gain": None},
            "n_trials_before": 0,
            "stop_reason": "max_trial",
            "n_trials": 12,
        }
        later = {"began": "2026-11-24T10:00:00+00:00", "limits": {"max_time": 30.5}}
        later |= {"n_trials_before": 12, "stop_reason": None, "n_trials": None}
        for one in ({**run, **later}, run):
            study.set_user_attr(f"{RUNS}/{one['began']}-1", one)
        shown = text_of(search_page(record_of(study)).render())
        assert (
            "run 2026-11-23 09:00 UTC, max_trial 12, from 0 to 12 trials, ended by max_trial "
            "run 2026-11-24 10:00 UTC, max_time 30.5, from 12 trials on, not ended"
        ) in shown

    def test_needs_a_folder(self, comparison: Comparison, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="no folder"):
            comparison.report(tmp_path / "missing" / "report.html")


class TestClaim:
    @pytest.mark.parametrize(
        ("gain", "n_seeds", "claim", "verdict"),
        [
            (0.02, 12, "greedy is better than random restarts: +", "better"),
            (-0.02, 12, "Every searcher is worse than random restarts", "worse"),
            (0.001, 12, "No searcher is shown to be better than random restarts", "undecided"),
            (0.02, 3, "No searcher is shown to be better than random restarts", "undecided"),
        ],
    )
    def test_is_no_more_than_the_verdict(
        self, gain: float, n_seeds: int, claim: str, verdict: str
    ) -> None:
        greedy, restarts = noise(2, n_seeds)
        for gains in (
            {"greedy": greedy + gain, "random_restart": restarts},
            {"random_restart": restarts, "greedy": greedy + gain},
        ):
            comparison = store_comparison(gains)
            assert claim_of_comparison(comparison).startswith(claim)
            assert [row.verdict for row in against_control(comparison)] == [verdict]

    def test_of_a_copy_is_that_it_is_equivalent(self) -> None:
        comparison = store_comparison({"greedy": [0.01] * 8, "random_restart": [0.01] * 8})
        assert claim_of_comparison(comparison).startswith("No searcher is better")
        assert "equivalent" in claim_of_comparison(comparison)

    def test_names_all_that_are_better(self) -> None:
        a, b, restarts = noise(3)
        gains = {"a": a + 0.02, "b": b + 0.03, "random_restart": restarts}
        claim = claim_of_comparison(store_comparison(gains))
        assert claim.startswith("b is better than random restarts")
        assert claim.endswith("; so is a.")

    def test_is_of_one_that_is_better_whatever_the_mean_of_one_that_may_not_be(self) -> None:
        steady, noisy, restarts = noise(3)
        gains = {
            "steady": steady + 0.008,
            "noisy": 30 * noisy + 0.05,
            "random_restart": restarts,
        }
        comparison = store_comparison(gains)
        verdicts = {row.arm: row.verdict for row in against_control(comparison)}
        assert verdicts == {"steady": "better", "noisy": "undecided"}
        assert claim_of_comparison(comparison).startswith("steady is better than random restarts")
        cards = cards_of(comparison_page(comparison).render())
        assert "better" in cards["What steady is worth"][1]

    def test_is_not_of_every_searcher_while_one_is_undecided(self) -> None:
        worse, noisy, restarts = noise(3)
        gains = {
            "worse": worse - 0.01,
            "noisy": 30 * noisy - 0.03,
            "random_restart": restarts,
        }
        comparison = store_comparison(gains)
        verdicts = {row.arm: row.verdict for row in against_control(comparison)}
        assert verdicts == {"worse": "worse", "noisy": "undecided"}
        claim = claim_of_comparison(comparison)
        assert claim.startswith("No searcher is shown to be better than random restarts: worse")

    def test_of_one_search_leaves_luck_open(self) -> None:
        page = search_page(record_of(store_study("one", gain=0.02)))
        assert "+2.00 percentage points" in page.claim
        assert "this is one beginning, which may have been an unlucky one" in text_of(
            page.render()
        )


class TestNames:
    def test_of_studies_and_samplers_are_text(self) -> None:
        evil = store_comparison({EVIL: [0.0, 0.0], "random_restart": [0.0, 0.0]})
        shown = text_of(comparison_page(evil).render())
        assert EVIL in shown
        html = comparison_page(evil).render()
        assert EVIL not in html
        one = search_page(record_of(store_study(f"'\"{EVIL}"))).render()
        assert EVIL not in one
        assert f"Search '\"{EVIL}" in text_of(one)

    def test_figures_cannot_end_their_script(self, comparison: Comparison) -> None:
        runs = list(comparison.results.values())
        evil = Comparison({f"{EVIL}&": runs[0], "luck": runs[2]}, comparison.seeds)
        html = comparison_page(evil).render()
        for script in parsed(html).iter("script"):
            if script.attrib.get("type") == "application/json":
                figure = json.loads(script.text or "")
                assert {"data", "layout"} <= set(figure)
        assert EVIL not in html


@pytest.mark.tensorflow
def test_contract_is_shown_and_can_be_saved(tmp_path: Path) -> None:
    result = adnn.search(make_objective(), "greedy", max_trial=2, study_name=EVIL)
    file = tmp_path / "evil contract.json"
    result.contract().save(file)
    content = read_contract(file)
    search_page(result, content).save(tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert EVIL not in html
    assert EVIL in text_of(html)
    [link] = list(parsed(html).iter("a"))
    saved = base64.b64decode(link.attrib["href"].partition("base64,")[2])
    assert saved == file.read_bytes()
    content = json.loads(saved)
    assert content["winner"]["trained_weights_sha256"] in text_of(html)
    assert "adnn verify 'evil contract.json'" in text_of(html)
    assert "not shown in this environment" in text_of(html)
    with pytest.raises(ValueError, match=r"of another result .*study\.name is 'another'"):
        search_page(record_of(store_study("another")), content)


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
        search_page(later, content)


@pytest.mark.tensorflow
def test_contract_shows_which_gain_transfers(tmp_path: Path) -> None:
    result = adnn.search(make_objective(), "annealing", max_trial=2)
    result.contract(certify=5).save(tmp_path / "c.json")
    result.report(tmp_path / "report.html", tmp_path / "c.json")
    html = text_of((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "Trained afresh, with 5 fresh initialisations the gain is" in html
    text = (tmp_path / "c.json").read_text().replace('"max_trial"', '"max_time"')
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(ValueError, match="was edited after it was written"):
        result.report(tmp_path / "report.html", tmp_path / "c.json")


class TestControls:
    def test_stand_beside_the_claim_and_in_every_table(self) -> None:
        greedy, restarts, rates = noise(3)
        gains = {"greedy": greedy, "random_restart": restarts, "rates": rates + 0.2}
        before = store_comparison(gains)
        for record in before.results["rates"]:
            settings = record.study.user_attrs["adnn:search"]
            record.study.set_user_attr("adnn:search", {**settings, "sampler": "learning_rate"})
        results = {k: [record_of(r.study) for r in runs] for k, runs in before.results.items()}
        comparison = Comparison(results, before.seeds)
        html = comparison_page(comparison).render()
        gain = comparison.table()["test_gain"]["rates"]
        card = cards_of(html)["What the same compute gains otherwise"]
        assert card == (f"{100 * gain:+.2f} pp", card[1])
        assert card[1].endswith("with rates")
        shown = text_of(html)
        assert "The same compute spent on the learning rate gains +20" in shown
        assert "What the same compute brings: best so far against epochs trained" in shown
        for against in ("greedy against rates", "random_restart against rates"):
            assert f"{against} worse" in shown
        assert "rates/seed=0" in shown
        assert "search, learning_rate sampler learning_rate" in shown
        # They move no offsets, so they have no figure of their own.
        assert "Offsets by layer: greedy" in shown
        assert "Offsets by layer: rates" not in shown


class TestTestSet:
    """What a search's report says of its test gain, and of the looks at the test set."""

    def test_gain_names_its_images_and_its_interval(self) -> None:
        record = record_of(store_study("gained", gain=0.003))
        low, high = (f"{100 * end:+.2f}" for end in record.test_interval)
        gain = f"+0.30 pp: 3 of 1000 test images (95 % interval {low} to {high} pp)"
        shown = text_of(search_page(record).render())
        assert gain.replace(":", "") in shown
        assert gain in str(record)
        assert "used once, after 12 trials" in shown
        assert "alone gets 23 of 1000 test images right, the unmoved network alone 20" in shown
        assert "looked at" not in shown

    @pytest.mark.parametrize(
        ("gain", "words"), [(0.0, "+0.00 pp: no image (95"), (-0.002, "-0.20 pp: 2 of 1000 test")]
    )
    def test_gain_may_be_nothing_or_a_loss(self, gain: float, words: str) -> None:
        assert words in str(record_of(store_study("lost", gain=gain)))

    def test_was_looked_at_twice(self) -> None:
        study = store_study("twice", gain=0.003)
        study.enqueue_trial({})
        study.tell(study.ask(), 2.0)
        assert math.isnan(record_of(study).test_value)
        assert "result.test() or resume opens it" in str(record_of(study))
        store_look(study, "2026-11-25T13:00:00+00:00", 0.9, 0.005)
        # Another worker that ended at the same time.
        store_look(study, "2026-11-25T13:00:01+00:00", 0.9, 0.005)
        shown = text_of(search_page(record_of(study)).render())
        assert shown.count("was looked at 2 times, after 12 and 13 trials: the later gains") == 2
        assert "+0.50 pp 5 of 1000 test images" in shown

    def test_gain_of_several_seeds_is_about_so_many_images(self) -> None:
        look: Any = {"n_images": 359, "unit": "images"}
        assert images(2 / 359, look) == "about 2 of 359 test images"
        assert images(-0.0042, look) == "about 2 of 359 test images"
        assert images(-0.9 / 359, look) == images(0.0, look) == "less than one of 359 test images"
        difference = 0.9777158774373259 - 0.9749303621169917  # One image but for the last bits.
        assert images(difference, look) == "about 1 of 359 test images"
        assert images(math.nan, look) == "an unknown number of 359 test images"


class TestAnyState:
    def test_password_is_masked(self) -> None:
        database = optuna.storages.RDBStorage("sqlite://")
        study = store_study("secret", storage=database)
        database.url = "mysql://me:hunter2@host/db"
        html = search_page(record_of(study)).render()
        assert "hunter2" not in html
        assert "me:***@host" in html
        comparison = Comparison({"greedy": [record_of(study)]}, (0,))
        check = comparison_page(comparison).content["answers"]["How to check it?"]
        assert "page and stored in mysql://me:***@host/db; the same call" in check

    def test_unfinished_and_failed_searches_have_a_report(self) -> None:
        empty = optuna.create_study(study_name="empty", direction="maximize")
        failed = store_study("failed", values=[float("nan")] * 3)
        running = store_study("running")
        running.enqueue_trial({})
        running.tell(running.ask(), 2.0)
        for study in (empty, failed, running):
            html = search_page(record_of(study)).render()
            parsed(html)
            assert "nan" not in text_of(html).lower()

    def test_names_of_files_that_are_no_text_are_shown_with_escapes(self, tmp_path: Path) -> None:
        study = store_study("odd")
        config = study.user_attrs["adnn:config"]
        config["dataset"]["path"] = os.fsdecode(b"/\xff\xfe.npz")
        study.set_user_attr("adnn:config", config)
        search_page(record_of(study)).save(tmp_path / "report.html")
        html = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert r"/\udcff\udcfe.npz" in text_of(html)

    def test_losses_are_no_percentages(self) -> None:
        gains = {"greedy": [0.01] * 3, "random_restart": [0.0] * 3}
        page = comparison_page(store_comparison(gains, metric="val_loss"))
        values = [value for value, _ in cards_of(page.render()).values()]
        assert "pp" not in values[0]
        assert "pp" in values[1]


class TestLoaded:
    def test_comparison_is_the_same(self) -> None:
        storage = optuna.storages.InMemoryStorage()
        for label in ("greedy", "random_restart"):
            for seed in (0, 1, 10) if label == "greedy" else (0, 1):
                store_study(f"mine/{label}/{seed=}", sampler=label, seed=seed, storage=storage)
        store_study("mine", storage=storage)
        loaded = load_comparison(storage, "mine")
        assert list(loaded.results) == ["greedy", "random_restart"]
        assert loaded.seeds == (0, 1)
        assert loaded.control == "random_restart"
        with pytest.raises(ValueError, match="no comparison 'other'"):
            load_comparison(storage, "other")
