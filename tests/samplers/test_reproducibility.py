"""After a change of version or machine, a study continues with the same proposals.

If one of these values changes, every search changes, so CHANGELOG must mention it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from test_annealing import branches, choices, every_kind, layers

from adnn_optuna.samplers import AdaptiveSimulatedAnnealingSampler, RandomRestartSampler

if TYPE_CHECKING:
    from collections.abc import Callable


def valley(trial: optuna.Trial) -> float:
    x, y, z = (trial.suggest_float(name, -2, 2) for name in "xyz")
    return (y - x**2) ** 2 + (z - y**2) ** 2 + ((1 - x) ** 2 + (1 - y) ** 2) / 10


def scaled(trial: optuna.Trial) -> float:
    return sum(10**i * (trial.suggest_float(f"x{i}", -1, 1) - i / 10) ** 2 for i in range(3))


def far_from_zero(trial: optuna.Trial) -> float:
    return 1e6 + scaled(trial)


def many(trial: optuna.Trial) -> float:
    return sum((i + 1) * (trial.suggest_float(f"x{i}", -1, 1) - i / 10) ** 2 for i in range(10))


def noisy(trial: optuna.Trial) -> float:
    x, y = (trial.suggest_float(name, -5, 5) for name in "xy")
    return x**2 + y**2 + 10 * math.sin(1000 * trial.number)


def plateau(trial: optuna.Trial) -> float:
    x, y = (trial.suggest_float(name, 0, 1) for name in "xy")
    return min(((x - 0.8) ** 2 + (y - 0.3) ** 2) / 0.06, 1.0) if y < 0.95 else 2.0


def plateau_of_integers(trial: optuna.Trial) -> float:
    x, n = trial.suggest_float("x", 0, 1), trial.suggest_int("n", 0, 9)
    return min(((x - 0.8) ** 2 + (n / 9 - 0.3) ** 2) / 0.06, 1.0) if n < 9 else 2.0


def moving(trial: optuna.Trial) -> float:
    low, high = (-1.0, 1.0) if trial.number < 10 else (-0.5, 3.0)
    x = trial.suggest_float("x", low if trial.number < 20 else 0.5, high)
    n = trial.suggest_int("n", 0, 5 if trial.number < 15 else 9)
    return (x - 0.8) ** 2 + (n - 6.1) ** 2 / 20


def noisy_layers(trial: optuna.Trial) -> float:
    value = layers(trial, np.random.default_rng(0))
    return value + 0.3 * math.sin(1000 * trial.number)


def of_seed(objective: Callable[..., float]) -> Callable[[optuna.Trial], float]:
    return lambda trial: objective(trial, np.random.default_rng(0))


SEARCHES: list[tuple[Callable[[optuna.Trial], float], int, int, dict[str, Any], float]] = [
    (valley, 40, 1, {}, 3.35779995),
    (valley, 110, 1, {"n_trials": 110}, 1.76775897),
    (valley, 80, 4, {"n_trials": 80}, 3.54309788),
    (valley, 30, 1, {"n_trials": 30, "x0": {"x": 0.5, "z": 0.1}}, 3.43570838),
    (valley, 60, 1, {"ingber": True}, 2.76365229),
    (far_from_zero, 140, 1, {"ingber": True}, 1000031.62141531),
    (
        scaled,
        40,
        1,
        {"n_trials": 40, "n_candidates": 1, "reannealing": True, "quench": 2.0},
        14.53520677,
    ),
    (many, 40, 1, {"n_trials": 40, "initial_temperature": 0.5}, 13.50821153),
    (noisy, 60, 1, {"n_trials": 60}, 6.59491144),
    (plateau, 30, 1, {"n_trials": 30, "x0": {"x": 0.1, "y": 0.9}}, 0.33197226),
    (plateau_of_integers, 30, 1, {"n_trials": 30, "x0": {"x": 0.1}}, 0.56911944),
    (every_kind, 100, 1, {"n_trials": 100}, 6.60377857),
    (every_kind, 30, 1, {"ingber": True}, 3.72797338),
    (of_seed(branches), 50, 1, {"n_trials": 50}, 0.25965211),
    (of_seed(layers), 40, 2, {"n_trials": 50}, 1.48485537),
    (of_seed(choices), 40, 1, {}, 0.63051297),
    (noisy_layers, 50, 1, {"n_trials": 50, "x0": {"n_layers": 3}}, 1.81009685),
    (moving, 40, 1, {"n_trials": 40}, 0.91279366),
    (moving, 40, 1, {"reannealing": True, "n_candidates": 8}, 0.94067757),
]


@pytest.mark.parametrize(
    ("objective", "n_trials", "batch_size", "options", "mean_value"), SEARCHES
)
def test_a_search_has_the_mean_value_of_earlier_versions(
    objective: Callable[[optuna.Trial], float],
    n_trials: int,
    batch_size: int,
    options: dict[str, Any],
    mean_value: float,
) -> None:
    study = optuna.create_study(sampler=AdaptiveSimulatedAnnealingSampler(seed=0, **options))
    while len(study.trials) < n_trials:
        trials = [study.ask() for _ in range(batch_size)]
        for trial, value in [(trial, objective(trial)) for trial in trials]:
            study.tell(trial, value)
    # Any other move changes the mean.
    mean = np.mean([trial.value for trial in study.trials])
    assert mean == pytest.approx(mean_value, rel=0, abs=1e-7)


def test_other_parameters_of_random_restarts_are_those_of_earlier_versions() -> None:
    study = optuna.create_study(sampler=RandomRestartSampler(seed=0))
    study.enqueue_trial({"y": 1.0})  # `x` follows from the trial's number.
    study.optimize(valley, n_trials=3)
    xs = [trial.params["x"] for trial in study.trials]
    assert xs == pytest.approx([0.8318790356738304, 1.3727155244130271, 1.2839073411885167])
