"""What the reports of a search and of a comparison are made of."""

from __future__ import annotations

import base64
import json
import math
import re
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial
from stored_studies import store_comparison, store_confusions, store_study

import adnn_optuna
from adnn_optuna.engine.records import record_of
from adnn_optuna.evidence.comparison import Comparison, load_comparison
from adnn_optuna.reporting.pages import Page, comparison_page, search_page

if TYPE_CHECKING:
    from pathlib import Path

    from adnn_optuna.engine.records import SearchRecord

SETTINGS = [
    ("model.type", "MLP"),
    ("model.hidden", "[16]"),
    ("dataset.name", "digits"),
    ("dataset.source", "built-in"),
    ("dataset.fingerprint", "0" * 64),
    ("training.optimizer", "sgd"),
    ("training.epochs", "2"),
    ("space.type", "OffsetSpace"),
    ("space.low", "-0.2"),
    ("space.high", "0.2"),
    ("space.scope", "layer"),
    ("metric", "val_accuracy"),
]
RUN = "2026-11-25 12:00 UTC, max_trial 12, from 0 to 12 trials, ended by max_trial"


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    gains = {"greedy": [0.02, 0.03], "walk": [0.01, 0.02], "random_restart": [0.0, 0.01]}
    return store_comparison(gains)


@pytest.fixture(scope="module")
def record() -> SearchRecord:
    return record_of(store_study("one", gain=0.003))


def titles(page: Page, name: str = "figures") -> list[tuple[str, str]]:
    return [(figure.kind, figure.title) for figure in page.content[name]]


class TestSearch:
    def test_content(self) -> None:
        record = record_of(store_study("one", gain=0.003))
        page = search_page(record)
        assert page.template == "search.html.jinja"
        assert page.claim == page.claim.strip() != ""
        assert page.content["name"] == "one"
        assert page.content["settings"] == [
            *SETTINGS,
            ("seed", "0"),
            ("search", "sampler annealing, n_trials 12, batch_size 1"),
            ("run", RUN),
            ("storage", "in memory"),
        ]
        assert page.content["url"] is page.content["contract"] is None
        assert list(page.content["answers"]) == [
            "Is it luck?",
            "What else could be done?",
            "How to check it?",
        ]
        assert titles(page) == [
            ("gain", "Gain against trials"),
            ("annealing", "Annealing"),
            ("offsets", "Offsets by layer"),
        ]
        assert titles(page, "figures_of_test") == []
        html = page.render()
        for name in ("optuna", "numpy", "scipy"):
            assert f"{name} {version(name)}" in html
        assert f"adnn_optuna {adnn_optuna.__version__}" in html

    @pytest.mark.parametrize(
        ("sampler", "expected"),
        [
            (
                "random_restart",
                [
                    ("gain", "Gain against trials"),
                    ("distribution", "The same network, other random numbers"),
                    ("best-of-n", "The price of luck: the best of n random initialisations"),
                ],
            ),
            (
                "greedy",
                [
                    ("gain", "Gain against trials"),
                    ("walk", "Walk along δ"),
                    ("offsets", "Offsets by layer"),
                ],
            ),
        ],
    )
    def test_figures_are_those_of_its_searcher(
        self, sampler: str, expected: list[tuple[str, str]]
    ) -> None:
        assert titles(search_page(record_of(store_study("one", sampler=sampler)))) == expected

    def test_figures_of_classes_where_they_are_known(self) -> None:
        study = store_study("classes")
        store_confusions(study, [[9, 1], [2, 8]], [[10, 0], [1, 9]])
        kinds = [kind for kind, _ in titles(search_page(record_of(study)), "figures_of_test")]
        assert kinds == ["confusion", "calibration"]

    def test_picture_is_of_the_gain_beside_what_was_chosen_by(self) -> None:
        record = record_of(store_study("one", gain=0.003))
        figure = search_page(record).content["picture"].figure
        assert figure.layout.title.text == "What was gained, and how far it may be off"
        labels = [label.replace("<br>", " ") for label in figure.layout.yaxis.ticktext]
        assert labels == ["test examples", "what it was chosen by"]
        tested, chosen = figure.data
        low, high = record.test_interval
        assert [*tested.x] == pytest.approx([0.3])
        assert [*tested.error_x.array] == pytest.approx([100 * high - 0.3])
        assert [*tested.error_x.arrayminus] == pytest.approx([0.3 - 100 * low])
        assert [*chosen.x] == pytest.approx([100 * record.gain])
        assert chosen.error_x.array is None
        # A gain in loss is no gain in accuracy.
        losses = search_page(record_of(store_study("one", metric="val_loss", gain=0.003)))
        assert [*losses.content["picture"].figure.layout.yaxis.ticktext] == ["test examples"]
        nothing = search_page(record_of(store_study("none", values=[math.nan] * 2)))
        assert len(nothing.content["picture"].figure.data) == 0

    def test_dates_are_those_of_its_trials(self) -> None:
        study = optuna.create_study(study_name="dated")
        assert search_page(record_of(study)).content["dates"] == "no trials"
        for day, state in ((3, TrialState.COMPLETE), (7, TrialState.FAIL), (5, TrialState.PRUNED)):
            trial = create_trial(value=1.0 if state == TrialState.COMPLETE else None, state=state)
            trial.datetime_start = datetime.fromisoformat(f"2026-11-0{day}T23:00")
            trial.datetime_complete = datetime.fromisoformat(f"2026-11-0{day + 1}T01:00")
            study.add_trial(trial)
            if day == 3:
                dates = search_page(record_of(study)).content["dates"]
                assert dates == "trained 2026-11-03 to 2026-11-04"
        dates = search_page(record_of(study)).content["dates"]
        assert dates.startswith("trained 2026-11-03 to 2026-11-0")

    def test_settings_are_shown_as_they_are_written(self) -> None:
        study = store_study("one")
        model = {"classes": ["größe", "δ"], "layers": {"one": {"units": 3}, "none": {}}}
        config = {"model": model, "seed": None}
        study.set_user_attr("adnn:config", {**study.user_attrs["adnn:config"], **config})
        settings = dict(search_page(record_of(study)).content["settings"])
        shown = {name: value for name, value in settings.items() if name.startswith("model")}
        assert shown == {
            "model.classes": '["größe", "δ"]',
            "model.layers.one.units": "3",
            "model.layers.none": "{}",
        }
        assert settings["seed"] == "null"

    def test_refuses_a_file_that_cannot_be_written(self, tmp_path: Path) -> None:
        page = search_page(record_of(store_study("one")))
        with pytest.raises((ValueError, OSError), match=r"^The report"):
            page.save(tmp_path)
        with pytest.raises(FileNotFoundError, match=r"^The report"):
            page.save(tmp_path / "no" / "report.html")


class TestComparison:
    def test_content(self, comparison: Comparison) -> None:
        page = comparison_page(comparison)
        content = page.content
        assert page.template == "comparison.html.jinja"
        assert page.lead == ""
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
        everything = {
            (label, seed): run
            for label, of_arm in comparison.results.items()
            for seed, run in enumerate(of_arm)
        }
        label, run = content["lucky"]
        assert run.gain == max(run.gain for run in everything.values())
        assert run in comparison.results[label]
        assert content["mean_baseline"] == pytest.approx(
            np.mean([run.baseline for run in everything.values()])
        )
        assert (content["best"].arm, content["best"].other) == ("greedy", "random_restart")
        assert titles(page) == [
            ("test-accuracy", "Test accuracy by seed, which no search saw"),
            ("compute", "What the same compute brings: best so far against epochs trained"),
            ("price-of-luck", "The price of luck: the best of n random initialisations"),
            ("trials", "Best gain against trials, mean ± sd of 2 seeds"),
            ("seconds", "Best gain against seconds, mean ± sd of 2 seeds"),
            ("target", "Share of the runs that reached val_accuracy 91.8 %"),
            ("distribution", "The same network, other random numbers"),
            ("walk", "Walk along δ: greedy"),
            ("offsets", "Offsets by layer: greedy"),
            ("annealing", "Annealing: walk"),
            ("offsets", "Offsets by layer: walk"),
        ]

    def test_luckiest_run_is_one_whose_gain_is_known(self) -> None:
        runs = store_comparison({"greedy": [0.0, 0.0], "random_restart": [0.0, 0.0]}).results
        failed = runs["greedy"][0].study
        failed.set_user_attr("adnn:baseline", math.nan)
        results = {label: [record_of(run.study) for run in runs[label]] for label in runs}
        content = comparison_page(Comparison(results, (0, 1))).content
        known = [run for of_arm in results.values() for run in of_arm if run.study is not failed]
        assert content["lucky"][1].gain == max(run.gain for run in known)
        mean = np.mean([run.baseline for run in known])
        assert content["mean_baseline"] == pytest.approx(mean)

    def test_name_is_what_its_studies_have_in_common(self) -> None:
        storage = optuna.storages.InMemoryStorage()
        for arm in ("greedy", "random_restart"):
            store_study(f"mine/{arm}/seed=0", sampler=arm, storage=storage)
        loaded = load_comparison(storage, "mine")
        assert comparison_page(loaded).content["name"] == "mine"

    def test_picture_is_of_what_is_gained_beyond_luck(self, comparison: Comparison) -> None:
        picture = comparison_page(comparison).content["picture"]
        assert (picture.kind, picture.title) == (
            "gains",
            "What is gained beyond luck, and how far it may be off",
        )
        figure = picture.figure
        assert [*figure.layout.yaxis.ticktext] == ["greedy", "walk"]
        assert [trace.x[0] for trace in figure.data] == pytest.approx([2.0, 1.0])
        title = figure.layout.xaxis.title.text.replace("<br>", " ")
        assert title == "Gain over random restarts [percentage points]"
        region = next(shape for shape in figure.layout.shapes if shape.type == "rect")
        assert (region.x0, region.x1) == pytest.approx((-0.1, 0.1))


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
            "files": {"weights": {"name": "my contract.npz"}},
            **changes,
        }

    def test_is_shown_as_its_file_has_it(self, record: SearchRecord) -> None:
        contract = self.contract(record)
        page = search_page(record, contract)
        shown = page.content["contract"]
        assert (shown["name"], shown["quoted_name"]) == (
            "my contract.json",
            "'my contract.json'",
        )
        assert json.loads(base64.b64decode(shown["base64"])) == contract
        assert shown["text"] == json.dumps(contract, indent=1) + "\n"
        assert shown["promised"][-2:] == [
            ("baseline.test_accuracy", "0.897"),
            ("environment.python", "3.11"),
        ]
        assert shown["transfer"] == []
        check = "Anyone can: adnn verify 'my contract.json' trains both networks again and names"
        assert page.content["answers"]["How to check it?"].startswith(check)

    @pytest.mark.parametrize(
        ("winner", "is_an_image"), [(0.9, False), (0.8986, False), (0.8984, True), (0.89, True)]
    )
    def test_gain_of_one_image_is_told(
        self, record: SearchRecord, winner: float, is_an_image: bool
    ) -> None:
        contract = self.contract(record)
        contract["winner"]["test_accuracy"] = winner
        shown = search_page(record, contract).content["contract"]
        assert shown["is_an_image"] == is_an_image

    def test_what_transfers_is_told(self, record: SearchRecord) -> None:
        contract = self.contract(record, certified={"initialisations": [0.002, 0.003, 0.004]})
        [said, *_] = search_page(record, contract).content["contract"]["transfer"]
        # Student's t of 2 degrees: 4.3027 · 0.001 / √3.
        assert said == (
            "with 3 fresh initialisations the gain is +0.30 pp (95 % interval +0.05 to +0.55 pp)"
        )

    @pytest.mark.parametrize(
        ("part", "key", "value", "said"),
        [
            ("study", "name", "two", "study.name is 'one', was 'two'"),
            ("study", "trials", 11, "study.trials is 12, was 11"),
            ("study", "completed_trials", 10, "study.completed_trials is 12, was 10"),
            ("study", "best_trial", 99, "study.best_trial is {best}, was 99"),
            ("winner", "params", {}, None),
            ("objective", "seed", 5, "objective.seed is 0, was 5"),
            ("objective", "metric", "x", "objective.metric is 'val_accuracy', was 'x'"),
            ("objective", "training", {"epochs": 2}, "objective.training.optimizer is 'sgd'"),
            (
                "objective",
                "space",
                {"type": "OtherSpace"},
                "objective.space.type is 'OffsetSpace'",
            ),
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
            search_page(record, contract)
