"""What winner and unmoved network say of the test examples, and how they learned."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pandas as pd
import pytest
from search_worker import quick_training

import adnn_optuna as adnn
from adnn_optuna.results.examples import MOST, winner_facts

pytestmark = pytest.mark.tensorflow

TRAINING = quick_training(optimizer="sgd", learning_rate=0.1, batch_size=32, epochs=2)


def searched(dataset: adnn.Dataset, **options: Any) -> adnn.SearchResult:
    objective = adnn.InitOffsetObjective(adnn.MLP(hidden=(8,)), dataset, training=TRAINING)
    return adnn.search(objective, "random", max_trial=3, confirm=0, **options)


def facts_of(result: adnn.SearchResult) -> Any:
    return winner_facts(result, result.objective, threading.Event())


def test_are_those_that_the_test_counted() -> None:
    result = searched(adnn.load_dataset("digits"))
    facts, look = facts_of(result), result.test_evaluation
    assert result.best is not None
    assert look is not None
    assert [len(facts.unmoved), len(facts.winner)] == [2, 2]
    assert facts.winner[-1]["val_accuracy"] == result.best_value
    assert facts.unmoved[-1]["val_accuracy"] == result.baseline
    assert [len(facts.lost), len(facts.won)] == [min(look[k], MOST) for k in ("lost", "won")]
    dataset = result.objective.dataset
    predicted = result.predict(dataset.x_test)
    for examples, is_right in ((facts.lost, False), (facts.won, True)):
        for example in examples:
            assert example.truth == dataset.y_test[example.number]
            assert example.winner == predicted[example.number]
            assert (example.winner == example.truth) == is_right
            assert (example.unmoved == example.truth) != is_right
            assert example.pixels.shape == (8, 8)
            assert 0 <= example.pixels.min() <= example.pixels.max() <= 1
    # While the test set is closed, there are none.
    for name in [name for name in result.attrs if name.startswith("adnn:test/")]:
        del result.attrs[name]
    closed = facts_of(result)
    assert (len(closed.winner), closed.lost, closed.won) == (2, (), ())


def test_of_a_table_are_rows_by_their_columns() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"age": rng.integers(18, 80, 200), "city": rng.choice(["Oslo", "Rome"], 200)}
    )
    y = np.where((table.age > 50) ^ (table.city == "Rome"), "yes", "no")
    result = searched(adnn.Dataset.from_arrays(table, y))
    facts = facts_of(result)
    rows = [*facts.lost, *facts.won]
    assert rows
    for row in rows:
        assert {row.truth, row.unmoved, row.winner} == {"yes", "no"}
        assert row.pixels is None
        assert 18 <= row.columns["age"] <= 80
        assert row.columns["age"] == pytest.approx(round(row.columns["age"]), abs=1e-4)
        # So it is the row that it says it is.
        assert row.truth == (
            "yes" if (row.columns["age"] > 50) ^ (row.columns["city"] == "Rome") else "no"
        )


def test_of_a_regression_are_those_that_came_nearer_or_went_farther() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)).astype(np.float32)
    result = searched(
        adnn.Dataset.from_arrays(x, x[:, 0] * 2 + rng.normal(0, 0.1, 200), task="regression")
    )
    facts = facts_of(result)
    for examples, sign in ((facts.lost, 1), (facts.won, -1)):
        assert 0 < len(examples) <= MOST
        grown = [abs(e.winner - e.truth) - abs(e.unmoved - e.truth) for e in examples]
        assert all(sign * more > 0 for more in grown)
    assert list(facts.won[0].columns) == ["x0", "x1", "x2"]
