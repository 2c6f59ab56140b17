"""Loops that keep changes: their runs, what they store, how they resume, and refusals."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest

import adnn_optuna as adnn
from adnn_optuna._checks import WrongInputError
from adnn_optuna.api.stored import load_result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from optuna.storages import BaseStorage, InMemoryStorage

    from adnn_optuna.results.change_loop import ChangeLoop


# A loop takes a second, so there are few loops. tests/stats/test_keeping.py simulates more loops,
# in arrays.
N_LOOPS = 12


def normal(seed: int) -> float:
    return float(np.random.default_rng(seed).standard_normal())


class Versions:
    """Versions of a function in one loop, and the number of runs of each version."""

    def __init__(self, storage: Any) -> None:
        self.storage = storage
        self.runs: dict[str, list[int]] = {}

    def keep(self, label: str, gain: float = 0.0, **options: Any) -> ChangeLoop:
        runs = self.runs.setdefault(label, [])

        def version(seed: int) -> float:
            runs.append(seed)
            return gain + normal(seed)

        function = options.pop("f", version)
        return adnn.keep(function, storage=self.storage, candidate=label, **options)


@pytest.fixture
def versions(storage: InMemoryStorage) -> Versions:
    """Return versions in a loop whose baseline has been measured."""
    versions = Versions(storage)
    assert versions.keep("first").verdict == "baseline"
    return versions


@pytest.fixture(scope="module")
def measured_loop(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of a loop with a measured baseline, for calls that are refused."""
    url = f"sqlite:///{tmp_path_factory.mktemp('loop')}/loop.db"
    Versions(url).keep("first")
    return url


def test_changes_are_kept_by_their_gain_over_the_best_so_far(versions: Versions) -> None:
    better = versions.keep("better", 5)
    assert (better.verdict, better.kept, better.n_runs) == ("kept", True, 8)
    assert better.gain.low < 5 < better.gain.high
    same = versions.keep("same as the first")
    assert (same.verdict, same.kept, same.n_runs) == ("not kept", False, 1)
    assert same.candidate.against == same.best.label == "better"
    assert (same.n_judged, same.n_kept, same.n_false_expected) == (2, 1, 0.02)
    assert versions.keep("best", 10).candidate.against == "better"
    # All runs have different seeds.
    seeds = [seed for of_version in versions.runs.values() for seed in of_version]
    assert len({*seeds}) == len(seeds) == 8 + 8 + 1 + 8


def test_a_verdict_stays_without_further_runs(url: str) -> None:
    versions = Versions(url)  # The verdict is read from the file.
    versions.keep("first")
    before = versions.keep("same", 0.5), versions.keep("better", 5)
    versions.runs.clear()
    again = versions.keep("same", 0.5), versions.keep("better", 5)
    assert "8 stored runs reused, 0 new." in str(again[1])
    assert [len(runs) for runs in versions.runs.values()] == [0, 0]
    assert [(r.verdict, r.gain) for r in again] == [(r.verdict, r.gain) for r in before]
    assert versions.keep("first").verdict == "baseline"


def test_lower_is_better_if_the_user_says_so(storage: InMemoryStorage) -> None:
    versions = Versions(storage)
    versions.keep("first", direction="minimize")
    assert versions.keep("higher", 5, direction="minimize").verdict == "not kept"
    lower = versions.keep("lower", -5, direction="minimize")
    assert lower.verdict == "kept"
    assert lower.gain.low < 5 < lower.gain.high


def test_equal_code_is_the_same_candidate(storage: BaseStorage) -> None:
    def with_gain(gain: float) -> Callable[[int], float]:
        return lambda seed: gain + normal(seed)

    first = adnn.keep(with_gain(0), storage=storage)
    assert adnn.keep(with_gain(0), storage=storage).label == first.label
    assert adnn.keep(with_gain(-9), storage=storage).label != first.label


def test_failed_runs_do_not_help_a_candidate(versions: Versions) -> None:
    def fails(seed: int) -> float:
        if seed % 2:
            raise ZeroDivisionError
        return 9.0 if seed % 3 else math.nan

    always = versions.keep("always", f=lambda _seed: math.nan)
    assert (always.verdict, always.n_runs) == ("not kept", 2)
    often = versions.keep("often", f=fails, catch=ZeroDivisionError)
    assert often.verdict == "not kept"
    calls = [math.nan, *[6.0] * 7]
    once = versions.keep("once", f=lambda _seed: calls.pop(0))
    assert (once.verdict, once.n_runs) == ("kept", 8)


def test_failures_count_as_the_users_value(storage: BaseStorage) -> None:
    versions = Versions(storage)
    values = [0.5, math.nan, 0.6, 0.4]
    options: Any = {"failed": 0.0, "n0": 4}
    versions.keep("first", f=lambda _seed: values.pop(), **options)
    result = versions.keep("same", f=lambda _seed: 0.375, **options)
    assert result.gain.value == 0.0


def test_without_randomness_any_better_value_is_kept(storage: InMemoryStorage) -> None:
    versions = Versions(storage)
    versions.keep("first", f=lambda _seed: 0.1)
    assert versions.keep("equal", f=lambda _seed: 0.1).verdict == "not kept"
    better = versions.keep("better", f=lambda _seed: 0.2)
    assert better.verdict == "kept"
    assert "All runs of the baseline are equal" in str(better)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"level": 0.05}, "level must be 0.01, as in loop 'loop'; got 0.05. Pass level=0.01"),
        ({"n0": 9}, "n0 must be 8"),
        ({"max_runs": 4}, "max_runs must be 8"),
        ({"failed": 0.0}, "failed must be None"),
        ({"direction": "minimize"}, "direction"),
        ({"level": 0.5}, "level must be from 0.001 to 0.2"),
        ({"n0": 2}, "n0 must be a whole number of at least 3"),
        ({"max_runs": 1}, "max_runs must be a whole number of at least 2"),
        ({"max_runs": 101}, "max_runs must be below 101"),
        ({"candidate": " "}, "candidate must be a text that is not empty"),
        ({"note": 7}, "note must be a text"),
        ({"f": lambda: 0.0}, "f must be a function of one seed"),
        ({"f": lambda a, b: a + b}, "f must be a function of one seed"),
        ({"storage": None}, "storage must be set"),
    ],
)
def test_wrong_input_is_refused_before_any_run(
    measured_loop: str, arguments: dict[str, Any], sentence: str
) -> None:
    options = {"f": normal, "storage": measured_loop, "candidate": "other", **arguments}
    with pytest.raises(WrongInputError) as error:
        adnn.keep(**options)
    assert sentence in str(error.value)
    study = optuna.load_study(study_name="loop", storage=measured_loop)
    assert len(study.get_trials()) == 8


def test_other_studies_are_not_taken_for_loops(storage: BaseStorage) -> None:
    adnn.measure_variance(lambda *, seed: normal(seed), n=5, storage=storage, study_name="loop")
    with pytest.raises(WrongInputError, match="'loop'"):
        adnn.keep(normal, storage=storage)


def test_a_baseline_that_fails_is_refused(storage: BaseStorage) -> None:
    versions = Versions(storage)
    values = [0.5, 0.6, *[math.nan] * 6]
    baseline = versions.keep("first", f=lambda _seed: values.pop())
    assert "must have 3 runs with a value; it has 2." in str(baseline)
    assert "pass another study_name" in str(baseline)
    with pytest.raises(WrongInputError, match="3 of them with a value; got 8 and 2"):
        versions.keep("second")


def die_at_run(url: str, log: str, number: int) -> None:
    """Measure a baseline and a better candidate, and die in the run with this number."""
    for label, gain in (("first", 0.0), ("better", 5.0)):

        def version(seed: int, label: str = label, gain: float = gain) -> float:
            with open(log, "a+", encoding="utf-8") as runs:  # noqa: PTH123
                runs.write(f"{label} {seed}\n")
                runs.seek(0)
                if len(runs.readlines()) == number:
                    os.kill(os.getpid(), signal.SIGKILL)
            return gain + normal(seed)

        adnn.keep(version, storage=url, candidate=label)


@pytest.mark.parametrize("number", [pytest.param(3, marks=pytest.mark.slow), 12])
def test_a_killed_loop_resumes(url: str, tmp_path: Path, number: int) -> None:
    log = tmp_path / "runs.log"
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=die_at_run, args=(url, str(log), number))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    die_at_run(url, str(log), -1)
    runs = log.read_text().splitlines()
    # Only the run that was interrupted was repeated.
    assert len(runs) == 8 + 8 + 1
    assert len({*runs}) == 8 + 8


def test_two_workers_share_the_runs_of_a_candidate(versions: Versions) -> None:
    results: list[ChangeLoop] = []
    both = threading.Barrier(2)

    def work() -> None:
        both.wait()
        results.append(versions.keep("better", 5))

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [result.verdict for result in results] == ["kept", "kept"]
    assert len(versions.runs["better"]) == 8


def test_two_versions_that_begin_a_loop_at_once_have_one_baseline() -> None:
    versions = Versions(optuna.storages.InMemoryStorage())
    both = threading.Barrier(2)
    refused: list[str] = []

    def work(label: str) -> None:
        both.wait()
        try:
            versions.keep(label)
        except WrongInputError as error:
            refused.append(str(error))

    workers = [threading.Thread(target=work, args=(label,)) for label in ("one", "other")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all("must have 8 runs" in sentence for sentence in refused)
    verdicts = [versions.keep(label).verdict for label in ("one", "other")]
    assert verdicts.count("baseline") == 1
    assert "not judged yet" not in verdicts


def test_the_baseline_stays_if_a_slower_version_began_before_it(storage: InMemoryStorage) -> None:
    versions = Versions(storage)

    def is_overtaken(seed: int) -> float:
        if "fast" not in versions.runs:
            faster = threading.Thread(target=versions.keep, args=("fast",))
            faster.start()
            faster.join()
        return normal(seed)

    assert versions.keep("slow", f=is_overtaken).verdict != "baseline"
    assert versions.keep("fast").verdict == "baseline"


def test_candidates_at_the_same_time_are_compared_with_the_same_version(
    versions: Versions,
) -> None:
    other_worker = threading.Thread(target=versions.keep, args=("inner", 5))

    def begins_another(seed: int) -> float:
        if "inner" not in versions.runs:
            other_worker.start()
            other_worker.join()
        return 5 + normal(seed)

    outer = versions.keep("outer", f=begins_another)
    assert (outer.verdict, outer.candidate.against) == ("kept", "first")
    again = versions.keep("inner", 5)
    assert again.candidate.against == "first"
    # The best version so far is the version whose first run ended later.
    assert again.best.label == "outer"


def test_a_stored_loop_is_read_back(versions: Versions) -> None:
    judged = versions.keep("better", 5, note="a wider layer")
    loaded = load_result(versions.storage, "loop")
    assert str(loaded) == str(judged)
    assert "a wider layer" in format(loaded, "details")


NOISE: dict[str, Callable[[np.random.Generator], float]] = {
    "normal": lambda rng: rng.standard_normal(),
    "t3": lambda rng: rng.standard_t(3) / math.sqrt(3),
    "exponential, upward": lambda rng: rng.exponential() - 1,
    "exponential, downward": lambda rng: 1 - rng.exponential(),
    "half of the changes 1.5 sd": lambda rng: rng.standard_normal(),
    "a tenth of the runs fail": lambda rng: (
        math.nan if rng.random() < 0.1 else rng.standard_normal()
    ),
}


def run_loop(name: str, noise: str, gain: float) -> tuple[int, int, int]:
    """Return the number of runs, and the numbers of useless and real changes that a loop keeps."""
    storage = optuna.storages.InMemoryStorage()
    draw, rng = NOISE[noise], np.random.default_rng(int(name))
    best, n_false, n_real, n_runs = 0.0, 0, 0, 0
    for place in range(-1, 100):
        own_gain = gain * (place in range(9, 100, 10))
        sd = rng.choice([1.0, 1.5]) if noise == "half of the changes 1.5 sd" else 1.0
        mean = best + own_gain

        def version(seed: int, mean: float = mean, sd: float = sd) -> float:
            return float(mean + sd * draw(np.random.default_rng(seed)))

        result = adnn.keep(version, storage=storage, study_name=name, candidate=f"c{place}")
        n_runs += result.n_runs
        if result.kept:
            best = mean
            n_real += own_gain > 0
            n_false += result.verdict == "kept" and not own_gain
    return n_false, n_real, n_runs


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("noise", NOISE)
def test_few_changes_without_effect_are_kept(noise: str) -> None:
    loops = [run_loop(str(seed), noise, 0) for seed in range(N_LOOPS)]
    assert np.mean([n_false for n_false, _, _ in loops]) <= (1.1 if noise == "normal" else 2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("gain", "share"), [(2, 0.5), (3, 0.85)])
def test_real_gains_are_kept_by_few_runs(gain: float, share: float) -> None:
    loops = [run_loop(str(seed), "normal", gain) for seed in range(N_LOOPS)]
    _, n_real, n_runs = np.mean(loops, axis=0)
    assert n_real / 10 >= share
    assert n_runs / 100 <= 2
