"""What you hold, what is usual, what repeats: word for word, and where they would be false."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from shown_pages import of_a_regression, text_of
from stored_studies import confirmation, store_confirmation, store_look, store_study

from adnn_optuna._units import ACCURACY
from adnn_optuna.engine.confirmation import BASELINE, BEST
from adnn_optuna.engine.records import read_record
from adnn_optuna.reporting import searches
from adnn_optuna.reporting.searches_claims import (
    hyperparameters_in_words,
    repeats_in_words,
    statements,
    verdict,
)
from adnn_optuna.results.confirmation import facts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adnn_optuna.engine.search_record import SearchRecord

HOLD, USUAL, REPEATS = "What you hold", "What is usual", "What repeats"
_names = itertools.count()


def confirmed(gains: Sequence[float], **options: float) -> SearchRecord:
    """Return a search whose winner gets 894 of 1000 test images right."""
    return store_confirmation(store_study(f"s{next(_names)}", gain=0.003), gains, **options)


class TestWordForWord:
    def test_a_gain_that_repeats(self) -> None:
        record = confirmed([0.01, 0.012, 0.014, 0.01, 0.02, 0.01, 0.012, 0.014, 0.01, 0.02])
        assert statements(record) == {
            HOLD: (
                "this network gets 894 of 1000 test images right, 89.40 % (95 % interval 87.32 to "
                "91.24 %)."
            ),
            USUAL: (
                "10 fresh unmoved networks come to 88.00 % in the mean, and this one is better: "
                "+1.40 pp (95 % interval +0.49 to +2.31 pp), be it by its offsets or by luck."
            ),
            REPEATS: (
                "the offsets gain +1.32 pp in the mean of 10 fresh seeds (95 % interval +1.05 to "
                "+1.60 pp); 10 seeds: what befalls fewer than 26 % of seeds may not have been "
                "seen."
            ),
        }
        assert verdict(record) == "The gain of the offsets repeats on fresh seeds."

    def test_nothing_is_shown_to_repeat_where_the_interval_holds_0(self) -> None:
        record = confirmed([0.01, -0.01] * 5, unmoved=0.894)
        told = statements(record)
        assert told[REPEATS] == (
            "Nothing is shown to repeat: the offsets gain +0.00 pp in the mean of 10 fresh seeds "
            "(95 % interval -1.00 to +1.00 pp)."
        )
        assert "from which this one is not shown to differ: +0.00 pp (95 %" in told[USUAL]
        assert verdict(record) == "Nothing is shown to repeat."
        for sign in (1, -1):
            gains = [sign * 0.012, -sign * 0.01] * 5
            said = statements(confirmed(gains))[REPEATS]
            assert said.startswith(
                f"Nothing is shown to repeat: the offsets gain {0.1 * sign:+.2f}"
            )
        # Nor where all are tied.
        assert statements(confirmed([0.0] * 10))[REPEATS].startswith("Nothing is shown to repeat:")

    def test_a_loss_is_one(self) -> None:
        record = confirmed([-0.01, -0.02] * 5, unmoved=0.93)
        said = statements(record)
        assert "the offsets lose: they gain -1.50 pp in the mean of 10" in said[REPEATS]
        assert "and this one is worse: -3.60 pp" in said[USUAL]
        assert verdict(record) == "On fresh seeds the offsets lose."

    def test_of_a_control_nothing_repeats(self) -> None:
        study = store_study("luck", sampler="random_restart", gain=0.07)
        for record in (read_record(study), store_confirmation(study, [])):
            assert statements(record)[REPEATS] == "nothing, it moves nothing."
            assert verdict(record) == "Nothing repeats: this control moves nothing."
        # Its winner may well be better than usual.
        assert "and this one is better: +8.1" in statements(record)[USUAL]

    def test_later_winners_are_told_as_such_with_half_the_error_each(self) -> None:
        gains = [0.01, 0.012, 0.014, 0.01, 0.02, 0.01, 0.012, 0.014, 0.01, 0.02]
        second = statements(confirmed(gains, n_earlier=1))
        for said in second.values():
            assert "(97.5 % interval" in said
        assert "98.75 % interval" in statements(confirmed(gains, n_earlier=2))[REPEATS]
        assert "(99.9951172 % interval" in statements(confirmed(gains, n_earlier=10))[HOLD]
        # With so little error left, ten seeds can show nothing.
        assert statements(confirmed(gains, n_earlier=5))[REPEATS] == (
            "Nothing is shown to repeat: the offsets gain +1.32 pp in the mean of 10 fresh seeds "
            "(99.84375 % interval -100.00 to +100.00 pp)."
        )

    def test_before_it_is_confirmed_it_says_how_and_how_long_that_takes(self) -> None:
        study = store_study("long", gain=0.003)
        assert statements(read_record(study))[USUAL] == (
            "not known yet: result.confirm(), or adnn resume --confirm 10, trains 20 networks "
            "from 10 fresh seeds, in about a second."
        )
        assert statements(read_record(study))[REPEATS] == "not known yet."
        assert (
            verdict(read_record(study)) == "Whether anything repeats on fresh seeds is not known."
        )
        # A look at another winner is none at this one.
        study.enqueue_trial({})
        study.tell(study.ask(), 2.0)
        held = statements(read_record(study))[HOLD]
        assert held == (
            "not known before the test set is looked at; only an earlier winner was tested."
        )
        store_look(study, "2026-11-25T13:00:00+00:00", 0.9, 0.005)
        assert "905 of 1000 test images right" in statements(read_record(study))[HOLD]

    def test_of_a_regression_is_r2(self) -> None:
        said = statements(of_a_regression(store_study("r2", metric="val_r2", gain=0.003)))[HOLD]
        assert re.match(
            r"this network reaches a test R² of 0\.8943 on 1000 test examples \(95 % interval "
            r"0\.8905 to 0\.8981\)\.$",
            said,
        )

    def test_hyperparameters_stand_beside_as_such(self) -> None:
        record = confirmed([0.01] * 10, first=0.8)
        said = hyperparameters_in_words(record)
        assert said.startswith(
            "Beside that, on the same fresh seeds, the winner's hyperparameters gain over the "
            "first trial's, both unmoved: +8.00 pp (95 % interval +7.00 to +9.00 pp)"
        )
        assert said in searches.text(record)
        assert said in text_of(searches.page(record).render())
        assert hyperparameters_in_words(confirmed([0.01] * 10)) == ""

    def test_are_told_in_this_order_above_the_gain_over_its_own_baseline(self) -> None:
        record = confirmed([0.01] * 10)
        for text in (searches.text(record), searches.page(record).render()):
            places = [text.index(said) for said in (HOLD, USUAL, REPEATS, "own baseline")]
            assert places == sorted(places)


def is_said_to_repeat(own: np.ndarray, unmoved: np.ndarray, moved: np.ndarray) -> bool:
    facts = facts_of(confirmation(own, {BASELINE: unmoved, BEST: moved}))
    return repeats_in_words(facts, ACCURACY, "").startswith("the offsets gain")


class TestWhereItWouldBeFalse:
    """Each of these worlds was tried to make the sentence false; none may in more than 2.5 %."""

    @pytest.mark.parametrize("rarely", [0.0, 0.03])
    def test_offsets_that_do_nothing_are_said_to_repeat_in_2_5_percent(
        self, rarely: float
    ) -> None:
        """Unequal images, ties, and collapses that befall both alike."""
        rng, false, n = np.random.default_rng(5), 0, 600
        for _ in range(n):
            hard = rng.random(200) < 0.1
            chance = rng.normal(0.95, 0.01, (2, 10, 1)) - 0.5 * hard
            chance = np.where(rng.random((2, 10, 1)) < rarely, 0.6, chance)
            unmoved, moved = rng.random((2, 10, 200)) < chance
            false += is_said_to_repeat(moved[0], unmoved, moved)
        assert false / n < 0.025 + 2 * np.sqrt(0.025 * 0.975 / n)

    def test_a_change_that_rarely_ruins_is_claimed_for_most_seeds_only(self) -> None:
        """What no ten seeds can see: the sentence names its share."""
        unmoved = np.arange(200) < np.full((10, 1), 180)
        moved = np.arange(200) < np.full((10, 1), 182)
        facts = facts_of(confirmation(moved[0], {BASELINE: unmoved, BEST: moved}))
        said = repeats_in_words(facts, ACCURACY, "")
        assert said.endswith("what befalls fewer than 26 % of seeds may not have been seen.")

    def test_the_worst_baseline_of_all_makes_nothing_repeat(self) -> None:
        """+7 pp over its own baseline, by other initial weights alone."""
        record = store_confirmation(
            store_study("worst", sampler="random_restart", gain=0.0724), [], unmoved=0.96
        )
        assert "+7.24 pp: 72 of 1000 test images" in searches.text(record)
        assert "not shown to differ" in statements(record)[USUAL]
        assert statements(record)[REPEATS] == "nothing, it moves nothing."

    def test_what_came_to_no_number_shows_nothing(self) -> None:
        scores = {BASELINE: np.full((10, 5), np.nan), BEST: np.ones((10, 5))}
        facts = facts_of(confirmation(np.ones(5), scores))
        assert repeats_in_words(facts, ACCURACY, "") == (
            "not known, as a training on fresh seeds came to no number."
        )
        assert all(np.isnan(facts.usual))
