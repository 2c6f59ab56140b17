"""The committed results of the studies, and what is written about them."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def test_a_script_says_how_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, STUDIES / "rq2_trials.py", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--quick" in done.stdout
    assert "RQ2" in done.stdout
