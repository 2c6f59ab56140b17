"""What a comparison prints, and what its report is made of."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import optuna
import pytest
from shown_pages import RUN, SETTINGS, noise, parsed, text_of, titles
from stored_studies import (
    declaration,
    four_arms,
    read_again,
    store_comparison,
    store_head,
    store_study,
)

from adnn_optuna.api.comparisons import Comparison, load_comparison
from adnn_optuna.engine.records import read_record
from adnn_optuna.reporting import comparisons, comparisons_claims

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    gains = {"greedy": [0.02, 0.03], "walk": [0.01, 0.02], "random_restart": [0.0, 0.01]}
    return store_comparison(gains)


class TestComparison:
    def test_content(self, comparison: Comparison) -> None:
        page = comparisons.page(comparison)
        content = page.content
        assert page.template == "comparison.html.jinja"
        assert page.mind == ""
        # The seed is that of each run, so it is no setting.
        assert content["settings"] == [
            *SETTINGS,
            *(
                setting
                for sampler in ("greedy", "annealing", "random_restart")
                for setting in (
                    (
                        f"search, {sampler}",
                        f"sampler {sampler}, n_trials 12, batch_size 1",
                    ),
                    (f"run, {sampler}", RUN),
                )
            ),
            ("storage", "in memory"),
        ]
        assert titles(page) == [
            ("test-accuracy", "Test accuracy by seed, which no search saw"),
            ("compute", "What the same compute brings: best so far against epochs trained"),
            ("price-of-luck", "The price of luck: the best of n random initialisations"),
        ]

    def test_name_is_what_its_studies_have_in_common(self) -> None:
        storage = optuna.storages.InMemoryStorage()
        store_head(storage, "mine", declaration([0], "greedy", "random_restart"))
        for arm in ("greedy", "random_restart"):
            store_study(f"mine/{arm}/seed=0", sampler=arm, storage=storage)
        loaded = load_comparison(storage, "mine")
        assert comparisons.page(loaded).content["name"] == "mine"

    def test_picture_is_of_what_each_arm_gains_beyond_luck(self, comparison: Comparison) -> None:
        picture = comparisons.page(comparison).content["picture"]
        assert (picture.kind, picture.title) == (
            "gains",
            "What is gained beyond luck, and how far it may be off",
        )
        figure = picture.figure
        assert [*figure.layout.yaxis.ticktext] == ["greedy", "walk", "random_restart"]
        assert [trace.x[0] for trace in figure.data] == pytest.approx([2.0, 1.0, 0.0])
        title = figure.layout.xaxis.title.text.replace("<br>", " ")
        assert title == "Gain over random restarts [percentage points]"
        region = next(shape for shape in figure.layout.shapes if shape.type == "rect")
        assert (region.x0, region.x1) == pytest.approx((-0.1, 0.1))


@pytest.fixture(scope="module")
def wide_comparison() -> Comparison:
    greedy, annealing, restarts = noise(3)
    return store_comparison(
        {"greedy": greedy + 0.01, "annealing": annealing, "random_restart": restarts}
    )


@pytest.fixture(scope="module")
def page(wide_comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "comparison.html"
    wide_comparison.report(path)
    return path.read_text(encoding="utf-8")


class TestPage:
    @pytest.mark.parametrize("with_plotly", [False, pytest.param(True, marks=pytest.mark.slow)])
    def test_is_valid_and_whole(self, page: str, with_plotly: bool) -> None:
        document = parsed(page, with_plotly=with_plotly)
        ids = [element.attrib["id"] for element in document.iter() if "id" in element.attrib]
        assert len(ids) == len(set(ids)) >= 4
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
        self, page: str, wide_comparison: Comparison
    ) -> None:
        shown = text_of(page)
        told = comparisons_claims.verdict_of_comparison(wide_comparison)
        assert shown.count(told) == shown.count("validation") + 1 == 1
        for row in wide_comparison.differences().itertuples():
            assert f"{100 * row.difference:+.2f} pp" in shown
            assert f"{100 * row.low:+.2f} to {100 * row.high:+.2f} pp" in shown
        for runs in wide_comparison.results.values():
            for run in runs:
                assert run.study.study_name in shown
                assert f"{100 * run.test_value:.2f} %" in shown

    def test_holds_settings(self, page: str) -> None:
        shown = text_of(page)
        for words in ("training.optimizer sgd", "model.hidden [16]", "in memory"):
            assert words in shown

    def test_needs_a_folder(self, wide_comparison: Comparison, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="no folder"):
            wide_comparison.report(tmp_path / "missing" / "report.html")


class TestControls:
    def test_stand_beside_the_claim_and_in_every_table(self) -> None:
        greedy, restarts, rates = noise(3)
        gains = {"greedy": greedy, "random_restart": restarts, "rates": rates + 0.2}
        before = store_comparison(gains)
        for record in before.results["rates"]:
            settings = record.study.user_attrs["adnn:search"]
            record.study.set_user_attr("adnn:search", {**settings, "sampler": "learning_rate"})
        results = {k: [read_record(r.study) for r in runs] for k, runs in before.results.items()}
        comparison = Comparison(results, before.seeds)
        html = comparisons.page(comparison).render()
        gain = comparison.table()["test_gain"]["rates"]
        [means] = [row for row in comparisons._mean_rows(comparison)[1] if row[0] == "rates"]
        assert means[4].startswith(f"{100 * gain:+.2f} ±")
        picture = comparisons.picture(comparison)
        assert [*picture.layout.yaxis.ticktext] == ["greedy", "rates", "random_restart"]
        assert [trace.marker.symbol for trace in picture.data] == ["circle", *["circle-open"] * 2]
        assert all(end > 0 for trace in picture.data[:2] for end in trace.error_x.array)
        shown = text_of(html)
        assert "The same compute spent on the learning rate gains +20" in shown
        assert "What the same compute brings: best so far against epochs trained" in shown
        for against in ("greedy against rates", "random_restart against rates"):
            assert f"{against} worse" in shown
        assert "rates/seed=0" in shown
        assert "search, learning_rate sampler learning_rate" in shown


class TestFirstScreen:
    def test_of_a_comparison_sets_luck_apart(self) -> None:
        gains = {"greedy": [0.01] * 8, "random_restart": [0.01] * 8}
        comparison = store_comparison(gains)
        answers = comparisons_claims.answers_of_comparison(comparison, None)
        assert "on 1000 test examples, which no search saw" in answers["What you hold:"]
        assert "beyond that, greedy has +0.00 pp" in answers["What is usual:"]
        first, _, last = text_of(comparisons.page(comparison).render()).partition(" Evidence ")
        assert "No searcher is better than random restarts: greedy" in first
        for i, (question, answer) in enumerate(answers.items()):
            assert f"{question} {answer}" in (first if i < 2 else last)


PRINTED = """\
                        best  gain [pp] over  test accuracy  test gain [pp]  test gain [pp]
sampler         val_accuracy    own baseline            [%]    own baseline   mean baseline
-------------------------------------------------------------------------------------------
greedy          91.55 ± 0.95    +1.58 ± 0.44   90.01 ± 1.26    +1.03 ± 0.31    +1.03 ± 1.26
annealing       91.55 ± 1.13    +1.57 ± 0.39   88.80 ± 1.05    -0.18 ± 0.37    -0.18 ± 1.05
random_restart  91.62 ± 1.00    +1.65 ± 0.38   88.98 ± 1.11    +0.00 ± 0.30    +0.00 ± 1.11
rates           91.42 ± 0.89    +1.45 ± 0.29   94.03 ± 0.98    +5.05 ± 0.29    +5.05 ± 0.98
-------------------------------------------------------------------------------------------
mean ± standard deviation over 10 seeds; pp = percentage points; one of 1000 test images: 0.1 pp

                            difference
test accuracy of                  [pp]        interval  least           superior    verdict
-------------------------------------------------------------------------------------------
greedy - annealing               +1.21  +0.64 to +1.74  +0.08  100 % (69 to 100)     better
greedy - random_restart          +1.03  +0.53 to +1.56  +0.40  100 % (69 to 100)     better
annealing - random_restart       -0.18  -0.60 to +0.25  -0.86    40 % (12 to 74)  undecided
greedy - rates                   -4.02  -4.57 to -3.50  -5.10      0 % (0 to 31)      worse
annealing - rates                -5.23  -5.55 to -4.94  -5.87      0 % (0 to 31)      worse
random_restart - rates           -5.05  -5.38 to -4.69  -5.51      0 % (0 to 31)      worse
-------------------------------------------------------------------------------------------
paired by seed; equivalent: within ±0.1 pp; superior: share of seeds, ties half, 95 % each
least: the smallest difference; each verdict is on the mean difference; 10 seeds: what befalls
fewer than 26 % of seeds may not have been seen
interval: 95 % for the 3 claims on searchers together and the 3 claims on controls together, from
inverted sign flips, for the planned seeds

greedy is better than random restarts for most seeds: +1.03 pp of test accuracy for the same
number of trials (about 10 of 1000 test images; interval +0.53 to +1.56 pp, smallest +0.40 pp, 10
seeds). The same compute spent on the learning rate gains +5.05 pp over random restarts (interval
+4.69 to +5.38 pp, smallest +4.37 pp). 10 seeds: what befalls fewer than 26 % of seeds may not
have been seen."""


def test_whole_text() -> None:
    printed = four_arms()
    assert str(printed) == PRINTED
    assert [*printed.differences().index.names] == ["sampler", "other"]
    # Losses have no percent, on the test set neither.
    losses = store_comparison(
        {"greedy": [0.01] * 2, "random_restart": [0.0] * 2}, metric="val_loss"
    )
    header = str(losses).splitlines()[:2]
    assert header[0].split() == [
        "best",
        "gain",
        "over",
        "test",
        "loss",
        *["test", "gain"] * 2,
    ]
    assert header[1].split()[:4] == ["sampler", "val_loss", "own", "baseline"]
    assert "mean ± standard deviation over 2 seeds\n" in str(losses)
    assert "pp" not in str(losses)


def test_what_is_missing_is_said() -> None:
    storage, arms = optuna.storages.InMemoryStorage(), ("greedy", "random_restart")
    store_head(storage, "c", declaration(range(3), *arms))
    for seed in range(3):
        for arm in arms:
            study = store_study(f"c/{arm}/{seed=}", sampler=arm, seed=seed, storage=storage)
    assert load_comparison(storage, "c").is_complete
    study.set_user_attr("adnn:stop_reason", "interrupted")
    comparison = load_comparison(storage, "c")
    assert comparison.seeds == (0, 1)
    assert not comparison.is_complete
    said = "Not complete: 2 of 3 declared seeds are done; go on by compare, or by resume"
    for text in (str(comparison), comparisons_claims.caveat_of_comparison(comparison)):
        assert said in text
        assert "nan" not in text


def test_means_are_said_to_be_of_the_runs_that_came_to_a_value() -> None:
    comparison = store_comparison({"greedy": [0.01] * 8, "random_restart": [0.0] * 8})
    assert "over 8 seeds; pp =" in str(comparison)
    attrs = comparison.results["greedy"][2].attrs
    attrs.pop(next(name for name in attrs if name.startswith("adnn:test/")))
    comparison = dataclasses.replace(comparison)
    assert "over 8 seeds but for runs that came to no value; pp =" in str(comparison)


def test_without_any_winner_it_says_why() -> None:
    arms = {
        arm: [read_record(store_study(f"c/{arm}/seed=0", sampler=arm, values=[math.nan] * 3))]
        for arm in ("greedy", "random_restart")
    }
    for record in (run for of_arm in arms.values() for run in of_arm):
        record.study.set_user_attr("adnn:baseline", math.nan)
    comparison = read_again(Comparison(arms, (0,)))
    assert "were pruned, 3 diverged; lower the learning rate." in str(comparison)
    assert "nan" not in str(comparison)
    comparisons.page(comparison).render()
