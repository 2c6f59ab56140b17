"""The sentences and the figure of rechecks."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from known_facts import changed, compared, minimizing, of_equals, recheck, trial, with_a_lost_one
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from adnn_optuna.reporting.findings import (
    luck_text,
    recheck_caveat,
    recheck_claim,
    recheck_figure,
    recheck_page,
    recheck_text,
)
from adnn_optuna.results.recheck import FIRST_OF_PARAMS, UNMOVED, LuckFacts, RecheckFacts


def test_whole_text_of_both_trials_confirmed() -> None:
    report = recheck(17, [0.904, 0.905, 0.906], confirm_best=True)
    assert recheck_text(report) == (
        "The study said 0.9123 (trial 31); trained afresh, trial 17 gives 0.9050 (0.9025 to "
        "0.9075): the study overstated by 0.0073 (0.0048 to 0.0098). "
        "Expect one more run between 0.9000 and 0.9100 (95%). "
        "Trial 31 itself gives 0.9050 (0.9025 to 0.9075). Of trial 31's value, 0.0073 (0.0048 to "
        "0.0098) was luck.\n"
        "It measures the luck of training on the data that was evaluated on; where the seed "
        "redraws these, that of the split, too."
    )


def test_only_the_user_says_that_nothing_is_random() -> None:
    told = dataclasses.replace(of_equals([0.5] * 5), is_deterministic=True)
    assert recheck_text(told) == (
        "The study said 0.5 (trial 3). By whoever called it the evaluation is deterministic, so "
        "nothing was evaluated and no luck of training measured.\n"
        "Whether the value holds on other data, no seed can tell."
    )
    assert "were evaluated with" not in recheck_page(told).render()


def test_no_interval_reaches_to_what_no_accuracy_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    few = recheck(17, [0.02, 0.9, 0.5])
    assert "gives 0.5 (-0.6 to 1.6)" in recheck_claim(few)
    monkeypatch.setattr(RecheckFacts, "metric", "val_accuracy")
    assert recheck_claim(few).endswith(
        "trial 17 gives 47 % (0 to 100): that the study overstated is not shown: 44 pp (-66 to "
        "100). Expect one more run between 0 and 100 % (95%)."
    )


def test_nothing_has_no_sign() -> None:
    said = recheck_text(of_equals([0.5] * 7))
    assert "that the study overstated is not shown: 0 (0 to 0)" in said
    assert "one more run" not in said


def test_equal_values_name_the_share_of_seeds_that_may_differ() -> None:
    # Where one image flips in a fifth of the seeds, five values are equal in .8 ** 5 = 33%.
    rng, n_equal = np.random.default_rng(0), 0
    for _ in range(300):
        values = 0.5 - (rng.random(5) < 0.2) / 359
        said = recheck_text(of_equals([0.5] * 5 + values.tolist(), confirm=5))
        assert "deterministic, so" not in said
        is_equal = (values == values[0]).all()
        n_equal += is_equal
        told = "All 5 values of the further seeds are equal, but up to 45% of seeds may differ; if"
        assert (told in said) == is_equal
    assert 0.25 < n_equal / 300 < 0.41


def test_what_is_not_known_yet_says_how_to_go_on() -> None:
    whole = recheck(17, [0.904, 0.905, 0.906], confirm_best=True)
    known: dict[tuple[int, ...], float] = {}
    while missing := changed(whole, known).missing:
        said = recheck_claim(changed(whole, known))
        assert f"is not known yet, with {len(known)} of " in said
        assert said.endswith(" evaluations made. The same call goes on.")
        known |= {e: whole.evaluations[e] for e in missing}
    assert len(known) == 8


def test_overstated_is_what_is_too_low_where_it_minimizes() -> None:
    said = "trial 2 gives 5.0 (2.5 to 7.5): the study overstated by 4.9 (2.4 to 7.4)"
    assert said in recheck_text(minimizing())


def test_claim_says_what_the_study_said_and_what_fresh_seeds_say() -> None:
    assert recheck_claim(recheck(17, [0.904, 0.905, 0.906])) == (
        "The study said 0.9123 (trial 31); trained afresh, trial 17 gives 0.9050 (0.9025 to "
        "0.9075): the study overstated by 0.0073 (0.0048 to 0.0098). Expect one more run between "
        "0.9000 and 0.9100 (95%)."
    )
    # Where no seed redraws them, as of our own objective.
    same = dataclasses.replace(recheck(17, [0.904, 0.905, 0.906]), on_same_data=True)
    assert "(0.0048 to 0.0098), on the same validation data. Expect" in recheck_claim(same)
    assert "redraws" not in recheck_caveat(same)


def test_tiny_values_are_not_told_as_zeros() -> None:
    tiny = recheck(17, [0.904e-300, 0.905e-300, 0.906e-300])
    assert "trial 17 gives 9.05e-301 (9.02516e-301 to 9.07484e-301)" in recheck_claim(tiny)


def test_lost_evaluations_and_those_without_a_seed_are_told() -> None:
    report = with_a_lost_one()
    assert recheck_caveat(report) == (
        "It measures the luck of training on the data that was evaluated on; where the seed "
        "redraws these, that of the split, too. 1 of 3 evaluations came to no "
        "value (NaN, infinite or pruned) and are left out, so the value is that of those that "
        "succeed. The evaluations take no seed, so they cannot be made again."
    )
    assert "trial 1 gives 0.2 (-inf to inf)" in recheck_claim(report)
    lost = changed(report, {e: math.nan if e[1] % 2 else v for e, v in report.evaluations.items()})
    said = "The study said 0.4 (trial 1); trained afresh, trial 1 gives no value."
    assert recheck_claim(lost) == said


@pytest.mark.parametrize(
    ("sd", "shown"),
    # As many digits as the half width has two of: 4.3027 / √3 times the standard deviation.
    [
        (0.0001, "0.90000 (0.89975 to 0.90025)"),
        (0.02, "0.900 (0.850 to 0.950)"),
        (0.5, "0.9 (-0.3 to 2.1)"),
        (50, "1 (-123 to 125)"),
    ],
)
def test_values_have_as_many_digits_as_their_interval_asks_for(sd: float, shown: str) -> None:
    said = recheck_claim(recheck(17, [0.9 - sd, 0.9, 0.9 + sd]))
    assert f"trial 17 gives {shown}: {'' if sd < 0.01 else 'that '}the study" in said


def test_figure_says_which_is_chosen_and_what_each_point_is() -> None:
    figure = recheck_figure(recheck(17, [0.904, 0.905, 0.906]))
    assert [*figure.layout.yaxis.ticktext] == ["trial 31", "trial 17, chosen"]
    assert figure.layout.xaxis.title.text == "value"
    values = {trace.name: [*trace.x] for trace in figure.data}
    assert values["fresh seeds to choose by"] == [0.85, 0.95]
    assert values["further seeds to confirm"] == [0.904, 0.905, 0.906] * 2
    assert values["what the study said"] == [0.9123, 0.91]
    said = {text.partition(",")[0] for trace in figure.data for text in trace.hovertext}
    assert {"trial 31", "trial 17", "mean 0.9050"} <= said


def test_word_luck_is_for_the_same_trial_only() -> None:
    values = [0.904, 0.905, 0.906]
    assert "luck" not in recheck_claim(recheck(17, values))
    assert "0.0073 (0.0048 to 0.0098) was luck" in recheck_claim(recheck(31, values))
    assert "Trial 31 itself gives" in recheck_claim(recheck(17, values, confirm_best=True))
    assert "was luck" in recheck_claim(recheck(17, values, confirm_best=True))
    assert "lucky is not shown" in recheck_claim(recheck(31, [0.8, 0.9, 1.0]))


def test_better_than_the_study_said_is_understated() -> None:
    said = recheck_claim(recheck(17, [0.919, 0.92, 0.921]))
    assert "the study understated by 0.0077 (0.0052 to 0.0102)" in said


def luck_in_words(*arguments: Any, **options: Any) -> str:
    return luck_text(LuckFacts(*arguments, **options))


def test_luck_in_words_tells_how_likely_a_gain_is() -> None:
    # 1 - Φ(2)^20 = 1 - 0.97725^20.
    begin = "By luck alone the best of 20 equally good draws with a standard deviation of 1, for "
    begin += "normal scores, is "
    of_mean = f"{begin}expected to be 1.867 better than the mean, and 2 or more with probability"
    of_one = (
        f"{begin}expected to be 1.867 better than one baseline, which is such a draw itself, and "
        "2 or more with probability"
    )
    assert luck_in_words(20, 1.0, 2.0) == f"{of_mean} 0.37.\n{of_one} 0.45."
    assert luck_in_words(20, 1.0, 2.0, "mean") == f"{of_mean} 0.37."
    assert luck_in_words(20, 1.0, 2.0, "one", 3) == (
        f"{of_one} 0.45, in at least one of 3 such searches with probability 0.83."
    )
    assert luck_in_words(1, 0.5, baseline="mean") == (
        "By luck alone one draw with a standard deviation of 0.5, for normal scores, is expected "
        "to be 0 better than the mean."
    )
    # 1 - Φ(1)^3 = 1 - 0.84134^3; of three draws, one baseline is the best of four in a quarter.
    assert luck_in_words(3, 0.5, 0.5, "mean").endswith(", and 0.5 or more with probability 0.4.")
    assert luck_in_words(3, 0.5, 0.0, "one").endswith(", and 0 or more with probability 0.75.")
    with pytest.raises((TypeError, ValueError), match="`claimed` must be a finite"):
        luck_in_words(3, 0.5, math.nan)
    with pytest.raises(ValueError, match="files must be"):
        luck_in_words(3, 0.5, 0.5, files=0)


def test_gain_of_the_paper_is_luck_of_one_baseline_and_ten_files() -> None:
    # 4.02 pp of MNIST-2: 51 draws with the standard deviation of its logs, one file for each δ.
    said = luck_in_words(51, 0.0127, 0.0402, "one", 10)
    assert (
        "with probability 0.2, in at least one of 10 such searches with probability 0.9." in said
    )
    of_mean, of_one = luck_in_words(51, 0.0096, 0.04).splitlines()
    assert of_mean.endswith("with probability 0.00079.")
    assert of_one.endswith("with probability 0.043.")


class TestGain:
    GAINS = (0.02, 0.024, 0.022, 0.026, 0.03, 0.022, 0.024, 0.021, 0.025, 0.026)

    def test_stands_first_and_the_value_s_luck_second(self) -> None:
        said = recheck_claim(compared(self.GAINS, trial(0, 0.888)))
        assert said.startswith(
            "Of the 0.0280 that the study says trial 23 gained over trial 0, 0.0240 (0.0220 to "
            "0.0260) is there on fresh seeds. The study said 0.9160 (trial 23); trained afresh, "
        )
        assert recheck_page(compared(self.GAINS, trial(0, 0.888))).claim == said

    def test_of_nothing_is_not_shown(self) -> None:
        """Offsets that do nothing: the study's gain is luck."""
        nothing = compared([0.01, -0.01] * 5, trial(0, 0.888))
        assert recheck_claim(nothing).startswith(
            "Of the 0.028 that the study says trial 23 gained over trial 0, 0.000 (-0.010 to "
            "0.010) is there on fresh seeds, so no gain is shown."
        )

    def test_that_the_study_does_not_say_is_one_on_fresh_seeds(self) -> None:
        other = create_trial(
            state=TrialState.WAITING,
            params={"x": 1.5},
            distributions={"x": FloatDistribution(0, 2)},
        )
        other.number = FIRST_OF_PARAMS
        said = recheck_claim(compared(self.GAINS, other))
        assert said.startswith(
            "On fresh seeds, 0.0240 (0.0220 to 0.0260) is what trial 23 gains over x=1.5. The "
        )
        other.set_user_attr(UNMOVED, True)
        assert "gains over the unmoved network." in recheck_claim(compared(self.GAINS, other))
        worse = recheck_claim(compared(self.GAINS, trial(0, 0.92)))
        assert worse.startswith("On fresh seeds, 0.0240 (0.0220 to 0.0260) is what trial 23 gains")

    def test_without_one_the_value_comes_first(self) -> None:
        assert recheck_claim(compared(self.GAINS, None)).startswith("The study said ")
        few = recheck_claim(compared(self.GAINS[:5], trial(0, 0.888)))
        assert "0.0244 (-inf to inf) is there on fresh seeds, so no gain is shown." in few
        itself = recheck_claim(compared(self.GAINS, trial(23, 0.916)))
        assert itself.startswith("Nothing was gained: the chosen trial is trial 23 itself. The")
