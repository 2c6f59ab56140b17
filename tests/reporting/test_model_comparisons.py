"""The sentences, the tables and the figure of comparisons of models."""

from __future__ import annotations

from known_facts import KNOWN, models

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
test accuracy of        [pp]         interval  smallest        superior     verdict
-----------------------------------------------------------------------------------
narrow - wide         -10.38  -12.00 to -9.00    -13.00   0 % (0 to 37)       worse
narrow - deep         -10.39  -11.95 to -9.10    -12.80   0 % (0 to 37)       worse
wide - deep            -0.01   -0.10 to +0.15     -0.10  38 % (9 to 76)  equivalent
-----------------------------------------------------------------------------------
paired by seed; equivalent: within ±0.4 pp; superior: share of seeds, ties half
each verdict is one for most seeds; 8 seeds: what befalls fewer than 31 % of seeds may not have
been seen
interval: 95 % for the 3 claims on models together, from inverted sign flips, for the planned
seeds
for new data of this kind: narrow - wide -13.60 to -7.15 pp
for new data of this kind: narrow - deep -13.39 to -7.39 pp
for new data of this kind: wide - deep -0.32 to +0.30 pp

deep has the best mean test accuracy, 91.39 % over 8 seeds; it is better than narrow (+10.39 pp,
interval +9.10 to +11.95 pp, smallest +9.10 pp), equivalent to wide (+0.01 pp, interval -0.15 to
+0.10 pp, smallest -0.20 pp). Each verdict is one for most seeds; 8 seeds: what befalls fewer than
31 % of seeds may not have been seen. Each seed draws the initialisation, the order of the batches
and the split of the data afresh, the same for all models. All is said of this data set, and
assumes that differences are symmetric about their centre. Whoever picks a model by this test has
used it: what it gives is no longer that of untouched data."""


def test_whole_text() -> None:
    assert model_comparisons.text(models()) == PRINTED


def test_new_data_are_told_of_only_where_something_is_known() -> None:
    for changes in ({"seeds": (0,)}, {"draws_test_set": False}, {"looks_again": True}):
        assert "new data" not in model_comparisons.text(models(**changes))


def test_seeds_that_are_missing_are_told() -> None:
    found = models({e: value for e, value in KNOWN.items() if e != (1, 5)})
    text = model_comparisons.text(found)
    assert "3 of 8 planned seeds are missing" in text
    assert text.count("undecided") == 3
    assert model_comparisons.claim(found) == (
        "wide has the best mean test accuracy, 91.20 % over 5 seeds; it is not shown to differ "
        "from narrow (+10.80 pp, no interval yet, smallest +9.00 pp), not shown to differ from "
        "deep (+0.00 pp, no interval yet, smallest -0.10 pp). Each verdict is one for most seeds; "
        "5 seeds: what befalls fewer than 45 % of seeds may not have been seen."
    )


def test_looking_again_is_told() -> None:
    found = models(looks_again=True, seeds=tuple(range(12)))
    assert "from an e-process" in " ".join(model_comparisons.text(found).split())
    said = "Seeds were added until all was decided, for which the intervals pay."
    assert said in model_comparisons.caveat(found)
    assert "Seeds were added" not in model_comparisons.caveat(models())


def test_nothing_yet_and_one_seed() -> None:
    nothing = models({})
    said = (
        "Nothing is known of the models yet, with 0 of 24 trainings made. The same call goes on."
    )
    assert model_comparisons.text(nothing) == model_comparisons.claim(nothing) == said
    one = models(seeds=(0,), labels=("narrow", "wide"), equivalence=0.001)
    assert model_comparisons.claim(one) == (
        "wide has the best mean test accuracy, 90.00 % over 1 seed; it is not shown to differ "
        "from narrow (+10.00 pp, no interval yet). Each verdict is one for most seeds; 1 seed: "
        "what befalls fewer than 95 % of seeds may not have been seen."
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
        "better than narrow (+0.1039, interval +0.0910 to +0.1195, smallest +0.0910)"
        in " ".join(text.split())
    )
    assert model_comparisons.figure(models()).layout.xaxis.title.text == "test accuracy [%]"
