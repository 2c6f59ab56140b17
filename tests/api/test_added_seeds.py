"""Comparisons that stop once all claims are decided, resume after a kill, or get more seeds."""

from __future__ import annotations

import dataclasses
import io
import math
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import compare_worker
import optuna
import pytest
from compare_worker import SEEDS, compare
from completed_trials import n_completed
from snapshots import without_reuse

import adnn_optuna as adnn
from adnn_optuna._checks import n_cores
from adnn_optuna.api.stored import load_comparison
from adnn_optuna.engine.storages import open_storage
from adnn_optuna.experiments.controls import ARMS

if TYPE_CHECKING:
    from pathlib import Path


N_CORES = n_cores()
CONTROLS = [name for name, arm in ARMS.items() if arm.is_control]


def killed(path: Path, controls: str, n_trials: int) -> None:
    """Compare in a process that is killed after this number of completed trials."""
    arguments = [compare_worker.__file__, f"sqlite:///{path}", controls]
    process = subprocess.Popen([sys.executable, *arguments])
    deadline = time.monotonic() + 120
    while process.poll() is None and n_completed(path) < n_trials:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL


def without_seconds(comparison: adnn.Comparison) -> str:
    """Return a comparison as text, without its call and the seconds of its arms."""
    return re.sub(r"^(\S+ .*\d) +\d+\.\d+$", r"\1", without_reuse(comparison), flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("controls", "n_trials"),
    [
        pytest.param("learning_rate", (25,), id="once", marks=pytest.mark.slow),
        pytest.param(",".join(CONTROLS), (20, 100), id="twice", marks=pytest.mark.slow),
    ],
)
def test_killed_comparison_says_the_same_as_an_undisturbed_one(
    controls: str, n_trials: tuple[int, ...], tmp_path: Path
) -> None:
    path = tmp_path / "compare.db"
    for number in n_trials:
        killed(path, controls, number)
    url, names = f"sqlite:///{path}", controls.split(",")
    resumed = compare(controls=names, storage=url)
    whole_path = tmp_path / "whole.db"
    whole = compare(controls=names, storage=f"sqlite:///{whole_path}")
    assert without_seconds(resumed) == without_seconds(whole)
    assert resumed.seeds == whole.seeds
    assert resumed.differences().equals(whole.differences())
    assert without_seconds(load_comparison(url, "compare")) == without_seconds(whole)
    assert n_completed(path) == n_completed(whole_path)


def n_runs(storage: optuna.storages.BaseStorage) -> int:
    """Return the number of stored runs of arms."""
    names = optuna.get_all_study_names(storage)
    return sum(re.fullmatch(r".*/seed=\d+", name) is not None for name in names)


class TestStopping:
    def test_comes_when_all_claims_are_decided_and_not_before(
        self, logs: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stderr", terminal := io.StringIO())
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        optuna.logging.set_verbosity(optuna.logging.INFO)
        storage = open_storage(None)
        comparison = compare(controls=(), storage=storage, show_progress_bar=True)
        n_seeds = len(comparison.seeds)
        assert 7 <= n_seeds < len(SEEDS)
        assert comparison.seeds == SEEDS[:n_seeds]
        assert comparison.numbers.n_inconclusive == 0
        n_before = n_seeds - N_CORES
        early = {label: runs[:n_before] for label, runs in comparison.results.items()}
        before = dataclasses.replace(comparison, results=early, seeds=SEEDS[:n_before])
        assert before.numbers.n_inconclusive == 1
        # The comparison begins no study that it might not need.
        assert n_runs(storage) == 2 * n_seeds
        matches = re.findall(r"compare: (\d+) seeds, (\d) of 1 claims decided", logs.text)
        steps = range(N_CORES, n_seeds + 1, N_CORES)
        assert matches == [(str(n), str(int(n == n_seeds))) for n in steps]

    def test_comes_when_no_time_is_left(self) -> None:
        storage = open_storage(None)
        settings: dict[str, Any] = {"controls": (), "margin": 1e-9, "storage": storage}
        comparison = compare(max_time=1e-9, **settings)
        assert comparison.seeds == SEEDS[:N_CORES]
        # The time limit is for all seeds together, and cuts off no seed.
        assert all(run.record.is_over for runs in comparison.results.values() for run in runs)
        assert comparison.numbers.n_inconclusive == 1
        assert compare(max_time=comparison.numbers.seconds, **settings).seeds == comparison.seeds
        more = compare(max_time=comparison.numbers.seconds * 1.0001, **settings)
        assert more.seeds == SEEDS[: 2 * N_CORES]


def planned(seeds: tuple[int, ...], **changes: Any) -> adnn.Comparison:
    settings: dict[str, Any] = {"max_trial": 2, "controls": (), "stop_when_decided": False}
    return compare(seeds=seeds, **{**settings, **changes})


@pytest.mark.filterwarnings("ignore:. seeds? can decide nothing")
class TestAddedSeeds:
    def test_make_the_comparison_sequential_in_table_report_and_sentence(
        self, logs: pytest.LogCaptureFixture
    ) -> None:
        storage = open_storage(None)
        assert not planned(SEEDS[:6], storage=storage).numbers.sequential
        assert planned(SEEDS[:6], storage=storage).differences()["high"].iloc[0] < 1
        assert "planned with" not in logs.text
        more = planned(SEEDS[:7], storage=storage)
        logs.clear()
        again = planned(SEEDS[:7], storage=storage)
        assert not logs.text
        for comparison in (more, again, load_comparison(storage, "compare")):
            assert comparison.numbers.sequential
            notes = comparison.document().notes
            assert any("at 99%" in note for note in notes)
            assert "99% CI" in format(comparison, "details")
            # With planned seeds, it needs 10 seeds.
            assert math.isnan(comparison.differences()["low"].iloc[0])

    def test_must_come_after_the_planned_seeds(self) -> None:
        storage = open_storage(None)
        planned(SEEDS[:3], storage=storage)
        with pytest.raises(ValueError, match="must begin with the 3 declared seeds"):
            planned((90, *SEEDS[:3]), storage=storage)
        assert n_runs(storage) == 6


@pytest.mark.filterwarnings("ignore:. seeds? can decide nothing")
class TestArms:
    def test_that_are_omitted_later_still_count(self) -> None:
        storage = open_storage(None)
        arms = ("greedy", "greedy_improving")
        whole = planned(SEEDS[:7], samplers=arms, storage=storage)
        fewer = planned(SEEDS[:7], storage=storage)
        pair = ("greedy", "random_restart")
        assert [*fewer.results] == [*pair]
        assert not fewer.numbers.sequential
        assert fewer.differences().loc[pair].equals(whole.differences().loc[pair])
        elsewhere = planned(SEEDS[:7], storage=storage, study_name="elsewhere")
        assert elsewhere.like == ("compare",)
        assert any("other comparison" in note for note in elsewhere.document().notes)
        assert load_comparison(storage, "compare").like == ("elsewhere",)

    def test_that_are_added_later_make_the_comparison_sequential(
        self, logs: pytest.LogCaptureFixture
    ) -> None:
        storage = open_storage(None)
        assert not planned(SEEDS[:2], storage=storage).numbers.sequential
        more = planned(SEEDS[:2], samplers=("greedy", "annealing"), storage=storage)
        assert more.numbers.sequential


@pytest.mark.filterwarnings("ignore:. seeds? can decide nothing")
@pytest.mark.parametrize(
    ("url", "said"),
    [("sqlite:///{}", "Compare again with the same"), (None, "kept in storage='sqlite:")],
)
def test_an_interrupted_comparison_says_how_to_resume(
    url: str | None, said: str, tmp_path: Path, logs: pytest.LogCaptureFixture
) -> None:
    def interrupt(_: optuna.Trial) -> float:
        raise KeyboardInterrupt

    optuna.logging.set_verbosity(optuna.logging.INFO)
    storage = url and url.format(tmp_path / "compare.db")
    with pytest.raises(KeyboardInterrupt):
        adnn.compare(interrupt, ["tpe"], max_trial=2, seeds=SEEDS[:1], storage=storage)
    assert said in logs.text
