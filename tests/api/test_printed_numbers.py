"""The numbers that results print equal those of a hand computation with NumPy and SciPy."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import numpy as np
import optuna
import pytest
from scipy import stats

import adnn_optuna as adnn

RNG = np.random.default_rng(20)
A = [0.871, 0.868, 0.874, 0.866, 0.879, 0.870, 0.861, 0.869, 0.872]
B = [0.884, 0.859, 0.881, 0.880, 0.886, 0.862, 0.877, 0.871, 0.879]


def printed(result: Any, name: str) -> tuple[list[str], str]:
    """Return the value and the ends of a line of a printed result, and what follows them."""
    text = " ".join(str(result).split())
    number = r"([-+]?[\d.]+)"
    unit = r"(?: pp|%)?"
    match = re.search(
        rf"{re.escape(name)} {number}{unit} \(95% CI {number} to {number}\) (.*?)\s", text
    )
    assert match is not None, text
    return [*match.groups()[:3]], text


def assert_shown(shown: list[str], expected: tuple[float, float, float]) -> None:
    """Compare to the digits shown."""
    for text, number in zip(shown, expected, strict=True):
        digits = len(text.partition(".")[2])
        assert abs(float(text) - number) <= 0.51 * 10.0**-digits, (shown, expected)


def student(d: np.ndarray, level: float = 0.95, factor: float | None = None) -> tuple[float, ...]:
    factor = 1 / len(d) if factor is None else factor
    half = stats.t.isf((1 - level) / 2, len(d) - 1) * d.std(ddof=1) * math.sqrt(factor)
    return d.mean(), d.mean() - half, d.mean() + half


def sign_flips(d: np.ndarray, level: float = 0.95) -> tuple[float, ...]:
    """Return the mean with the outermost centres that the sign-flip test does not reject."""
    sums = [
        sum(chosen) / len(chosen)
        for k in range(1, len(d) + 1)
        for chosen in itertools.combinations(d, k)
    ]
    k = math.floor((1 - level) / 2 * 2 ** len(d) + 1e-9)
    means = np.sort(sums)
    return d.mean(), means[k - 1], means[-k]


def test_of_nine_pairs() -> None:
    printed_numbers, text = printed(adnn.compare_values({"a": A, "b": B}), "b - a")
    d = np.subtract(B, A)
    assert_shown(printed_numbers, sign_flips(d))
    wins = stats.binomtest(int((d > 0).sum()), 9).proportion_ci(method="exact")
    assert f"{100 * (d > 0).mean():.0f}%" in text
    [row] = adnn.compare_values({"a": A, "b": B}).numbers.differences
    assert (1 - row.win_rate_high, 1 - row.win_rate_low) == pytest.approx((wins.low, wins.high))


def test_of_two_claims_on_losses() -> None:
    losses = {"a": A, "b": B, "main": [0.9 + 0.001 * (i % 4) for i in range(9)]}
    comparison = adnn.compare_values(losses, minimize=True, baseline="main")
    printed_numbers, text = printed(comparison, "a - main")
    assert_shown(printed_numbers, sign_flips(np.subtract(losses["main"], A), 1 - 0.05 / 2))
    _, low, high = sign_flips(np.subtract(losses["main"], B), 1 - 0.05 / 2)
    assert f"{low:+.5f} to {high:+.5f} 100% better" in text


def splits_of(n: int, n_splits: int) -> np.ndarray:
    """Return which two thirds of the examples each split selects by."""
    rng = np.random.default_rng(0)
    return np.array([rng.permutation(n) < round(2 / 3 * n) for _ in range(n_splits)])


def study_of(values: np.ndarray, scores: np.ndarray, direction: str) -> optuna.Study:
    study = optuna.create_study(direction=direction)

    def objective(trial: optuna.Trial) -> float:
        adnn.log_scores(trial, scores[trial.number])
        return float(values[trial.number])

    study.optimize(objective, n_trials=len(scores))
    return study


def test_of_overtuning_of_an_accuracy() -> None:
    scores = RNG.random((4, 30)) < 0.8
    result = adnn.overtuning(study_of(scores.mean(axis=1), scores, "maximize"))
    left_out = []
    for selects in splits_of(30, 500):
        best = scores[:, selects].mean(axis=1).argmax()
        left_out.append(scores[best, ~selects].mean())
    value = np.mean(left_out)
    n = value * (1 - value) / (np.var(left_out, ddof=1) * 10 / 20)
    k = value * n
    ends = stats.beta.ppf(0.025, k, n - k + 1), stats.beta.ppf(0.975, k + 1, n - k)
    printed_numbers, text = printed(result, "new data")
    assert_shown(printed_numbers, (100 * value, *(100 * end for end in ends)))
    assert f"reported {100 * scores.mean(axis=1).max():.0f}" in text


def test_of_overtuning_of_a_loss() -> None:
    losses = RNG.gamma(1.0, 1.0, (3, 24)).astype(np.float32).astype(float)
    result = adnn.overtuning(study_of(losses.mean(axis=1), losses, "minimize"))
    left_out = []
    for selects in splits_of(24, 500):
        best = losses[:, selects].mean(axis=1).argmin()
        left_out.append(losses[best, ~selects].mean())
    best = losses.mean(axis=1).argmin()
    squares = (losses[best] - losses[best].mean()) ** 2
    n_carrying = squares.sum() ** 2 / (squares**2).sum()
    error = math.sqrt(squares.sum() * n_carrying / (n_carrying - 1)) / 24
    of_splits = 1.959964 * math.sqrt(np.var(left_out, ddof=1) * 8 / 16)
    half = max(stats.t.isf(0.025, n_carrying - 1) * error, of_splits)
    value = float(np.mean(left_out))
    assert_shown(printed(result, "new data")[0], (value, max(value - half, 0.0), value + half))
