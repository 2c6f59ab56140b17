"""Comparisons of models: their numbers, their sentences, and how often claims are wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from snapshots import assert_states, assert_surfaces

from adnn_optuna._units import ACCURACY
from adnn_optuna.results.declarations import fixed_declaration
from adnn_optuna.results.models import ModelComparison, ModelRuns

ACCURACIES = {
    "narrow": [0.80, 0.81, 0.82, 0.79, 0.80, 0.83, 0.81, 0.82],
    "wide": [0.90, 0.92, 0.91, 0.90, 0.93, 0.92, 0.91, 0.92],
    "deep": [0.901, 0.919, 0.911, 0.901, 0.928, 0.921, 0.909, 0.921],
}
KNOWN = {
    (i, seed): values[seed] for i, values in enumerate(ACCURACIES.values()) for seed in range(8)
}


def models(known: dict[tuple[int, ...], float] | None = None, **changes: Any) -> ModelComparison:
    """Return a comparison of three models."""
    settings: dict[str, Any] = {
        "evaluations": KNOWN if known is None else known,
        "labels": tuple(ACCURACIES),
        "margin": 0.004,
        "resampled": (100, 50),
        "n_test": 50,
        "score": "test accuracy",
    }
    like = changes.pop("like", ())
    declaration = fixed_declaration(changes.pop("declared_seeds", range(8)))
    declaration["sequential"] = changes.pop("sequential", False)
    declaration["after_fixed"] = changes.pop("after_fixed", False)
    runs = ModelRuns(**{**settings, **changes}, declaration=declaration)
    sources = ("initialisation", "order", "split")
    return ModelComparison(
        runs.table, runs=runs, study_name="models", sources=sources, n_train=100, like=like
    )


def test_surfaces_of_three_models() -> None:
    assert_surfaces("models", models())


def test_surfaces_of_states() -> None:
    two: Any = {"labels": ("narrow", "wide")}
    without_one = {e: value for e, value in KNOWN.items() if e != (1, 5)}
    lost: Any = {"known": {**KNOWN, (1, 4): math.nan}, "sequential": True, "resampled": None}
    states = {
        "two models": models(**two),
        "a narrow margin": models(margin=0.002),
        "one seed": models(declared_seeds=(0,)),
        "a seed to come": models(declared_seeds=tuple(range(9))),
        "a missing seed": models(without_one),
        "one test set": models(resampled=None),
        "sequential": models(sequential=True, declared_seeds=tuple(range(12))),
        "added seeds": models(sequential=True, after_fixed=True, like=("one", "two")),
        "sequential and decided": models(**two, sequential=True, declared_seeds=tuple(range(12))),
        "sequential with a lost seed": models(**lost, **two, declared_seeds=tuple(range(12))),
        "nothing yet": models({}),
        "all lost": models(dict.fromkeys(KNOWN, math.nan)),
        "no accuracies": models(score="test R²"),
    }
    assert_states("models", states)


def test_interval_for_new_data_is_that_of_nadeau_and_bengio() -> None:
    table = models().differences()
    arrays = {label: np.array(values) for label, values in ACCURACIES.items()}
    for (arm, reference), row in table.iterrows():
        d = arrays[arm] - arrays[reference]
        scale = d.std(ddof=1) * np.sqrt(1 / 8 + 50 / 100)
        ends = stats.t.interval(1 - 0.05 / 3, 7, d.mean(), scale)
        assert (row["low"], row["high"]) == pytest.approx(ends)
    # With one seed, missing seeds or a sequential design, this interval does not exist.
    for changes in (
        *({"declared_seeds": (0,)}, {"sequential": True}),
        {"declared_seeds": tuple(range(9))},
    ):
        assert models(**changes).differences()[["low", "high"]].isna().all(axis=None)
    fixed = models(resampled=None)
    assert fixed.numbers.differences == fixed.numbers.on_these_rows


def test_verdict_is_for_new_data_if_splits_are_redrawn() -> None:
    comparison = models(margin=0.002)
    verdicts = [
        [row.verdict for row in rows]
        for rows in (comparison.numbers.on_these_rows, comparison.numbers.differences)
    ]
    # The interval for new data is wider.
    assert verdicts == [["worse", "worse", "equivalent"], ["worse", "worse", "inconclusive"]]
    table = comparison.differences()
    assert table["low"].tolist() == [row.low for row in comparison.numbers.differences]
    assert comparison.numbers.is_of_new_data
    fixed = models(margin=0.002, resampled=None)
    assert not fixed.numbers.is_of_new_data
    assert fixed.numbers.differences == comparison.numbers.on_these_rows
    # Nothing is decided before all planned seeds are done, or in a sequential design.
    for changes in ({"declared_seeds": tuple(range(9))}, {"sequential": True}):
        rows = models(margin=0.002, **changes).numbers.differences
        assert {row.verdict for row in rows} == {"inconclusive"}
        assert all(math.isnan(row.low) and row.reason.startswith("no CI") for row in rows)


def test_table_uses_the_seeds_that_all_models_have() -> None:
    evaluations = {e: value for e, value in KNOWN.items() if e != (1, 5)}
    comparison = models(evaluations)
    table = comparison.table()
    assert table.index.name == "model"
    assert table.to_dict("index")["wide"] == {
        "seeds": 5,
        "test_accuracy": pytest.approx(np.mean(ACCURACIES["wide"][:5])),
        "test_accuracy_std": pytest.approx(np.std(ACCURACIES["wide"][:5], ddof=1)),
    }
    assert (comparison.runs.missing, comparison.runs.n_evaluations) == ([(1, 5)], 24)
    assert {row.verdict for row in comparison.numbers.differences} == {"inconclusive"}


def test_sequential_asks_for_one_more_seed_until_all_claims_are_decided() -> None:
    comparison = models(sequential=True, declared_seeds=tuple(range(12)))
    assert comparison.runs.missing == [(0, 8), (1, 8), (2, 8)]
    assert len(comparison.runs.seeds) == 12
    # With two models there is a single claim, which is decided after 8 seeds.
    decided = models(sequential=True, declared_seeds=tuple(range(12)), labels=("narrow", "wide"))
    assert [row.verdict for row in decided.numbers.on_these_rows] == ["worse"]
    assert (decided.runs.missing, decided.runs.seeds, decided.runs.n_evaluations) == (
        [],
        tuple(range(8)),
        16,
    )


def test_sequential_asks_for_no_seed_after_a_lost_one() -> None:
    lost: Any = {"known": {**KNOWN, (1, 4): math.nan}, "sequential": True}
    lost |= {"declared_seeds": tuple(range(12)), "resampled": None}
    two = models(**lost, labels=("narrow", "wide"))
    assert (two.runs.missing, len(two.runs.seeds)) == ([], 8)
    # The first and the third model have values for all seeds, so more seeds can help.
    assert models(**lost).runs.missing == [(0, 8), (1, 8), (2, 8)]


def test_a_new_comparison_is_evaluated_seed_by_seed() -> None:
    nothing = models({})
    assert nothing.runs.missing[:4] == [(0, 0), (1, 0), (2, 0), (0, 1)]


def test_no_interval_of_accuracies_exceeds_100_points() -> None:
    values = {"a": [0.0, 1.0] * 3, "b": [1.0, 0.0] * 3}
    evaluations = {
        (i, s): v for i, arm_values in enumerate(values.values()) for s, v in enumerate(arm_values)
    }
    changes: Any = {"labels": ("a", "b"), "declared_seeds": tuple(range(6)), "resampled": (10, 10)}
    table = models(evaluations, **changes).differences()
    assert table[["low", "high"]].to_numpy().tolist() == [[-1.0, 1.0]]
    assert ACCURACY.interval(-1.12, math.inf) == "-100.00 to +100.00 pp"
    of_targets = models(evaluations, **changes, score="test R²").differences()
    [low, high] = of_targets[["low", "high"]].iloc[0]
    assert low < -1 < 1 < high


class TestConclusion:
    def test_of_missing_seeds_decides_nothing(self) -> None:
        comparison = models({e: value for e, value in KNOWN.items() if e != (1, 5)})
        document = comparison.document()
        assert [row[4] for row in document.tables[1].rows] == ["inconclusive"] * 3

    def test_without_values_is_not_known(self) -> None:
        nothing = models({}).document()
        assert nothing.verdict == "not known"
        lost = models(dict.fromkeys(KNOWN, math.nan)).document()
        assert lost.verdict == "not known"

    def test_covers_all_models_together(self) -> None:
        two: dict[str, Any] = {"labels": ("narrow", "wide")}
        assert models(**two).document().verdict == "better"
        # One model is better than one other, and equivalent to another.
        assert models().document().verdict == "not worse"
        mixed = models(margin=0.002)
        assert mixed.document().verdict == "mixed"


def test_scores_other_than_accuracies_have_no_percent() -> None:
    page = models(score="test R²")._repr_html_()
    assert not [unit for unit in ("%]", " pp", "[pp]", "81.00") if unit in page]


def test_the_figure_shows_the_best_model_first() -> None:
    differences, values = models().document().figures()
    assert [*values.rows] == ["deep", "wide", "narrow"]
    assert differences.title.startswith("deep is better than ")
    verdicts = {series.label.partition(", ")[2] for series in differences.series}
    assert verdicts == {"better", "equivalent"}


def resplit(rng: np.random.Generator, n_seeds: int) -> dict[tuple[int, ...], float]:
    """Return accuracies of two equally good models on random splits of one data set."""
    is_right = rng.random((2, 800)) < 0.8  # The rows that each model predicts correctly.
    tests = [rng.choice(800, 160, replace=False) for _ in range(n_seeds)]
    return {(m, s): float(is_right[m, t].mean()) for s, t in enumerate(tests) for m in range(2)}


def test_equal_models_are_rarely_told_apart_by_splits_of_one_data_set() -> None:
    rng, n_runs = np.random.default_rng(0), 200
    seeds: Any = {"labels": ("narrow", "wide"), "declared_seeds": tuple(range(12))}
    settings = {**seeds, "n_test": 160, "margin": 0.001}
    n_told_apart, on_these = 0, 0
    for _ in range(n_runs):
        comparison = models(resplit(rng, 12), **settings)
        n_told_apart += comparison.numbers.differences[0].verdict != "inconclusive"
        on_these += comparison.numbers.on_these_rows[0].verdict != "inconclusive"
    assert n_told_apart / n_runs < 0.05 + 2 * math.sqrt(0.05 * 0.95 / n_runs)
    assert on_these / n_runs > 0.25  # The claims are true for these rows only.
    for _ in range(10):  # With 30 seeds, nothing is decided, either.
        again = models(
            resplit(rng, 30), **{**settings, "declared_seeds": tuple(range(30))}, sequential=True
        )
        assert again.numbers.differences[0].verdict == "inconclusive"
