"""Each sentence that is said of a search or of a comparison, word for word."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from stored_studies import store_comparison, store_confusions, store_look, store_study

from adnn_optuna._units import ACCURACY, PLAIN
from adnn_optuna.engine.records import record_of
from adnn_optuna.evidence.comparison import Comparison
from adnn_optuna.evidence.paired_differences import PairedDifference
from adnn_optuna.reporting import claims

if TYPE_CHECKING:
    from adnn_optuna.engine.records import SearchRecord

NOISE = np.random.default_rng(0).normal(0, 0.004, (4, 12))
GAINED, LUCK, OTHERWISE, CHECK = (
    "What was gained?",
    "Is it luck?",
    "What else could be done?",
    "How to check it?",
)
UNKNOWN_LUCK = (
    "That is not known: the best of several tries looks better than it is on the data that it was "
    "chosen by, and only test examples can tell."
)
OTHER_BEGINNINGS = (
    "The same 12 trainings could go into other random beginnings, one longer training or other "
    "learning rates, which may gain as much: adnn compare tries them all."
)
WRITE_CONTRACT = (
    "Write its contract, by result.contract().save(FILE) or adnn resume --contract FILE: with it "
    "anyone can train both networks again, by adnn verify FILE."
)


def answers(study: optuna.Study, contract: str | None = None) -> dict[str, str]:
    return claims.answers_of_search(record_of(study), contract)


def gained(winner: str, baseline: str, gain: str) -> str:
    return (
        f"Of 1000 test examples, which the search never saw, the network that it found gets "
        f"{winner}, and the network as it was {baseline}: {gain}."
    )


def with_look(study: optuna.Study, **changes: Any) -> optuna.Study:
    """Change what the only look at the test set found."""
    [name] = [name for name in study.user_attrs if name.startswith("adnn:test/")]
    study.set_user_attr(name, {**study.user_attrs[name], **changes})
    return study


class TestSearch:
    def test_small_gain_may_be_luck(self) -> None:
        assert answers(store_study("one", gain=0.003), "c.json") == {
            GAINED: gained(
                "894 right (89.43 %)", "891 right (89.13 %)", "+0.30 percentage points"
            ),
            # McNemar's exact test of 23 against 20: 0.7608.
            LUCK: (
                "It may well be: by the choice of the test examples alone, of 100 pairs of "
                "networks that are equally good, 76 would differ so much."
            ),
            OTHERWISE: OTHER_BEGINNINGS,
            CHECK: (
                "Anyone can: adnn verify c.json trains both networks again and names what differs."
            ),
        }

    def test_large_one_is_no_luck_of_the_test_examples(self) -> None:
        said = answers(store_study("one", gain=0.05))
        begins = (
            ", but training begins with random numbers, and this is one beginning, which may have "
            "been an unlucky one."
        )
        assert said[LUCK] == (
            "Not by the choice of the test examples (of 100 pairs of networks that are equally "
            f"good, less than one would differ so much){begins}"
        )
        assert said[CHECK] == WRITE_CONTRACT
        # 43 against 20: 0.0052; 38 against 20: 0.0248; 35 against 20: 0.0582.
        for gain, share, of in (
            (0.023, "less than one", "Not by"),
            (0.018, "2", "Not by"),
            (0.015, "6", "It may"),
        ):
            luck = answers(store_study("one", gain=gain))[LUCK]
            assert luck.startswith(of)
            assert f"equally good, {share} would differ so much" in luck

    @pytest.mark.parametrize("gain", [0.0, -0.01])
    def test_no_gain_is_no_luck(self, gain: float) -> None:
        said = answers(store_study("one", gain=gain))[LUCK]
        assert said == "There is no gain on the test examples that could be luck."

    def test_control_is_all_luck(self) -> None:
        said = answers(store_study("luck", sampler="random_restart", gain=0.05))
        luck = "All of it: this control does nothing but draw other random beginnings."
        assert said[LUCK] == luck
        assert said[OTHERWISE] == (
            "A real search, which has to gain more than this: adnn compare runs both."
        )

    def test_r2_is_explained(self) -> None:
        study = store_study("numbers", metric="val_r2", gain=0.003)
        config = study.user_attrs["adnn:config"]
        config["dataset"]["task"] = "regression"
        study.set_user_attr("adnn:config", config)
        said = answers(with_look(study, standard_error=0.001, unit="examples"))[GAINED]
        assert said == (
            "On 1000 test examples, which the search never saw, the network that it found comes "
            "to an R² of 0.8943, and the network as it was an R² of 0.8913: +0.0030 (1 is always "
            "right)."
        )

    def test_baseline_that_failed_is_nothing(self) -> None:
        said = answers(with_look(store_study("one", gain=0.003), baseline=math.nan))
        nothing = "nothing, as its training failed"
        assert said[GAINED] == gained("894 right (89.43 %)", nothing, "unknown")
        assert said[LUCK] == UNKNOWN_LUCK

    def test_that_goes_on_with_an_untested_winner(self) -> None:
        study = store_study("going", gain=0.003)
        study.set_user_attr("adnn:stop_reason", None)
        study.enqueue_trial({})
        baseline = study.user_attrs["adnn:baseline"]
        study.tell(study.ask(), baseline + 0.25)
        said = answers(study)
        assert said[GAINED] == (
            "The search has not ended; so far, +25.00 percentage points in val_accuracy, by which "
            "the best of 13 trials was chosen, and on data that the search never saw it was not "
            "tested yet."
        )
        assert said[LUCK] == UNKNOWN_LUCK
        record = record_of(study)
        assert claims.use_of_test_set(record) == (
            "The test set was used once, after 12 trials, for an earlier winner than the present "
            "one"
        )
        assert claims.to_mind([record]) == ""
        store_look(study, "2026-11-25T13:00:00+00:00", 0.9, 0.005)
        twice = (
            "The test set was looked at 2 times, after 12 and 13 trials: the later gains are no "
            "longer of untouched test data"
        )
        assert claims.use_of_test_set(record_of(study)) == twice
        # Of several runs it is said once.
        assert claims.to_mind([record_of(study)] * 2) == f"{twice}."
        study.set_user_attr("adnn:stop_reason", "max_trial")
        winner = gained("905 right (90.50 %)", "900 right (90.00 %)", "+0.50 percentage points")
        assert answers(study)[GAINED] == winner

    def test_of_anybody_else_s_objective(self) -> None:
        other = optuna.create_study(study_name="other", direction="maximize")
        assert answers(other) == {GAINED: "No trial was finished yet."}
        for value in (0.25, 0.75):
            other.add_trial(optuna.trial.create_trial(value=value))
        assert answers(other) == {
            GAINED: (
                "The search has not ended; so far, +0.5000 in value, by which the best of 2 "
                "trials was chosen."
            ),
            LUCK: (
                "That is not known: the best of several tries looks better than it is; adnn "
                "recheck evaluates the best ones again, with fresh random numbers."
            ),
        }
        closed = "The test set is closed; result.test() or resume opens it"
        assert claims.use_of_test_set(record_of(other)) == closed

    def test_uneven_classes_are_to_be_minded(self) -> None:
        study = store_study("classes")
        store_confusions(study, [[60, 37], [0, 3]], [[97, 0], [3, 0]])
        # Recalls of 60 of 97 and 3 of 3; of all and of none.
        assert claims.to_mind([record_of(study)]) == (
            "Mind that 97 % of the test set is class 'a': a network that always says so reaches "
            "97 %; in the mean over the classes (balanced accuracy), 80.93 % is right before and "
            "50.00 % after the search."
        )


CAVEAT = (
    "Random restarts move nothing, they only draw other initial weights: what they gain is luck, "
    "and only what a searcher gains beyond them is its own. All is said of this data set, and "
    "assumes that differences are symmetric about their centre."
)
UNDECIDED = "Undecided means that these seeds show neither a difference nor that there is none. "


class TestComparison:
    @pytest.mark.parametrize(
        ("gains", "claim", "caveat", "luck"),
        [
            (
                {"a": NOISE[0] + 0.02, "b": NOISE[1] + 0.03, "c": NOISE[3] + 0.01},
                (
                    "b is better than random restarts: +2.94 pp of test accuracy for the same "
                    "number of trials (about 29 of 1000 test images; interval +2.53 to +3.28 pp, "
                    "12 seeds); so are a and c."
                ),
                CAVEAT,
                (
                    "gain -0.04 percentage points; beyond that, b has +2.94 percentage points "
                    "(interval +2.53 to +3.28 pp), so it is more than luck."
                ),
            ),
            (
                {"a": NOISE[0] - 0.02, "b": NOISE[1] - 0.03},
                (
                    "Every searcher is worse than random restarts; a comes closest, with -1.95 pp"
                    " of test accuracy (about 20 of 1000 test images; interval -2.30 to -1.59 pp,"
                    " 12 seeds)."
                ),
                CAVEAT,
                (
                    "gain -0.04 percentage points; beyond that, a has -1.95 percentage points "
                    "(interval -2.30 to -1.59 pp), so it is less than luck brings."
                ),
            ),
            (
                {"a": NOISE[2], "b": NOISE[2] - 0.01},
                (
                    "No searcher is better than random restarts: a is equivalent, with +0.00 pp "
                    "of test accuracy (less than one of 1000 test images; interval +0.00 to +0.00"
                    " pp, 12 seeds)."
                ),
                CAVEAT,
                (
                    "gain -0.04 percentage points; beyond that, a has +0.00 percentage points "
                    "(interval +0.00 to +0.00 pp), so it is no more than luck."
                ),
            ),
            (
                {"a": NOISE[0]},
                (
                    "No searcher is shown to be better than random restarts: a comes closest, "
                    "with +0.05 pp of test accuracy (less than one of 1000 test images; interval "
                    "-0.25 to +0.34 pp, 12 seeds)."
                ),
                UNDECIDED + CAVEAT,
                (
                    "gain -0.04 percentage points; beyond that, a has +0.05 percentage points "
                    "(interval -0.25 to +0.34 pp), so it is not shown to be more than luck."
                ),
            ),
        ],
    )
    def test_by_its_verdicts(
        self, gains: dict[str, np.ndarray], claim: str, caveat: str, luck: str
    ) -> None:
        comparison = store_comparison({**gains, "random_restart": NOISE[2]})
        assert claims.claim_of_comparison(comparison) == claim
        assert claims.caveat_of_comparison(comparison) == caveat
        said = claims.answers_of_comparison(comparison, "sqlite:///x.db")
        beginnings = "Nothing but other random beginnings, as often, "
        assert said[LUCK] == beginnings + luck
        assert said[CHECK] == (
            f"Each of the {12 * len(comparison.results)} searches is in the table at the end of "
            "this page and stored in sqlite:///x.db; the same call with the same seeds makes them "
            "again, with the same numbers."
        )

    def test_of_one_seed(self) -> None:
        comparison = store_comparison({"greedy": [0.02], "random_restart": [0.0]})
        claim = claims.claim_of_comparison(comparison)
        assert claim == (
            "One seed decides nothing: with it, greedy has +2.00 pp of test accuracy against "
            "random restarts, and another seed may say the opposite."
        )
        assert claims.caveat_of_comparison(comparison) == (
            f"greedy: with one claim it takes 6 pairs to decide any. {UNDECIDED}{CAVEAT}"
        )
        assert claims.answers_of_comparison(comparison, None) == {
            GAINED: (
                "On 1000 test examples, which no search saw, greedy gains +2.00 percentage points "
                "over the network as it was (about 20 of 1000 test images), in the mean of 1 "
                "random beginning."
            ),
            LUCK: (
                "Nothing but other random beginnings, as often, gain +0.00 percentage points; "
                "beyond that, greedy has +2.00 percentage points (no interval yet), so it is not "
                "shown to be more than luck."
            ),
            OTHERWISE: (
                "Not tried here are one longer training and other learning rates for the same "
                "compute, which may gain as much: adnn compare --controls longer,learning_rate."
            ),
            CHECK: (
                "Each of the 2 searches is in the table at the end of this page; the same call "
                "with the same seeds makes them again, with the same numbers."
            ),
        }

    def test_without_random_restarts_or_anything_else(self) -> None:
        alone = store_comparison({"greedy": [0.01] * 2})
        assert claims.claim_of_comparison(alone) == (
            "There are no random restarts to compare with, so nothing can be told from luck."
        )
        assert claims.answers_of_comparison(alone, None)[LUCK] == (
            "That is not known: without random restarts, nothing shows what luck alone brings."
        )
        luck = store_comparison({"random_restart": [0.01] * 2})
        assert claims.claim_of_comparison(luck) == (
            "There are no searchers with results to compare with random restarts."
        )
        said = claims.answers_of_comparison(luck, None)[GAINED]
        assert "random_restart gains +1.00 percentage points" in said
        assert "in the mean of 2 random beginnings." in said

    @pytest.mark.parametrize(
        ("searcher", "spent"),
        [
            ("longer", "on one longer training"),
            ("learning_rate", "on the learning rate"),
            ("constant", "on one offset for all layers"),
        ],
    )
    def test_says_what_the_same_compute_gains(self, searcher: str, spent: str) -> None:
        for n, evidence in ((1, "(one seed)"), (8, "(interval +6.00 to +6.00 pp)")):
            gains = {"greedy": [0.02] * n, "random_restart": [0.01] * n, "mine": [0.07] * n}
            results = {**store_comparison(gains).results}
            results["mine"] = [searched_by(run, searcher) for run in results["mine"]]
            comparison = Comparison(results, tuple(range(n)))
            said = (
                f"The same compute spent {spent} gains +6.00 pp over random restarts {evidence}."
            )
            assert claims.claim_of_comparison(comparison).endswith(f". {said}")
            assert claims.answers_of_comparison(comparison, None)[OTHERWISE] == said

    def test_later_looks_at_the_test_set_are_told(self) -> None:
        comparison = store_comparison({"greedy": [0.02], "random_restart": [0.0]})
        run = comparison.results["random_restart"][0]
        store_look(run.study, "2026-11-25T13:00:00+00:00", 0.9, 0.005)
        # Trial 12 came between the looks.
        run.study.enqueue_trial({})
        run.study.tell(run.study.ask(), 2.0)
        store_look(run.study, "2026-11-25T14:00:00+00:00", 0.9, 0.005)
        results = {k: [record_of(r.study) for r in runs] for k, runs in comparison.results.items()}
        said = claims.caveat_of_comparison(Comparison(results, (0,)))
        n_looks = len(record_of(run.study).test_looks)
        assert n_looks >= 2
        assert (
            f"The test set was looked at up to {n_looks} times in one run, so the later gains are "
            "no longer of untouched test data." in said
        )


def searched_by(record: SearchRecord, searcher: str) -> SearchRecord:
    settings = record.study.user_attrs["adnn:search"]
    record.study.set_user_attr("adnn:search", {**settings, "sampler": searcher})
    return record_of(record.study)


def difference(**changes: Any) -> PairedDifference:
    settings: dict[str, Any] = {"arm": "a", "other": "b", "n_pairs": 8, "verdict": "undecided"}
    settings |= {"mean": 0.01, "low": -0.002, "high": 0.02}
    settings |= {"superiority": 0.625, "superiority_low": 0.245, "superiority_high": 0.915}
    return PairedDifference(**{**settings, **changes})


def test_parts_of_sentences() -> None:
    assert claims.interval(difference(), ACCURACY) == "-0.20 to +2.00 pp"
    assert claims.interval(difference(), PLAIN) == "-0.0020 to +0.0200"
    infinite = difference(low=-math.inf, high=math.inf)
    assert claims.interval(infinite, ACCURACY) == "none"
    assert claims.with_interval(infinite, ACCURACY) == "no interval yet"
    assert claims.with_interval(difference(), ACCURACY) == "interval -0.20 to +2.00 pp"
    assert claims.superiority(difference()) == "62 % (24 to 92)"
    unknown = {"superiority_low": math.nan, "superiority_high": math.nan}
    assert claims.superiority(difference(**unknown)) == "62 %"
    assert claims.superiority(difference(n_pairs=0)) == "unknown"
    assert [claims.listed("abc"[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert claims.interval_in_words({"searchers": 3, "controls": 0}, looks_again=False) == (
        "interval: 95 % for the 3 claims on searchers together, from inverted sign flips, for the "
        "planned seeds"
    )
    assert claims.interval_in_words({"searchers": 1, "controls": 2}, looks_again=True) == (
        "interval: 95 % for the claim on searchers and the 2 claims on controls together, from an "
        "e-process: holds however often one looks and adds seeds"
    )
    look: Any = {"n_images": 1000, "unit": "examples", "standard_error": 0.1}
    assert claims.images(0.1, look) == "R² on 1000 test examples"
    assert claims.images(0.1, None) == ""
