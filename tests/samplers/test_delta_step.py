"""The walks of DeltaStepSampler."""

from __future__ import annotations

import logging
import math
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest

from adnn_optuna._attributes import PROPOSAL
from adnn_optuna.samplers import DeltaStepSampler

if TYPE_CHECKING:
    from collections.abc import Callable


def run(
    sampler: DeltaStepSampler,
    value: Callable[[float], float] = abs,
    low: float = -1.0,
    high: float = 1.0,
    direction: str = "minimize",
) -> list[float]:
    """Run a study until the sampler stops it and return its values of the parameter."""
    study = optuna.create_study(sampler=sampler, direction=direction)
    study.optimize(lambda trial: value(trial.suggest_float("x", low, high)))
    assert sampler.is_exhausted(study)
    return [trial.params["x"] for trial in study.trials]


def key_of(sampler: DeltaStepSampler) -> str:
    """Return the name under which the sampler's trials are stored."""
    study = optuna.create_study(sampler=sampler)
    study.ask()
    key: str = study.trials[0].system_attrs[PROPOSAL]["sampler"]
    return key


def test_always_takes_all_steps_of_each_delta() -> None:
    assert run(DeltaStepSampler()) == [
        0.0,
        *(t * 0.0025 for t in range(1, 51)),
        *(t * 0.003 for t in range(1, 51)),
    ]


def test_all_parameters_step_together() -> None:
    sampler = DeltaStepSampler(
        deltas=(0.1, -0.2), max_steps=2, origin={"x": 0.5, "color": "green", "k": 3}
    )
    study = optuna.create_study(sampler=sampler)

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("x", -1, 1)
        trial.suggest_float("y", -1, 1)
        trial.suggest_int("k", 0, 10)
        trial.suggest_categorical("color", ["red", "green"])
        trial.suggest_categorical("size", ["small", "large"])
        trial.suggest_float("fixed", 7, 7)
        return 0.0

    study.optimize(objective)
    ys = [0.0, 0.1, 0.2, -0.2, -0.4]
    for trial, y in zip(study.trials, ys, strict=True):
        assert trial.params == {
            "x": pytest.approx(0.5 + y),
            "y": y,
            "k": 3,
            "color": "green",
            "size": "small",
            "fixed": 7,
        }


def test_steps_out_of_the_search_space_are_omitted() -> None:
    sampler = DeltaStepSampler(deltas=(0.1, 0.04, -0.1), max_steps=6)
    # A rounding error makes 3 · 0.1 larger than 0.3, but the step is taken.
    expected = [0, 0.1, 0.2, 0.3, 0.04, 0.08, 0.12, 0.16, 0.2, 0.24, -0.1, -0.2]
    assert run(sampler, low=-0.25, high=0.3) == pytest.approx(expected)


def test_an_origin_outside_of_the_search_space_moves_to_its_edge() -> None:
    assert run(DeltaStepSampler(deltas=(0.5,), max_steps=3), low=2, high=3.2) == [2, 2.5, 3]


def test_improving_halves_the_step_and_turns_back_without_improvement() -> None:
    sampler = DeltaStepSampler(deltas=(0.4, 0.1), max_steps=6, accept="improving")
    # 0.4 improves. After each miss, the direction reverses; after each second miss, the step
    # halves. The second delta starts at the origin again.
    first = [0.4, 0.8, 0.0, 0.6, 0.2, 0.5]
    second = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    visited = run(sampler, lambda x: abs(x - 0.49))
    assert visited == pytest.approx([0.0, *first, *second])


def test_improving_continues_in_the_direction_that_improved() -> None:
    sampler = DeltaStepSampler(deltas=(0.2,), max_steps=4, accept="improving")
    assert run(sampler, lambda x: x) == pytest.approx([0, 0.2, -0.2, -0.4, -0.6])
    sampler = DeltaStepSampler(deltas=(0.2,), max_steps=4, accept="improving")
    assert run(sampler, lambda x: -x, direction="maximize") == pytest.approx(
        [0, 0.2, -0.2, -0.4, -0.6]
    )


def test_improving_stays_in_the_search_space() -> None:
    sampler = DeltaStepSampler(deltas=(0.4,), max_steps=4, accept="improving")
    visited = run(sampler, lambda x: -x, low=0, high=0.5)
    # 0.8 and 0.6 are outside, and 0.0 and 0.2 are no better. A quarter of the step leads to 0.5.
    assert visited == pytest.approx([0, 0.4, 0.0, 0.2, 0.5])


def test_improving_in_batches_keeps_the_best_of_a_batch() -> None:
    sampler = DeltaStepSampler(deltas=(0.4,), max_steps=8, accept="improving")
    study = optuna.create_study(sampler=sampler)
    visited: list[list[float]] = []
    for _ in range(2):
        trials = [study.ask() for _ in range(4)]
        visited.append([trial.suggest_float("x", -1, 1) for trial in trials])
        for trial in trials:
            study.tell(trial, abs(trial.params["x"] - 0.22))
    assert visited[0] == pytest.approx([0.0, 0.4, -0.4, 0.2])
    assert visited[1] == pytest.approx([0.4, 0.0, 0.3, 0.1])


def test_equal_values_are_no_improvement() -> None:
    sampler = DeltaStepSampler(deltas=(0.4,), max_steps=4, accept="improving")
    assert run(sampler, lambda _: 1.0) == pytest.approx([0.0, 0.4, -0.4, 0.2, -0.2])


def test_nan_and_infinite_values_end_no_walk() -> None:
    values = iter([math.nan, math.inf, 3.0, math.nan, -math.inf, 0.0])
    sampler = DeltaStepSampler(deltas=(0.4,), max_steps=5, accept="improving")
    study = optuna.create_study(sampler=sampler)

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("x", -1, 1)
        return next(values)

    study.optimize(objective)
    assert len(study.trials) == 6


def test_asking_for_more_repeats_the_baseline(caplog: pytest.LogCaptureFixture) -> None:
    sampler = DeltaStepSampler(deltas=(0.1,), max_steps=2)
    study = optuna.create_study(sampler=sampler)
    suggested = []
    with caplog.at_level(logging.WARNING, "adnn_optuna"):
        for _ in range(3):
            trial = study.ask()
            suggested.append(trial.suggest_float("x", 0, 1))
            study.tell(trial, 0.0)
        assert sampler.is_exhausted(study)
        assert not caplog.records
        trial = study.ask()
        suggested.append(trial.suggest_float("x", 0, 1))
        study.tell(trial, 0.0)
    assert suggested == [0.0, 0.1, 0.2, 0.0]
    (record,) = caplog.records
    assert "trial 3" in record.getMessage()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (0.0, -0.0),
        (0.1, np.float64(0.1)),
        ({"x": 0}, {"x": 0.0}),
        ({"x": 0.0}, {"x": -0.0}),
        ({"x": 0.1, "y": 2}, {"y": np.int64(2), "x": np.float64(0.1)}),
    ],
)
def test_equal_origins_are_one_walk(one: Any, other: Any) -> None:
    study = optuna.create_study()
    for origin in (one, other):
        study.sampler = DeltaStepSampler(deltas=(0.5,), max_steps=3, origin=origin)
        study.optimize(lambda trial: trial.suggest_float("x", 0, 2), n_trials=2)
    first = study.trials[0].params["x"]
    assert [trial.params["x"] - first for trial in study.trials] == [0.0, 0.5, 1.0, 1.5]


def test_stored_names_of_walks_never_change() -> None:
    assert key_of(DeltaStepSampler()) == "delta_step:ad466154a4e22caf"
    origin = {"x": 1, "color": "red"}
    sampler = DeltaStepSampler([0.1, -2], max_steps=3, accept="improving", origin=origin)
    assert key_of(sampler) == "delta_step:c03c42a4bdd9ee52"


def test_different_origins_are_different_walks() -> None:
    origins: list[Any] = [0.0, 0.5, {"x": 0}, {"y": 0}, {"x": 0.5}, {"x": "0"}, {"x": False}]
    samplers = [DeltaStepSampler(origin=origin) for origin in origins]
    assert len({key_of(sampler) for sampler in samplers}) == len(origins)


def test_a_pickled_sampler_continues_and_repr_shows_its_arguments() -> None:
    sampler = DeltaStepSampler(deltas=(0.1,), max_steps=3, origin={"x": 0.5})
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    study.sampler = pickle.loads(pickle.dumps(sampler))
    study.sampler.reseed_rng()
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1))
    assert [trial.params["x"] for trial in study.trials] == pytest.approx([0.5, 0.6, 0.7, 0.8])
    assert (
        repr(sampler)
        == str(sampler)
        == ("DeltaStepSampler(deltas=(0.1,), max_steps=3, accept='always', origin={'x': 0.5})")
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"deltas": ()}, r"deltas.*\(\)"),
        ({"deltas": (0.1, 0.0)}, r"deltas.*\(0.1, 0.0\)"),
        ({"deltas": (math.nan,)}, "deltas must be a finite number; got nan"),
        ({"max_steps": 0}, "max_steps must be at least 1; got 0"),
        (
            {"accept": "never"},
            "accept.*'never'",
        ),
        ({"origin": math.inf}, "origin must be a finite number; got inf"),
        ({"origin": {"x": math.nan}}, "origin.'x'. must be a finite number; got nan"),
        ({"origin": {"x": 10**400}}, "origin.'x'. must be a finite number; got 10"),
    ],
)
def test_refuses_wrong_values(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeltaStepSampler(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"deltas": 0.1},
            "deltas.*0.1",
        ),
        ({"deltas": ("0.1",)}, "deltas must be a number; got '0.1' of type str"),
        ({"max_steps": 2.0}, "max_steps must be an integer"),
        (
            {"origin": "0"},
            "origin.*'0'",
        ),
        ({"origin": True}, "origin must be a number or a mapping from names to values"),
    ],
)
def test_refuses_wrong_types(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        DeltaStepSampler(**arguments)


def test_a_space_wider_than_floats_has_all_steps() -> None:
    study = optuna.create_study(sampler=DeltaStepSampler(deltas=(0.5,), max_steps=3))
    study.optimize(lambda trial: trial.suggest_float("x", -1e308, 1e308))
    assert [trial.params["x"] for trial in study.trials] == [0.0, 0.5, 1.0, 1.5]


def test_steps_stay_in_the_search_spaces_of_all_trials() -> None:
    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -1, 1)
        if trial.number == 0:
            raise ValueError
        return x + trial.suggest_float("y", -0.2, 0.2)

    study = optuna.create_study(sampler=DeltaStepSampler(deltas=(0.1, 0.05), max_steps=5))
    study.optimize(objective, catch=(ValueError,))
    xs = [trial.params["x"] for trial in study.trials]
    assert xs == pytest.approx([0, 0.1, 0.2, 0.05, 0.1, 0.15, 0.2])


def test_improving_steps_stay_inside_even_after_a_failed_baseline() -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 0:
            raise ValueError
        return abs(trial.suggest_float("x", -0.14, 0.14) - 0.07)

    sampler = DeltaStepSampler(deltas=(0.1, 0.3), max_steps=4, accept="improving")
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, catch=(ValueError,))
    # If steps that lead outside were clipped, ±0.14 would occur. No permitted step reaches it.
    assert all(abs(trial.params["x"]) < 0.14 for trial in study.trials[1:])


def test_an_enqueued_or_superfluous_trial_is_no_step() -> None:
    sampler = DeltaStepSampler(deltas=(0.1, -0.3), max_steps=2)
    study = optuna.create_study(sampler=sampler)
    study.enqueue_trial({"x": 0.5})
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1))
    xs = [trial.params["x"] for trial in study.trials]
    assert xs == pytest.approx([0.5, 0, 0.1, 0.2, -0.3, -0.6])
    assert sampler.is_exhausted(study)
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1))
    assert len(study.trials) == 7
    assert sampler.is_exhausted(study)


def test_n_free_counts_the_steps_that_may_be_asked() -> None:
    sampler = DeltaStepSampler(deltas=(0.1,), max_steps=3)
    study = optuna.create_study(sampler=sampler)
    assert [sampler.n_free(study, at_most) for at_most in (1, 3, 4, 9)] == [1, 3, 4, 4]
    trials = [study.ask() for _ in range(2)]
    study.tell(trials[0], 0.0)
    assert sampler.n_free(study, 9) == 2
    study.tell(trials[1], state=optuna.trial.TrialState.FAIL)
    assert sampler.n_free(study, 9) == 2
    for n_free in (1, 0, 0):
        study.ask()
        assert sampler.n_free(study, 9) == n_free
    assert sampler.n_free(study) == 0
    assert not sampler.is_exhausted(study)


@pytest.mark.parametrize("accept", ["always", "improving"])
def test_refuses_parameters_that_change_their_kind(accept: Any) -> None:
    study = optuna.create_study(sampler=DeltaStepSampler(accept=accept))

    def objective(trial: optuna.Trial) -> float:
        if trial.number < 2:
            trial.suggest_categorical("x", ["a", "b"])
        else:
            trial.suggest_float("x", 0, 1)
        return -trial.number

    with pytest.raises(ValueError, match="different distribution kind"):
        study.optimize(objective)
    assert len(study.trials) == 3
