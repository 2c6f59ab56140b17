"""The sentences, the tables and the figure of comparisons of models."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from known_facts import KNOWN, models
from shown_pages import text_of

from adnn_optuna.reporting import model_comparisons

PRINTED = """\
model   test accuracy [%]
-------------------------
narrow       81.00 ± 1.31
wide         91.38 ± 1.06
deep         91.39 ± 0.99
-------------------------
mean ± standard deviation over 8 seeds; one of 50 test examples: 2 pp

                  difference
test accuracy of        [pp]         interval   least        superior     verdict
---------------------------------------------------------------------------------
narrow - wide         -10.38  -13.60 to -7.15  -13.00   0 % (0 to 37)       worse
narrow - deep         -10.39  -13.39 to -7.39  -12.80   0 % (0 to 37)       worse
wide - deep            -0.01   -0.32 to +0.30   -0.10  38 % (9 to 76)  equivalent
---------------------------------------------------------------------------------
paired by seed; equivalent: within ±0.4 pp; superior: share of seeds, ties half, 95% each
least: the smallest difference; each verdict is on the mean difference; 8 seeds: what befalls
fewer than 31% of seeds may not have been seen
interval: 95% for the 3 claims on models together, for new data of this kind, after Nadeau and
Bengio, read once, at the planned seeds; on these rows alone from inverted sign flips, for the
planned seeds
on these rows alone: narrow - wide -12.00 to -9.00 pp, worse
on these rows alone: narrow - deep -11.95 to -9.10 pp, worse
on these rows alone: wide - deep -0.10 to +0.15 pp, equivalent

deep has the best mean test accuracy, 91.39% over 8 seeds; it is better than narrow for most
seeds (+10.39 pp, interval +7.39 to +13.39 pp, smallest +9.10 pp), equivalent to wide (+0.01 pp,
interval -0.30 to +0.32 pp, smallest -0.20 pp), for new data of this kind. Each verdict is on the
mean difference; 8 seeds: what befalls fewer than 31% of seeds may not have been seen. Each seed
draws initialisation, order and split afresh, the same for all models. Splits of one data set
overlap, for which intervals for new data allow, but only about, and as if differences were
normal. Whoever picks one of the models by this test has used it: what it gives is no longer that
of untouched data."""


def test_whole_text() -> None:
    assert model_comparisons.text(models()) == PRINTED


def test_new_data_are_told_of_only_where_something_is_known() -> None:
    for changes in ({"seeds": (0,)}, {"seeds": tuple(range(9))}, {"resampled": None}):
        assert "new data" not in model_comparisons.text(models(**changes))
    again = models(sequential=True, labels=("narrow", "wide"), seeds=tuple(range(12)))
    assert model_comparisons.claim(again) == (
        "wide has the best mean test accuracy, 91.38% over 8 seeds; it is not shown to differ "
        "from narrow (+10.38 pp, no interval yet, smallest +9.00 pp), for new data of this kind. "
        "Each verdict is on the mean difference; 8 seeds: what befalls fewer than 31% of seeds "
        "may not have been seen."
    )
    said = "for new data it is read once, at a planned number of seeds, and not in between"
    text = model_comparisons.text(again)
    assert said in text
    assert "on these rows alone: narrow - wide" in text
    assert "inconclusive" in text
    assert "on these rows alone" in text_of(model_comparisons.page(again).render())


def test_seeds_that_are_missing_are_told() -> None:
    found = models({e: value for e, value in KNOWN.items() if e != (1, 5)})
    text = model_comparisons.text(found)
    assert "3 of 8 planned seeds are missing" in text
    assert text.count("inconclusive") == 3
    assert model_comparisons.claim(found) == (
        "wide and deep have the best mean test accuracy, 91.20% over 5 seeds; wide is not shown "
        "to differ from narrow (+10.80 pp, no interval yet, smallest +9.00 pp), not shown to "
        "differ from deep (+0.00 pp, no interval yet, smallest -0.10 pp). Each verdict is on the "
        "mean difference; 5 seeds: what befalls fewer than 45% of seeds may not have been seen."
    )


def test_sequential_is_told() -> None:
    found = models(sequential=True, seeds=tuple(range(12)))
    assert "from an e-process" in " ".join(model_comparisons.text(found).split())


def test_nothing_yet_and_one_seed() -> None:
    nothing = models({})
    said = (
        "Nothing is known of the models yet, with 0 of 24 trainings made. The same call goes on."
    )
    assert model_comparisons.text(nothing) == model_comparisons.claim(nothing) == said
    one = models(seeds=(0,), labels=("narrow", "wide"), margin=0.001)
    assert model_comparisons.claim(one) == (
        "wide has the best mean test accuracy, 90.00% over 1 seed; it is not shown to differ "
        "from narrow (+10.00 pp, no interval yet). Each verdict is on the mean difference; 1 "
        "seed: what befalls fewer than 95% of seeds may not have been seen."
    )
    assert model_comparisons.text(one).splitlines()[:5] == [
        "model   test accuracy [%]",
        "-------------------------",
        "narrow              80.00",
        "wide                90.00",
        "-------------------------",
    ]
    assert "\none seed; one of 50 test examples: 2 pp\n" in model_comparisons.text(one)


def test_scores_that_are_no_accuracies_have_no_percent() -> None:
    text = model_comparisons.text(models(score="test R²"))
    assert "model           test R²" in text
    assert "narrow  0.8100 ± 0.0131" in text
    assert "; 50 test examples\n" in text
    assert (
        "better than narrow for most seeds (+0.1039, interval +0.0739 to +0.1339, smallest "
        "+0.0910)" in " ".join(text.split())
    )
    assert model_comparisons.figure(models()).layout.xaxis.title.text == "test accuracy [%]"


def resplit(rng: np.random.Generator, n_seeds: int) -> dict[tuple[int, ...], float]:
    """Return accuracies of two models, as good on all data, on splits of one data set of 800."""
    is_right = rng.random((2, 800)) < 0.8  # Which of its rows each is right about.
    tests = [rng.choice(800, 160, replace=False) for _ in range(n_seeds)]
    return {(m, s): float(is_right[m, t].mean()) for s, t in enumerate(tests) for m in range(2)}


def test_equal_models_are_rarely_told_apart_by_splits_of_one_data_set() -> None:
    rng, n_runs = np.random.default_rng(0), 200
    seeds: Any = {"labels": ("narrow", "wide"), "seeds": tuple(range(12)), "n_train": 640}
    settings = {**seeds, "n_test": 160, "margin": 0.001}
    told, on_these = 0, 0
    for _ in range(n_runs):
        found = models(resplit(rng, 12), **settings)
        told += "not shown to differ" not in model_comparisons.claim(found)
        on_these += found.on_these_rows[0].verdict != "inconclusive"
    assert told / n_runs < 0.05 + 2 * math.sqrt(0.05 * 0.95 / n_runs)
    assert on_these / n_runs > 0.25  # Which is true of these rows, and of no others.
    for _ in range(10):  # However long one looks.
        again = models(
            resplit(rng, 30), **{**settings, "seeds": tuple(range(30))}, sequential=True
        )
        assert again.paired_differences[0].verdict == "inconclusive"
