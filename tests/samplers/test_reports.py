"""Guessed values of pruned trials: small cases worked out by hand, and searches with pruners."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna.pruners import HyperbandPruner, MedianPruner, SuccessiveHalvingPruner
from optuna.trial import TrialState

from adnn_optuna.samplers import AdaptiveSimulatedAnnealingSampler
from adnn_optuna.samplers._reports import ReportPool

if TYPE_CHECKING:
    from collections.abc import Sequence

NAN = math.nan
Annealing = AdaptiveSimulatedAnnealingSampler


def guesses(*trials: tuple[float, dict[int, float]]) -> dict[float, float]:
    """Return the guessed values by trial number, given final values and reports."""
    pool = ReportPool().with_coordinate()
    for number, (value, reports) in enumerate(trials):
        pool = pool.with_reports(np.array([float(number)]), value, reports)
    points, values = pool.guesses()
    return dict(zip(points[:, 0].tolist(), values.tolist(), strict=True))


def test_a_guess_has_the_rank_of_the_report_at_the_last_step() -> None:
    done = [(1.0, {0: 9.0, 1: 3.0}), (2.0, {0: 9.0, 1: 4.0}), (4.0, {0: 9.0, 1: 8.0})]
    # Compared with 2.0 and 4.0, these reports are between both, below both, and equal to those of
    # 2.0.
    assert guesses(*done, (NAN, {0: 0.0, 1: 5.0})) == {3: 3.0}
    assert guesses(*done, (NAN, {1: 0.0})) == {3: 1.0}
    assert guesses(*done, (NAN, {1: 4.0})) == {3: 2.0}
    # Guesses beyond the worst of three are extrapolated. NaN counts as the worst report.
    assert guesses(*done, (NAN, {1: 9.0}), (NAN, {1: NAN})) == {3: 5.5, 4: 7.0}


def test_pruned_trials_with_more_steps_help_to_guess_others() -> None:
    done = [(1.0, {0: 1.0, 5: 1.0}), (2.0, {0: 3.0, 5: 2.0})]
    assert guesses(*done, (NAN, {0: 4.0, 5: 3.0}), (NAN, {0: 5.0})) == {2: 3.0, 3: 4.0}


def test_without_reports_at_the_same_steps_nothing_is_guessed() -> None:
    assert guesses((1.0, {0: 1.0}), (NAN, {0: 2.0})) == {}  # One trial has no scale.
    assert guesses((1.0, {0: 1.0}), (2.0, {0: 1.0}), (NAN, {0: 1.0})) == {}
    assert guesses((1.0, {1: 1.0}), (2.0, {1: 2.0}), (NAN, {0: 1.0})) == {}
    assert guesses((NAN, {0: 1.0}), (NAN, {0: 2.0})) == {}
    assert guesses((-1e308, {0: 1.0}), (1e308, {0: 2.0}), (NAN, {0: 3.0}))[2] >= 1e308


def test_the_pool_drops_old_pruned_points_first() -> None:
    pool = ReportPool(capacity=8).with_coordinate()
    for number in range(20):
        is_pruned = number % 2 == 1
        value = NAN if is_pruned else float(number)
        pool = pool.with_reports(np.array([float(number)]), value, {0: float(number)})
    assert sum(np.isnan(pool.values)) == 2


def curve(trial: optuna.Trial, sign: int = 1) -> float:
    rate = (math.log10(trial.suggest_float("rate", 1e-5, 1e-1, log=True)) + 5) / 4
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    n = trial.suggest_int("n", 1, 16)
    value = 2 * (rate - 0.3) ** 2 + (kind != "b") / 3 + ((n - 11) / 15) ** 2
    for step in range(5):
        trial.report(sign * (value + 0.5**step), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return sign * value


def searched(
    pruner: optuna.pruners.BasePruner, seed: int, sampler: Any = Annealing, sign: int = 1
) -> optuna.Study:
    direction = "minimize" if sign == 1 else "maximize"
    study = optuna.create_study(sampler=sampler(seed=seed), pruner=pruner, direction=direction)
    study.optimize(lambda trial: curve(trial, sign), n_trials=40)
    return study


@pytest.mark.parametrize(
    "pruner",
    [
        MedianPruner(),
        pytest.param(SuccessiveHalvingPruner(), marks=pytest.mark.slow),
        pytest.param(HyperbandPruner(), marks=pytest.mark.slow),
    ],
)
def test_the_annealing_learns_from_pruned_trials(pruner: optuna.pruners.BasePruner) -> None:
    values = [searched(pruner, seed).best_value for seed in range(3)]
    # Random search averages 0.07.
    assert np.mean(values) < 0.01


def test_maximizing_with_a_pruner_is_minimizing_the_negative() -> None:
    least, greatest = (searched(MedianPruner(), 1, sign=sign) for sign in (1, -1))
    assert [t.params for t in least.trials] == [t.params for t in greatest.trials]
    assert TrialState.PRUNED in {trial.state for trial in least.trials}


def added(states: Sequence[tuple[float | None, float]], attrs: dict[str, Any]) -> optuna.Study:
    """Return a study of added trials with these final values (None if pruned) and reports."""
    study = optuna.create_study(sampler=Annealing(seed=0, n_trials=40))
    distributions: Any = {
        "x": optuna.distributions.FloatDistribution(0, 1),
        "n": optuna.distributions.IntDistribution(1, 9),
    }
    for number, (value, report) in enumerate(states):
        study.add_trial(
            optuna.create_trial(
                state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
                value=value,
                params={"x": number / 20, "n": 1 + number % 9},
                distributions=distributions,
                intermediate_values={} if math.isinf(report) else {1: report},
                system_attrs={} if value is not None else attrs,
            )
        )
    return study


def test_interrupted_trials_teach_nothing() -> None:
    done: list[tuple[float | None, float]] = [(float(i), float(i)) for i in range(10)]
    pruned: list[tuple[float | None, float]] = [(None, i + 0.5) for i in range(6)]

    def next_params(study: optuna.Study) -> dict[str, Any]:
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        trial.suggest_int("n", 1, 9)
        return trial.params

    without = next_params(added(done, {}))
    assert next_params(added([*done, *pruned], {})) != without
    assert next_params(added([*done, *pruned], {"adnn:ended": "interrupted"})) == without
    assert next_params(added([*done, (None, math.inf)], {})) == without


def test_a_resumed_search_with_a_pruner_equals_one_that_never_stopped() -> None:
    whole, study = searched(MedianPruner(), 2), optuna.create_study(pruner=MedianPruner())
    while len(study.trials) < 40:
        study.sampler = Annealing(seed=2)
        study.optimize(curve, n_trials=8)
    assert [t.params for t in study.trials] == [t.params for t in whole.trials]
