"""What a search prints, and what its report is made of."""

from __future__ import annotations

import math
from importlib.metadata import version

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial
from shown_pages import EVIL, RUN, SETTINGS, parsed, text_of, titles
from stored_studies import store_classes, store_confirmation, store_look, store_study

import adnn_optuna
from adnn_optuna import _attributes as stored
from adnn_optuna.engine.records import read_record
from adnn_optuna.plots._comparison import png
from adnn_optuna.reporting import searches, searches_claims
from adnn_optuna.reporting.searches_claims import statements
from adnn_optuna.results.confirmation import confirmation_of
from adnn_optuna.results.examples import Example, WinnerFacts


class TestSearch:
    def test_content(self) -> None:
        record = read_record(store_study("one", gain=0.003))
        page = searches.page(record)
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
            "What you hold:",
            "What is usual:",
            "What repeats:",
            "What else could be done?",
            "How to check it?",
        ]
        assert titles(page) == [
            ("gain", "Gain against trials"),
            ("places", "Where the best trials lie"),
        ]
        assert page.content["changed"] == []
        html = page.render()
        for name in ("optuna", "numpy", "scipy"):
            assert f"{name} {version(name)}" in html
        assert f"adnn_optuna {adnn_optuna.__version__}" in html

    @pytest.mark.parametrize("state", [None, TrialState.FAIL, TrialState.PRUNED])
    def test_of_no_winner_and_nobody_s_limits_shows_neither(
        self, state: TrialState | None
    ) -> None:
        study = optuna.create_study(study_name="theirs")
        if state is not None:
            study.add_trial(create_trial(state=state))
        page = searches.page(read_record(study))
        if state == TrialState.FAIL:
            assert page.claim == (
                "No trial was completed: 0 were pruned, 1 failed; look at the objective."
            )
        assert page.content["settings"] == [
            *(("search", "sampler study.optimize"), ("storage", "in memory"))
        ]
        shown = text_of(page.render())
        assert "No trial was" in shown
        assert "inner" not in shown
        assert "Evidence" not in shown

    def test_figures_of_random_restarts_show_luck(self) -> None:
        page = searches.page(read_record(store_study("one", sampler="random_restart")))
        assert titles(page) == [
            ("gain", "Gain against trials"),
            ("distribution", "The same network, other random numbers"),
            ("best-of-n", "The price of luck: the best of n random initialisations"),
        ]

    def test_picture_is_of_what_is_usual_and_what_repeats_beside_its_own_gain(
        self,
    ) -> None:
        study = store_study("one", gain=0.003)
        record = store_confirmation(study, [0.003, 0.004, 0.005, 0.006, 0.007, 0.008])
        figure = searches.page(record).content["picture"].figure
        assert figure.layout.title.text == "What is usual, what repeats, and how far it may be off"
        labels = [label.replace("<br>", " ") for label in figure.layout.yaxis.ticktext]
        assert labels == ["better than usual", "repeats", "over its own baseline"]
        facts = confirmation_of(record)
        assert facts is not None
        for drawn, estimate in zip(figure.data, (facts.usual, facts.repeats), strict=False):
            assert [*drawn.x] == pytest.approx([100 * estimate.value])
            ends = 100 * (estimate.high - estimate.value), 100 * (estimate.value - estimate.low)
            assert (*drawn.error_x.array, *drawn.error_x.arrayminus) == pytest.approx(ends)
        assert [*figure.data[2].x] == pytest.approx([0.3])
        assert figure.data[2].error_x.array is None
        alone = searches.page(read_record(store_study("two", gain=0.003))).content["picture"]
        assert len(alone.figure.data) == 1
        nothing = searches.page(read_record(store_study("none", values=[math.nan] * 2)))
        assert len(nothing.content["picture"].figure.data) == 0

    def test_settings_are_shown_as_they_are_written(self) -> None:
        study = store_study("one")
        model = {"classes": ["größe", "δ"], "layers": {"one": {"units": 3}, "none": {}}}
        config = {"model": model, "training": {"patience": None}}
        study.set_user_attr("adnn:config", {**study.user_attrs["adnn:config"], **config})
        settings = dict(searches.page(read_record(study)).content["settings"])
        shown = {name: value for name, value in settings.items() if name.startswith("model")}
        assert shown == {
            "model.classes": '["größe", "δ"]',
            "model.layers.one.units": "3",
            "model.layers.none": "{}",
        }
        assert settings["training.patience"] == "null"


class TestPictures:
    """What the page shows of winner and unmoved network, where these were trained once more."""

    FACTS = WinnerFacts(
        [{"val_accuracy": 0.5, "train_accuracy": 0.6}, {"val_accuracy": 0.7}],
        [{"val_accuracy": 0.75}, {"val_accuracy": 0.875}],
        lost=[Example(7, "cat", "cat", EVIL, np.eye(3), {})],
        won=[Example(8, "dog", "cat", "dog", np.ones((3, 3)), {})],
        n_lost=20,
        n_won=23,
    )

    def test_say_of_each_image_that_changed_what_both_networks_say(self) -> None:
        record = read_record(store_study("one", gain=0.003))
        html = searches.page(record, winner=self.FACTS).render()
        shown = text_of(html).replace(" ,", ",")
        says = f"is cat, unmoved cat, winner {EVIL}"
        assert f"Right before and wrong now: 1 of 20 of 1000 test images {says}" in shown
        says = "is dog, unmoved cat, winner dog"
        assert f"Wrong before and right now: 1 of 23 of 1000 test images {says}" in shown
        assert EVIL not in html
        images = [one.attrib["src"] for one in parsed(html).iter("img")]
        assert len(images) == 2
        assert images[0] == png(np.eye(3))

    def test_are_of_rows_where_the_data_are_a_table(self) -> None:
        rows = [Example(7, 0, 0, 1, None, {"age": 30.0, "city": "Rome"})]
        record = read_record(store_study("one", gain=0.003))
        facts = self.FACTS._replace(lost=rows, won=[])
        shown = text_of(searches.page(record, winner=facts).render())
        assert "row is unmoved winner age city 7 0 0 1 30 Rome" in shown

    def test_of_learning_are_by_epoch(self) -> None:
        page = searches.page(read_record(store_study("one")), winner=self.FACTS)
        [figure] = [f.figure for f in page.content["figures"] if f.kind == "learning"]
        drawn = {trace.name: ([*trace.x], [*trace.y]) for trace in figure.data}
        assert drawn["winner, validation"] == ([1, 2], [75.0, 87.5])
        assert drawn["unmoved, validation"] == ([1, 2], [50.0, 70.0])

    def test_of_a_winner_that_was_not_tested_show_no_example(self) -> None:
        study = store_study("going on")
        study.enqueue_trial({})
        study.tell(study.ask(), 2.0)
        assert searches.page(read_record(study), winner=self.FACTS).content["changed"] == []


class TestTestSet:
    """What a search's report says of its test gain, and of the looks at the test set."""

    def test_gain_names_its_images(self) -> None:
        record = read_record(store_study("gained", gain=0.003))
        gain = "+0.30 pp: 3 of 1000 test images"
        shown = text_of(searches.page(record).render())
        assert gain in shown
        # It is called what it is, below the three statements.
        own = "  Over the search's own baseline, which is one network of one seed:\n"
        above, _, below = searches.text(record).partition(own)
        assert gain in below
        assert "What repeats" in above
        assert "used once, after 12 trials" in shown
        assert "looked at" not in shown

    @pytest.mark.parametrize(
        ("gain", "words"), [(0.0, "+0.00 pp: no image"), (-0.002, "-0.20 pp: 2 of 1000 test")]
    )
    def test_gain_may_be_nothing_or_a_loss(self, gain: float, words: str) -> None:
        assert words in searches.text(read_record(store_study("lost", gain=gain)))

    def test_was_looked_at_twice(self) -> None:
        study = store_study("twice", gain=0.003)
        study.enqueue_trial({})
        study.tell(study.ask(), 2.0)
        assert math.isnan(read_record(study).test_value)
        assert "result.test() or resume opens it" in searches.text(read_record(study))
        store_look(study, "2026-11-25T13:00:00+00:00", 0.9, 0.005)
        # Another worker that ended at the same time.
        store_look(study, "2026-11-25T13:00:01+00:00", 0.9, 0.005)
        shown = text_of(searches.page(read_record(study)).render())
        assert shown.count("was looked at 2 times, after 12 and 13 trials: all looks but") == 1
        assert "+0.50 pp: 5 of 1000 test images" in shown


class TestUnevenClasses:
    MAJORITY = "97 % of the test set is class 'b': a network that always says so reaches 97 %"

    def test_majority_stands_beside_the_gain(self) -> None:
        study = store_study("classes")
        store_classes(study, [3, 97])
        record = read_record(study)
        assert f"  Mind that {self.MAJORITY}." in searches.text(record)
        # Before all evidence.
        first, _, _ = text_of(searches.page(record).render()).partition(" Evidence ")
        assert f"Mind that {self.MAJORITY}." in first

    @pytest.mark.parametrize(
        ("sizes", "is_uneven"),
        [([59, 41], False), ([60, 40], True), ([60, 40, 0], True), ([42, 29, 29], False)],
    )
    def test_are_so_where_one_is_half_as_frequent_again(
        self, sizes: list[int], is_uneven: bool
    ) -> None:
        study = store_study("classes")
        assert "always says so" not in searches.text(read_record(study))
        store_classes(study, sizes)
        assert ("always says so" in searches.text(read_record(study))) == is_uneven


class TestFirstScreen:
    def test_states_the_three_and_answers_without_a_word_of_the_field(self) -> None:
        record = read_record(store_study("one", gain=0.003))
        answers = searches_claims.answers_of_search(record, None)
        assert list(answers) == ["verdict", "What else could be done?", "How to check it?"]
        for answer in answers.values():
            assert answer.count(". ") == 0
            assert answer.endswith(".")
            for word in (" pp", "p-value", "McNemar", "baseline"):
                assert word not in answer
        page = searches.page(record)
        first, _, last = text_of(page.render()).partition(" Evidence ")
        for said in (answers["verdict"], *statements(record).values()):
            assert said in first
        for answer in [*answers.values()][1:]:
            assert answer in last
        places = [first.index(what) for what in ("What you hold: ", "What is usual: ")]
        assert places == sorted(places)
        # The largest letters are the verdict, and no searcher's gain.
        assert page.claim == "Whether anything repeats on fresh seeds is not known."

    def test_says_no_more_of_what_is_not_ours_or_not_there(self) -> None:
        other = optuna.create_study(study_name="other")
        assert list(searches_claims.answers_of_search(read_record(other), None)) == ["verdict"]
        other.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
        answers = searches_claims.answers_of_search(read_record(other), None)
        assert "adnn recheck" in answers["What was gained?"]
        assert statements(read_record(other)) == {}
        assert "own baseline" not in searches.text(read_record(other))
        shown = text_of(searches.page(read_record(other)).render()).partition(" Evidence ")[0]
        assert "network" not in shown.partition(" A dot is ")[0]


class TestUnfinished:
    def test_says_once_and_alike_that_its_winner_was_not_tested(self) -> None:
        study = store_study("going on")
        study.set_user_attr("adnn:stop_reason", None)
        study.enqueue_trial({})
        study.tell(study.ask(), 2.0)
        record = read_record(study)
        shown = text_of(searches.page(record).render())
        first, _, evidence = shown.partition(" Evidence ")
        assert "What you hold: not known before the test set is looked at" in first
        assert "· 13 trials, not ended" in first
        assert "only an earlier winner was tested; result.test() or resume opens it" in evidence
        assert "used once, after 12 trials" in evidence
        assert "closed" not in shown + searches.text(record)

    def test_says_where_it_stands_if_its_winner_was_tested(self) -> None:
        study = store_study("going on")
        study.set_user_attr("adnn:stop_reason", None)
        store_look(study, "2026-11-25T13:00:00+00:00", 0.9, 0.005)
        record = read_record(study)
        assert "905 of 1000 test images right" in searches.text(record)


def test_what_hyperparameters_gain_is_named_and_no_part_of_the_gain() -> None:
    record = read_record(store_study("of a trial", values=[0.9, 0.95]))
    assert record.best is not None
    first = record.baseline
    record.best.user_attrs["adnn:baseline"] = 0.945
    record = read_record(record.study)
    assert (record.baseline, record.gain) == (0.945, record.best_value - 0.945)
    said = f"alone gain {100 * (0.945 - first):+.2f} pp in val_accuracy over the first trial's"
    for shown in (searches.text(record), text_of(searches.page(record).render())):
        assert said in shown
    assert "hyperparameters" not in text_of(searches.page(read_record(store_study("s"))).render())


class TestWhatIsLeftAsItIs:
    def test_what_no_offset_moves_is_named(self) -> None:
        study = store_study("own layers")
        config = study.user_attrs[stored.CONFIG]
        assert "No offset moves" not in searches.text(read_record(study))
        names = [f"own/w{i}" for i in range(7)]
        changed = {**config, "model": {**config["model"], "not_moved": names}}
        study.set_user_attr(stored.CONFIG, changed)
        said = (
            "No offset moves own/w0, own/w1, own/w2, own/w3, own/w4 and 2 more: only what is "
            "called kernel, embeddings or bias moves."
        )
        assert f"\n  {said}" in searches.text(read_record(study))
        assert said in text_of(searches.page(read_record(study)).render())
        study.set_user_attr(stored.CONFIG, {**changed, "space": {"type": "ControlSpace"}})
        assert "No offset moves" not in searches.text(read_record(study))
