"""Printed numbers of results equal a hand computation with NumPy and SciPy."""

from __future__ import annotations

import itertools
import math
import re
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna.trial import create_trial
from scipy import stats

import adnn_optuna as adnn
from adnn_optuna.engine.storages import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FIRST_TO_CONFIRM = 2**30
RNG = np.random.default_rng(20)
A = [0.871, 0.868, 0.874, 0.866, 0.879, 0.870, 0.861, 0.869, 0.872]
B = [0.884, 0.859, 0.881, 0.880, 0.886, 0.862, 0.877, 0.871, 0.879]


class Noisy:
    """A function that returns at most 60 + x, or fails. It stores its values on new seeds."""

    def __init__(self, key: int, fails: float = 0.0) -> None:
        self.key, self.fails = key, fails
        self.made: dict[tuple[float, int], float] = {}

    def __call__(self, trial: Any, seed: int) -> float:
        x = trial.suggest_float("x", 0, 10)
        rng = np.random.default_rng([self.key, seed, round(1000 * x)])
        value = 60 + x - rng.gamma(2.0)
        if not isinstance(trial, optuna.Trial):
            value = math.nan if rng.random() < self.fails else value
            self.made[x, seed] = value
        return float(value)


def interval(values: Sequence[float], level: float) -> tuple[float, float, float]:
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return mean(values), mean(values) - half, mean(values) + half


def sign_flips(gains: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    subsets = itertools.product([False, True], repeat=len(gains))
    means = sorted(np.mean(np.compress(subset, gains)) for subset in subsets if any(subset))
    k = math.floor((1 - level) / 2 * 2 ** len(gains) + 1e-9)
    return mean(gains), means[k - 1], means[-k]


def assert_printed(text: str, label: str, expected: Sequence[float], level: float = 0.95) -> None:
    """Compare the numbers in an estimate's line with expected numbers, to the digits shown."""
    [line] = [line for line in text.splitlines() if line.startswith(f"  {label} ")]
    interval_name = f"{100 * level:.9g}% CI"
    is_first = label.endswith(("value", "chosen"))
    assert (interval_name in line) == (is_first and len(expected) > 1), line
    line = line.removeprefix(f"  {label}").replace(interval_name, "")
    numbers = re.findall(r"[-+]?\d+(?:\.\d+)?", line)[: len(expected)]
    digits = len(numbers[0].partition(".")[2])
    sign = "+" if label in ("gain", "overstatement") else ""
    for text_of_number, number in zip(numbers, expected, strict=True):
        assert text_of_number == f"{number:{sign}.{digits}f}"


def assert_range(text: str, values: Sequence[float]) -> None:
    [ends] = re.findall(r"range from (\S+) to (\S+)\.", " ".join(text.split()))
    digits = len(ends[0].partition(".")[2])
    assert list(ends) == [f"{end:.{digits}f}" for end in (min(values), max(values))]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize(
    ("fails", "failed"), [(0.0, None), (0.4, 50.0), (0.4, None)], ids=["all", "counted", "failed"]
)
def test_numbers_of_a_search(direction: str, fails: float, failed: float | None) -> None:
    function = Noisy(11, fails)
    options: Any = {"max_trial": 40, "replicate": 0.3, "storage": open_storage(None)}
    options |= {"direction": direction, "study_name": "s", "failed": failed}
    result = adnn.search(function, "random", **options)
    text, study = str(result), result.study
    values = [v for (x, _), v in function.made.items() if x == result.best_params["x"]]
    assert len(values) == 10
    by_x: dict[float, list[float]] = {}
    for trial in study.trials:
        by_x.setdefault(trial.params["x"], []).append(trial.value)
    means = {x: mean(of_x) for x, of_x in by_x.items() if len(of_x) > 1}
    best = (min if direction == "minimize" else max)(means, key=means.__getitem__)
    assert result.best_params == {"x": best}
    assert_printed(text, "mean in search", [means[best]])
    assert_printed(text, "best value", [study.best_value])
    assert f"trial {study.best_trial.number}, selected" in text
    counted_values = [value for value in values if not math.isnan(value)]
    if failed is not None:
        values = [failed if math.isnan(value) else value for value in values]
        assert f"{10 - len(counted_values)} of 10 new seeds failed" in text
        counted_values = values
    if len(counted_values) < 10:
        assert_printed(text, "value", [mean(counted_values)])
        assert math.isnan(result.value.low)
        assert f"{10 - len(counted_values)} of 10 new seeds failed" in text
    else:
        assert_printed(text, "value", interval(counted_values, 0.95))
        assert_range(text, counted_values)


def test_numbers_of_the_second_recommendation_of_a_search() -> None:
    function, storage = Noisy(7), open_storage(None)
    options: Any = {"storage": storage, "study_name": "s", "direction": "maximize"}
    first = adnn.search(function, "random", max_trial=12, replicate=0, **options)
    second = adnn.search(function, "random", max_trial=120, replicate=0, **options)
    assert first.best_params != second.best_params
    for result, level in ((first, 0.95), (second, 0.975)):
        values = [v for (x, _), v in function.made.items() if x == result.best_params["x"]]
        assert_printed(str(result), "value", interval(values, level), level)
        assert_range(format(result, "details"), values)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize(("fails", "failed"), [(0.0, None), (0.3, 40.0)])
def test_numbers_of_a_recheck(direction: str, fails: float, failed: float | None) -> None:
    sign = 1 if direction == "maximize" else -1
    function = Noisy(5, fails)
    study = optuna.create_study(direction=direction, sampler=optuna.samplers.RandomSampler(seed=3))
    study.optimize(lambda trial: function(trial, trial.number), n_trials=20)
    worst = min(study.trials, key=lambda trial: sign * trial.value)
    report = adnn.recheck(study, function, against=worst.number, top=3, failed=failed)
    values_of_runs = {
        key: failed if failed is not None and math.isnan(value) else value
        for key, value in function.made.items()
    }
    chosen_by: dict[float, list[float]] = {}
    for (x, seed), value in values_of_runs.items():
        if seed < FIRST_TO_CONFIRM:
            chosen_by.setdefault(x, []).append(value)
    chosen = max(chosen_by, key=lambda x: sign * mean(chosen_by[x]))
    seeds = [seed for x, seed in values_of_runs if x == chosen and seed >= FIRST_TO_CONFIRM]
    values = [values_of_runs[chosen, seed] for seed in seeds]
    gains = [
        sign * (values_of_runs[chosen, seed] - values_of_runs[worst.params["x"], seed])
        for seed in seeds
    ]
    assert (len(chosen_by), len(values)) == (3, 10)
    assert report.trial.params == {"x": chosen}
    text, (value, low, high) = format(report, "details"), interval(values, 0.95)
    assert_printed(text, f"trial {report.trial.number}, chosen", (value, low, high))
    ends = [sign * (study.best_value - end) for end in (high, low)]
    # The difference agrees with the two printed values.
    both = re.findall(r"(?:best|chosen)  +(-?[.\d]+)  ", text)
    difference = sign * (float(both[0]) - float(both[1]))
    assert_printed(text, "overstatement", [difference, *sorted(ends)])
    assert ("chosen - best" in text) == (direction == "minimize")
    assert_printed(text, "gain", sign_flips(gains))
    n_failed = sum(map(math.isnan, function.made.values()))
    said = f"In all, {n_failed} of {len(function.made)} evaluations failed."
    assert (said in " ".join(text.split())) == (n_failed > 0)
    assert text.startswith("Recheck of a study without a name ")
    assert_range(text, values)


def test_numbers_of_the_second_choice_of_a_recheck() -> None:
    function = Noisy(2)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1)
    )
    study.optimize(lambda trial: function(trial, trial.number), n_trials=10)
    distributions = study.trials[0].distributions
    for level in (0.95, 0.975):
        report = adnn.recheck(study, function, top=1)
        values = [
            value
            for (x, seed), value in function.made.items()
            if x == study.best_params["x"] and seed >= FIRST_TO_CONFIRM
        ]
        label = f"trial {report.trial.number}, chosen"
        assert_printed(str(report), label, interval(values, level), level)
        better = create_trial(params={"x": 9.5}, distributions=distributions, value=99.0)
        study.add_trial(better)


def printed(result: Any, name: str) -> tuple[list[str], str]:
    """Return the value, the CI's ends and the remaining text in a line of a printed result."""
    text = " ".join(str(result).split())
    number = r"([-+]?[\d.]+)"
    unit = r"(?: pp|%)?"
    match = re.search(
        rf"{re.escape(name)} {number}{unit} \(95% CI {number} to {number}\) (.*?)\s", text
    )
    assert match is not None, text
    return [*match.groups()[:3]], text


def assert_shown(shown: list[str], expected: tuple[float, float, float]) -> None:
    """Compare numbers to the digits that are shown."""
    for text, number in zip(shown, expected, strict=True):
        digits = len(text.partition(".")[2])
        assert abs(float(text) - number) <= 0.51 * 10.0**-digits, (shown, expected)


def test_numbers_of_nine_pairs() -> None:
    printed_numbers, text = printed(adnn.compare_values({"a": A, "b": B}), "b vs a")
    d = np.subtract(B, A)
    assert_shown(printed_numbers, sign_flips(d))
    wins = stats.binomtest(int((d > 0).sum()), 9).proportion_ci(method="exact")
    assert f"{100 * (d > 0).mean():.0f}%" in text
    [row] = adnn.compare_values({"a": A, "b": B}).numbers.differences
    assert (1 - row.win_rate_high, 1 - row.win_rate_low) == pytest.approx((wins.low, wins.high))


def test_numbers_of_two_claims_on_losses() -> None:
    losses = {"a": A, "b": B, "main": [0.9 + 0.001 * (i % 4) for i in range(9)]}
    comparison = adnn.compare_values(losses, minimize=True, baseline="main")
    printed_numbers, text = printed(comparison, "a vs main")
    assert_shown(printed_numbers, sign_flips(np.subtract(losses["main"], A), 1 - 0.05 / 2))
    _, low, high = sign_flips(np.subtract(losses["main"], B), 1 - 0.05 / 2)
    assert f"({low:+.4f} to {high:+.4f}) better, win rate 100%" in text


def left_out(scores: np.ndarray, best: Callable[[np.ndarray], Any]) -> np.ndarray:
    """Return values of selected trials, on the third of the examples that did not select them."""
    rng, n = np.random.default_rng(0), scores.shape[1]
    selected, on_others = [], []
    for _ in range(500):
        selects = rng.permutation(n) < round(2 / 3 * n)
        selected.append(best(scores[:, selects].mean(axis=1)))
        on_others.append(scores[:, ~selects].mean(axis=1))
    # On average, a trial's value on the other examples equals its value on all examples.
    values = on_others - np.mean(on_others, axis=0) + scores.mean(axis=1)
    return values[np.arange(500), selected]


def study_of(values: np.ndarray, scores: np.ndarray, direction: str) -> optuna.Study:
    study = optuna.create_study(direction=direction)

    def objective(trial: optuna.Trial) -> float:
        adnn.log_scores(trial, scores[trial.number])
        return float(values[trial.number])

    study.optimize(objective, n_trials=len(scores))
    return study


def test_numbers_of_overtuning_of_an_accuracy() -> None:
    scores = RNG.random((4, 30)) < 0.8
    result = adnn.overtuning(study_of(scores.mean(axis=1), scores, "maximize"))
    values = left_out(scores, np.argmax)
    value = np.mean(values)
    n = value * (1 - value) / (np.var(values, ddof=1) * 10 / 20)
    k = value * n
    ends = stats.beta.ppf(0.025, k, n - k + 1), stats.beta.ppf(0.975, k + 1, n - k)
    printed_numbers, text = printed(result, "new data")
    assert_shown(printed_numbers, (100 * value, *(100 * end for end in ends)))
    assert f"reported {100 * scores.mean(axis=1).max():.0f}" in text


def test_numbers_of_overtuning_of_a_loss() -> None:
    losses = RNG.gamma(1.0, 1.0, (3, 24)).astype(np.float32).astype(float)
    result = adnn.overtuning(study_of(losses.mean(axis=1), losses, "minimize"))
    values = left_out(losses, np.argmin)
    best = losses.mean(axis=1).argmin()
    squares = (losses[best] - losses[best].mean()) ** 2
    n_carrying = squares.sum() ** 2 / (squares**2).sum()
    error = math.sqrt(squares.sum() * n_carrying / (n_carrying - 1)) / 24
    of_splits = 1.959964 * math.sqrt(np.var(values, ddof=1) * 8 / 16)
    half = max(stats.t.isf(0.025, n_carrying - 1) * error, of_splits)
    value = float(np.mean(values))
    assert_shown(printed(result, "new data")[0], (value, max(value - half, 0.0), value + half))
