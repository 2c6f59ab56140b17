"""The numbers of comparisons of models."""

from __future__ import annotations

import math

import numpy as np
import pytest
from known_facts import ACCURACIES, KNOWN, models
from scipy import stats

from adnn_optuna._units import ACCURACY
from adnn_optuna.results.arm_values import ModelComparisonFacts


def test_interval_for_new_data_is_that_of_nadeau_and_bengio() -> None:
    table = models().differences()
    arrays = {label: np.array(values) for label, values in ACCURACIES.items()}
    for (one, other), row in table.iterrows():
        d = arrays[one] - arrays[other]
        scale = d.std(ddof=1) * np.sqrt(1 / 8 + 50 / 100)
        ends = stats.t.interval(1 - 0.05 / 3, 7, d.mean(), scale)
        assert (row["low"], row["high"]) == pytest.approx(ends)
    # There is none of one seed, of a test set that never changes, or where one looks again.
    for changes in (
        *({"seeds": (0,)}, {"sequential": True}),
        {"seeds": tuple(range(9))},
    ):
        assert np.isinf(models(**changes).differences()[["low", "high"]]).all(axis=None)
    fixed = models(resampled=None)
    assert fixed.paired_differences == fixed.on_these_rows


def test_verdict_is_for_new_data_where_splits_are_redrawn() -> None:
    found = models(margin=0.002)
    verdicts = [
        [row.verdict for row in rows] for rows in (found.on_these_rows, found.paired_differences)
    ]
    # The second interval is wider.
    assert verdicts == [["worse", "worse", "equivalent"], ["worse", "worse", "inconclusive"]]
    table = found.differences()
    assert table["low"].tolist() == [row.low for row in found.paired_differences]
    assert found.is_of_new_data
    fixed = models(margin=0.002, resampled=None)
    assert not fixed.is_of_new_data
    assert fixed.paired_differences == found.on_these_rows
    # Neither before all planned seeds are there nor where one looks again.
    for changes in ({"seeds": tuple(range(9))}, {"sequential": True}):
        rows = models(margin=0.002, **changes).paired_differences
        assert {(row.verdict, row.low) for row in rows} == {("inconclusive", -math.inf)}


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
    assert {row.verdict for row in found.paired_differences} == {"inconclusive"}


def test_sequential_asks_for_one_seed_more_until_all_is_decided() -> None:
    found = models(sequential=True, seeds=tuple(range(12)))
    assert found.missing == [(0, 8), (1, 8), (2, 8)]
    assert len(found.seeds) == 12
    # With two models, a single claim, they are decided.
    decided = models(sequential=True, seeds=tuple(range(12)), labels=("narrow", "wide"))
    assert [row.verdict for row in decided.on_these_rows] == ["worse"]
    assert (decided.missing, decided.seeds, decided.n_evaluations) == ([], tuple(range(8)), 16)


def test_nothing_yet_is_asked_for_seed_by_seed() -> None:
    nothing = models({})
    assert nothing.missing[:4] == [(0, 0), (1, 0), (2, 0), (0, 1)]
    assert repr(nothing).startswith("ModelComparisonFacts(study_name='models', labels=('narrow', ")


def test_no_interval_is_wider_than_accuracies_can_differ() -> None:
    values = {"a": [0.0, 1.0] * 3, "b": [1.0, 0.0] * 3}
    known = {(i, s): v for i, of in enumerate(values.values()) for s, v in enumerate(of)}
    settings = (("a", "b"), tuple(range(6)), False, 0.005, ("order",), (10, 10), 10, 10)
    table = ModelComparisonFacts(known, "s", *settings).differences()
    assert table[["low", "high"]].to_numpy().tolist() == [[-1.0, 1.0]]
    assert ACCURACY.interval(-1.12, math.inf) == "-100.00 to +100.00 pp"
    [low, high] = (
        ModelComparisonFacts(known, "s", *settings, "test R²")
        .differences()[["low", "high"]]
        .iloc[0]
    )
    assert low < -1 < 1 < high
