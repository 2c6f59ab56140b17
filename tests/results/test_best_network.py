"""What the best and the baseline network predict of test examples, and how they learned."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import numpy as np
import pandas as pd
import pytest
from search_worker import quick_training
from shown_pages import EVIL, parsed, text_of
from stored_studies import store_study

import adnn_optuna as adnn
from adnn_optuna.engine.records import read_record
from adnn_optuna.render.html import to_page
from adnn_optuna.results.best_network import MOST, BestNetwork, Example, best_network
from adnn_optuna.results.stored_searches import stored_result

pytestmark = pytest.mark.tensorflow

TRAINING = quick_training(optimizer="sgd", learning_rate=0.1, batch_size=32, epochs=2)


def searched(dataset: adnn.Dataset, **options: Any) -> adnn.SearchResult:
    objective = adnn.InitOffsetObjective(adnn.MLP(hidden=(8,)), dataset, training=TRAINING)
    return adnn.search(objective, "random", max_trial=3, confirm=0, **options)


def compared(result: adnn.SearchResult) -> Any:
    return best_network(result, result.objective, threading.Event())


def test_are_those_that_the_test_counted() -> None:
    result = searched(adnn.load_dataset("digits"))
    found, look = compared(result), result.test_evaluation
    assert result.best is not None
    assert look is not None
    assert [len(found.baseline), len(found.best)] == [2, 2]
    assert found.best[-1]["val_accuracy"] == result.best_value
    assert found.baseline[-1]["val_accuracy"] == result.baseline
    assert [len(found.worse), len(found.better)] == [min(look[k], MOST) for k in ("lost", "won")]
    dataset = result.objective.dataset
    predicted = result.predict(dataset.x_test)
    for examples, is_right in ((found.worse, False), (found.better, True)):
        for example in examples:
            assert example.truth == dataset.y_test[example.number]
            assert example.best == predicted[example.number]
            assert (example.best == example.truth) == is_right
            assert (example.baseline == example.truth) != is_right
            assert example.pixels.shape == (8, 8)
            assert 0 <= example.pixels.min() <= example.pixels.max() <= 1
    # Before the test set is evaluated, there are none.
    for name in [name for name in result.attrs if name.startswith("adnn:test/")]:
        del result.attrs[name]
    closed = compared(result)
    assert (len(closed.best), closed.worse, closed.better) == (2, (), ())


def test_of_a_table_are_rows_by_their_columns() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"age": rng.integers(18, 80, 200), "city": rng.choice(["Oslo", "Rome"], 200)}
    )
    y = np.where((table.age > 50) ^ (table.city == "Rome"), "yes", "no")
    result = searched(adnn.Dataset.from_arrays(table, y))
    found = compared(result)
    rows = [*found.worse, *found.better]
    assert rows
    for row in rows:
        assert {row.truth, row.baseline, row.best} == {"yes", "no"}
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
    found = compared(result)
    for examples, sign in ((found.worse, 1), (found.better, -1)):
        assert 0 < len(examples) <= MOST
        grown = [abs(e.best - e.truth) - abs(e.baseline - e.truth) for e in examples]
        assert all(sign * more > 0 for more in grown)
    assert list(found.better[0].columns) == ["x0", "x1", "x2"]


FOUND = BestNetwork(
    metric="accuracy",
    is_regression=False,
    baseline=[{"val_accuracy": 0.5, "train_accuracy": 0.6}, {"val_accuracy": 0.7}],
    best=[{"val_accuracy": 0.75}, {"val_accuracy": 0.875}],
    worse=[Example(7, "cat", "cat", EVIL, np.eye(3), {})],
    better=[Example(8, "dog", "cat", "dog", np.ones((3, 3)), {})],
    n_worse=20,
    n_better=23,
)


def document_with(found: BestNetwork) -> Any:
    return found.added_to(stored_result(read_record(store_study("one"))).document())


class TestPage:
    def test_shows_each_changed_image_with_both_predictions(self) -> None:
        html = to_page(document_with(FOUND))
        shown = text_of(html)
        caption = f"is cat, baseline cat, best {EVIL}"
        assert f"Right before, wrong now: 1 of 20 test examples {caption}" in shown
        assert "Wrong before, right now: 1 of 23 test examples is dog, baseline cat" in shown
        assert EVIL not in html
        images = [one.attrib["src"] for one in parsed(html).iter("img")]
        assert len(images) == 2
        assert images[0].startswith("data:image/png;base64,")

    def test_shows_changed_rows_of_a_table(self) -> None:
        rows = [Example(7, 0, 0, 1, None, {"age": 30.0, "city": "Rome"})]
        found = dataclasses.replace(FOUND, worse=rows, better=[])
        shown = text_of(to_page(document_with(found)))
        assert "row is baseline best age city 7 0 0 1 30 Rome" in shown

    def test_draws_learning_curves_by_epoch(self) -> None:
        figures = {figure.key: figure for figure in document_with(FOUND).all_figures()}
        drawn = {s.label: ([*s.x], [*s.y]) for s in figures["learning"].series}
        assert drawn["best network, validation"] == ([1, 2], [75.0, 87.5])
        assert drawn["baseline network, validation"] == ([1, 2], [50.0, 70.0])
        assert drawn["baseline network, training"] == ([1], [60.0])
