"""Comparisons of models, from test accuracies that are given."""

from __future__ import annotations

import numpy as np
import pytest
from known_facts import ACCURACIES, KNOWN, models
from scipy import stats


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
    assert {row.verdict for row in found.paired_differences} == {"undecided"}


def test_looking_again_asks_for_one_seed_more_until_all_is_decided() -> None:
    found = models(looks_again=True, seeds=tuple(range(12)))
    assert found.missing == [(0, 8), (1, 8), (2, 8)]
    assert len(found.seeds) == 12
    # With two models, a single claim, they are decided.
    decided = models(looks_again=True, seeds=tuple(range(12)), labels=("narrow", "wide"))
    assert [row.verdict for row in decided.paired_differences] == ["worse"]
    assert (decided.missing, decided.seeds, decided.n_evaluations) == ([], tuple(range(8)), 16)


def test_nothing_yet_is_asked_for_seed_by_seed() -> None:
    nothing = models({})
    assert nothing.missing[:4] == [(0, 0), (1, 0), (2, 0), (0, 1)]
    assert repr(nothing).startswith("ModelComparisonFacts(study_name='models', labels=('narrow', ")
