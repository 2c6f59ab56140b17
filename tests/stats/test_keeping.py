"""The rule for keeping changes: simulations of whole loops, and single candidates."""

from __future__ import annotations

import math

import keep
import numpy as np
import pytest

from adnn_optuna.stats.keeping import Standard, judged, pooled, threshold


def judge(*values: float, n_made: int | None = None) -> tuple[str, int]:
    """Judge a candidate against a best version with mean 0 and worst run -1."""
    n_values = len(values) if n_made is None else n_made
    padded = np.array([*values, *[math.nan] * (4 - len(values))])
    is_kept, given_up, n_runs = judged(padded, np.array(n_values), Standard(0.0, -1.0, 1.0, 1.0))
    verdict = "not judged yet"
    if is_kept:
        verdict = "kept"
    elif given_up:
        verdict = "given up"
    return verdict, int(n_runs)


def test_a_candidate_is_given_up_once_its_mean_gain_is_too_small() -> None:
    # After 1, 2, 3 and 4 runs, the mean must exceed 1.5, 1.25, 1.17 and 1.125 sd.
    assert judge(1.4) == ("given up", 1)
    assert judge(1.6) == ("not judged yet", 1)
    assert judge(1.6, 0.8) == ("given up", 2)
    assert judge(1.6, 1.0, 1.0, 1.0) == ("kept", 4)
    assert judge(1.6, 1.0, 1.0, 0.8) == ("given up", 4)


def test_a_failed_run_finally_counts_as_the_worst_run() -> None:
    failed = math.nan
    assert judge(failed) == ("not judged yet", 1)
    assert judge(failed, failed) == ("given up", 2)
    assert judge(failed, 3.0, failed) == ("given up", 3)
    # The failed run counts as -1, -1.2 and -1, which gives the means 1.25, 0.95 and 1.1.
    assert judge(2.0, 2.0, 2.0, failed) == ("kept", 4)
    assert judge(4.0, 2.2, -1.2, failed)[0] == "given up"
    assert judge(1.8, 1.8, 1.8, failed) == ("given up", 4)
    assert judge(1.8, 1.8, 1.8, 1.8) == ("kept", 4)


def test_equal_values_are_no_gain() -> None:
    values = np.full(4, 0.1)
    standard = Standard(np.mean([0.1, 0.1, 0.1]), 0.1, 0.0, 1.0)
    is_kept, given_up, _ = judged(values, np.array(4), standard)
    assert (bool(is_kept), bool(given_up)) == (False, True)


def test_the_share_of_false_gains_is_the_level() -> None:
    rng = np.random.default_rng(7)
    n = 100_000
    noise = 0.3
    baseline = noise * rng.standard_normal((n, 5))
    standard = Standard(
        baseline.mean(axis=1),
        baseline.min(axis=1),
        baseline.std(axis=1, ddof=1),
        threshold(0.02, 6, 5, 4),
    )
    is_kept, _, _ = judged(noise * rng.standard_normal((n, 6)), np.full(n, 6), standard)
    assert is_kept.mean() == pytest.approx(0.02, abs=0.002)


def test_more_runs_or_a_higher_level_lower_the_threshold() -> None:
    base = threshold(0.01, 8, 8, 7)
    assert threshold(0.05, 8, 8, 7) < base
    assert threshold(0.01, 16, 8, 7) < base
    assert threshold(0.01, 8, 16, 7) < base
    assert threshold(0.01, 8, 8, 70) < base


def test_the_pooled_deviation_is_that_within_groups() -> None:
    sd, degrees = pooled([[1.0, 2.0, 3.0], [11.0, 12.0, 13.0, math.nan], [7.0]])
    assert (sd, degrees) == (1.0, 4)


@pytest.mark.parametrize(
    ("noise", "most_false"),
    [
        ("normal", 1.1),
        ("t3", 2.0),
        ("exponential, upward", 2.0),
        ("exponential, downward", 2.0),
        ("half of the changes 1.5 sd", 2.0),
        # Each number of successful runs has its own threshold, so this case is slow.
        pytest.param("a tenth of the runs fail", 2.0, marks=pytest.mark.slow),
    ],
)
def test_changes_without_effect_are_seldom_kept(noise: str, most_false: float) -> None:
    nothing = keep.simulate("adnn.keep", noise, 0, 200)
    assert nothing["false"] <= most_false
    assert nothing["runs"] <= 1.5
    three = keep.simulate("adnn.keep", noise, 3, 100)
    assert three["false"] <= most_false


def test_real_gains_are_kept_after_few_runs() -> None:
    two, three = (keep.simulate("adnn.keep", "normal", gain, 200) for gain in (2, 3))
    assert two["real"] >= 0.5
    assert three["real"] >= 0.85
    n_baseline = keep.N0 / keep.CANDIDATES
    assert max(two["runs"], three["runs"]) + n_baseline <= 2


def test_keeping_any_better_mean_makes_more_mistakes() -> None:
    nothing = keep.simulate("keep if better", "normal", 0, 200)
    assert nothing["false"] == pytest.approx(4.2, abs=0.3)
    assert nothing["reported"] == pytest.approx(2.5, abs=0.2)
