"""What comparisons of models print and tell, from test accuracies that are given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from adnn_optuna.evidence.models import ModelComparison

ACCURACIES = {
    "narrow": [0.80, 0.81, 0.82, 0.79, 0.80, 0.83, 0.81, 0.82],
    "wide": [0.90, 0.92, 0.91, 0.90, 0.93, 0.92, 0.91, 0.92],
    "deep": [0.901, 0.919, 0.911, 0.901, 0.928, 0.921, 0.909, 0.921],
}
KNOWN = {
    (i, seed): values[seed] for i, values in enumerate(ACCURACIES.values()) for seed in range(8)
}

PRINTED = """\
model   test accuracy [%]
-------------------------
narrow       81.00 ± 1.31
wide         91.38 ± 1.06
deep         91.39 ± 0.99
-------------------------
mean ± standard deviation over 8 seeds; one of 50 test examples: 2 pp

                  difference
test accuracy of        [pp]         interval        superior     verdict
-------------------------------------------------------------------------
narrow - wide         -10.38  -12.00 to -9.00   0 % (0 to 37)       worse
narrow - deep         -10.39  -11.95 to -9.10   0 % (0 to 37)       worse
wide - deep            -0.01   -0.10 to +0.15  38 % (9 to 76)  equivalent
-------------------------------------------------------------------------
paired by seed; equivalent: within ±0.4 pp; superior: share of seeds, ties half
interval: 95 % for the 3 claims on models together, from inverted sign flips, for the planned
seeds
for new data of this kind: narrow - wide -13.60 to -7.15 pp
for new data of this kind: narrow - deep -13.39 to -7.39 pp
for new data of this kind: wide - deep -0.32 to +0.30 pp

deep has the best mean test accuracy, 91.39 % over 8 seeds; it is better than narrow (+10.39 pp,
interval +9.10 to +11.95 pp), equivalent to wide (+0.01 pp, interval -0.15 to +0.10 pp). Each seed
draws initialisation, order and split afresh, the same for all models. All is said of this data
set, and assumes that differences are symmetric about their centre. Whoever picks a model by this
test has used it: what it gives is no longer that of untouched data."""


def models(known: dict[tuple[int, ...], float] | None = None, **changes: Any) -> ModelComparison:
    settings: dict[str, Any] = {
        "evaluations": KNOWN if known is None else known,
        "study_name": "models",
        "labels": tuple(ACCURACIES),
        "seeds": tuple(range(8)),
        "looks_again": False,
        "equivalence": 0.004,
        "sources": ("initialisation", "order", "split"),
        "draws_test_set": True,
        "n_train": 100,
        "n_test": 50,
    }
    return ModelComparison(**{**settings, **changes})


def test_whole_text() -> None:
    assert str(models()) == PRINTED
    assert repr(models()) == (
        "ModelComparison('models', models=('narrow', 'wide', 'deep'), seeds=8, "
        "verdicts=['worse', 'worse', 'equivalent'])"
    )


def test_interval_for_new_data_is_that_of_nadeau_and_bengio() -> None:
    table = models().differences()
    arrays = {label: np.array(values) for label, values in ACCURACIES.items()}
    for (one, other), row in table.iterrows():
        d = arrays[one] - arrays[other]
        scale = d.std(ddof=1) * np.sqrt(1 / 8 + 50 / 100)
        ends = stats.t.interval(1 - 0.05 / 3, 7, d.mean(), scale)
        assert (row["new_data_low"], row["new_data_high"]) == pytest.approx(ends)
    two = models(seeds=(0, 1)).differences().loc[("narrow", "wide")]
    ends = stats.t.interval(1 - 0.05 / 3, 1, -0.105, 0.01 / np.sqrt(2))
    assert (two["new_data_low"], two["new_data_high"]) == pytest.approx(ends)
    # There is none of one seed, of a test set that never changes, or where one looks again.
    for changes in ({"seeds": (0,)}, {"draws_test_set": False}, {"looks_again": True}):
        found = models(**changes)
        assert found.differences()[["new_data_low", "new_data_high"]].isna().all(axis=None)
        assert "new data" not in str(found)


def test_table_is_of_the_seeds_that_all_have() -> None:
    known = {e: value for e, value in KNOWN.items() if e != (1, 5)}
    found = models(known)
    table = found.table()
    assert table.index.name == "model"
    assert table.to_dict("index")["wide"] == {
        "seeds": 5,
        "test_accuracy": pytest.approx(np.mean(ACCURACIES["wide"][:5])),
        "test_accuracy_std": pytest.approx(np.std(ACCURACIES["wide"][:5], ddof=1)),
    }
    assert (found.missing, found.n_evaluations) == ([(1, 5)], 24)
    text = str(found)
    assert "3 of 8 planned seeds are missing" in text
    assert text.count("undecided") == 3
    assert found.claim == (
        "wide has the best mean test accuracy, 91.20 % over 5 seeds; it is not shown to differ "
        "from narrow (+10.80 pp, no interval yet), not shown to differ from deep (+0.00 pp, no "
        "interval yet)."
    )


def test_nothing_yet_and_one_seed() -> None:
    nothing = models({})
    said = (
        "Nothing is known of the models yet, with 0 of 24 trainings made. The same call goes on."
    )
    assert str(nothing) == nothing.claim == said
    assert nothing.missing[:4] == [(0, 0), (1, 0), (2, 0), (0, 1)]
    one = models(seeds=(0,), labels=("narrow", "wide"), equivalence=0.001)
    assert one.claim == (
        "wide has the best mean test accuracy, 90.00 % over 1 seed; it is not shown to differ "
        "from narrow (+10.00 pp, no interval yet)."
    )
    assert str(one).splitlines()[:5] == [
        "model   test accuracy [%]",
        "-------------------------",
        "narrow              80.00",
        "wide                90.00",
        "-------------------------",
    ]
    assert "\none seed; one of 50 test examples: 2 pp\n" in str(one)


def test_looking_again_asks_for_one_seed_more_until_all_is_decided() -> None:
    found = models(looks_again=True, seeds=tuple(range(12)))
    assert found.missing == [(0, 8), (1, 8), (2, 8)]
    assert len(found.seeds) == 12
    assert "from an e-process" in " ".join(str(found).split())
    assert "Seeds were added until all was decided, for which the intervals pay." in found.caveat
    assert "Seeds were added" not in models().caveat
    # With two models, a single claim, they are decided.
    decided = models(looks_again=True, seeds=tuple(range(12)), labels=("narrow", "wide"))
    assert [row.verdict for row in decided.paired_differences] == ["worse"]
    assert (decided.missing, decided.seeds, decided.n_evaluations) == ([], tuple(range(8)), 16)


def test_scores_that_are_no_accuracies_have_no_percent() -> None:
    text = str(models(score="test R²"))
    assert "model           test R²" in text
    assert "narrow  0.8100 ± 0.0131" in text
    assert "; 50 test examples\n" in text
    assert "better than narrow (+0.1039, interval +0.0910 to +0.1195)" in " ".join(text.split())
    assert models().plot().layout.xaxis.title.text == "test accuracy [%]"
