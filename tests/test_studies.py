"""The committed results of the studies, and what is written about them."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
STUDIES = ROOT / "studies"


@pytest.fixture(scope="module")
def figures() -> Iterator[Any]:
    sys.path.insert(0, str(STUDIES))
    try:
        yield importlib.import_module("figures")
    finally:
        sys.path.remove(str(STUDIES))


@pytest.mark.parametrize("page", ["README.md", "studies/README.md"])
def test_tables_say_what_the_committed_results_hold(figures: Any, page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert "<!-- begin: " in text
    assert figures.with_blocks(text, figures.blocks()) == text


def test_each_figure_on_a_page_is_one_that_is_drawn(figures: Any) -> None:
    drawn = {
        f"{study.name}{suffix}.png"
        for study in figures.STUDIES
        for suffix in study.figures(study.load())
    }
    text = (STUDIES / "README.md").read_text(encoding="utf-8")
    assert drawn == set(re.findall(r"!\[[^]]*\]\((.+?)\)", text))
    assert all((STUDIES / name).is_file() for name in drawn)


@pytest.mark.slow
def test_a_study_that_is_run_again_finds_its_trials(figures: Any, tmp_path: Path) -> None:
    motivation = figures.motivation
    settings = motivation.Settings(runs=3, draws=2, epochs=2)
    storage = f"sqlite:///{tmp_path}/studies.db"

    # Left in the middle, as a killed process leaves it; the rest is done by the second run.
    first = next(motivation.run(settings, storage))
    *_, results = motivation.run(settings, storage)
    *_, again = motivation.run(settings, storage)

    assert results == again
    assert results["runs"] == first["runs"]
    same = results["runs"][motivation.SAME]
    assert all(len(set(same[name])) == 1 for name in motivation.CLASSIFIERS)
    assert len(set(same[motivation.MLP])) > 1
    assert all(
        [len(curve) for curve in curves] == [2, 2]
        for curves in results["initial_weights"].values()
    )
    results["setting"] = {"name": "tiny", "runs": 3, "draws": 2, "epochs": 2}
    assert set(motivation.figures(results)) == {"_runs", "_initial_weights"}
    assert "| MLP | the same data | 3 |" in motivation.summary(results)


def walks_of_seeds(rq1: Any, gain: Any, *, trials: int = 20, seeds: int = 10) -> dict[str, Any]:
    """Return results of one model in which ``gain(seed, offsets)`` was added to a baseline."""
    steps = np.outer((0.0025, 0.003, 0.006), range(trials + 1))
    offsets = sorted({round(offset, 6) for offset in steps.flat})
    accuracy = [(0.5 + gain(seed, np.array(offsets))).tolist() for seed in range(seeds)]
    return {
        "setting": {"deltas": [0.0025, 0.003, 0.006], "trials": trials, "seeds": seeds},
        "models": {"MNIST-1": {"offsets": offsets, "accuracy": accuracy}},
    }


def test_what_one_seed_does_in_all_its_steps_is_one_case(figures: Any) -> None:
    rq1 = figures.rq1_step_size
    # Each walk goes its own way in all of its steps, up or down.
    either_way = walks_of_seeds(rq1, lambda seed, offsets: (-1) ** seed * offsets)
    # All of them go down, the last one the least.
    down = walks_of_seeds(rq1, lambda seed, offsets: (seed - 10) * offsets)

    [trend, _] = rq1.trends(either_way)
    assert sorted(set(trend["correlations"].round(6))) == [-1, 1]
    assert trend["p"] > 0.5
    [trend, _] = rq1.trends(down)
    assert trend["p"] == pytest.approx(2 / 2**10)


def test_values_of_delta_are_compared_between_seeds(figures: Any) -> None:
    rq1 = figures.rq1_step_size
    # The best is where the offset is 0.12, which 0.006 alone comes to in 20 trials; how much is
    # gained there differs more between the seeds.
    peak = walks_of_seeds(rq1, lambda seed, offsets: -abs(offsets - 0.12) / 2**seed)
    # Each seed has its own luck with each offset.
    luck = walks_of_seeds(
        rq1, lambda seed, offsets: np.random.default_rng(seed).normal(0, 0.01, len(offsets))
    )

    [row] = rq1.rows(peak)
    assert row["p"] < 0.001
    assert row["best_delta"] == 0.006
    assert row["gain"] == pytest.approx(12 * np.mean(0.5 ** np.arange(10)))
    assert (row["is_chosen_best"], row["seeds_chosen_best"]) == (False, 0)
    [row] = rq1.rows(luck)
    assert row["p"] > 0.05


def test_a_script_says_how_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, STUDIES / "rq2_trials.py", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--quick" in done.stdout
    assert "RQ2" in done.stdout
