"""The annealing as an Optuna sampler: parameters, directions and trials of all kinds."""

from __future__ import annotations

import itertools
import math
import pickle
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from adnn_optuna.samplers import AdaptiveSimulatedAnnealingSampler, RandomRestartSampler
from adnn_optuna.samplers._asa import AdaptiveSimulatedAnnealing, Options
from adnn_optuna.samplers._random_numbers import seed_of
from adnn_optuna.samplers._unit_interval import from_unit, hull, to_unit

if TYPE_CHECKING:
    from collections.abc import Callable

Annealing = AdaptiveSimulatedAnnealingSampler

SEEDS = [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 10))]

DISTRIBUTIONS: list[BaseDistribution] = [
    FloatDistribution(-3.0, 2.0),
    FloatDistribution(1e-7, 10.0, log=True),
    FloatDistribution(-1.0, 1.0, step=0.25),
    IntDistribution(-4, 7),
    IntDistribution(0, 12, step=3),
    IntDistribution(1, 1000, log=True),
    CategoricalDistribution(["red", "green", "blue"]),
]

# Optuna refuses to replace any of these distributions by another one in a study.
DIFFERENT: list[BaseDistribution] = [
    FloatDistribution(0, 1),
    FloatDistribution(0.1, 1, log=True),
    IntDistribution(0, 5),
    CategoricalDistribution(["a", "b"]),
    CategoricalDistribution(["b", "c"]),
    CategoricalDistribution(["a", "b", "c"]),
]


def every_kind(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -3.0, 2.0)
    rate = trial.suggest_float("rate", 1e-7, 10.0, log=True)
    half = trial.suggest_float("half", -1.0, 1.0, step=0.25)
    k = trial.suggest_int("k", -4, 7)
    width = trial.suggest_int("width", 1, 1000, log=True)
    color = trial.suggest_categorical("color", ["red", "green", "blue"])
    fixed = trial.suggest_float("fixed", 1.5, 1.5)
    value = (x - 1) ** 2 + (math.log10(rate) + 3) ** 2 / 10 + abs(half - 0.5) + (k - 2) ** 2 / 10
    return value + abs(math.log10(width) - 1) + (color != "green") + fixed


def run(sampler: Annealing, n_trials: int, sign: int = 1) -> list[dict[str, Any]]:
    direction = "minimize" if sign == 1 else "maximize"
    study = optuna.create_study(sampler=sampler, direction=direction)
    study.optimize(lambda trial: sign * every_kind(trial), n_trials=n_trials)
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_unit_interval_maps_onto_the_distribution_and_back(
    distribution: BaseDistribution,
) -> None:
    for i in range(201):
        unit = i / 200
        value = from_unit(unit, distribution)
        assert distribution._contains(distribution.to_internal_repr(value))
        assert from_unit(to_unit(value, distribution), distribution) == pytest.approx(value)
    if isinstance(distribution, FloatDistribution) and distribution.step is None:
        assert to_unit(distribution.low, distribution) == 0
        assert to_unit(distribution.high, distribution) == 1


def test_each_value_of_a_finite_parameter_is_equally_likely() -> None:
    for distribution in (IntDistribution(0, 12, step=3), FloatDistribution(-1, 1, step=0.5)):
        values = [from_unit((i + 0.5) / 1000, distribution) for i in range(1000)]
        assert {values.count(value) for value in values} == {200}


def test_the_hull_of_two_distributions_contains_both_if_they_are_compatible() -> None:
    for kind in (FloatDistribution, IntDistribution):
        first, second = kind(1, 5), kind(3, 9)
        assert hull(first, second) == hull(second, first) == kind(1, 9)
        assert hull(kind(1, 9), second) == kind(1, 9)
        assert hull(first, kind(3, 9, log=True)) == first
        assert hull(first, kind(3, 9, step=3)) == first
        assert hull(kind(1, 5, log=True), kind(3, 9, log=True)) == kind(1, 9, log=True)
        assert hull(kind(0, 4, step=2), kind(2, 8, step=2)) == kind(0, 8, step=2)
    assert hull(FloatDistribution(1, 5), IntDistribution(3, 9)) == FloatDistribution(1, 5)
    assert hull(DISTRIBUTIONS[-1], IntDistribution(3, 9)) == DISTRIBUTIONS[-1]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_trials": 12},
        {"ingber": True},
        {"n_candidates": 1},
        {"reannealing": True, "quench": 2.0},
        {"x0": {"x": -1.0, "color": "blue", "width": 7}},
    ],
)
def test_maximizing_is_minimizing_the_negative(options: dict[str, Any]) -> None:
    assert run(Annealing(seed=5, **options), 20) == run(Annealing(seed=5, **options), 20, sign=-1)


def test_trials_depend_on_the_seed_alone() -> None:
    assert run(Annealing(seed=1), 10) == run(Annealing(seed=1), 10)
    assert run(Annealing(seed=1), 10) != run(Annealing(seed=2), 10)
    assert run(Annealing(), 10) != run(Annealing(), 10)


def test_the_seed_of_a_sampler_without_one_is_kept_in_the_study() -> None:
    study = optuna.create_study(sampler=Annealing())
    study.optimize(every_kind, n_trials=5)
    trial = study.ask()
    study.sampler = Annealing()
    study.sampler.reseed_rng()
    value = every_kind(trial)
    study._storage.set_trial_system_attr(trial._trial_id, "adnn:ended", "interrupted")
    study.tell(trial, state=TrialState.FAIL)
    assert every_kind(study.ask()) == value


def test_the_seed_of_a_sampler_without_one_is_the_same_in_every_time_zone() -> None:
    study, here = optuna.create_study(), optuna.create_trial(value=0.0)
    elsewhere = optuna.create_trial(value=0.0)
    assert here.datetime_start is not None
    elsewhere.datetime_start = here.datetime_start + timedelta(hours=5, minutes=30)
    assert seed_of(study, here, None) == seed_of(study, elsewhere, None)
    elsewhere.datetime_start += timedelta(microseconds=1)
    assert seed_of(study, here, None) != seed_of(study, elsewhere, None)


def test_x0_is_the_first_trial_and_further_trials_begin_near_it() -> None:
    x0 = {"x": 0.5, "k": 3, "color": "blue", "rate": 1e-5}
    trials = run(Annealing(seed=0, x0=x0), 10)
    assert {name: trials[0][name] for name in x0} == x0
    assert isinstance(trials[0]["k"], int)
    # Most moves end near x0, even in the first batch, before any value is known.
    for options in ({}, {"ingber": True}):
        starts = [run(Annealing(seed=s, x0=x0, **options), 4) for s in range(20)]
        moves = sorted(abs(trial["x"] - 0.5) / 5 for start in starts for trial in start[1:])
        assert moves[0] > 0
        assert moves[len(moves) // 2] < 0.2
    # Parameters that x0 does not name begin at a random place.
    assert len({start[0]["half"] for start in starts}) > 3


def test_x0_outside_of_the_search_space_is_moved_into_it_or_refused() -> None:
    with pytest.warns(UserWarning, match=r"x0.'x'. is 5.0, .* the first trial has 2.0 instead"):
        assert run(Annealing(x0={"x": 5.0, "k": 2}), 2)[0]["x"] == 2.0
    with pytest.warns(UserWarning, match="instead"):
        assert run(Annealing(x0={"rate": 0, "width": -3.0}), 1)[0]["rate"] == 1e-7
    with pytest.raises(ValueError, match="purple"):
        run(Annealing(x0={"color": "purple"}), 1)


def test_x0_with_a_name_that_no_trial_has_is_refused() -> None:
    study = optuna.create_study(sampler=Annealing(x0={"x": 0.5, "fixed": 1.5, "widht": 3}))
    with pytest.raises(ValueError, match="widht"):
        study.optimize(every_kind, n_trials=2)
    assert study.trials[0].params["x"] == 0.5
    study.sampler = Annealing(x0={"x": 0.5, "fixed": 1.5, "width": 3})
    study.optimize(every_kind, n_trials=2)


def test_the_order_of_parameters_does_not_matter() -> None:
    def backwards(trial: optuna.Trial) -> float:
        y = trial.suggest_float("y", 0, 1)
        return trial.suggest_float("x", 0, 1) + 2 * y

    def relative(study: optuna.Study) -> float:
        space: dict[str, BaseDistribution] = {
            "x": FloatDistribution(0, 1),
            "y": FloatDistribution(0, 1),
        }
        trial = study.ask(space)
        return float(trial.params["x"] + 2 * trial.params["y"])

    first, second = (optuna.create_study(sampler=Annealing(seed=0)) for _ in range(2))
    first.optimize(backwards, n_trials=20)
    for trial in first.trials:
        assert relative(second) == trial.value
        second.tell(trial.number, trial.value)


def test_annealing_continues_as_parameters_and_ranges_change() -> None:
    def objective(trial: optuna.Trial) -> float:
        high = 1.0 if trial.number < 20 else 4.0
        x = trial.suggest_float("x", -1.0 if trial.number < 40 else 0.5, high)
        if trial.suggest_categorical("branch", ["a", "b"]) == "a":
            return x**2 + trial.suggest_float("a", 0, 1)
        return x**2 - trial.suggest_float("b", 1e-3, 1, log=True)

    study = optuna.create_study(sampler=Annealing(seed=1, n_trials=60))
    study.optimize(objective, n_trials=60)
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)
    # After the range becomes wider, the annealing continues near its best point.
    assert np.median([trial.params["x"] for trial in study.trials[20:30]]) < 1
    assert min(trial.params["x"] for trial in study.trials[40:]) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("old", "new"), [*itertools.permutations(DIFFERENT, 2)])
def test_only_added_trials_change_the_kind_of_a_parameter(
    old: BaseDistribution, new: BaseDistribution
) -> None:
    study = optuna.create_study(sampler=Annealing(seed=0))
    trial = study.ask()
    trial._suggest("x", old)
    study.tell(trial, 0.0)
    with pytest.raises(ValueError, match=r"Cannot set different|not support dynamic value space"):
        study.ask()._suggest("x", new)

    # With add_trial, Optuna accepts distributions that the suggest methods refuse.
    study = optuna.create_study(sampler=Annealing(seed=0))
    for distribution in (old, new):
        params = {"x": from_unit(0.7, distribution)}
        study.add_trial(
            optuna.create_trial(params=params, distributions={"x": distribution}, value=0.0)
        )
    for _ in range(3):
        trial = study.ask()
        trial._suggest("x", new)
        study.tell(trial, 1.0)


def test_failed_and_pruned_trials_are_rejected_moves() -> None:
    def objective(trial: optuna.Trial, end: Callable[[], float]) -> float:
        trial.suggest_float("x", 0, 1)
        if trial.number in (0, 3, 7):
            trial.report(-100.0, step=0)  # A report is no final value.
            return end()
        return 1.0 - trial.number

    def prune() -> float:
        raise optuna.TrialPruned

    def fail() -> float:
        raise ArithmeticError

    params = []
    for end in (prune, fail, lambda: math.nan):
        study = optuna.create_study(sampler=Annealing(seed=0))
        study.optimize(
            lambda trial, end=end: objective(trial, end), n_trials=12, catch=ArithmeticError
        )
        params.append([trial.params for trial in study.trials])
    assert params[0] == params[1] == params[2]


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("quench", [1e-300, 200.0, 1e300])
@pytest.mark.parametrize("options", [{}, {"reannealing": True}, {"ingber": True}])
def test_annealing_works_with_extreme_quenches(quench: float, options: dict[str, Any]) -> None:
    for n_dims in (1, 3):
        study = optuna.create_study(sampler=Annealing(seed=0, quench=quench, **options))
        study.optimize(
            lambda t, n=n_dims: sum(
                10**i * t.suggest_float(f"x{i}", -1, 1) ** 2 for i in range(n)
            ),
            n_trials=110,
        )
        assert len({trial.params["x0"] for trial in study.trials}) > 50


def test_partial_fixed_sampler_keeps_the_other_parameters_moving() -> None:
    study = optuna.create_study(sampler=Annealing(seed=0))
    study.optimize(every_kind, n_trials=5)
    study.sampler = optuna.samplers.PartialFixedSampler({"x": 0.25}, study.sampler)
    study.optimize(every_kind, n_trials=5)
    assert {trial.params["x"] for trial in study.trials[5:]} == {0.25}
    assert len({trial.params["rate"] for trial in study.trials}) == 10
    indices = [trial.system_attrs["adnn:proposal"]["index"] for trial in study.trials]
    assert indices == list(range(10))


def test_a_pickled_sampler_continues_and_repr_can_be_evaluated() -> None:
    sampler = Annealing(seed=4, x0={"x": 0.5}, n_trials=12)
    study = optuna.create_study(sampler=sampler)
    study.optimize(every_kind, n_trials=6)
    study.sampler = pickle.loads(pickle.dumps(sampler))
    study.optimize(every_kind, n_trials=6)
    assert [t.params for t in study.trials] == run(
        Annealing(seed=4, x0={"x": 0.5}, n_trials=12), 12
    )
    assert repr(sampler) == str(sampler)
    assert repr(eval(repr(sampler), {type(sampler).__name__: type(sampler)})) == repr(sampler)


def on_a_disk(trial: optuna.Trial) -> float:
    x, y = (trial.suggest_float(name, -2, 2) for name in "xy")
    trial.set_constraint("disk", x**2 + y**2 - 1)
    return x + y


def within_a_budget(trial: optuna.Trial) -> float:
    n, kind = trial.suggest_int("n", 1, 10), trial.suggest_categorical("kind", [0, 1, 2])
    x = trial.suggest_float("x", 0, 1)
    trial.set_constraint("n", n - 7)
    trial.set_constraint("cost", n * x - [4, 5, 2][kind])
    return -n * x - kind


def in_other_units(trial: optuna.Trial) -> float:
    x, y = (trial.suggest_float(name, -2, 2) for name in "xy")
    trial.set_constraint("disk", 1e6 * (x**2 + y**2 - 1))
    trial.set_constraint("distance", 1e-3 * (1 - (x - y)))
    return x + y


@pytest.mark.skipif(
    not hasattr(optuna.Trial, "set_constraint"), reason="Optuna 4 has no Trial.set_constraint"
)
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]
)
@pytest.mark.parametrize(
    ("objective", "best", "direction"),
    [
        (on_a_disk, -(2**0.5), "minimize"),
        pytest.param(within_a_budget, -6.0, "maximize", marks=pytest.mark.slow),
        (in_other_units, -1.0, "minimize"),
    ],
)
def test_constraints_are_met_by_the_best_trial(
    objective: Callable[[optuna.Trial], float], best: float, direction: str, seed: int
) -> None:
    sign = 1 if direction == "minimize" else -1
    study = optuna.create_study(sampler=Annealing(seed=seed, n_trials=50), direction=direction)
    study.optimize(lambda trial: sign * objective(trial), n_trials=50)
    assert sign * study.best_value < best + 0.02


def test_a_less_infeasible_point_is_accepted() -> None:
    annealing = AdaptiveSimulatedAnnealing(0, Options())
    annealing.add_coordinate("x")
    # Each row has a place, its value, its constraints, and whether the annealing accepts it.
    for place, value, constraints, is_accepted in (
        (0.1, 5.0, [1.0, 1.0], True),
        (0.2, 0.0, [2.5, -9.0], False),
        (0.3, 9.0, [1.5, -1.0], True),
        (0.4, 9.0, [0.0, -1.0], True),
        (0.5, -9.0, [0.1, 0.0], False),
        (0.6, 8.0, [-1.0, -1.0], True),
    ):
        assert annealing.tell(0, np.array([place]), value, constraints) == is_accepted


def test_a_pruner_that_hides_trials_changes_nothing() -> None:
    study = optuna.create_study(
        sampler=Annealing(seed=0), pruner=optuna.pruners.HyperbandPruner(1, 9)
    )
    study.optimize(every_kind, n_trials=10)
    assert [t.params for t in study.trials] == run(Annealing(seed=0), 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed must be at least 0; got -1"),
        ({"seed": 2**64}, "seed must be below 18,446"),
        ({"n_trials": 0}, "n_trials must be at least 1; got 0"),
        ({"initial_temperature": 0.0}, "initial_temperature must be greater than 0"),
        ({"initial_temperature": 1.5}, "initial_temperature must be at most 1; got 1.5"),
        ({"quench": math.nan}, "quench must be a finite number; got nan"),
        ({"x0": {"x": math.nan}}, "x0.'x'. must be a finite number; got nan"),
    ],
)
def test_refuses_wrong_values(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Annealing(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": 1.0}, "seed must be an integer"),
        ({"n_trials": True}, "n_trials must be an integer"),
        (
            {"x0": [0.5]},
            "x0 must be a mapping",
        ),
        ({"reannealing": "no"}, "reannealing.*'no'"),
    ],
)
def test_refuses_wrong_types(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Annealing(**arguments)


class TestFinitelyManyValues:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_the_best_of_integers_is_found_without_repetitions(self, seed: int) -> None:
        best = np.random.default_rng(seed).integers(0, 6, 3)

        def objective(trial: optuna.Trial) -> float:
            x = np.array([trial.suggest_int(f"x{i}", 0, 5) for i in range(3)])
            return float(((x - best) ** 2 * [1, 2, 3]).sum())

        study = optuna.create_study(sampler=Annealing(seed=seed, n_trials=60))
        study.optimize(objective, n_trials=60)
        assert study.best_value == 0
        assert len({tuple(trial.params.values()) for trial in study.trials}) > 30

    @pytest.mark.parametrize("seed", [5, 8, 11])
    def test_a_parameter_that_never_changed_is_changed_at_last(self, seed: int) -> None:
        # With these seeds, proposals begin at 1, the most likely value of a log-scaled integer.
        def objective(trial: optuna.Trial) -> float:
            a, c = (trial.suggest_int(name, 1, 8, log=True) for name in "ac")
            b = trial.suggest_int("b", 1, 64, log=True)
            return (math.log2(a) - 2) ** 2 + (math.log(b) - 3) ** 2 + (c - 5) ** 2 / 4

        study = optuna.create_study(sampler=Annealing(seed=seed, n_trials=60))
        study.optimize(objective, n_trials=60)
        assert study.best_value < 0.3


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("cliff", [1.0, 0.93])
def test_a_start_on_a_plateau_reaches_the_optimum(seed: int, cliff: float) -> None:
    def objective(trial: optuna.Trial) -> float:
        x, y = (trial.suggest_float(name, 0, 1) for name in "xy")
        return 2.0 if y > cliff else min(((x - 0.8) ** 2 + (y - 0.3) ** 2) / 0.06, 1.0)

    sampler = Annealing(seed=seed, n_trials=40, x0={"x": 0.1, "y": 0.9})
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=40)
    assert study.best_value < 0.1


def geometric_mean(
    objective: Callable[[optuna.Trial, np.random.Generator], float],
    n_trials: int,
    make: Callable[[int], optuna.samplers.BaseSampler] | None = None,
) -> float:
    """Return the geometric mean of the best values over ten seeds; all values are at least 0."""
    values = []
    for seed in range(10):
        sampler = make(seed) if make else Annealing(seed=seed, n_trials=n_trials)
        study = optuna.create_study(sampler=sampler)
        study.optimize(
            lambda trial, seed=seed: objective(trial, np.random.default_rng(seed)),
            n_trials=n_trials,
        )
        values.append(math.log(study.best_value + 1e-6))
    return math.exp(float(np.mean(values)))


def random_search(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def branches(trial: optuna.Trial, rng: np.random.Generator) -> float:
    base, o = rng.permutation([0, 0.15, 0.3]), rng.random(4)
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    if kind == "a":
        return float(base[0] + (trial.suggest_float("x", 0, 1) - o[0]) ** 2)
    if kind == "b":
        y, z = trial.suggest_float("y", 0, 1), trial.suggest_float("z", 0, 1)
        return float(base[1] + (y - o[1]) ** 2 + (z - o[2]) ** 2)
    return float(base[2] + abs(trial.suggest_int("n", 1, 30) / 30 - o[3]))


def layers(trial: optuna.Trial, rng: np.random.Generator) -> float:
    n_best, widths, rate = rng.integers(1, 5), rng.uniform(1, 6, 4), rng.random()
    n = trial.suggest_int("n_layers", 1, 4)
    value = abs(n - n_best) + (trial.suggest_float("rate", 0, 1) - rate) ** 2
    for i in range(n):
        width = trial.suggest_int(f"width{i}", 2, 64, log=True)
        value += (math.log2(width) - widths[i]) ** 2 / 10
    return float(value)


def choices(trial: optuna.Trial, rng: np.random.Generator) -> float:
    effects, o = rng.random((4, 4)), rng.random()
    value = sum(
        row[trial.suggest_categorical(f"c{i}", [0, 1, 2, 3])] - row.min()
        for i, row in enumerate(effects)
    )
    return float(value + (trial.suggest_float("x", 0, 1) - o) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize(("objective", "ratio"), [(branches, 0.1), (layers, 0.1), (choices, 0.2)])
def test_annealing_beats_random_search_with_conditions_and_choices(
    objective: Callable[[optuna.Trial, np.random.Generator], float], ratio: float
) -> None:
    annealed = geometric_mean(objective, 40)
    assert annealed < ratio * geometric_mean(objective, 40, random_search)


def test_no_branch_is_abandoned_for_good() -> None:
    study = optuna.create_study(sampler=Annealing(seed=0, n_trials=100))
    study.optimize(lambda trial: branches(trial, np.random.default_rng(0)), n_trials=100)
    kinds = [trial.params["kind"] for trial in study.trials]
    assert min(kinds.count(kind) for kind in "abc") >= 3
    assert min(kinds[50:].count(kind) for kind in "abc") >= 1


@pytest.mark.parametrize(
    "late_bound", [8.0, *(pytest.param(bound, marks=pytest.mark.slow) for bound in (5.001, 4.0))]
)
def test_the_model_still_helps_after_bounds_change(late_bound: float) -> None:
    def sphere(trial: optuna.Trial, rng: np.random.Generator) -> float:
        high = 5 if trial.number < 10 else late_bound
        x = np.array([trial.suggest_float(f"x{i}", -5, high) for i in range(4)])
        return float(((x - rng.uniform(-3, 3, 4)) ** 2).sum())

    assert geometric_mean(sphere, 50) < 1e-3


@pytest.mark.slow
def test_integers_with_changed_bounds_are_optimized() -> None:
    def objective(trial: optuna.Trial, rng: np.random.Generator) -> float:
        best = rng.integers(0, 6, 3)
        high = 5 if trial.number < 10 else 7
        return float(sum((trial.suggest_int(f"i{k}", 0, high) - best[k]) ** 2 for k in range(3)))

    assert geometric_mean(objective, 50) == pytest.approx(1e-6)


@pytest.mark.parametrize("is_mixed", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("seed", [0, 1])
def test_trials_beyond_a_cliff_are_not_repeated(seed: int, is_mixed: bool) -> None:
    """Values improve towards a cliff, beyond which all values are bad."""

    def objective(trial: optuna.Trial) -> float:
        x = np.array([trial.suggest_float(f"x{i}", -0.2, 0.2) for i in range(4)])
        n = trial.suggest_int("n", 1, 40) if is_mixed else 9
        if x[0] < -0.1:
            return 0.9
        return float(0.5 * x[0] + 2 * ((x[1:] - 0.05) ** 2).sum() + abs(n - 9) / 400)

    study = optuna.create_study(sampler=Annealing(seed=seed, n_trials=400))
    study.optimize(objective, n_trials=400)
    beyond = "".join("x" if trial.value == 0.9 else " " for trial in study.trials[320:])
    assert "xxxxx" not in beyond


class TestRandomRestart:
    def test_restarts_count_up_to_the_end_of_their_range(self) -> None:
        study = optuna.create_study(sampler=RandomRestartSampler(seed=1))
        study.optimize(lambda t: t.suggest_int("restart", 0, 7), n_trials=6)
        study.sampler = RandomRestartSampler(seed=1)
        study.optimize(lambda t: t.suggest_int("restart", 0, 7), n_trials=4)
        assert [t.params["restart"] for t in study.trials] == [0, 1, 2, 3, 4, 5, 6, 7, 7, 7]

    def test_an_enqueued_trial_is_not_counted(self) -> None:
        study = optuna.create_study(sampler=RandomRestartSampler(seed=1))
        for k in range(4):
            study.enqueue_trial({"k": k})

        def objective(trial: optuna.Trial) -> float:
            trial.suggest_int("k", 0, 9)
            return trial.suggest_int("restart", 0, 1_000_000)

        study.optimize(objective, n_trials=7)
        restarts = [t.params["restart"] for t in study.trials]
        assert restarts[4:] == [0, 1, 2]
        assert len(set(restarts[:4])) == 4
        assert all(0 < restart < 1_000_000 for restart in restarts[:4])

    def test_restarts_with_a_step(self) -> None:
        study = optuna.create_study(sampler=RandomRestartSampler(seed=1))
        study.optimize(lambda t: t.suggest_int("restart", 1, 11, step=5), n_trials=5)
        assert [t.params["restart"] for t in study.trials] == [1, 6, 11, 11, 11]

    def test_other_parameters_are_random(self) -> None:
        study = optuna.create_study(sampler=RandomRestartSampler(seed=1))
        study.optimize(every_kind, n_trials=20)
        assert len({t.params["x"] for t in study.trials}) == 20

    def test_a_pickled_sampler_works_and_repr_names_its_seed(self) -> None:
        sampler = pickle.loads(pickle.dumps(RandomRestartSampler(seed=1)))
        assert repr(sampler) == "RandomRestartSampler(seed=1)"
        study = optuna.create_study(sampler=sampler)
        study.optimize(every_kind, n_trials=3)
        assert len(study.trials) == 3
