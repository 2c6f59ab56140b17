"""Comparisons: paired seeds, lockstep, stored studies, and what table and plot say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from search_worker import make_objective

import adnn_optuna as adnn

if TYPE_CHECKING:
    from pathlib import Path

    from adnn_optuna import InitOffsetObjective

SEEDS = (0, 5, 2)


@pytest.fixture(scope="module")
def objective() -> InitOffsetObjective:
    return make_objective()


@pytest.fixture(scope="module")
def comparison(objective: InitOffsetObjective) -> adnn.Comparison:
    return adnn.compare(objective, max_trial=6, seeds=SEEDS)


def completed(study: optuna.Study) -> list[tuple[dict[str, Any], float | None]]:
    return [(t.params, t.value) for t in study.trials if t.state == TrialState.COMPLETE]


def test_each_run_is_the_search_with_its_seed(
    comparison: adnn.Comparison, objective: InitOffsetObjective
) -> None:
    assert list(comparison.results) == ["greedy", "annealing", "random_restart"]
    for sampler, results in comparison.results.items():
        for seed, result in zip(SEEDS, results, strict=True):
            alone = adnn.search(objective.replace(seed=seed), sampler, max_trial=6, stack_size=1)
            assert completed(result.study) == completed(alone.study)
            assert result.test_gain == alone.test_gain


def test_seeds_are_paired(comparison: adnn.Comparison) -> None:
    baselines = [[r.baseline for r in results] for results in comparison.results.values()]
    tests = [[r.test_baseline for r in results] for results in comparison.results.values()]
    assert baselines[0] == baselines[1] == baselines[2]
    assert tests[0] == tests[1] == tests[2]
    assert len(set(baselines[0])) > 1


def test_table_has_mean_and_spread_over_seeds(comparison: adnn.Comparison) -> None:
    table = comparison.table()
    assert list(table.index) == list(comparison.results)
    for sampler, results in comparison.results.items():
        row = table.loc[sampler]
        assert row["seeds"] == 3
        assert row["trials"] == 6
        for column, values in (
            ("best", [r.best_value for r in results]),
            ("gain", [r.gain for r in results]),
            ("test_gain", [r.test_gain for r in results]),
        ):
            assert row[column] == pytest.approx(np.mean(values))
            assert row[f"{column}_std"] == pytest.approx(np.std(values, ddof=1))
        text = next(line for line in str(comparison).splitlines() if line.startswith(sampler))
        assert f"{100 * row['gain']:+.2f} ± {100 * row['gain_std']:.2f}" in text
    assert "over 3 seeds" in str(comparison)


def test_plot_shows_the_mean_of_the_best_so_far(comparison: adnn.Comparison) -> None:
    figure = comparison.plot()
    lines = {trace.name: trace for trace in figure.data if trace.name}
    assert set(lines) == set(comparison.results)
    for sampler, results in comparison.results.items():
        gains = np.array([result.gains_so_far() for result in results])
        assert (np.diff(gains, axis=1) >= 0).all()
        assert (gains[:, 0] == 0).all()  # Each run begins at its baseline.
        np.testing.assert_allclose(lines[sampler].y, 100 * gains.mean(axis=0))
        assert [r.gain for r in results] == gains[:, -1].tolist()


def test_a_stored_comparison_goes_on(objective: InitOffsetObjective, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'compare.db'}"
    settings: dict[str, Any] = {"samplers": ("greedy", "random_restart"), "storage": url}
    adnn.compare(objective, max_trial=2, seeds=(0, 1), **settings)
    longer = adnn.compare(objective, max_trial=5, seeds=(0, 1, 2), **settings)
    whole = adnn.compare(objective, max_trial=5, seeds=(0, 1, 2), samplers=settings["samplers"])
    for sampler in settings["samplers"]:
        for one, other in zip(longer.results[sampler], whole.results[sampler], strict=True):
            assert completed(one.study) == completed(other.study)
    names = {f"compare/{s}/seed={i}" for s in settings["samplers"] for i in range(3)}
    assert set(optuna.get_all_study_names(url)) == names


def test_own_samplers_by_label(objective: InitOffsetObjective) -> None:
    comparison = adnn.compare(
        objective,
        {
            "TPE": lambda seed, n_trials: optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=n_trials
            ),
            "one sampler": optuna.samplers.RandomSampler(seed=0),
            "walk": "greedy",
        },
        max_trial=3,
        seeds=(0, 1),
    )
    assert list(comparison.table().index) == ["TPE", "one sampler", "walk"]
    # Each run has a copy of its own: the same draws for each seed.
    first, second = comparison.results["one sampler"]
    assert [t.params for t in first.study.trials] == [t.params for t in second.study.trials]


def test_wrong_arguments_are_refused_before_anything_is_stored(
    objective: InitOffsetObjective, tmp_path: Path
) -> None:
    path = tmp_path / "compare.db"
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"samplers": ()}, "empty"),
        ({"samplers": "greedy"}, "write samplers="),
        ({"samplers": ("greedy", "greedy")}, "twice"),
        ({"samplers": ("genetic",)}, "searchers are called"),
        ({"samplers": (optuna.samplers.RandomSampler(),)}, "has no name"),
        ({"seeds": ()}, "seeds is empty"),
        ({"seeds": (1, 1)}, "duplicates"),
        ({"seeds": (-1,)}, "seed must be"),
        ({"max_trial": 0}, "max_trial"),
        ({"stack_size": 0}, "stack_size"),
    ]
    for arguments, message in wrong:
        with pytest.raises((ValueError, TypeError), match=message):
            adnn.compare(
                objective, **{"max_trial": 3, "storage": f"sqlite:///{path}", **arguments}
            )
        assert not path.exists()
